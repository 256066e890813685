//! Real crashes: the power is cut under a real file system, and a writing process is killed, again and again.
//!
//! A child process writes to a store and reports acknowledgements through a pipe. Then the blow comes, the store is
//! opened again, and its records are compared with the reports. The power is cut on a separate ext4 image, which needs
//! root, loop devices and `mkfs.ext4`; without them one line says that nothing was tested.
//!
//! `ANABRANCH_POWER_CUTS=2000 cargo test --test power_cut -- --nocapture` makes it a long run.
#![allow(clippy::unwrap_used)]

mod full_file_system;
mod ledger;
mod record;
mod rounds;
mod writer;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anabranch::Durability;
use anabranch_harness::image::Image;
use anabranch_harness::process;

use rounds::{Blow, Rounds};

const DEFAULT_ROUNDS: u32 = 80;

/// How many blows each test has, and whether the number was set.
fn round_count() -> (u32, bool) {
    match std::env::var("ANABRANCH_POWER_CUTS") {
        Ok(count) => (
            count.parse().expect("ANABRANCH_POWER_CUTS is a number of rounds"),
            true,
        ),
        Err(_) => (DEFAULT_ROUNDS, false),
    }
}

/// An image whose power can be cut. `None` without the means for it, which is an error only if blows were asked for.
fn image(bytes: u64) -> Option<Image> {
    match Image::mount_new(Path::new(env!("CARGO_TARGET_TMPDIR")), bytes) {
        Ok(image) => Some(image),
        Err(reason) => {
            let (_, is_asked_for) = round_count();
            assert!(!is_asked_for, "no power can be cut here: {reason}");
            report(&format!("skipped: no ext4 image can be mounted here: {reason}"));
            None
        }
    }
}

/// Shown although the test passes.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn cut_power(level: Durability) {
    let Some(image) = image(256 << 20) else { return };
    let mut rounds = Rounds::new(level, Blow::PowerCut(image));
    rounds.run(round_count().0);
    report(&format!("power cuts at {level:?}: {rounds}"));
}

fn kill(level: Durability) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut rounds = Rounds::new(level, Blow::Kill(directory));
    rounds.run(round_count().0);
    report(&format!("killed processes at {level:?}: {rounds}"));
}

#[test]
fn what_was_acknowledged_or_seen_survives_power_cuts() {
    cut_power(Durability::Synced);
}

#[test]
fn a_prefix_survives_power_cuts_where_puts_do_not_wait_for_the_sync() {
    cut_power(Durability::Written);
}

#[test]
fn what_was_acknowledged_or_seen_survives_killed_processes() {
    kill(Durability::Synced);
    kill(Durability::Written);
}

#[test]
fn a_prefix_survives_killed_processes_where_puts_return_from_memory() {
    kill(Durability::Buffered);
}

/// Tests run beside each other, and each of them starts processes.
#[test]
fn an_image_is_unmounted_while_others_start_processes() {
    let Some(image) = image(16 << 20) else { return };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    process::output(&mut Command::new("true")).unwrap();
                }
            });
        }
        let over = OnDrop(|| is_over.store(true, Ordering::Relaxed));
        for _ in 0..30 {
            image.switch().cut();
            image.mount_again();
        }
        drop(over);
    });
}

/// Runs its function when it is dropped, even by a panic.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The child of the tests above; run alone it does nothing.
#[test]
fn the_writing_process() {
    writer::run_if_asked();
}
