//! Admission of requests as far as web browsers are concerned: the one place for `Host`, `Origin` and preflights.
//!
//! A browser sends requests of any web page to any address, including 127.0.0.1. Two fields that a page cannot change
//! distinguish them from those of a program. `Origin` says which page sends the request: it has to be an allowed one,
//! or one that this server has sent itself. `Host` says by which name the page knows this server. If a page's name is
//! pointed at our address (DNS rebinding), the browser takes this server for the page's own, so the name has to be one
//! of ours.
//!
//! Our names are loopback's names and addresses, the addresses that are listened on, configured names, those of our
//! certificate, and the names that AWS has for Kinesis: no page has those, and clients that are redirected by a proxy
//! or a port send them.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Response};
use thiserror::Error;

use super::server::Reply;
use super::tls::TlsIdentity;

/// Which hosts and origins are let in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission {
    addresses: Vec<IpAddr>,
    hosts: Vec<HostRule>,
    origins: Vec<OriginRule>,
    identity: Option<TlsIdentity>,
}

/// A rule that cannot be parsed.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum RuleError {
    #[error("{host:?} is no host; expected a name or an address without a port, *.NAME, or *")]
    Host { host: String },
    #[error("{origin:?} is no origin; expected http://HOST[:PORT], https://HOST[:PORT], null, or *")]
    Origin { origin: String },
}

/// Why a request is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request is meant for another server.
    #[error("The host {host} is not one that this server answers for. Its --allow-host lets it in.")]
    Host { host: String },
    /// The request comes from a web page that is not allowed.
    #[error("Web pages of {origin} may not use this server. Its --allow-origin lets them in.")]
    Origin { origin: String },
    /// The request comes from another web page, and is for pages that only their own scripts may use.
    #[error("Other web pages may not use the console of this server.")]
    OtherPage,
}

