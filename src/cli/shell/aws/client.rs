//! The SDK's client, and what its errors mean.

use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use super::super::super::Failure;
use super::super::endpoint::certificates;
use super::AwsOptions;

const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_TO_CONNECT: Duration = Duration::from_secs(10);

/// How often a call is tried if it cannot be answered at the time.
const MOST_ATTEMPTS: u32 = 7;

/// Why a call failed.
pub(super) enum CallError {
    /// An exception of the API.
    Refused { code: String, message: String },
    /// Every other failure.
    Failed(Box<Failure>),
}

impl CallError {
    pub(super) fn of<E>(place: &str, error: &SdkError<E>) -> CallError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let failed = |may_pass| {
            CallError::Failed(Box::new(Failure::Endpoint {
                url: place.to_owned(),
                reason: deepest(error),
                may_pass,
            }))
        };
        match error {
            SdkError::ServiceError(refused) if refused.raw().status().is_server_error() => failed(true),
            SdkError::ServiceError(refused) => CallError::Refused {
                code: refused.err().code().unwrap_or("an exception").to_owned(),
                message: refused.err().message().unwrap_or_default().to_owned(),
            },
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => failed(true),
            // A failure to which the client of HTTP gives a kind is a broken connection. Missing keys have no kind.
            SdkError::DispatchFailure(failure)
                if failure.is_io() || failure.is_timeout() || failure.as_other().is_some() =>
            {
                failed(true)
            }
            error => {
                let reason = deepest(error);
                CallError::Failed(Box::new(match reason.contains("credentials") {
                    true => Failure::Refused(format!("no keys for {place}: {reason}")),
                    false => Failure::Refused(format!("{place}: {reason}")),
                }))
            }
        }
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        matches!(self, CallError::Refused { code, .. } if code == kind)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        match error {
            CallError::Failed(failure) => *failure,
            CallError::Refused { code, message } if message.is_empty() => Failure::Refused(code),
            CallError::Refused { code, message } => Failure::Refused(format!("{code}: {message}")),
        }
    }
}

/// The innermost cause of an error.
fn deepest(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// A client with the keys that the tools of AWS would find.
pub(super) async fn client(options: &AwsOptions<'_>) -> Result<Client, Failure> {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(trusted()?)
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(PATIENCE_TO_CONNECT)
        .read_timeout(PATIENCE)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(MOST_ATTEMPTS));
    if !options.region.is_empty() {
        loader = loader.region(Region::new(options.region.to_owned()));
    }
    if let Some(url) = options.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let Some(profile) = options.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    match config.region() {
        Some(_) => Ok(Client::new(&config)),
        None => Err(Failure::Usage(
            "no region: give it as in aws://eu-west-1, or in AWS_REGION".to_owned(),
        )),
    }
}

/// No second attempt: the caller finds out the effect of the first one in the stream.
pub(super) fn once() -> aws_sdk_kinesis::config::Builder {
    aws_sdk_kinesis::config::Builder::new().retry_config(RetryConfig::disabled())
}

fn trusted() -> Result<TlsContext, Failure> {
    let store = match certificates::bundle()? {
        Some(bundle) => TrustStore::empty().with_pem_certificate(bundle.text),
        None => TrustStore::default(),
    };
    let context = TlsContext::builder().with_trust_store(store).build();
    context.map_err(|error| Failure::Usage(format!("the certificates cannot be used: {error}")))
}
