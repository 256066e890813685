//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files and sockets this process may have open at a time: the soft limit of `RLIMIT_NOFILE`. `u64::MAX` if
/// there is none.
pub fn open_file_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the soft limit of open files to the hard one, and gives the limit that is then in force. This affects the
/// whole process, so a program decides it, and the library never does it. Call it before opening a
/// [`Store`](crate::Store), whose default number of open segments follows the limit.
///
/// If the system refuses, the limit stays unchanged.
pub fn raise_open_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // A refusal changes nothing; the result is the limit in force.
    let _ = setrlimit(Resource::Nofile, raised);
    open_file_limit()
}
