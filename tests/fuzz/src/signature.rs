//! Any bytes in the place of a signature, sent to a server that verifies it, and in a file of credentials.
//!
//! ```text
//! byte 0   what the others are, see `Kind`
//! ```

use std::sync::OnceLock;

use anabranch::kinesis::Credentials;

use super::http::{Served, Then, check_panics};
use super::program::Program;

const CREDENTIALS: &str = "[a]\naws_access_key_id = AKID\naws_secret_access_key = secret\n\
                           [b]\naws_access_key_id = AKID2\naws_secret_access_key = secret\naws_session_token = t\n";

const KINDS: [Kind; 4] = [Kind::Credentials, Kind::Header, Kind::Query, Kind::Fields];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A file of credentials.
    Credentials,
    /// The value of `Authorization`.
    Header,
    /// The query string.
    Query,
    /// Header fields and a body, beside a complete `Authorization`.
    Fields,
}

pub fn run(input: &[u8]) {
    let mut program = Program(input);
    let kind = KINDS[usize::from(program.byte()) % KINDS.len()];
    let bytes = program.rest();
    if kind == Kind::Credentials {
        let _ = Credentials::parse(&String::from_utf8_lossy(bytes));
        return;
    }
    let authorization = b"AWS4-HMAC-SHA256 Credential=AKID/20231114/eu-west-1/kinesis/aws4_request, \
                          SignedHeaders=host;x-amz-date;x-amz-target, Signature=\
                          e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let (uri, fields) = match kind {
        Kind::Query => ([b"/?", bytes].concat(), Vec::new()),
        Kind::Header => (b"/".to_vec(), field(b"Authorization", bytes)),
        _ => {
            let mut fields = field(b"Authorization", authorization);
            let mut lines = bytes.split(|byte| *byte == b'\n');
            for name in [
                &b"X-Amz-Date"[..],
                b"X-Amz-Content-Sha256",
                b"X-Amz-Security-Token",
                b"Date",
                b"Host",
            ] {
                fields.extend(field(name, lines.next().unwrap_or_default()));
            }
            (b"/".to_vec(), fields)
        }
    };
    let request = [
        b"POST ",
        &*uri,
        b" HTTP/1.1\r\n",
        // If two have the same name, the first one counts.
        &fields,
        // The date is that of the server's clock.
        b"Host: localhost\r\nConnection: close\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\n\
          Content-Type: application/x-amz-json-1.1\r\nX-Amz-Date: 20231114T221320Z\r\nContent-Length: 2\r\n\r\n{}",
    ]
    .concat();
    let reply = served().exchange(&request, Then::Listens);
    let status = reply.strip_prefix(b"HTTP/1.1 ").and_then(|reply| reply.first());
    assert_eq!(status, Some(&b'4'), "{}", String::from_utf8_lossy(&reply));
    check_panics();
}

fn served() -> &'static Served {
    static SERVED: OnceLock<Served> = OnceLock::new();
    SERVED.get_or_init(|| {
        let credentials = Credentials::parse(CREDENTIALS).expect("a file in order");
        Served::start(|options| options.credentials(credentials))
    })
}

/// A header field with this value, in which a line cannot end.
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| if byte.is_ascii_control() { b' ' } else { *byte };
    let value: Vec<u8> = value.iter().map(plain).collect();
    [name, b": ", &value, b"\r\n"].concat()
}

/// Inputs with a meaning.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let seeds: [(&str, u8, &str); 6] = [
        ("credentials", 0, CREDENTIALS),
        (
            "header",
            1,
            "AWS4-HMAC-SHA256 Credential=AKID/20231114/eu-west-1/kinesis/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-target, Signature=\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "header-old",
            1,
            "AWS4-HMAC-SHA256 Credential=AKID/20231114/0/127/aws4_request,SignedHeaders=host,Signature=0",
        ),
        (
            "query",
            2,
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20231114%2Feu-west-1%2Fkinesis%2Faws4_request\
             &X-Amz-Date=20231114T221320Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-amz-target&X-Amz-Signature=\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "query-token",
            2,
            "X-Amz-Algorithm&X-Amz-Security-Token=t&a=%2&b=%zz",
        ),
        (
            "fields",
            3,
            "20231114T221320Z\nUNSIGNED-PAYLOAD\nt\n20231114T221320Z\nlocalhost",
        ),
    ];
    seeds
        .into_iter()
        .map(|(name, kind, text)| (name.to_owned(), [&[kind], text.as_bytes()].concat()))
        .collect()
}
