//! One server of a cluster, asked by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{ConnectErrorKind, ServerAddr, ServerInfo};
use tokio::task::JoinSet;

use super::cluster::connect_options;
use super::options::JetStream;

/// How long connecting to one server may take, with all that it says first.
const LIMIT: Duration = Duration::from_secs(5);

/// What the servers at these addresses say of themselves, or why there is no answer. All are asked at the same time.
pub(super) async fn ask_each(
    at: &JetStream,
    addresses: Vec<String>,
) -> BTreeMap<String, Result<ServerInfo, String>> {
    let mut asking = JoinSet::new();
    for address in addresses {
        let at = at.clone();
        asking.spawn(async move {
            let asked = tokio::time::timeout(LIMIT, ask(&at, &address)).await;
            let in_time =
                asked.unwrap_or_else(|_| Err(format!("there was no answer in {} s", LIMIT.as_secs())));
            (address, in_time)
        });
    }
    asking.join_all().await.into_iter().collect()
}

async fn ask(at: &JetStream, address: &str) -> Result<ServerInfo, String> {
    let server: ServerAddr = address.parse().map_err(|_| "it is no address".to_owned())?;
    let options = connect_options(at).await.map_err(|error| error.to_string())?;
    // It alone: the others that it tells of are asked by themselves.
    let options = options.ignore_discovered_servers().max_reconnects(1);
    let client = options
        .connect(server)
        .await
        .map_err(|error| match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                "it refused the credentials".to_owned()
            }
            _ => error.to_string(),
        })?;
    Ok(client.server_info())
}
