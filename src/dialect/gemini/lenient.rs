//! Reading JSON that is a little different from what it should be: counts that
//! are floats or strings, halves of surrogate pairs, texts with white space.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads JSON; where that fails on lone surrogate escapes, which some servers
/// make by cutting a text between two events, reads them as U+FFFD.
pub(super) fn from_slice<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<T> {
    match serde_json::from_slice(bytes) {
        Ok(value) => Some(value),
        Err(_) => serde_json::from_slice(&mend(bytes)?).ok(),
    }
}

/// A count, for `deserialize_with`: any number, or a number in a string (the
/// JSON form of a protobuf `int64`). Anything else is no count.
pub(super) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(as_count(&Value::deserialize(from)?))
}

pub(super) fn as_count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn whole(number: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range and not negative, and the fraction of a count means nothing"
    )]
    (0.0..=9e15).contains(&number).then_some(number as u64)
}

/// JSON text without the white space between its tokens.
pub(super) fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        if !quoted && matches!(c, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        quoted = match c {
            '"' if !escaped => !quoted,
            _ => quoted,
        };
        escaped = c == '\\' && !escaped;
        text.push(c);
    }
    text
}

/// `json` with each lone surrogate escape replaced, or `None` without any.
fn mend(json: &[u8]) -> Option<Vec<u8>> {
    let mut mended = Vec::with_capacity(json.len());
    let mut rest = json;
    let mut found = false;
    while let Some(&byte) = rest.first() {
        let unit = escape(rest);
        let taken = match unit {
            _ if byte != b'\\' => 1,
            None => 2,
            Some(0xD800..=0xDBFF) => match rest.get(6..).and_then(escape) {
                Some(0xDC00..=0xDFFF) => 12,
                _ => 0,
            },
            Some(0xDC00..=0xDFFF) => 0,
            Some(_) => 6,
        };
        if taken == 0 {
            found = true;
            mended.extend_from_slice(b"\\ufffd");
            rest = rest.get(6..).unwrap_or_default();
        } else {
            mended.extend_from_slice(rest.get(..taken).unwrap_or(rest));
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
    found.then_some(mended)
}

/// The code unit of the `\uXXXX` that `json` starts with.
fn escape(json: &[u8]) -> Option<u16> {
    let digits = json.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        let read = |json: &str| from_slice::<Value>(json.as_bytes());
        assert_eq!(read(r#""a\ud83e""#), Some("a\u{fffd}".into()));
        assert_eq!(read(r#""\udd16b\\""#), Some("\u{fffd}b\\".into()));
        assert_eq!(read(r#""\ud83e\u0041""#), Some("\u{fffd}A".into()));
        assert_eq!(
            read(r#"["\ud83e", "\ud83e\udd16", "\\ud83e"]"#),
            Some(serde_json::json!(["\u{fffd}", "\u{1f916}", "\\ud83e"]))
        );
        assert_eq!(read(r#""\ud83e"#), None);
        assert_eq!(read("{"), None);
    }

    #[test]
    fn a_count_may_be_a_float_or_a_string() {
        let counts = ["3", "3.0", "\"3\"", "-1", "true", "1e300", "null"];
        let read = counts.map(|json| as_count(&serde_json::from_str(json).unwrap()));
        assert_eq!(read, [Some(3), Some(3), Some(3), None, None, None, None]);
    }

    #[test]
    fn white_space_goes_but_within_strings() {
        assert_eq!(
            compact("{\n  \"a b\": [1, \"\\\" \\\\\", 2 ]\r\n}"),
            r#"{"a b":[1,"\" \\",2]}"#
        );
    }
}
