//! What the drill asks for, and the answer that its provider gives: fixed, so
//! that half an answer can be told from a whole one.

use serde_json::{Value, json};

/// The whole answer. It has letters of several bytes, which a cut may halve.
pub const TEXT: &str = "A café by the river keeps its lamps lit until the last boat is in. \
The keeper counts the boats twice, since fog hides them, and writes each name into a long green \
book. Tonight one is missing. She puts the kettle on again, turns the big lamp towards the water, \
and waits; just before midnight a bell answers, thin but certain, naïve as a bird.";

/// The arguments of the tool call, whole.
pub const ARGUMENTS: &str = r#"{"boat":"Fog Bell","until":"midnight","lamps":[1,2,3]}"#;

/// Tokens that come before a stream goes wrong.
pub const BEFORE: usize = 5;

/// The text in pieces that put together are the text: words with the blank
/// before them.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == ' ')
            .map_or(rest.len(), |(at, _)| at);
        let Some((token, left)) = rest.split_at_checked(end) else {
            break;
        };
        all.push(token);
        rest = left;
    }
    all
}

/// The client's request. `calls`: with a tool, so that a call may come back.
pub fn request(model: &str, streamed: bool, calls: bool) -> String {
    let tool = json!({"type": "function", "function": {
        "name": "light",
        "parameters": {"type": "object", "properties": {"boat": {"type": "string"}}},
    }});
    let mut body = json!({
        "model": model,
        "stream": streamed,
        "messages": [{"role": "user", "content": "Tell of the lamps."}],
    });
    if let (true, Some(fields)) = (calls, body.as_object_mut()) {
        fields.insert("tools".to_owned(), json!([tool]));
    }
    body.to_string()
}

/// What a request asks the provider for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub streamed: bool,
    pub calls: bool,
    pub usage: bool,
    /// What is left to say: all, or what follows on what was said already.
    pub rest: String,
}

impl Asked {
    /// Reads it off the body. A message of the assistant's that is the start
    /// of the answer is what is to be continued.
    pub fn of(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let at = |place: &str| body.pointer(place).unwrap_or(&Value::Null);
        let messages = at("/messages").as_array();
        let said = messages.and_then(|all| {
            let theirs = |m: &&Value| m.get("role").is_some_and(|role| role == "assistant");
            let mut said = all.iter().rev().filter(theirs);
            said.find_map(|message| TEXT.strip_prefix(&*spoken(message.get("content")?)))
        });
        Self {
            streamed: at("/stream") == true,
            calls: at("/tools").is_array(),
            usage: at("/stream_options/include_usage") == true,
            rest: said.unwrap_or(TEXT).to_owned(),
        }
    }
}

/// A message's text, written as a string or in parts.
fn spoken(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text")?.as_str())
            .collect(),
        _ => String::new(),
    }
}

/// A whole answer that is not streamed.
pub fn whole(asked: &Asked) -> String {
    let (message, finish) = match asked.calls {
        true => {
            let call = json!({"id": "call_drill", "type": "function",
                "function": {"name": "light", "arguments": ARGUMENTS}});
            let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
            (message, "tool_calls")
        }
        false => (
            json!({"role": "assistant", "content": asked.rest, "refusal": null}),
            "stop",
        ),
    };
    json!({
        "id": "chatcmpl-drill", "object": "chat.completion", "created": 1_795_000_000,
        "model": "drill",
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
        "usage": usage(),
    })
    .to_string()
}

fn usage() -> Value {
    json!({"prompt_tokens": 12, "completion_tokens": 64, "total_tokens": 76})
}

/// One event of a stream.
fn event(delta: &Value, finish: Option<&str>) -> String {
    let chunk = json!({
        "id": "chatcmpl-drill", "object": "chat.completion.chunk", "created": 1_795_000_000,
        "model": "drill",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
    });
    format!("data: {chunk}\n\n")
}

/// The event that names the role.
pub fn role() -> String {
    event(&json!({"role": "assistant", "content": ""}), None)
}

/// The events of the answer's content, in order.
pub fn content(asked: &Asked) -> Vec<String> {
    if !asked.calls {
        let tokens = tokens(&asked.rest).into_iter();
        return tokens
            .map(|token| event(&json!({"content": token}), None))
            .collect();
    }
    let mut events = vec![event(
        &json!({"tool_calls": [{"index": 0, "id": "call_drill", "type": "function",
            "function": {"name": "light", "arguments": ""}}]}),
        None,
    )];
    events.extend(ARGUMENTS.split_inclusive(',').map(|piece| {
        let call = json!({"index": 0, "function": {"arguments": piece}});
        event(&json!({"tool_calls": [call]}), None)
    }));
    events
}

/// The events that end a stream, without `[DONE]`.
pub fn finish(asked: &Asked) -> String {
    let reason = if asked.calls { "tool_calls" } else { "stop" };
    let mut end = event(&json!({}), Some(reason));
    if asked.usage {
        let chunk = json!({
            "id": "chatcmpl-drill", "object": "chat.completion.chunk", "created": 1_795_000_000,
            "model": "drill", "choices": [], "usage": usage(),
        });
        end.push_str(&format!("data: {chunk}\n\n"));
    }
    end
}

/// The farewell of a stream.
pub const DONE: &str = "data: [DONE]\n\n";

/// An error as OpenAI writes it.
pub fn error(message: &str, kind: &str, code: Option<&str>) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_put_together_are_the_text() {
        assert_eq!(tokens(TEXT).concat(), TEXT);
        assert!(tokens(TEXT).len() > 10 * BEFORE);
        assert_eq!(tokens(""), Vec::<&str>::new());
        assert!(!TEXT.is_ascii());
    }

    #[test]
    fn a_request_asks_for_what_it_says() {
        let asked = Asked::of(request("m", true, true).as_bytes());
        assert!(asked.streamed && asked.calls && !asked.usage);
        assert_eq!(asked.rest, TEXT);
    }

    #[test]
    fn what_was_said_is_continued_wherever_it_stands() {
        let (said, rest) = TEXT.split_at(20);
        for content in [json!(said), json!([{"type": "text", "text": said}])] {
            let messages = json!([
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": content},
                {"role": "user", "content": "Go on."},
            ]);
            let body = json!({"messages": messages}).to_string();
            assert_eq!(Asked::of(body.as_bytes()).rest, rest);
        }
        let other = json!({"messages": [{"role": "assistant", "content": "No."}]}).to_string();
        assert_eq!(Asked::of(other.as_bytes()).rest, TEXT);
    }
}
