//! The address where a server takes calls from other servers.

use hyper::http::Uri;

/// The address of a server: `http://HOST[:PORT]` or `https://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerAddress {
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
}

impl PeerAddress {
    /// `None` for any other text: with a path or a user, or without a host.
    pub(crate) fn parse(url: &str) -> Option<PeerAddress> {
        let uri: Uri = url.parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return None;
        }
        let host = authority.host();
        // A user in front of the host is refused too.
        let port = match authority.as_str().strip_prefix(host)? {
            "" if is_tls => 443,
            "" => 80,
            behind => behind.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?,
        };
        let host = host
            .strip_prefix('[')
            .map_or(Some(host), |host| host.strip_suffix(']'))?;
        (!host.is_empty()).then(|| PeerAddress {
            host: host.to_owned(),
            port,
            is_tls,
        })
    }

    /// Whether the server uses TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for (url, host, port, is_tls) in [
            ("http://a:4567", "a", 4567, false),
            ("http://10.0.0.5:1/", "10.0.0.5", 1, false),
            ("https://kinesis.example", "kinesis.example", 443, true),
            ("http://a", "a", 80, false),
            ("http://[::1]:4567", "::1", 4567, false),
        ] {
            let host = host.to_owned();
            let expected = PeerAddress { host, port, is_tls };
            assert_eq!(PeerAddress::parse(url), Some(expected), "{url}");
        }
        for url in [
            "",
            "a:4567",
            "http://",
            "ftp://a:1",
            "http://a:1/path",
            "http://a:1/?x",
            "http://me@a:1",
            "http://a:0",
            "http://a:99999",
            "http://a:",
            "http://a b:1",
            "http:// a",
        ] {
            assert_eq!(PeerAddress::parse(url), None, "{url}");
        }
    }
}
