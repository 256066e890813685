//! A log statement whose level is off is not evaluated, and neither are its arguments. So the arguments of every log
//! statement, and of every `debug_assert!`, may only have calls that are known to have no effect.

use std::fs;
use std::path::{Path, PathBuf};

const STATEMENTS: [&str; 11] = [
    "trace",
    "debug",
    "info",
    "warn",
    "error",
    "event",
    "span",
    "log",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
];

/// Functions, methods and macros that only read.
const HARMLESS_CALLS: [&str; 27] = [
    "all",
    "any",
    "as_bytes",
    "as_micros",
    "as_millis",
    "as_ref",
    "as_u16",
    "contains",
    "display",
    "elapsed",
    "ends_with",
    "env",
    "get",
    "headers",
    "id",
    "is_empty",
    "is_err",
    "is_none",
    "is_ok",
    "is_some",
    "is_sorted",
    "iter",
    "len",
    "shown",
    "starts_with",
    "status",
    "value",
];

#[test]
fn no_log_statement_has_an_effect() {
    let mut statements = 0;
    for path in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let source = fs::read_to_string(&path).unwrap();
        for (line, arguments) in log_statements(&source) {
            statements += 1;
            let found = effects(&arguments);
            assert!(
                found.is_empty(),
                "{}:{line}: {found:?} in a log statement; evaluate it before, or add it to HARMLESS_CALLS if it has \
                 no effect",
                path.display()
            );
        }
    }
    assert!(statements >= 10, "only {statements} log statements were found");
}

#[test]
fn effects_are_found_wherever_they_stand() {
    for (source, effect) in [
        ("info!(signal = next().await, \"stopping\");", "next("),
        ("info!(signal = next.await);", ".await"),
        ("tracing::warn!(\n    taken = left.swap(0, Relaxed),\n);", "swap("),
        ("debug!(\"{}\", read(file)?);", "?"),
        ("error!(count = { counter += 1; counter });", "="),
        ("debug_assert!(set.insert(1), \"(\");", "insert("),
        ("debug! [ lines.next() ];", "next("),
        ("warn!(lost = write!(out, \"\").is_err());", "write!"),
    ] {
        let found: Vec<_> = log_statements(source)
            .iter()
            .flat_map(|(_, arguments)| effects(arguments))
            .collect();
        assert!(found.iter().any(|found| found == effect), "{source}: {found:?}");
    }
    for source in [
        "// info!(next().await)\n\"info!(next().await)\"; reinfo!(next()); '\\'';",
        "info!(%address, name = ?self.name, a = started.elapsed().as_micros() as u64, x == 1, \"say (what)? a = b\");",
        "debug_assert!((1..=self.left).contains(&encoded) && a <= b && a != b, \"wrong\");",
    ] {
        for (_, arguments) in log_statements(source) {
            assert_eq!(effects(&arguments), [""; 0], "{source}");
        }
    }
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The line and the arguments of each log statement.
fn log_statements(source: &str) -> Vec<(usize, String)> {
    let code = without_comments_and_texts(source);
    let mut found = Vec::new();
    for (at, _) in code.match_indices('!') {
        let name = last_word(&code[..at]);
        let rest = code[at + 1..].trim_start();
        if STATEMENTS.contains(&name) && rest.starts_with(['(', '[', '{']) {
            let line = code[..at].matches('\n').count() + 1;
            found.push((line, in_brackets(rest).to_owned()));
        }
    }
    found
}

/// The parts that may have an effect: a call that is not known to be harmless, `.await`, `?` behind an expression, and
/// an assignment that is not to a field of the statement.
fn effects(arguments: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, bracket) in arguments.match_indices(['(', '[', '{']) {
        let before = arguments[..at].trim_end();
        let (callee, sign) = match before.strip_suffix('!') {
            Some(before) => (last_word(before), "!"),
            None => (last_word(before), bracket),
        };
        if (bracket == "(" || sign == "!") && !callee.is_empty() && !HARMLESS_CALLS.contains(&callee) {
            found.push(format!("{callee}{sign}"));
        }
    }
    if arguments.contains(".await") {
        found.push(".await".to_owned());
    }
    let is_operand = |character: char| character.is_alphanumeric() || "_)]}".contains(character);
    for (at, _) in arguments.match_indices('?') {
        if arguments[..at].trim_end().ends_with(is_operand) {
            found.push("?".to_owned());
        }
    }
    if assigns(arguments) {
        found.push("=".to_owned());
    }
    found
}

/// Whether there is an assignment, other than the `=` behind the name of a field of the statement.
fn assigns(arguments: &str) -> bool {
    let mut depth = 0;
    let bytes = arguments.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b'=' => {
                let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
                let after = bytes.get(at + 1).copied().unwrap_or(b' ');
                let is_part_of_another =
                    matches!(before, b'=' | b'!' | b'<' | b'>' | b'.') || matches!(after, b'=' | b'>');
                let is_compound = b"+-*/%&|^".contains(&before);
                if is_compound || (!is_part_of_another && depth > 0) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

fn last_word(text: &str) -> &str {
    let text = text.trim_end();
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, character)| is_word(*character))
        .last()
        .map_or(text.len(), |(at, _)| at);
    &text[start..]
}

/// The text between the first bracket and the one that closes it.
fn in_brackets(text: &str) -> &str {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[1..at];
        }
    }
    panic!("a log statement does not end: {text:.60}");
}

/// The same text with spaces in place of comments and quoted text.
fn without_comments_and_texts(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let skipped = skipped_bytes(rest, &code);
        let taken = if skipped == 0 { next.len_utf8() } else { skipped };
        let (text, after) = rest.split_at(taken);
        match skipped {
            0 => code.push_str(text),
            _ => code.extend(
                text.chars()
                    .map(|character| if character == '\n' { '\n' } else { ' ' }),
            ),
        }
        rest = after;
    }
    code
}

/// The length of the comment or the quoted text that `rest` begins with.
fn skipped_bytes(rest: &str, before: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if last_word(before).is_empty()
        && let Some(raw) = rest.strip_prefix('r')
    {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 1 + hashes + 1;
            return rest[body..]
                .find(&end)
                .map_or(rest.len(), |at| body + at + end.len());
        }
    }
    if let Some(quoted) = rest.strip_prefix('"') {
        return 1 + quoted_bytes(quoted, '"');
    }
    // A character, not a lifetime.
    if let Some(quoted) = rest.strip_prefix('\'')
        && (quoted.starts_with('\\') || rest.chars().nth(2) == Some('\''))
    {
        return 1 + quoted_bytes(quoted, '\'');
    }
    0
}

fn quoted_bytes(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if character == '\\' {
            is_escaped = true;
        } else if character == quote {
            return at + quote.len_utf8();
        }
    }
    text.len()
}
