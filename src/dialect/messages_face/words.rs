//! What a client of the Messages API calls what a dialect names, for errors and
//! for the list of what was left out.

use super::super::places::{Names, Place};
use serde_json::Value;

const NAMES: Names = Names {
    arguments: "input",
    call_id: "tool_use_id",
    parameters: "input_schema",
    fields: &[
        ("file.filename", "messages[].content[].title"),
        (
            "messages[].reasoning_content",
            "messages[].content[].thinking",
        ),
        (
            "messages[].thinking_blocks",
            "messages[].content[].signature",
        ),
        (
            "messages[].tool_calls[].thought_signature",
            "messages[].content[].signature",
        ),
        (
            "parallel_tool_calls",
            "tool_choice.disable_parallel_tool_use",
        ),
        ("response_format", "output_config.format"),
        ("stop", "stop_sequences"),
        ("user", "metadata.user_id"),
    ],
};

/// The client's name of a field of `body`.
pub fn field(body: &[u8], name: &str) -> String {
    let body = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    if name == "reasoning_effort" {
        let by_effort = body().pointer("/output_config/effort").is_some();
        let own = if by_effort {
            "output_config.effort"
        } else {
            "thinking"
        };
        return own.to_owned();
    }
    NAMES.of(name, || places(&body()))
}

/// For each message of the conversation, where it came from. What the reader of
/// requests leaves out is left out here.
fn places(body: &Value) -> Vec<Place> {
    let mut found = Vec::new();
    if let Some(system) = body.get("system") {
        instructions("system", "system", system, &mut found);
    }
    let messages = body.get("messages").and_then(Value::as_array);
    for (i, message) in messages.into_iter().flatten().enumerate() {
        let at = format!("messages[{i}]");
        let inside = format!("{at}.content");
        let content = message.get("content").unwrap_or(&Value::Null);
        match message.get("role").and_then(Value::as_str) {
            Some("system") => instructions(&at, &inside, content, &mut found),
            Some("user") => user(&at, &inside, content, &mut found),
            _ => assistant(&at, &inside, content, &mut found),
        }
    }
    found
}

fn instructions(at: &str, inside: &str, content: &Value, found: &mut Vec<Place>) {
    let said = |block: &Value| block.get("text").is_some_and(|text| text != "");
    let speaks = match content {
        Value::String(text) => !text.is_empty(),
        Value::Array(blocks) => blocks.iter().any(said),
        _ => false,
    };
    if speaks {
        found.push(Place {
            whole: at.to_owned(),
            parts: parts(inside, content),
            calls: Vec::new(),
        });
    }
}

fn user(at: &str, inside: &str, content: &Value, found: &mut Vec<Place>) {
    let mut said = Vec::new();
    if content.is_string() {
        said.push(inside.to_owned());
    }
    for (at, block) in blocks(inside, content) {
        if block.get("type").is_some_and(|kind| kind == "tool_result") {
            let content = block.get("content").unwrap_or(&Value::Null);
            found.push(Place {
                parts: parts(&format!("{at}.content"), content),
                whole: at,
                calls: Vec::new(),
            });
        } else {
            said.extend(expanded(at, block));
        }
    }
    if !said.is_empty() {
        found.push(Place {
            whole: at.to_owned(),
            parts: said,
            calls: Vec::new(),
        });
    }
}

fn assistant(at: &str, inside: &str, content: &Value, found: &mut Vec<Place>) {
    let mut place = Place {
        whole: at.to_owned(),
        ..Place::default()
    };
    let mut speaks = content.is_string();
    if speaks {
        place.parts.push(inside.to_owned());
    }
    for (at, block) in blocks(inside, content) {
        match block.get("type").and_then(Value::as_str) {
            Some("tool_use") => place.calls.push(at),
            Some("thinking") => speaks = true,
            Some("redacted_thinking") => {
                // One that carries a call's signature is no thought.
                let data = block.get("data").and_then(Value::as_str);
                speaks |= data.is_some_and(|data| super::shape::call_signature(data).is_none());
            }
            _ => place.parts.extend(expanded(at, block)),
        }
    }
    if speaks || !place.parts.is_empty() || !place.calls.is_empty() {
        found.push(place);
    }
}

