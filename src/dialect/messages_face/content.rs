//! Requests: messages and their content blocks.
//!
//! Results of tools come before what else the user says in the same message,
//! as every provider wants them.

use super::fields::{At, Fields, elements, invalid, is_object, is_string, read, wrong_type};
use super::shape;
use crate::chat::{
    CacheMark, Content, Message, Origin, Part, Sealed, Source, Thought, ToolCall, Turn,
};
use crate::error::{ErrorKind, GatewayError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Collects messages.
#[derive(Default)]
pub struct Reader {
    messages: Vec<Message>,
    /// What has no place in the messages, by its name.
    noted: Map<String, Value>,
    /// Ids of calls with the signatures that travelled beside them.
    signatures: Vec<(String, Sealed)>,
}

impl Reader {
    /// The messages, with every signature back on its call; and what had no
    /// place in them.
    pub fn finish(mut self) -> (Vec<Message>, Map<String, Value>) {
        for message in &mut self.messages {
            let Message::Assistant(turn) = message else {
                continue;
            };
            for call in &mut turn.calls {
                let own = self.signatures.iter().find(|(id, _)| *id == call.id);
                call.signature = own.map(|(_, signature)| signature.clone());
            }
        }
        (self.messages, self.noted)
    }

    /// The system prompt: a string or text blocks.
    pub fn system(&mut self, raw: &RawValue, at: &At<'_>) -> Result<(), GatewayError> {
        let mut parts = Vec::new();
        self.parts(raw, at, &["text"], &mut parts)?;
        if parts.iter().any(|part| part.as_text() != Some("")) {
            self.messages.push(Message::System { parts });
        }
        Ok(())
    }

    pub fn message(&mut self, raw: &RawValue, at: &At<'_>) -> Result<(), GatewayError> {
        let mut fields = Fields::of(raw, at)?;
        let role = fields.need_string("role")?;
        let content = fields.need("content")?;
        self.leave("messages", &fields);
        let inside = At::Key(at, "content");
        match role.as_str() {
            "user" => self.user(content, &inside),
            "assistant" => self.assistant(content, &inside),
            "system" => self.system(content, &inside),
            _ => {
                let reason = "it must be 'user', 'assistant' or 'system'";
                Err(invalid(&At::Key(at, "role"), reason))
            }
        }
    }

    fn user(&mut self, content: &RawValue, at: &At<'_>) -> Result<(), GatewayError> {
        let mut parts = Vec::new();
        if is_string(content) {
            parts.push(Part::text(read::<String>(content, at, "a string")?));
        } else {
            let blocks = elements(content, at)?;
            if blocks.is_empty() {
                return Err(invalid(at, "user messages must have content"));
            }
            for (i, raw) in blocks.into_iter().enumerate() {
                let at = At::Index(at, i);
                let mut block = Fields::of(raw, &at)?;
                let kind = block.need_string("type")?;
                match kind.as_str() {
                    "tool_result" => self.tool_result(&mut block)?,
                    kind => self.part(kind, &mut block, &mut parts)?,
                }
                self.leave(&kind, &block);
            }
        }
        if !parts.is_empty() {
            self.messages.push(Message::User { parts, name: None });
        }
        Ok(())
    }

    fn tool_result(&mut self, block: &mut Fields<'_, '_>) -> Result<(), GatewayError> {
        const KINDS: [&str; 3] = ["text", "image", "document"];
        let call_id = block.need_string("tool_use_id")?;
        let mut parts = Vec::new();
        if let Some(raw) = block.take("content") {
            self.parts(raw, &At::Key(block.at, "content"), &KINDS, &mut parts)?;
        }
        self.mark_last(&mut parts, 0, block.cache()?);
        self.messages.push(Message::Tool {
            call_id,
            parts,
            is_error: block.boolean("is_error")?.unwrap_or_default(),
        });
        Ok(())
    }

    fn assistant(&mut self, content: &RawValue, at: &At<'_>) -> Result<(), GatewayError> {
        let mut turn = Turn::default();
        if is_string(content) {
            let text: String = read(content, at, "a string")?;
            turn.say(Part::text(text));
        } else {
            for (i, raw) in elements(content, at)?.into_iter().enumerate() {
                let at = At::Index(at, i);
                self.turn_block(&mut Fields::of(raw, &at)?, &mut turn)?;
            }
            if turn == Turn::default() {
                return Ok(());
            }
        }
        self.messages.push(Message::Assistant(turn));
        Ok(())
    }

    fn turn_block(
        &mut self,
        block: &mut Fields<'_, '_>,
        turn: &mut Turn,
    ) -> Result<(), GatewayError> {
        let kind = block.need_string("type")?;
        match kind.as_str() {
            "thinking" => turn.think(Thought {
                text: block.need_string("thinking")?,
                signature: block
                    .string("signature")?
                    .filter(|s| !s.is_empty())
                    .map(|text| Sealed::returned(text, Origin::Claude)),
                redacted: None,
            }),
            "redacted_thinking" => {
                let sealed = block.need_string("data")?;
                match shape::call_signature(&sealed) {
                    Some((id, signature)) => self.signatures.push((id, signature)),
                    None => turn.think(Thought {
                        redacted: Some(Sealed::returned(sealed, Origin::Claude)),
                        ..Thought::default()
                    }),
                }
            }
            "tool_use" => turn.call(self.tool_use(block)?),
            kind => {
                let mut parts = Vec::new();
                self.part(kind, block, &mut parts)?;
                parts.into_iter().for_each(|part| turn.say(part));
            }
        }
        self.leave(&kind, block);
        Ok(())
    }

    fn tool_use(&mut self, block: &mut Fields<'_, '_>) -> Result<ToolCall, GatewayError> {
        let cache = block.cache()?;
        let at = At::Key(block.at, "input");
        let input = block.need("input")?;
        if !is_object(input) {
            return Err(wrong_type(&at, "an object", input));
        }
        Ok(ToolCall {
            id: block.need_string("id")?,
            name: block.need_string("name")?,
            arguments: compact(input.get()),
            signature: None,
            cache,
        })
    }

    /// Content that is a string or blocks of the given kinds.
    fn parts(
        &mut self,
        raw: &RawValue,
        at: &At<'_>,
        kinds: &[&str],
        out: &mut Vec<Part>,
    ) -> Result<(), GatewayError> {
        if is_string(raw) {
            out.push(Part::text(read::<String>(raw, at, "a string")?));
            return Ok(());
        }
        for (i, raw) in elements(raw, at)?.into_iter().enumerate() {
            let at = At::Index(at, i);
            let mut block = Fields::of(raw, &at)?;
            let kind = block.need_string("type")?;
            if !kinds.contains(&kind.as_str()) {
                return Err(unsupported(&at, &kind));
            }
            self.part(&kind, &mut block, out)?;
            self.leave(&kind, &block);
        }
        Ok(())
    }

    /// Notes members that nobody read, so that they are not lost in silence.
    fn leave(&mut self, kind: &str, fields: &Fields<'_, '_>) {
        /// What an answer says of its blocks, and clients send back.
        const ECHOES: [&str; 2] = ["citations", "caller"];
        for name in fields.left().filter(|name| !ECHOES.contains(name)) {
            self.note(&format!("{kind}.{name}"));
        }
    }

    /// A block that is what somebody said.
    fn part(
        &mut self,
        kind: &str,
        block: &mut Fields<'_, '_>,
        out: &mut Vec<Part>,
    ) -> Result<(), GatewayError> {
        let before = out.len();
        match kind {
            "text" => out.push(Part::text(block.need_string("text")?)),
            "image" => out.push(plain(Content::Image {
                source: image(block)?,
                detail: None,
            })),
            "document" => self.document(block, out)?,
            _ => return Err(unsupported(block.at, kind)),
        }
        self.mark_last(out, before, block.cache()?);
        Ok(())
    }

    fn document(
        &mut self,
        block: &mut Fields<'_, '_>,
        out: &mut Vec<Part>,
    ) -> Result<(), GatewayError> {
        let name = block.string("title")?;
        let cited = block.object("citations")?;
        if cited.is_some_and(|c| c.get("enabled") == Some(&Value::Bool(true))) {
            self.note("document.citations");
        }
        // Words about the document, for the model to read.
        let context = block.string("context")?.filter(|c| !c.is_empty());
        out.extend(context.map(Part::text));
        let at = At::Key(block.at, "source");
        let mut source = Fields::of(block.need("source")?, &at)?;
        let kind = source.need_string("type")?;
        if kind == "content" {
            let content = source.need("content")?;
            if !is_string(content) {
                out.extend(name.filter(|n| !n.is_empty()).map(Part::text));
                let at = At::Key(&at, "content");
                return self.parts(content, &at, &["text", "image"], out);
            }
            let source = inline_text(&read::<String>(content, &at, "a string")?);
            out.push(plain(Content::File { source, name }));
            return Ok(());
        }
        let source = match kind.as_str() {
            "text" => inline_text(&source.need_string("data")?),
            _ => bytes(&kind, &mut source)?,
        };
        out.push(plain(Content::File { source, name }));
        Ok(())
    }

    /// Puts a cache mark on the last of the parts that a block became; only a
    /// result can have become none.
    fn mark_last(&mut self, parts: &mut [Part], from: usize, mark: Option<CacheMark>) {
        let Some(mark) = mark else { return };
        match parts.get_mut(from..).and_then(<[Part]>::last_mut) {
            Some(part) => part.cache = Some(mark),
            None => self.note("tool_result.cache_control"),
        }
    }

    fn note(&mut self, name: &str) {
        self.noted.insert(name.to_owned(), Value::Bool(true));
    }
}

fn plain(content: Content) -> Part {
    Part {
        content,
        cache: None,
    }
}

fn image(block: &mut Fields<'_, '_>) -> Result<Source, GatewayError> {
    let at = At::Key(block.at, "source");
    let mut source = Fields::of(block.need("source")?, &at)?;
    let kind = source.need_string("type")?;
    bytes(&kind, &mut source)
}

/// Where the bytes of an image or a document are.
fn bytes(kind: &str, source: &mut Fields<'_, '_>) -> Result<Source, GatewayError> {
    match kind {
        "base64" => Ok(Source::Inline {
            media_type: source.need_string("media_type")?,
            data: source.need_string("data")?,
        }),
        "url" => source.need_string("url").map(Source::Url),
        "file" => source.need_string("file_id").map(Source::Id),
        _ => Err(unsupported(source.at, kind)),
    }
}

fn inline_text(text: &str) -> Source {
    Source::Inline {
        media_type: "text/plain".to_owned(),
        data: STANDARD.encode(text),
    }
}

/// Blocks of Anthropic's own tools, and such as are unknown or misplaced.
fn unsupported(at: &At<'_>, kind: &str) -> GatewayError {
    let text = format!("'{kind}' is not supported by this model's provider at '{at}'.");
    GatewayError::new(ErrorKind::InvalidRequest, text).with_param(Some(at.to_string()))
}

/// JSON without the spaces between its tokens.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let mut kept = String::with_capacity(json.len());
    for c in json.chars() {
        if !quoted && c.is_ascii_whitespace() {
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        kept.push(c);
    }
    kept
}
