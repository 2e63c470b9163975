//! A stream of Cohere, event by event.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::answer::{
    annotations, arguments, broken, call_id, failed, finish, logprobs, name, native, text_of, usage,
};
use crate::chat::{DecodeError, Decoder, Event};
use crate::wire::{json, sse};

/// Reads one stream.
pub(super) struct Stream {
    framer: sse::Framer,
    started: bool,
    /// The terminal event came, or a failure: what follows is not read.
    over: bool,
    answer: String,
    /// By Cohere's index, which counts over all blocks.
    calls: BTreeMap<u64, Call>,
    /// Calls that were started, also those whose index came twice.
    count: u32,
}

struct Call {
    number: u32,
    /// No arguments came yet.
    bare: bool,
}

impl Stream {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            framer: sse::Framer::new(limit),
            started: false,
            over: false,
            answer: String::new(),
            calls: BTreeMap::new(),
            count: 0,
        }
    }

    fn read(&mut self, raw: &[u8], out: &mut Vec<Event>) -> Result<(), DecodeError> {
        let event = sse::Event::parse(raw);
        if event.is_comment_only() {
            out.push(Event::Ping);
        }
        let Some(data) = event.data.as_deref() else {
            return Ok(());
        };
        if data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        let body: Value =
            json::lenient(data).ok_or(DecodeError::Malformed("an event of a stream"))?;
        let kind = body
            .get("type")
            .and_then(Value::as_str)
            .or(event.name)
            .unwrap_or_default();
        self.tell(kind, &body, out);
        Ok(())
    }

    fn tell(&mut self, kind: &str, body: &Value, out: &mut Vec<Event>) {
        let message = body.pointer("/delta/message").unwrap_or(&Value::Null);
        match kind {
            "message-start" => self.start(body, out),
            "content-start" | "content-delta" => {
                self.start(&Value::Null, out);
                content(message, out);
                if let Some(logprobs) = logprobs(body.get("logprobs")) {
                    out.push(Event::Logprobs {
                        choice: 0,
                        logprobs,
                    });
                }
            }
            "tool-plan-delta" => {
                self.start(&Value::Null, out);
                thought(message.get("tool_plan"), out);
            }
            "tool-call-start" => self.call(body, message, out),
            "tool-call-delta" => self.fragment(body, message, out),
            "tool-call-end" => {
                if let Some(call) = self.calls.get_mut(&index(body)) {
                    call.complete(out);
                }
            }
            "citation-start" => {
                let annotations = annotations(message.get("citations"));
                if !annotations.is_empty() {
                    self.start(&Value::Null, out);
                    out.push(Event::Annotations {
                        choice: 0,
                        annotations,
                    });
                }
            }
            "message-end" => self.finish(body, out),
            "" | "error" => self.fail(body, out),
            _ => {}
        }
    }

    /// Once; also where Cohere left its own start out.
    fn start(&mut self, body: &Value, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let id = body.get("id").and_then(Value::as_str).map(str::to_owned);
        self.answer = id.clone().unwrap_or_default();
        out.push(Event::Start { id, model: None });
    }

    fn call(&mut self, body: &Value, message: &Value, out: &mut Vec<Event>) {
        self.start(&Value::Null, out);
        let Some(said) = tool_call(message) else {
            return;
        };
        // Of two calls with one index, what follows belongs to the later.
        if let Some(mut earlier) = self.calls.remove(&index(body)) {
            earlier.complete(out);
        }
        let number = self.count;
        self.count = self.count.saturating_add(1);
        out.push(Event::CallStart {
            choice: 0,
            call: number,
            id: call_id(
                said.get("id"),
                &self.answer,
                usize::try_from(number).unwrap_or_default(),
            ),
            name: name(said),
            signature: None,
        });
        let mut call = Call { number, bare: true };
        call.add(arguments(said.pointer("/function/arguments")), out);
        self.calls.insert(index(body), call);
    }

    fn fragment(&mut self, body: &Value, message: &Value, out: &mut Vec<Event>) {
        let text = tool_call(message).map(|said| arguments(said.pointer("/function/arguments")));
        if let (Some(call), Some(text)) = (self.calls.get_mut(&index(body)), text) {
            call.add(text, out);
        }
    }

    fn finish(&mut self, body: &Value, out: &mut Vec<Event>) {
        self.start(&Value::Null, out);
        let delta = body.get("delta").unwrap_or(&Value::Null);
        let reason = delta.get("finish_reason").and_then(Value::as_str);
        let error = text_of(delta.get("error"));
        let failure = match broken(reason, error.clone()) {
            None if reason.is_none() && error.is_some() => Some(failed(502, error, None)),
            failure => failure,
        };
        self.over = true;
        if let Some(failure) = failure {
            out.push(Event::Failed(failure));
            return;
        }
        for call in self.calls.values_mut() {
            call.complete(out);
        }
        out.extend(native(reason).map(|native| Event::Native { choice: 0, native }));
        // Without a reason it is whole all the same: this event is the end.
        let finish = finish(reason.or(Some("COMPLETE")), self.count > 0);
        out.extend(finish.map(|finish| Event::Finish { choice: 0, finish }));
        out.extend(usage(delta.get("usage")).map(Event::Usage));
        out.push(Event::End);
    }

    /// An error in a stream has no type, only a message. Other events without
    /// a type are not known to this format.
    fn fail(&mut self, body: &Value, out: &mut Vec<Event>) {
        let message = ["message", "error", "data"]
            .into_iter()
            .find_map(|field| text_of(body.get(field)));
        if message.is_some() {
            self.over = true;
            out.push(Event::Failed(failed(502, message, None)));
        }
    }
}

impl Call {
    fn add(&mut self, text: String, out: &mut Vec<Event>) {
        if !text.is_empty() {
            self.bare = false;
            out.push(Event::CallArguments {
                choice: 0,
                call: self.number,
                text,
            });
        }
    }

    /// A call without arguments is a call with none in them.
    fn complete(&mut self, out: &mut Vec<Event>) {
        if self.bare {
            self.add("{}".to_owned(), out);
        }
    }
}

impl Decoder for Stream {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.over {
            return Ok(());
        }
        self.framer.push(bytes);
        while let Some(raw) = self.framer.next_event().map_err(|_| DecodeError::TooLong)? {
            self.read(&raw, out)?;
            if self.over {
                break;
            }
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.over {
            Ok(())
        } else {
            Err(DecodeError::Truncated)
        }
    }
}

/// An object; lists, as whole answers have them, are read too.
fn tool_call(message: &Value) -> Option<&Value> {
    let said = message.get("tool_calls")?;
    said.as_array().map_or(Some(said), |list| list.first())
}

fn index(body: &Value) -> u64 {
    body.get("index")
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

fn content(message: &Value, out: &mut Vec<Event>) {
    let Some(content) = message.get("content") else {
        return;
    };
    thought(content.get("thinking"), out);
    if let Some(text) = content
        .get("text")
        .and_then(Value::as_str)
        .filter(|t| !t.is_empty())
    {
        out.push(Event::Text {
            choice: 0,
            text: text.to_owned(),
        });
    }
}

fn thought(text: Option<&Value>, out: &mut Vec<Event>) {
    if let Some(text) = text.and_then(Value::as_str).filter(|text| !text.is_empty()) {
        out.push(Event::Thought {
            choice: 0,
            text: text.to_owned(),
        });
    }
}
