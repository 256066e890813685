//! The paths of the console.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{Problem, data_reply, keep_from_other_pages, not_allowed, without_body_for};
use super::events::Events;
use super::files::file;
use super::parameters::Parameters;
use super::readers::readers_of;
use super::records::{self, Asked, FULL_REPLY_BYTES, REDUCED_REPLY_BYTES, records_of};
use super::source::{Pushes, Source};
use super::stream::stream_with_shards;
use super::summary::summary;
use crate::http::{Connection, Granted, MOST_SMALL, Reply, ReplyShare, Resources, query};
use crate::{Delivery, Store};

/// The console of a store.
#[derive(Debug)]
pub(crate) struct Console {
    source: Arc<Source>,
    events: Arc<Events>,
}

/// The data that a request asks for.
enum Shown<'a> {
    Summary,
    Events,
    Stream(Cow<'a, str>),
    Readers(Cow<'a, str>),
    Records(Cow<'a, str>),
}

/// The path of the files.
const FILES: &str = "/console/";

/// The path of the data.
const DATA: &str = "/console/api/";

impl Console {
    /// Names of streams without a namespace are names in the namespace `home`.
    pub(crate) fn new(
        store: Store,
        delivery: Option<Arc<Delivery>>,
        pushes: Arc<dyn Pushes>,
        home: String,
        waits_inline: bool,
    ) -> Console {
        let source = Arc::new(Source::new(store, delivery, pushes, home, waits_inline));
        Console {
            events: Arc::new(Events::new(Arc::clone(&source))),
            source,
        }
    }

    /// Whether a request is for the console: its path says so, or it is a browser's for the first page.
    pub(crate) fn is_asked_for(parts: &Parts) -> bool {
        match parts.uri.path() {
            "/" => is_read(&parts.method) && wants_page(&parts.headers),
            "/console" => true,
            path => path.starts_with(FILES),
        }
    }

    /// The answer to an admitted request. It holds memory for replies of `http`, the address at which the request came
    /// in.
    pub(crate) async fn answer(
        &self,
        parts: &Parts,
        http: &Arc<Resources>,
        connection: &Arc<Connection>,
    ) -> Reply {
        let reply = match parts.uri.path() {
            _ if !is_read(&parts.method) => not_allowed(),
            path => match path.strip_prefix(DATA) {
                Some(below) => self.data(below, parts, http, connection).await,
                None => file(path.strip_prefix(FILES).unwrap_or_default(), &parts.headers),
            },
        };
        let mut reply = without_body_for(&parts.method, reply);
        keep_from_other_pages(reply.headers_mut());
        reply
    }

    async fn data(
        &self,
        below: &str,
        parts: &Parts,
        http: &Arc<Resources>,
        connection: &Arc<Connection>,
    ) -> Reply {
        let answer = match Shown::at(below) {
            Some(asked) => self.show(asked, parts, http, connection).await,
            None => Err(Problem::new(StatusCode::NOT_FOUND, "there is no such page")),
        };
        answer.unwrap_or_else(|problem| problem.reply())
    }

    async fn show(
        &self,
        asked: Shown<'_>,
        parts: &Parts,
        http: &Arc<Resources>,
        connection: &Arc<Connection>,
    ) -> Result<Reply, Problem> {
        let name = match asked {
            Shown::Events => {
                Parameters::of(&parts.uri, &[])?;
                return match parts.method == Method::HEAD {
                    true => Ok(data_reply(StatusCode::OK, "text/event-stream", Vec::new())),
                    false => self.events.listen(http, connection),
                };
            }
            Shown::Summary => {
                Parameters::of(&parts.uri, &[])?;
                let now = self.source.store.now().as_millis();
                let look = move |source: &Source| {
                    let mut shown = summary(source)?;
                    shown["now"] = json!(now);
                    Ok(shown)
                };
                return self.small(http, connection, look).await;
            }
            Shown::Records(name) => {
                let parameters = Parameters::of(&parts.uri, &records::PARAMETERS)?;
                return self.records(&name, &parameters, http, connection).await;
            }
            Shown::Stream(ref name) | Shown::Readers(ref name) => name.to_string(),
        };
        let has_shards = matches!(asked, Shown::Stream(_));
        let known: &[&str] = match has_shards {
            true => &["namespace", "shard"],
            false => &["namespace"],
        };
        let parameters = Parameters::of(&parts.uri, known)?;
        let namespace = parameters.get_or_empty("namespace").map(str::to_owned);
        let shard = parameters.parsed("shard")?;
        let look = move |source: &Source| {
            let stream = source.stream(namespace.as_deref(), &name)?;
            match has_shards {
                true => stream_with_shards(source, &stream, shard),
                false => readers_of(source, &stream),
            }
        };
        self.small(http, connection, look).await
    }

    /// An answer that is small except for large stores.
    async fn small(
        &self,
        http: &Resources,
        connection: &Arc<Connection>,
        look: impl FnOnce(&Source) -> Result<Value, Problem> + Send + 'static,
    ) -> Result<Reply, Problem> {
        // Waits while replies hold all memory for small ones.
        let share = http.replies.reserve(connection, MOST_SMALL).await;
        let share = share.map_err(|_| Problem::too_many_replies())?;
        let shown = self.source.look(look).await?;
        holding(share, &shown, http, connection)
    }

    async fn records(
        &self,
        name: &str,
        parameters: &Parameters,
        http: &Resources,
        connection: &Arc<Connection>,
    ) -> Result<Reply, Problem> {
        let asked = Asked::of(parameters)?;
        let namespace = parameters.get_or_empty("namespace").map(str::to_owned);
        let name = name.to_owned();
        let reserved = http
            .replies
            .reserve_large(connection, FULL_REPLY_BYTES, REDUCED_REPLY_BYTES)
            .await;
        let (share, granted) = reserved.map_err(|_| Problem::too_many_replies())?;
        // Base64 and the JSON around it take as much again.
        let most_bytes = match granted {
            Granted::Full => FULL_REPLY_BYTES / 4,
            Granted::Reduced => REDUCED_REPLY_BYTES / 4,
        };
        let shown = self
            .source
            .look(move |source| {
                let stream = source.stream(namespace.as_deref(), &name)?;
                records_of(source, &stream, &asked, most_bytes)
            })
            .await?;
        holding(share, &shown, http, connection)
    }
}

impl Shown<'_> {
    fn at(below: &str) -> Option<Shown<'_>> {
        let mut segments = below.split('/');
        let asked = match (segments.next()?, segments.next(), segments.next()) {
            ("streams", None, None) => Shown::Summary,
            ("events", None, None) => Shown::Events,
            ("streams", Some(name), None) => Shown::Stream(query::decoded(name)),
            ("streams", Some(name), Some("readers")) => Shown::Readers(query::decoded(name)),
            ("streams", Some(name), Some("records")) => Shown::Records(query::decoded(name)),
            _ => return None,
        };
        segments.next().is_none().then_some(asked)
    }
}

/// A reply of JSON that holds its share, made to fit.
fn holding(
    mut share: ReplyShare,
    shown: &Value,
    http: &Resources,
    connection: &Arc<Connection>,
) -> Result<Reply, Problem> {
    let text = shown.to_string().into_bytes();
    if !http.replies.fit(&mut share, connection, text.len()) {
        return Err(Problem::too_many_replies());
    }
    let reply = data_reply(StatusCode::OK, "application/json", text);
    Ok(reply.map(|body| body.holding(share)))
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Whether the request accepts HTML, as those of browsers do and those of the API's clients do not.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}
