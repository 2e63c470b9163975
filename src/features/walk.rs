//! A way through a JSON body that was checked before: members, elements and
//! texts, found where they are asked for, without a tree of the whole.
//!
//! Of a body that was not checked, whatever is found is in it; nothing more is
//! promised.

use crate::wire::json::Span;
use memchr::memchr2;

/// The members of an object: their names as they are written, without quotes,
/// and where their values stand. Of anything else, none.
pub fn members(body: &[u8], object: Span) -> impl Iterator<Item = (&[u8], Span)> {
    let mut inside = Inside::of(body, object, b'{');
    std::iter::from_fn(move || {
        let name = inside.next()?;
        let value = inside.next()?;
        Some((unquoted(name.of(body)), value))
    })
}

/// The elements of an array. Of anything else, none.
pub fn elements(body: &[u8], array: Span) -> impl Iterator<Item = Span> {
    let mut inside = Inside::of(body, array, b'[');
    std::iter::from_fn(move || inside.next())
}

/// What stands between the quotes of a string, as it is written.
pub fn inner(body: &[u8], string: Span) -> &[u8] {
    unquoted(string.of(body))
}

fn unquoted(string: &[u8]) -> &[u8] {
    let inner = string.strip_prefix(b"\"").unwrap_or(string);
    inner.strip_suffix(b"\"").unwrap_or(inner)
}

/// Values one after the other, whatever stands between them.
struct Inside<'a> {
    body: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Inside<'a> {
    fn of(body: &'a [u8], span: Span, open: u8) -> Self {
        let is_such = span.of(body).first() == Some(&open);
        let at = span.start.saturating_add(1);
        let end = if is_such { span.end } else { at };
        Self { body, at, end }
    }

    fn next(&mut self) -> Option<Span> {
        loop {
            let first = *self.body.get(self.at..self.end)?.first()?;
            match first {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => self.at += 1,
                b'}' | b']' => return None,
                _ => break,
            }
        }
        let start = self.at;
        let end = after(self.body, start)?.min(self.end);
        self.at = end;
        Some(Span::new(start, end))
    }
}

/// Where the value that begins at `at` is over.
fn after(body: &[u8], at: usize) -> Option<usize> {
    match body.get(at)? {
        b'"' => after_string(body, at),
        b'{' | b'[' => after_nest(body, at),
        _ => {
            let rest = body.get(at..)?;
            let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            let length = rest.iter().position(ends).unwrap_or(rest.len());
            at.checked_add(length.max(1))
        }
    }
}

fn after_string(body: &[u8], at: usize) -> Option<usize> {
    let mut at = at.checked_add(1)?;
    loop {
        at = at.checked_add(memchr2(b'"', b'\\', body.get(at..)?)?)?;
        match body.get(at)? {
            b'"' => return at.checked_add(1),
            _ => at = at.checked_add(2)?,
        }
    }
}

fn after_nest(body: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match body.get(at)? {
            b'"' => {
                at = after_string(body, at)?;
                continue;
            }
            b'{' | b'[' => depth = depth.checked_add(1)?,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return at.checked_add(1);
                }
            }
            _ => {}
        }
        at = at.checked_add(1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json;
    use proptest::prelude::*;
    use serde_json::Value;

    fn whole(body: &[u8]) -> Span {
        Span::new(0, body.len())
    }

    /// Any value, by this way.
    fn rebuilt(body: &[u8], span: Span) -> Value {
        match span.of(body).first() {
            Some(b'{') => members(body, span)
                .map(|(name, value)| {
                    let name = json::unescaped(name).into_owned();
                    (String::from_utf8(name).unwrap(), rebuilt(body, value))
                })
                .collect(),
            Some(b'[') => elements(body, span).map(|one| rebuilt(body, one)).collect(),
            Some(b'"') => {
                let text = json::unescaped(inner(body, span)).into_owned();
                Value::from(String::from_utf8(text).unwrap())
            }
            _ => serde_json::from_slice(span.of(body)).unwrap(),
        }
    }

    #[test]
    fn blanks_and_escapes_lead_nobody_astray() {
        let body = br#"{ "a\"}" : [ 1 ,"x,]\\" , {} ] , "b":{"c" : null}}"#;
        let expected: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(rebuilt(body, whole(body)), expected);
    }

    #[test]
    fn what_is_cut_ends() {
        let body = br#"{"a":["x",{"b":"c"#;
        for end in 0..body.len() {
            let cut = &body[..end];
            members(cut, whole(cut)).for_each(|(_, value)| {
                elements(cut, value).for_each(drop);
            });
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|all: Vec<(String, Value)>| all.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_body_is_found_whole(value in value(), pretty: bool) {
            let body = match pretty {
                true => serde_json::to_vec_pretty(&value),
                false => serde_json::to_vec(&value),
            }.unwrap();
            prop_assert_eq!(rebuilt(&body, whole(&body)), value);
        }
    }
}
