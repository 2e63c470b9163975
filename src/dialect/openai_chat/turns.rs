//! A conversation's messages as a compatible provider's.

use super::options::Options;
use super::shape::Path;
use super::strays::Returns;
use super::whole;
use crate::chat::{
    CacheMark, Capabilities, Content, Conversation, Losses, Message, Origin, Part, Place, Source,
    Thought, ToolCall, Turn, Unsupported,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

type Fields = Map<String, Value>;

pub(super) struct Turns<'a> {
    asked: &'a Conversation,
    able: &'a Capabilities,
    options: Options<'a>,
    returns: &'a Returns<'a>,
    losses: &'a mut Losses,
    /// The number of the message that is being written.
    at: usize,
}

impl<'a> Turns<'a> {
    pub(super) fn new(
        asked: &'a Conversation,
        able: &'a Capabilities,
        options: Options<'a>,
        returns: &'a Returns<'a>,
        losses: &'a mut Losses,
    ) -> Self {
        Self {
            asked,
            able,
            options,
            returns,
            losses,
            at: 0,
        }
    }

    /// Writes all messages.
    ///
    /// # Errors
    /// When one cannot be carried, or there is nothing left to answer.
    pub(super) fn all(&mut self) -> Result<Vec<Value>, Unsupported> {
        let mut written = Vec::with_capacity(self.asked.messages.len());
        let last = self.asked.messages.len().saturating_sub(1);
        let top = Path::Top.key("messages");
        for (at, message) in self.asked.messages.iter().enumerate() {
            self.at = at;
            if let Some(mut fields) = self.message(message, &top.at(at))? {
                if at == last && matches!(message, Message::Assistant(_)) {
                    self.prefill(&mut fields, &top.at(at))?;
                }
                self.returns
                    .members(|_| Place::Message(at), &mut fields, self.losses)?;
                written.push(Value::Object(fields));
            }
        }
        if written.is_empty() {
            return Err(Unsupported::new(
                "messages",
                "There is nothing in the messages.",
            ));
        }
        Ok(written)
    }

    /// A last message of the assistant is there to be continued.
    fn prefill(&self, fields: &mut Fields, path: &Path<'_>) -> Result<(), Unsupported> {
        if !self.able.prefill {
            let reason = "This model cannot continue a message of the assistant.";
            return Err(Unsupported::new(path.to_string(), reason));
        }
        if let Some(flag) = self.options.text("prefill") {
            fields.insert(flag.to_owned(), true.into());
        }
        Ok(())
    }

    fn message(
        &mut self,
        message: &Message,
        path: &Path<'_>,
    ) -> Result<Option<Fields>, Unsupported> {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        match message {
            Message::System { parts } | Message::User { parts, .. }
                if parts.is_empty() && !self.returns.has_parts(self.at) =>
            {
                return Ok(None);
            }
            Message::System { parts } => {
                let role = self.options.text("system_role").unwrap_or("system");
                set("role", role.into());
                set("content", self.content(parts, path, true)?);
            }
            Message::User { parts, name } => {
                set("role", "user".into());
                set("content", self.content(parts, path, true)?);
                self.name(name.as_deref(), &mut fields)?;
            }
            Message::Assistant(turn) => return self.turn(turn, path),
            Message::Tool {
                call_id,
                parts,
                is_error,
            } => {
                set("role", "tool".into());
                set("tool_call_id", self.id(call_id).into());
                self.tool_parts(parts, path)?;
                set("content", self.content(parts, path, false)?);
                if let Some(name) = self
                    .called(call_id)
                    .filter(|_| self.options.flag("tool_name"))
                {
                    set("name", name.into());
                }
                if *is_error {
                    self.losses.drop("is_error")?;
                }
            }
        }
        Ok(Some(fields))
    }

