//! Logs that another program writes to: their present ends, and the frames that only its commit journal has.

pub(super) mod followed_log;
pub(super) mod journal;
