//! Whether a request has a signature in the form of Signature Version 4, and whose it is.
//!
//! Without credentials signatures are not verified: every client that reaches the server may use it, with any key. An
//! incomplete signature still gets AWS' answers, since clients and their tests depend on them.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::http::request::Parts;

use super::credentials::{Identity, Keys};
use super::error::ApiError;
use super::scope::Scope;
use super::signature::{self, Signature};
use crate::http::query;
use crate::model::Timestamp;

const IN_HEADER: [&str; 3] = ["Credential", "Signature", "SignedHeaders"];
const IN_QUERY: [&str; 5] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
];

/// The sender of the request, if it is signed with one of these keys. Hashes the body.
pub(super) fn verify(
    parts: &Parts,
    body: &[u8],
    now: Timestamp,
    keys: &Keys,
) -> Result<Arc<Identity>, ApiError> {
    check(parts)?;
    signature::verify(&signature_of(parts), parts, body, now, keys)
}

/// The same checks as far as the head allows, before any of the body is read.
pub(super) fn check_head(parts: &Parts, now: Timestamp, keys: &Keys) -> Result<(), ApiError> {
    check(parts)?;
    signature::check_head(&signature_of(parts), parts, now, keys).map(|_| ())
}

/// Checks that there is exactly one complete signature, in the header or in the query string.
pub(super) fn check(parts: &Parts) -> Result<(), ApiError> {
    let header = authorization(parts);
    let in_query = query_pairs(parts).any(|(name, _)| name == IN_QUERY[0]);
    match (header, in_query) {
        (Some(_), true) => Err(ApiError::new(
            400,
            "InvalidSignatureException",
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
        )),
        (None, false) => Err(ApiError::new(
            400,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        )),
        (Some(header), false) => check_header(parts, &header),
        (None, true) => check_query(parts),
    }
}

/// The scope of the request: the account of `home`, in the region that the request was signed for. If that does not
/// have the form of a region, home's region is used.
pub(super) fn scope(parts: &Parts, home: Scope) -> Scope {
    let region = credential_scope(parts).and_then(|scope| {
        // AKID/20261122/eu-west-1/kinesis/aws4_request
        home.in_region(scope.split('/').nth(2)?)
    });
    region.unwrap_or(home)
}

/// The parts of a complete signature.
fn signature_of(parts: &Parts) -> Signature<'_> {
    let headers = &parts.headers;
    let payload_hash = text(headers, "x-amz-content-sha256").map(Cow::Borrowed);
    let Some(header) = text(headers, "authorization") else {
        let parameter = |wanted| {
            let found = query_pairs(parts).find(|(name, _)| *name == wanted);
            found.map(|(_, value)| query::decoded(value))
        };
        let [algorithm, credential, signature, signed_headers, date] =
            IN_QUERY.map(|name| parameter(name).unwrap_or_default());
        return Signature {
            algorithm,
            credential,
            signed_headers,
            signature,
            date,
            session_token: parameter("X-Amz-Security-Token"),
            payload_hash: payload_hash.or_else(|| parameter("X-Amz-Content-Sha256")),
            expires: parameter("X-Amz-Expires"),
        };
    };
    let [credential, signature, signed_headers] =
        IN_HEADER.map(|name| Cow::Borrowed(header_parameter(header, name).unwrap_or_default()));
    let date = text(headers, "x-amz-date").or_else(|| text(headers, "date"));
    Signature {
        algorithm: Cow::Borrowed(header.split(' ').next().unwrap_or_default()),
        credential,
        signed_headers,
        signature,
        date: Cow::Borrowed(date.unwrap_or_default()),
        session_token: text(headers, "x-amz-security-token").map(Cow::Borrowed),
        payload_hash,
        expires: None,
    }
}

/// The first value of a header, unless it is empty or not text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = std::str::from_utf8(headers.get(name)?.as_bytes()).ok()?;
    (!value.is_empty()).then_some(value)
}

fn credential_scope(parts: &Parts) -> Option<String> {
    match authorization(parts) {
        Some(header) => header_parameter(&header, IN_HEADER[0]).map(str::to_owned),
        None => query_pairs(parts)
            .find(|(name, _)| *name == IN_QUERY[1])
            .map(|(_, value)| query::decoded(value).into_owned()),
    }
}

fn check_header(parts: &Parts, header: &str) -> Result<(), ApiError> {
    let mut missing = String::new();
    for name in IN_HEADER {
        if header_parameter(header, name).is_none() {
            missing += &format!("Authorization header requires '{name}' parameter. ");
        }
    }
    let has = |name| parts.headers.get(name).is_some_and(|value| !value.is_empty());
    if !has("x-amz-date") && !has("date") {
        missing += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(incomplete(missing + "Authorization=" + header))
    }
}

fn check_query(parts: &Parts) -> Result<(), ApiError> {
    let mut missing = String::new();
    for name in IN_QUERY {
        if !query_pairs(parts).any(|(found, value)| found == name && !value.is_empty()) {
            missing += &format!("AWS query-string parameters must include '{name}'. ");
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(incomplete(missing + "Re-examine the query-string parameters."))
    }
}

fn incomplete(message: String) -> ApiError {
    ApiError::new(400, "IncompleteSignatureException", message)
}

fn authorization(parts: &Parts) -> Option<String> {
    let header = parts.headers.get(hyper::header::AUTHORIZATION)?;
    let header = String::from_utf8_lossy(header.as_bytes()).into_owned();
    (!header.is_empty()).then_some(header)
}

/// A parameter of `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…,Signature=…`: boto 2 puts no blanks between.
fn header_parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let parameters = header.split([',', ' ']).skip(1);
    // If two have the same name, the last one counts.
    parameters
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(found, _)| *found == name)
        .last()
        .map(|(_, value)| value.split('=').next().unwrap_or_default())
        .filter(|value| !value.is_empty())
}

