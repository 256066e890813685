//! What the sources may look like.
#![allow(clippy::unwrap_used)]

mod log_statements;
mod structure;
