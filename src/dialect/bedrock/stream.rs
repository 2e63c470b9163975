//! The stream of ConverseStream.
//!
//! Order: `messageStart`, blocks, `messageStop`, `metadata`. The stream is whole with the last
//! two; without them it is [`DecodeError::Truncated`], whatever came before. Only calls announce
//! their block; a text's block begins with its first piece.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::ANSWER_TOOL;
use super::answer::{cited, ending, exception, image, matched, minted_id, usage};
use crate::chat::{DecodeError, Decoder, Event, Failure, Origin, Sealed};
use crate::wire::eventstream::{Error, Framer, Message};
use crate::wire::json;

/// Citations of one block are held back until their text is whole, but not more than these.
const HELD_CITATIONS: usize = 64;

/// Reads one stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// Of what the model sealed.
    origin: Origin,
    framer: Framer,
    started: bool,
    /// Blocks that have begun and not ended, by their index.
    blocks: BTreeMap<u64, Block>,
    calls: u32,
    /// The answer came as the input of [`ANSWER_TOOL`].
    emulated: bool,
    /// Of the text so far, in characters.
    length: usize,
    stopped: bool,
    counted: bool,
    /// Nothing more is read: the stream was whole, or the provider reported a failure.
    over: bool,
    broken: Option<DecodeError>,
}

#[derive(Debug)]
enum Block {
    Text {
        start: usize,
        citations: Vec<Value>,
    },
    Call {
        call: u32,
        empty: bool,
    },
    /// The input of [`ANSWER_TOOL`].
    Answer {
        empty: bool,
    },
    /// Told when it is whole.
    Image {
        format: String,
        data: String,
    },
    /// A call of the provider's own tools, or what they gave back.
    Foreign,
}

impl Stream {
    pub(super) fn new(origin: Origin, limit: usize) -> Self {
        Self {
            origin,
            framer: Framer::new(limit),
            started: false,
            blocks: BTreeMap::new(),
            calls: 0,
            emulated: false,
            length: 0,
            stopped: false,
            counted: false,
            over: false,
            broken: None,
        }
    }