fn query_pairs(parts: &Parts) -> impl Iterator<Item = (&str, &str)> {
    query::pairs(parts.uri.query().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = hyper::Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn refusal(uri: &str, headers: &[(&str, &str)]) -> (&'static str, String) {
        let error = check(&parts(uri, headers)).expect_err("a refusal");
        assert_eq!(error.status, 400);
        (error.kind, error.message.unwrap().into_owned())
    }

    const DATE: (&str, &str) = ("x-amz-date", "20261122T050233Z");

    #[test]
    fn the_forms_that_clients_send_are_accepted() {
        for header in [
            "AWS4-HMAC-SHA256 Credential=AKID/20261122/eu-west-1/kinesis/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=ab3f",
            "AWS4-HMAC-SHA256 Credential=AKID/20261122/0/127/aws4_request,SignedHeaders=host,Signature=80e8",
        ] {
            assert_eq!(check(&parts("/", &[("authorization", header), DATE])), Ok(()));
            assert_eq!(
                check(&parts("/", &[("authorization", header), ("date", "now")])),
                Ok(())
            );
        }
        let query =
            "/?X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Signature=c&X-Amz-SignedHeaders=d&X-Amz-Date=e";
        assert_eq!(check(&parts(query, &[])), Ok(()));
    }

    #[test]
    fn a_request_without_signature_is_refused() {
        let missing = (
            "MissingAuthenticationTokenException",
            "Missing Authentication Token".to_owned(),
        );
        assert_eq!(refusal("/", &[]), missing);
        assert_eq!(refusal("/?X-Amz-Date=1", &[("authorization", ""), DATE]), missing);
    }

    #[test]
    fn two_signatures_are_one_too_many() {
        assert_eq!(
            refusal("/?X-Amz-Algorithm=", &[("authorization", "a")]),
            (
                "InvalidSignatureException",
                "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
                    .to_owned()
            )
        );
    }

    #[test]
    fn an_incomplete_header_is_told_all_that_it_lacks() {
        let credential = "Authorization header requires 'Credential' parameter. ";
        let signature = "Authorization header requires 'Signature' parameter. ";
        let signed = "Authorization header requires 'SignedHeaders' parameter. ";
        let date = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
        for (header, with_date, missing) in [
            ("X", false, [credential, signature, signed, date].concat()),
            ("X", true, [credential, signature, signed].concat()),
            (
                "Credential=a,Signature=b,SignedHeaders=c",
                true,
                credential.to_owned(),
            ),
            ("X Credential=a", true, [signature, signed].concat()),
            (
                "X Credential=,SignedHeaders=a Signature=b",
                true,
                credential.to_owned(),
            ),
            (
                "X Credential=a,SignedHeaders=a Signature=b",
                false,
                date.to_owned(),
            ),
        ] {
            let mut headers = vec![("authorization", header)];
            headers.extend(with_date.then_some(DATE));
            let message = format!("{missing}Authorization={header}");
            assert_eq!(refusal("/", &headers), ("IncompleteSignatureException", message));
        }
    }

    #[test]
    fn an_incomplete_query_is_told_all_that_it_lacks() {
        let missing = |name| format!("AWS query-string parameters must include '{name}'. ");
        let (kind, message) = refusal("/?X-Amz-Algorithm", &[]);
        assert_eq!(kind, "IncompleteSignatureException");
        let all: String = IN_QUERY.into_iter().map(missing).collect();
        assert_eq!(message, all + "Re-examine the query-string parameters.");

        let (_, message) = refusal(
            "/?X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Signature=c&X-Amz-Date=d",
            &[],
        );
        assert_eq!(
            message,
            missing("X-Amz-SignedHeaders") + "Re-examine the query-string parameters."
        );
    }

    #[test]
    fn the_region_is_that_of_the_credential_scope_if_it_is_one() {
        let home = Scope::new("123456789012", "ap-south-1").unwrap();
        let region = |parts: &Parts| scope(parts, home).region().to_owned();
        let signed_for = |scope: &str| {
            let header = format!("X Credential=AKID/20261122/{scope}/kinesis/aws4_request,Signature=a");
            region(&parts("/", &[("authorization", &header)]))
        };
        assert_eq!(signed_for("eu-west-1"), "eu-west-1");
        assert_eq!(signed_for("0"), "ap-south-1");
        assert_eq!(signed_for("localhost"), "ap-south-1");
        let incomplete = parts("/", &[("authorization", "X Credential=a")]);
        assert_eq!(region(&incomplete), "ap-south-1");
        assert_eq!(region(&parts("/", &[])), "ap-south-1");
        let query = "/?X-Amz-Credential=AKID%2F20261122%2Fus-east-2%2Fkinesis%2Faws4_request";
        assert_eq!(region(&parts(query, &[])), "us-east-2");
        assert_eq!(scope(&incomplete, home).account_id(), "123456789012");
    }
}
