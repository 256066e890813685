//! Access: `--credentials`, TLS, and the hosts and web pages that are admitted.

use std::path::{Path, PathBuf};

use anabranch::kinesis::{Credentials, ServerOptions, TlsError, TlsIdentity};
use clap::{ArgMatches, Args};
use tracing::info;

use super::Failure;
use super::exclusive::{Holds, decide};
use super::secret_file::SecretFile;

#[derive(Debug, Clone, Args)]
pub(super) struct AccessArguments {
    /// A file of AWS credentials; requests must be signed with one of its keys
    ///
    /// The file has profiles with aws_access_key_id and aws_secret_access_key, and optionally aws_session_token and
    /// aws_account_id. Other users must not be able to read the file. The server reads changes of the file while it
    /// runs. Without this option, the server accepts any key and verifies no signature.
    #[arg(long, value_name = "FILE", env = "ANABRANCH_CREDENTIALS")]
    credentials: Option<PathBuf>,

    /// Listen beyond this machine without --credentials: everyone who reaches the address can read and write all
    /// streams
    ///
    /// Also needed if the address of --admin-listen can be reached from other machines, even with --credentials.
    #[arg(long, env = "ANABRANCH_ALLOW_UNSIGNED_BEYOND_LOOPBACK")]
    allow_unsigned_beyond_loopback: bool,

    /// Another host that requests may name; *.NAME for all names below one, or * for all hosts
    ///
    /// Requests may always name localhost, an address that the server listens on, and the names of AWS. Can be given
    /// several times, or with commas. A request for any other host is refused with status 403.
    #[arg(
        long,
        value_name = "HOST",
        value_delimiter = ',',
        env = "ANABRANCH_ALLOW_HOST"
    )]
    allow_host: Vec<String>,

    /// Another origin of web pages that may use the server, like https://app.example; * for all
    ///
    /// Web pages of this machine may always use it. Can be given several times, or with commas. A request of any other
    /// web page is refused with status 403.
    #[arg(
        long,
        value_name = "ORIGIN",
        value_delimiter = ',',
        env = "ANABRANCH_ALLOW_ORIGIN"
    )]
    allow_origin: Vec<String>,

    /// Use TLS, with this file in PEM: the certificate, followed by the certificates that signed it
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "ANABRANCH_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert in PEM; other users must not be able to read it
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "ANABRANCH_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// Use TLS, with a certificate that the server makes once and keeps, and that clients must be told to trust
    ///
    /// The certificate is for localhost, 127.0.0.1 and ::1. It is in the data directory, in tls-certificate.pem. Not
    /// with --tls-cert.
    #[arg(long, env = "ANABRANCH_TLS_SELF_SIGNED")]
    tls_self_signed: bool,

    /// Another name or address for the certificate of --tls-self-signed
    ///
    /// Can be given several times, or with commas. If a name is missing in the certificate, the server makes it again.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "tls_self_signed",
        env = "ANABRANCH_TLS_NAME"
    )]
    tls_name: Vec<String>,

    /// Where --tls-self-signed keeps its certificate and its key, if not in the data directory
    #[arg(
        long,
        value_name = "DIR",
        requires = "tls_self_signed",
        env = "ANABRANCH_TLS_DIR"
    )]
    tls_dir: Option<PathBuf>,
}

/// The TLS of the server.
pub(super) struct Tls {
    pub(super) identity: TlsIdentity,
    /// The certificate that clients have to trust, if no authority that they know has signed it.
    pub(super) self_signed: Option<PathBuf>,
}

impl AccessArguments {
    /// Decides between options that exclude each other.
    pub(super) fn settle(&mut self, matches: &ArgMatches) -> Result<(), String> {
        match decide(matches, "tls_self_signed", "tls_cert")? {
            Holds::First => (self.tls_cert, self.tls_key) = (None, None),
            Holds::Second => self.tls_self_signed = false,
            Holds::All => {}
        }
        Ok(())
    }

    pub(super) fn verifies_signatures(&self) -> bool {
        self.credentials.is_some()
    }

    /// The file with the keys that requests have to be signed with, if there is one.
    pub(super) fn credentials(&self) -> Result<Option<SecretFile<Credentials>>, Failure> {
        let file: Option<SecretFile<Credentials>> =
            self.credentials.as_deref().map(SecretFile::read).transpose()?;
        if let Some(file) = &file {
            let keys = file.secrets.key_count();
            info!(keys, "signatures are verified");
        }
        Ok(file)
    }

    /// The options with everything that does not need the data directory.
    pub(super) fn given_to(&self, mut options: ServerOptions) -> ServerOptions {
        // Clients use the names in the certificate.
        for host in self.allow_host.iter().chain(&self.tls_name) {
            options = options.allow_host(host);
        }
        for origin in &self.allow_origin {
            options = options.allow_origin(origin);
        }
        options.allow_unsigned_beyond_loopback(self.allow_unsigned_beyond_loopback)
    }

    /// The TLS to use, if any. There may be no data directory.
    pub(super) fn tls(&self, data_dir: Option<&Path>) -> Result<Option<Tls>, Failure> {
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let identity = TlsIdentity::read(certificate, key).map_err(|error| match error {
                TlsError::File(error) => Failure::Usage(format!("TLS: {error}")),
                error => Failure::Usage(format!(
                    "TLS: {} and {}: {error}",
                    certificate.display(),
                    key.display()
                )),
            })?;
            return Ok(Some(Tls {
                identity,
                self_signed: None,
            }));
        }
        if !self.tls_self_signed {
            return Ok(None);
        }
        let directory = self.tls_dir.as_deref().or(data_dir).ok_or_else(|| {
            Failure::Usage(
                "--tls-self-signed needs a directory that keeps its certificate, so that clients can trust it: give \
                 one with --tls-dir"
                    .to_owned(),
            )
        })?;
        let made = TlsIdentity::self_signed(directory, &self.tls_name);
        let made = made.map_err(|error| Failure::Usage(format!("--tls-self-signed: {error}")))?;
        let certificate = std::path::absolute(&made.certificate).unwrap_or(made.certificate);
        if made.is_new {
            info!(certificate = %certificate.display(), "made a new certificate, which clients must be told to trust");
        }
        Ok(Some(Tls {
            identity: made.identity,
            self_signed: Some(certificate),
        }))
    }
}
