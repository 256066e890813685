//! Ends the test run when a store hangs, instead of hanging with it.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// No case takes a second; the limit allows for a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

static CASES: LazyLock<Mutex<HashMap<ThreadId, (Instant, String)>>> = LazyLock::new(|| {
    std::thread::spawn(watch);
    Mutex::default()
});

/// A case that is watched until this is dropped, and named if the test panics in it.
pub struct Case(());

impl Case {
    pub fn begin(what: impl FnOnce() -> String) -> Self {
        with_cases(|cases| cases.insert(std::thread::current().id(), (Instant::now(), what())));
        Self(())
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let ended = with_cases(|cases| cases.remove(&std::thread::current().id()));
        if let (true, Some((_, what))) = (std::thread::panicking(), ended) {
            eprintln!("this was {what}");
        }
    }
}

fn with_cases<T>(run: impl FnOnce(&mut HashMap<ThreadId, (Instant, String)>) -> T) -> T {
    run(&mut CASES.lock().unwrap_or_else(PoisonError::into_inner))
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(5));
        let hung = with_cases(|cases| cases.values().find(|(begun, _)| begun.elapsed() > LIMIT).cloned());
        if let Some((_, what)) = hung {
            eprintln!("{what} hangs");
            std::process::abort();
        }
    }
}
