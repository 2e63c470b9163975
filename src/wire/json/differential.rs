//! The scanner beside `serde_json`, over bodies damaged at random, the same ones in every run.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::*;

const BODIES: [&str; 4] = [
    r#"{"model":"gpt-5-mini","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"H\u00e9llo \"w\" \ud83d\ude00\n"}],"stream":true,"temperature":0.7,"max_tokens":1024,"stop":null}"#,
    "{\n  \"messages\": [\n    {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"日本語 ok\"}, {\"type\": \"image_url\", \"image_url\": {\"url\": \"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==\"}}]}\n  ],\n  \"model\": \"m\"\n}\n",
    r#"{"model":"x","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"number","minimum":-1.5e3},"b":{"type":"string"}},"required":["a","b"]}}}],"messages":[],"logit_bias":{"50256":-100,"1":0}}"#,
    r#"{"a":0,"b":1,"c":2,"d":3,"e":4,"f":5,"g":6,"h":7,"i":8,"j":9,"k":10,"l":11,"m":12,"n":13,"o":14,"p":15,"q":16,"r":[{},{"":[]}],"s":-0.0}"#,
];

const TOKENS: [&[u8]; 40] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"0",
    b"-",
    b"+",
    b".",
    b"e",
    b"1e400",
    b"NaN",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"\\n",
    b"\\x",
    b"\0",
    b"\n",
    b" ",
    b"\xff",
    b"\xc3",
    b"\xa9",
    b"\xef\xbb\xbf",
    b"null",
    b"true",
    b"\"a\":1,",
    b"\"\\u0061\":1,",
    b"\"model\":1,",
    b"\"Model\":1,",
    b"\"role\":1,",
    b"\"\":1,",
    b"\"\\u0000\":1,",
    b"{\"a\":1},",
    b"/",
    b"[[[[[[[[",
    b"]]]]]]]]",
];

struct Sequence(u64);

impl Sequence {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn range(&mut self, end: usize, longest: usize) -> std::ops::Range<usize> {
        let start = self.below(end);
        start..(start + self.below(longest)).min(end)
    }

    fn damage(&mut self, body: &mut Vec<u8>) {
        let at = self.below(body.len() + 1);
        match self.below(5) {
            0 => drop(body.splice(at..at, TOKENS[self.below(TOKENS.len())].iter().copied())),
            1 => {
                let range = self.range(body.len(), 12);
                drop(body.splice(range, TOKENS[self.below(TOKENS.len())].iter().copied()));
            }
            2 => drop(body.drain(self.range(body.len(), 6))),
            3 => {
                let copied = body[self.range(body.len(), 40)].to_vec();
                drop(body.splice(at..at, copied));
            }
            _ => {
                if let Some(byte) = body.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
    }
}

/// A value of which every object has distinct names.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Self)) = map.next_entry::<String, Self>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("duplicate"));
            }
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while let Some(Self) = seq.next_element()? {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}

/// Checks that both found the same members.
fn agree(body: &[u8], document: &Document, value: &Value) {
    let object = value.as_object().expect("an object");
    assert_eq!(document.members().len(), object.len());
    for member in document.members() {
        let name: String =
            serde_json::from_slice(Span::new(member.name.start - 1, member.name.end + 1).of(body))
                .unwrap();
        assert!(member.is_named(body, &name));
        let theirs = &object[&name];
        let ours: Value = serde_json::from_slice(member.value.of(body)).unwrap();
        assert_eq!(ours, *theirs);
        assert_eq!(member.string(body).as_deref(), theirs.as_str());
        assert_eq!(member.u64(body), theirs.as_u64());
        assert_eq!(member.bool(), theirs.as_bool());
        assert_eq!(member.elements, theirs.as_array().map_or(0, Vec::len));
    }
}

/// Checks that an edit by span is an edit of the value.
fn edit(body: &[u8], document: &Document, mut value: Value) {
    let Some(model) = document.member(body, "model") else {
        return;
    };
    let mut edits = vec![Edit {
        span: model.value,
        with: Bytes::from_static(br#""other""#),
    }];
    value["model"] = "other".into();
    if document.member(body, "user").is_none() {
        edits.push(append_members(document, &[("user", b"[1]")]));
        value["user"] = vec![1].into();
    }
    let spliced = splice(&Bytes::copy_from_slice(body), edits)
        .unwrap()
        .into_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&spliced).unwrap(), value);
}

#[test]
fn damaged_bodies_are_read_as_serde_json_reads_them_or_refused_for_a_reason() {
    use ScanErrorKind::{DuplicateName, NameCase, NotAnObject, NulInName, TooDeep};
    let known = Known {
        top: &["model", "messages"],
        nested: &[("messages", &["role", "content"])],
    };
    let mut sequence = Sequence(0x0123_4567_89ab_cdef);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..60_000 {
        let mut body = BODIES[round % BODIES.len()].as_bytes().to_vec();
        for _ in 0..=sequence.below(3) {
            sequence.damage(&mut body);
        }
        let shown = String::from_utf8_lossy(&body);
        let ours = scan(&body, &Limits::default(), &known);
        let theirs = serde_json::from_slice::<Value>(&body);
        let duplicates = theirs.is_ok() && serde_json::from_slice::<Distinct>(&body).is_err();
        match (ours, theirs) {
            (Ok(document), Ok(value)) => {
                assert!(!duplicates, "{shown}");
                agree(&body, &document, &value);
                edit(&body, &document, value);
                accepted += 1;
            }
            (Ok(_), Err(error)) => panic!("accepted, but {error}: {shown}"),
            (Err(error), Ok(value)) => {
                match error.kind {
                    DuplicateName => assert!(duplicates, "{error}: {shown}"),
                    NotAnObject => assert!(!value.is_object(), "{error}: {shown}"),
                    NameCase | NulInName | TooDeep => {}
                    _ => panic!("refused with {error}: {shown}"),
                }
                refused += 1;
            }
            (Err(error), Err(_)) => assert!(error.offset <= body.len()),
        }
    }
    // The damage must not be such that little is compared.
    assert!(accepted > 5_000, "{accepted} accepted");
    assert!(refused > 200, "{refused} refused for a stricter reason");
}
