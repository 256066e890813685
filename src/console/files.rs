//! The page and its files, which are part of the program.

use std::sync::LazyLock;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use md5::{Digest, Md5};

use super::answer::Problem;
use crate::http::{Reply, ReplyBody};

/// A file, with its name below `/console/`.
struct File {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The file shown at `/` and `/console/`.
const PAGE: &str = "index.html";

macro_rules! files {
    ($($name:literal: $content_type:ident),+ $(,)?) => {
        [$(File {
            name: $name,
            content_type: $content_type,
            content: include_str!(concat!("page/", $name)),
        }),+]
    };
}

static FILES: [File; 20] = files![
    "index.html": HTML,
    "base.css": CSS,
    "parts.css": CSS,
    "icon.svg": SVG,
    "api.mjs": SCRIPT,
    "charts.mjs": SCRIPT,
    "dom.mjs": SCRIPT,
    "format.mjs": SCRIPT,
    "lineage.mjs": SCRIPT,
    "live.mjs": SCRIPT,
    "main.mjs": SCRIPT,
    "md5.mjs": SCRIPT,
    "overview.mjs": SCRIPT,
    "payload.mjs": SCRIPT,
    "picture.mjs": SCRIPT,
    "rates.mjs": SCRIPT,
    "readers.mjs": SCRIPT,
    "records.mjs": SCRIPT,
    "shards.mjs": SCRIPT,
    "stream.mjs": SCRIPT,
];

/// An entity tag for the content of each file.
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| FILES.iter().map(tag_of).collect());

fn tag_of(file: &File) -> HeaderValue {
    let hash = u128::from_be_bytes(Md5::digest(file.content).into());
    let tag = HeaderValue::try_from(format!("\"{hash:032x}\""));
    tag.unwrap_or(HeaderValue::from_static("\"\""))
}

/// The file of this name, or the page if the name is empty. If the browser has the present content, the answer says so
/// instead.
pub(super) fn file(name: &str, headers: &HeaderMap) -> Reply {
    let wanted = match name {
        "" => PAGE,
        name => name,
    };
    let found = FILES.iter().zip(&*TAGS).find(|(file, _)| file.name == wanted);
    let Some((file, tag)) = found else {
        return Problem::new(StatusCode::NOT_FOUND, "there is no such page").reply();
    };
    let mut reply = match is_known(headers, tag) {
        true => {
            let mut reply = Response::new(ReplyBody::from(Vec::new()));
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            reply
        }
        false => Response::new(ReplyBody::from(file.content)),
    };
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    headers.insert(header::ETAG, tag.clone());
    // Browsers keep the file and check it each time, because another version of the program has other files.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Clients of the API get another answer at `/`.
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    reply
}

fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let tags = known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let is_it = |known: &str| known.trim().trim_start_matches("W/").as_bytes() == tag.as_bytes();
    tags.into_iter().any(is_it)
}
