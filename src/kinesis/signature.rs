//! Verifies that a request was signed, by Signature Version 4, with a key that the server knows.
//!
//! The form of the signature, with all its parts, was checked before. The checks and their order are AWS': the date,
//! the signed headers, the algorithm, the credential, the key, the signature, and the session token.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use super::arn::is_region;
use super::canonical;
use super::credentials::{Identity, Key, Keys};
use super::date::BasicDate;
use super::error::ApiError;
use crate::http::MAX_HEADERS;
use crate::model::Timestamp;

/// The parts of a signature, from the header or the query string.
pub(super) struct Signature<'a> {
    pub(super) algorithm: Cow<'a, str>,
    pub(super) credential: Cow<'a, str>,
    /// In the form `host;x-amz-date`.
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    pub(super) date: Cow<'a, str>,
    pub(super) session_token: Option<Cow<'a, str>>,
    /// The client's statement about the body: its hash, or that it is not signed.
    pub(super) payload_hash: Option<Cow<'a, str>>,
    /// How many seconds a signature in the query string is valid.
    pub(super) expires: Option<Cow<'a, str>>,
}

impl std::fmt::Debug for Signature<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Reusable secrets must not get into a log.
        formatter
            .debug_struct("Signature")
            .field("credential", &self.credential)
            .field("date", &self.date)
            .finish_non_exhaustive()
    }
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "kinesis";
const TERMINATOR: &str = "aws4_request";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const TARGET: &str = "x-amz-target";
/// How far a client's clock may differ from ours.
const SKEW_SECONDS: u64 = 5 * 60;

/// A signature that has passed the checks of the head: its key, and the signed text.
pub(super) struct SignedHead<'a> {
    signed_headers: Vec<&'a str>,
    scope: CredentialScope<'a>,
    key: Arc<Key>,
}

/// Checks everything about a signature that does not need the body.
pub(super) fn check_head<'a>(
    signature: &'a Signature<'_>,
    parts: &Parts,
    now: Timestamp,
    keys: &Keys,
) -> Result<SignedHead<'a>, ApiError> {
    let date = BasicDate::parse(&signature.date).ok_or_else(|| {
        incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
            signature.date
        ))
    })?;
    check_time(date, signature.expires.as_deref(), now)?;
    let signed_headers: Vec<&str> = signature.signed_headers.split(';').collect();
    check_signed_headers(&signed_headers, parts)?;
    if signature.algorithm != ALGORITHM {
        return Err(incomplete(format!(
            "Unsupported AWS 'algorithm': '{}' (only {ALGORITHM} for now). ",
            signature.algorithm
        )));
    }
    let scope = CredentialScope::of(&signature.credential)?;
    scope.check(date)?;
    let key = keys.get(scope.key_id).ok_or_else(unknown_client)?;
    Ok(SignedHead {
        signed_headers,
        scope,
        key,
    })
}

/// The signer of the request.
pub(super) fn verify(
    signature: &Signature<'_>,
    parts: &Parts,
    body: &[u8],
    now: Timestamp,
    keys: &Keys,
) -> Result<Arc<Identity>, ApiError> {
    let SignedHead {
        signed_headers,
        scope,
        key,
    } = check_head(signature, parts, now, keys)?;
    let body_hash = hex(&Sha256::digest(body));
    let payload_hash = match signature.payload_hash.as_deref() {
        // The client has signed the statement that the body is not signed.
        Some(UNSIGNED_PAYLOAD) => UNSIGNED_PAYLOAD,
        Some(hash) if hash != body_hash => return Err(mismatch()),
        _ => &body_hash,
    };
    let request = canonical::request(parts, &signed_headers, payload_hash);
    let to_sign = format!(
        "{ALGORITHM}\n{}\n{}\n{}",
        signature.date,
        scope.text(),
        hex(&Sha256::digest(&request))
    );
    let signed = bytes_of_hex(&signature.signature).ok_or_else(mismatch)?;
    scope
        .signer(&key)
        .chain_update(to_sign)
        .verify_slice(&signed)
        .map_err(|_| mismatch())?;
    check_session_token(&key, signature.session_token.as_deref())?;
    Ok(Arc::new(keys.identity(&key)))
}

