//! Messages as turns: instructions first, then users and the model by turns.
//!
//! Same-role messages are merged here rather than by the API, because of the
//! orders that it demands inside one message: tool results before anything else
//! a user says, all results of a turn together, thoughts before anything else
//! the model says.

use super::blocks;
use super::body::{Block, Role, Turn};
use crate::chat::{
    self, Capabilities, Conversation, Item, Losses, Message, Origin, Sealed, Thought, Unsupported,
};

/// A conversation's messages, as the API takes them.
#[derive(Debug)]
pub(super) struct Script<'a> {
    pub system: Vec<Block<'a>>,
    pub turns: Vec<Turn<'a>>,
}

/// Writes all messages.
pub(super) fn write<'a>(
    asked: &'a Conversation,
    able: &Capabilities,
    losses: &mut Losses,
) -> Result<Script<'a>, Unsupported> {
    let mut writer = Writer::new(able, losses);
    for (at, message) in asked.messages.iter().enumerate() {
        writer.message(at, message)?;
    }
    writer.finish()
}

struct Writer<'a, 'l> {
    able: &'l Capabilities,
    losses: &'l mut Losses,
    system: Vec<Block<'a>>,
    turns: Vec<Turn<'a>>,
    /// Only system messages came so far.
    leading: bool,
    /// The user's turn that is being written: what tools gave back, and the rest.
    results: Vec<Block<'a>>,
    said: Vec<Block<'a>>,
    /// Instructions that wait for the end of a user's turn: only there may they
    /// stand.
    held: Vec<Block<'a>>,
    /// Where in the request the model's last turn was.
    last_assistant: usize,
}

impl<'a, 'l> Writer<'a, 'l> {
    fn new(able: &'l Capabilities, losses: &'l mut Losses) -> Self {
        Self {
            able,
            losses,
            system: Vec::new(),
            turns: Vec::new(),
            leading: true,
            results: Vec::new(),
            said: Vec::new(),
            held: Vec::new(),
            last_assistant: 0,
        }
    }

    fn message(&mut self, at: usize, message: &'a Message) -> Result<(), Unsupported> {
        match message {
            Message::System { parts } => {
                let blocks = blocks::texts(at, parts, self.losses)?;
                self.instructions().extend(blocks);
                return Ok(());
            }
            Message::User { parts, name } => {
                self.name(name.as_deref())?;
                let blocks = blocks::content(at, parts, self.able, self.losses)?;
                self.said.extend(blocks);
            }
            Message::Tool {
                call_id,
                parts,
                is_error,
            } => {
                let blocks = blocks::content(at, parts, self.able, self.losses)?;
                self.results
                    .push(blocks::result(call_id, blocks, *is_error));
            }
            Message::Assistant(turn) => self.assistant(at, turn)?,
        }
        self.leading = false;
        Ok(())
    }

