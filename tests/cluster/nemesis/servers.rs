//! Servers of anabranch as a service manager has them: one that ends is started again.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anabranch_harness::ports::free_address;

use crate::PROGRAM;

pub struct Server {
    address: SocketAddr,
    kept: Arc<Kept>,
    keeper: Option<JoinHandle<()>>,
}

/// What the thread that keeps the program running shares with us.
struct Kept {
    child: Mutex<Option<Child>>,
    is_over: AtomicBool,
}

impl Server {
    /// Starts one with these arguments, whose log goes to the file.
    pub fn start(arguments: Vec<String>, log: PathBuf) -> Self {
        let address = free_address();
        let kept = Arc::new(Kept {
            child: Mutex::new(None),
            is_over: AtomicBool::new(false),
        });
        let of_keeper = kept.clone();
        let keeper = std::thread::spawn(move || of_keeper.keep_running(address, &arguments, &log));
        Self {
            address,
            kept,
            keeper: Some(keeper),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `kill -9`. It is started again at once.
    pub fn kill(&self) {
        self.kept.kill();
    }

    /// Stops it in what it does (`SIGSTOP`).
    pub fn pause(&self) {
        self.kept.signal("STOP");
    }

    pub fn resume(&self) {
        self.kept.signal("CONT");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kept.is_over.store(true, Ordering::SeqCst);
        self.kept.kill();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Kept {
    fn keep_running(&self, address: SocketAddr, arguments: &[String], log: &PathBuf) {
        while !self.is_over.load(Ordering::SeqCst) {
            let log = File::options().create(true).append(true).open(log);
            let child = PROGRAM
                .command()
                .args(["serve", "--listen", &address.to_string()])
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(log.expect("open the log of a server"))
                .spawn();
            *self.child() = Some(child.expect("start a server"));
            while self.is_running() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn is_running(&self) -> bool {
        if self.is_over.load(Ordering::SeqCst) {
            self.kill();
        }
        let mut child = self.child();
        let is_running = child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !is_running {
            *child = None;
        }
        is_running
    }

    fn kill(&self) {
        if let Some(child) = self.child().as_mut() {
            let _ = child.kill();
        }
    }

    fn signal(&self, signal: &str) {
        if let Some(child) = self.child().as_ref() {
            let mut kill = Command::new("kill");
            let _ = kill
                .arg(format!("-{signal}"))
                .arg(child.id().to_string())
                .status();
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
