//! Ports for programs that have to be told which one to take, and ports where nothing listens.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address of this machine with a port that is free.
///
/// The system takes ports for clients, and for servers that ask for any, from another range. So it does not give this port
/// to anybody, and a server that was killed can take its port again.
pub fn free_address() -> SocketAddr {
    const FIRST: u16 = 12_000;
    const PORTS: u32 = 18_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Each process begins somewhere else, since several may look at the same time.
    let begin = std::process::id().wrapping_mul(31);
    for _ in 0..PORTS {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let address = (Ipv4Addr::LOCALHOST, FIRST + (next % PORTS) as u16).into();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("none of {PORTS} ports is free");
}
