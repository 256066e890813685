//! Records on their way to the target. The records of a partition key get there in their order.
//!
//! PutRecords takes or refuses each record independently. So a call has at most one record of each key, and the next
//! record of that key is sent once the previous one is at the target.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use anabranch::{HashKey, ShardId, Timestamp};
use bytes::Bytes;

use super::super::put::{MOST_BYTES, MOST_RECORDS};
use super::super::target::{NewRecord, ReadRecord};
use super::arguments::LineageKind;
use super::reading::ShardPage;

/// Pages of different shards.
pub(super) struct Delivery {
    pages: Vec<Page>,
    /// The records that are not at the target, in the order of the pages. The line of a record is its place among the
    /// records of all pages.
    pending: VecDeque<NewRecord>,
}

struct Page {
    shard: ShardId,
    is_drained: bool,
    /// The place of its first record.
    first: usize,
    records: Vec<Sent>,
    /// How many of them, from the first on, are at the target.
    done: usize,
}

struct Sent {
    number: String,
    arrival: Timestamp,
    bytes: usize,
    is_done: bool,
}

/// The records that have come to the target, for each shard without a gap.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) last_arrival: Option<Timestamp>,
    /// The last record of each shard.
    pub(super) reached: Vec<(ShardId, String)>,
}

/// Records that the target has already, because an earlier run was killed or an answer was lost, and how many of each.
#[derive(Debug, Default)]
pub(super) struct Already(HashMap<(String, Bytes), u32>);

impl Already {
    pub(super) fn add(&mut self, records: Vec<ReadRecord>) {
        for record in records {
            *self.0.entry((record.key, record.data)).or_default() += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, record: &NewRecord) -> bool {
        // The key of the map is a pair, which cannot be looked up by references to its parts.
        let key = (record.key.clone(), record.data.clone());
        let Some(count) = self.0.get_mut(&key) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&key);
        }
        true
    }
}

impl Delivery {
    pub(super) fn of(pages: Vec<ShardPage>, lineage: LineageKind) -> Self {
        let mut delivery = Self {
            pages: Vec::new(),
            pending: VecDeque::new(),
        };
        for page in pages {
            delivery.add(page, lineage);
        }
        delivery
    }

    fn add(&mut self, page: ShardPage, lineage: LineageKind) {
        let first = self.pending.len();
        let mut records = Vec::new();
        for (place, record) in (first..).zip(page.records) {
            records.push(Sent {
                number: record.sequence_number.clone(),
                arrival: record.arrival,
                bytes: record.key.len() + record.data.len(),
                is_done: false,
            });
            // A record that was put without a key has no order with other records.
            let key = match record.key.is_empty() {
                true => record.sequence_number,
                false => record.key,
            };
            let is_elsewhere = !page.range.contains(HashKey::of_partition_key(&key));
            let is_sent_there = lineage == LineageKind::Mirror && is_elsewhere;
            self.pending.push_back(NewRecord {
                line: place as u64,
                key,
                hash_key: is_sent_there.then_some(page.range.start()),
                data: record.data,
            });
        }
        self.pages.push(Page {
            shard: page.shard,
            is_drained: page.is_drained,
            first,
            records,
            done: 0,
        });
    }

    /// Whether all records are at the target.
    pub(super) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// The next records to put, up to `most`; only one of each key, if the target does not keep their order.
    pub(super) fn batch(&mut self, keeps_order: bool, most: usize) -> Vec<NewRecord> {
        let most = most.clamp(1, MOST_RECORDS);
        let mut batch: Vec<NewRecord> = Vec::new();
        let mut bytes = 0;
        let mut keys = BTreeSet::new();
        let mut left = VecDeque::new();
        while let Some(record) = self.pending.pop_front() {
            if batch.len() == most {
                self.pending.push_front(record);
                break;
            }
            let is_free = keeps_order || keys.insert(record.key.clone());
            let has_room = batch.is_empty() || bytes + record.bytes() <= MOST_BYTES;
            if is_free && has_room {
                bytes += record.bytes();
                batch.push(record);
                continue;
            }
            left.push_back(record);
            if keeps_order {
                break;
            }
        }
        left.append(&mut self.pending);
        self.pending = left;
        batch
    }

    /// Notes the result of a batch: its records at these places are not at the target.
    pub(super) fn note_put(&mut self, batch: Vec<NewRecord>, untaken: &[usize]) {
        let mut untaken = untaken.iter().peekable();
        let mut back = VecDeque::new();
        for (place, record) in batch.into_iter().enumerate() {
            match untaken.next_if_eq(&&place) {
                Some(_) => back.push_back(record),
                None => self.note_done(&record),
            }
        }
        back.append(&mut self.pending);
        self.pending = back;
    }

    /// Leaves out records that are at the target already.
    pub(super) fn leave_out(&mut self, already: &mut Already) {
        if already.is_empty() {
            return;
        }
        for record in std::mem::take(&mut self.pending) {
            match already.take(&record) {
                true => self.note_done(&record),
                false => self.pending.push_back(record),
            }
        }
    }

    /// The records that have come to the target since the last call.
    pub(super) fn progress(&mut self) -> Progress {
        let mut progress = Progress::default();
        for page in &mut self.pages {
            let done = page
                .records
                .iter()
                .skip(page.done)
                .take_while(|sent| sent.is_done);
            let mut last = None;
            for sent in done {
                progress.records += 1;
                progress.bytes += sent.bytes as u64;
                progress.last_arrival = progress.last_arrival.max(Some(sent.arrival));
                page.done += 1;
                last = Some(sent.number.clone());
            }
            progress.reached.extend(last.map(|last| (page.shard, last)));
        }
        progress
    }

