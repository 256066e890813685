//! The trusted certificates.

use reqwest::{Certificate, ClientBuilder};

use super::super::super::Failure;
use super::super::environment::variable;

const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// For https, the certificates that `AWS_CA_BUNDLE` names, or else the system's. For http, none: the system need not
/// have any.
pub(super) fn trusted(client: ClientBuilder, is_https: bool) -> Result<ClientBuilder, Failure> {
    if !is_https {
        return Ok(client.tls_certs_only([]));
    }
    let Some(Bundle { file, text }) = bundle()? else {
        return Ok(client);
    };
    let certificates =
        Certificate::from_pem_bundle(&text).map_err(|error| refused(&file, &error.to_string()))?;
    match certificates.is_empty() {
        true => Err(refused(&file, "there is no certificate in it")),
        false => Ok(client.tls_certs_only(certificates)),
    }
}

/// The file that `AWS_CA_BUNDLE` names.
pub(in crate::cli::shell) struct Bundle {
    file: String,
    /// In PEM, if the file is valid.
    pub(in crate::cli::shell) text: Vec<u8>,
}

/// The certificates that are trusted instead of the system's; `None` if the variable is not set.
pub(in crate::cli::shell) fn bundle() -> Result<Option<Bundle>, Failure> {
    let Some(file) = variable(CA_BUNDLE) else {
        return Ok(None);
    };
    let text = std::fs::read(&file).map_err(|error| refused(&file, &error.to_string()))?;
    Ok(Some(Bundle { file, text }))
}

fn refused(file: &str, reason: &str) -> Failure {
    Failure::Usage(format!("{CA_BUNDLE}: {file}: {reason}"))
}
