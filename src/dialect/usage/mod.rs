//! What a provider says that was used, read off bytes that pass.
//!
//! Each of the client's formats has its own places for it. Everything here is a
//! provider's word and may be wrong: a number that is none, or is negative, or
//! has a fraction, makes the whole report unsound, and somebody else has to
//! count. Whether sound numbers can be true is for the caller.

pub mod texts;

use super::anthropic::Counts;
use super::openai_chat::{counted, shape};
use crate::chat::{Operation, Speech, Usage};
use crate::wire::json;
use crate::wire::sse::Event;
use memchr::memmem::find;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// A provider's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    Told(Usage),
    /// There is one, and it cannot be what was meant.
    Unsound,
}

/// Reads the events of one stream.
#[derive(Debug, Default)]
pub struct Reader {
    /// Anthropic tells the prompt at the start and the rest at the end.
    counts: Counts,
    last: Option<Report>,
    /// What was told is of the start of an answer, and more is to come.
    is_of_start: bool,
}

impl Reader {
    /// Takes an event as it passes. Most have nothing to tell, which a search
    /// finds out: whether this one may is returned.
    pub fn event(&mut self, speech: Speech, raw: &[u8]) -> bool {
        if find(raw, b"\"usage\"").is_none() {
            return false;
        }
        let event = Event::parse(raw);
        let data = event.data.as_deref().unwrap_or_default();
        let Some(value) = json::lenient::<Value>(data) else {
            return true;
        };
        let found = match speech {
            Speech::OpenAi => chat(&value),
            Speech::Responses => value.get("response").and_then(responses),
            Speech::Anthropic => {
                let start = value.get("message");
                let usage = start.unwrap_or(&value).get("usage");
                let found = usage.and_then(|usage| self.counted(usage));
                if found.is_some() {
                    self.is_of_start = start.is_some();
                }
                found
            }
        };
        self.last = found.or(self.last);
        true
    }

    /// What the stream has told so far; the last word counts.
    pub fn report(&self) -> Option<Report> {
        self.last
    }

    /// Whether the last word was the first as well, of an answer that had only
    /// begun: the prompt is told, and nothing of what followed.
    pub const fn is_of_start(&self) -> bool {
        self.is_of_start
    }

    fn counted(&mut self, usage: &Value) -> Option<Report> {
        if !is_sound(usage.as_object()?) {
            return Some(Report::Unsound);
        }
        self.counts.update(Counts::deserialize(usage).ok()?);
        Some(Report::Told(self.counts.usage()))
    }
}

/// Whether an event of a chat's stream tells usage and nothing else: the answer
/// to `stream_options.include_usage`.
pub fn is_usage_alone(raw: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk {
        choices: Option<Vec<IgnoredAny>>,
        usage: Option<IgnoredAny>,
    }
    if find(raw, b"\"usage\"").is_none() {
        return false;
    }
    let event = Event::parse(raw);
    let chunk = json::lenient::<Chunk>(event.data.as_deref().unwrap_or_default());
    chunk.is_some_and(|chunk| {
        chunk.usage.is_some() && chunk.choices.is_some_and(|choices| choices.is_empty())
    })
}

/// What a whole answer tells. Images that are not told in tokens are counted.
pub fn whole(operation: Operation, body: &[u8]) -> Option<Report> {
    #[derive(Deserialize)]
    struct Body {
        usage: Option<Value>,
        x_groq: Option<Value>,
        choices: Option<IgnoredAny>,
        #[serde(default)]
        data: Option<Vec<IgnoredAny>>,
    }
    let body = json::lenient::<Body>(body)?;
    let usage = body
        .usage
        .or(body.x_groq.and_then(|groq| groq.get("usage").cloned()));
    let is_chat = body.choices.is_some() || operation == Operation::Embeddings;
    let report = usage.as_ref().and_then(|usage| match operation.speech() {
        Speech::Anthropic => Reader::default().counted(usage),
        // Images and transcriptions are told in the words of Responses.
        Speech::OpenAi if is_chat || usage.get("prompt_tokens").is_some() => direct(usage),
        Speech::OpenAi | Speech::Responses => counted_as_responses(usage),
    });
    match (report, body.data) {
        (None, Some(images)) if operation.makes_images() => Some(Report::Told(Usage {
            images: images.len() as u64,
            ..Usage::default()
        })),
        (report, _) => report,
    }
}

/// A chunk of Chat Completions or Completions: OpenAI's place, Groq's, and that
/// of servers that tell it with the choice.
fn chat(chunk: &Value) -> Option<Report> {
    let places = [
        chunk.get("usage"),
        chunk.get("x_groq").and_then(|groq| groq.get("usage")),
        chunk
            .get("choices")
            .and_then(|all| all.get(0)?.get("usage")),
    ];
    places.into_iter().flatten().find_map(direct)
}

fn direct(usage: &Value) -> Option<Report> {
    let usage = usage.as_object()?;
    match is_sound(usage) {
        true => Some(Report::Told(counted(usage))),
        false => Some(Report::Unsound),
    }
}

fn responses(response: &Value) -> Option<Report> {
    counted_as_responses(response.get("usage")?)
}

