//! An address that serves only the pages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use tokio::sync::oneshot;
use tracing::debug;

use super::pages::{Admin, Page, told};
use crate::console::Console;
use crate::http::{self, Admission, Connection, HttpOptions, Reply, Resources, Routes, TcpListener};

/// Serves the pages at a separate address. Its connections and its memory do not count for the API's address.
#[derive(Debug)]
pub(crate) struct AdminAddress {
    listener: TcpListener,
    routes: Arc<AdminRoutes>,
    options: HttpOptions,
}

#[derive(Debug)]
struct AdminRoutes {
    admin: Arc<Admin>,
    console: Option<Arc<Console>>,
    admission: Admission,
    http: Arc<Resources>,
}

impl AdminAddress {
    /// With the time limits and the TLS of the API's address, and with memory for the requests of a few clients.
    pub(crate) fn new(
        listener: TcpListener,
        admin: Arc<Admin>,
        console: Option<Arc<Console>>,
        admission: Admission,
        of_api: &HttpOptions,
    ) -> AdminAddress {
        let options = HttpOptions {
            // The descriptors that the program keeps free for uses other than the store are enough for these.
            max_connections: 16,
            max_request_bytes: 64 << 10,
            max_reply_bytes: 1 << 20,
            max_streams_per_connection: 16,
            max_buffered_request_bytes: 1 << 20,
            max_buffered_reply_bytes: 8 << 20,
            max_connection_request_bytes: 64 << 10,
            max_connection_reply_bytes: 4 << 20,
            shutdown_grace: Duration::from_secs(1).min(of_api.shutdown_grace),
            ..of_api.clone()
        };
        let admission = admission.listening_on(listener.addresses());
        AdminAddress {
            routes: Arc::new(AdminRoutes {
                admin,
                console,
                admission,
                http: Arc::new(Resources::new(&options)),
            }),
            listener,
            options,
        }
    }

    /// At least one.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        self.listener.addresses()
    }

    /// Serves until `other` has ended, so that a server can be observed while it stops.
    pub(crate) async fn serve_beside(self, other: impl Future<Output = ()>) {
        let (running, ended) = oneshot::channel::<()>();
        let other = async {
            other.await;
            drop(running);
        };
        let resources = Arc::clone(&self.routes.http);
        let ended = async { drop(ended.await) };
        let pages = http::serve_until(self.listener, self.routes, resources, &self.options, ended);
        tokio::join!(other, pages);
    }
}

impl Routes for AdminRoutes {
    async fn answer(self: &Arc<Self>, connection: &Arc<Connection>, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        self.http.bodies.discard(body).await;
        let console = self.console.as_ref().filter(|_| Console::is_asked_for(&parts));
        let admitted = match console {
            Some(_) => self.admission.admit_to_own_pages(&parts),
            None => self.admission.admit(&parts),
        };
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                debug!(%refusal, "a request was not let in");
                return told(StatusCode::FORBIDDEN, format!("{refusal}\n"));
            }
        };
        if let Some(console) = console {
            return console.answer(&parts, &self.http, connection).await;
        }
        let mut reply = match (admitted.preflight(&parts), Page::at(parts.uri.path())) {
            (Some(preflight), _) => preflight,
            (None, Some(page)) => {
                let asked = self.admin.answer(page, &parts.method, &self.http, connection);
                asked.await
            }
            (None, None) => told(
                StatusCode::NOT_FOUND,
                "Here are /health, /metrics and /version.\n",
            ),
        };
        admitted.mark(reply.headers_mut());
        reply
    }

    fn connection_is_closing(&self) -> Reply {
        told(
            StatusCode::SERVICE_UNAVAILABLE,
            "The connection is being closed.\n",
        )
    }
}
