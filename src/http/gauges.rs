use std::sync::Arc;

use super::resources::Resources;

/// The present state of a running [`Server`](crate::kinesis::Server), for comparison with the limits in
/// [`ServerOptions`](crate::kinesis::ServerOptions).
#[derive(Debug, Clone)]
pub struct ServerGauges {
    resources: Arc<Resources>,
}

impl ServerGauges {
    pub(crate) fn new(resources: Arc<Resources>) -> ServerGauges {
        ServerGauges { resources }
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.resources.connections.len()
    }

    /// How many idle connections were closed since the start because new ones needed their place.
    pub fn closed_idle_connections(&self) -> u64 {
        self.resources.connections.closed_idle()
    }

    /// How many bytes request bodies hold.
    pub fn request_bytes(&self) -> usize {
        self.resources.bodies.memory().held()
    }

    /// How many bytes replies hold, from before they are made until they are in the socket.
    pub fn reply_bytes(&self) -> usize {
        self.resources.replies.held()
    }
}
