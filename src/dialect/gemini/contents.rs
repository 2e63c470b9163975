//! Messages to `contents` and `systemInstruction`.
//!
//! Gemini knows two roles, in turns: what follows each other in the same role
//! is merged. All results of a turn's calls come first in what follows it, in
//! the order of the calls. System messages are hoisted, wherever they stood.

use super::Flavour;
use super::pieces::{
    Blob, Call, Contents, Piece, Reference, Resolution, Response, arguments, is_own, media_type,
    outcome, text_piece,
};
use crate::chat::{
    Capabilities, Content, Item, Losses, Message, Origin, Part, Sealed, Source, Thinking, Thought,
    ToolCall, Turn, Unsupported,
};
use std::borrow::Cow;

/// What stands for the signature of a call that another model made: base64 of
/// `skip_thought_signature_validator`. Gemini 3 refuses calls without any.
const FOREIGN: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

/// How LiteLLM carries a signature through clients: behind this, in the id.
const IN_ID: &str = "__thought__";

const NO_BYTES: &str = "This model's provider needs the bytes, and the gateway fetches no URL: send a data: URL of base64.";
const NO_FILE: &str =
    "This is not the URI of a file that this model's provider holds: send a data: URL of base64.";
const NO_MEDIA_TYPE: &str =
    "This model's provider needs a media type, and the URL's ending tells none: send a data: URL.";

/// Messages, written.
#[derive(Debug)]
pub(super) struct Written<'a> {
    pub(super) system: Option<Contents<'a>>,
    pub(super) contents: Vec<Contents<'a>>,
    /// For all media of a request; Gemini 3 has one for each.
    pub(super) media_resolution: Option<&'static str>,
}

/// Writes messages.
pub(super) fn write<'a>(
    flavour: Flavour,
    capabilities: &'a Capabilities,
    messages: &'a [Message],
    losses: &mut Losses,
) -> Result<Written<'a>, Unsupported> {
    let mut writer = Writer {
        flavour,
        capabilities,
        losses,
        system: Vec::new(),
        contents: Vec::new(),
        asked: Vec::new(),
        details: Vec::new(),
    };
    let mut user = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        match message {
            Message::System { parts } => writer.system(at, parts)?,
            Message::User { parts, name } => {
                writer.drop_name(name)?;
                writer.parts(at, parts, &mut user)?;
            }
            Message::Assistant(turn) => {
                writer.end_user(&mut user)?;
                writer.turn(at, turn)?;
            }
            Message::Tool {
                call_id,
                parts,
                is_error,
            } => {
                writer.result(at, call_id, parts, *is_error)?;
            }
        }
    }
    writer.end_user(&mut user)?;
    writer.finish()
}

/// A call of the model's last turn.
struct Asked<'a> {
    /// As the client knows it.
    id: &'a str,
    name: &'a str,
    /// Where the client said it.
    at: (usize, usize),
    answer: Option<Piece<'a>>,
}

struct Writer<'a, 'l> {
    flavour: Flavour,
    capabilities: &'a Capabilities,
    losses: &'l mut Losses,
    system: Vec<Piece<'a>>,
    contents: Vec<Contents<'a>>,
    asked: Vec<Asked<'a>>,
    /// The `detail` of each medium, for models that have one for all.
    details: Vec<Option<&'static str>>,
}

