//! A group's outcome alone, under more schedules than a whole store allows.

use std::task::{Poll, Waker};

use super::group::Group;
use crate::sync::explore_often;

#[test]
fn a_task_that_registers_while_its_group_gets_its_outcome_is_woken() {
    explore_often(20, || {
        let outcome = Group::new(0).outcome;
        let tasks: Vec<_> = (0..2)
            .map(|_| {
                let outcome = outcome.clone();
                let mut place = None;
                shuttle::future::spawn(std::future::poll_fn(move |context| {
                    match outcome.register(context.waker(), &mut place) {
                        Some(result) => Poll::Ready(result),
                        None => Poll::Pending,
                    }
                }))
            })
            .collect();
        outcome.set(Ok(())).into_iter().for_each(Waker::wake);
        for task in tasks {
            shuttle::future::block_on(task).unwrap().unwrap();
        }
    });
}
