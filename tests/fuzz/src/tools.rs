//! The tools on stores with the damage that the targets `segments` and `manifest` do.
//!
//! ```text
//! byte 0   bit 0: whose input the rest is
//! ```

use std::ops::ControlFlow;

use anabranch::inspect::{DumpItem, DumpOptions, DumpWhat, Inspection};
use anabranch::sim::SimDisk;
use anabranch::{Error, SequenceNumber};

use super::base::{self, DIRECTORY};
use super::program::Program;
use super::segments::{Change, Changed};
use super::{manifest, segments};

const LAYERS: [DumpWhat; 5] = [
    DumpWhat::Manifest,
    DumpWhat::Lineage,
    DumpWhat::Segments,
    DumpWhat::Frames,
    DumpWhat::Records,
];

pub fn run(input: &[u8]) {
    let mut program = Program(input);
    match program.byte() & 1 {
        0 => {
            let changed = Changed::by(program.rest());
            let known = (changed.change != Change::Frames).then_some(changed.base.records.as_slice());
            look_and_repair(&changed.disk, known);
        }
        _ => {
            let changed = manifest::Changed::by(program.rest());
            let known = (!changed.is_forged()).then_some(changed.base.records.as_slice());
            look_and_repair(&changed.disk, known);
        }
    }
}

/// Verifies and dumps a store, repairs it, and does so again. No records are known if checksums were made to hold over
/// contents that no store writes: then the only check is that no call panics, hangs or takes all memory.
pub(crate) fn look_and_repair(disk: &SimDisk, known: Option<&[(SequenceNumber, Vec<u8>)]>) {
    let inspection = Inspection::of(DIRECTORY).disk(disk.clone());
    let mut was_sound = false;
    match inspection.verify(&mut |_| {}) {
        Ok(verification) => was_sound = verification.is_sound(),
        Err(error) => assert_says_why(&error),
    }
    show_everything(&inspection);
    if was_sound {
        return known.map_or((), |known| assert_reads_to_its_end(disk, known));
    }
    let plan = match inspection.plan_repair(&mut |_| {}) {
        Ok(plan) => plan,
        Err(error) => return assert_says_why(&error),
    };
    let is_hopeless = !plan.hopeless.is_empty();
    if let Err(error) = plan.apply_and_set_aside() {
        return assert_says_why(&error);
    }
    let Some(known) = known.filter(|_| !is_hopeless) else {
        return;
    };
    let verification = inspection
        .verify(&mut |_| {})
        .expect("a repaired store can be looked at");
    let damage: Vec<_> = verification.damage().map(ToString::to_string).collect();
    assert!(damage.is_empty(), "it was repaired, and still {damage:?}");
    assert_reads_to_its_end(disk, known);
}

/// Checks that a store that is sound, or was repaired, opens and has only records that were put.
fn assert_reads_to_its_end(disk: &SimDisk, known: &[(SequenceNumber, Vec<u8>)]) {
    let store = base::open(disk).unwrap_or_else(|error| panic!("what is sound opens: {error}"));
    // A repair of the manifest goes back to its last whole state, which may be from before the stream.
    let Ok(stream) = store.stream("clicks") else {
        return;
    };
    let (records, end) = base::read(&stream);
    end.unwrap_or_else(|error| panic!("what is sound reads to its end: {error}"));
    for record in records {
        assert!(known.contains(&record), "record {} was never put", record.0);
    }
}

fn show_everything(inspection: &Inspection) {
    for layer in LAYERS {
        let mut shown = 0;
        let mut show = |item: DumpItem| {
            let _ = format!("{item:?}");
            shown += 1;
            assert!(shown < 1 << 20, "a small file holds {layer:?} without end");
            ControlFlow::Continue(())
        };
        if let Err(error) = inspection.dump(&DumpOptions::of(layer), &mut show) {
            assert_says_why(&error);
        }
    }
}

fn assert_says_why(error: &Error) {
    assert!(
        matches!(
            error,
            Error::UnsupportedFormat { .. }
                | Error::UnknownEncoding { .. }
                | Error::NotAStore { .. }
                | Error::Io { .. }
                | Error::Unreadable { .. }
                | Error::StorageFull { .. }
                | Error::Corrupt { .. }
        ),
        "{error}"
    );
}

/// The seeds of the two other targets.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let of = |whose: u8, seeds: Vec<(String, Vec<u8>)>| {
        seeds
            .into_iter()
            .map(move |(name, input)| (name, [&[whose], input.as_slice()].concat()))
    };
    of(0, segments::seeds()).chain(of(1, manifest::seeds())).collect()
}