    fn name(&mut self, name: Option<&str>, fields: &mut Fields) -> Result<(), Unsupported> {
        match name {
            Some(_) if self.options.drops("messages[].name") => self.losses.drop("messages[].name"),
            Some(name) => {
                fields.insert("name".to_owned(), name.into());
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn tool_parts(&self, parts: &[Part], path: &Path<'_>) -> Result<(), Unsupported> {
        let odd = parts.iter().position(|part| part.as_text().is_none());
        match odd.filter(|_| !self.options.flag("tool_images")) {
            Some(at) => {
                let reason = "Results of tools can only be text with this model's provider.";
                Err(Unsupported::new(
                    path.key("content").at(at).to_string(),
                    reason,
                ))
            }
            None => Ok(()),
        }
    }

    /// The tool that a call of this id named.
    fn called(&self, id: &str) -> Option<&'a str> {
        self.asked
            .messages
            .iter()
            .rev()
            .find_map(|message| match message {
                Message::Assistant(turn) => turn
                    .calls
                    .iter()
                    .find(|call| call.id == id)
                    .map(|call| call.name.as_str()),
                _ => None,
            })
    }

    /// `None` if the turn says nothing at all.
    fn turn(&mut self, turn: &Turn, path: &Path<'_>) -> Result<Option<Fields>, Unsupported> {
        let mut fields = Map::new();
        let as_text = self.options.text("refusals") == Some("content");
        let refusals = turn.parts.iter().filter(|_| !as_text).filter_map(refusal);
        let refusals: Vec<&str> = refusals.collect();
        let mut said = Vec::new();
        for (at, part) in turn.parts.iter().enumerate() {
            match &part.content {
                Content::Text(_) => said.push(part.clone()),
                Content::Refusal(text) if as_text => said.push(Part::text(text.clone())),
                Content::Refusal(_) => {}
                _ => {
                    let reason =
                        "Messages of the assistant can only hold text with this model's provider.";
                    return Err(Unsupported::new(
                        path.key("content").at(at).to_string(),
                        reason,
                    ));
                }
            }
        }
        let silent = said.iter().all(|part| part.as_text() == Some(""));
        if silent && refusals.is_empty() && turn.calls.is_empty() {
            return Ok(None);
        }
        fields.insert("role".to_owned(), "assistant".into());
        // Absent rather than null: some providers refuse null.
        if !said.is_empty() {
            fields.insert("content".to_owned(), self.said(&said, path)?);
        }
        if !refusals.is_empty() {
            fields.insert("refusal".to_owned(), refusals.concat().into());
        }
        self.thoughts(&turn.thoughts, &mut fields)?;
        if !turn.calls.is_empty() {
            let calls = turn.calls.iter().enumerate();
            let calls: Result<Vec<Value>, _> = calls
                .map(|(number, call)| self.call(number, call))
                .collect();
            fields.insert("tool_calls".to_owned(), calls?.into());
        }
        self.name(turn.name.as_deref(), &mut fields)?;
        Ok(Some(fields))
    }

    /// A model's texts are one text to most providers.
    fn said(&mut self, parts: &[Part], path: &Path<'_>) -> Result<Value, Unsupported> {
        let marked = self.options.text("cache_marks") == Some("cache_control")
            && parts.iter().any(|part| part.cache.is_some());
        if marked || self.returns.has_parts(self.at) {
            return self.content(parts, path, true);
        }
        self.returns.drop_parts(self.at, self.losses)?;
        if parts.iter().any(|part| part.cache.is_some()) {
            self.losses.drop("cache_control")?;
        }
        Ok(parts
            .iter()
            .filter_map(Part::as_text)
            .collect::<String>()
            .into())
    }

    /// What the provider can read of what models sealed: it says so by the form
    /// that it takes thoughts in. A tag is nobody's but the gateway's.
    fn readable(&mut self, thought: &Thought) -> Result<Option<Thought>, Unsupported> {
        let readers: &[Origin] = match self.options.text("thoughts") {
            Some("thinking_blocks") => &[Origin::Claude],
            Some("reasoning_details") => &[Origin::Claude, Origin::Gemini, Origin::Other],
            _ => &[],
        };
        let mut kept = thought.clone();
        for sealed in [&mut kept.signature, &mut kept.redacted] {
            if sealed.take_if(|s| s.read_by(readers).is_none()).is_some() {
                self.losses.drop("messages[].thinking_blocks")?;
            }
        }
        let empty = kept.signature.is_none() && kept.redacted.is_none() && kept.text.is_empty();
        Ok((!empty).then_some(kept))
    }

    fn thoughts(&mut self, thoughts: &[Thought], fields: &mut Fields) -> Result<(), Unsupported> {
        let mut kept = Vec::with_capacity(thoughts.len());
        for thought in thoughts {
            kept.extend(self.readable(thought)?);
        }
        let thoughts = kept.as_slice();
        if thoughts.is_empty() {
            return Ok(());
        }
        let text: String = thoughts
            .iter()
            .map(|thought| thought.text.as_str())
            .collect();
        let blocks = || thoughts.iter().map(whole::block).collect::<Value>();
        let (name, value) = match self.options.text("thoughts") {
            Some(name @ ("reasoning_content" | "reasoning")) => (name, text.into()),
            Some(name @ "thinking_blocks") => {
                fields.insert("reasoning_content".to_owned(), text.into());
                (name, blocks())
            }
            Some(name @ "reasoning_details") => (name, thoughts.iter().map(detail).collect()),
            _ => return self.losses.drop("messages[].reasoning_content"),
        };
        fields.insert(name.to_owned(), value);
        Ok(())
    }

    fn call(&mut self, number: usize, call: &ToolCall) -> Result<Value, Unsupported> {
        let arguments = if call.arguments.trim().is_empty() {
            "{}"
        } else {
            &call.arguments
        };
        let function = json!({ "name": call.name, "arguments": arguments });
        let mut written = Map::from_iter([
            ("id".to_owned(), self.id(&call.id).into()),
            ("type".to_owned(), "function".into()),
            ("function".to_owned(), function),
        ]);
        if call.cache.is_some() {
            self.losses.drop("cache_control")?;
        }
        if let Some(signature) = &call.signature {
            let google = self.options.text("thought_signature") == Some("google");
            if google && signature.origin == Origin::Gemini {
                written.insert("extra_content".to_owned(), whole::google(signature));
            } else {
                self.losses
                    .drop("messages[].tool_calls[].thought_signature")?;
            }
        }
        let message = self.at;
        let place = |within| Place::Call {
            message,
            call: number,
            within,
        };
        self.returns.members(place, &mut written, self.losses)?;
        Ok(Value::Object(written))
    }

    /// An id that the provider takes, the same for a call and its result.
    fn id(&self, id: &str) -> String {
        /// OpenAI's limit.
        const LONGEST: usize = 40;
        match self.options.text("tool_id") {
            Some("mistral9") => mistral_id(id),
            _ if id.len() > LONGEST => format!("call_{}", hex(&Sha256::digest(id), 24)),
            _ => id.to_owned(),
        }
    }

    fn content(
        &mut self,
        parts: &[Part],
        path: &Path<'_>,
        marks: bool,
    ) -> Result<Value, Unsupported> {
        let path = path.key("content");
        let joined = self.options.text("parts") == Some("string")
            && parts.iter().all(|part| part.as_text().is_some())
            && !self.returns.has_whole(self.at);
        let style = self.options.text("cache_marks").filter(|_| marks);
        if style.is_none() && parts.iter().any(|part| part.cache.is_some()) {
            self.losses.drop("cache_control")?;
        }
        let marked = style.is_some() && parts.iter().any(|part| part.cache.is_some());
        let kept = self.returns.has_parts(self.at);
        match parts {
            _ if kept && !joined => {}
            [] => return Ok("".into()),
            [one] if !marked && !kept && one.as_text().is_some() => {
                self.returns.drop_parts(self.at, self.losses)?;
                return Ok(one.as_text().into());
            }
            _ if joined => {
                self.returns.drop_parts(self.at, self.losses)?;
                return Ok(parts
                    .iter()
                    .filter_map(Part::as_text)
                    .collect::<String>()
                    .into());
            }
            _ => {}
        }
        let mut written = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            written.extend(self.returns.parts(self.at, at).cloned());
            let mut fields = self.part(&part.content, &path.at(at))?;
            match (&part.cache, style) {
                (Some(mark), Some("cache_control")) => fields.extend(cache_fields(mark)),
                (Some(_), Some(_)) => {
                    fields.insert(
                        "prompt_cache_breakpoint".to_owned(),
                        json!({ "mode": "explicit" }),
                    );
                }
                _ => {}
            }
            let message = self.at;
            let place = |within| Place::Part {
                message,
                part: at,
                within,
            };
            self.returns.members(place, &mut fields, self.losses)?;
            written.push(Value::Object(fields));
        }
        written.extend(self.returns.parts(self.at, parts.len()).cloned());
        Ok(Value::Array(written))
    }

    fn part(&self, content: &Content, path: &Path<'_>) -> Result<Fields, Unsupported> {
        let refuse = |able: bool, what: &str| match able {
            true => Ok(()),
            false => Err(Unsupported::new(
                path.to_string(),
                format!("This model takes no {what}."),
            )),
        };
        let (kind, inner) = match content {
            Content::Text(text) => ("text", text.clone().into()),
            Content::Refusal(text) => ("refusal", text.clone().into()),
            Content::Image { source, detail } => {
                refuse(self.able.images, "images")?;
                ("image_url", self.image(source, detail.as_deref(), path)?)
            }
            Content::Audio { data, format } => {
                refuse(self.able.audio, "audio")?;
                ("input_audio", json!({ "data": data, "format": format }))
            }
            Content::File { source, name } => {
                refuse(self.able.documents, "documents")?;
                ("file", file(source, name.as_deref(), path)?)
            }
        };
        Ok(Map::from_iter([
            ("type".to_owned(), kind.into()),
            (kind.to_owned(), inner),
        ]))
    }

    fn image(
        &self,
        source: &Source,
        detail: Option<&str>,
        path: &Path<'_>,
    ) -> Result<Value, Unsupported> {
        let reason = match source {
            Source::Url(_) if self.options.text("images") == Some("inline") => {
                "This model's provider takes images as data: URLs only, and the gateway fetches none."
            }
            Source::Id(_) => "This model's provider takes no images by file id.",
            Source::Inline { .. } | Source::Url(_) => {
                let mut image = Map::from_iter([("url".to_owned(), source.to_url().into())]);
                if let Some(detail) = detail {
                    image.insert("detail".to_owned(), detail.into());
                }
                return Ok(Value::Object(image));
            }
        };
        Err(Unsupported::new(path.to_string(), reason))
    }
}

fn file(source: &Source, name: Option<&str>, path: &Path<'_>) -> Result<Value, Unsupported> {
    let mut file = match source {
        Source::Inline { .. } => Map::from_iter([("file_data".to_owned(), source.to_url().into())]),
        Source::Id(id) => Map::from_iter([("file_id".to_owned(), id.clone().into())]),
        Source::Url(_) => {
            let reason =
                "This model's provider takes documents as data only, and the gateway fetches none.";
            return Err(Unsupported::new(path.to_string(), reason));
        }
    };
    if let Some(name) = name {
        file.insert("filename".to_owned(), name.into());
    }
    Ok(Value::Object(file))
}

/// A thought in OpenRouter's form, which says whose a signature is.
fn detail(thought: &Thought) -> Value {
    let mut detail = match &thought.redacted {
        Some(data) => json!({ "type": "reasoning.encrypted", "data": data.text }),
        None => json!({ "type": "reasoning.text", "text": thought.text }),
    };
    let sealed = thought.redacted.as_ref().or(thought.signature.as_ref());
    let format = sealed.and_then(|sealed| match sealed.origin {
        Origin::Claude => Some("anthropic-claude-v1"),
        Origin::Gemini => Some("google-gemini-v1"),
        Origin::Nova | Origin::Bedrock | Origin::Other => None,
    });
    if let Some(detail) = detail.as_object_mut() {
        let signed = thought.redacted.is_none();
        let signature = thought.signature.as_ref().filter(|_| signed);
        detail.extend(signature.map(|s| ("signature".to_owned(), s.text.clone().into())));
        detail.extend(format.map(|format| ("format".to_owned(), format.into())));
    }
    detail
}

fn refusal(part: &Part) -> Option<&str> {
    match &part.content {
        Content::Refusal(text) => Some(text),
        _ => None,
    }
}

/// A cache mark in Anthropic's form.
pub(super) fn cache_fields(mark: &CacheMark) -> Fields {
    let control = match &mark.ttl {
        Some(ttl) => json!({ "type": "ephemeral", "ttl": ttl }),
        None => json!({ "type": "ephemeral" }),
    };
    Map::from_iter([("cache_control".to_owned(), control)])
}

/// Mistral takes ids of nine letters and digits only.
fn mistral_id(id: &str) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    let digest = Sha256::digest(id);
    let letters = digest
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
    letters.take(9).map(|letter| char::from(*letter)).collect()
}

/// The first `length` hexadecimal digits.
pub(super) fn hex(bytes: &[u8], length: usize) -> String {
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(length);
    text
}
