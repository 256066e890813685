//! The name of a request in the log, in every line about it.

use std::sync::OnceLock;

use super::request_id::RequestId;

/// The id of a request, its operation, and its stream as soon as that is known.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) request_id: RequestId,
    /// The name of the operation, if it is one of ours.
    pub(super) operation: Option<&'static str>,
    stream: OnceLock<Box<str>>,
}

impl Subject {
    pub(super) fn new(request_id: RequestId, operation: Option<&'static str>) -> Subject {
        Subject {
            request_id,
            operation,
            stream: OnceLock::new(),
        }
    }

    /// The name of the stream, which need not exist.
    pub(super) fn stream(&self) -> Option<&str> {
        self.stream.get().map(|name| &**name)
    }

    /// Notes the stream of the request. The first one stays.
    pub(super) fn note_stream(&self, name: &str) {
        self.stream.get_or_init(|| name.into());
    }
}
