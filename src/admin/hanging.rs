//! Logs a sync that hangs while it hangs, since its caller learns of it only when it ends.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::Store;

/// A sync that takes longer than this ends late or never.
pub(super) const STUCK: Duration = Duration::from_secs(10);

/// The time between two checks for syncs that hang.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Logs a sync that hangs: after 10 s, and each time its duration has doubled since the last line. Ends when the store
/// is closed. Never waits except for the time.
pub(crate) async fn tell_of_hanging_syncs(store: &Store) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Told::default();
    while let Ok(health) = store.health_at_once(None) {
        if let Some(taken) = told.news(health.oldest_sync) {
            let seconds = taken.as_secs();
            warn!(
                seconds,
                "a sync has not ended: the device hangs, and puts wait for it"
            );
        }
        looks.tick().await;
    }
}

/// The last line about the sync that hangs.
#[derive(Debug, Default)]
struct Told {
    taken: Option<Duration>,
}

impl Told {
    /// How long the oldest sync has taken so far, if it is to be logged now.
    fn news(&mut self, oldest: Option<Duration>) -> Option<Duration> {
        let stuck = oldest.filter(|taken| *taken >= STUCK);
        let Some(taken) = stuck else {
            self.taken = None;
            return None;
        };
        // A sync that has taken less time than the logged one is another one.
        let known = self.taken.filter(|known| *known <= taken);
        let is_news = known.is_none_or(|known| taken >= known.saturating_mul(2));
        if is_news {
            self.taken = stuck;
        }
        stuck.filter(|_| is_news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_hangs_is_told_less_and_less_often_and_the_next_one_again() {
        let mut told = Told::default();
        let mut news = Vec::new();
        for second in [0, 5, 9, 10, 11, 19, 20, 39, 40, 12, 13, 30, 3, 10] {
            if told.news(Some(Duration::from_secs(second))).is_some() {
                news.push(second);
            }
        }
        assert_eq!(news, [10, 20, 40, 12, 30, 10]);
        assert_eq!(told.news(None), None);
        assert!(told.news(Some(STUCK)).is_some());
    }
}
