//! A client of Anthropic's Messages, as Anthropic describes them.

use crate::Reading;
use crate::heard::{
    Call, Choice, Heard, Thought, Usage, arguments_are_whole, count, json, list, must, sse, text,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// How a call's signature travels: in front of its call.
const SIGNED_CALL: &str = "tollgate:call:";

fn usage(value: &Value) -> Result<Usage, String> {
    let cached = count(value, "cache_read_input_tokens")?;
    let cache_write = count(value, "cache_creation_input_tokens")?;
    Ok(Usage {
        prompt: count(value, "input_tokens")? + cached + cache_write,
        completion: count(value, "output_tokens")?,
        cached,
        cache_write,
        reasoning: value["output_tokens_details"]["thinking_tokens"]
            .as_u64()
            .unwrap_or_default(),
        ..Usage::default()
    })
}

/// OpenAI's word for a stop.
fn finish(message: &Value, choice: &Choice) -> Result<String, String> {
    must!(message.get("stop_sequence").is_some(), "no stop_sequence");
    let reason = text(message, "stop_reason");
    let word = match reason.as_str() {
        "end_turn" | "stop_sequence" | "pause_turn" => "stop",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        other => return Err(format!("stop_reason {other}")),
    };
    must!(
        (word == "tool_calls") <= !choice.calls.is_empty(),
        "tool_use without any"
    );
    must!(
        (word == "stop") <= choice.calls.is_empty(),
        "{reason}, with calls"
    );
    if word != "length" {
        arguments_are_whole(&choice.calls)?;
    }
    Ok(word.to_owned())
}

fn head(message: &Value) -> Result<(), String> {
    must!(text(message, "id").starts_with("msg_"), "no id: {message}");
    must!(
        message["type"] == "message" && message["role"] == "assistant",
        "no message: {message}"
    );
    must!(
        message["model"] == "client-model",
        "model {}",
        message["model"]
    );
    must!(message["content"].is_array(), "no content: {message}");
    Ok(())
}

/// Reads a whole answer. Usage is a part of every message: one of only zeros is one that nobody told.
pub fn answer(body: &Value, raw: &str) -> Reading {
    head(body)?;
    let mut inputs = inputs(raw)?.into_iter();
    let mut choice = Choice::default();
    let mut signature = None;
    for block in list(body, "content") {
        if block["type"] != "tool_use" {
            inputs.next();
        }
        let mut open = Block::open(block, &mut choice, &mut signature)?;
        match open.kind {
            Kind::Call => open.text = inputs.next().flatten().ok_or("no input")?,
            Kind::Text => open.text = text(block, "text"),
            Kind::Thinking => open.text = text(block, "thinking"),
            Kind::Redacted => {}
        }
        must!(
            open.kind != Kind::Text || !open.text.is_empty(),
            "an empty text block"
        );
        if open.kind == Kind::Thinking {
            open.signature = text(block, "signature");
        }
        let citations = list(block, "citations").iter().map(|_| Value::Null);
        choice.annotations.extend(citations);
        open.close(&mut choice)?;
    }
    choice.finish = Some(finish(body, &choice)?);
    choice.images = omitted(body);
    let counts = usage(&body["usage"])?;
    Ok(Heard {
        choices: vec![choice],
        usage: (counts != Usage::default()).then_some(counts),
        error: None,
    })
}

/// An entry for each image that the message has no form for.
fn omitted(stop: &Value) -> Vec<String> {
    let named = list(stop, "tollgate_omitted").iter();
    named
        .filter(|what| **what == "image")
        .map(|_| "omitted".to_owned())
        .collect()
}

/// The inputs of the calls among the blocks, as they are written.
fn inputs(raw: &str) -> Result<Vec<Option<String>>, String> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        content: Vec<Input<'a>>,
    }
    #[derive(Deserialize)]
    struct Input<'a> {
        #[serde(borrow)]
        input: Option<&'a RawValue>,
    }
    let message: Message<'_> = serde_json::from_str(raw).map_err(|e| e.to_string())?;
    let inputs = message.content.into_iter().map(|block| block.input);
    Ok(inputs
        .map(|input| input.map(|raw| raw.get().to_owned()))
        .collect())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Redacted,
    Call,
}

/// The block that is open: there is never more than one.
struct Block {
    kind: Kind,
    text: String,
    signature: String,
}

impl Block {
    fn open(
        block: &Value,
        choice: &mut Choice,
        signature: &mut Option<String>,
    ) -> Result<Self, String> {
        let (kind, word) = match text(block, "type").as_str() {
            "text" => (Kind::Text, "text"),
            "thinking" => (Kind::Thinking, "thought"),
            "redacted_thinking" => (Kind::Redacted, "thought"),
            "tool_use" => (Kind::Call, "call"),
            other => return Err(format!("a block of type {other}")),
        };
        let data = text(block, "data");
        if kind == Kind::Redacted && data.starts_with(SIGNED_CALL) {
            *signature = Some(data);
        } else {
            choice.block(word);
            if kind == Kind::Redacted {
                choice.thoughts.push(Thought {
                    redacted: Some(data),
                    ..Thought::default()
                });
            }
        }
        if kind == Kind::Call {
            must!(block["input"].is_object(), "a call without input");
            choice.calls.push(Call {
                id: text(block, "id"),
                name: text(block, "name"),
                signature: signature.take(),
                ..Call::default()
            });
        } else {
            must!(
                kind == Kind::Redacted || signature.is_none(),
                "a signature without its call"
            );
        }
        Ok(Self {
            kind,
            text: String::new(),
            signature: String::new(),
        })
    }