    /// Where instructions go that come now. A model that knows them only at the
    /// beginning reads later ones as the user's: moved to the beginning, they
    /// would change their place in time and spoil the prompt cache.
    fn instructions(&mut self) -> &mut Vec<Block<'a>> {
        if self.leading {
            &mut self.system
        } else if self.able.mid_system {
            &mut self.held
        } else {
            &mut self.said
        }
    }

    fn name(&mut self, name: Option<&str>) -> Result<(), Unsupported> {
        match name {
            Some(_) => self.losses.drop("messages[].name"),
            None => Ok(()),
        }
    }

    fn assistant(&mut self, at: usize, turn: &'a chat::Turn) -> Result<(), Unsupported> {
        self.name(turn.name.as_deref())?;
        let mut content = Vec::new();
        for item in turn.items() {
            match item {
                Item::Thought(thought) => content.extend(self.thought(thought)?),
                Item::Part(part, said) => {
                    let place = blocks::Place { message: at, part };
                    content.extend(blocks::text(place, said, self.losses)?);
                }
                Item::Call(index, call) => {
                    if call.signature.is_some() {
                        self.losses
                            .drop("messages[].tool_calls[].thought_signature")?;
                    }
                    content.push(blocks::call(at, index, call, self.losses)?);
                }
            }
        }
        if content.is_empty() {
            return Ok(());
        }
        self.end_user_turn();
        self.last_assistant = at;
        self.push(Role::Assistant, content);
        Ok(())
    }

    /// A thought goes back only with the signature that makes it Claude's.
    fn thought(&mut self, thought: &'a Thought) -> Result<Option<Block<'a>>, Unsupported> {
        if let Some(redacted) = &thought.redacted {
            let Some(data) = own(redacted) else {
                self.losses.drop("messages[].thinking_blocks")?;
                return Ok(None);
            };
            return Ok(Some(Block::RedactedThinking { data }));
        }
        if let Some(signature) = thought.signature.as_ref().and_then(own) {
            let thinking = &thought.text;
            return Ok(Some(Block::Thinking {
                thinking,
                signature,
            }));
        }
        if !thought.text.is_empty() {
            self.losses.drop("messages[].reasoning_content")?;
        } else if thought.signature.is_some() {
            self.losses.drop("messages[].thinking_blocks")?;
        }
        Ok(None)
    }

    fn push(&mut self, role: Role, content: Vec<Block<'a>>) {
        match self.turns.last_mut() {
            Some(last) if last.role == role => last.content.extend(content),
            _ => self.turns.push(Turn { role, content }),
        }
    }

    fn end_user_turn(&mut self) {
        let mut content = std::mem::take(&mut self.results);
        content.append(&mut self.said);
        if !content.is_empty() {
            self.push(Role::User, content);
        }
        let after_user = self.turns.last().is_some_and(|t| t.role == Role::User);
        if after_user && !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.push(Role::System, held);
        }
    }

    fn finish(mut self) -> Result<Script<'a>, Unsupported> {
        self.end_user_turn();
        // No user's turn came for these: they make one, so that the model's own
        // last turn is not taken for the beginning of its next.
        self.said.append(&mut self.held);
        self.end_user_turn();
        self.prefill()?;
        if self.turns.is_empty() {
            return Err(Unsupported::new(
                "messages",
                "Anthropic needs at least one message that is not empty and not a system message.",
            ));
        }
        Ok(Script {
            system: self.system,
            turns: self.turns,
        })
    }

    /// The model's own turn at the end is one to be continued. White space at
    /// its end is a 400, so it goes: the model writes it again.
    fn prefill(&mut self) -> Result<(), Unsupported> {
        let Some(last) = self.turns.last_mut() else {
            return Ok(());
        };
        if last.role != Role::Assistant {
            return Ok(());
        }
        if !self.able.prefill {
            let param = format!("messages[{}]", self.last_assistant);
            let reason = "This model does not continue an assistant message: the last message must be another's.";
            return Err(Unsupported::new(param, reason));
        }
        if let Some(Block::Text { text, .. }) = last.content.last_mut() {
            *text = text.trim_end();
        }
        Ok(())
    }
}

/// What Claude itself sealed.
fn own(sealed: &Sealed) -> Option<&str> {
    sealed
        .read_by(&[Origin::Claude])
        .filter(|text| !text.is_empty())
}

/// Whether the model may think on: inside a tool loop a model that thinks by
/// budget must find its own thoughts again.
pub(super) fn thoughts_complete(turns: &[Turn<'_>]) -> bool {
    let mut last = turns.iter().rev().filter(|turn| turn.role != Role::System);
    let (Some(user), Some(assistant)) = (last.next(), last.next()) else {
        return true;
    };
    let answers = matches!(user.content.first(), Some(Block::ToolResult { .. }));
    let thought = assistant.content.first().is_some_and(Block::is_thought);
    !answers || assistant.role != Role::Assistant || thought
}
