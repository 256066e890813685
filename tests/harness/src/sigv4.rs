//! Signature Version 4 as clients make it: for `POST /` with a body, in the header or in the query string.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::http1::{Head, JSON};

/// A key, and the other parameters of a signature.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    pub key_id: &'a str,
    pub secret: &'a str,
    pub session_token: Option<&'a str>,
    pub region: &'a str,
    /// `20150122T012202Z`
    pub date: &'a str,
}

/// A signed request.
pub struct Signed {
    uri: String,
    headers: Vec<(String, String)>,
}

/// The host that [`Head`] names.
const HOST: &str = "localhost";

impl Signer<'_> {
    /// Signs in the header, as SDKs do.
    pub fn sign(&self, target: &str, body: &[u8]) -> Signed {
        let mut headers = vec![
            ("content-type", JSON),
            ("host", HOST),
            ("x-amz-date", self.date),
            ("x-amz-security-token", self.session_token.unwrap_or_default()),
            ("x-amz-target", target),
        ];
        headers.retain(|(_, value)| !value.is_empty());
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let signature = self.signature("", &headers, body);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={signature}",
            self.key_id,
            self.scope()
        );
        let mut headers: Vec<_> = headers.into_iter().map(owned).collect();
        headers.push(owned(("authorization", &authorization)));
        Signed {
            uri: "/".to_owned(),
            headers,
        }
    }

    /// Signs in the query string, valid for this many seconds.
    pub fn presign(&self, target: &str, body: &[u8], seconds: u32) -> Signed {
        let headers = [("content-type", JSON), ("host", HOST), ("x-amz-target", target)];
        let token = match self.session_token {
            Some(token) => format!("&X-Amz-Security-Token={}", encoded(token)),
            None => String::new(),
        };
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires={seconds}{token}\
             &X-Amz-SignedHeaders=content-type%3Bhost%3Bx-amz-target",
            encoded(&format!("{}/{}", self.key_id, self.scope())),
            self.date
        );
        let signature = self.signature(&query, &headers, body);
        Signed {
            uri: format!("/?{query}&X-Amz-Signature={signature}"),
            headers: headers.into_iter().map(owned).collect(),
        }
    }

    fn signature(&self, query: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let request = format!("POST\n/\n{query}\n{lines}\n{}\n{}", names.join(";"), hash(body));
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.date,
            self.scope(),
            hash(request.as_bytes())
        );
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for element in self.scope().split('/').chain([to_sign.as_str()]) {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any key will do");
            mac.update(element.as_bytes());
            key = mac.finalize().into_bytes().to_vec();
        }
        hex(&key)
    }

    fn scope(&self) -> String {
        format!("{}/{}/kinesis/aws4_request", &self.date[..8], self.region)
    }
}

impl Signed {
    /// The head to send in front of the body that was signed.
    pub fn head(&self) -> Head<'_> {
        let headers = self.headers.iter().filter(|(name, _)| name != "host");
        Head {
            method: "POST",
            uri: &self.uri,
            headers: headers
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        }
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
