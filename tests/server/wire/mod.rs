//! The server as its clients see it: bytes in, bytes out, over real sockets, on a clock that the tests set.

mod account;
mod admission;
mod budgets;
mod calls;
mod cbor;
mod channels;
#[cfg(feature = "nats")]
mod cluster;
mod connections;
mod console;
mod declared_errors;
mod encryption;
mod fan_out;
mod front;
#[cfg(feature = "sim")]
mod hanging;
mod http1;
mod http2;
mod infrastructure;
mod input_constraints;
mod input_types;
mod limits_of_aws;
mod operating;
mod queue_clients;
mod queues;
mod reading;
mod regions;
mod restart;
mod retention;
mod scaling;
mod settings;
mod shards;
mod signatures;
mod streams;
mod tags;
mod test_server;
mod tls;
mod writing;
