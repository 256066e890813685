//! The headers that are passed on. Signed ones are not changed.

use hyper::Version;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Uri};

/// In a request that was passed on. The other server recognizes its token, and does not pass the request on.
pub(crate) const FORWARDED: HeaderName = HeaderName::from_static("x-anabranch-forwarded");

/// In an answer to such a request: whether the server took it. An answer without it comes from something else.
pub(crate) const OWNER: HeaderName = HeaderName::from_static("x-anabranch-owner");

/// Headers between two neighbours, which are not passed on (RFC 9110, 7.6.1).
const OF_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const OF_CONNECTION_BY_NAME: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// The request in the form for the other server.
pub(super) fn request_of<B>(head: &Parts, token: &HeaderValue, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = path_of(&head.uri);
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    *headers = without_connection(&head.headers);
    // The client has sent the body already.
    headers.remove(header::EXPECT);
    if !headers.contains_key(header::HOST)
        && let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        // HTTP/2 has the host elsewhere.
        headers.insert(header::HOST, host);
    }
    headers.insert(FORWARDED, token.clone());
    request
}

/// The headers without those of the connection.
pub(super) fn without_connection(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    for named in headers.get_all(header::CONNECTION) {
        let names = named.as_bytes().split(|byte| *byte == b',');
        for name in names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()) {
            passed.remove(name);
        }
    }
    for name in OF_CONNECTION {
        passed.remove(name);
    }
    for name in OF_CONNECTION_BY_NAME {
        passed.remove(name);
    }
    passed
}

fn path_of(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method("POST").uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_is_signed_stays_and_what_is_of_the_connection_goes() {
        let head = head(
            "/?a=b%2Fc",
            &[
                ("host", "kinesis.example:80"),
                ("authorization", "AWS4-HMAC-SHA256 Credential=x"),
                ("x-amz-date", "20260101T000000Z"),
                ("x-amz-target", "Kinesis_20131202.PutRecord"),
                ("connection", "keep-alive, X-Mine"),
                ("x-mine", "1"),
                ("keep-alive", "timeout=5"),
                ("transfer-encoding", "chunked"),
                ("te", "trailers"),
                ("expect", "100-continue"),
                ("x-anabranch-forwarded", "forged"),
            ],
        );
        let request = request_of(&head, &HeaderValue::from_static("token"), ());
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "authorization",
                "host",
                "x-amz-date",
                "x-amz-target",
                "x-anabranch-forwarded"
            ]
        );
        assert_eq!(request.headers()[FORWARDED], "token");
        assert_eq!(request.headers()[header::HOST], "kinesis.example:80");
        assert_eq!(request.uri(), "/?a=b%2Fc");
    }

    #[test]
    fn the_host_of_http2_becomes_a_field() {
        let request = request_of(&head("http://a:1/x", &[]), &HeaderValue::from_static("t"), ());
        assert_eq!(request.headers()[header::HOST], "a:1");
        assert_eq!(request.uri(), "/x");
    }
}
