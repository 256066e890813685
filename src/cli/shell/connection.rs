//! A connection that may break, as when a server is started again. Positions stay valid.

use std::time::{Duration, Instant};

use super::super::Failure;

/// When a failed call is tried again.
#[derive(Default)]
pub(super) struct Connection {
    broken: Option<Broken>,
}

struct Broken {
    since: Instant,
    wait: Duration,
}

impl Connection {
    const FIRST_WAIT: Duration = Duration::from_millis(100);
    const LONGEST_WAIT: Duration = Duration::from_secs(5);
    /// For how long it is tried again.
    const PATIENCE: Duration = Duration::from_secs(300);

    pub(super) fn note_answer(&mut self) {
        self.broken = None;
    }

    /// How long to wait before the next try; `None` if another try is of no use. The first time, a message says so.
    pub(super) fn wait_after(&mut self, failure: &Failure) -> Option<Duration> {
        if !failure.may_pass() {
            return None;
        }
        let broken = self.broken.get_or_insert_with(|| {
            eprintln!("anabranch: {}; trying again", failure.first_line());
            Broken {
                since: Instant::now(),
                wait: Self::FIRST_WAIT,
            }
        });
        if broken.since.elapsed() > Self::PATIENCE {
            return None;
        }
        let wait = broken.wait;
        broken.wait = (wait * 2).min(Self::LONGEST_WAIT);
        Some(wait)
    }
}
