//! Routes between the servers of a cluster on which some news is late.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// By so much news is late.
const DELAY: Duration = Duration::from_millis(300);

/// Gives an address, and passes on all bytes between it and `to` until this process ends. A server tells the others which
/// subjects its clients listen on. Such news of a subject with this prefix is delayed and counted. The bytes behind it on
/// the same connection wait too.
pub(crate) fn relay(to: &str, subjects: &'static str, late: &Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen for a route");
    let address = listener.local_addr().expect("the address of a listener");
    let (to, late) = (to.to_owned(), late.clone());
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let Ok(passed_on) = TcpStream::connect(&to) else {
                continue;
            };
            for (from, to) in [(&connection, &passed_on), (&passed_on, &connection)] {
                if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                    let late = late.clone();
                    thread::spawn(move || pass_on(from, to, subjects, &late));
                }
            }
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, subjects: &str, late: &AtomicUsize) {
    let mut buffer = vec![0; 64 * 1024];
    let mut begun_line = Vec::new();
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        begun_line.extend_from_slice(&buffer[..length]);
        let end = begun_line.iter().rposition(|byte| *byte == b'\n');
        let lines = begun_line.drain(..end.map_or(0, |end| end + 1));
        let is_late = tells_of(lines.as_slice(), subjects);
        drop(lines);
        if is_late {
            late.fetch_add(1, Ordering::Relaxed);
            thread::sleep(DELAY);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Whether a line is such news of a subject with this prefix.
fn tells_of(lines: &[u8], subjects: &str) -> bool {
    lines.split(|byte| *byte == b'\n').any(|line| {
        line.starts_with(b"RS+ ")
            && line
                .split(|byte| *byte == b' ')
                .any(|word| word.starts_with(subjects.as_bytes()))
    })
}
