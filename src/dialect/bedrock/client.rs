//! What the golden cases of requests are read with: the client's side as every client of Chat
//! Completions has it.

use serde_json::Value;

use crate::chat::{Capabilities, Conversation, SamplingRule, Thinking};
use crate::dialect::Face;
use crate::dialect::openai_chat::Chat;

/// The conversation that an OpenAI client asks for.
pub(super) fn conversation(body: &Value) -> Conversation {
    let parsed = Chat::default().parse(body.to_string().as_bytes());
    parsed.unwrap_or_else(|error| panic!("{error:?}: {body}"))
}

/// The capabilities that a case names; all others are as for an unknown model.
pub(super) fn capabilities(row: &Value) -> Capabilities {
    let mut can = Capabilities::default();
    let flag = |name: &str, default: bool| row[name].as_bool().unwrap_or(default);
    can.sampling = match row["sampling"].as_str() {
        Some("one") => SamplingRule::One,
        Some("none") => SamplingRule::None,
        _ => SamplingRule::Free,
    };
    can.thinking = match row["thinking"].as_str() {
        Some("budget") => Thinking::Budget,
        Some("adaptive") => Thinking::Adaptive,
        Some("effort") => Thinking::Effort,
        Some("level") => Thinking::Level,
        _ => Thinking::None,
    };
    can.effort = row["effort"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|effort| effort.as_str().map(str::to_owned))
        .collect();
    can.thinks_always = flag("thinks_always", false);
    can.prefill = flag("prefill", true);
    can.mid_system = flag("mid_system", false);
    can.json_schema = flag("json_schema", true);
    can.images = flag("images", true);
    can.audio = flag("audio", true);
    can.documents = flag("documents", true);
    can.tools = flag("tools", true);
    can.forced_tools = flag("forced_tools", true);
    can.parallel_control = flag("parallel_control", true);
    can
}
