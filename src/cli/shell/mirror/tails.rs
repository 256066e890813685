//! The records at a target that came from a run that was killed, or from a call without an answer.

use std::collections::{BTreeMap, BTreeSet};

use anabranch::{ShardFilter, StartingPosition};

use super::super::super::Failure;
use super::super::target::{ReadRecord, Target};

/// The records after the last known number of each shard, in `last`. Moves these numbers past them. `None` if there are
/// more than `most`.
pub(super) fn read_tails(
    target: &mut impl Target,
    stream: &str,
    last: &mut BTreeMap<String, String>,
    most: usize,
) -> Result<Option<Vec<ReadRecord>>, Failure> {
    let mut tails = Vec::new();
    let shards = target.shards(stream, ShardFilter::FromTrimHorizon)?;
    let names: BTreeSet<_> = shards.iter().map(|shard| shard.id.to_string()).collect();
    let mut moved = last.clone();
    // Shards that have expired are no longer needed.
    moved.retain(|name, _| names.contains(name));
    for shard in shards {
        let name = shard.id.to_string();
        let cursor = match last.get(&name) {
            Some(number) => target.cursor_behind(stream, shard.id, number)?,
            None => target.cursor(stream, shard.id, StartingPosition::TrimHorizon)?,
        };
        let Some(mut cursor) = cursor else { continue };
        loop {
            let page = target.read(&mut cursor, most.saturating_add(1))?;
            if let Some(record) = page.records.last() {
                moved.insert(name.clone(), record.sequence_number.clone());
            }
            tails.extend(page.records);
            if tails.len() > most {
                return Ok(None);
            }
            if page.is_at_head || page.is_drained {
                break;
            }
        }
    }
    *last = moved;
    Ok(Some(tails))
}
