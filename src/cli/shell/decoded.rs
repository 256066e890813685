//! The forms in which data is shown: text and JSON as they are, and other data in base64.

use base64_simd::STANDARD;
use serde_json::Value;

/// The kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoded<'a> {
    /// A whole JSON document that is an object or an array.
    Json(&'a str),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Decoded<'a> {
    pub(super) fn of(data: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(data) else {
            return Decoded::Bytes(data);
        };
        // A number or a word alone is a document too, but was put as a text. The whole document is parsed: a value that
        // is only skipped may have half of a surrogate, or a number out of range.
        let is_json =
            text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<Value>(text).is_ok();
        match is_json {
            true => Decoded::Json(text),
            false => Decoded::Text(text),
        }
    }

    /// For JSON lines: the kind of the data, and the data as a JSON value in one line.
    pub(super) fn json(self) -> (&'static str, String) {
        match self {
            // Line ends are only between its tokens. Digits and order stay as they are.
            Decoded::Json(text) => ("json", text.trim().replace(['\n', '\r'], " ")),
            Decoded::Text(text) => ("text", json_text(text)),
            Decoded::Bytes(data) => ("base64", base64(data)),
        }
    }

    /// For people, in one line.
    pub(super) fn line(self) -> String {
        match self {
            Decoded::Json(text) | Decoded::Text(text) => printable(text),
            Decoded::Bytes(data) => STANDARD.encode_to_string(data),
        }
    }
}

/// Data in base64, as a JSON value.
pub(super) fn base64(data: &[u8]) -> String {
    format!("\"{}\"", STANDARD.encode_to_string(data))
}

/// A text as a JSON value.
pub(super) fn json_text(text: &str) -> String {
    Value::from(text).to_string()
}

/// The text without characters that a terminal takes for commands.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// A valid document with each member and element on a separate line. All lines but the first begin with `indent`.
/// Numbers, texts and their order stay as they are.
pub(super) fn pretty(document: &str, indent: &str) -> String {
    const STEP: &str = "  ";
    let mut shown = String::with_capacity(document.len() * 2);
    let mut depth = 0;
    let mut characters = document.trim().chars().peekable();
    let new_line = |shown: &mut String, depth: usize| {
        shown.push('\n');
        shown.push_str(indent);
        (0..depth).for_each(|_| shown.push_str(STEP));
    };
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                shown.push('"');
                let mut is_escaped = false;
                for inner in characters.by_ref() {
                    match inner.is_control() {
                        true => shown.extend(inner.escape_default()),
                        false => shown.push(inner),
                    }
                    if inner == '"' && !is_escaped {
                        break;
                    }
                    is_escaped = inner == '\\' && !is_escaped;
                }
            }
            '{' | '[' => {
                shown.push(character);
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                match characters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => shown.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut shown, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut shown, depth);
                shown.push(character);
            }
            ',' => {
                shown.push(',');
                new_line(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            blank if blank.is_ascii_whitespace() => {}
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_text_or_bytes() {
        for (data, kind, value) in [
            (
                &b"{\"b\": 1,\n \"a\":12345678901234567890123}"[..],
                "json",
                "{\"b\": 1,  \"a\":12345678901234567890123}",
            ),
            (b" [] \n", "json", "[]"),
            (b"42", "text", "\"42\""),
            (b"{not json", "text", "\"{not json\""),
            (b"{} {}", "text", "\"{} {}\""),
            (br#"["\ud800"]"#, "text", r#""[\"\\ud800\"]""#),
            (b"[1e999]", "text", "\"[1e999]\""),
            (b"", "text", "\"\""),
            (b"a\nb\"", "text", r#""a\nb\"""#),
            (b"\xff\0", "base64", "\"/wA=\""),
        ] {
            assert_eq!(Decoded::of(data).json(), (kind, value.to_owned()));
        }
    }

    #[test]
    fn nothing_commands_a_terminal() {
        assert_eq!(
            Decoded::of(b"a\x1b[2J\n\xc2\x9bm").line(),
            "a\\u{1b}[2J\\n\\u{9b}m"
        );
        assert_eq!(Decoded::of("grün".as_bytes()).line(), "grün");
        let shown = pretty("{\"a\":\"\u{9b}m\"}", "");
        assert_eq!(shown, "{\n  \"a\": \"\\u{9b}m\"\n}");
    }

    #[test]
    fn json_is_laid_out_and_stays_what_it_is() {
        let document = r#" {"z":{"a":[1,2.50,{}],"b":[ ]},"t":"a\"{,:}\\","n":null} "#;
        let expected = "\
{
|  \"z\": {
|    \"a\": [
|      1,
|      2.50,
|      {}
|    ],
|    \"b\": []
|  },
|  \"t\": \"a\\\"{,:}\\\\\",
|  \"n\": null
|}";
        assert_eq!(pretty(document, "|"), expected);
    }
}