fn blocks<'a>(inside: &str, content: &'a Value) -> impl Iterator<Item = (String, &'a Value)> {
    let list = content.as_array().into_iter().flatten().enumerate();
    list.map(move |(i, block)| (format!("{inside}[{i}]"), block))
}

/// Where the parts came from that a content becomes.
fn parts(inside: &str, content: &Value) -> Vec<String> {
    if content.is_string() {
        return vec![inside.to_owned()];
    }
    let all = blocks(inside, content);
    all.flat_map(|(at, block)| expanded(at, block)).collect()
}

/// A block is one part; a document may be several.
fn expanded(at: String, block: &Value) -> Vec<String> {
    let full = |name: &str| {
        let text = block.get(name).and_then(Value::as_str);
        usize::from(text.is_some_and(|text| !text.is_empty()))
    };
    let listed = block.pointer("/source/content").and_then(Value::as_array);
    let document = block.get("type").is_some_and(|kind| kind == "document");
    let count = match (document, listed) {
        (false, _) => 1,
        (true, None) => full("context").saturating_add(1),
        (true, Some(list)) => list
            .len()
            .saturating_add(full("context"))
            .saturating_add(full("title")),
    };
    vec![at; count]
}

#[cfg(test)]
mod tests {
    use super::super::MessagesFace;
    use super::*;
    use crate::chat::Message;
    use crate::dialect::Face as _;
    use serde_json::json;

    /// A place for each message, part and call that is read, and no more.
    fn check(body: &Value) {
        let read = MessagesFace.parse(body.to_string().as_bytes()).unwrap();
        let shape: Vec<(usize, usize)> = read
            .messages
            .iter()
            .map(|message| match message {
                Message::System { parts }
                | Message::User { parts, .. }
                | Message::Tool { parts, .. } => (parts.len(), 0),
                Message::Assistant(turn) => (turn.parts.len(), turn.calls.len()),
            })
            .collect();
        let places = places(body);
        let told = places.iter().map(|p| (p.parts.len(), p.calls.len()));
        assert_eq!(told.collect::<Vec<_>>(), shape, "{body}");
    }

    #[test]
    fn every_message_has_its_place() {
        let text = json!({"type": "text", "text": "x"});
        let source = json!({"type": "text", "media_type": "text/plain", "data": "x"});
        let listed = json!({"type": "content", "content": [text, text]});
        let body = |system: Value, messages: Value| json!({"model": "m", "max_tokens": 1, "system": system, "messages": messages});
        let call = json!({"type": "tool_use", "id": "a", "name": "f", "input": {}});
        let result =
            |content: Value| json!({"type": "tool_result", "tool_use_id": "a", "content": content});
        let messages = json!([
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [text, call]},
            {"role": "user", "content": [
                text, result(json!("x")), result(json!([text, text])),
                {"type": "document", "title": "t", "context": "c", "source": source},
                {"type": "document", "title": "t", "source": listed},
                {"type": "document", "source": {"type": "content", "content": []}},
                {"type": "document", "source": {"type": "content", "content": "x"}},
            ]},
            {"role": "system", "content": "x"},
            {"role": "system", "content": ""},
            {"role": "assistant", "content": []},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]},
            {"role": "assistant", "content": "x"},
        ]);
        for system in [json!("x"), json!(""), json!([text, text]), json!([])] {
            check(&body(system, messages.clone()));
        }
        let named = |name: &str| {
            field(
                body(json!("x"), messages.clone()).to_string().as_bytes(),
                name,
            )
        };
        assert_eq!(named("messages[0].content[0]"), "system");
        assert_eq!(
            named("messages[2].tool_calls[0].function.arguments"),
            "messages[1].content[1].input"
        );
        assert_eq!(
            named("messages[4].content[1]"),
            "messages[2].content[2].content[1]"
        );
        assert_eq!(named("messages[5].content[2]"), "messages[2].content[3]");
        assert_eq!(named("reasoning_effort"), "thinking");
        assert_eq!(named("response_format"), "output_config.format");
    }
}
