//! The lines of standard input, read ahead while earlier ones are put.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How many lines, and how many bytes, are read ahead. One line is always read, however long it is.
const MOST_AHEAD: usize = 2_000;
const MOST_BYTES_AHEAD: usize = 10 << 20;

/// Lines that were read and not taken yet. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Lines {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    end: Option<End>,
    is_interrupted: bool,
}

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
}

/// Why there are no more lines.
#[derive(Debug)]
pub(super) enum End {
    OfInput,
    /// The line of this number is longer than allowed.
    TooLong(u64),
    Failed(io::Error),
    Interrupted,
}

impl Lines {
    /// Starts to read, in a separate thread.
    pub(super) fn read(&self, input: impl Read + Send + 'static, longest: usize) -> io::Result<()> {
        let lines = self.clone();
        let name = "anabranch-lines".to_owned();
        let read = move || {
            let end = lines.read_all(input, longest);
            lines.lock().end = Some(end);
            lines.shared.changed.notify_all();
        };
        std::thread::Builder::new().name(name).spawn(read).map(drop)
    }

    /// Takes a line. Waits for one if `may_wait`. Gives `None` if there is none now, or no more at all.
    pub(super) fn take(&self, may_wait: bool) -> Option<Line> {
        let mut state = self.lock();
        while may_wait && state.lines.is_empty() && state.end.is_none() && !state.is_interrupted {
            state = self.wait(state);
        }
        if state.is_interrupted {
            return None;
        }
        let line = state.lines.pop_front()?;
        state.bytes -= line.bytes.len();
        self.shared.changed.notify_all();
        Some(line)
    }

    /// No more lines can be taken.
    pub(super) fn interrupt(&self) {
        self.lock().is_interrupted = true;
        self.shared.changed.notify_all();
    }

    /// Why there are no more lines, once there are none.
    pub(super) fn end(&self) -> Option<End> {
        let mut state = self.lock();
        match state.is_interrupted {
            true => Some(End::Interrupted),
            false if state.lines.is_empty() => state.end.take(),
            false => None,
        }
    }

    fn read_all(&self, input: impl Read, longest: usize) -> End {
        let mut input = io::BufReader::with_capacity(256 << 10, input);
        for number in 1.. {
            let mut bytes = Vec::new();
            // With its end, and one byte more, which shows that it is too long.
            let most = longest as u64 + 2;
            match input.by_ref().take(most).read_until(b'\n', &mut bytes) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return End::Failed(error),
            }
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            }
            if bytes.len() > longest {
                return End::TooLong(number);
            }
            self.add(Line { number, bytes });
        }
        End::OfInput
    }

    fn add(&self, line: Line) {
        let mut state = self.lock();
        let is_full = |state: &State| state.lines.len() >= MOST_AHEAD || state.bytes >= MOST_BYTES_AHEAD;
        while is_full(&state) {
            state = self.wait(state);
        }
        state.bytes += line.bytes.len();
        state.lines.push_back(line);
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.shared.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(input: &'static [u8], longest: usize) -> (Vec<(u64, Vec<u8>)>, End) {
        let lines = Lines::default();
        lines.read(input, longest).unwrap();
        let mut taken = Vec::new();
        while let Some(line) = lines.take(true) {
            taken.push((line.number, line.bytes));
        }
        (taken, lines.end().unwrap())
    }

    #[test]
    fn a_line_ends_at_its_line_feed_or_with_the_input() {
        let (lines, end) = of(b"a\n\n\r\nb\0\xff", 3);
        let expected = [&b"a"[..], b"", b"\r", b"b\0\xff"];
        let expected: Vec<_> = (1..).zip(expected.map(<[u8]>::to_vec)).collect();
        assert_eq!(lines, expected);
        assert!(matches!(end, End::OfInput));
        assert_eq!(of(b"", 3).0, []);
    }

    #[test]
    fn a_line_that_is_too_long_is_not_read_to_its_end() {
        let (lines, end) = of(b"abc\nabcd\nabc\n", 3);
        assert_eq!(lines, [(1, b"abc".to_vec())]);
        assert!(matches!(end, End::TooLong(2)));
        assert!(matches!(of(b"abcdefgh", 3).1, End::TooLong(1)));
    }

    #[test]
    fn more_lines_than_are_read_ahead_come_in_their_order() {
        let lines = Lines::default();
        let input: String = (1..=3 * MOST_AHEAD).map(|number| format!("{number}\n")).collect();
        lines.read(io::Cursor::new(input.into_bytes()), 10).unwrap();
        for number in 1..=3 * MOST_AHEAD {
            let line = lines.take(true).unwrap();
            assert_eq!(
                (line.number as usize, line.bytes),
                (number, number.to_string().into_bytes())
            );
        }
        assert_eq!(lines.take(true), None);
    }

    #[test]
    fn an_interruption_ends_the_wait_for_a_line() {
        let lines = Lines::default();
        // As long as the other end is held, neither bytes nor the end come.
        let (_held, input) = std::os::unix::net::UnixStream::pair().unwrap();
        lines.read(input, 10).unwrap();
        assert_eq!(lines.take(false), None);
        assert!(lines.end().is_none());
        let interrupted = lines.clone();
        std::thread::spawn(move || interrupted.interrupt());
        assert_eq!(lines.take(true), None);
        assert!(matches!(lines.end(), Some(End::Interrupted)));
    }
}
