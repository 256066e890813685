//! A network of this process' own: a bridge, and a namespace for each node.

use std::process::Command;

/// Nodes that can be cut off.
pub struct Network;

impl Network {
    /// For so many nodes. In a process apart only, whose network has nothing yet.
    pub fn make(nodes: usize) -> Result<Self, String> {
        std::fs::create_dir_all("/run/netns").map_err(|error| error.to_string())?;
        // The names of namespaces are files there, which other processes would see.
        run("mount -t tmpfs none /run/netns")?;
        run("ip link set lo up")?;
        run("ip link add br0 type bridge")?;
        run("ip addr add 10.77.0.254/24 dev br0")?;
        run("ip link set br0 up")?;
        for place in 0..nodes {
            let (name, host) = (namespace(place), host(place));
            run(&format!("ip netns add {name}"))?;
            run(&format!(
                "ip link add {} type veth peer name eth0 netns {name}",
                link(place)
            ))?;
            run(&format!("ip link set {} master br0 up", link(place)))?;
            run(&format!("ip -n {name} addr add {host}/24 dev eth0"))?;
            run(&format!("ip -n {name} link set eth0 up"))?;
            run(&format!("ip -n {name} link set lo up"))?;
        }
        Ok(Self)
    }

    /// Nothing reaches the node, and nothing comes from it.
    pub fn cut_off(&self, place: usize) {
        run(&format!("ip link set {} down", link(place))).expect("a link goes down");
    }

    pub fn join(&self, place: usize) {
        run(&format!("ip link set {} up", link(place))).expect("a link comes up");
    }
}

pub fn namespace(place: usize) -> String {
    format!("n{}", place + 1)
}

pub fn host(place: usize) -> String {
    format!("10.77.0.{}", place + 1)
}

fn link(place: usize) -> String {
    format!("v{}", place + 1)
}

fn run(command: &str) -> Result<(), String> {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap_or_default())
        .args(words)
        .output();
    let output = output.map_err(|error| format!("{command}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
