//! A stream of answers: what each one adds, as events.
//!
//! Gemini's stream has no terminal event. It is whole when every candidate has
//! its `finishReason` (or the prompt was blocked) and the connection ends.

use super::answer::{Blob, Call, Candidate, Chunk, Piece};
use super::{citations, lenient};
use crate::chat::{
    Audio, DecodeError, Decoder, Event, Finish, Native, Origin, Sealed, Source, Usage,
};
use crate::wire::sse::{self, Framer};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How ids of calls start that are made here, since the model gave none.
const MINTED: &str = "call_gm";
const MINTED_DIGITS: usize = 20;

/// Whether an id was made here.
pub(super) fn is_minted(id: &str) -> bool {
    id.strip_prefix(MINTED).is_some_and(|digits| {
        digits.len() == MINTED_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// Answers to events.
#[derive(Debug, Default)]
pub(super) struct Reader {
    started: bool,
    /// The first answer's id: others may differ.
    id: String,
    choices: BTreeMap<u32, Seen>,
    /// Why the prompt was refused.
    blocked: Option<String>,
    usage: Option<Usage>,
}

/// What was seen of a candidate.
#[derive(Debug, Default)]
struct Seen {
    /// To find citations in.
    text: String,
    calls: u32,
    finish: Option<String>,
    annotations: Vec<Value>,
}

impl Reader {
    pub(super) fn take(
        &mut self,
        mut chunk: Chunk,
        out: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        if !self.started {
            self.started = true;
            self.id = chunk.response_id.clone().unwrap_or_default();
            let (id, model) = (chunk.response_id.take(), chunk.model_version.take());
            out.push(Event::Start { id, model });
        }
        self.blocked = self.blocked.take().or_else(|| chunk.block_reason());
        let usage = chunk.usage();
        for (at, candidate) in chunk.candidates.into_iter().flatten().enumerate() {
            let index = candidate.index.or(u64::try_from(at).ok());
            let choice = index.and_then(|index| u32::try_from(index).ok());
            let choice = choice.ok_or(DecodeError::Malformed("a candidate's index"))?;
            let seen = self.choices.entry(choice).or_default();
            seen.take(choice, candidate, &self.id, out)?;
        }
        if usage.is_some() && usage != self.usage {
            self.usage = usage;
            out.extend(usage.map(Event::Usage));
        }
        Ok(())
    }

    /// Ends a stream.
    pub(super) fn finish(&self, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        let whole = self.choices.values().all(|seen| seen.finish.is_some());
        if !whole || self.choices.is_empty() && self.blocked.is_none() {
            return Err(DecodeError::Truncated);
        }
        self.finishes(out);
        Ok(())
    }

    /// Ends an answer that is known to be whole: a `finishReason` that is not
    /// there is then the unspecified one, which protobuf leaves out.
    pub(super) fn finish_whole(&self, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.choices.is_empty() && self.blocked.is_none() {
            return Err(DecodeError::Malformed("an answer without candidates"));
        }
        self.finishes(out);
        Ok(())
    }

    fn finishes(&self, out: &mut Vec<Event>) {
        for (&choice, seen) in &self.choices {
            let native = seen.finish.as_deref().and_then(Native::of);
            out.extend(native.map(|native| Event::Native { choice, native }));
            out.push(Event::Finish {
                choice,
                finish: seen.finish(),
            });
        }
        if self.choices.is_empty() {
            let native = self.blocked.as_deref().and_then(Native::of);
            out.extend(native.map(|native| Event::Native { choice: 0, native }));
            out.push(Event::Finish {
                choice: 0,
                finish: Finish::ContentFilter,
            });
        }
    }
}

impl Seen {
    fn take(
        &mut self,
        choice: u32,
        mut candidate: Candidate,
        id: &str,
        out: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        for piece in candidate.pieces() {
            self.piece(choice, piece, id, out)?;
        }
        if let Some(logprobs) = candidate.logprobs() {
            out.push(Event::Logprobs { choice, logprobs });
        }
        let mut cited = citations::of(&candidate, &self.text);
        cited.retain(|citation| !self.annotations.contains(citation));
        if !cited.is_empty() {
            self.annotations.extend(cited.iter().cloned());
            out.push(Event::Annotations {
                choice,
                annotations: cited,
            });
        }
        if candidate.finish_reason.is_some() {
            self.finish = candidate.finish_reason;
        }
        Ok(())
    }

    fn piece(
        &mut self,
        choice: u32,
        piece: Piece,
        id: &str,
        out: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let signature = piece
            .thought_signature
            .filter(|signature| !signature.is_empty())
            .map(|signature| Sealed::new(Origin::Gemini, signature));
        if let Some(call) = piece.function_call {
            return self.call(choice, call, signature, id, out);
        }
        let text = piece.text.filter(|text| !text.is_empty());
        let (thought, text) = match piece.thought {
            Some(true) => (text, None),
            _ => (None, text),
        };
        out.extend(thought.map(|text| Event::Thought { choice, text }));
        if let Some(text) = text {
            self.text(choice, text, out);
        }
        if let Some(code) = piece.executable_code {
            let language = code.language.unwrap_or_default().to_ascii_lowercase();
            let code = code.code.unwrap_or_default();
            self.text(choice, format!("```{language}\n{code}\n```\n"), out);
        }
        if let Some(result) = piece.code_execution_result {
            let output = result.output.unwrap_or_default();
            self.text(choice, format!("```\n{output}\n```\n"), out);
        }
        out.extend(piece.inline_data.and_then(|blob| medium(choice, blob)));
        // After what it signs.
        out.extend(signature.map(|signature| Event::Signature { choice, signature }));
        Ok(())
    }

    fn text(&mut self, choice: u32, text: String, out: &mut Vec<Event>) {
        self.text.push_str(&text);
        out.push(Event::Text { choice, text });
    }

    fn call(
        &mut self,
        choice: u32,
        call: Call,
        signature: Option<Sealed>,
        answer: &str,
        out: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let name = call.name.unwrap_or_default();
        if name.is_empty() {
            return Err(DecodeError::Malformed("a call without a name"));
        }
        let text = match call.args {
            Some(args) if args.get() != "null" => lenient::compact(args.get()),
            _ => "{}".to_owned(),
        };
        let number = self.calls;
        let id = call.id.filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| mint(answer, choice, number, &name, &text));
        self.calls = number.saturating_add(1);
        out.push(Event::CallStart {
            choice,
            call: number,
            id,
            name,
            signature,
        });
        out.push(Event::CallArguments {
            choice,
            call: number,
            text,
        });
        Ok(())
    }

    fn finish(&self) -> Finish {
        let told = match self.finish.as_deref() {
            Some("MAX_TOKENS") => Finish::Length,
            Some(
                "SAFETY"
                | "RECITATION"
                | "BLOCKLIST"
                | "PROHIBITED_CONTENT"
                | "SPII"
                | "LANGUAGE"
                | "OTHER"
                | "MODEL_ARMOR"
                | "ESCALATION"
                | "IMAGE_SAFETY"
                | "IMAGE_PROHIBITED_CONTENT"
                | "IMAGE_RECITATION"
                | "IMAGE_OTHER"
                | "NO_IMAGE",
            ) => Finish::ContentFilter,
            _ => Finish::Stop,
        };
        told.settled(self.calls > 0)
    }
}

/// An id for a call, the same whenever the same answer is read. Calls of other
/// answers have others even where answers have no id, unless they are alike.
fn mint(answer: &str, choice: u32, number: u32, name: &str, arguments: &str) -> String {
    let mut hash = Sha256::new();
    for field in [answer, name, arguments] {
        hash.update(field.as_bytes());
        hash.update([0xFF]);
    }
    hash.update(choice.to_be_bytes());
    hash.update(number.to_be_bytes());
    let mut id = MINTED.to_owned();
    for byte in hash.finalize().iter().take(MINTED_DIGITS / 2) {
        // Writing to a string does not fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// An image or a sound of the model's.
fn medium(choice: u32, blob: Blob) -> Option<Event> {
    let data = blob.data.filter(|data| !data.is_empty())?;
    let media_type = blob.mime_type.unwrap_or_default();
    let Some(format) = media_type.strip_prefix("audio/") else {
        let image = Source::Inline { media_type, data };
        return Some(Event::Image { choice, image });
    };
    let audio = Audio {
        format: Some(format.to_owned()),
        data,
        ..Audio::default()
    };
    Some(Event::Audio { choice, audio })
}

/// Bytes to events.
pub(super) struct Stream {
    bytes: Form,
    reader: Reader,
    failed: bool,
    limit: usize,
}

enum Form {
    /// Nothing but white space came.
    Unknown,
    Events(Framer),
    /// No events but JSON, as errors come from some servers in spite of a 200.
    Json(Vec<u8>),
}

impl Stream {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Form::Unknown,
            reader: Reader::default(),
            failed: false,
            limit,
        }
    }

    fn drain(&mut self, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        while let Form::Events(framer) = &mut self.bytes {
            let event = framer.next_event().map_err(|_| DecodeError::TooLong)?;
            let Some(raw) = event else { break };
            let event = sse::Event::parse(&raw);
            if event.is_comment_only() && !self.failed {
                out.push(Event::Ping);
            }
            if let Some(json) = event.data {
                self.json(&json, out)?;
            }
        }
        Ok(())
    }

    fn json(&mut self, json: &[u8], out: &mut Vec<Event>) -> Result<(), DecodeError> {
        let json = json.trim_ascii();
        // Some servers end streams as OpenAI does.
        if self.failed || json.is_empty() || json == b"[DONE]" {
            return Ok(());
        }
        match Chunk::read(json)? {
            Ok(chunk) => self.reader.take(chunk, out),
            Err(failure) => {
                self.failed = true;
                out.push(Event::Failed(failure));
                Ok(())
            }
        }
    }
}

impl Decoder for Stream {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        let mut bytes = bytes;
        if matches!(self.bytes, Form::Unknown) {
            let blank = bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
            bytes = bytes.split_off(blank);
            match bytes.first() {
                None => return Ok(()),
                Some(b'[' | b'{') => self.bytes = Form::Json(Vec::new()),
                Some(_) => self.bytes = Form::Events(Framer::new(self.limit)),
            }
        }
        match &mut self.bytes {
            Form::Unknown => Ok(()),
            Form::Json(all) if all.len().saturating_add(bytes.len()) > self.limit => {
                Err(DecodeError::TooLong)
            }
            Form::Json(all) => {
                all.extend_from_slice(&bytes);
                Ok(())
            }
            Form::Events(framer) => {
                framer.push(bytes);
                self.drain(out)
            }
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        match std::mem::replace(&mut self.bytes, Form::Unknown) {
            Form::Unknown => {}
            Form::Json(all) => self.json(&all, out).map_err(|_| DecodeError::Truncated)?,
            Form::Events(mut framer) => {
                // A last event without its blank line counts if its JSON is whole.
                framer.push(Bytes::from_static(b"\n\n"));
                self.bytes = Form::Events(framer);
                self.drain(out).map_err(|_| DecodeError::Truncated)?;
            }
        }
        if self.failed {
            return Ok(());
        }
        self.reader.finish(out)?;
        out.push(Event::End);
        Ok(())
    }
}
