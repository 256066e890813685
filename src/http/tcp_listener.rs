//! The TCP sockets that a server listens on, and accepting connections when descriptors run out.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use thiserror::Error;
use tokio::net::{self, TcpSocket, TcpStream, lookup_host};
use tracing::{debug, warn};

use super::listener::Listener;

/// Listens on TCP: on one socket for each address of a name, all with the same port.
#[derive(Debug)]
pub struct TcpListener {
    sockets: Vec<net::TcpListener>,
    addresses: Vec<SocketAddr>,
    /// Closed to accept a connection when no other descriptor is left.
    reserve: Option<OwnedFd>,
}

/// Why listening on an address failed.
#[derive(Debug, Error)]
pub(crate) enum ListenError {
    /// The address is not a host and a port, or the host is not known.
    #[error("cannot find the address {listen}: {source}; expected a host and a port, as in 127.0.0.1:4567")]
    Address { listen: String, source: io::Error },
    /// Another program listens on the port.
    #[error("{address} is taken by another program; stop that one, or listen on another port")]
    InUse { address: SocketAddr },
    /// The system does not allow listening there.
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// How much the system may have taken from us and not sent yet. By default it takes far more, in steps of more than a
/// megabyte. Then for minutes a client that reads slowly would look like one that does not read.
const MOST_UNSENT: u32 = 128 << 10;

impl TcpListener {
    pub(crate) async fn bind(listen: &str) -> Result<TcpListener, ListenError> {
        /// A port that is free for one address may be taken for another, so several are tried.
        const ATTEMPTS: usize = 32;
        let unknown = |source| ListenError::Address {
            listen: listen.to_owned(),
            source,
        };
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in lookup_host(listen).await.map_err(unknown)? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let mut attempt = 1;
        let sockets = loop {
            match listen_on_all(&addresses) {
                Ok(sockets) => break sockets,
                Err(ListenError::InUse { .. })
                    if attempt < ATTEMPTS && addresses.iter().all(|address| address.port() == 0) =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        if sockets.is_empty() {
            return Err(unknown(io::Error::new(io::ErrorKind::NotFound, "no such host")));
        }
        let addresses = sockets
            .iter()
            .map(net::TcpListener::local_addr)
            .collect::<io::Result<_>>()
            .map_err(unknown)?;
        let mut listeners = TcpListener {
            sockets,
            addresses,
            reserve: None,
        };
        listeners.restore_reserve();
        Ok(listeners)
    }

    /// The addresses, at least one.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn restore_reserve(&mut self) -> bool {
        let socket = self.sockets[0].as_fd();
        self.reserve = socket.try_clone_to_owned().ok();
        self.reserve.is_some()
    }
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|context| {
            for socket in &self.sockets {
                if let Poll::Ready(accepted) = socket.poll_accept(context) {
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Accepts a connection with the reserved descriptor, and closes it.
    async fn turn_one_away(&mut self) -> bool {
        /// A connection is waiting, unless its client has just gone.
        const PATIENCE: Duration = Duration::from_millis(10);
        if self.reserve.take().is_none() {
            return self.restore_reserve();
        }
        let accepted = tokio::time::timeout(PATIENCE, self.accept()).await;
        let is_turned_away = matches!(accepted, Ok(Ok(_)));
        drop(accepted);
        self.restore_reserve();
        is_turned_away
    }
}

/// Opens a socket for each of the addresses that this machine has. Addresses without a port get the port of the first
/// socket.
fn listen_on_all(addresses: &[SocketAddr]) -> Result<Vec<net::TcpListener>, ListenError> {
    let mut sockets = Vec::new();
    let mut port = 0;
    let mut failure = None;
    for address in addresses {
        let mut address = *address;
        if address.port() == 0 {
            address.set_port(port);
        }
        match listen_on(address).and_then(|socket| Ok((socket.local_addr()?, socket))) {
            Ok((bound, socket)) => {
                port = bound.port();
                sockets.push(socket);
            }
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                return Err(ListenError::InUse { address });
            }
            Err(source) => failure = Some(ListenError::Listen { address, source }),
        }
    }
    match failure {
        Some(failure) if sockets.is_empty() => Err(failure),
        Some(failure) => {
            // A name may have an address that this machine does not use, for example ::1 without IPv6.
            warn!(%failure, "not all addresses of the name are listened on");
            Ok(sockets)
        }
        None => Ok(sockets),
    }
}

fn listen_on(address: SocketAddr) -> io::Result<net::TcpListener> {
    const BACKLOG: u32 = 1024;
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A server that is restarted at once finds its port free; two at the same time still cannot share it.
    socket.set_reuseaddr(true)?;
    // Connections inherit these.
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    if let Err(error) = SockRef::from(&socket).set_tcp_notsent_lowat(MOST_UNSENT) {
        debug!(%error, "slow clients may look like stalled ones: cannot limit what the system takes ahead");
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_without_a_port_get_the_same_one_and_a_foreign_address_is_left_out() {
        // The one in the middle is for documentation (RFC 5737), and no machine has it.
        let addresses = ["127.0.0.1:0", "192.0.2.1:0", "127.0.0.2:0"].map(|address| address.parse().unwrap());
        let sockets = listen_on_all(&addresses).unwrap();
        let bound: Vec<SocketAddr> = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap())
            .collect();
        let port = bound[0].port();
        assert_ne!(port, 0);
        let expected = ["127.0.0.1", "127.0.0.2"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        assert_eq!(bound, expected);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_on_one_address_is_an_error() {
        let other = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let addresses = ["127.0.0.1", "127.0.0.2"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        let refused = listen_on_all(&addresses);
        assert!(matches!(refused, Err(ListenError::InUse { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn the_reserve_takes_a_connection_only_to_close_it() {
        let mut listeners = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listeners.addresses()[0]).unwrap();
        assert!(listeners.turn_one_away().await);
        assert!(listeners.reserve.is_some());
        let read = io::Read::read(&mut client, &mut [0]);
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        // No connection is waiting.
        assert!(!listeners.turn_one_away().await);
    }
}
