//! Logs that another program writes to: where they end now, and what only its commit journal has of them.

pub(super) mod followed_log;
pub(super) mod journal;
