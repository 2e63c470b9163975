//! Chat and legacy completions.

use super::{Answer, Call, Refusal, tokens};
use serde_json::{Value, json};

const GREETING: &str = "This is tollgate's embedded demo provider; no model is behind it.";

/// Characters of the last message that are repeated.
const REPEATED: usize = 400;

/// `POST /v1/chat/completions`.
pub(super) fn chat(call: &Call<'_>) -> Result<Answer, Refusal> {
    let model = call.model()?;
    let messages = call
        .field("messages")
        .and_then(Value::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or_else(|| Refusal::invalid("messages", "'messages' is no array with messages."))?;
    refuse_what_needs_a_model(call)?;
    let texts = messages
        .iter()
        .map(message_text)
        .collect::<Result<Vec<_>, _>>()?;
    let said = messages
        .iter()
        .zip(&texts)
        .rev()
        .find(|(message, _)| is_from_user(message));
    let prompt_tokens = texts.iter().map(|text| tokens(text).count()).sum();
    let limit = call
        .count("max_completion_tokens")?
        .or(call.count("max_tokens")?);
    let reply = Reply::new(said.map_or("", |(_, text)| text), limit);
    let usage = usage(prompt_tokens, reply.tokens.len());
    let frame = Frame {
        call,
        model,
        id: format!("chatcmpl-demo-{}", call.id),
    };
    if call.flag("stream")? {
        let stream = Stream {
            frame,
            object: "chat.completion.chunk",
            usage: asked_usage(call, usage)?,
        };
        return Ok(Answer::Stream(stream.chat(&reply)));
    }
    let choice = json!({
        "index": 0,
        "message": {"role": "assistant", "content": reply.text(), "refusal": null},
        "logprobs": null,
        "finish_reason": reply.finish,
    });
    Ok(Answer::Json(frame.whole(
        "chat.completion",
        vec![choice],
        usage,
    )))
}

/// `POST /v1/completions`: a choice for each prompt.
pub(super) fn completion(call: &Call<'_>) -> Result<Answer, Refusal> {
    let model = call.model()?;
    refuse_what_needs_a_model(call)?;
    let prompts: Option<Vec<&str>> = match call.field("prompt") {
        Some(Value::String(prompt)) => Some(vec![prompt]),
        Some(Value::Array(prompts)) => prompts.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let prompts = prompts
        .filter(|prompts| (1..=20).contains(&prompts.len()))
        .ok_or_else(|| {
            Refusal::invalid("prompt", "'prompt' is no text and no list of up to 20.")
        })?;
    let limit = call.count("max_tokens")?;
    let replies: Vec<_> = prompts
        .iter()
        .map(|prompt| Reply::new(prompt, limit))
        .collect();
    let usage = usage(
        prompts.iter().map(|prompt| tokens(prompt).count()).sum(),
        replies.iter().map(|reply| reply.tokens.len()).sum(),
    );
    let frame = Frame {
        call,
        model,
        id: format!("cmpl-demo-{}", call.id),
    };
    if call.flag("stream")? {
        let stream = Stream {
            frame,
            object: "text_completion",
            usage: asked_usage(call, usage)?,
        };
        return Ok(Answer::Stream(stream.completion(&replies)));
    }
    let choices = replies.iter().enumerate().map(|(index, reply)| {
        json!({"index": index, "text": reply.text(), "logprobs": null, "finish_reason": reply.finish})
    });
    Ok(Answer::Json(frame.whole(
        "text_completion",
        choices.collect(),
        usage,
    )))
}

fn refuse_what_needs_a_model(call: &Call<'_>) -> Result<(), Refusal> {
    if call.count("n")?.is_some_and(|n| n > 1) {
        return Err(Refusal::unsupported("n", "give several choices"));
    }
    let tool_choice = call
        .field("tool_choice")
        .map_or("auto", |c| c.as_str().unwrap_or("a tool"));
    if !matches!(tool_choice, "auto" | "none") {
        return Err(Refusal::unsupported("tool_choice", "call a tool"));
    }
    let format = call
        .field("response_format")
        .map(|format| format.get("type"));
    if format.is_some_and(|kind| kind.and_then(Value::as_str) != Some("text")) {
        return Err(Refusal::unsupported(
            "response_format",
            "give structured output",
        ));
    }
    Ok(())
}

fn is_from_user(message: &Value) -> bool {
    message.get("role").and_then(Value::as_str) == Some("user")
}

/// The text of a message: of all its parts, when it has parts.
fn message_text(message: &Value) -> Result<String, Refusal> {
    if message.get("role").and_then(Value::as_str).is_none() {
        return Err(Refusal::invalid("messages", "A message has no role."));
    }
    match message.get("content") {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let texts = parts
                .iter()
                .filter_map(|part| part.get("text").and_then(Value::as_str));
            Ok(texts.collect::<Vec<_>>().join(" "))
        }
        Some(_) => Err(Refusal::invalid(
            "messages",
            "A message's content is no text and no list.",
        )),
    }
}

/// What the demo says, cut where the client wanted it cut.
struct Reply {
    tokens: Vec<String>,
    finish: &'static str,
}

impl Reply {
    fn new(said: &str, limit: Option<usize>) -> Self {
        let said = said.trim();
        let repeated: String = said.chars().take(REPEATED).collect();
        let more = if repeated.len() < said.len() {
            "…"
        } else {
            ""
        };
        let text = match repeated.as_str() {
            "" => format!("{GREETING} There was no text to answer."),
            _ => format!("{GREETING} You said: {repeated}{more}"),
        };
        let mut tokens: Vec<_> = tokens(&text).map(str::to_owned).collect();
        let limit = limit.unwrap_or(usize::MAX);
        let finish = if tokens.len() > limit {
            "length"
        } else {
            "stop"
        };
        tokens.truncate(limit);
        Self { tokens, finish }
    }

    fn text(&self) -> String {
        self.tokens.concat()
    }
}

fn usage(prompt: usize, completion: usize) -> Value {
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt.saturating_add(completion),
    })
}

