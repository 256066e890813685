//! Kinesis in the process of a test: a server on a free port, the AWS SDK against it, and the store beside it.
//!
//! `cargo run -p anabranch-rust-sdk --example kinesis_in_process`

use std::error::Error;

use anabranch::kinesis::{Server, ServerOptions};
use anabranch::{StartingPosition, Store};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Config, Credentials, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_smithy_http_client::Builder as HttpClientBuilder;
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::in_memory()?;
    let options = ServerOptions::new("127.0.0.1:0");
    let streams = store.namespace(&options.namespace()?)?;
    let clicks = streams.create_stream("clicks", 2)?;
    let server = Server::bind(store.clone(), options).await?;
    let url = format!("http://{}", server.local_addr());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(async {
        // In both cases the server is to stop.
        let _ = stopped.await;
    }));

    record_a_click(&client(url), "user-3", "/help").await?;

    let mut reader = clicks.reader(StartingPosition::TrimHorizon)?;
    let click = reader.next().transpose()?.ok_or("no click arrived")?;
    println!("{} {:?}", click.partition_key, click.data);
    assert_eq!(click.data, "/help");
    drop(stop);
    running.await?;
    store.close()?;
    Ok(())
}

/// The program under test.
async fn record_a_click(kinesis: &Client, user: &str, page: &str) -> Result<(), Box<dyn Error>> {
    let put = kinesis.put_record().stream_name("clicks").partition_key(user);
    put.data(Blob::new(page)).send().await?;
    Ok(())
}

fn client(url: String) -> Client {
    let config = Config::builder()
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("any", "any", None, None, "tests"))
        .http_client(HttpClientBuilder::new().build_http())
        .build();
    Client::from_conf(config)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
