//! Reading logs.

pub(super) mod reader;