fn check_time(date: BasicDate, expires: Option<&str>, now: Timestamp) -> Result<(), ApiError> {
    /// A week, as on AWS.
    const LONGEST: u64 = 7 * 24 * 60 * 60;
    let now = now.as_millis() / 1000;
    let (life, named) = match expires {
        None => (SKEW_SECONDS, "5 min".to_owned()),
        Some(text) => {
            let seconds = text.parse().ok().filter(|seconds| *seconds <= LONGEST);
            let seconds = seconds.ok_or_else(|| {
                incomplete(format!(
                    "X-Amz-Expires must be a number of seconds up to {LONGEST}. Got '{text}'."
                ))
            })?;
            (seconds, format!("{seconds} sec"))
        }
    };
    let shown = |seconds| BasicDate { seconds };
    let earliest = now.saturating_sub(life);
    if date.seconds < earliest {
        return Err(invalid(format!(
            "Signature expired: {date} is now earlier than {} ({} - {named}.)",
            shown(earliest),
            shown(now)
        )));
    }
    let latest = now + SKEW_SECONDS;
    if date.seconds > latest {
        return Err(invalid(format!(
            "Signature not yet current: {date} is still later than {} ({} + 5 min.)",
            shown(latest),
            shown(now)
        )));
    }
    Ok(())
}

/// Refuses a signature that does not cover the host or the operation: over a connection without TLS, it could be used
/// for another request.
fn check_signed_headers(names: &[&str], parts: &Parts) -> Result<(), ApiError> {
    let signs = |wanted: &str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    if !signs("host") && !signs(":authority") {
        return Err(invalid(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    if parts.headers.contains_key(TARGET) && !signs(TARGET) {
        return Err(invalid(
            "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    // Headers are found in any case of their names, so only one spelling of a name is allowed, and each name only once.
    // The signature itself cannot be signed, and no request has more headers than these.
    let is_plain = |name: &str| !name.bytes().any(|byte| byte.is_ascii_uppercase());
    if names.len() > MAX_HEADERS + 1 || !names.iter().all(|name| is_plain(name)) || signs("authorization") {
        return Err(invalid(
            "A 'SignedHeader' in the AWS Authorization is not in lower case, or is one that cannot be signed.",
        ));
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid(
            "A 'SignedHeader' is named twice in the AWS Authorization.",
        ));
    }
    Ok(())
}

/// `AKID/20150122/eu-west-1/kinesis/aws4_request`
#[derive(Debug, Clone, Copy)]
struct CredentialScope<'a> {
    key_id: &'a str,
    day: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
}

impl<'a> CredentialScope<'a> {
    fn of(credential: &'a str) -> Result<CredentialScope<'a>, ApiError> {
        let elements: Vec<&str> = credential.trim_end_matches('/').split('/').collect();
        let [key_id, day, region, service, terminator] = *elements.as_slice() else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, \
                 got '{credential}'"
            )));
        };
        Ok(CredentialScope {
            key_id,
            day,
            region,
            service,
            terminator,
        })
    }

    fn check(&self, date: BasicDate) -> Result<(), ApiError> {
        let mut wrong = String::new();
        if !is_region(self.region) && !is_of_loopback(self.region) {
            wrong += &format!(
                "Credential should be scoped to a valid region, not '{}'. ",
                self.region
            );
        }
        if self.service != SERVICE && !is_of_loopback(self.service) {
            wrong += &format!("Credential should be scoped to correct service: '{SERVICE}'. ");
        }
        if self.terminator != TERMINATOR {
            wrong += &format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'. ",
                self.terminator
            );
        }
        let day = date.day();
        if self.day != day {
            wrong += &format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{}' != '{day}', from '{date}'.",
                self.day
            );
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(invalid(wrong)),
        }
    }

    fn text(&self) -> String {
        let CredentialScope {
            day,
            region,
            service,
            terminator,
            ..
        } = self;
        format!("{day}/{region}/{service}/{terminator}")
    }

    /// Signs texts with the key, for this scope.
    fn signer(&self, key: &Key) -> Hmac<Sha256> {
        let first = ["AWS4", &key.secret].concat();
        let mut signer = hmac(first.as_bytes());
        for element in [self.day, self.region, self.service, self.terminator] {
            signer = hmac(&signer.chain_update(element).finalize().into_bytes());
        }
        signer
    }
}

