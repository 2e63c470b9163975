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

/// All that a request gives to a model to read, and how many images.
pub fn of_request(body: &[u8]) -> (String, u64) {
    let mut read = String::new();
    let mut images = 0;
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
        asked(value.get(place), &mut read, &mut images);
    }
    (read, images)
}

fn collect(value: Option<&Value>, said: &mut String) {
    match value {
        Some(Value::String(text)) => said.push_str(text),
        Some(Value::Array(all)) => all.iter().for_each(|one| collect(Some(one), said)),
        Some(Value::Object(map)) => each(map, |value| collect(Some(value), said)),
        _ => {}
    }
}

fn each(map: &Map<String, Value>, mut see: impl FnMut(&Value)) {
    let telling = map
        .iter()
        .filter(|(name, _)| !FORMAL.contains(&name.as_str()));
    telling.for_each(|(_, value)| see(value));
}

fn asked(value: Option<&Value>, read: &mut String, images: &mut u64) {
    match value {
        Some(Value::String(text)) => {
            read.push_str(text);
            read.push('\n');
        }
        // Tokens in place of a text: about four bytes each.
        Some(Value::Number(_)) => read.push_str(" one"),
        Some(Value::Array(all)) => all.iter().for_each(|one| asked(Some(one), read, images)),
        Some(Value::Object(map)) => {
            let is_image = map.contains_key("image_url")
                || map.get("type").is_some_and(|kind| kind == "image");
            if is_image {
                *images = images.saturating_add(1);
                return;
            }
            each(map, |value| asked(Some(value), read, images));
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
        assert_eq!(of_request(body), ("hi\n".to_owned(), 1));
        assert_eq!(of_request(br#"{"input":[1,2,3]}"#).0, " one one one");
        assert_eq!(of_body(br#"{"content":[{"type":"text","text":"x"}]}"#), "x");
    }
}
