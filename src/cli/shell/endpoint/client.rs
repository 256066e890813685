//! Blocking calls of the Kinesis API.

use std::cell::Cell;
use std::error::Error;
use std::io::{self, IsTerminal};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use anabranch::{Clock, SystemClock};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::super::super::Failure;
use super::answers;
use super::certificates;
use super::signing::Signer;

/// Longer than any answered call takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Shorter than any server keeps a connection without requests.
const LONGEST_IDLE: Duration = Duration::from_secs(20);

const PATIENCE_TO_CONNECT: Duration = Duration::from_secs(10);

/// How long an answer may take to begin, if the call itself does not wait. The slowest answers wait for a disk. A
/// stopped endpoint still takes connections, so only the time shows that it is stopped.
const PATIENCE_TO_ANSWER: Duration = Duration::from_secs(30);

/// A call may take a second more for each of this many bytes that are sent.
const LEAST_BYTES_PER_SECOND: u64 = 64 << 10;

/// After this time without an answer, a message says so.
const SILENCE: Duration = Duration::from_secs(5);

/// How often a call is tried if the endpoint cannot answer it at the time. The last wait is about 3 s.
const MOST_ATTEMPTS: u32 = 7;

const FIRST_WAIT: Duration = Duration::from_millis(50);

/// An endpoint with the API.
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    url: Url,
    host: String,
    signer: Signer,
    has_told_of_silence: Cell<bool>,
}

/// Why a call failed.
pub(super) enum CallError {
    /// The endpoint refuses it.
    Refused(Refusal),
    /// Every other failure.
    Failed(Box<Failure>),
}

/// An exception of the API.
pub(super) struct Refusal {
    pub(super) status: u16,
    /// `ResourceNotFoundException`
    pub(super) kind: String,
    pub(super) message: String,
}

