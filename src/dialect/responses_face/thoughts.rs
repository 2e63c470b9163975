//! The content of `encrypted_content`: Base64 (standard, padded) of a JSON list
//! of objects, each either a thought
//! `{"text"?, "signature"?, "redacted"?}` or the signature of a call
//! `{"call": its call_id, "signature"}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::chat::Thought;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redacted: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<String>,
}

/// What a reasoning item brought back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opened {
    pub thoughts: Vec<Thought>,
    /// Call ids and the signatures of their calls.
    pub calls: Vec<(String, String)>,
}

pub(super) fn seal(thoughts: &[Thought]) -> String {
    let entries = thoughts.iter().map(|thought| Entry {
        text: thought.text.clone(),
        signature: thought.signature.clone(),
        redacted: thought.redacted.clone(),
        call: None,
    });
    write(&entries.collect::<Vec<_>>())
}

pub(super) fn seal_call(id: &str, signature: &str) -> String {
    write(&[Entry {
        signature: Some(signature.to_owned()),
        call: Some(id.to_owned()),
        ..Entry::default()
    }])
}

fn write(entries: &[Entry]) -> String {
    // Strings into a vector: serde_json has no way to fail here.
    STANDARD.encode(serde_json::to_vec(entries).unwrap_or_default())
}

/// `None` for what was not sealed here: OpenAI's own, or none at all.
pub(super) fn open(sealed: &str) -> Option<Opened> {
    let bytes = STANDARD.decode(sealed).ok()?;
    let entries: Vec<Entry> = serde_json::from_slice(&bytes).ok()?;
    let mut opened = Opened::default();
    for entry in entries {
        match (entry.call, entry.signature) {
            (Some(call), Some(signature)) => opened.calls.push((call, signature)),
            (Some(_), None) => {}
            (None, signature) => opened.thoughts.push(Thought {
                text: entry.text,
                signature,
                redacted: entry.redacted,
            }),
        }
    }
    Some(opened)
}
