//! An answer as it comes: server-sent events, named by their `type`.
//!
//! The finish is told with `message_stop`, not with the `message_delta` that
//! brings its reason: a stream that is cut off between the two is no whole one.

use super::answer::{
    CallBlock, Counts, Kind, RedactedBlock, Stop, TextBlock, ThinkingBlock, annotations, number,
    parse, sealed,
};
use super::failure;
use crate::chat::{DecodeError, Decoder, Event};
use crate::wire::{json, sse};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The events that mean something here.
const KNOWN: [&str; 8] = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
    "error",
];

/// Anthropic gives one answer.
const CHOICE: u32 = 0;

/// Any event. What only some have is left unread until the type is known.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "number")]
    index: Option<u64>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct Opening {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Counts>,
}

#[derive(Debug, Default, Deserialize)]
struct JsonDelta {
    #[serde(default)]
    partial_json: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct CitationDelta {
    #[serde(default)]
    citation: Option<Value>,
}

/// A content block that was opened.
#[derive(Debug)]
enum Block {
    Text {
        /// Characters of the answer before it.
        start: usize,
        citations: Vec<Value>,
    },
    Thought {
        signature: String,
    },
    Call {
        call: u32,
        /// The input that came with the start: what counts if no pieces follow.
        input: String,
        /// Pieces of the arguments came.
        spoken: bool,
    },
    /// Of no concern to the client: server tools, their results, what is new.
    Other,
}

/// Where the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    /// `message_stop`, or an error: nothing more is read.
    Over,
}

/// Decodes one stream.
#[derive(Debug)]
pub(super) struct Stream {
    framer: sse::Framer,
    state: State,
    id: Option<String>,
    blocks: BTreeMap<u64, Block>,
    calls: u32,
    /// Characters of text so far.
    chars: usize,
    counts: Counts,
    stop: Stop,
}

impl Decoder for Stream {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.framer.push(bytes);
        while let Some(raw) = self.framer.next_event().map_err(|_| DecodeError::TooLong)? {
            if self.state != State::Over {
                self.event(&sse::Event::parse(&raw), out)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &mut Vec<Event>) -> Result<(), DecodeError> {
        match self.state {
            State::Over => Ok(()),
            State::Waiting | State::Running => Err(DecodeError::Truncated),
        }
    }
}

impl Stream {
    pub fn new(limit: usize) -> Self {
        Self {
            framer: sse::Framer::new(limit),
            state: State::Waiting,
            id: None,
            blocks: BTreeMap::new(),
            calls: 0,
            chars: 0,
            counts: Counts::default(),
            stop: Stop::default(),
        }
    }

    /// The events of a whole answer's blocks.
    pub fn whole(
        id: Option<String>,
        blocks: &[&RawValue],
        stop: Stop,
    ) -> Result<Vec<Event>, DecodeError> {
        let mut stream = Self {
            state: State::Running,
            id,
            stop,
            ..Self::new(0)
        };
        let mut events = Vec::new();
        for raw in blocks {
            let block = stream.open_block(raw, &mut events)?;
            stream.close_block(block, &mut events);
        }
        stream.close(&mut events);
        Ok(events)
    }

