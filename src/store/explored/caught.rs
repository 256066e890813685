//! That the explorer finds what it is there to find: wake-ups that are lost on purpose.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::sync::{LostWakeUps, explore, lose_wake_ups};

/// What the explorer says of some puts while these wake-ups are lost.
fn found_where_lost(lost: LostWakeUps) -> String {
    let scenario = move || {
        let world = World::new(1);
        lose_wake_ups(lost);
        join([world.putter("a", 2), world.putter("b", 2), world.putter("c", 2)]);
        lose_wake_ups(LostWakeUps::None);
        world.close_and_check();
    };
    let explored = catch_unwind(AssertUnwindSafe(|| explore(scenario)));
    let panic = explored.expect_err("wake-ups are lost, and nobody minds");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    }
}

#[test]
fn a_next_leader_that_is_not_woken_is_found() {
    let found = found_where_lost(LostWakeUps::OfOne);
    assert!(found.contains("deadlock"), "{found}");
}

#[test]
fn a_committed_group_that_is_not_woken_is_found() {
    let found = found_where_lost(LostWakeUps::OfAll);
    assert!(found.contains("deadlock"), "{found}");
}
