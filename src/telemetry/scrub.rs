//! Takes credentials out of texts that others wrote, before they are logged.
//!
//! A second net: it knows how credentials usually look in heads, targets and
//! error texts, and cannot know them all. What must not leak is not logged in
//! the first place.

use std::borrow::Cow;
use std::ops::Range;

const MASK: &str = "[masked]";

/// `text` without what looks like a credential, at most `most` characters.
pub(super) fn scrub(text: &str, most: usize) -> String {
    let text = without_head(text);
    // ASCII case only, so that every offset stays valid in `text`.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut kept = 0;
    for secret in secrets(&lower) {
        if secret.start >= kept {
            out.push_str(text.get(kept..secret.start).unwrap_or_default());
            out.push_str(MASK);
        }
        kept = kept.max(secret.end);
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    // Cut last: a cut before could take away the word that marks a secret.
    if let Some((end, _)) = out.char_indices().nth(most) {
        out.truncate(end);
        out.push('…');
    }
    out
}

/// Pingora quotes up to 2 KB of a head that it cannot parse, between "buf: "
/// and the cause. Such a head may spell its fields in any way, which no list of
/// names catches: all of it goes.
fn without_head(text: &str) -> Cow<'_, str> {
    let Some((before, quoted)) = text.split_once("buf: ") else {
        return Cow::Borrowed(text);
    };
    let cause = quoted
        .rsplit_once(" cause: ")
        .map_or("", |(_, cause)| cause);
    Cow::Owned(format!("{before}[head withheld] cause: {cause}"))
}

/// Names of header fields whose value, up to the end of its line, is secret.
const FIELDS: [&str; 4] = ["authorization", "api-key", "cookie", "auth-token"];
/// Words before a secret that ends at the next blank or punctuation.
const WORDS: [&str; 8] = [
    "bearer ",
    "basic ",
    "api_key=",
    "apikey=",
    "key=",
    "token=",
    "secret=",
    "password=",
];
/// How keys themselves begin, ours and the common providers'.
const KEYS: [&str; 6] = ["sk-", "tg-", "gsk_", "xai-", "aiza", "akia"];

/// Where the secrets of a text in lower case are, by start.
fn secrets(lower: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for name in FIELDS {
        found.extend(after(lower, name).filter_map(|end| field_value(lower, end)));
    }
    for word in WORDS {
        found.extend(after(lower, word).map(|end| token(lower, end)));
    }
    for key in KEYS {
        found.extend(after(lower, key).filter_map(|end| whole_key(lower, end - key.len())));
    }
    found.retain(|secret| !secret.is_empty());
    found.sort_by_key(|secret| secret.start);
    found
}

/// The offsets behind each occurrence of `word`.
fn after<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(move |(at, _)| at + word.len())
}

/// The value of a header field whose name ends at `name_end`: behind a colon
/// or equals sign (debug output puts quotes around names), up to the end of
/// the line, which may itself be an escape.
fn field_value(text: &str, name_end: usize) -> Option<Range<usize>> {
    let rest = text.get(name_end..)?;
    let separator = rest.find([':', '='])?;
    if !rest
        .get(..separator)?
        .chars()
        .all(|c| matches!(c, '"' | '\'' | ' ' | '\t' | '\\'))
    {
        return None;
    }
    let start = separator + 1;
    let value = rest.get(start..)?;
    let length = ["\r", "\n", "\\r", "\\n"]
        .iter()
        .filter_map(|end| value.find(end))
        .min();
    let start = name_end + start;
    Some(start..length.map_or(text.len(), |length| start + length))
}

/// The next run without blanks and punctuation.
fn token(text: &str, from: usize) -> Range<usize> {
    let rest = text.get(from..).unwrap_or_default();
    let trimmed = rest.trim_start();
    let start = from + (rest.len() - trimmed.len());
    let ends =
        |c: char| c.is_whitespace() || matches!(c, '&' | '"' | '\'' | ',' | ';' | '\\' | ')');
    start..start + trimmed.find(ends).unwrap_or(trimmed.len())
}

/// A key that starts at `start`: not in the middle of a word, and with at
/// least four more characters than its prefix has.
fn whole_key(text: &str, start: usize) -> Option<Range<usize>> {
    let before = text.get(..start)?.chars().next_back();
    if before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return None;
    }
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let length = text
        .get(start..)?
        .find(|c| !is_key(c))
        .unwrap_or(text.len() - start);
    (length >= 7).then_some(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 300;
    const SECRET: &str = "s3cr3t-canary";

    #[test]
    fn no_spelling_of_a_credential_survives() {
        let texts = [
            "Authorization: Bearer SECRET",
            "AUTHORIZATION:SECRET\r\nhost: a",
            r#"headers: {"authorization": "Bearer SECRET", "x": "y"}"#,
            r#"{\"authorization\": \"Bearer SECRET\"}"#,
            r"GET / HTTP/1.1\r\nx-api-key: SECRET\r\nhost: a",
            "x-goog-api-key = SECRET",
            "Proxy-Authorization: Basic SECRET",
            "Set-Cookie: id=SECRET; Path=/",
            "bearer SECRET",
            "Bearer  SECRET and Authorization: SECRET",
            "POST /v1/models?key=SECRET&alt=sse, Host: a",
            "POST /v1/models?api_key=SECRET",
            "Incorrect API key provided: sk-SECRET.",
            "key tg-SECRET",
            "Downstream InvalidHTTPHeader context: buf: GET / HTTP/1.1\\r\\nAuth orization : x SECRET \
             cause: SECRET cause: invalid header name",
        ];
        for text in texts {
            let text = text.replace("SECRET", SECRET);
            let clean = scrub(&text, MOST);
            assert!(!clean.contains(SECRET), "{text} -> {clean}");
            assert_eq!(scrub(&clean, MOST), clean, "a second pass changes nothing");
        }
    }

    #[test]
    fn what_is_no_credential_stays() {
        for text in [
            "Upstream ConnectRefused context: Fail to connect to addr: 127.0.0.1:9 cause: refused",
            "authorization of the provider failed",
            "the task-sk-et is fine; disk-full; sk-1",
            "POST /v1/chat/completions, Host: localhost:8080",
            "é漢字 \u{1F600} key",
        ] {
            assert_eq!(scrub(text, MOST), text);
        }
        assert_eq!(
            scrub("a authorization: x\r\nhost: b", MOST),
            "a authorization:[masked]\r\nhost: b"
        );
    }

    #[test]
    fn garbage_is_scrubbed_without_trouble() {
        for text in [
            "",
            "buf: ",
            "key=",
            "bearer ",
            "authorization:",
            "cookie",
            "sk-",
            "é=key=é",
        ] {
            let _ = scrub(text, 3);
        }
        assert_eq!(scrub("é sk-abcdefg", 300), "é [masked]");
    }
}