/// Where an admitted request comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Not from a browser, as far as its fields say.
    Program,
    /// From a web page of this origin.
    Page { origin: HeaderValue },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostRule {
    Any,
    /// All names with this ending, which begins with a dot.
    Below(String),
    Exactly(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum OriginRule {
    Any,
    Exactly(String),
}

impl Admission {
    /// Admits requests to these addresses. If one stands for the whole machine, or may be reached through others, every
    /// address is admitted: only a name makes a page dangerous.
    pub(crate) fn listening_on(mut self, addresses: &[SocketAddr]) -> Admission {
        self.addresses.extend(addresses.iter().map(SocketAddr::ip));
        self
    }

    /// Admits requests to a name of the certificate.
    pub(crate) fn certified_as(mut self, identity: Option<TlsIdentity>) -> Admission {
        self.identity = identity;
        self
    }

    pub(crate) fn allow_host(mut self, host: &str) -> Result<Admission, RuleError> {
        let refused = || RuleError::Host {
            host: host.to_owned(),
        };
        let wanted = host.to_ascii_lowercase();
        let rule = match wanted.strip_prefix('*') {
            Some("") => HostRule::Any,
            Some(suffix) if suffix.starts_with('.') && is_name(&suffix[1..]) => {
                HostRule::Below(suffix.to_owned())
            }
            None if is_name(&wanted) || wanted.parse::<IpAddr>().is_ok() => HostRule::Exactly(wanted),
            _ => return Err(refused()),
        };
        self.hosts.push(rule);
        Ok(self)
    }

    pub(crate) fn allow_origin(mut self, origin: &str) -> Result<Admission, RuleError> {
        let rule = match origin {
            "*" => OriginRule::Any,
            "null" => OriginRule::Exactly(origin.to_owned()),
            _ => {
                let wanted = origin.to_ascii_lowercase();
                let is_one = Origin::parse(&wanted).is_some_and(|origin| host_of(origin.authority).is_some());
                if !is_one {
                    return Err(RuleError::Origin {
                        origin: origin.to_owned(),
                    });
                }
                OriginRule::Exactly(wanted)
            }
        };
        self.origins.push(rule);
        Ok(self)
    }

    /// Decides on a request. It may have several hosts: each has to be one of ours.
    pub(crate) fn admit(&self, parts: &Parts) -> Result<Admitted, Refusal> {
        let hosts = self.our_hosts(parts)?;
        let mut origins = parts.headers.get_all(header::ORIGIN).iter();
        let (origin, another) = (origins.next(), origins.next());
        match origin {
            None => Ok(Admitted::Program),
            Some(origin) if another.is_none() && self.is_allowed(origin, &hosts) => Ok(Admitted::Page {
                origin: origin.clone(),
            }),
            Some(origin) => Err(Refusal::Origin {
                origin: shown(origin.as_bytes()),
            }),
        }
    }

    /// The same for a request for pages of our own. No page of another origin may use them: not one of this machine,
    /// and none that is allowed to use the API. Another page may have a link to them, which a person follows.
    ///
    /// If a page shows a picture or runs a script of another server, its browser sends no origin, but says that it is
    /// another site's (`Sec-Fetch-Site`). Browsers leave that out on a network without TLS; then the headers of the
    /// answer keep the page from reading it.
    pub(crate) fn admit_to_own_pages(&self, parts: &Parts) -> Result<Admitted, Refusal> {
        let hosts = self.our_hosts(parts)?;
        let is_own = |origin: &HeaderValue| {
            let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
            let origin = Origin::parse(&text);
            origin.is_some_and(|origin| origin.is_of(&hosts))
        };
        let are_own = parts.headers.get_all(header::ORIGIN).iter().all(is_own);
        let is_of_other_site = says(parts, "sec-fetch-site", &["cross-site", "same-site"]);
        match are_own && (!is_of_other_site || is_followed_link(parts)) {
            true => Ok(Admitted::Program),
            false => Err(Refusal::OtherPage),
        }
    }

    /// The hosts of a request, if all are ours.
    fn our_hosts<'a>(&self, parts: &'a Parts) -> Result<Vec<&'a [u8]>, Refusal> {
        let in_uri = parts
            .uri
            .authority()
            .map(|authority| authority.as_str().as_bytes());
        let in_headers = parts
            .headers
            .get_all(header::HOST)
            .iter()
            .map(HeaderValue::as_bytes);
        let hosts: Vec<&[u8]> = in_uri.into_iter().chain(in_headers).collect();
        for host in &hosts {
            if !self.is_our_host(host) {
                return Err(Refusal::Host { host: shown(host) });
            }
        }
        Ok(hosts)
    }

    fn is_our_host(&self, host: &[u8]) -> bool {
        let host = std::str::from_utf8(host).ok().and_then(host_of);
        // Neither a client nor a page leaves it empty by accident.
        let Some(host) = host else { return false };
        if is_loopback(&host) || is_of_kinesis(&host) {
            return true;
        }
        let is_listened_on = host.parse().is_ok_and(|ip: IpAddr| {
            let is_ours = |address: &IpAddr| address.is_unspecified() || *address == ip;
            self.addresses.iter().any(is_ours)
        });
        let is_certified = || {
            self.identity
                .as_ref()
                .is_some_and(|identity| identity.is_for(&host))
        };
        is_listened_on || self.hosts.iter().any(|rule| rule.fits(&host)) || is_certified()
    }

    fn is_allowed(&self, origin: &HeaderValue, hosts: &[&[u8]]) -> bool {
        let Ok(text) = std::str::from_utf8(origin.as_bytes()) else {
            return false;
        };
        let text = text.to_ascii_lowercase();
        let is_configured = |rule: &OriginRule| match rule {
            OriginRule::Any => true,
            OriginRule::Exactly(origin) => *origin == text,
        };
        if self.origins.iter().any(is_configured) {
            return true;
        }
        let Some(origin) = Origin::parse(&text) else {
            return false;
        };
        let Some(host) = host_of(origin.authority) else {
            return false;
        };
        // No page of ours has a name of AWS. Programs use such a name, and a page never does by chance.
        is_loopback(&host) || (!is_of_kinesis(&host) && origin.is_of(hosts))
    }
}

impl Admitted {
    /// The answer to a browser's preflight, which comes before the request itself.
    pub(crate) fn preflight(&self, parts: &Parts) -> Option<Reply> {
        const MAX_AGE: HeaderValue = HeaderValue::from_static("172800");
        let Admitted::Page { .. } = self else {
            return None;
        };
        if parts.method != Method::OPTIONS {
            return None;
        }
        let mut reply = Response::new(Bytes::new().into());
        for (asked, allowed) in [
            (
                header::ACCESS_CONTROL_REQUEST_HEADERS,
                header::ACCESS_CONTROL_ALLOW_HEADERS,
            ),
            (
                header::ACCESS_CONTROL_REQUEST_METHOD,
                header::ACCESS_CONTROL_ALLOW_METHODS,
            ),
        ] {
            if let Some(value) = parts.headers.get(asked) {
                reply.headers_mut().insert(allowed, value.clone());
            }
        }
        reply
            .headers_mut()
            .insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(reply)
    }

