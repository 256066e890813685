//! Three nodes with a disk and a link of their own each, and servers that use them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anabranch_harness::files::quick_parent;
use anabranch_harness::image::{Image, Switch};
use anabranch_harness::nats::{Nodes, Seat, Setup};
use tempfile::TempDir;

use super::network::{self, Network};
use super::random::Random;
use super::report;
use super::servers::Server;

pub const NODES: usize = 3;

/// A file of zeros that are not stored.
const DISK_BYTES: u64 = 4 << 30;

pub struct World {
    servers: Vec<Server>,
    nodes: Nodes,
    /// None where no power can be cut.
    disks: Vec<Image>,
    /// None where the network cannot be cut.
    network: Option<&'static Network>,
    directory: TempDir,
}

impl World {
    /// Starts the nodes, and so many servers. `is_apart` says that mounts and networks of this process are its own.
    pub fn start(program: &Path, is_apart: bool, setup: Setup, servers: usize) -> Self {
        let directory = tempfile::tempdir_in(quick_parent()).expect("make a directory");
        let network = if is_apart { network_of_process() } else { None };
        let disks = if is_apart {
            disks(directory.path())
        } else {
            Vec::new()
        };
        let seat = |place: usize| {
            let own = directory.path().join(format!("n{}", place + 1));
            Seat {
                store: disks.get(place).map_or(own, |disk| disk.path().join("store")),
                host: network.map_or("127.0.0.1".to_owned(), |_| network::host(place)),
                namespace: network.map(|_| network::namespace(place)),
            }
        };
        let seats = (0..NODES).map(seat).collect();
        let nodes = Nodes::start_at(program, directory.path(), seats, setup);
        let mut arguments = vec!["--engine".to_owned(), nodes.url()];
        match setup.sync_interval {
            "always" => arguments.extend(["--engine-monitor".to_owned(), nodes.monitors().join(",")]),
            _ => arguments.push("--engine-trust-sync".to_owned()),
        }
        let server = |place: usize| {
            let log = directory.path().join(format!("server-{place}.log"));
            Server::start(arguments.clone(), log)
        };
        Self {
            servers: (0..servers).map(server).collect(),
            nodes,
            disks,
            network,
            directory,
        }
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::address).collect()
    }

    pub fn has_power_switch(&self) -> bool {
        !self.disks.is_empty()
    }

    pub fn network(&self) -> Option<&'static Network> {
        self.network
    }

    pub fn server(&self, place: usize) -> &Server {
        &self.servers[place]
    }

    /// Kills all servers, which are started again: what they remember could hide what the nodes have lost.
    pub fn forget(&self) {
        self.servers.iter().for_each(Server::kill);
    }

    /// The last line that the first server has logged.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("server-0.log"));
        log.unwrap_or_default()
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
    }

    /// The node that leads a stream of the store, the catalog's among them, if one is known to.
    pub fn leader(&self, random: &mut Random) -> Option<usize> {
        let stream = ["AB_main_catalog", "AB_main_1", "AB_main_2", "AB_main_3"];
        self.nodes.known_leader_of(random.pick(&stream)?)
    }

    pub fn kill(&mut self, node: usize) {
        self.nodes.kill(node);
    }

    pub fn begin(&mut self, node: usize) {
        self.nodes.begin(node);
    }

    pub fn pause(&self, node: usize) {
        self.nodes.pause(node);
    }

    pub fn resume(&self, node: usize) {
        self.nodes.resume(node);
    }

    /// Takes the power of these nodes at once. They are stopped first: a server that went on without its file system for a
    /// moment could acknowledge what no disk has, which no server without power does.
    pub fn cut_power(&mut self, nodes: &[usize]) {
        nodes.iter().for_each(|node| self.nodes.pause(*node));
        let switches: Vec<_> = nodes.iter().map(|node| self.disks[*node].switch()).collect();
        switches.into_iter().for_each(Switch::cut);
        nodes.iter().for_each(|node| self.nodes.kill(*node));
    }

    /// Gives it back, and starts them.
    pub fn restore(&mut self, nodes: &[usize]) {
        for node in nodes {
            self.disks[*node].mount_again_within(Duration::from_secs(30));
            self.nodes.begin(*node);
        }
    }

    /// Changes one bit of what a node, which does not run, has of a stream. The block that was written to last is left
    /// alone. Says where, if there is any.
    pub fn flip_a_bit(&self, node: usize, random: &mut Random) -> Option<String> {
        let store = self.nodes.directory(node);
        let streams = std::fs::read_dir(store.join("jetstream/$G/streams")).ok()?;
        let mut blocks = Vec::new();
        for stream in streams.flatten() {
            let mut of_stream = blocks_in(&stream.path().join("msgs"));
            of_stream.pop();
            blocks.extend(of_stream);
        }
        blocks.sort();
        let block = random.pick(&blocks)?;
        let mut bytes = std::fs::read(block).ok()?;
        let bit = random.below(bytes.len() as u64 * 8);
        *bytes.get_mut((bit / 8) as usize)? ^= 1 << (bit % 8);
        std::fs::write(block, bytes).ok()?;
        let block = block.strip_prefix(store).unwrap_or(block);
        Some(format!("bit {bit} of {}", block.display()))
    }

    /// Leaves the logs where they are.
    pub fn keep(self) -> PathBuf {
        let Self {
            servers,
            nodes,
            disks,
            directory,
            ..
        } = self;
        drop((servers, nodes));
        drop(disks);
        directory.keep()
    }
}

/// The blocks of a stream, in their order.
fn blocks_in(messages: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(messages).into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let mut blocks: Vec<_> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "blk"))
        .filter_map(|path| Some((number(&path)?, path)))
        .collect();
    blocks.sort();
    blocks.into_iter().map(|(_, path)| path).collect()
}

/// One for all worlds of this process, with all its links up.
fn network_of_process() -> Option<&'static Network> {
    static NETWORK: OnceLock<Result<Network, String>> = OnceLock::new();
    match NETWORK.get_or_init(|| Network::make(NODES)) {
        Ok(network) => {
            (0..NODES).for_each(|place| network.join(place));
            Some(network)
        }
        Err(reason) => {
            report(&format!("the network cannot be cut here: {reason}"));
            None
        }
    }
}

fn disks(directory: &Path) -> Vec<Image> {
    let disks = (0..NODES).map(|_| Image::mount_new(directory, DISK_BYTES));
    disks.collect::<Result<_, _>>().unwrap_or_else(|reason| {
        report(&format!("no power can be cut here: {reason}"));
        Vec::new()
    })
}
