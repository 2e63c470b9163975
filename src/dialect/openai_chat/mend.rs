//! Reading JSON that is not quite JSON: half a surrogate pair (a provider cut
//! an emoji in two), or bytes that are not UTF-8. Both become U+FFFD, so that
//! one broken character does not cost the answer.

use serde_json::Value;
use std::borrow::Cow;

/// Reads a value, mended where that is all that it needs.
pub(super) fn value(bytes: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Some(value);
    }
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&mended(&text)).ok()
}

/// The text with every lone `\uD800` to `\uDFFF` replaced.
fn mended(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (length, whole) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, true),
            (Some(0xD800..=0xDFFF), _) => (6, false),
            // Two bytes, so that the second backslash of a pair starts nothing.
            _ => (
                escape
                    .char_indices()
                    .nth(2)
                    .map_or(escape.len(), |(at, _)| at),
                true,
            ),
        };
        let (escape, after) = escape.split_at(length);
        out.push_str(if whole { escape } else { "\\ufffd" });
        rest = after;
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The code unit of a `\uXXXX` at the start.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u16::from_str_radix(digits, 16).ok())?
}
