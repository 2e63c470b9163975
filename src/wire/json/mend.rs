//! Reading a provider's JSON that is not quite JSON: half a surrogate pair (a
//! server cut an emoji in two), or bytes that are not UTF-8. Both become
//! U+FFFD, so that one broken character does not cost the answer. A client's
//! body is never mended: it is refused.

use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// What takes the place of what is broken.
const REPLACEMENT: &[u8] = b"\\ufffd";

/// Reads a value, mended where that is all that it needs.
pub fn lenient<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    if let Ok(value) = serde_json::from_slice(json) {
        return Some(value);
    }
    match mended(json) {
        Cow::Borrowed(_) => None,
        Cow::Owned(json) => serde_json::from_slice(&json).ok(),
    }
}

/// The text itself if nothing is broken in it, else a mended copy. For readers
/// that borrow, and such as put off the reading of a part.
pub fn mended(json: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(json) {
        Cow::Borrowed(_) => whole_pairs(json).map_or(Cow::Borrowed(json), Cow::Owned),
        Cow::Owned(text) => {
            let bytes = text.into_bytes();
            Cow::Owned(whole_pairs(&bytes).unwrap_or(bytes))
        }
    }
}

/// The text with every lone escape from `\uD800` to `\uDFFF` replaced; `None`
/// without any.
fn whole_pairs(json: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(next) = json
        .get(at..)
        .and_then(|rest| rest.iter().position(|byte| *byte == b'\\'))
        .and_then(|ahead| at.checked_add(ahead))
    {
        let rest = json.get(next..).unwrap_or_default();
        let (taken, whole) = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, true),
            (Some(0xD800..=0xDFFF), _) => (6, false),
            // Two bytes, so that the second backslash of a pair starts nothing.
            _ => (2, true),
        };
        at = next.saturating_add(taken);
        if !whole {
            out.extend_from_slice(json.get(copied..next).unwrap_or_default());
            out.extend_from_slice(REPLACEMENT);
            copied = at;
        }
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(json.get(copied..).unwrap_or_default());
    Some(out)
}

/// The code unit of the `\uXXXX` at the start.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn halves_of_pairs_are_replaced() {
        let read = |json: &str| lenient::<Value>(json.as_bytes());
        assert_eq!(read(r#""a\ud83e""#), Some("a\u{fffd}".into()));
        assert_eq!(read(r#""\udd16b\\""#), Some("\u{fffd}b\\".into()));
        assert_eq!(read(r#""\ud83e\u0041""#), Some("\u{fffd}A".into()));
        assert_eq!(
            read(r#""\ud83e\ud83e\udd16""#),
            Some("\u{fffd}\u{1f916}".into())
        );
        let mixed = r#"["\ud83e", "\ud83e\udd16", "\\ud83e"]"#;
        let whole = json!(["\u{fffd}", "\u{1f916}", "\\ud83e"]);
        assert_eq!(read(mixed), Some(whole));
        assert_eq!(read(r#""\ud83e"#), None);
        assert_eq!(read(r#""\ud8"#), None);
        assert_eq!(read("{"), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(lenient(b"\"a\xff\""), Some(Value::from("a\u{fffd}")));
        assert_eq!(
            lenient(b"\"\xff\\udd16\""),
            Some(Value::from("\u{fffd}\u{fffd}"))
        );
    }

    #[test]
    fn what_is_whole_is_not_copied() {
        for json in [r#"{"a":"\n\ud83e\udd16 \\ud83e \"ö"}"#, "", "\\", "\\u"] {
            assert!(
                matches!(mended(json.as_bytes()), Cow::Borrowed(_)),
                "{json}"
            );
        }
        assert!(matches!(mended(br#""\udd16""#), Cow::Owned(_)));
    }
}