impl<'a> Writer<'a, '_> {
    fn system(&mut self, at: usize, parts: &'a [Part]) -> Result<(), Unsupported> {
        for (index, part) in parts.iter().enumerate() {
            self.drop_cache(part)?;
            match part.as_text() {
                Some("") => {}
                Some(text) => self.system.push(text_piece(text)),
                None => {
                    return Err(Unsupported::new(
                        format!("messages[{at}].content[{index}]"),
                        "Only text may be in a system message.",
                    ));
                }
            }
        }
        Ok(())
    }

    fn turn(&mut self, at: usize, turn: &'a Turn) -> Result<(), Unsupported> {
        self.drop_name(&turn.name)?;
        let mut pieces = Vec::new();
        for item in turn.items() {
            match item {
                Item::Thought(thought) => self.thought(thought, &mut pieces)?,
                Item::Part(index, part) => self.said(at, index, part, &mut pieces)?,
                Item::Call(index, call) => {
                    if call.cache.is_some() {
                        self.losses.drop("cache_control")?;
                    }
                    pieces.push(self.call(at, index, call)?);
                }
            }
        }
        self.push("model", pieces);
        Ok(())
    }

    /// A signature without words goes back to the piece before it, which it
    /// came with.
    fn thought(
        &mut self,
        thought: &'a Thought,
        pieces: &mut Vec<Piece<'a>>,
    ) -> Result<(), Unsupported> {
        if thought.redacted.is_some() {
            return self.losses.drop("messages[].thinking_blocks");
        }
        let signature = self.own(thought.signature.as_ref())?;
        let thinks = !thought.text.is_empty();
        let before = pieces.last_mut().filter(|_| !thinks);
        if let Some(before) = before.filter(|piece| piece.takes_signature()) {
            before.thought_signature = signature;
        } else if thinks || signature.is_some() {
            pieces.push(Piece {
                text: Some(Cow::Borrowed(&thought.text)),
                thought: thinks.then_some(true),
                thought_signature: signature,
                ..Piece::default()
            });
        }
        Ok(())
    }

    /// A client whose format has thoughts ahead sends the signature of a text
    /// before it.
    fn said(
        &mut self,
        at: usize,
        index: usize,
        part: &'a Part,
        pieces: &mut Vec<Piece<'a>>,
    ) -> Result<(), Unsupported> {
        self.drop_cache(part)?;
        let piece = self.piece(part, &format!("messages[{at}].content[{index}]"))?;
        let Some(mut piece) = piece else {
            return Ok(());
        };
        if let Some(waiting) = pieces.pop_if(|piece| piece.is_signature()) {
            piece.thought_signature = waiting.thought_signature;
        }
        pieces.push(piece);
        Ok(())
    }

    /// What a Gemini model itself sealed.
    fn own(&mut self, sealed: Option<&'a Sealed>) -> Result<Option<&'a str>, Unsupported> {
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        let own = sealed.read_by(&[Origin::Gemini]);
        if own.is_none() {
            self.losses.drop("messages[].thinking_blocks")?;
        }
        Ok(own.filter(|text| !text.is_empty()))
    }

    fn call(
        &mut self,
        at: usize,
        index: usize,
        call: &'a ToolCall,
    ) -> Result<Piece<'a>, Unsupported> {
        let levels = self.is_levelled();
        let (id, in_id) = split_id(&call.id);
        let signature = self.own(call.signature.as_ref())?.or(in_id);
        let first = self.asked.is_empty();
        let args = arguments(&call.arguments).ok_or_else(|| {
            Unsupported::new(
                format!("messages[{at}].tool_calls[{index}].function.arguments"),
                "The arguments of a tool call must be a JSON object for this model's provider.",
            )
        })?;
        self.asked.push(Asked {
            id: &call.id,
            name: &call.name,
            at: (at, index),
            answer: None,
        });
        Ok(Piece {
            function_call: Some(Call {
                id: self.sent_id(id),
                name: &call.name,
                args,
            }),
            thought_signature: signature.or((levels && first).then_some(FOREIGN)),
            ..Piece::default()
        })
    }

    fn result(
        &mut self,
        at: usize,
        call_id: &'a str,
        parts: &'a [Part],
        is_error: bool,
    ) -> Result<(), Unsupported> {
        let (mut text, mut media) = (String::new(), Vec::new());
        for (index, part) in parts.iter().enumerate() {
            self.drop_cache(part)?;
            match &part.content {
                Content::Text(more) | Content::Refusal(more) => text.push_str(more),
                _ if self.is_levelled() => {
                    media.extend(self.piece(part, &format!("messages[{at}].content[{index}]"))?);
                }
                _ => {
                    return Err(Unsupported::new(
                        format!("messages[{at}].content[{index}]"),
                        "This model takes only text as the result of a tool.",
                    ));
                }
            }
        }
        let id = self.sent_id(split_id(call_id).0);
        let asked = self
            .asked
            .iter_mut()
            .find(|a| a.id == call_id && a.answer.is_none());
        let Some(asked) = asked else {
            return Err(Unsupported::new(
                format!("messages[{at}].tool_call_id"),
                "No tool call without a result has this id in the assistant's last turn.",
            ));
        };
        let response = Response {
            id,
            name: asked.name,
            response: outcome(&text, is_error),
            parts: media,
        };
        asked.answer = Some(Piece {
            function_response: Some(response),
            ..Piece::default()
        });
        Ok(())
    }

    /// Ids are what Gemini 3 gave. Older ones give none and get none.
    fn sent_id(&self, id: &'a str) -> Option<&'a str> {
        let sent = self.is_levelled() && !id.is_empty() && !super::stream::is_minted(id);
        sent.then_some(id)
    }

    fn is_levelled(&self) -> bool {
        is_levelled(self.capabilities)
    }

    fn parts(
        &mut self,
        at: usize,
        parts: &'a [Part],
        into: &mut Vec<Piece<'a>>,
    ) -> Result<(), Unsupported> {
        for (index, part) in parts.iter().enumerate() {
            self.drop_cache(part)?;
            into.extend(self.piece(part, &format!("messages[{at}].content[{index}]"))?);
        }
        Ok(())
    }

    /// A part; `None` for one that is empty.
    fn piece(&mut self, part: &'a Part, at: &str) -> Result<Option<Piece<'a>>, Unsupported> {
        Ok(Some(match &part.content {
            Content::Text(text) | Content::Refusal(text) if text.is_empty() => return Ok(None),
            Content::Text(text) | Content::Refusal(text) => text_piece(text),
            Content::Image { source, detail } => {
                refuse(self.capabilities.images, "images", at)?;
                let piece = self.source(source, None, at)?;
                self.detailed(piece, detail.as_deref())?
            }
            Content::Audio { data, format } => {
                refuse(self.capabilities.audio, "audio", at)?;
                self.details.push(None);
                let mime_type = Cow::Owned(format!("audio/{format}"));
                Piece {
                    inline_data: Some(Blob { mime_type, data }),
                    ..Piece::default()
                }
            }
            Content::File { source, name } => {
                refuse(self.capabilities.documents, "documents", at)?;
                self.details.push(None);
                if name.is_some() {
                    self.losses.drop("file.filename")?;
                }
                self.source(source, name.as_deref(), at)?
            }
        }))
    }

    fn source(
        &self,
        source: &'a Source,
        name: Option<&str>,
        at: &str,
    ) -> Result<Piece<'a>, Unsupported> {
        let file_uri = match source {
            Source::Inline { media_type, data } => {
                if media_type.is_empty() {
                    return Err(Unsupported::new(at, "The data: URL names no media type."));
                }
                let mime_type = Cow::Borrowed(media_type.as_str());
                return Ok(Piece {
                    inline_data: Some(Blob { mime_type, data }),
                    ..Piece::default()
                });
            }
            Source::Url(url) if !self.is_read(url) => return Err(Unsupported::new(at, NO_BYTES)),
            Source::Id(id) if !self.is_read(id) => return Err(Unsupported::new(at, NO_FILE)),
            Source::Url(uri) | Source::Id(uri) => uri,
        };
        let mime_type = name.and_then(media_type).or_else(|| media_type(file_uri));
        if mime_type.is_none() && self.flavour == Flavour::Vertex {
            return Err(Unsupported::new(at, NO_MEDIA_TYPE));
        }
        Ok(Piece {
            file_data: Some(Reference {
                mime_type,
                file_uri,
            }),
            ..Piece::default()
        })
    }

    /// Whether the provider reads a URL by itself.
    fn is_read(&self, url: &str) -> bool {
        match self.flavour {
            Flavour::AiStudio => is_own(url),
            Flavour::Vertex => ["https://", "http://", "gs://"]
                .iter()
                .any(|s| url.starts_with(s)),
        }
    }

    fn detailed(
        &mut self,
        mut piece: Piece<'a>,
        detail: Option<&str>,
    ) -> Result<Piece<'a>, Unsupported> {
        let level = match detail {
            Some("low") => Some("MEDIA_RESOLUTION_LOW"),
            Some("high") => Some("MEDIA_RESOLUTION_HIGH"),
            None | Some("auto") => None,
            Some(_) => {
                self.losses.drop("image_url.detail")?;
                None
            }
        };
        if self.is_levelled() {
            piece.media_resolution = level.map(|level| Resolution { level });
        } else {
            self.details.push(level);
        }
        Ok(piece)
    }

    /// Ends what stands between two turns of the model.
    fn end_user(&mut self, user: &mut Vec<Piece<'a>>) -> Result<(), Unsupported> {
        let mut pieces = Vec::new();
        let answered = self.asked.iter().any(|asked| asked.answer.is_some());
        if answered || !user.is_empty() {
            for asked in self.asked.drain(..) {
                match asked.answer {
                    Some(piece) => pieces.push(piece),
                    None if answered => {
                        let (at, index) = asked.at;
                        return Err(Unsupported::new(
                            format!("messages[{at}].tool_calls[{index}]"),
                            "This tool call has no result, while others of its turn have one.",
                        ));
                    }
                    None => {}
                }
            }
        }
        pieces.append(user);
        self.push("user", pieces);
        Ok(())
    }

    fn push(&mut self, role: &'static str, mut pieces: Vec<Piece<'a>>) {
        if pieces.is_empty() {
            return;
        }
        match self.contents.last_mut() {
            Some(last) if last.role == Some(role) => last.parts.append(&mut pieces),
            _ => self.contents.push(Contents {
                role: Some(role),
                parts: pieces,
            }),
        }
    }

    fn finish(self) -> Result<Written<'a>, Unsupported> {
        if self.contents.is_empty() {
            let reason = "Nothing is left to send: a message of the user's is needed.";
            return Err(Unsupported::new("messages", reason));
        }
        if !self.capabilities.prefill
            && self
                .contents
                .last()
                .is_some_and(|last| last.role == Some("model"))
        {
            let reason = "This model does not go on with the assistant's last message.";
            return Err(Unsupported::new("messages", reason));
        }
        let media_resolution = self.details.first().copied().flatten();
        let all_alike = self
            .details
            .iter()
            .all(|detail| *detail == media_resolution);
        if !all_alike {
            self.losses.drop("image_url.detail")?;
        }
        let system = (!self.system.is_empty()).then_some(Contents {
            role: None,
            parts: self.system,
        });
        Ok(Written {
            system,
            contents: self.contents,
            media_resolution: media_resolution.filter(|_| all_alike),
        })
    }

    fn drop_name(&mut self, name: &Option<String>) -> Result<(), Unsupported> {
        name.as_ref()
            .map_or(Ok(()), |_| self.losses.drop("messages[].name"))
    }

    /// Explicit caches are resources of their own; implicit ones need no mark.
    fn drop_cache(&mut self, part: &Part) -> Result<(), Unsupported> {
        part.cache
            .as_ref()
            .map_or(Ok(()), |_| self.losses.drop("cache_control"))
    }
}

/// Whether a model is of those that think by level: Gemini 3 and later, which
/// want signatures, give ids, and take a resolution for each medium.
pub(super) fn is_levelled(capabilities: &Capabilities) -> bool {
    !matches!(capabilities.thinking, Thinking::None | Thinking::Budget)
}

fn refuse(takes: bool, what: &str, at: &str) -> Result<(), Unsupported> {
    if takes {
        return Ok(());
    }
    Err(Unsupported::new(
        at,
        format!("This model does not take {what}."),
    ))
}

/// Splits an id from the signature that LiteLLM puts behind it.
fn split_id(id: &str) -> (&str, Option<&str>) {
    match id.split_once(IN_ID) {
        Some((id, signature)) if !signature.is_empty() => (id, Some(signature)),
        _ => (id, None),
    }
}
