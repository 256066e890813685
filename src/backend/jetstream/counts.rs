//! Counting what is asked of the cluster, and what it answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::failure::Failure;
use crate::model::Histogram;
use crate::seam::Tally;
use crate::sync::Mutex;

/// Since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Counts {
    append_micros: Tally,
    refused_appends: AtomicU64,
    unknown_appends: AtomicU64,
    /// Since when nothing was answered, while that is so.
    unanswered_since: Mutex<Option<Instant>>,
}

impl Counts {
    /// An append that was answered, or not, after so long.
    pub(super) fn note_append<T>(&self, result: &Result<T, Failure>, took: Duration) {
        match result {
            Ok(_) => self.append_micros.count_micros(took),
            Err(Failure::NoAnswer(_)) => drop(self.unknown_appends.fetch_add(1, Ordering::Relaxed)),
            Err(_) => drop(self.refused_appends.fetch_add(1, Ordering::Relaxed)),
        }
        self.note(result);
    }

    /// Something that was asked and answered, or not.
    pub(super) fn note<T>(&self, result: &Result<T, Failure>) {
        let mut since = self.unanswered_since.lock();
        match result {
            Err(Failure::NoAnswer(_)) => {
                since.get_or_insert_with(Instant::now);
            }
            _ => *since = None,
        }
    }

    /// How long each append took that went in.
    pub(super) fn append_micros(&self) -> Histogram {
        self.append_micros.histogram()
    }

    pub(super) fn refused_appends(&self) -> u64 {
        self.refused_appends.load(Ordering::Relaxed)
    }

    pub(super) fn unknown_appends(&self) -> u64 {
        self.unknown_appends.load(Ordering::Relaxed)
    }

    pub(super) fn unanswered_for(&self) -> Option<Duration> {
        self.unanswered_since.lock().map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_unanswering_from_the_first_question_without_an_answer_to_the_next_with_one() {
        let counts = Counts::default();
        let unanswered = || Err::<(), _>(Failure::NoAnswer(String::new()));
        assert_eq!(counts.unanswered_for(), None);
        counts.note_append(&unanswered(), Duration::ZERO);
        assert!(counts.unanswered_for().is_some());
        // A refusal is an answer.
        counts.note_append(&Err::<(), _>(Failure::WrongLastSequence), Duration::ZERO);
        assert_eq!(counts.unanswered_for(), None);
        counts.note(&unanswered());
        counts.note_append(&Ok(7), Duration::from_micros(5));
        assert_eq!(counts.unanswered_for(), None);
        assert_eq!((counts.refused_appends(), counts.unknown_appends()), (1, 1));
        assert_eq!(
            (counts.append_micros().count(), counts.append_micros().sum()),
            (1, 5)
        );
    }
}
