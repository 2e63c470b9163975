//! What a client hears of an answer, in no format: OpenAI's words and meanings.

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heard {
    pub choices: Vec<Choice>,
    pub usage: Option<Usage>,
    /// In place of an end.
    pub error: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Choice {
    pub text: String,
    pub thoughts: Vec<Thought>,
    pub refusal: String,
    pub calls: Vec<Call>,
    pub annotations: Vec<Value>,
    /// As URLs; `omitted` where a format says that it has no place for one.
    pub images: Vec<String>,
    /// The tokens that have one.
    pub logprobs: Vec<String>,
    pub finish: Option<String>,
    /// Kinds of the blocks as they came: `thought`, `text`, `call`, `refusal`.
    pub order: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thought {
    pub text: String,
    pub signature: Option<String>,
    pub redacted: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    /// `*`: any that is not empty.
    pub id: String,
    pub name: String,
    pub arguments: String,
    pub signature: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    pub prompt: u64,
    pub completion: u64,
    pub cached: u64,
    pub cache_write: u64,
    pub reasoning: u64,
    pub audio_in: u64,
    pub audio_out: u64,
}

impl Choice {
    /// Adds a block's kind, unless the one before is of the same kind and runs on.
    pub fn block(&mut self, kind: &str) {
        if kind == "call" || self.order.last().is_none_or(|last| last != kind) {
            self.order.push(kind.to_owned());
        }
    }
}

/// The member as a text.
pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// The member as a count, which must be one.
pub fn count(value: &Value, name: &str) -> Result<u64, String> {
    let found = &value[name];
    found
        .as_u64()
        .ok_or_else(|| format!("{name} is {found}, not a count"))
}

pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// `Err` with a text unless the condition holds.
macro_rules! must {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
pub(crate) use must;

/// One event of a stream of server-sent events: its name, its data. Comments are left out.
pub type SseEvent = (Option<String>, String);

/// Cuts a stream as its format is defined; what we write has to have the plain form.
pub fn sse(stream: &str) -> Result<Vec<SseEvent>, String> {
    must!(
        stream.is_empty() || stream.ends_with("\n\n"),
        "cut inside of an event"
    );
    let mut events = Vec::new();
    for block in stream.split_terminator("\n\n") {
        if block.starts_with(": ") {
            continue;
        }
        let (name, data) = match block.split_once('\n') {
            Some((name, data)) => (name.strip_prefix("event: "), data),
            None => (None, block),
        };
        let data = data.strip_prefix("data: ");
        must!(
            data.is_some_and(|data| !data.contains('\n')),
            "no event: {block}"
        );
        events.push((name.map(str::to_owned), data.unwrap_or_default().to_owned()));
    }
    Ok(events)
}

pub fn json(data: &str) -> Result<Value, String> {
    serde_json::from_str(data).map_err(|e| format!("{e}: {data}"))
}

/// The arguments of a whole call are the JSON of an object.
pub fn arguments_are_whole(calls: &[Call]) -> Result<(), String> {
    for call in calls {
        let parsed = json(&call.arguments)?;
        must!(parsed.is_object(), "arguments of {}: {parsed}", call.name);
    }
    Ok(())
}
