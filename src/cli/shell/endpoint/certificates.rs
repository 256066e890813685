//! The trusted certificates.

use reqwest::{Certificate, ClientBuilder};

use super::super::super::Failure;
use super::super::environment::variable;

const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// Over https those that `AWS_CA_BUNDLE` names, or else the system's. Over http none, so the system need not have any.
pub(super) fn trusted(client: ClientBuilder, is_https: bool) -> Result<ClientBuilder, Failure> {
    if !is_https {
        return Ok(client.tls_certs_only([]));
    }
    let Some(file) = variable(CA_BUNDLE) else {
        return Ok(client);
    };
    let refused = |reason: String| Failure::Usage(format!("{CA_BUNDLE}: {file}: {reason}"));
    let text = std::fs::read(&file).map_err(|error| refused(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&text).map_err(|error| refused(error.to_string()))?;
    match certificates.is_empty() {
        true => Err(refused("there is no certificate in it".to_owned())),
        false => Ok(client.tls_certs_only(certificates)),
    }
}
