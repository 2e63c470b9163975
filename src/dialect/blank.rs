//! Whether an event of a stream tells anything of the answer yet.
//!
//! A role, an empty piece of text, a usage, an announcement of what will
//! follow: a client that gets these has no answer, and a provider that sends
//! nothing else has stalled. What is not known to be empty counts as content.
//!
//! Cheap, because it is asked of every event: an ordinary piece of text is
//! recognised by a search, and of the rest only emptiness is read, without
//! keeping anything.

use memchr::memmem;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use std::borrow::Cow;
use std::fmt;

/// Whether a chunk of Chat Completions or Completions without a finish reason
/// tells nothing.
pub(super) fn chunk(data: &[u8]) -> bool {
    !has_text(data) && chunk_bytes(data) == Some(0)
}

/// How many bytes of texts a chunk tells, names and ids among them; `None`
/// where it is something else than a chunk.
pub(super) fn chunk_bytes(data: &[u8]) -> Option<usize> {
    let chunk = serde_json::from_slice::<Chunk>(data).ok()?;
    Some(chunk.choices?.iter().map(|choice| choice.0).sum())
}

/// The same for an event with a `delta`.
pub(super) fn delta_bytes(data: &[u8]) -> Option<usize> {
    let event = serde_json::from_slice::<Delta>(data).ok()?;
    Some(event.delta.0)
}

/// Whether an event of Anthropic's Messages or OpenAI's Responses tells nothing.
pub(super) fn named(name: &str, data: &[u8]) -> bool {
    match name {
        "message_start"
        | "content_block_stop"
        | "response.created"
        | "response.queued"
        | "response.in_progress"
        | "response.content_part.added"
        | "response.reasoning_summary_part.added" => true,
        // A call's start is content: it has a name.
        "content_block_start" | "response.output_item.added" => {
            let opened = serde_json::from_slice::<Opened<'_>>(data).ok();
            let kind = opened.and_then(|opened| opened.content_block.or(opened.item)?.kind);
            matches!(
                kind.as_deref(),
                Some("text" | "thinking" | "message" | "reasoning")
            )
        }
        _ if name.ends_with("delta") => delta_bytes(data) == Some(0),
        _ => false,
    }
}

/// Whether there is text in a place where a chunk has it. Inside a JSON string
/// the key's quotes would be escaped, so text cannot imitate it.
fn has_text(data: &[u8]) -> bool {
    const KEY: &[u8] = b"\"content\":";
    let at = memmem::find(data, KEY);
    let value = at.and_then(|at| data.get(at.saturating_add(KEY.len())..));
    let value = value.unwrap_or_default().trim_ascii_start();
    value.first() == Some(&b'"') && value.get(1).is_some_and(|next| *next != b'"')
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
}

#[derive(Deserialize)]
struct Opened<'a> {
    #[serde(borrow)]
    content_block: Option<Kind<'a>>,
    #[serde(borrow)]
    item: Option<Kind<'a>>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta {
    delta: Texts,
}

/// Fields that stand in a choice or a delta whether or not they tell anything.
const FORMAL: [&str; 7] = [
    "role",
    "type",
    "index",
    "finish_reason",
    "content_filter_result",
    "content_filter_results",
    "content_filter_offsets",
];

/// Bytes of all texts in a value; what else is not empty counts as one.
struct Texts(usize);

/// The same for a choice, whose formal fields do not count.
struct Choice(usize);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Counted { formal: 1 }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Counted { formal: 2 }).map(Self)
    }
}

/// Counts texts. `formal`: on how many levels formal fields do not count.
#[derive(Clone, Copy)]
struct Counted {
    formal: u8,
}

impl<'de> de::DeserializeSeed<'de> for Counted {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_str<E>(self, text: &str) -> Result<usize, E> {
        Ok(text.len())
    }

    fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
        Ok(1)
    }

    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok(1)
    }

    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok(1)
    }

    fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
        Ok(1)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<usize, A::Error> {
        let mut bytes = 0_usize;
        while let Some(one) = all.next_element_seed(Self { formal: 0 })? {
            bytes = bytes.saturating_add(one);
        }
        Ok(bytes)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<usize, A::Error> {
        let mut bytes = 0_usize;
        while let Some(name) = all.next_key::<Cow<'_, str>>()? {
            if self.formal > 0 && FORMAL.contains(&&*name) {
                all.next_value::<IgnoredAny>()?;
                continue;
            }
            let below = Self {
                formal: self.formal.saturating_sub(1),
            };
            bytes = bytes.saturating_add(all.next_value_seed(below)?);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_that_tells_nothing() {
        for choice in [
            r#"{"index":0,"delta":{"role":"assistant"},"finish_reason":null}"#,
            r#"{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null}"#,
            r#"{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[]}}"#,
            r#"{"index":0,"delta":{},"content_filter_results":{"hate":{"filtered":false}}}"#,
            r#"{"index":0,"delta":{"content":"","reasoning_content":""},"finish_reason":""}"#,
            r#"{"index":0,"text":"","logprobs":null,"finish_reason":null}"#,
            r#"{"index":1,"delta":null}"#,
        ] {
            let data = format!(
                r#"{{"id":"x","created":1,"choices":[{choice}],"obfuscation":"abc","usage":null}}"#
            );
            assert!(chunk(data.as_bytes()), "{data}");
        }
        assert!(chunk(
            br#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#
        ));
        assert!(chunk(br#"{"choices":[],"usage":{"prompt_tokens":1}}"#));
    }

    #[test]
    fn a_chunk_that_tells_something() {
        for choice in [
            r#"{"index":0,"delta":{"content":"a"}}"#,
            r#"{"index":0,"delta":{"content" : " "}}"#,
            r#"{"index":0,"delta":{"content":"\"content\":\"\""}}"#,
            r#"{"index":0,"delta":{"content":[{"type":"text","text":"a"}]}}"#,
            r#"{"index":0,"delta":{"role":"assistant","refusal":"no"}}"#,
            r#"{"index":0,"delta":{"reasoning_content":"hm"}}"#,
            r#"{"index":0,"delta":{"reasoning":"hm","content":""}}"#,
            r#"{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}}"#,
            r#"{"index":0,"delta":{"function_call":{"name":"f"}}}"#,
            r#"{"index":0,"delta":{"audio":{"id":"a"}}}"#,
            r#"{"index":0,"delta":{"annotations":[{"type":"url_citation"}]}}"#,
            r#"{"index":0,"delta":{},"logprobs":{"content":[{"token":"a","logprob":-1}]}}"#,
            r#"{"index":0,"delta":{"something":1}}"#,
            r#"{"index":0,"text":"a"}"#,
        ] {
            let data = format!(r#"{{"id":"x","choices":[{choice}]}}"#);
            assert!(!chunk(data.as_bytes()), "{data}");
        }
        for other in [
            r#"{"a":1}"#,
            "[]",
            "{",
            "7",
            r#"{"choices":7}"#,
            r#"{"choices":[7]}"#,
        ] {
            assert!(!chunk(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_told_is_counted_in_bytes() {
        let told = br#"{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":"four","n":7}}]}"#;
        assert_eq!(chunk_bytes(told), Some(5));
        assert_eq!(delta_bytes(br#"{"delta":"abc"}"#), Some(3));
        assert_eq!(
            delta_bytes(br#"{"delta":{"type":"text_delta","text":"abc"}}"#),
            Some(3)
        );
        assert_eq!((chunk_bytes(b"{}"), delta_bytes(b"{}")), (None, None));
    }

    #[test]
    fn announcements_are_not_content_and_calls_are() {
        for (name, data, blank) in [
            ("message_start", "{}", true),
            (
                "content_block_start",
                r#"{"content_block":{"type":"text","text":""}}"#,
                true,
            ),
            (
                "content_block_start",
                r#"{"content_block":{"type":"tool_use","name":"f"}}"#,
                false,
            ),
            (
                "content_block_start",
                r#"{"content_block":{"type":"new"}}"#,
                false,
            ),
            ("content_block_start", "{", false),
            (
                "content_block_delta",
                r#"{"delta":{"type":"text_delta","text":""}}"#,
                true,
            ),
            (
                "content_block_delta",
                r#"{"delta":{"type":"text_delta","text":"a"}}"#,
                false,
            ),
            (
                "content_block_delta",
                r#"{"delta":{"type":"input_json_delta","partial_json":"{"}}"#,
                false,
            ),
            ("content_block_stop", "{}", true),
            (
                "message_delta",
                r#"{"delta":{"stop_reason":"end_turn"}}"#,
                false,
            ),
            ("response.created", "{}", true),
            (
                "response.output_item.added",
                r#"{"item":{"type":"message","content":[]}}"#,
                true,
            ),
            (
                "response.output_item.added",
                r#"{"item":{"type":"function_call","name":"f"}}"#,
                false,
            ),
            ("response.output_text.delta", r#"{"delta":""}"#, true),
            ("response.output_text.delta", r#"{"delta":"a"}"#, false),
            ("response.output_text.delta", r#"{"text":"a"}"#, false),
            ("response.output_text.done", "{}", false),
            ("something", "{}", false),
        ] {
            assert_eq!(named(name, data.as_bytes()), blank, "{name} {data}");
        }
    }
}
