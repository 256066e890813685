//! Code that several test suites share. It uses anabranch as its users do, through the program and over sockets, and
//! knows none of its types.

pub mod allocation;
pub mod child;
pub mod files;
pub mod http1;
pub mod http2;
pub mod image;
mod late_routes;
pub mod listening;
pub mod nats;
pub mod ports;
pub mod process;
pub mod program;
pub mod sigv4;
pub mod tls;
pub mod wait;
