//! The `anabranch` program as tests run it: on a free port, stopped, killed, and started again on the same port.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::ports::free_address;
use crate::wait::PATIENCE;

/// The path of the program. A suite knows it as `env!("CARGO_BIN_EXE_anabranch")`; a library cannot.
#[derive(Clone, Copy)]
pub struct Program(pub &'static str);

/// A server that accepts connections. Dropping it kills it.
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Program {
    /// The program with an empty environment and an empty standard input.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.0);
        command.env_clear().stdin(Stdio::null());
        command
    }

    /// Starts a server on `directory/data`, or on a cluster if the arguments have `--engine`, and a free port. Waits until
    /// it prints its address. Its log is `directory/server.log`.
    pub fn serve(self, directory: &Path, more_arguments: &[&str]) -> ServerProcess {
        self.serve_at(&free_address().to_string(), directory, more_arguments)
    }

    /// As [`serve`](Program::serve), at this address.
    pub fn serve_at(self, listen: &str, directory: &Path, more_arguments: &[&str]) -> ServerProcess {
        ServerProcess::start(Command::new(self.0), directory, listen, more_arguments)
    }

    /// As [`serve`](Program::serve), with this variable in the environment.
    pub fn serve_with_variable(
        self,
        (name, value): (&str, &OsStr),
        directory: &Path,
        more_arguments: &[&str],
    ) -> ServerProcess {
        // The command of a server has an empty environment, so a shell sets the variable.
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("export {name}=\"$0\" && exec \"$@\""))
            .arg(value)
            .arg(self.0);
        ServerProcess::start(command, directory, &free_address().to_string(), more_arguments)
    }

    /// As [`serve`](Program::serve), but the program may have at most `soft` files open at first, and `hard` if it
    /// raises its limit.
    pub fn serve_with_open_files(
        self,
        (soft, hard): (u32, u32),
        directory: &Path,
        more_arguments: &[&str],
    ) -> ServerProcess {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!(
                "ulimit -S -n {soft} && ulimit -H -n {hard} && exec \"$0\" \"$@\""
            ))
            .arg(self.0);
        ServerProcess::start(command, directory, &free_address().to_string(), more_arguments)
    }
}

impl ServerProcess {
    fn start(mut command: Command, directory: &Path, listen: &str, more_arguments: &[&str]) -> ServerProcess {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ANABRANCH_") {
                command.env_remove(name);
            }
        }
        let log = directory.join("server.log");
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("create the server's log");
        if !more_arguments.contains(&"--engine") {
            command.arg("--data-dir").arg(directory.join("data"));
        }
        let mut child = command
            .args(["--listen", listen])
            .args(more_arguments)
            // For buckets. Their endpoints in tests do not check the keys.
            .env("AWS_ACCESS_KEY_ID", "any")
            .env("AWS_SECRET_ACCESS_KEY", "any")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .expect("start the server");
        let address = announced_address(&mut child).unwrap_or_else(|| {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "the server did not say where it listens; its log:\n{}",
                read_log(&log)
            );
        });
        ServerProcess { child, address, log }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        read_log(&self.log)
    }

    /// Sends the signal, `INT`, `TERM` or `HUP`, and checks that the server closes in order.
    pub fn stop(mut self, signal: &str) {
        let sent = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{signal} {}", self.child.id()))
            .status()
            .expect("run sh");
        assert!(sent.success(), "kill -{signal}: {sent}");
        let status = self.wait();
        assert!(
            status.success(),
            "after SIG{signal} the server ended with {status}; its log:\n{}",
            self.log()
        );
    }

    /// `kill -9`, and waits until the process has ended.
    pub fn kill(mut self) {
        self.child.kill().expect("kill the server");
        self.wait();
    }

    fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the server") {
                return status;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the server does not end; its log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address that the server prints. Goes on reading as long as the server writes, so that the server never waits for
/// a reader.
fn announced_address(child: &mut Child) -> Option<SocketAddr> {
    let stdout = child.stdout.take()?;
    let (found, address) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let after = line
                .split_once("://")
                .and_then(|(_, rest)| rest.split(['/', '"', ' ']).next());
            if let Some(Ok(address)) = after.map(str::parse::<SocketAddr>) {
                let _ = found.send(address);
            }
        }
    });
    address.recv_timeout(PATIENCE).ok()
}

fn read_log(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("(no log: {error})"))
}
