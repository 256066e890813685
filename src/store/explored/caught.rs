//! The explorer finds errors that are made on purpose: lost wake-ups, and missing holds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::disk::sim::{Step, leave_out};
use crate::sync::{LostWakeUps, explore, lose_wake_ups};

/// The explorer's report of some puts while these wake-ups are lost.
fn found_where_lost(lost: LostWakeUps) -> String {
    let scenario = move || {
        let world = World::new(1);
        lose_wake_ups(lost);
        join([world.putter("a", 2), world.putter("b", 2), world.putter("c", 2)]);
        lose_wake_ups(LostWakeUps::None);
        world.close_and_check();
    };
    panic_of(|| explore(scenario))
}

/// The message of a test that must fail.
fn panic_of(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("nothing is found");
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

#[test]
fn a_segment_that_is_recycled_while_it_is_held_is_found() {
    let found = panic_of(|| leave_out(Step::HeldIsKept, recycling::readers_beside_recycling));
    let is_told_by_the_disk = found.contains("under a mapping") || found.contains("it is open from before");
    assert!(is_told_by_the_disk, "{found}");
}
