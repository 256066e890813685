//! Something that is wrong with a cluster.

use std::fmt;

/// Something that is wrong with a cluster, and what to do next. Shown as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterProblem {
    /// The server or the stream that it is about, by its name or address; `cluster` if it is about all.
    pub about: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub next: String,
}

impl ClusterProblem {
    pub(super) fn new(about: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            what: what.into(),
            next: next.into(),
        }
    }
}

impl fmt::Display for ClusterProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. Next: {}.", self.about, self.what, self.next)
    }
}
