//! What of a stream is open: the items that are not done, and where in the
//! response they are.

use serde_json::{Value, json};

use super::answer::{refusal_part, text_part};
use crate::chat::Thought;

pub(super) struct Reasoning {
    pub(super) index: usize,
    pub(super) id: String,
    pub(super) thoughts: Vec<Thought>,
    /// The running thought's text, if its part is open.
    pub(super) text: Option<String>,
    /// Summary parts so far.
    pub(super) parts: usize,
}

pub(super) struct Message {
    pub(super) index: usize,
    pub(super) id: String,
    pub(super) content: Vec<Value>,
    pub(super) part: Option<Part>,
}

pub(super) enum Part {
    Text {
        text: String,
        annotations: Vec<Value>,
        logprobs: Vec<Value>,
    },
    Refusal(String),
}

pub(super) struct Call {
    pub(super) index: usize,
    pub(super) id: String,
    pub(super) call_id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

impl Reasoning {
    pub(super) fn place(&self) -> Value {
        json!({
            "item_id": self.id,
            "output_index": self.index,
            "summary_index": self.parts,
        })
    }
}

impl Message {
    pub(super) fn place(&self) -> Value {
        json!({
            "item_id": self.id,
            "output_index": self.index,
            "content_index": self.content.len(),
        })
    }
}

impl Part {
    pub(super) const fn text() -> Self {
        Self::Text {
            text: String::new(),
            annotations: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    pub(super) fn value(&self) -> Value {
        match self {
            Self::Text {
                text,
                annotations,
                logprobs,
            } => text_part(text, annotations, logprobs),
            Self::Refusal(text) => refusal_part(text),
        }
    }
}

impl Call {
    /// Nothing but white space can follow a whole object.
    pub(super) fn is_whole(&self) -> bool {
        let text = self.arguments.trim_start();
        text.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }
}

/// Two objects in one.
pub(super) fn with(place: &Value, fields: Value) -> Value {
    match (place.clone(), fields) {
        (Value::Object(mut all), Value::Object(more)) => {
            all.extend(more);
            Value::Object(all)
        }
        (place, _) => place,
    }
}
