//! The texts of requests and answers, to count their tokens by. For where
//! nobody tells them: slow, and off the path of requests.

use crate::chat::Speech;
use crate::wire::json;
use crate::wire::sse::Event;
use serde_json::{Map, Value};

/// Members whose texts are no part of what a model reads or says.
const FORMAL: [&str; 15] = [
    "id",
    "type",
    "object",
    "role",
    "model",
    "index",
    "finish_reason",
    "stop_reason",
    "obfuscation",
    "signature",
    "system_fingerprint",
    "service_tier",
    "status",
    "call_id",
    "item_id",
];

/// Members of an answer that are no part of what the model generated: what tools
/// of the provider's found, what is said about it, and what is no text.
const NOT_SAID: [&str; 10] = [
    "annotations",
    "citations",
    "data",
    "encrypted_content",
    "logprobs",
    "output",
    "outputs",
    "result",
    "results",
    "tools",
];

/// What a request gives to a model to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub text: String,
    pub images: u64,
    /// Bytes of sounds, as they are written: in base64.
    pub sound: u64,
}

/// All that was said in a stream's events, one after the other.
pub fn of_events(speech: Speech, events: &[u8]) -> String {
    let mut said = String::new();
    for raw in self::events(events) {
        let event = Event::parse(raw);
        let data = event.data.as_deref().unwrap_or_default();
        let Some(value) = json::lenient::<Value>(data) else {
            continue;
        };
        match speech {
            Speech::OpenAi => collect(value.get("choices"), &mut said),
            Speech::Anthropic | Speech::Responses => {
                if event.name.is_some_and(|name| name.ends_with("delta")) {
                    collect(value.get("delta"), &mut said);
                }
            }
        }
    }
    said
}

/// Events, each with the blank line at its end.
pub fn events(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = [&b"\n\n"[..], &b"\r\n\r\n"[..]]
            .into_iter()
            .filter_map(|end| Some(memchr::memmem::find(rest, end)?.saturating_add(end.len())));
        let end = found.min().unwrap_or(rest.len());
        let (piece, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(piece)
    })
}

/// All that a whole answer says.
pub fn of_body(body: &[u8]) -> String {
    let mut said = String::new();
    let value = json::lenient::<Value>(body).unwrap_or_default();
    for place in ["choices", "content", "output"] {
        collect(value.get(place), &mut said);
    }
    said
}

/// The texts of a request of which only the beginning is there, with the marks
/// and names of its JSON: a little more than it gives to read.
pub fn of_cut_request(sample: &[u8]) -> String {
    String::from_utf8_lossy(&json::unescaped(sample)).into_owned()
}

/// All that a request gives to a model to read.
pub fn of_request(body: &[u8]) -> Asked {
    let mut read = Asked::default();
    let value = json::lenient::<Value>(body).unwrap_or_default();
    for place in [
        "messages",
        "system",
        "instructions",
        "input",
        "prompt",
        "tools",
        "functions",
        "response_format",
    ] {
        asked(value.get(place), &mut read);
    }
    read
}

fn collect(value: Option<&Value>, said: &mut String) {
    match value {
        Some(Value::String(text)) => said.push_str(text),
        Some(Value::Array(all)) => all.iter().for_each(|one| collect(Some(one), said)),
        Some(Value::Object(map)) => {
            let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
            // What a tool that the provider ran has found.
            if kind.ends_with("_tool_result") {
                return;
            }
            let is_said = |name: &str| !NOT_SAID.contains(&name);
            each(map, is_said, |value| collect(Some(value), said));
        }
        _ => {}
    }
}

/// Shows the members that are no formality and that `is_meant`.
fn each(map: &Map<String, Value>, is_meant: impl Fn(&str) -> bool, mut see: impl FnMut(&Value)) {
    let telling = map
        .iter()
        .filter(|(name, _)| !FORMAL.contains(&name.as_str()) && is_meant(name));
    telling.for_each(|(_, value)| see(value));
}

fn asked(value: Option<&Value>, read: &mut Asked) {
    match value {
        Some(Value::String(text)) => {
            read.text.push_str(text);
            read.text.push('\n');
        }
        // Tokens in place of a text: about four bytes each.
        Some(Value::Number(_)) => read.text.push_str(" one"),
        Some(Value::Array(all)) => all.iter().for_each(|one| asked(Some(one), read)),
        Some(Value::Object(map)) => {
            let is_image = map.contains_key("image_url")
                || map.get("type").is_some_and(|kind| kind == "image");
            if is_image {
                read.images = read.images.saturating_add(1);
                return;
            }
            if let Some(sound) = map.get("input_audio") {
                let written = sound.get("data").and_then(Value::as_str);
                let bytes = written.map_or(0, |data| data.len() as u64);
                read.sound = read.sound.saturating_add(bytes);
                return;
            }
            each(map, |_| true, |value| asked(Some(value), read));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_streams_say() {
        let chat = "data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"a\"}}]}\n\n\
                    : ping\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\r\n\r\n\
                    data: [DONE]\n\n";
        assert_eq!(of_events(Speech::OpenAi, chat.as_bytes()), "af{}");
        let messages = "event: content_block_delta\ndata: {\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}\n\n\
                        event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n";
        assert_eq!(of_events(Speech::Anthropic, messages.as_bytes()), "b");
        let responses =
            "event: response.output_text.delta\ndata: {\"item_id\":\"i\",\"delta\":\"c\"}\n\n";
        assert_eq!(of_events(Speech::Responses, responses.as_bytes()), "c");
    }

    #[test]
    fn what_a_request_gives_to_read() {
        let body = br#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hi"},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}],"user":"u","temperature":1}"#;
        let expected = Asked {
            text: "hi\n".to_owned(),
            images: 1,
            sound: 0,
        };
        assert_eq!(of_request(body), expected);
        assert_eq!(of_request(br#"{"input":[1,2,3]}"#).text, " one one one");
        let sound = br#"{"messages":[{"content":[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}]}"#;
        let asked = of_request(sound);
        assert_eq!((asked.text.as_str(), asked.sound), ("", 4));
    }

    #[test]
    fn what_a_cut_request_gives_to_read_has_no_escapes() {
        let cut = br#"{"messages":[{"content":"a\n\u4e2d\u65"#;
        let text = of_cut_request(cut);
        assert!(text.contains("a\n\u{4e2d}"), "{text}");
    }

    #[test]
    fn only_what_a_model_generated_was_said() {
        let anthropic =
            br#"{"content":[{"type":"text","text":"x","citations":[{"cited_text":"no"}]},
            {"type":"web_search_tool_result","content":[{"title":"no"}]},
            {"type":"tool_use","id":"t","name":"f","input":{"a":"b"}}]}"#;
        let mut said: Vec<_> = of_body(anthropic).chars().collect();
        said.sort_unstable();
        assert_eq!(said, ['b', 'f', 'x']);
        let chat = br#"{"choices":[{"message":{"content":"x","audio":{"data":"no"}},
            "logprobs":{"content":[{"token":"no"}]}}]}"#;
        assert_eq!(of_body(chat), "x");
        let found = br#"{"output":[{"type":"file_search_call","results":[{"text":"no"}]},
            {"type":"message","content":[{"type":"output_text","text":"x","annotations":[{"url":"no"}]}]}]}"#;
        assert_eq!(of_body(found), "x");
    }
}