impl Client {
    pub(super) fn open(address: &str, region: Option<String>) -> Result<Client, Failure> {
        let url = parsed(address)?;
        let name = url.host_str().unwrap_or_default();
        let host = match url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        let signer = Signer::of_environment(region, name)?;
        // TLS uses ring here too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .http1_only()
            .timeout(PATIENCE)
            .pool_idle_timeout(LONGEST_IDLE)
            .connect_timeout(PATIENCE_TO_CONNECT)
            .redirect(Policy::none());
        if is_loopback(name) {
            client = client.no_proxy();
        }
        let client = certificates::trusted(client, url.scheme() == "https")?;
        let http = client.build().map_err(|error| Failure::Endpoint {
            url: address.to_owned(),
            reason: deepest(&error),
            may_pass: false,
        })?;
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Client {
            http,
            runtime: runtime.map_err(|source| Failure::System {
                doing: "wait for a server",
                source,
            })?,
            url,
            host,
            signer,
            has_told_of_silence: Cell::new(false),
        })
    }

    /// Calls an operation, and retries it if it is refused for a reason that may pass.
    pub(super) fn call(&self, operation: &str, input: &Value) -> Result<Value, CallError> {
        let body = input.to_string().into_bytes();
        let mut wait = FIRST_WAIT;
        for _ in 1..MOST_ATTEMPTS {
            match self.call_once(operation, &body) {
                Err(CallError::Refused(refusal)) if refusal.may_pass(operation) => {}
                done => return done,
            }
            thread::sleep(wait);
            wait *= 2;
        }
        self.call_once(operation, &body)
    }

    /// Calls an operation once, even if it fails.
    pub(super) fn call_without_repeat(&self, operation: &str, input: &Value) -> Result<Value, CallError> {
        self.call_once(operation, input.to_string().as_bytes())
    }

    /// The failure of a call that may have had its effect, and may succeed if it is repeated.
    pub(super) fn passing_failure(&self, reason: String) -> Failure {
        self.unanswered(reason, true).into()
    }

    fn call_once(&self, operation: &str, body: &[u8]) -> Result<Value, CallError> {
        let target = format!("Kinesis_20131202.{operation}");
        let mut request = self.http.post(self.url.clone()).body(body.to_vec());
        for (name, value) in self.signer.headers(&self.host, &target, body, SystemClock.now()) {
            request = request.header(name, value);
        }
        let answered = self.runtime.block_on(async {
            let response = self.begun(request.send(), body.len() as u64).await?;
            let status = response.status();
            let answer = response.bytes().await;
            Ok::<_, String>((status, answer.map_err(|error| deepest(&error))?))
        });
        let (status, answer) = answered.map_err(|reason| self.unanswered(reason, true))?;
        match status {
            StatusCode::OK if answer.is_empty() => Ok(Value::Null),
            StatusCode::OK => serde_json::from_slice(&answer).map_err(|_| {
                self.unanswered(
                    "what answers there does not speak the Kinesis API".to_owned(),
                    false,
                )
            }),
            status => Err(self.refusal(status, &answer)),
        }
    }

    /// The answer to a call of this many bytes, once it has begun.
    async fn begun(
        &self,
        call: impl Future<Output = reqwest::Result<Response>>,
        bytes: u64,
    ) -> Result<Response, String> {
        let patience = PATIENCE_TO_ANSWER + Duration::from_secs(bytes / LEAST_BYTES_PER_SECOND);
        let mut call = pin!(call);
        let begun = match timeout(SILENCE, &mut call).await {
            Ok(begun) => begun,
            Err(_) => {
                self.tell_of_silence(patience);
                let begun = timeout(patience.saturating_sub(SILENCE), call).await;
                begun.map_err(|_| {
                    format!(
                        "no answer has begun after {} s; what listens there is stopped, or hangs",
                        patience.as_secs()
                    )
                })?
            }
        };
        begun.map_err(|error| deepest(&error))
    }

    /// Printed once, for people who wait at a terminal.
    fn tell_of_silence(&self, patience: Duration) {
        if io::stderr().is_terminal() && !self.has_told_of_silence.replace(true) {
            eprintln!(
                "\r\x1b[Kanabranch: {} has not answered for {} s; waiting up to {} s",
                self.shown_url(),
                SILENCE.as_secs(),
                patience.as_secs()
            );
        }
    }

    fn shown_url(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    fn refusal(&self, status: StatusCode, answer: &[u8]) -> CallError {
        let error: Value = serde_json::from_slice(answer).unwrap_or_default();
        let text = |name: &str| error.get(name).and_then(Value::as_str);
        let Some(kind) = text("__type") else {
            let reason = format!(
                "what answers there does not speak the Kinesis API: status {}",
                status.as_u16()
            );
            // A proxy gives this in front of a server that is being started.
            return self.unanswered(reason, status.is_server_error());
        };
        CallError::Refused(Refusal {
            status: status.as_u16(),
            kind: kind.rsplit('#').next().unwrap_or(kind).to_owned(),
            message: text("message").or(text("Message")).unwrap_or_default().to_owned(),
        })
    }

    fn unanswered(&self, reason: String, may_pass: bool) -> CallError {
        let url = self.shown_url();
        let (reason, may_pass) = match reason.contains("certificate") {
            true => {
                let reason = format!("{reason}; AWS_CA_BUNDLE names a file with certificates to trust");
                (reason, false)
            }
            false => (reason, may_pass),
        };
        CallError::Failed(Box::new(Failure::Endpoint {
            url,
            reason,
            may_pass,
        }))
    }
}

impl CallError {
    /// Whether the call may have had its effect.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            CallError::Refused(refusal) => refusal.status >= 500,
            CallError::Failed(_) => true,
        }
    }
}

impl Refusal {
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// Whether the same call may succeed a little later.
    fn may_pass(&self, operation: &str) -> bool {
        const CHANGES_NOTHING: [&str; 3] = ["Describe", "List", "Get"];
        let is_throttled = answers::is_throttling(&self.kind);
        // For other calls it is a quota, and waiting does not help.
        let is_call_rate = self.is("LimitExceededException")
            && CHANGES_NOTHING.iter().any(|prefix| operation.starts_with(prefix));
        is_throttled || is_call_rate || self.status >= 500
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        match error {
            CallError::Failed(failure) => *failure,
            CallError::Refused(Refusal { kind, message, .. }) if message.is_empty() => Failure::Refused(kind),
            CallError::Refused(Refusal { kind, message, .. }) => {
                Failure::Refused(format!("{kind}: {message}"))
            }
        }
    }
}

fn parsed(address: &str) -> Result<Url, Failure> {
    let expected = || {
        Failure::Usage(format!(
            "expected an endpoint like http://127.0.0.1:4567 or https://HOST, not {address:?}"
        ))
    };
    let url = Url::parse(address).map_err(|_| expected())?;
    let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_known = matches!(url.scheme(), "http" | "https") && url.username().is_empty();
    match is_plain && is_known && url.has_host() {
        true => Ok(url),
        false => Err(expected()),
    }
}

/// Whether the host is this machine, for which no proxy is used.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

/// The innermost cause of an error.
fn deepest(error: &reqwest::Error) -> String {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    match error.is_timeout() {
        true => format!("no answer in time: {deepest}"),
        false => deepest.to_string(),
    }
}
