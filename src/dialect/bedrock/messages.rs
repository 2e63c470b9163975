//! Messages: who speaks when, and in which blocks.
//!
//! Converse wants user and assistant in turns, the user first, and all results of a turn's calls
//! at the head of the message after it. Nothing is put in to make a conversation fit: what is
//! blank is left out, and what then does not fit is refused.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::body::{Block, CachePoint, Message, Reasoning, Role, ToolResult, ToolUse};
use super::{Family, media, short_hash};
use crate::chat::{
    CacheMark, Capabilities, Content, Conversation, Item, Losses, Message as Said, Part, Sealed,
    Thought, ToolCall, Turn, Unsupported,
};

/// The system texts and the messages of a conversation.
pub(super) fn write<'a>(
    asked: &'a Conversation,
    can: &'a Capabilities,
    losses: &mut Losses,
) -> Result<(Vec<Block<'a>>, Vec<Message<'a>>), Unsupported> {
    let mut writer = Writer {
        can,
        family: Family::of(&asked.model),
        losses,
        system: Vec::new(),
        drafts: Vec::new(),
        names: BTreeSet::new(),
    };
    for (index, message) in asked.messages.iter().enumerate() {
        writer.message(index, message)?;
    }
    writer.finish()
}

struct Writer<'a, 'l> {
    can: &'a Capabilities,
    family: Family,
    losses: &'l mut Losses,
    system: Vec<Block<'a>>,
    drafts: Vec<Draft<'a>>,
    /// Of documents.
    names: BTreeSet<String>,
}

/// A message to which the next of the same role is added.
struct Draft<'a> {
    role: Role,
    /// Where it starts in the request.
    index: usize,
    /// Go first.
    results: Vec<Block<'a>>,
    content: Vec<Block<'a>>,
    /// Where its first document stands in the request.
    document: Option<String>,
}