    fn event(&mut self, event: &sse::Event<'_>, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        if event.is_comment_only() {
            out.push(Event::Ping);
        }
        let Some(data) = event.data.as_deref().map(json::mended) else {
            return Ok(());
        };
        match serde_json::from_slice::<Frame<'_>>(&data) {
            Ok(frame) => self.frame(&frame, out),
            // New kinds of events may be anything.
            Err(_) if event.name.is_some_and(|name| !KNOWN.contains(&name)) => Ok(()),
            Err(_) => Err(DecodeError::Malformed("event")),
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        let index = frame.index.unwrap_or_default();
        match frame.kind.as_deref() {
            Some("ping") => out.push(Event::Ping),
            Some("message_start") => self.open(frame.message, out)?,
            Some("content_block_start") => {
                self.start(out);
                if let Some(block) = frame.content_block {
                    // One that was not stopped ends where another takes its place.
                    if let Some(earlier) = self.blocks.remove(&index) {
                        self.close_block(earlier, out);
                    }
                    let block = self.open_block(block, out)?;
                    self.blocks.insert(index, block);
                }
            }
            Some("content_block_delta") => {
                self.start(out);
                if let Some(delta) = frame.delta {
                    self.delta(index, delta, out)?;
                }
            }
            Some("content_block_stop") => {
                if let Some(block) = self.blocks.remove(&index) {
                    self.close_block(block, out);
                }
            }
            Some("message_delta") => self.message_delta(frame, out)?,
            Some("message_stop") => self.close(out),
            Some("error") | None if frame.error.is_some() || frame.kind.is_some() => {
                let error = frame.error.map(|raw| parse::<failure::Error>(raw, "error"));
                out.push(Event::Failed(
                    error.transpose()?.unwrap_or_default().in_band(),
                ));
                self.state = State::Over;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(
        &mut self,
        message: Option<&RawValue>,
        out: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let opening = message
            .map(|raw| parse::<Opening>(raw, "message_start"))
            .transpose()?;
        let opening = opening.unwrap_or_default();
        if self.state != State::Waiting {
            return Ok(());
        }
        self.state = State::Running;
        self.id.clone_from(&opening.id);
        out.push(Event::Start {
            id: opening.id,
            model: opening.model,
        });
        if let Some(counts) = opening.usage {
            self.counts.update(counts);
            out.push(Event::Usage(self.counts.usage()));
        }
        Ok(())
    }

    /// Opens a stream that did not open itself.
    fn start(&mut self, out: &mut Vec<Event>) {
        if self.state == State::Waiting {
            self.state = State::Running;
            out.push(Event::Start {
                id: None,
                model: None,
            });
        }
    }

    fn open_block(&mut self, raw: &RawValue, out: &mut Vec<Event>) -> Result<Block, DecodeError> {
        Ok(match parse::<Kind>(raw, "content block")?.kind.as_str() {
            "text" => {
                let block: TextBlock = parse(raw, "text block")?;
                let start = self.chars;
                self.text(block.text, out);
                Block::Text {
                    start,
                    citations: block.citations.unwrap_or_default(),
                }
            }
            "thinking" => {
                let block: ThinkingBlock = parse(raw, "thinking block")?;
                thought(block.thinking, out);
                Block::Thought {
                    signature: block.signature.unwrap_or_default(),
                }
            }
            "redacted_thinking" => {
                let block: RedactedBlock = parse(raw, "redacted_thinking block")?;
                let data = block.data.and_then(sealed);
                out.extend(data.map(|data| Event::RedactedThought {
                    choice: CHOICE,
                    data,
                }));
                Block::Other
            }
            "tool_use" => self.open_call(parse(raw, "tool_use block")?, out),
            _ => Block::Other,
        })
    }

    fn open_call(&mut self, mut block: CallBlock<'_>, out: &mut Vec<Event>) -> Block {
        let call = self.calls;
        self.calls = call.saturating_add(1);
        let input = block.arguments();
        out.push(Event::CallStart {
            choice: CHOICE,
            call,
            id: block.id(self.id.as_deref(), call as usize),
            name: block.name.unwrap_or_default(),
            signature: None,
        });
        Block::Call {
            call,
            input,
            spoken: false,
        }
    }

    fn delta(
        &mut self,
        index: u64,
        raw: &RawValue,
        out: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let kind = parse::<Kind>(raw, "delta")?.kind;
        let block = self.blocks.get_mut(&index);
        match (kind.as_str(), block) {
            ("text_delta", None | Some(Block::Text { .. })) => {
                let delta: TextBlock = parse(raw, "text_delta")?;
                self.text(delta.text, out);
            }
            ("thinking_delta", None | Some(Block::Thought { .. })) => {
                let delta: ThinkingBlock = parse(raw, "thinking_delta")?;
                thought(delta.thinking, out);
            }
            ("signature_delta", Some(Block::Thought { signature })) => {
                let delta: ThinkingBlock = parse(raw, "signature_delta")?;
                signature.push_str(&delta.signature.unwrap_or_default());
            }
            ("citations_delta", Some(Block::Text { citations, .. })) => {
                let delta: CitationDelta = parse(raw, "citations_delta")?;
                citations.extend(delta.citation);
            }
            ("input_json_delta", Some(Block::Call { call, spoken, .. })) => {
                let delta: JsonDelta = parse(raw, "input_json_delta")?;
                if let Some(text) = delta.partial_json.filter(|text| !text.is_empty()) {
                    *spoken = true;
                    let call = *call;
                    out.push(Event::CallArguments {
                        choice: CHOICE,
                        call,
                        text,
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: Option<String>, out: &mut Vec<Event>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.chars = self.chars.saturating_add(text.chars().count());
            out.push(Event::Text {
                choice: CHOICE,
                text,
            });
        }
    }

    fn close_block(&self, block: Block, out: &mut Vec<Event>) {
        match block {
            Block::Text { start, citations } => {
                let annotations: Vec<Value> = annotations(citations, start, self.chars).collect();
                if !annotations.is_empty() {
                    out.push(Event::Annotations {
                        choice: CHOICE,
                        annotations,
                    });
                }
            }
            Block::Thought { signature } => {
                out.extend(sealed(signature).map(|signature| Event::Signature {
                    choice: CHOICE,
                    signature,
                }));
            }
            Block::Call {
                call,
                input,
                spoken: false,
            } => {
                let text = if input.is_empty() {
                    "{}".to_owned()
                } else {
                    input
                };
                out.push(Event::CallArguments {
                    choice: CHOICE,
                    call,
                    text,
                });
            }
            Block::Call { .. } | Block::Other => {}
        }
    }

    fn message_delta(
        &mut self,
        frame: &Frame<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        self.start(out);
        if let Some(delta) = frame.delta {
            let stop: Stop = parse(delta, "message_delta")?;
            if stop.is_known() {
                self.stop = stop;
            }
        }
        if let Some(usage) = frame.usage {
            self.counts.update(parse(usage, "usage")?);
            out.push(Event::Usage(self.counts.usage()));
        }
        Ok(())
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        self.start(out);
        for block in std::mem::take(&mut self.blocks).into_values() {
            self.close_block(block, out);
        }
        if let Some(text) = self.stop.refusal() {
            out.push(Event::Refusal {
                choice: CHOICE,
                text,
            });
        }
        out.extend(self.stop.native().map(|native| Event::Native {
            choice: CHOICE,
            native,
        }));
        let finish = self.stop.finish(self.calls > 0);
        out.push(Event::Finish {
            choice: CHOICE,
            finish,
        });
        out.push(Event::End);
        self.state = State::Over;
    }
}

fn thought(text: Option<String>, out: &mut Vec<Event>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        out.push(Event::Thought {
            choice: CHOICE,
            text,
        });
    }
}
