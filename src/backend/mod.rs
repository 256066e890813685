//! Where the logs of a store are.
//!
//! A backend keeps the logs of shards, and the catalog's log of edits. `store` calls its verbs and names none of its
//! files. It must not know streams as users hold them, nor what a put or a split is.

pub(crate) mod local;
