//! The kernel's figures of this process, and of the others.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Resident memory of this process in KiB.
pub fn resident_kib() -> u64 {
    status_kib("VmRSS:")
}

/// The same without pages of files.
pub fn anonymous_kib() -> u64 {
    status_kib("RssAnon:")
}

/// The most that this process ever had resident, in KiB.
pub fn peak_resident_kib() -> u64 {
    status_kib("VmHWM:")
}

/// How many files this process has open.
pub fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// How many read system calls this process has made.
pub fn read_calls() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    field(&io, "syscr:")
}

/// How often the cache of the disk below a path was flushed since the system started, by any process.
pub fn device_flushes(path: &Path) -> Option<u64> {
    let device = rustix::fs::stat(path).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    // Documentation/block/stat.rst: flush I/Os are the sixteenth field.
    stat.split_whitespace().nth(15)?.parse().ok()
}

/// Processor time that this process has used, all threads together.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Waits until other processes take no more than this share of the processors, or until the patience is over.
pub fn wait_for_quiet(share: f64, patience: Duration) {
    const SAMPLE: Duration = Duration::from_millis(100);
    let begun = Instant::now();
    while begun.elapsed() < patience {
        let others = OthersShare::begin();
        std::thread::sleep(SAMPLE);
        if others.end() <= share {
            return;
        }
    }
}

/// Processes that do a part of this one's work.
static FAMILY: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// From now on counts a child as part of this process.
pub fn count_as_own(child: u32) {
    FAMILY.lock().unwrap_or_else(PoisonError::into_inner).push(child);
}

/// Microseconds of user and system time that a child has used so far, in steps of ten thousand.
pub fn processor_micros_of(child: u32) -> f64 {
    const TICK_MICROS: f64 = 10_000.0;
    ticks_of(&child.to_string()) as f64 * TICK_MICROS
}

/// User and system time of a process so far.
fn ticks_of(process: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which ends with the last bracket: state is field 3, user and system time 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum()
}

/// The share of the processors that other processes take, between two moments.
#[derive(Clone, Copy, Debug)]
pub struct OthersShare {
    all: u64,
    own: u64,
    idle: u64,
}

impl OthersShare {
    pub fn begin() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks: Vec<u64> = stat
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|field| field.parse().ok())
            .collect();
        let family = FAMILY.lock().unwrap_or_else(PoisonError::into_inner);
        let own = family
            .iter()
            .map(|child| ticks_of(&child.to_string()))
            .sum::<u64>()
            + ticks_of("self");
        Self {
            all: ticks.iter().sum(),
            own,
            idle: ticks.iter().skip(3).take(2).sum(),
        }
    }

    /// 0 to 1 of all processors.
    pub fn end(self) -> f64 {
        let now = Self::begin();
        let all = now.all.saturating_sub(self.all);
        let busy = all.saturating_sub(now.idle.saturating_sub(self.idle));
        let others = busy.saturating_sub(now.own.saturating_sub(self.own));
        others as f64 / all.max(1) as f64
    }
}

fn status_kib(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&status, name)
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}