/// Whether an element of a scope is one that boto 2 derives from `127.0.0.1` or `localhost`, or one that aws4 uses when
/// it does not know region or service.
fn is_of_loopback(element: &str) -> bool {
    element == "localhost" || element.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_session_token(key: &Key, given: Option<&str>) -> Result<(), ApiError> {
    let is_right = match (&key.session_token, given) {
        (None, None) => true,
        (Some(wanted), Some(given)) => {
            // The codes are compared in constant time, and reveal nothing about the token.
            let code = |token: &str| hmac(key.secret.as_bytes()).chain_update(token);
            code(wanted)
                .verify_slice(&code(given).finalize().into_bytes())
                .is_ok()
        }
        (Some(_), None) | (None, Some(_)) => false,
    };
    if is_right { Ok(()) } else { Err(unknown_client()) }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn bytes_of_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(digits[0])? << 4 | digit(digits[1])?).ok()?;
    }
    Some(bytes)
}

fn incomplete(message: String) -> ApiError {
    ApiError::new(400, "IncompleteSignatureException", message)
}

fn invalid(message: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::new(400, "InvalidSignatureException", message)
}

fn mismatch() -> ApiError {
    invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.",
    )
}

fn unknown_client() -> ApiError {
    ApiError::new(
        400,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::kinesis::authentication;
    use crate::kinesis::credentials::Credentials;

    const NOW: Timestamp = Timestamp::from_millis(1_421_889_722_999);
    const DATE: &str = "20150122T012202Z";
    const BODY: &[u8] = b"{}";

    fn keys() -> Keys {
        let text = "[alice]\naws_access_key_id = AKID\naws_secret_access_key = secret\n\
                    [bob]\naws_access_key_id = AKID2\naws_secret_access_key = secret2\n\
                    aws_session_token = a+b/c=\naws_account_id = 111122223333\n";
        Keys::new(&Credentials::parse(text).unwrap(), "000000000000")
    }

    /// The signed request, and how the sent one differs from it.
    #[derive(Clone)]
    struct Sent {
        uri: String,
        headers: Vec<(String, String)>,
        date: String,
        key_id: String,
        secret: String,
        scope: String,
        signed_headers: String,
        payload_hash: String,
        body: Vec<u8>,
    }

    impl Sent {
        fn by_alice() -> Sent {
            let headers = [
                ("host", "127.0.0.1:4567"),
                ("x-amz-date", DATE),
                ("x-amz-target", "Kinesis_20131202.ListStreams"),
            ];
            Sent {
                uri: "/".to_owned(),
                headers: headers
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .to_vec(),
                date: DATE.to_owned(),
                key_id: "AKID".to_owned(),
                secret: "secret".to_owned(),
                scope: "20150122/eu-west-1/kinesis/aws4_request".to_owned(),
                signed_headers: "host;x-amz-date;x-amz-target".to_owned(),
                payload_hash: hex(&Sha256::digest(BODY)),
                body: BODY.to_vec(),
            }
        }

        fn header(mut self, name: &str, value: &str) -> Sent {
            self.headers.retain(|(known, _)| known != name);
            self.headers.push((name.to_owned(), value.to_owned()));
            self
        }

        /// Another date, with a scope that agrees.
        fn at(self, date: &str) -> Sent {
            let mut sent = self.header("x-amz-date", date);
            sent.scope = format!("{}/eu-west-1/kinesis/aws4_request", &date[..8]);
            sent.date = date.to_owned();
            sent
        }

        fn parts(&self) -> Parts {
            let mut request = Request::post(&self.uri);
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            request.body(()).unwrap().into_parts().0
        }

        /// By the specification, and not with the code above.
        fn signature(&self, parts: &Parts) -> String {
            let names: Vec<&str> = self.signed_headers.split(';').collect();
            let request = canonical::request(parts, &names, &self.payload_hash);
            let to_sign = format!(
                "AWS4-HMAC-SHA256\n{}\n{}\n{}",
                self.date,
                self.scope,
                hex(&Sha256::digest(request))
            );
            let mut key = format!("AWS4{}", self.secret).into_bytes();
            for element in self.scope.split('/').chain([to_sign.as_str()]) {
                key = hmac(&key).chain_update(element).finalize().into_bytes().to_vec();
            }
            hex(&key)
        }

        fn verified_with(&self, authorization: &str) -> Result<String, (&'static str, String)> {
            let mut parts = self.parts();
            parts
                .headers
                .insert("authorization", authorization.parse().unwrap());
            verified(&parts, &self.body)
        }

        fn in_header(&self) -> Result<String, (&'static str, String)> {
            let signature = self.signature(&self.parts());
            self.verified_with(&format!(
                "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={signature}",
                self.key_id, self.scope, self.signed_headers
            ))
        }

        fn in_query(&self, more: &str) -> Result<String, (&'static str, String)> {
            let mut sent = self.clone();
            let mut credential = String::new();
            query_encode(&format!("{}/{}", self.key_id, self.scope), &mut credential);
            sent.uri = format!(
                "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={}&\
                 X-Amz-SignedHeaders={}{more}",
                self.date,
                self.signed_headers.replace(';', "%3B")
            );
            let signature = sent.signature(&sent.parts());
            sent.uri += &format!("&X-Amz-Signature={signature}");
            verified(&sent.parts(), &sent.body)
        }
    }

    fn query_encode(text: &str, encoded: &mut String) {
        crate::http::query::encode(text.as_bytes(), encoded);
    }

    /// The user, or the exception and its message.
    fn verified(parts: &Parts, body: &[u8]) -> Result<String, (&'static str, String)> {
        match authentication::verify(parts, body, NOW, &keys()) {
            Ok(identity) => Ok(identity.user.clone()),
            Err(error) => {
                assert_eq!(error.status, 400);
                Err((error.kind, error.message.unwrap().into_owned()))
            }
        }
    }

    fn alice() -> Result<String, (&'static str, String)> {
        Ok("alice".to_owned())
    }

    fn refused(kind: &'static str, message: &str) -> Result<String, (&'static str, String)> {
        Err((kind, message.to_owned()))
    }

    fn mismatched() -> Result<String, (&'static str, String)> {
        refused(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
             Key and signing method. Consult the service documentation for details.",
        )
    }

    fn unknown() -> Result<String, (&'static str, String)> {
        refused(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    }

    /// The example of the documentation: GET of IAM's ListUsers on 30 August 2015.
    #[test]
    fn the_documented_example_has_its_documented_signature() {
        let parts = Request::get("/?Version=2010-05-08&Action=ListUsers")
            .header("host", "iam.amazonaws.com")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("x-amz-date", "20150830T123600Z")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let request = canonical::request(
            &parts,
            &["content-type", "host", "x-amz-date"],
            &hex(&Sha256::digest(b"")),
        );
        assert_eq!(
            hex(&Sha256::digest(&request)),
            "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
        );
        let text = "[a]\naws_access_key_id = AKIDEXAMPLE\n\
                    aws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let keys = Keys::new(&Credentials::parse(text).unwrap(), "000000000000");
        let scope = CredentialScope::of("AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request").unwrap();
        let signer = scope.signer(&keys.get("AKIDEXAMPLE").unwrap());
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n20150830T123600Z\n{}\n{}",
            scope.text(),
            hex(&Sha256::digest(&request))
        );
        assert_eq!(
            hex(&signer.chain_update(to_sign).finalize().into_bytes()),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn a_right_signature_says_who_has_sent_the_request() {
        assert_eq!(Sent::by_alice().in_header(), alice());
        assert_eq!(Sent::by_alice().in_query(""), alice());
        assert_eq!(Sent::by_alice().in_query("&X-Amz-Expires=60"), alice());
        // A date in the header that HTTP has for it; and boto 2, which puts no blanks behind commas.
        let mut sent = Sent::by_alice().header("date", DATE);
        sent.headers.retain(|(name, _)| name != "x-amz-date");
        sent.signed_headers = "date;host;x-amz-target".to_owned();
        let signature = sent.signature(&sent.parts());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKID/{},SignedHeaders={},Signature={signature}",
            sent.scope, sent.signed_headers
        );
        assert_eq!(sent.verified_with(&authorization), alice());
    }

    #[test]
    fn values_of_headers_are_signed_without_their_blanks() {
        let mut sent = Sent::by_alice().header("user-agent", "  a \t b   c ");
        sent.signed_headers = "host;user-agent;x-amz-date;x-amz-target".to_owned();
        let parts = sent.parts();
        let names: Vec<&str> = sent.signed_headers.split(';').collect();
        let text = String::from_utf8(canonical::request(&parts, &names, "hash")).unwrap();
        assert_eq!(
            text,
            "POST\n/\n\nhost:127.0.0.1:4567\nuser-agent:a b c\nx-amz-date:20150122T012202Z\n\
             x-amz-target:Kinesis_20131202.ListStreams\n\nhost;user-agent;x-amz-date;x-amz-target\nhash"
        );
        assert_eq!(sent.in_header(), alice());
    }

    #[test]
    fn the_host_of_http2_is_signed_under_either_name() {
        for name in ["host", ":authority"] {
            let mut sent = Sent::by_alice();
            sent.headers.retain(|(name, _)| name != "host");
            sent.uri = "http://127.0.0.1:4567/".to_owned();
            sent.signed_headers = format!("{name};x-amz-date;x-amz-target");
            let names: Vec<&str> = sent.signed_headers.split(';').collect();
            let text = canonical::request(&sent.parts(), &names, "");
            let host = format!("POST\n/\n\n{name}:127.0.0.1:4567\n");
            assert!(text.starts_with(host.as_bytes()));
            assert_eq!(sent.in_header(), alice());
        }
    }

    #[test]
    fn the_body_is_signed_unless_its_client_says_that_it_is_not() {
        let mut changed = Sent::by_alice();
        changed.body = b"{ }".to_vec();
        assert_eq!(changed.in_header(), mismatched());
        assert_eq!(changed.in_query(""), mismatched());

        let with_hash = |hash: &str| {
            let mut sent = Sent::by_alice().header("x-amz-content-sha256", hash);
            sent.payload_hash = hash.to_owned();
            sent
        };
        assert_eq!(with_hash(&hex(&Sha256::digest(BODY))).in_header(), alice());
        assert_eq!(
            with_hash(&hex(&Sha256::digest(b"other"))).in_header(),
            mismatched()
        );
        let mut unsigned = with_hash("UNSIGNED-PAYLOAD");
        unsigned.body = b"anything".to_vec();
        assert_eq!(unsigned.in_header(), alice());
        assert_eq!(unsigned.in_query(""), alice());
        // It is a part of the signed text.
        let mut sent = Sent::by_alice().header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        sent.body = b"anything".to_vec();
        assert_eq!(sent.in_header(), mismatched());
    }

    #[test]
    fn another_secret_key_or_request_is_refused() {
        let mut sent = Sent::by_alice();
        sent.secret = "Secret".to_owned();
        assert_eq!(sent.in_header(), mismatched());
        assert_eq!(sent.in_query(""), mismatched());
        sent = Sent::by_alice();
        sent.key_id = "AKID3".to_owned();
        assert_eq!(sent.in_header(), unknown());
        assert_eq!(sent.in_query(""), unknown());
        // One character more or less, another case, and a text that is no code.
        let sent = Sent::by_alice();
        let signature = sent.signature(&sent.parts());
        for wrong in [
            &signature[1..],
            &format!("{signature}0"),
            "x",
            &"\u{e9}".repeat(32),
            &"0".repeat(64),
        ] {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKID/{}, SignedHeaders={}, Signature={wrong}",
                sent.scope, sent.signed_headers
            );
            let mut parts = sent.parts();
            let authorization = hyper::header::HeaderValue::from_bytes(authorization.as_bytes()).unwrap();
            parts.headers.insert("authorization", authorization);
            assert_eq!(verified(&parts, BODY), mismatched(), "{wrong}");
        }
        // Signed for one operation, and sent for another.
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKID/{}, SignedHeaders={}, Signature={signature}",
            sent.scope, sent.signed_headers
        );
        let other = sent
            .clone()
            .header("x-amz-target", "Kinesis_20131202.DeleteStream");
        assert_eq!(other.verified_with(&authorization), mismatched());
        assert_eq!(sent.verified_with(&authorization), alice());
    }

    #[test]
    fn a_session_token_is_needed_where_the_key_has_one_and_only_there() {
        let by_bob = |token: Option<&str>| {
            let mut sent = Sent::by_alice();
            (sent.key_id, sent.secret) = ("AKID2".to_owned(), "secret2".to_owned());
            match token {
                Some(token) => sent.header("x-amz-security-token", token),
                None => sent,
            }
        };
        let bob = Ok("bob".to_owned());
        assert_eq!(by_bob(Some("a+b/c=")).in_header(), bob);
        assert_eq!(by_bob(None).in_query("&X-Amz-Security-Token=a%2Bb%2Fc%3D"), bob);
        assert_eq!(by_bob(None).in_header(), unknown());
        assert_eq!(by_bob(Some("a+b/c")).in_header(), unknown());
        assert_eq!(by_bob(None).in_query("&X-Amz-Security-Token=a"), unknown());
        let with_token = Sent::by_alice().header("x-amz-security-token", "a");
        assert_eq!(with_token.in_header(), unknown());
    }

    #[test]
    fn a_date_that_is_five_minutes_off_is_refused() {
        assert_eq!(Sent::by_alice().at("20150122T011702Z").in_header(), alice());
        assert_eq!(Sent::by_alice().at("20150122T012702Z").in_header(), alice());
        assert_eq!(
            Sent::by_alice().at("20150122T011701Z").in_header(),
            refused(
                "InvalidSignatureException",
                "Signature expired: 20150122T011701Z is now earlier than 20150122T011702Z (20150122T012202Z - 5 min.)"
            )
        );
        assert_eq!(
            Sent::by_alice().at("20150122T012703Z").in_header(),
            refused(
                "InvalidSignatureException",
                "Signature not yet current: 20150122T012703Z is still later than 20150122T012702Z \
                 (20150122T012202Z + 5 min.)"
            )
        );
        assert_eq!(
            Sent::by_alice()
                .header("x-amz-date", "now")
                .at_text("now")
                .in_header(),
            refused(
                "IncompleteSignatureException",
                "Date must be in ISO-8601 'basic format'. Got 'now'. See http://en.wikipedia.org/wiki/ISO_8601"
            )
        );
    }

    impl Sent {
        fn at_text(mut self, date: &str) -> Sent {
            self.date = date.to_owned();
            self
        }
    }

    #[test]
    fn a_signature_in_the_query_string_lasts_as_long_as_it_says() {
        let at = |date: &str| Sent::by_alice().at(date);
        assert_eq!(at("20150122T002202Z").in_query("&X-Amz-Expires=3600"), alice());
        assert_eq!(
            at("20150122T002201Z").in_query("&X-Amz-Expires=3600"),
            refused(
                "InvalidSignatureException",
                "Signature expired: 20150122T002201Z is now earlier than 20150122T002202Z (20150122T012202Z - 3600 sec.)"
            )
        );
        for expires in ["", "x", "-1", "604801"] {
            assert_eq!(
                Sent::by_alice().in_query(&format!("&X-Amz-Expires={expires}")),
                refused(
                    "IncompleteSignatureException",
                    &format!("X-Amz-Expires must be a number of seconds up to 604800. Got '{expires}'.")
                )
            );
        }
    }

    #[test]
    fn host_and_operation_have_to_be_signed_and_no_header_twice() {
        for (signed, message) in [
            (
                "x-amz-date;x-amz-target",
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
            ),
            (
                "host;x-amz-date",
                "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.",
            ),
            (
                "host;host;x-amz-target",
                "A 'SignedHeader' is named twice in the AWS Authorization.",
            ),
        ] {
            let mut sent = Sent::by_alice();
            sent.signed_headers = signed.to_owned();
            assert_eq!(sent.in_header(), refused("InvalidSignatureException", message));
        }
    }

    #[test]
    fn the_scope_is_that_of_this_service_today() {
        let scoped = |scope: &str| {
            let mut sent = Sent::by_alice();
            sent.scope = scope.to_owned();
            sent.in_header()
        };
        for of_loopback in ["0/127", "localhost/localhost", "eu-west-1/"] {
            assert_eq!(scoped(&format!("20150122/{of_loopback}/aws4_request")), alice());
        }
        assert_eq!(
            scoped("20150121/europe/dynamodb/aws5"),
            refused(
                "InvalidSignatureException",
                "Credential should be scoped to a valid region, not 'europe'. \
                 Credential should be scoped to correct service: 'kinesis'. \
                 Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'. \
                 Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '20150121' != '20150122', from '20150122T012202Z'."
            )
        );
        assert_eq!(
            scoped("20150122/eu-west-1/kinesis"),
            refused(
                "IncompleteSignatureException",
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, \
                 got 'AKID/20150122/eu-west-1/kinesis'"
            )
        );
        let authorization = "AWS4-HMAC-SHA1 Credential=AKID/a, SignedHeaders=host;x-amz-target, Signature=b";
        assert_eq!(
            Sent::by_alice().verified_with(authorization),
            refused(
                "IncompleteSignatureException",
                "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1' (only AWS4-HMAC-SHA256 for now). "
            )
        );
    }

    proptest! {
        /// Nothing that a client sends panics, and nothing but the right signature is taken.
        #[test]
        fn any_request_is_refused(
            path in "[/.a%]{0,12}",
            query in "(&?(X-Amz-(Algorithm|Credential|Signature|SignedHeaders|Date|Expires)|[a%=])(=[a-zA-Z0-9%/;=-]{0,40})?){0,9}",
            authorization in proptest::option::of(
                "(AWS4-HMAC-SHA256 )?((Credential|SignedHeaders|Signature)=[AKID0-9a-z/;%=-]{0,40}[, ]{1,2}){0,4}"
            ),
            date in "(20150122T012202Z|[0-9TZ]{0,16})",
            body in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let uri = format!("/{path}?{query}");
            let mut request = Request::post(uri).header("host", "a").header("x-amz-date", date);
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            if let Ok(request) = request.body(()) {
                prop_assert!(verified(&request.into_parts().0, &body).is_err());
            }
        }

        #[test]
        fn a_right_signature_is_taken_whatever_is_signed(
            path in "(/[a-zA-Z0-9.%~_-]{0,8}){1,3}",
            query in "([a-z%+=]{1,5}(=[a-z0-9%~+]{0,6})?&){0,4}",
            value in "[ -~]{0,30}",
            body in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let mut sent = Sent::by_alice().header("x-remark", &value);
            sent.uri = format!("{path}?{query}");
            sent.signed_headers = "host;x-amz-date;x-amz-target;x-remark".to_owned();
            sent.payload_hash = hex(&Sha256::digest(&body));
            sent.body = body;
            prop_assert_eq!(sent.in_header(), alice());
        }
    }
}
