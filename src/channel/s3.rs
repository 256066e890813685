//! Buckets behind an S3-compatible endpoint.

use std::collections::HashMap;
use std::ffi::OsString;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{Attribute, Attributes, ClientOptions, ObjectStore, PutOptions, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::bucket::{Bucket, BucketError, Object};
use crate::model::{Destination, StorageClass};
use crate::sync::Mutex;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How long the check for a bucket may take, since a caller waits for it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a call is retried while the endpoint cannot answer.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// If there are more clients than this, all are dropped, and made again when they are used.
const MOST_CLIENTS: usize = 256;

/// The buckets of an S3-compatible endpoint, or of Amazon S3.
///
/// Its credentials are those of the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`,
/// those of a container's or a machine's role, or those of a web identity. It does not check a bucket's expected owner.
/// The calls are for threads outside an async runtime, or for its blocking ones.
#[derive(Debug)]
pub struct S3Buckets {
    endpoint: Option<String>,
    region: String,
    clients: Mutex<HashMap<ClientName, Arc<AmazonS3>>>,
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
}

/// A bucket, and the key of its objects' encryption.
type ClientName = (String, Option<String>);

impl S3Buckets {
    /// The buckets of an endpoint, such as `http://127.0.0.1:9000`, with the bucket in the path; without an endpoint,
    /// those of Amazon S3 in this region.
    ///
    /// # Errors
    /// If the operating system refuses the thread for requests.
    pub fn new(endpoint: Option<&str>, region: &str) -> std::io::Result<Self> {
        // TLS uses ring here too, unless the program has already chosen another provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("anabranch-s3")
            .enable_all()
            .build()?;
        Ok(Self {
            endpoint: endpoint.map(str::to_owned),
            region: region.to_owned(),
            clients: Mutex::default(),
            runtime: Some(runtime),
        })
    }

    fn client(&self, bucket: &str, encryption_key: Option<&str>) -> Result<Arc<AmazonS3>, BucketError> {
        let name: ClientName = (bucket.to_owned(), encryption_key.map(str::to_owned));
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&name) {
            return Ok(client.clone());
        }
        let mut builder = with_credentials(AmazonS3Builder::new())
            .with_bucket_name(bucket)
            .with_region(&self.region)
            .with_client_options(ClientOptions::new().with_timeout(TIMEOUT))
            .with_retry(RetryConfig {
                max_retries: 3,
                retry_timeout: RETRY_TIMEOUT,
                ..RetryConfig::default()
            });
        if let Some(endpoint) = &self.endpoint {
            let is_plain = endpoint.starts_with("http://");
            builder = builder
                .with_endpoint(endpoint)
                .with_virtual_hosted_style_request(false)
                .with_allow_http(is_plain);
        }
        if let Some(key) = encryption_key {
            builder = builder.with_sse_kms_encryption(key);
        }
        let client = builder
            .build()
            .map_err(|error| BucketError::failed("use the settings", bucket, &error))?;
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        let client = Arc::new(client);
        clients.insert(name, client.clone());
        Ok(client)
    }

    fn wait<T>(
        &self,
        doing: &'static str,
        bucket: &str,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, BucketError> {
        let runtime = self.runtime.as_ref();
        let runtime = runtime.ok_or_else(|| BucketError::failed(doing, bucket, "it is being dropped"))?;
        runtime.block_on(call).map_err(|error| {
            let error = error.to_string();
            // S3's name of this error, which is only in the text.
            match error.contains("<Code>NoSuchBucket</Code>") {
                true => BucketError::NotFound {
                    bucket: bucket.to_owned(),
                },
                false => BucketError::failed(doing, bucket, &error),
            }
        })
    }
}

impl Bucket for S3Buckets {
    fn check(&self, destination: &Destination) -> Result<(), BucketError> {
        for bucket in destination.buckets() {
            let client = self.client(bucket, None)?;
            let nothing = Path::from("kinesis-channel/is-there-a-bucket");
            let doing = "list objects";
            self.wait(doing, bucket, async {
                let mut objects = client.list(Some(&nothing));
                let listed = tokio::time::timeout(CHECK_TIMEOUT, objects.try_next()).await;
                listed.unwrap_or_else(|_| {
                    Err(object_store::Error::Generic {
                        store: "S3",
                        source: format!("no answer within {CHECK_TIMEOUT:?}").into(),
                    })
                })
            })?;
        }
        Ok(())
    }

    fn put(&self, object: Object) -> Result<(), BucketError> {
        let client = self.client(&object.bucket, object.encryption_key.as_deref())?;
        let key = Path::parse(&object.key).map_err(|error| BucketError::Refused {
            bucket: object.bucket.clone(),
            reason: error.to_string(),
        })?;
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, object.content_type.into());
        if let Some(class) = class_name(object.storage_class) {
            attributes.insert(Attribute::StorageClass, class.into());
        }
        let options = PutOptions::from(attributes);
        let put = client.put_opts(&key, object.body.into(), options);
        self.wait("put an object", &object.bucket, put).map(drop)
    }
}

/// Uses only the credentials of the environment: an endpoint there is meant for other programs, perhaps for this very
/// server.
fn with_credentials(builder: AmazonS3Builder) -> AmazonS3Builder {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let variables = std::env::vars_os().filter_map(text);
    let variables = variables.filter(|(name, _)| name.starts_with("AWS_"));
    variables.fold(builder, |builder, (name, value)| {
        let key = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>();
        let is_place = name.contains("ENDPOINT") || name.contains("BUCKET") || name.contains("REGION");
        match key {
            Ok(key) if !is_place => builder.with_config(key, value),
            _ => builder,
        }
    })
}

impl Drop for S3Buckets {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The program may drop this in an async task, which must not wait.
            runtime.shutdown_background();
        }
    }
}

/// `None` for the standard class, whose name endpoints need not know.
fn class_name(class: StorageClass) -> Option<&'static str> {
    match class {
        StorageClass::Standard => None,
        StorageClass::IntelligentTiering => Some("INTELLIGENT_TIERING"),
        StorageClass::GlacierInstantRetrieval => Some("GLACIER_IR"),
    }
}
