//! Tells the service manager that started the server (systemd, with `Type=notify`) the state of the server.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::warn;

/// The variable with the manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The server takes requests.
pub(super) fn tell_ready(url: &str) {
    tell(&format!("READY=1\nSTATUS=Serving {url}\n"));
}

/// The server takes no more requests, and ends.
pub(super) fn tell_stopping() {
    tell("STOPPING=1\nSTATUS=Stopping\n");
}

/// Does nothing without a manager. The server also serves if the manager cannot be told.
fn tell(state: &str) {
    let Some(socket) = std::env::var_os(SOCKET).filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = send(&socket, state.as_bytes()) {
        warn!(%error, ?socket, "the service manager cannot be told");
    }
}

/// A name that begins with `@` is not in the file system.
fn send(socket: &OsStr, state: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_told_by_a_path_and_by_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("anabranch-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, listens) in [
            (path.clone().into_os_string(), UnixDatagram::bind(&path)),
            (format!("@{name}").into(), UnixDatagram::bind_addr(&abstract_name)),
        ] {
            let listens = listens.unwrap();
            send(&socket, b"READY=1\n").unwrap();
            let mut told = [0; 64];
            let length = listens.recv(&mut told).unwrap();
            assert_eq!(&told[..length], b"READY=1\n");
        }
        assert!(send(OsStr::new("/no/such/socket"), b"READY=1\n").is_err());
    }
}