impl<'a> Writer<'a, '_> {
    fn message(&mut self, index: usize, message: &'a Said) -> Result<(), Unsupported> {
        match message {
            Said::System { parts } => self.instructions(index, parts),
            Said::User { parts, name } => {
                self.name(name.as_deref())?;
                let mut content = Vec::new();
                let mut document = None;
                for (at, part) in parts.iter().enumerate() {
                    let param = format!("messages[{index}].content[{at}]");
                    let before = content.len();
                    self.part(part, &param, &mut content)?;
                    if content
                        .iter()
                        .skip(before)
                        .any(|block| matches!(block, Block::Document(_)))
                    {
                        document.get_or_insert(param);
                    }
                }
                self.add(Role::User, index, content, document);
                Ok(())
            }
            Said::Assistant(turn) => self.turn(index, turn),
            Said::Tool {
                call_id,
                parts,
                is_error,
            } => self.result(index, call_id, parts, *is_error),
        }
    }

    fn name(&mut self, name: Option<&str>) -> Result<(), Unsupported> {
        match name {
            Some(_) => self.losses.drop("messages[].name"),
            None => Ok(()),
        }
    }

    /// Instructions at the start are the system texts; later ones are a message of their own
    /// where the model takes that (after the user's turn), else part of what the user says.
    fn instructions(&mut self, index: usize, parts: &'a [Part]) -> Result<(), Unsupported> {
        let mut content = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            if part.as_text().is_none() {
                let param = format!("messages[{index}].content[{at}]");
                return Err(Unsupported::new(
                    param,
                    "Instructions are texts for this model.",
                ));
            }
            self.part(part, "", &mut content)?;
        }
        let Some(last) = self.drafts.last() else {
            self.system.extend(content);
            return Ok(());
        };
        let own = self.can.mid_system && last.role != Role::Assistant;
        let role = if own { Role::System } else { Role::User };
        self.add(role, index, content, None);
        Ok(())
    }

    fn turn(&mut self, index: usize, turn: &'a Turn) -> Result<(), Unsupported> {
        self.name(turn.name.as_deref())?;
        let mut content = Vec::new();
        for item in turn.items() {
            match item {
                Item::Thought(thought) => self.thought(thought, &mut content)?,
                Item::Part(at, part) => {
                    if !matches!(part.content, Content::Text(_) | Content::Refusal(_)) {
                        let param = format!("messages[{index}].content[{at}]");
                        return Err(Unsupported::new(
                            param,
                            "An assistant's turn holds only texts for this model.",
                        ));
                    }
                    self.part(part, "", &mut content)?;
                }
                Item::Call(at, call) => {
                    content.push(self.call(index, at, call)?);
                    content.extend(call.cache.as_ref().map(cache_point));
                }
            }
        }
        self.add(Role::Assistant, index, content, None);
        Ok(())
    }

    /// What another's model sealed is left out. Claude takes back only thoughts that it signed,
    /// DeepSeek none.
    fn thought(
        &mut self,
        thought: &'a Thought,
        out: &mut Vec<Block<'a>>,
    ) -> Result<(), Unsupported> {
        if self.family == Family::DeepSeek {
            return self.losses.drop("messages[].reasoning_content");
        }
        if let Some(sealed) = &thought.redacted {
            match self.own(sealed) {
                Some(text) => {
                    out.push(Block::ReasoningContent(Reasoning::RedactedContent(text)));
                }
                None => self.losses.drop("messages[].thinking_blocks")?,
            }
        }
        let signature = thought.signature.as_ref().and_then(|s| self.own(s));
        let unsigned = signature.is_none() && self.family == Family::Claude;
        if !thought.text.is_empty() && unsigned {
            return self.losses.drop("messages[].reasoning_content");
        }
        if thought.signature.is_some() && signature.is_none() {
            self.losses.drop("messages[].thinking_blocks")?;
        }
        if signature.is_some() || !thought.text.is_empty() {
            let text = Reasoning::ReasoningText {
                text: &thought.text,
                signature,
            };
            out.push(Block::ReasoningContent(text));
        }
        Ok(())
    }

    /// What this model itself sealed.
    fn own(&self, sealed: &'a Sealed) -> Option<&'a str> {
        let text = sealed.read_by(&[self.family.origin()]);
        text.filter(|text| !text.is_empty())
    }

    fn call(
        &mut self,
        index: usize,
        at: usize,
        call: &'a ToolCall,
    ) -> Result<Block<'a>, Unsupported> {
        if call.signature.is_some() {
            self.losses
                .drop("messages[].tool_calls[].thought_signature")?;
        }
        let text = if call.arguments.trim().is_empty() {
            "{}"
        } else {
            &call.arguments
        };
        let input: Option<&RawValue> = serde_json::from_str(text).ok();
        let input = input
            .filter(|input| input.get().starts_with('{'))
            .ok_or_else(|| {
                let param = format!("messages[{index}].tool_calls[{at}].function.arguments");
                Unsupported::new(param, "The arguments must be a JSON object for this model.")
            })?;
        let tool_use_id = call_id(&call.id);
        Ok(Block::ToolUse(ToolUse {
            tool_use_id,
            name: &call.name,
            input,
        }))
    }

    fn result(
        &mut self,
        index: usize,
        id: &'a str,
        parts: &'a [Part],
        is_error: bool,
    ) -> Result<(), Unsupported> {
        let mut content = Vec::new();
        let mut mark = None;
        for (at, part) in parts.iter().enumerate() {
            let param = format!("messages[{index}].content[{at}]");
            if matches!(part.content, Content::Audio { .. }) {
                return Err(Unsupported::new(
                    param,
                    "The result of a tool holds no audio for this model.",
                ));
            }
            // There are no cache points within a result: the mark goes behind it.
            mark = part.cache.as_ref().or(mark);
            self.block(part, &param, &mut content)?;
        }
        let status = is_error.then_some("error");
        let result = ToolResult {
            tool_use_id: call_id(id),
            content,
            status,
        };
        let results = self.results(index);
        results.push(Block::ToolResult(result));
        results.extend(mark.map(cache_point));
        Ok(())
    }

    /// Where the results of the last turn's calls go, even if instructions came in between.
    fn results(&mut self, index: usize) -> &mut Vec<Block<'a>> {
        let last = self
            .drafts
            .iter()
            .rposition(|draft| draft.role != Role::System);
        let open = last.filter(|&at| {
            self.drafts
                .get(at)
                .is_some_and(|draft| draft.role == Role::User)
        });
        let at = open.unwrap_or_else(|| {
            self.drafts.push(Draft::new(Role::User, index));
            self.drafts.len().saturating_sub(1)
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed above")]
        &mut self.drafts[at].results
    }

    /// Adds a part and its cache point.
    fn part(
        &mut self,
        part: &'a Part,
        param: &str,
        out: &mut Vec<Block<'a>>,
    ) -> Result<(), Unsupported> {
        self.block(part, param, out)?;
        if let Some(mark) = &part.cache
            && !matches!(out.last(), None | Some(Block::CachePoint(_)))
        {
            out.push(cache_point(mark));
        }
        Ok(())
    }

    /// Adds a part unless it is blank, which Bedrock refuses.
    fn block(
        &mut self,
        part: &'a Part,
        param: &str,
        out: &mut Vec<Block<'a>>,
    ) -> Result<(), Unsupported> {
        match &part.content {
            Content::Text(text) | Content::Refusal(text) => {
                if !text.trim().is_empty() {
                    out.push(Block::Text(text));
                }
                return Ok(());
            }
            Content::Image {
                detail: Some(detail),
                ..
            } if detail != "auto" => {
                self.losses.drop("image_url.detail")?;
            }
            _ => {}
        }
        out.push(media::block(
            &part.content,
            self.can,
            &mut self.names,
            param,
        )?);
        Ok(())
    }

    fn add(&mut self, role: Role, index: usize, content: Vec<Block<'a>>, document: Option<String>) {
        if content.is_empty() {
            return;
        }
        if self.drafts.last().is_none_or(|last| last.role != role) {
            self.drafts.push(Draft::new(role, index));
        }
        if let Some(draft) = self.drafts.last_mut() {
            draft.content.extend(content);
            draft.document = draft.document.take().or(document);
        }
    }

    fn finish(mut self) -> Result<(Vec<Block<'a>>, Vec<Message<'a>>), Unsupported> {
        let Some(first) = self.drafts.first() else {
            return Err(Unsupported::new(
                "messages",
                "This model needs a message of the user that is not blank.",
            ));
        };
        if first.role == Role::Assistant {
            let param = format!("messages[{}]", first.index);
            return Err(Unsupported::new(
                param,
                "A conversation with this model starts with the user.",
            ));
        }
        self.prefill()?;
        let messages: Result<Vec<Message<'a>>, Unsupported> =
            self.drafts.into_iter().map(Draft::finish).collect();
        Ok((self.system, messages?))
    }

    /// A turn to be continued must be allowed, and must not end in white space.
    fn prefill(&mut self) -> Result<(), Unsupported> {
        let Some(last) = self
            .drafts
            .last_mut()
            .filter(|last| last.role == Role::Assistant)
        else {
            return Ok(());
        };
        let Some(Block::Text(text)) = last.content.last_mut() else {
            return Ok(());
        };
        if !self.can.prefill {
            let param = format!("messages[{}]", last.index);
            return Err(Unsupported::new(
                param,
                "This model does not continue a turn: the last message must be the user's.",
            ));
        }
        *text = text.trim_end();
        Ok(())
    }
}

impl<'a> Draft<'a> {
    fn new(role: Role, index: usize) -> Self {
        Self {
            role,
            index,
            results: Vec::new(),
            content: Vec::new(),
            document: None,
        }
    }

    fn finish(self) -> Result<Message<'a>, Unsupported> {
        let has_text = self
            .content
            .iter()
            .any(|block| matches!(block, Block::Text(_)));
        if let Some(param) = self.document.filter(|_| !has_text) {
            return Err(Unsupported::new(
                param,
                "A message with a document needs a text as well for this model.",
            ));
        }
        let mut content = self.results;
        content.extend(self.content);
        Ok(Message {
            role: self.role,
            content,
        })
    }
}

fn cache_point<'a>(mark: &CacheMark) -> Block<'a> {
    Block::CachePoint(CachePoint::of(mark))
}

/// A call's id in the letters and the length that all models of Bedrock take: itself, or made
/// of its hash, so that a call and its result meet again.
fn call_id(id: &str) -> Cow<'_, str> {
    let plain = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if plain && (1..=64).contains(&id.len()) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(format!("call_{}", short_hash(id)))
}
