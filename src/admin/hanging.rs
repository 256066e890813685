//! A sync that hangs: told to the log while it does, since its caller hears of it only once it ends.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::Store;

/// A sync that has not ended after so long ends late or never.
pub(super) const STUCK: Duration = Duration::from_secs(10);

/// Between two looks at what is under way.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells the log of a sync that hangs: after 10 s, and whenever it has taken twice as long as when it was last told. Ends
/// when the store is closed. Waits for nothing but the time.
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

/// What was told of the sync that hangs.
#[derive(Debug, Default)]
struct Told {
    taken: Option<Duration>,
}

impl Told {
    /// How long the oldest sync has taken so far, if that is to be told now.
    fn news(&mut self, oldest: Option<Duration>) -> Option<Duration> {
        let stuck = oldest.filter(|taken| *taken >= STUCK);
        let Some(taken) = stuck else {
            self.taken = None;
            return None;
        };
        // One that has taken less than what was told is another one.
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
