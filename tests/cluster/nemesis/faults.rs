//! What happens to nodes and servers, one fault after the other, as a seed draws them.

use std::time::{Duration, Instant};

use super::load::Load;
use super::random::Random;
use super::world::{NODES, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KilledNode,
    PausedNode,
    PowerCutOfSome,
    PowerCutOfAll,
    CutOffNode,
    FlippedBit,
    KilledServer,
    PausedServer,
}

const FAULTS: [Fault; 8] = [
    Fault::KilledNode,
    Fault::PausedNode,
    Fault::PowerCutOfSome,
    Fault::PowerCutOfAll,
    Fault::CutOffNode,
    Fault::FlippedBit,
    Fault::KilledServer,
    Fault::PausedServer,
];

/// Each fault falls once before any falls again.
pub struct Faults {
    random: Random,
    started: Instant,
    deck: Vec<Fault>,
    has_all: bool,
    /// The one node whose disk rots: more would be more than three replicas can bear.
    rotten: usize,
    story: Vec<(Duration, Fault, String)>,
}

impl Faults {
    pub fn of(seed: u64) -> Self {
        let mut random = Random::of(seed).fork(1);
        Self {
            rotten: random.below(NODES as u64) as usize,
            deck: Vec::new(),
            has_all: false,
            started: Instant::now(),
            story: Vec::new(),
            random,
        }
    }

    pub fn have_all_fallen(&self) -> bool {
        self.has_all && self.deck.is_empty()
    }

    /// The next fault: it falls, lasts for a while and is over. Then the load goes on, which is waited for or not: an
    /// error if it does not.
    pub fn next(&mut self, world: &mut World, load: &Load) -> Result<(), String> {
        if self.deck.is_empty() {
            self.deck = FAULTS.to_vec();
            self.random.shuffle(&mut self.deck);
            self.has_all = true;
        }
        if let Some(fault) = self.deck.pop() {
            self.fall(fault, world);
        }
        // Sometimes the next one falls into the recovery.
        let is_waited_for = self.random.below(4) > 0;
        let outcome = match is_waited_for {
            true => load.wait_for_progress(),
            false => Ok(()),
        };
        let pause = self.random.between(300, 1_500);
        std::thread::sleep(Duration::from_millis(pause));
        outcome
    }

    fn fall(&mut self, fault: Fault, world: &mut World) {
        let node = self.draw_node(world);
        match fault {
            Fault::KilledNode => {
                self.tell(fault, format!("node {node}"));
                world.kill(node);
                self.last(world, 5_000);
                world.begin(node);
            }
            Fault::PausedNode => {
                self.tell(fault, format!("node {node}"));
                world.pause(node);
                self.last(world, 8_000);
                world.resume(node);
            }
            Fault::PowerCutOfSome | Fault::PowerCutOfAll if world.has_power_switch() => {
                let mut nodes: Vec<_> = (0..NODES).collect();
                if fault == Fault::PowerCutOfSome {
                    self.random.shuffle(&mut nodes);
                    nodes.truncate(self.random.between(1, 2) as usize);
                }
                self.tell(fault, format!("nodes {nodes:?}"));
                world.cut_power(&nodes);
                self.last(world, 2_000);
                world.restore(&nodes);
            }
            Fault::CutOffNode if world.network().is_some() => {
                self.tell(fault, format!("node {node}"));
                if let Some(network) = world.network() {
                    network.cut_off(node);
                    self.last(world, 8_000);
                    network.join(node);
                }
            }
            Fault::FlippedBit => {
                let node = self.rotten;
                world.kill(node);
                match world.flip_a_bit(node, &mut self.random) {
                    Some(place) => self.tell(fault, format!("node {node}: {place}")),
                    // There is not enough yet: last of all, then.
                    None if !self.deck.is_empty() => self.deck.insert(0, fault),
                    None => {}
                }
                world.begin(node);
            }
            Fault::KilledServer => self.kill_server(world),
            Fault::PausedServer => {
                let place = self.random.below(world.addresses().len() as u64) as usize;
                self.tell(fault, format!("server {place}"));
                world.server(place).pause();
                self.last_alone(5_000);
                world.server(place).resume();
            }
            Fault::PowerCutOfSome | Fault::PowerCutOfAll | Fault::CutOffNode => {}
        }
    }

    fn kill_server(&mut self, world: &World) {
        let place = self.random.below(world.addresses().len() as u64) as usize;
        self.tell(Fault::KilledServer, format!("server {place}"));
        world.server(place).kill();
    }

    /// A leader half of the time.
    fn draw_node(&mut self, world: &World) -> usize {
        let any = self.random.below(NODES as u64) as usize;
        match self.random.below(2) {
            0 => world.leader(&mut self.random).unwrap_or(any),
            _ => any,
        }
    }

    /// The fault goes on for a while, and sometimes a server is killed meanwhile.
    fn last(&mut self, world: &World, most_millis: u64) {
        if self.random.below(3) == 0 {
            self.last_alone(most_millis / 2);
            self.kill_server(world);
            self.last_alone(most_millis / 2);
        } else {
            self.last_alone(most_millis);
        }
    }

    fn last_alone(&mut self, most_millis: u64) {
        let millis = self.random.between(0, most_millis);
        std::thread::sleep(Duration::from_millis(millis));
    }

    fn tell(&mut self, fault: Fault, what: String) {
        self.story.push((self.started.elapsed(), fault, what));
    }

    /// How often each has fallen.
    pub fn summary(&self) -> String {
        let count = |fault: &Fault| self.story.iter().filter(|(_, fallen, _)| fallen == fault).count();
        let counts = FAULTS.iter().map(|fault| format!("{} {fault:?}", count(fault)));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// All of them, with the time since the start.
    pub fn story(&self) -> String {
        let lines = self
            .story
            .iter()
            .map(|(at, fault, what)| format!("{:6.2} s {fault:?}: {what}", at.as_secs_f64()));
        lines.collect::<Vec<_>>().join("\n")
    }
}
