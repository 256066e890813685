//! The canonical form of a request, which is the text that Signature Version 4 signs.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::http::request::Parts;

use crate::http::query::{self, decoded};

/// The name of the signature in the query string, which the signature does not cover.
const SIGNATURE: &str = "X-Amz-Signature";

/// The canonical request. The names of `signed_headers` are searched for in the request, so each may occur only once:
/// otherwise a client could have a long value copied any number of times.
pub(super) fn request(parts: &Parts, signed_headers: &[&str], payload_hash: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(parts.method.as_str().as_bytes());
    text.push(b'\n');
    text.extend_from_slice(path(parts.uri.path()).as_bytes());
    text.push(b'\n');
    text.extend_from_slice(query_string(parts.uri.query().unwrap_or_default()).as_bytes());
    text.push(b'\n');
    for name in signed_headers {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        header(parts, name, &mut text);
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.join(";").as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload_hash.as_bytes());
    text
}

/// The values of a header, in one line.
fn header(parts: &Parts, name: &str, text: &mut Vec<u8>) {
    if let Some(authority) = authority_for(parts, name) {
        text.extend_from_slice(authority.as_bytes());
        return;
    }
    let name = match name {
        // This field exists only in HTTP/2, and was signed for a request that came over HTTP/1.1.
        ":authority" => "host",
        name => name,
    };
    for (index, value) in parts.headers.get_all(name).iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        let words = value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t'));
        for (index, word) in words.filter(|word| !word.is_empty()).enumerate() {
            if index > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
    }
}

/// HTTP/2 has the host in its own field, and clients sign it under either name.
fn authority_for<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    let is_wanted = name == ":authority" || (name == "host" && !has(&parts.headers, "host"));
    let authority = parts.uri.authority().filter(|_| is_wanted)?;
    Some(authority.as_str())
}

fn has(headers: &HeaderMap, name: &str) -> bool {
    headers.contains_key(name)
}

/// A path without empty segments and dots, encoded once more than it was sent, as all services except S3 require.
fn path(raw: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut path = String::with_capacity(raw.len() + 1);
    for segment in &segments {
        path.push('/');
        query::encode(segment.as_bytes(), &mut path);
    }
    let ends_in_slash = raw.ends_with('/') || raw.ends_with("/.") || raw.ends_with("/..");
    if segments.is_empty() || ends_in_slash {
        path.push('/');
    }
    path
}

/// All parameters except the signature, in order.
fn query_string(raw: &str) -> String {
    let mut pairs: Vec<(String, String)> = query::pairs(raw)
        .filter(|(name, _)| decoded(name) != SIGNATURE)
        .map(|(name, value)| (encoded_again(name), encoded_again(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn encoded_again(text: &str) -> String {
    let bytes: Cow<'_, [u8]> = query::decoded_bytes(text);
    let mut encoded = String::with_capacity(text.len());
    query::encode(&bytes, &mut encoded);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_twice_and_without_detours() {
        for (raw, canonical) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/./a/../b/", "/b/"),
            ("/a//b", "/a/b"),
            ("/../..", "/"),
            ("/a%20b/\u{e9}", "/a%2520b/%C3%A9"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/A-z_0.9~", "/A-z_0.9~"),
        ] {
            assert_eq!(path(raw), canonical, "{raw}");
        }
    }

    #[test]
    fn a_query_is_sorted_and_without_its_signature() {
        for (raw, canonical) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1", "a=1&a=2"),
            ("a", "a="),
            ("a=b=c", "a=b%3Dc"),
            ("X-Amz-Signature=1&X-Amz-Date=2", "X-Amz-Date=2"),
            ("a=%2f%7E+", "a=%2F~%2B"),
            ("a=%2&b=%zz&c=%", "a=%252&b=%25zz&c=%25"),
            ("a=%ff", "a=%FF"),
        ] {
            assert_eq!(query_string(raw), canonical, "{raw}");
        }
    }
}
