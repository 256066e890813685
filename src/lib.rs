//! Amazon Kinesis streams on your own disk.

pub mod model;
