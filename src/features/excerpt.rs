//! The beginning and the end of what the user said last: what a judgement of a
//! request is made of. Its size, and what it takes to cut it out, is bounded,
//! however much was said.

use super::walk::inner;
use crate::wire::json::{self, Span};

/// Bytes of the beginning, and of the end, that are looked at.
const PART: usize = 1_024;

/// Bytes that an escape in JSON has at most for each byte of its text.
const ESCAPED: usize = 6;

/// What stands in the strings `last` of `body`: all of it, or its first and last
/// [`PART`] bytes. Where it is cut, a character may be left over of an escape.
pub(super) fn excerpt(body: &[u8], last: &[Span]) -> String {
    let texts: Vec<&[u8]> = last.iter().map(|span| inner(body, *span)).collect();
    let written: usize = texts.iter().map(|text| text.len()).sum();
    if written <= 2 * PART {
        let plain: Vec<_> = texts.iter().map(|text| plain(text)).collect();
        return plain.join("\n");
    }
    let mut head = String::with_capacity(2 * PART + 64);
    for text in &texts {
        if head.len() >= PART {
            break;
        }
        let most = text.len().min(PART * ESCAPED);
        head.push_str(&plain(text.get(..most).unwrap_or_default()));
        head.push('\n');
    }
    let mut tail = String::new();
    for text in texts.iter().rev() {
        if tail.len() >= PART {
            break;
        }
        tail.insert_str(0, &plain(end(text)));
        tail.insert(0, '\n');
    }
    let cut = (0..=PART.min(head.len())).rev();
    let cut = cut.into_iter().find(|at| head.is_char_boundary(*at));
    head.truncate(cut.unwrap_or_default());
    let from = tail.len().saturating_sub(PART);
    let tail = (from..=tail.len()).find_map(|at| tail.get(at..));
    head.push_str(tail.unwrap_or_default());
    head
}

fn plain(raw: &[u8]) -> String {
    String::from_utf8_lossy(&json::unescaped(raw)).into_owned()
}

/// As much of the end of a string as its last [`PART`] bytes can take.
fn end(raw: &[u8]) -> &[u8] {
    let from = raw.len().saturating_sub(PART * ESCAPED);
    let (before, rest) = raw.split_at_checked(from).unwrap_or((&[], raw));
    let slashes = before.iter().rev().take_while(|b| **b == b'\\').count();
    // The first byte belongs to an escape that is cut.
    let cut = usize::from(slashes % 2 == 1);
    let rest = rest.get(cut..).unwrap_or_default();
    // So do the bytes that go on with a character.
    let whole = rest.iter().position(|b| b & 0xc0 != 0x80);
    rest.get(whole.unwrap_or_default()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::shape::Shape;
    use super::*;
    use serde_json::json;

    fn of(texts: &[&str]) -> String {
        let parts: Vec<_> = texts
            .iter()
            .map(|text| json!({"type": "text", "text": text}))
            .collect();
        let body = json!({"messages": [{"role": "user", "content": parts}]}).to_string();
        let (_, words) = Shape::of(body.as_bytes());
        excerpt(body.as_bytes(), &words.last)
    }

    #[test]
    fn what_is_short_is_whole() {
        assert_eq!(
            of(&["one \"two\"\n", "three \u{1f600}"]),
            "one \"two\"\n\nthree \u{1f600}"
        );
        assert_eq!(of(&[]), "");
    }

    #[test]
    fn what_is_long_is_its_beginning_and_its_end() {
        for filler in ["word ", "\u{4e2d}", "\u{1f600}", "\\\"\n"] {
            let text = format!("begin{}end", filler.repeat(50_000));
            let cut = of(&[&text]);
            assert!(cut.len() <= 2 * PART && cut.len() > PART, "{}", cut.len());
            assert!(cut.starts_with("begin") && cut.ends_with("end"), "{cut}");
        }
        let many = vec!["some words"; 10_000];
        assert!(of(&many).len() <= 2 * PART);
    }
}
