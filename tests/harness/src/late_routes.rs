//! Routes between the servers of a cluster on which some news is late.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// By so much news is late.
const DELAY: Duration = Duration::from_millis(300);

/// Passes on what comes to the address that this gives, and what is answered, until this process ends. What says that
/// somebody listens on a subject that begins so is late, and so is what comes behind it on the same connection.
pub(crate) fn relay(to: &str, subjects: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen for a route");
    let address = listener.local_addr().expect("the address of a listener");
    let to = to.to_owned();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            if let Ok(passed_on) = TcpStream::connect(&to) {
                for (from, to) in [(&connection, &passed_on), (&passed_on, &connection)] {
                    if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                        thread::spawn(move || pass_on(from, to, subjects));
                    }
                }
            }
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, subjects: &str) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if tells_of(&buffer[..length], subjects) {
            thread::sleep(DELAY);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Whether a line of the protocol says that somebody listens on such a subject.
fn tells_of(passed: &[u8], subjects: &str) -> bool {
    passed.split(|byte| *byte == b'\n').any(|line| {
        line.starts_with(b"RS+ ")
            && line
                .split(|byte| *byte == b' ')
                .any(|word| word.starts_with(subjects.as_bytes()))
    })
}