    fn delta(&mut self, delta: &Value, choice: &mut Choice) -> Result<(), String> {
        let kind = text(delta, "type");
        match (kind.as_str(), self.kind) {
            ("text_delta", Kind::Text) => self.text.push_str(&text(delta, "text")),
            ("thinking_delta", Kind::Thinking) => self.text.push_str(&text(delta, "thinking")),
            ("input_json_delta", Kind::Call) => self.text.push_str(&text(delta, "partial_json")),
            ("citations_delta", Kind::Text) => choice.annotations.push(Value::Null),
            ("signature_delta", Kind::Thinking) => {
                must!(self.signature.is_empty(), "a second signature");
                self.signature = text(delta, "signature");
            }
            _ => return Err(format!("a {kind} in another block")),
        }
        Ok(())
    }

    fn close(self, choice: &mut Choice) -> Result<(), String> {
        match self.kind {
            Kind::Text => choice.text.push_str(&self.text),
            Kind::Thinking => choice.thoughts.push(Thought {
                text: self.text,
                signature: Some(self.signature).filter(|signature| !signature.is_empty()),
                redacted: None,
            }),
            Kind::Call => choice.calls.last_mut().ok_or("no call")?.arguments = self.text,
            Kind::Redacted => {}
        }
        Ok(())
    }
}

/// Reads a stream, which has to keep what Anthropic promises: one message, its blocks one after the other and counted
/// from 0, one `message_delta` after them, and `message_stop` or an error at the end.
pub fn stream(stream: &str) -> Reading {
    let mut client = Client::default();
    for (name, data) in sse(stream)? {
        let event = json(&data)?;
        must!(
            name.as_deref() == event["type"].as_str(),
            "{name:?} is not {}",
            event["type"]
        );
        must!(!client.over, "after the end: {data}");
        client.event(&name.unwrap_or_default(), &event)?;
    }
    must!(client.over, "neither message_stop nor an error");
    if client.heard.error.is_some() {
        client.cut()?;
        client.heard.usage = None;
    }
    client.heard.choices = client.begun.then_some(client.choice).into_iter().collect();
    Ok(client.heard)
}

#[derive(Default)]
struct Client {
    heard: Heard,
    choice: Choice,
    begun: bool,
    blocks: u64,
    open: Option<Block>,
    signature: Option<String>,
    stopped: bool,
    over: bool,
}

impl Client {
    fn event(&mut self, name: &str, event: &Value) -> Result<(), String> {
        must!(
            self.begun || ["message_start", "error", "ping"].contains(&name),
            "before the start: {event}"
        );
        match name {
            "message_start" => {
                must!(!std::mem::replace(&mut self.begun, true), "a second start");
                let message = &event["message"];
                head(message)?;
                must!(list(message, "content").is_empty(), "content at the start");
                must!(message["stop_reason"].is_null(), "a stop at the start");
                usage(&message["usage"])?;
            }
            "content_block_start" => {
                must!(self.open.is_none(), "a block in a block");
                must!(
                    event["index"] == self.blocks && !self.stopped,
                    "index: {event}"
                );
                let block = &event["content_block"];
                let empty = ["text", "thinking", "signature"];
                must!(
                    empty.iter().all(|name| text(block, name).is_empty()),
                    "not empty: {event}"
                );
                self.open = Some(Block::open(block, &mut self.choice, &mut self.signature)?);
            }
            "content_block_delta" => {
                must!(event["index"] == self.blocks, "index: {event}");
                let open = self.open.as_mut().ok_or("a delta of no block")?;
                open.delta(&event["delta"], &mut self.choice)?;
            }
            "content_block_stop" => {
                must!(event["index"] == self.blocks, "index: {event}");
                self.blocks += 1;
                let open = self.open.take().ok_or("the stop of no block")?;
                must!(
                    open.kind != Kind::Text || !open.text.is_empty(),
                    "an empty text block"
                );
                open.close(&mut self.choice)?;
            }
            "message_delta" => {
                must!(self.open.is_none(), "an open block");
                must!(!std::mem::replace(&mut self.stopped, true), "a second stop");
                self.choice.finish = Some(finish(&event["delta"], &self.choice)?);
                self.choice.images = omitted(&event["delta"]);
                // Only output_tokens must be there: what is missing stays as the start told it.
                let counts = &event["usage"];
                count(counts, "output_tokens")?;
                self.heard.usage = counts
                    .get("input_tokens")
                    .map(|_| usage(counts))
                    .transpose()?;
            }
            "message_stop" => {
                must!(self.stopped, "no message_delta");
                self.over = true;
            }
            "error" => {
                must!(
                    event["error"]["type"].is_string(),
                    "an error without a type"
                );
                self.heard.error = Some(event["error"].clone());
                self.over = true;
            }
            "ping" => {}
            other => return Err(format!("an event {other}")),
        }
        Ok(())
    }

    /// What of a block came before an error counts as heard.
    fn cut(&mut self) -> Result<(), String> {
        match self.open.take() {
            Some(open) => open.close(&mut self.choice),
            None => Ok(()),
        }
    }
}
