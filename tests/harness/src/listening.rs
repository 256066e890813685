//! Subscribers of `tracing` that hear one thread.

use std::sync::LazyLock;

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::with_default;
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// Runs a function, whose events and spans the subscriber hears.
///
/// `tracing` remembers for each place in the code whether a subscriber wants its events. If there is one subscriber in the
/// process, it asks that of the thread that comes to the place first. So a test beside this one, whose thread has no
/// subscriber, could silence a place for this thread too. Two more subscribers that want everything keep it from that.
pub fn heard_by<T>(subscriber: impl Subscriber + Send + Sync + 'static, run: impl FnOnce() -> T) -> T {
    static WANT_ALL: LazyLock<[Dispatch; 2]> =
        LazyLock::new(|| [Dispatch::new(WantsAll), Dispatch::new(WantsAll)]);
    LazyLock::force(&WANT_ALL);
    with_default(subscriber, run)
}

/// Hears no thread.
struct WantsAll;

impl Subscriber for WantsAll {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