    fn read(&mut self, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        while !self.over {
            let message = match self.framer.next_message().map_err(frame_error) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                // The next frame is not to be found; after an event that cannot be read it is.
                Err(e) => {
                    self.broken = Some(DecodeError::Truncated);
                    return Err(e);
                }
            };
            self.message(&message, out)?;
        }
        Ok(())
    }

    fn message(&mut self, message: &Message, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        match message.text(":message-type") {
            Some("exception") => {
                let kind = message.text(":exception-type").unwrap_or_default();
                let body = json::lenient(&message.payload).unwrap_or_default();
                self.failed(exception(kind, &body), out);
                Ok(())
            }
            Some("error") => {
                let kind = message.text(":error-code").unwrap_or_default();
                let text = message.text(":error-message").unwrap_or_default();
                self.failed(exception(kind, &serde_json::json!({"message": text})), out);
                Ok(())
            }
            Some("event") | None => self.event(message, out),
            Some(_) => Ok(()),
        }
    }

    fn failed(&mut self, failure: Failure, out: &mut Vec<Event>) {
        self.over = true;
        out.push(Event::Failed(failure));
    }

    fn event(&mut self, message: &Message, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        type Read = fn(&mut Stream, &Value, &mut Vec<Event>) -> Result<(), DecodeError>;
        let read: Read = match message.text(":event-type").unwrap_or_default() {
            "messageStart" => |stream, _, out| {
                stream.start(out);
                Ok(())
            },
            "contentBlockStart" => Self::block_start,
            "contentBlockDelta" => Self::block_delta,
            "contentBlockStop" => Self::block_stop,
            "messageStop" => Self::message_stop,
            "metadata" => Self::metadata,
            _ => return Ok(()),
        };
        let payload = json::lenient(&message.payload).ok_or(DecodeError::Malformed("an event"))?;
        read(self, &payload, out)
    }

    fn start(&mut self, out: &mut Vec<Event>) {
        if !self.started {
            self.started = true;
            out.push(Event::Start {
                id: None,
                model: None,
            });
        }
    }

    fn block_start(&mut self, event: &Value, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.stopped {
            return Ok(());
        }
        self.start(out);
        // One that was not stopped ends where another takes its place.
        if let Some(earlier) = self.blocks.remove(&index(event)) {
            self.close(earlier, out);
        }
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(call) = event.pointer("/start/toolUse") else {
            if event.pointer("/start/toolResult").is_some() {
                self.blocks.insert(index(event), Block::Foreign);
            }
            if let Some(made) = event.pointer("/start/image") {
                let (format, data) = (text(made.get("format")), String::new());
                self.blocks
                    .insert(index(event), Block::Image { format, data });
            }
            return Ok(());
        };
        let name = text(call.get("name"));
        let block = if call.get("type").is_some_and(|kind| !kind.is_null()) {
            Block::Foreign
        } else if name == ANSWER_TOOL {
            self.emulated = true;
            Block::Answer { empty: true }
        } else {
            let number = self.calls;
            self.calls = number.saturating_add(1);
            let given = Some(text(call.get("toolUseId"))).filter(|id| !id.is_empty());
            let id = given.unwrap_or_else(|| minted_id(number));
            out.push(Event::CallStart {
                choice: 0,
                call: number,
                id,
                name,
                signature: None,
            });
            Block::Call {
                call: number,
                empty: true,
            }
        };
        self.blocks.insert(index(event), block);
        Ok(())
    }

    fn block_delta(&mut self, event: &Value, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        let Some(delta) = event.get("delta").filter(|_| !self.stopped) else {
            return Ok(());
        };
        self.start(out);
        let at = index(event);
        if let Some(text) = delta.get("text").and_then(Value::as_str) {
            self.text_block(at);
            self.text(text, out);
        }
        if let Some(citation) = delta.get("citation").filter(|citation| !citation.is_null()) {
            self.citation(at, citation, out);
        }
        if let Some(more) = delta.pointer("/image/source/bytes").and_then(Value::as_str)
            && let Some(Block::Image { data, .. }) = self.blocks.get_mut(&at)
        {
            data.push_str(more);
        }
        if let Some(thought) = delta.get("reasoningContent") {
            reasoning(self.origin, thought, out);
        }
        if let Some(input) = delta.pointer("/toolUse/input") {
            self.input(at, input, out)?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str, out: &mut Vec<Event>) {
        if !text.is_empty() {
            self.length = self.length.saturating_add(text.chars().count());
            out.push(Event::Text {
                choice: 0,
                text: text.to_owned(),
            });
        }
    }

    /// The block of a text, begun now if it was not before.
    fn text_block(&mut self, at: u64) -> &mut Block {
        let start = self.length;
        self.blocks.entry(at).or_insert_with(|| Block::Text {
            start,
            citations: Vec::new(),
        })
    }

    /// A citation is of its block's whole text, of which more may come.
    fn citation(&mut self, at: u64, citation: &Value, out: &mut Vec<Event>) {
        let end = self.length;
        let Block::Text { start, citations } = self.text_block(at) else {
            return;
        };
        citations.push(citation.clone());
        if citations.len() >= HELD_CITATIONS {
            let held = std::mem::take(citations);
            out.extend(cited(&held, *start, end));
        }
    }

    fn input(&mut self, at: u64, input: &Value, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        let Some(text) = input.as_str() else {
            return Err(DecodeError::Malformed("a call's input"));
        };
        if text.is_empty() {
            return Ok(());
        }
        match self.blocks.get_mut(&at) {
            Some(Block::Call { call, empty }) => {
                *empty = false;
                out.push(Event::CallArguments {
                    choice: 0,
                    call: *call,
                    text: text.to_owned(),
                });
            }
            Some(Block::Answer { empty }) => {
                *empty = false;
                self.text(text, out);
            }
            Some(Block::Foreign) => {}
            Some(Block::Text { .. } | Block::Image { .. }) | None => {
                return Err(DecodeError::Malformed("a call's input without its start"));
            }
        }
        Ok(())
    }

    fn block_stop(&mut self, event: &Value, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        if let Some(block) = self.blocks.remove(&index(event)) {
            self.close(block, out);
        }
        Ok(())
    }

    fn close(&mut self, block: Block, out: &mut Vec<Event>) {
        match block {
            Block::Call { call, empty: true } => {
                out.push(Event::CallArguments {
                    choice: 0,
                    call,
                    text: "{}".to_owned(),
                });
            }
            Block::Answer { empty: true } => self.text("{}", out),
            Block::Text { start, citations } => {
                out.extend(cited(&citations, start, self.length));
            }
            Block::Image { format, data } => out.extend(image(&format, data)),
            _ => {}
        }
    }

    fn message_stop(&mut self, event: &Value, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.stopped {
            return Ok(());
        }
        self.start(out);
        for block in std::mem::take(&mut self.blocks).into_values() {
            self.close(block, out);
        }
        self.stopped = true;
        let reason = event.get("stopReason").and_then(Value::as_str);
        let matched = matched(event.get("additionalModelResponseFields"));
        out.extend(ending(reason, matched, self.calls > 0, self.emulated));
        self.whole(out);
        Ok(())
    }

    fn metadata(&mut self, event: &Value, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.start(out);
        self.counted = true;
        if let Some(counts) = event.get("usage").filter(|counts| counts.is_object()) {
            out.push(Event::Usage(usage(counts)));
        }
        self.whole(out);
        Ok(())
    }

    fn whole(&mut self, out: &mut Vec<Event>) {
        if self.stopped && self.counted {
            self.over = true;
            out.push(Event::End);
        }
    }
}

impl Decoder for Stream {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        if self.over {
            return Ok(());
        }
        self.framer.push(bytes);
        self.read(out)
    }

    fn end(&mut self, _: &mut Vec<Event>) -> Result<(), DecodeError> {
        match &self.broken {
            Some(error) => Err(error.clone()),
            None if self.over => Ok(()),
            None => Err(DecodeError::Truncated),
        }
    }
}

/// Of a block; where it is missing there is only one.
fn index(event: &Value) -> u64 {
    event
        .get("contentBlockIndex")
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

fn reasoning(origin: Origin, thought: &Value, out: &mut Vec<Event>) {
    let text = |name: &str| {
        thought
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    if let Some(text) = text("text") {
        out.push(Event::Thought {
            choice: 0,
            text: text.to_owned(),
        });
    }
    if let Some(signature) = text("signature") {
        out.push(Event::Signature {
            choice: 0,
            signature: Sealed::new(origin, signature),
        });
    }
    if let Some(data) = text("redactedContent") {
        out.push(Event::RedactedThought {
            choice: 0,
            data: Sealed::new(origin, data),
        });
    }
}

fn frame_error(error: Error) -> DecodeError {
    match error {
        Error::TooLong { .. } => DecodeError::TooLong,
        Error::Checksum(_) => DecodeError::Malformed("a frame's checksum"),
        Error::Malformed(what) => DecodeError::Malformed(what),
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
