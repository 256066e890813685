//! Servers of the API on the cluster, each in a process of its own.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::sync::Arc;

use anabranch::bench::http_client::HttpClient;
use anabranch::bench::run::Limits;
use anabranch::kinesis::{ClusterServer, Ownership, ServerOptions};
use anabranch::{Delivery, JetStream, Store, StoreOptions};
use measure::Outcome;
use measure::pace::{Run, interleave, run};
use measure::report::Cell;
use measure::served::{PutCaller, ServerProcess, announce, when_told_to_end};
use measure::settings::Settings;
use serde_json::json;

use crate::{STREAM, shown};

/// Set for the processes that serve: the addresses of the cluster and of its monitors.
const CLUSTER: &str = "ANABRANCH_BENCH_CLUSTER";
const MONITORS: &str = "ANABRANCH_BENCH_MONITORS";

const SHARDS: u32 = 4;

pub const COLUMNS: [&str; 9] = [
    "case",
    "1 server, requests/s",
    "2 servers, requests/s",
    "ratio",
    "ratio low-high",
    "1 server, p50 us",
    "2 servers, p50 us",
    "1 server, p99 us",
    "2 servers, p99 us",
];

/// Serves, if this process was started for that.
pub fn serve_if_told() -> Option<Outcome<()>> {
    let cluster = std::env::var(CLUSTER).ok()?;
    let monitors = std::env::var(MONITORS).unwrap_or_default();
    let monitors: Vec<_> = monitors.split(',').collect();
    let at = JetStream::at(&cluster).and_then(|at| at.monitors(&monitors));
    Some(at.map_err(Into::into).and_then(serve))
}

/// Connections that put through the owner of the store, beside as many of which each second one is to a server that
/// passes calls on.
pub fn measure(
    settings: &Settings,
    cluster: &str,
    monitors: &str,
    connections: usize,
    records: usize,
) -> Outcome<Vec<Cell>> {
    let variables = [(CLUSTER, OsStr::new(cluster)), (MONITORS, OsStr::new(monitors))];
    let owner = ServerProcess::start(&variables)?;
    let other = ServerProcess::start(&variables)?;
    let mut client = HttpClient::connect(&owner.url)?;
    client.call(
        "CreateStream",
        &json!({ "StreamName": STREAM, "ShardCount": SHARDS }).to_string(),
    )?;
    let put = |urls: [&str; 2]| -> Outcome<Run> {
        let connect = |caller: usize| PutCaller::connect(urls[caller % 2], STREAM, caller, records);
        let mut callers = (0..connections).map(connect).collect::<Outcome<Vec<_>>>()?;
        run(&mut callers, Limits::window(settings.window))
    };
    let figures = interleave(
        settings,
        || put([&owner.url, &owner.url]),
        || put([&owner.url, &other.url]),
    )?;
    client.call("DeleteStream", &json!({ "StreamName": STREAM }).to_string())?;
    drop(client);
    other.stop()?;
    owner.stop()?;
    let name = match records {
        1 => format!("servers/PutRecord/{connections}-connections"),
        records => format!("servers/PutRecords/{records}/{connections}-connections"),
    };
    Ok([vec![Cell::text(name)], shown(&figures, 1)].concat())
}

/// The owner has the default options.
struct WithDefaults;

impl Ownership for WithDefaults {
    type Failure = Infallible;

    fn open(&self, at: &JetStream) -> anabranch::Result<Store> {
        StoreOptions::new().open_jetstream(at)
    }

    fn prepare(&self, _: &Store) -> Result<Option<Arc<Delivery>>, Infallible> {
        Ok(None)
    }
}

fn serve(at: JetStream) -> Outcome<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (closed, until_closed) = tokio::sync::oneshot::channel::<()>();
    when_told_to_end(move || {
        let _ = closed.send(());
    });
    runtime.block_on(async {
        let options = ServerOptions::new("127.0.0.1:0");
        let server = ClusterServer::bind(at, WithDefaults, options, None).await;
        let server = server.map_err(|error| format!("{error:?}"))?;
        let address = server.local_addr();
        let server = server.begin().await.map_err(|error| format!("{error:?}"))?;
        announce(address)?;
        let ended = server.run_until(async {
            let _ = until_closed.await;
        });
        Ok(ended.await?)
    })
}
