//! The schedule of channels.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::round::{DeliveryError, Progress};
use crate::model::{ChannelId, StreamId, Timestamp};

/// The time between two looks at a channel.
const INTERVAL: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(super) type ChannelKey = (StreamId, ChannelId);

/// Why a channel does not deliver now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeliveryProblem {
    /// When the first of the present failures in a row happened.
    pub since: Timestamp,
    /// How many failures in a row.
    pub attempts: u32,
    /// The error of the last one.
    pub error: DeliveryError,
}

/// The state of each channel that delivers.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    channels: HashMap<ChannelKey, Known>,
    /// When the list of channels was last updated, by the monotonic clock.
    updated: Option<Duration>,
}

#[derive(Debug, Default)]
struct Known {
    progress: Progress,
    problem: Option<DeliveryProblem>,
    /// The number of rounds in a row that have failed and made no object.
    fruitless: u32,
    /// When it is due, by the monotonic clock.
    due: Duration,
    /// Whether a thread is working on it.
    is_taken: bool,
}

/// The result of a round.
pub(super) struct GivenBack {
    pub(super) failure: Option<DeliveryError>,
    pub(super) objects: usize,
    pub(super) has_more: bool,
}

/// What follows from a round.
pub(super) enum Outcome {
    Good {
        is_first_after_failure: bool,
    },
    Failed {
        retry_in: Duration,
        /// Whether to report it: of many failures in a row fewer and fewer are.
        is_news: bool,
    },
}

impl Schedule {
    /// Whether the list of channels has to be updated.
    pub(super) fn is_stale(&self, now: Duration) -> bool {
        self.updated
            .is_none_or(|updated| now < updated || now.saturating_sub(updated) >= INTERVAL)
    }

    /// Updates the list of channels.
    pub(super) fn update(&mut self, channels: &[ChannelKey], now: Duration) {
        self.updated = Some(now);
        let there: HashSet<_> = channels.iter().collect();
        self.channels
            .retain(|key, known| known.is_taken || there.contains(key));
        for key in channels {
            self.channels.entry(*key).or_default();
        }
    }

    /// Takes the channel that has been due for longest, with the state of its shards. No other caller gets it until it
    /// is given back.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<(ChannelKey, Progress)> {
        let due = self.channels.iter_mut();
        let due = due.filter(|(_, known)| !known.is_taken && known.due <= now);
        let (key, known) = due.min_by_key(|(key, known)| (known.due, **key))?;
        known.is_taken = true;
        Some((*key, std::mem::take(&mut known.progress)))
    }

    /// Takes this channel, due or not, unless a thread is working on it.
    pub(super) fn take(&mut self, key: ChannelKey) -> Option<Progress> {
        let known = self.channels.get_mut(&key).filter(|known| !known.is_taken)?;
        known.is_taken = true;
        Some(std::mem::take(&mut known.progress))
    }

    /// How long it is until a channel is due, at most the time between two looks.
    pub(super) fn until_next(&self, now: Duration) -> Duration {
        let waiting = self.channels.values().filter(|known| !known.is_taken);
        let next = waiting.map(|known| known.due.saturating_sub(now)).min();
        next.unwrap_or(INTERVAL).min(INTERVAL)
    }

    /// Gives a channel back.
    pub(super) fn give_back(
        &mut self,
        key: ChannelKey,
        progress: Progress,
        given_back: GivenBack,
        now: Duration,
        time: Timestamp,
    ) -> Outcome {
        let known = self.channels.entry(key).or_default();
        known.is_taken = false;
        known.progress = progress;
        known.fruitless = match (&given_back.failure, given_back.objects) {
            (Some(_), 0) => known.fruitless.saturating_add(1),
            _ => 0,
        };
        let pause = match known.fruitless {
            // Behind those that are waiting already.
            _ if given_back.has_more => Duration::ZERO,
            0 => INTERVAL,
            fruitless => INTERVAL
                .saturating_mul(1 << (fruitless - 1).min(16))
                .min(LONGEST_PAUSE),
        };
        known.due = now.saturating_add(pause);
        let Some(error) = given_back.failure else {
            return Outcome::Good {
                is_first_after_failure: known.problem.take().is_some(),
            };
        };
        let problem = known.problem.get_or_insert_with(|| DeliveryProblem {
            since: time,
            attempts: 0,
            error: error.clone(),
        });
        problem.attempts = problem.attempts.saturating_add(1);
        problem.error = error;
        Outcome::Failed {
            retry_in: pause,
            is_news: problem.attempts.is_power_of_two(),
        }
    }

    pub(super) fn problem(&self, key: ChannelKey) -> Option<DeliveryProblem> {
        self.channels.get(&key)?.problem.clone()
    }
}