/// `{input_tokens, output_tokens, input_tokens_details, output_tokens_details}`.
fn counted_as_responses(usage: &Value) -> Option<Report> {
    let map = usage.as_object()?;
    if !is_sound(map) {
        return Some(Report::Unsound);
    }
    // Transcriptions are also told in seconds, which are no tokens.
    map.get("output_tokens").or(map.get("input_tokens"))?;
    let of = |outer: &str, inner: &str| {
        let details = map.get(outer).and_then(|details| details.get(inner));
        details.and_then(Value::as_u64).unwrap_or_default()
    };
    let direct = |name: &str| map.get(name).and_then(Value::as_u64).unwrap_or_default();
    Some(Report::Told(Usage {
        prompt: direct("input_tokens"),
        completion: direct("output_tokens"),
        cached: of("input_tokens_details", "cached_tokens"),
        cache_write: of("input_tokens_details", "cache_write_tokens"),
        reasoning: of("output_tokens_details", "reasoning_tokens"),
        audio_in: of("input_tokens_details", "audio_tokens"),
        audio_out: of("output_tokens_details", "audio_tokens"),
        ..Usage::default()
    }))
}

/// Whether every count of tokens is one: whole, not negative, within 64 bits.
fn is_sound(usage: &Map<String, Value>) -> bool {
    let count = |value: &Value| match value {
        Value::Null => true,
        value => shape::whole(value).is_some(),
    };
    usage.iter().all(|(name, value)| match value {
        Value::Object(details) => is_sound(details),
        value => !name.ends_with("_tokens") || count(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(speech: Speech, events: &[&str]) -> Option<Report> {
        let mut reader = Reader::default();
        for event in events {
            reader.event(speech, event.as_bytes());
        }
        reader.report()
    }

    fn told(prompt: u64, completion: u64) -> Usage {
        Usage {
            prompt,
            completion,
            ..Usage::default()
        }
    }

    #[test]
    fn a_chat_tells_at_its_end() {
        let text =
            "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\n\n";
        let last = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\
                    \"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n";
        assert_eq!(read(Speech::OpenAi, &[text]), None);
        let expected = Usage {
            cached: 4,
            ..told(7, 3)
        };
        let found = read(Speech::OpenAi, &[text, last, text]);
        assert_eq!(found, Some(Report::Told(expected)));
        assert!(is_usage_alone(last.as_bytes()) && !is_usage_alone(text.as_bytes()));
        let groq = "data: {\"choices\":[{\"delta\":{}}],\"x_groq\":{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}}\n\n";
        assert_eq!(
            read(Speech::OpenAi, &[groq]),
            Some(Report::Told(told(1, 2)))
        );
        assert!(!is_usage_alone(groq.as_bytes()));
    }

    #[test]
    fn messages_tell_in_two_parts() {
        let start = "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":5,\
                     \"cache_read_input_tokens\":10,\"cache_creation_input_tokens\":20,\
                     \"cache_creation\":{\"ephemeral_5m_input_tokens\":12,\"ephemeral_1h_input_tokens\":8},\
                     \"output_tokens\":1}}}\n\n";
        let delta = "event: message_delta\ndata: {\"usage\":{\"output_tokens\":9}}\n\n";
        let expected = Usage {
            cached: 10,
            cache_write: 20,
            cache_write_1h: 8,
            ..told(35, 9)
        };
        let found = read(Speech::Anthropic, &[start, delta]);
        assert_eq!(found, Some(Report::Told(expected)));
    }

    #[test]
    fn responses_tell_with_the_whole() {
        let event = "event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":5,\
                     \"output_tokens\":6,\"output_tokens_details\":{\"reasoning_tokens\":2}}}}\n\n";
        let expected = Usage {
            reasoning: 2,
            ..told(5, 6)
        };
        assert_eq!(
            read(Speech::Responses, &[event]),
            Some(Report::Told(expected))
        );
    }

    #[test]
    fn what_is_no_count_makes_the_report_unsound() {
        for number in ["-1", "1.5", "\"7\"", "1e40", "[]", "true"] {
            let body = format!(r#"{{"choices":[],"usage":{{"prompt_tokens":{number}}}}}"#);
            let found = whole(Operation::ChatCompletions, body.as_bytes());
            assert_eq!(found, Some(Report::Unsound), "{number}");
            let nested = format!(
                r#"{{"usage":{{"input_tokens":1,"output_tokens_details":{{"reasoning_tokens":{number}}}}}}}"#
            );
            let found = whole(Operation::Responses, nested.as_bytes());
            assert_eq!(found, Some(Report::Unsound), "{number}");
        }
    }

    #[test]
    fn whole_answers_of_every_kind() {
        let of = |operation, body: &str| match whole(operation, body.as_bytes()) {
            Some(Report::Told(usage)) => Some((usage.prompt, usage.completion, usage.images)),
            _ => None,
        };
        let embedded =
            r#"{"data":[{"embedding":[1,2]}],"usage":{"prompt_tokens":4,"total_tokens":4}}"#;
        assert_eq!(of(Operation::Embeddings, embedded), Some((4, 0, 0)));
        let images = r#"{"data":[{"b64_json":"x"},{"b64_json":"y"}]}"#;
        assert_eq!(of(Operation::ImageGenerations, images), Some((0, 0, 2)));
        let in_tokens =
            r#"{"data":[{"b64_json":"x"}],"usage":{"input_tokens":3,"output_tokens":1000}}"#;
        assert_eq!(
            of(Operation::ImageGenerations, in_tokens),
            Some((3, 1000, 0))
        );
        let message = r#"{"content":[],"usage":{"input_tokens":3,"output_tokens":4}}"#;
        assert_eq!(of(Operation::Messages, message), Some((3, 4, 0)));
        assert_eq!(
            of(
                Operation::Transcriptions,
                r#"{"usage":{"type":"duration","seconds":3}}"#
            ),
            None
        );
        assert_eq!(of(Operation::ChatCompletions, "{}"), None);
    }
}