    /// Allows a web page to read the answer, if the request comes from one.
    pub(crate) fn mark(self, headers: &mut HeaderMap) {
        if let Admitted::Page { origin } = self {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::VARY, HeaderValue::from_static("origin"));
        }
    }
}

impl HostRule {
    fn fits(&self, host: &str) -> bool {
        match self {
            HostRule::Any => true,
            HostRule::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            HostRule::Exactly(wanted) => wanted == host,
        }
    }
}

/// `http://localhost:3000`, in small letters.
struct Origin<'a> {
    authority: &'a str,
}

impl Origin<'_> {
    fn parse(text: &str) -> Option<Origin<'_>> {
        let authority = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))?;
        Some(Origin { authority })
    }

    /// Whether the page comes from the server that its request goes to.
    fn is_of(&self, hosts: &[&[u8]]) -> bool {
        let is_it = |host: &&[u8]| host.eq_ignore_ascii_case(self.authority.as_bytes());
        hosts.iter().any(is_it)
    }
}

/// Whether a field has one of these values.
fn says(parts: &Parts, name: &str, values: &[&str]) -> bool {
    let fields = parts.headers.get_all(name).iter();
    fields
        .filter_map(|value| value.to_str().ok())
        .any(|value| values.contains(&value))
}

/// Whether the browser shows the answer as a separate page, not inside another one.
fn is_followed_link(parts: &Parts) -> bool {
    (parts.method == Method::GET || parts.method == Method::HEAD)
        && says(parts, "sec-fetch-mode", &["navigate"])
        && says(parts, "sec-fetch-dest", &["document"])
}

/// The host of `HOST[:PORT]` in small letters, without the brackets of an IPv6 address and the dot at the end of a
/// name.
fn host_of(text: &str) -> Option<String> {
    // A name and a password in front of the host are not part of it, and useless here.
    if text.contains('@') {
        return None;
    }
    let authority: Authority = text.parse().ok()?;
    let host = authority.host();
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None => host.strip_suffix('.').unwrap_or(host),
    };
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !label.is_empty() && label.bytes().all(is_plain)
    };
    text.split('.').all(is_label)
}

/// Names and addresses that mean this machine, on every machine.
fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// `kinesis.eu-west-1.amazonaws.com`, `123456789012.data-kinesis.eu-west-1.amazonaws.com` and the like.
fn is_of_kinesis(host: &str) -> bool {
    const DOMAINS: [&str; 4] = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonaws.eu"];
    const SERVICES: [&str; 4] = ["kinesis", "kinesis-fips", "data-kinesis", "control-kinesis"];
    let of_domain = DOMAINS.iter().find_map(|domain| host.strip_suffix(domain));
    let Some((before, region)) = of_domain.and_then(|labels| labels.rsplit_once('.')) else {
        return false;
    };
    let service = before.rsplit('.').next().unwrap_or_default();
    is_region(region) && SERVICES.contains(&service)
}

/// `eu-west-1`, and not `s3`, below which others have names.
fn is_region(label: &str) -> bool {
    let number = label.rsplit('-').next().unwrap_or_default();
    let is_numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_name(label) && is_numbered && label.split('-').count() >= 3
}

