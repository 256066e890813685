//! Signature Version 4 of requests, with the key of the environment.

use anabranch::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::super::super::Failure;
use super::super::environment::variable;
use super::super::rfc3339;

/// Makes the headers that identify the sender of a request, and its region.
#[derive(Debug)]
pub(super) struct Signer {
    /// Without a key, requests have the form of a signature, but not a valid one.
    key: Option<Key>,
    region: String,
}

struct Key {
    id: String,
    secret: String,
    session_token: Option<String>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.id)
    }
}

pub(super) const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// A request signed for this region is for the server's own region.
const REGION_OF_THE_SERVER: &str = "localhost";

impl Signer {
    /// With the key of the environment, for the given region, or for the region in the host's name if it is one of AWS.
    pub(super) fn of_environment(region: Option<String>, host: &str) -> Result<Signer, Failure> {
        let id = variable("AWS_ACCESS_KEY_ID");
        let secret = variable("AWS_SECRET_ACCESS_KEY");
        let key = match (id, secret) {
            (None, None) => None,
            (Some(id), Some(secret)) => Some(Key {
                id,
                secret,
                session_token: variable("AWS_SESSION_TOKEN"),
            }),
            _ => {
                return Err(Failure::Usage(
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together: set both, or none"
                        .to_owned(),
                ));
            }
        };
        let region = region.or_else(|| region_of(host).map(str::to_owned));
        Ok(Signer {
            key,
            region: region.unwrap_or_else(|| REGION_OF_THE_SERVER.to_owned()),
        })
    }

    /// The headers of a request beside its host.
    pub(super) fn headers(
        &self,
        host: &str,
        target: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Vec<(&'static str, String)> {
        let date = rfc3339::basic(now);
        let token = self.key.as_ref().and_then(|key| key.session_token.clone());
        let mut headers = vec![
            ("content-type", CONTENT_TYPE.to_owned()),
            ("x-amz-date", date.clone()),
        ];
        headers.extend(token.map(|token| ("x-amz-security-token", token)));
        headers.push(("x-amz-target", target.to_owned()));
        let authorization = self.authorization(host, &headers, body, &date);
        headers.push(("authorization", authorization));
        headers
    }

    fn authorization(
        &self,
        host: &str,
        headers: &[(&'static str, String)],
        body: &[u8],
        date: &str,
    ) -> String {
        let mut signed: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        signed.push(("host", host));
        signed.sort_unstable();
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/kinesis/aws4_request", self.region);
        let (id, signature) = match &self.key {
            None => ("anabranch", "0".to_owned()),
            Some(key) => {
                let lines: String = signed
                    .iter()
                    .map(|(name, value)| format!("{name}:{value}\n"))
                    .collect();
                let request = format!("POST\n/\n\n{lines}\n{names}\n{}", hash(body));
                let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(request.as_bytes()));
                (key.id.as_str(), key.sign(&scope, &text))
            }
        };
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }
}

impl Key {
    fn sign(&self, scope: &str, text: &str) -> String {
        let first = ["AWS4", &self.secret].concat().into_bytes();
        let key = scope
            .split('/')
            .fold(first, |key, element| code(&key, element.as_bytes()));
        hex(&code(&key, text.as_bytes()))
    }
}

/// The region in `kinesis.eu-west-1.amazonaws.com`.
fn region_of(host: &str) -> Option<&str> {
    let (region, domain) = host.strip_prefix("kinesis.")?.split_once('.')?;
    domain.starts_with("amazonaws.com").then_some(region)
}

fn code(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_of_an_endpoint_of_aws_is_in_its_name() {
        assert_eq!(region_of("kinesis.eu-west-1.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(
            region_of("kinesis.cn-north-1.amazonaws.com.cn"),
            Some("cn-north-1")
        );
        for other in [
            "127.0.0.1:4567",
            "kinesis.local",
            "kinesis.example.com",
            "localhost",
        ] {
            assert_eq!(region_of(other), None, "{other}");
        }
    }
}