/// The usage of a stream, when the client asked for it.
fn asked_usage(call: &Call<'_>, usage: Value) -> Result<Option<Value>, Refusal> {
    let Some(options) = call.field("stream_options") else {
        return Ok(None);
    };
    match options.get("include_usage").unwrap_or(&Value::Null) {
        Value::Bool(true) => Ok(Some(usage)),
        Value::Bool(false) | Value::Null => Ok(None),
        _ => Err(Refusal::invalid(
            "stream_options",
            "'include_usage' is no boolean.",
        )),
    }
}

/// What all objects of one answer have in common.
struct Frame<'a> {
    call: &'a Call<'a>,
    model: &'a str,
    id: String,
}

impl Frame<'_> {
    fn object(&self, kind: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": kind,
            "created": self.call.now,
            "model": self.model,
            "system_fingerprint": "tollgate-demo",
            "choices": choices,
        })
    }

    fn whole(&self, kind: &str, choices: Vec<Value>, usage: Value) -> Value {
        with_usage(self.object(kind, choices), usage)
    }
}

fn with_usage(mut object: Value, usage: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("usage".to_owned(), usage);
    }
    object
}

struct Stream<'a> {
    frame: Frame<'a>,
    object: &'static str,
    usage: Option<Value>,
}

impl Stream<'_> {
    fn chat(self, reply: &Reply) -> Vec<Value> {
        let choice = |delta: Value, finish: Option<&str>| json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        let first = choice(
            json!({"role": "assistant", "content": "", "refusal": null}),
            None,
        );
        let pieces = reply
            .tokens
            .iter()
            .map(|token| choice(json!({"content": token}), None));
        let last = choice(json!({}), Some(reply.finish));
        self.events([first].into_iter().chain(pieces).chain([last]))
    }

    fn completion(self, replies: &[Reply]) -> Vec<Value> {
        let choice = |index: usize, text: &str, finish: Option<&str>| json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish});
        let choices = replies.iter().enumerate().flat_map(|(index, reply)| {
            let pieces = reply
                .tokens
                .iter()
                .map(move |token| choice(index, token, None));
            pieces.chain([choice(index, "", Some(reply.finish))])
        });
        self.events(choices)
    }

    /// As OpenAI does: with usage asked for, every event has the field, and
    /// one more with no choice carries it.
    fn events(self, choices: impl Iterator<Item = Value>) -> Vec<Value> {
        let event = |choices| {
            let event = self.frame.object(self.object, choices);
            if self.usage.is_some() {
                with_usage(event, Value::Null)
            } else {
                event
            }
        };
        let mut events: Vec<_> = choices.map(|choice| event(vec![choice])).collect();
        if let Some(usage) = self.usage {
            events.push(with_usage(
                self.frame.object(self.object, Vec::new()),
                usage,
            ));
        }
        events
    }
}