/// Text for a message: no longer than a line, and without control characters.
fn shown(text: &[u8]) -> String {
    const MOST: usize = 100;
    let text = String::from_utf8_lossy(text);
    let plain = |letter: char| if letter.is_control() { '?' } else { letter };
    text.chars().map(plain).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use proptest::prelude::*;

    use super::*;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, value.as_bytes());
        }
        request.body(()).unwrap().into_parts().0
    }

    fn is_host_let_in(admission: &Admission, host: &str) -> bool {
        let admitted = admission.admit(&request("POST", "/", &[("host", host)]));
        if admitted.is_err() {
            assert_eq!(
                admitted,
                Err(Refusal::Host {
                    host: host.to_owned()
                })
            );
        }
        admitted.is_ok()
    }

    fn is_origin_let_in(admission: &Admission, origin: &str) -> bool {
        let headers = [("host", "127.0.0.1:4567"), ("origin", origin)];
        let admitted = admission.admit(&request("POST", "/", &headers));
        if admitted.is_err() {
            let origin = origin.to_owned();
            assert_eq!(admitted, Err(Refusal::Origin { origin }));
        }
        admitted.is_ok()
    }

    #[test]
    fn loopback_and_the_names_of_aws_are_let_in_and_other_hosts_are_not() {
        let admission = Admission::default();
        for host in [
            "localhost",
            "LocalHost:4567",
            "localhost.",
            "kinesis.localhost:80",
            "127.0.0.1:4567",
            "127.1.2.3",
            "[::1]:4567",
            "[::ffff:127.0.0.1]",
            "kinesis.eu-west-1.amazonaws.com",
            "kinesis.eu-west-1.amazonaws.com:443",
            "kinesis-fips.us-gov-west-1.amazonaws.com",
            "kinesis.cn-north-1.amazonaws.com.cn",
            "kinesis.eu-west-1.api.aws",
            "123456789012.data-kinesis.eu-west-1.amazonaws.com",
        ] {
            assert!(is_host_let_in(&admission, host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "192.168.1.5:4567",
            "[::2]",
            "kinesis.eu-west-1.amazonaws.com.evil.example",
            "bucket.s3.eu-west-1.amazonaws.com",
            "kinesis.amazonaws.com",
            "user@localhost",
            "localhost@evil.example",
            "",
            ":80",
            "a b",
            "localhost:x:y",
        ] {
            assert!(!is_host_let_in(&admission, host), "{host}");
        }
    }

    #[test]
    fn what_is_listened_on_is_let_in() {
        let one = Admission::default().listening_on(&["192.168.1.5:4567".parse().unwrap()]);
        assert!(is_host_let_in(&one, "192.168.1.5:80"));
        assert!(!is_host_let_in(&one, "192.168.1.6"));
        for all in ["0.0.0.0:1", "[::]:1"] {
            let all = Admission::default().listening_on(&[all.parse().unwrap()]);
            assert!(is_host_let_in(&all, "192.168.1.6") && is_host_let_in(&all, "[fe80::1]:1"));
            assert!(!is_host_let_in(&all, "evil.example"));
        }
    }

    #[test]
    fn configured_hosts_are_let_in() {
        let admission = Admission::default();
        let admission = admission.allow_host("Kinesis").unwrap();
        let admission = admission.allow_host("*.svc.example").unwrap();
        let admission = admission.allow_host("10.0.0.1").unwrap();
        let admission = admission.allow_host("fd00::1").unwrap();
        for host in [
            "kinesis:4567",
            "KINESIS",
            "a.svc.example",
            "a.b.svc.example:1",
            "10.0.0.1",
            "[fd00::1]:4",
        ] {
            assert!(is_host_let_in(&admission, host), "{host}");
        }
        for host in [
            "kinesis.example",
            "svc.example",
            ".svc.example",
            "10.0.0.2",
            "asvc.example",
        ] {
            assert!(!is_host_let_in(&admission, host), "{host}");
        }
        let any = Admission::default().allow_host("*").unwrap();
        assert!(is_host_let_in(&any, "evil.example"));
        for wrong in ["", "a:1", "http://a", "*a", "*.", "a..b", "a b", "[::1]"] {
            let refused = Admission::default().allow_host(wrong).expect_err("no host");
            assert_eq!(
                refused,
                RuleError::Host {
                    host: wrong.to_owned()
                }
            );
        }
    }

    #[test]
    fn each_host_of_a_request_has_to_be_ours() {
        let admission = Admission::default();
        let refused = Err(Refusal::Host {
            host: "evil.example".to_owned(),
        });
        // A request without a host is no browser's.
        assert_eq!(admission.admit(&request("POST", "/", &[])), Ok(Admitted::Program));
        for (uri, headers) in [
            ("http://evil.example/", &[("host", "localhost")][..]),
            ("http://localhost/", &[("host", "evil.example")]),
            ("/", &[("host", "localhost"), ("host", "evil.example")]),
        ] {
            assert_eq!(admission.admit(&request("POST", uri, headers)), refused, "{uri}");
        }
        let both = request("POST", "http://localhost/", &[("host", "127.0.0.1")]);
        assert_eq!(admission.admit(&both), Ok(Admitted::Program));
    }

    #[test]
    fn pages_of_this_machine_are_let_in_and_others_if_they_are_configured() {
        let admission = Admission::default();
        for origin in [
            "http://localhost:3000",
            "https://localhost",
            "http://127.0.0.1:4567",
            "http://[::1]:8080",
            "http://app.localhost",
        ] {
            assert!(is_origin_let_in(&admission, origin), "{origin}");
        }
        let others = [
            "https://app.example",
            "https://app.example:8443",
            "http://app.example",
            "null",
            "",
            "file://",
            "chrome-extension://a",
            "http://localhost.evil.example",
            "http://user@localhost",
            "localhost",
        ];
        for origin in others {
            assert!(!is_origin_let_in(&admission, origin), "{origin}");
        }
        let admission = admission.allow_origin("https://App.example").unwrap();
        assert!(is_origin_let_in(&admission, "https://app.example"));
        assert!(!is_origin_let_in(&admission, "http://app.example"));
        assert!(!is_origin_let_in(&admission, "https://app.example:8443"));
        assert!(!is_origin_let_in(&admission, "null"));
        assert!(is_origin_let_in(&admission.allow_origin("null").unwrap(), "null"));
        let any = Admission::default().allow_origin("*").unwrap();
        assert!(others.into_iter().all(|origin| is_origin_let_in(&any, origin)));
        for wrong in [
            "",
            "a.example",
            "ftp://a",
            "http://",
            "http://a/",
            "http://a b",
            "https://u@a",
        ] {
            let refused = Admission::default().allow_origin(wrong).expect_err("no origin");
            assert_eq!(
                refused,
                RuleError::Origin {
                    origin: wrong.to_owned()
                }
            );
        }
    }

    #[test]
    fn a_page_that_this_server_has_sent_may_use_it() {
        let admission = Admission::default().allow_host("streams.example").unwrap();
        let from = |origin: &str| {
            let headers = [("host", "streams.example:4567"), ("origin", origin)];
            admission.admit(&request("POST", "/", &headers)).is_ok()
        };
        assert!(from("http://streams.example:4567") && from("https://Streams.example:4567"));
        assert!(!from("http://streams.example") && !from("http://other.example:4567"));
    }

    #[test]
    fn two_origins_are_one_too_many() {
        let headers = [("origin", "http://localhost"), ("origin", "https://evil.example")];
        assert!(
            Admission::default()
                .admit(&request("POST", "/", &headers))
                .is_err()
        );
    }

    #[test]
    fn a_preflight_allows_what_it_asks_for_and_a_reply_names_its_page() {
        let headers = [
            ("origin", "http://localhost:3000"),
            ("access-control-request-headers", "x-amz-target, authorization"),
            ("access-control-request-method", "POST"),
        ];
        let parts = request("OPTIONS", "/", &headers);
        let admitted = Admission::default().admit(&parts).unwrap();
        let mut reply = admitted.preflight(&parts).unwrap();
        admitted.mark(reply.headers_mut());
        let header = |name: &str| reply.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(reply.status(), 200);
        assert_eq!(
            header("access-control-allow-headers"),
            Some("x-amz-target, authorization")
        );
        assert_eq!(header("access-control-allow-methods"), Some("POST"));
        assert_eq!(
            header("access-control-allow-origin"),
            Some("http://localhost:3000")
        );
        assert_eq!(header("access-control-max-age"), Some("172800"));
        assert_eq!(header("vary"), Some("origin"));

        let parts = request("POST", "/", &headers);
        assert!(
            Admission::default()
                .admit(&parts)
                .unwrap()
                .preflight(&parts)
                .is_none()
        );
        let program = request("OPTIONS", "/", &[]);
        let admitted = Admission::default().admit(&program).unwrap();
        assert!(admitted.preflight(&program).is_none());
        let mut headers = HeaderMap::new();
        admitted.mark(&mut headers);
        assert!(headers.is_empty());
    }

    proptest! {
        #[test]
        fn any_host_and_origin_are_let_in_or_refused(
            host in proptest::collection::vec(any::<u8>().prop_filter("a value", |byte| *byte >= 32 && *byte != 127), 0..40),
            origin in "(https?://)?(\\[|\\]|[a-z0-9:.@*]){0,30}",
        ) {
            let request = Request::post("/").header("host", host).header("origin", origin);
            let parts = request.body(()).unwrap().into_parts().0;
            let _ = Admission::default().admit(&parts);
        }
    }
}
