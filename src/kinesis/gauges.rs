use std::sync::Arc;

use super::connections::Connections;
use super::service::Service;

/// What a running [`Server`](super::Server) holds at the moment, beside the limits in
/// [`ServerOptions`](super::ServerOptions).
#[derive(Debug, Clone)]
pub struct ServerGauges {
    service: Arc<Service>,
    connections: Arc<Connections>,
}

impl ServerGauges {
    pub(super) fn new(service: &Arc<Service>, connections: &Arc<Connections>) -> ServerGauges {
        ServerGauges {
            service: Arc::clone(service),
            connections: Arc::clone(connections),
        }
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many idle connections were closed since the start, because others needed their place.
    pub fn closed_idle_connections(&self) -> u64 {
        self.connections.closed_idle()
    }

    /// How many bytes request bodies hold.
    pub fn request_bytes(&self) -> usize {
        self.service.bodies.memory().held()
    }

    /// How many bytes replies hold, from before they are made until they are in the socket.
    pub fn reply_bytes(&self) -> usize {
        self.service.replies.held()
    }
}
