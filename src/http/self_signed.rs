//! A certificate that the server signs itself, for clients that are configured to trust it.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::ServerName;

use super::tls::{TlsError, TlsIdentity, certificates};
use crate::disk::{
    PrivateFileError, create_directory, lock_by, read_kept_private, read_public, write_private, write_public,
};

/// A self-signed certificate, and its file.
#[derive(Debug)]
pub struct SelfSigned {
    /// The certificate and its key, for the server.
    pub identity: TlsIdentity,
    /// The certificate in PEM, for the clients to trust.
    pub certificate: PathBuf,
    /// Whether it was made just now, so that no client knows it yet.
    pub is_new: bool,
}

/// The names that it always has.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const CERTIFICATE: &str = "tls-certificate.pem";
const KEY: &str = "tls-key.pem";
const LOCK: &str = "tls-lock";

impl TlsIdentity {
    /// The certificate in this directory for `localhost`, `127.0.0.1`, `::1` and these names, in the file
    /// `tls-certificate.pem`, with its key in `tls-key.pem`. Both are made the first time, and again if the certificate
    /// lacks a name.
    ///
    /// # Errors
    /// If the files cannot be read or made, or a name is invalid.
    pub fn self_signed(directory: &Path, names: &[String]) -> Result<SelfSigned, TlsError> {
        let names: Vec<&str> = LOOPBACK
            .into_iter()
            .chain(names.iter().map(String::as_str))
            .collect();
        let server_names: Vec<ServerName<'_>> = names
            .iter()
            .map(|name| ServerName::try_from(*name).map_err(|_| invalid(name)))
            .collect::<Result<_, _>>()?;
        let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
        let find = || -> Result<Option<TlsIdentity>, TlsError> {
            match kept(&certificate, &key)? {
                Some(kept) if is_for(&kept.0, &server_names)? => {
                    TlsIdentity::from_pem(&kept.0, &kept.1).map(Some)
                }
                _ => Ok(None),
            }
        };
        let known = |identity| SelfSigned {
            identity,
            certificate: certificate.clone(),
            is_new: false,
        };
        if let Some(identity) = find()? {
            return Ok(known(identity));
        }
        create_directory(directory)?;
        // If two servers start at the same time, the second one uses the files of the first.
        let _one_at_a_time = lock_by(&directory.join(LOCK))?;
        if let Some(identity) = find()? {
            return Ok(known(identity));
        }
        let (new_certificate, new_key) = make(&names)?;
        // A key without its certificate belongs to the previous certificate. In that case both are made again.
        write_private(&key, &new_key)?;
        write_public(&certificate, &new_certificate)?;
        Ok(SelfSigned {
            identity: TlsIdentity::from_pem(&new_certificate, &new_key)?,
            certificate,
            is_new: true,
        })
    }
}

/// The contents of both files, if both exist and belong together.
fn kept(certificate: &Path, key: &Path) -> Result<Option<(String, String)>, TlsError> {
    let kept = read_public(certificate).and_then(|certificate| Ok((certificate, read_kept_private(key)?)));
    match kept {
        Ok((certificate, key)) => {
            let is_usable = TlsIdentity::from_pem(&certificate, &key).is_ok();
            Ok(is_usable.then_some((certificate, key)))
        }
        Err(PrivateFileError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_for(certificate: &str, names: &[ServerName<'_>]) -> Result<bool, TlsError> {
    let certificates = certificates(certificate)?;
    let Some(Ok(certificate)) = certificates.first().map(ParsedCertificate::try_from) else {
        return Ok(false);
    };
    Ok(names
        .iter()
        .all(|name| verify_server_name(&certificate, name).is_ok()))
}

/// The certificate and its key.
fn make(names: &[&str]) -> Result<(String, String), TlsError> {
    let unusable = |error: rcgen::Error| TlsError::Unusable(error.to_string());
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).map_err(unusable)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, "anabranch");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clients trust this one certificate, so it is valid as long as they do.
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2120, 1, 1);
    let key = KeyPair::generate().map_err(unusable)?;
    let certificate = parameters.self_signed(&key).map_err(unusable)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn invalid(name: &str) -> TlsError {
    TlsError::Name {
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_kept_until_a_name_is_missing_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let within = directory.path().join("tls");
        let made = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let made = TlsIdentity::self_signed(&within, &names).unwrap();
            (made.is_new, read_public(&made.certificate).unwrap())
        };
        let (is_new, first) = made(&[]);
        assert!(is_new);
        assert_eq!(made(&[]), (false, first.clone()));
        assert_eq!(made(&["127.0.0.1"]), (false, first.clone()));
        let (is_new, second) = made(&["kinesis.example", "10.0.0.5"]);
        assert!(is_new && second != first);
        assert_eq!(made(&["10.0.0.5"]), (false, second.clone()));
        assert_eq!(made(&[]), (false, second.clone()));

        // As after a crash between the two files.
        std::fs::remove_file(within.join(CERTIFICATE)).unwrap();
        let (is_new, third) = made(&[]);
        assert!(is_new && third != second);
        std::fs::write(within.join(CERTIFICATE), &second).unwrap();
        let (is_new, fourth) = made(&[]);
        assert!(is_new && fourth != second && fourth != third);

        for wrong in ["", "a:1", "http://a", "a b"] {
            let refused = TlsIdentity::self_signed(&within, &[wrong.to_owned()]);
            let refused = refused.map(|_| ()).expect_err("no name").to_string();
            assert_eq!(
                refused,
                format!(
                    "no certificate can be made for {wrong:?}; expected a name or an address, without a port"
                )
            );
        }
    }
}
