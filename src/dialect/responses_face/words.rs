//! What a client of the Responses API calls what a dialect names, for errors
//! and for the list of what was left out.

use super::super::places::{Names, Place};
use super::input;
use serde_json::Value;

const NAMES: Names = Names {
    arguments: "arguments",
    call_id: "call_id",
    parameters: "parameters",
    fields: &[
        ("max_tokens", "max_output_tokens"),
        ("messages[].reasoning_content", "input[].summary"),
        ("messages[].thinking_blocks", "input[].encrypted_content"),
        (
            "messages[].tool_calls[].thought_signature",
            "input[].encrypted_content",
        ),
        ("reasoning_effort", "reasoning.effort"),
        ("response_format", "text.format"),
        (
            "response_format.json_schema.description",
            "text.format.description",
        ),
        ("verbosity", "text.verbosity"),
    ],
};

/// The client's name of a field of `body`.
pub(super) fn field(body: &[u8], name: &str) -> String {
    NAMES.of(name, || {
        places(&serde_json::from_slice(body).unwrap_or_default())
    })
}

/// For each message of the conversation, where it came from: items of one turn
/// of the model are one message, as the reader of the input has it.
fn places(body: &Value) -> Vec<Place> {
    let mut found = Vec::new();
    if body.get("instructions").is_some_and(Value::is_string) {
        found.push(Place::single("instructions"));
    }
    match body.get("input") {
        Some(Value::Array(items)) => {
            let mut walk = Walk {
                found,
                turn: None,
                spoke: false,
            };
            for (at, item) in items.iter().enumerate() {
                walk.item(format!("input[{at}]"), item);
            }
            walk.flush();
            walk.found
        }
        _ => {
            found.push(Place::single("input"));
            found
        }
    }
}

struct Walk {
    found: Vec<Place>,
    /// The turn of the model that goes on.
    turn: Option<Place>,
    /// Its last item is a message.
    spoke: bool,
}

impl Walk {
    fn item(&mut self, at: String, item: &Value) {
        let text = |name: &str| item.get(name).and_then(Value::as_str);
        match (text("type").unwrap_or("message"), text("role")) {
            ("message", Some("assistant")) => {
                if self.spoke {
                    self.flush();
                }
                let parts = parts(&format!("{at}.content"), item.get("content"));
                self.running(at).parts.extend(parts);
                self.spoke = true;
            }
            ("image_generation_call", _) => {
                self.running(at.clone()).parts.push(at);
                self.spoke = true;
            }
            ("reasoning", _) => {
                if !input::thoughts(item).is_empty() {
                    self.running(at);
                    self.spoke = false;
                }
            }
            ("function_call", _) => {
                self.running(at.clone()).calls.push(at);
                self.spoke = false;
            }
            ("function_call_output", _) => self.push(at, "output", item),
            _ => self.push(at, "content", item),
        }
    }

    fn running(&mut self, at: String) -> &mut Place {
        self.turn.get_or_insert_with(|| Place {
            whole: at,
            ..Place::default()
        })
    }

    fn push(&mut self, at: String, field: &str, item: &Value) {
        self.flush();
        self.found.push(Place {
            parts: parts(&format!("{at}.{field}"), item.get(field)),
            whole: at,
            calls: Vec::new(),
        });
    }

    fn flush(&mut self) {
        self.found.extend(self.turn.take());
        self.spoke = false;
    }
}

fn parts(inside: &str, content: Option<&Value>) -> Vec<String> {
    match content {
        Some(Value::Array(list)) => (0..list.len())
            .map(|at| format!("{inside}[{at}]"))
            .collect(),
        _ => vec![inside.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::super::Responses;
    use super::*;
    use crate::chat::Message;
    use crate::dialect::Face as _;
    use serde_json::json;

    /// A place for each message, part and call that is read, and no more.
    fn check(body: &Value) {
        let face = Responses::default();
        let read = face.parse(body.to_string().as_bytes()).unwrap();
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
        let said = |text: &str| json!({"role": "assistant", "content": [{"type": "output_text", "text": text}]});
        let thought = |text: &str| json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]});
        let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
        let output =
            |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "x"});
        let asked = json!({"role": "user", "content": [{"type": "input_text", "text": "x"}]});
        let items = json!([
            {"role": "developer", "content": "x"}, asked, thought("t"), said("a"), call("a"), call("b"),
            output("a"), output("b"), thought(""), said("b"), said("c"), thought("t"), asked, thought("t"),
        ]);
        let body = |items: &Value| json!({"model": "m", "instructions": "x", "input": items});
        check(&body(&items));
        check(&body(&json!("x")));
        let named = |name: &str| field(body(&items).to_string().as_bytes(), name);
        assert_eq!(named("messages[0].content[0]"), "instructions");
        assert_eq!(named("messages[2].content[0]"), "input[1].content[0]");
        assert_eq!(
            named("messages[3].tool_calls[1].function.arguments"),
            "input[5].arguments"
        );
        assert_eq!(named("messages[5].content[0]"), "input[7].output");
        assert_eq!(named("max_tokens"), "max_output_tokens");
        assert_eq!(named("tools[0].function.parameters"), "tools[0].parameters");
    }
}