    /// The shards that end with these pages.
    pub(super) fn drained(&self) -> Vec<ShardId> {
        let drained = self.pages.iter().filter(|page| page.is_drained);
        drained.map(|page| page.shard).collect()
    }

    fn note_done(&mut self, record: &NewRecord) {
        let Ok(place) = usize::try_from(record.line) else {
            return;
        };
        let page = self.pages.partition_point(|page| page.first <= place);
        // A page without records begins at the same place as the next one.
        let page = self
            .pages
            .iter_mut()
            .take(page)
            .rev()
            .find(|page| !page.records.is_empty());
        if let Some(page) = page
            && let Some(sent) = page.records.get_mut(place - page.first)
        {
            sent.is_done = true;
        }
    }
}

/// The highest numbers of two lists.
pub(super) fn note_last(all: &mut BTreeMap<String, String>, last: BTreeMap<ShardId, String>) {
    all.extend(
        last.into_iter()
            .map(|(shard, number)| (shard.to_string(), number)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch::HashKeyRange;

    fn page(shard: u32, keys: &[&str]) -> ShardPage {
        let shard = ShardId::new(shard).unwrap();
        let record = |(place, key): (usize, &&str)| ReadRecord {
            shard,
            sequence_number: format!("{}", 100 * shard.index() as usize + place),
            arrival: Timestamp::from_millis(place as u64),
            key: (*key).to_owned(),
            data: Bytes::from(format!("{key}{place}")),
        };
        ShardPage {
            shard,
            range: HashKeyRange::FULL,
            records: keys.iter().enumerate().map(record).collect(),
            is_drained: false,
        }
    }

    fn lines(batch: &[NewRecord]) -> Vec<u64> {
        batch.iter().map(|record| record.line).collect()
    }

    #[test]
    fn a_record_goes_once_the_one_before_of_its_key_is_there() {
        let pages = vec![
            page(1, &["a", "a", "b", "a", "c"]),
            page(2, &[]),
            page(3, &["a", "d"]),
        ];
        let mut delivery = Delivery::of(pages, LineageKind::Mirror);
        let batch = delivery.batch(false, 500);
        assert_eq!(lines(&batch), [0, 2, 4, 6]);
        // The first of `a`, and `d`, are refused.
        delivery.note_put(batch, &[0, 3]);
        assert_eq!(delivery.progress(), Progress::default());
        let batch = delivery.batch(false, 500);
        assert_eq!(lines(&batch), [0, 6]);
        delivery.note_put(batch, &[]);
        let progress = delivery.progress();
        assert_eq!((progress.records, progress.bytes), (1, 3));
        assert_eq!(progress.reached, [(ShardId::new(1).unwrap(), "100".to_owned())]);
        for line in [1, 3, 5] {
            assert!(!delivery.is_done());
            let batch = delivery.batch(false, 500);
            assert_eq!(lines(&batch), [line]);
            delivery.note_put(batch, &[]);
        }
        assert!(delivery.is_done());
        let reached = delivery.progress().reached;
        let numbers: Vec<_> = reached.iter().map(|(_, number)| number.as_str()).collect();
        assert_eq!(numbers, ["104", "301"]);
    }

    #[test]
    fn a_target_that_keeps_the_order_takes_keys_again() {
        let mut delivery = Delivery::of(vec![page(1, &["a", "a", "b"])], LineageKind::Mirror);
        assert_eq!(lines(&delivery.batch(true, 2)), [0, 1]);
        assert_eq!(lines(&delivery.batch(true, 2)), [2]);
    }

    #[test]
    fn a_key_whose_record_has_no_room_waits_as_a_whole() {
        let mut page = page(1, &["a", "b", "b", "c"]);
        for place in 0..2 {
            page.records[place].data = vec![0; MOST_BYTES / 2 + 1].into();
        }
        let mut delivery = Delivery::of(vec![page], LineageKind::Mirror);
        assert_eq!(lines(&delivery.batch(false, 500)), [0, 3]);
        assert_eq!(lines(&delivery.batch(false, 500)), [1]);
        assert_eq!(lines(&delivery.batch(false, 500)), [2]);
    }

    #[test]
    fn what_is_there_already_is_left_out_as_often_as_it_is_there() {
        let twice = || {
            let mut page = page(1, &["a", "a", "a"]);
            page.records[1].data = page.records[0].data.clone();
            page
        };
        let mut already = Already::default();
        already.add(twice().records.drain(..1).collect());
        let mut delivery = Delivery::of(vec![twice()], LineageKind::Mirror);
        delivery.leave_out(&mut already);
        assert!(already.is_empty());
        assert_eq!(delivery.progress().records, 1);
        assert_eq!(lines(&delivery.batch(true, 500)), [1, 2]);
    }

    #[test]
    fn a_record_is_sent_into_its_shard_where_lineage_is_mirrored() {
        let halves = HashKeyRange::divide(2);
        for (lineage, is_sent_there) in [(LineageKind::Mirror, true), (LineageKind::Flatten, false)] {
            let own = HashKey::of_partition_key("a");
            for half in &halves {
                let mut page = page(1, &["a"]);
                page.range = *half;
                let batch = Delivery::of(vec![page], lineage).batch(false, 1);
                let expected = (is_sent_there && !half.contains(own)).then_some(half.start());
                assert_eq!(batch[0].hash_key, expected);
            }
        }
        let mut without_key = page(1, &[""]);
        without_key.range = HashKeyRange::FULL;
        let batch = Delivery::of(vec![without_key], LineageKind::Mirror).batch(false, 1);
        assert_eq!(batch[0].key, "100");
    }
}
