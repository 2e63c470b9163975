//! Reading JSON that is a little different from what it should be: counts that
//! are floats or strings, texts with white space.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

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

#[cfg(test)]
mod tests {
    use super::*;

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
