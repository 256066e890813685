//! The records that are written, and the check that acknowledged ones are read back.

use super::Outcome;

/// The first bytes of a record's data: its writer, and its number among the writer's records.
pub const STAMP_BYTES: usize = 16;

/// The records of one operation, one behind the other. The bytes behind the stamps are noise that does not change.
#[derive(Clone, Debug)]
pub struct Batch {
    /// With room to fill the last page.
    pub bytes: Vec<u8>,
    /// The length of each record's data.
    pub record_bytes: usize,
    /// The writer of the records.
    pub writer: u64,
    /// The number of the next record.
    pub next: u64,
}

impl Batch {
    /// This many records with data of this many bytes, at least 16, that are not stamped yet.
    pub fn new(writer: u64, records: usize, record_bytes: usize) -> Self {
        let noise = noise(record_bytes);
        let mut bytes = Vec::with_capacity(records * record_bytes + 4096);
        for _ in 0..records {
            bytes.extend_from_slice(&noise);
        }
        Self {
            bytes,
            record_bytes,
            writer,
            next: 0,
        }
    }

    /// Stamps the records with the next numbers.
    pub fn advance(&mut self) {
        for record in self.bytes.chunks_exact_mut(self.record_bytes) {
            record[0..8].copy_from_slice(&self.writer.to_le_bytes());
            record[8..16].copy_from_slice(&self.next.to_le_bytes());
            self.next += 1;
        }
    }

    /// The data of each record.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.record_bytes)
    }
}

/// The writer and the number that a record is stamped with.
pub fn stamp_of(data: &[u8]) -> (u64, u64) {
    let field =
        |at: usize| u64::from_le_bytes(std::array::from_fn(|i| data.get(at + i).copied().unwrap_or(0)));
    (field(0), field(8))
}

/// Which of the acknowledged records were read back. A run that lost one is a failed run, however fast it was.
#[derive(Debug)]
pub struct Ledger {
    noise: Vec<u8>,
    /// For each writer, whether each of its records was seen.
    seen: Vec<Vec<bool>>,
    /// For each writer the next number, if order is promised.
    next: Option<Vec<u64>>,
}

impl Ledger {
    /// Expects this many records of each writer; in order if one log has them all.
    pub fn new(acknowledged: impl IntoIterator<Item = u64>, record_bytes: usize, is_ordered: bool) -> Self {
        let seen: Vec<_> = acknowledged
            .into_iter()
            .map(|records| vec![false; records as usize])
            .collect();
        Self {
            noise: noise(record_bytes),
            next: is_ordered.then(|| vec![0; seen.len()]),
            seen,
        }
    }

    /// Notes a record that was read, and gives its writer and number.
    ///
    /// # Errors
    /// The record was not acknowledged, was read before, or came too early.
    pub fn read(&mut self, data: &[u8]) -> Outcome<(usize, u64)> {
        let (writer, number) = stamp_of(data);
        let at = usize::try_from(writer)?;
        let is_whole = data.get(STAMP_BYTES..) == self.noise.get(STAMP_BYTES..);
        let seen = self
            .seen
            .get_mut(at)
            .and_then(|seen| seen.get_mut(number as usize));
        let Some(seen) = seen.filter(|_| is_whole) else {
            return Err(format!("writer {writer}'s record {number} is not what was written").into());
        };
        if std::mem::replace(seen, true) {
            return Err(format!("writer {writer}'s record {number} is there twice").into());
        }
        if let Some(next) = self.next.as_mut().and_then(|next| next.get_mut(at)) {
            if number != *next {
                return Err(format!("writer {writer}'s record {number} came in place of {next}").into());
            }
            *next += 1;
        }
        Ok((at, number))
    }

    /// The number of records.
    ///
    /// # Errors
    /// An acknowledged record was not read.
    pub fn close(self) -> Outcome<u64> {
        let mut records = 0;
        for (writer, seen) in self.seen.iter().enumerate() {
            let found = seen.iter().filter(|seen| **seen).count();
            if found < seen.len() {
                let acknowledged = seen.len();
                return Err(format!(
                    "LOST: writer {writer} had {acknowledged} records acknowledged and {found} can be read"
                )
                .into());
            }
            records += found as u64;
        }
        Ok(records)
    }
}

/// Bytes that do not compress, so that no engine and no disk can save work.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD_BYTES: usize = 40;

    /// The records of two writers with three records each, in order.
    fn written() -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        for writer in 0..2 {
            let mut batch = Batch::new(writer, 3, RECORD_BYTES);
            batch.advance();
            records.extend(batch.records().map(<[u8]>::to_vec));
        }
        records
    }

    fn read_back(records: &[Vec<u8>]) -> Outcome<u64> {
        let mut ledger = Ledger::new([3, 3], RECORD_BYTES, true);
        for record in records {
            ledger.read(record)?;
        }
        ledger.close()
    }

    #[test]
    fn all_records_in_order_are_what_was_acknowledged() {
        assert_eq!(read_back(&written()).unwrap(), 6);
    }

    #[test]
    fn a_record_that_is_missing_is_lost() {
        let mut records = written();
        records.pop();
        let error = read_back(&records).unwrap_err().to_string();
        assert_eq!(
            error,
            "LOST: writer 1 had 3 records acknowledged and 2 can be read"
        );
    }

    #[test]
    fn a_record_that_is_altered_or_there_twice_or_out_of_order_is_refused() {
        let mut altered = written();
        altered[4][30] ^= 1;
        assert!(read_back(&altered).is_err());

        let mut twice = written();
        twice.push(twice[5].clone());
        assert!(read_back(&twice).is_err());

        let mut swapped = written();
        swapped.swap(0, 1);
        assert!(read_back(&swapped).is_err());

        let mut foreign = written();
        foreign[0][0] = 7;
        assert!(read_back(&foreign).is_err());
    }
}
