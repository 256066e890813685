//! Rules for the sources.
#![allow(clippy::unwrap_used)]

mod log_statements;
mod structure;
