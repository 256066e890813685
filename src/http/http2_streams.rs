//! The streams of HTTP/2. Each is a task that can be dropped from outside.

use std::future::Future;
use std::sync::Arc;

use hyper::rt::Executor;
use tokio::task_local;

use super::connections::{Connection, Stream};

task_local! {
    static STREAM: Arc<Stream>;
}

/// Runs the streams of one connection. hyper waits for room to send without looking at a reply's body, so a body cannot
/// end the waiting. Dropping the task does, and resets the stream.
#[derive(Debug, Clone)]
pub(super) struct StreamExecutor {
    connection: Arc<Connection>,
}

impl StreamExecutor {
    pub(super) fn new(connection: Arc<Connection>) -> StreamExecutor {
        StreamExecutor { connection }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let stream = self.connection.begin_stream();
        let of_task = Arc::clone(&stream);
        tokio::spawn(STREAM.scope(of_task, async move {
            tokio::select! {
                biased;
                () = future => {}
                () = stream.is_given_up() => {}
            }
        }));
    }
}

/// The stream that this task serves, if the request came over HTTP/2.
pub(super) fn current() -> Option<Arc<Stream>> {
    STREAM.try_with(Arc::clone).ok()
}
