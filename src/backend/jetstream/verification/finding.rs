//! What is found on the servers of a cluster.

use std::fmt;

/// Messages of a log that are not as they were written on one server, or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaFinding {
    /// The JetStream stream.
    pub stream: String,
    /// Whose log it is, for people; the subject where the catalog does not know it.
    pub log: String,
    /// The server; `None` if it is so on all of them.
    pub server: Option<String>,
    /// The sequence of the first of the messages.
    pub first: u64,
    /// The sequence of the last one.
    pub last: u64,
    /// How many messages that are; 0 if that is not known.
    pub messages: u64,
    /// What is wrong with them.
    pub damage: ReplicaDamage,
}

/// What is wrong with messages of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplicaDamage {
    /// They are not there.
    Missing,
    /// They are not as they were written.
    Damaged {
        /// What does not hold.
        reason: String,
    },
    /// They are whole, and other ones than the other servers have.
    Other,
    /// They do not follow from those before.
    Unchained {
        /// What does not hold.
        reason: String,
    },
    /// The server was not read from here on: it is down, or so late that it answers no reads.
    Unread,
    /// They are of a log that the store does not have any more, whose last message stays as long as its stream; or another
    /// program has put them there.
    Unknown,
}

impl ReplicaFinding {
    /// Whether something is lost, or would be with one more server. What is unknown is harmless.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.damage != ReplicaDamage::Unknown
    }

    fn next(&self) -> String {
        let Self { stream, .. } = self;
        match (&self.server, &self.damage) {
            (_, ReplicaDamage::Unknown) => "nothing".to_owned(),
            (Some(server), ReplicaDamage::Unread) => {
                format!("have {server} run and catch up, and verify again")
            }
            (Some(server), _) => format!(
                "have {server} copy the stream again: stop it, remove streams/{stream} below its store_dir, and start it"
            ),
            (None, _) => {
                "restore what is lost from a backup; the records of other shards are served".to_owned()
            }
        }
    }
}

/// One line.
impl fmt::Display for ReplicaFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.as_deref().unwrap_or("all servers");
        write!(f, "{server}: {}, {}: ", self.log, self.stream)?;
        match (self.messages, self.first == self.last) {
            (_, true) => write!(f, "message {}", self.first)?,
            (0, false) => write!(f, "messages {} to {}", self.first, self.last)?,
            (count, false) => write!(f, "{count} messages from {} to {}", self.first, self.last)?,
        }
        match &self.damage {
            ReplicaDamage::Missing => write!(f, " missing"),
            ReplicaDamage::Damaged { reason } => write!(f, " damaged: {reason}"),
            ReplicaDamage::Other => write!(f, " not the same as on the other servers"),
            ReplicaDamage::Unchained { reason } => write!(f, " out of place: {reason}"),
            ReplicaDamage::Unread => write!(f, " not read"),
            ReplicaDamage::Unknown => write!(f, " of no log of the store"),
        }?;
        write!(f, ". Next: {}.", self.next())
    }
}
