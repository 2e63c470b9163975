//! Members of a conversation that have no form in it: what a client says to one provider in a
//! format that others share, such as Mistral's `prefix` on a message.
//!
//! A provider that shares the client's format is given them back, each in its place; for every
//! other they are as good as harmless fields, and named where they are dropped.

use serde_json::Value;

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Stray {
    pub place: Place,
    /// Its name there; of a whole part, nothing.
    pub name: String,
    pub value: Value,
}

/// Where in a conversation it stood. Numbers count its messages, the parts and the calls of one of
/// them, its tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// A field of the request whose value is of a kind without a form.
    Top,
    Message(usize),
    /// In a part, or in the object within it.
    Part {
        message: usize,
        part: usize,
        within: Option<&'static str>,
    },
    /// A whole part, of a kind without a form: before the part of this number.
    Whole {
        message: usize,
        before: usize,
    },
    Call {
        message: usize,
        call: usize,
        within: Option<&'static str>,
    },
    Tool {
        tool: usize,
        within: Option<&'static str>,
    },
}

impl Place {
    /// The inner object that it stood in.
    pub const fn within(self) -> Option<&'static str> {
        match self {
            Self::Part { within, .. } | Self::Call { within, .. } | Self::Tool { within, .. } => {
                within
            }
            Self::Top | Self::Message(_) | Self::Whole { .. } => None,
        }
    }
}

impl Stray {
    /// The field in the client's words, without numbers: `messages[].prefix`.
    pub fn field(&self) -> String {
        let place = match self.place {
            Place::Top => return self.name.clone(),
            Place::Message(_) => "messages[]",
            Place::Part { .. } => "messages[].content[]",
            Place::Whole { .. } => return "messages[].content[]".to_owned(),
            Place::Call { .. } => "messages[].tool_calls[]",
            Place::Tool { .. } => "tools[]",
        };
        match self.place.within() {
            Some(within) => format!("{place}.{within}.{}", self.name),
            None => format!("{place}.{}", self.name),
        }
    }

    /// Whether it repeats what an answer said and what the conversation knows in another form:
    /// leaving it out loses nothing.
    pub fn is_echo(&self) -> bool {
        const ECHOES: [&str; 2] = ["annotations", "reasoning_details"];
        matches!(self.place, Place::Message(_)) && ECHOES.contains(&self.name.as_str())
    }

    /// Whether it is the name in a tool's result, which the call says as well.
    pub fn names_tool(&self, messages: &[super::Message]) -> bool {
        let Place::Message(at) = self.place else {
            return false;
        };
        self.name == "name" && matches!(messages.get(at), Some(super::Message::Tool { .. }))
    }

    /// Whether leaving it out changes what was asked.
    pub fn matters(&self) -> bool {
        matches!(self.place, Place::Whole { .. } | Place::Top)
    }
}
