//! The content of `encrypted_content`: Base64 (standard, padded) of a JSON list
//! of objects, each either a thought
//! `{"text"?, "signature"?, "redacted"?}` or the signature of a call
//! `{"call": its call_id, "signature"}`. Claude's signatures are bare in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::chat::{Origin, Sealed, Thought};

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
    pub calls: Vec<(String, Sealed)>,
}

pub(super) fn seal(thoughts: &[Thought]) -> String {
    let entries = thoughts.iter().map(|thought| Entry {
        text: thought.text.clone(),
        signature: thought.signature.as_ref().map(carried),
        redacted: thought.redacted.as_ref().map(carried),
        call: None,
    });
    write(&entries.collect::<Vec<_>>())
}

pub(super) fn seal_call(id: &str, signature: &Sealed) -> String {
    write(&[Entry {
        signature: Some(carried(signature)),
        call: Some(id.to_owned()),
        ..Entry::default()
    }])
}

fn carried(sealed: &Sealed) -> String {
    sealed.carried(Origin::Claude).into_owned()
}

fn returned(text: String) -> Sealed {
    Sealed::returned(text, Origin::Claude)
}

fn write(entries: &[Entry]) -> String {
    // Strings into a vector: serde_json has no way to fail here.
    STANDARD.encode(serde_json::to_vec(entries).unwrap_or_default())
}

/// Whether a request brings back what was sealed here: OpenAI itself refuses all
/// of it for one item that it cannot open, so the bytes must not pass there.
pub fn is_sealed(body: &[u8]) -> bool {
    /// `[{"` in Base64; OpenAI's own begin otherwise.
    const SEALED: &[u8] = b"\"W3si";
    const NAME: &[u8] = b"\"encrypted_content\"";
    memchr::memmem::find_iter(body, NAME).any(|at| {
        let rest = body.get(at.saturating_add(NAME.len())..);
        let value = rest
            .map(<[u8]>::trim_ascii_start)
            .and_then(|rest| rest.strip_prefix(b":"));
        value.is_some_and(|value| value.trim_ascii_start().starts_with(SEALED))
    })
}

/// `None` for what was not sealed here: OpenAI's own, or none at all.
pub(super) fn open(sealed: &str) -> Option<Opened> {
    let bytes = STANDARD.decode(sealed).ok()?;
    let entries: Vec<Entry> = serde_json::from_slice(&bytes).ok()?;
    let mut opened = Opened::default();
    for entry in entries {
        match (entry.call, entry.signature) {
            (Some(call), Some(signature)) => opened.calls.push((call, returned(signature))),
            (Some(_), None) => {}
            (None, signature) => opened.thoughts.push(Thought {
                text: entry.text,
                signature: signature.map(returned),
                redacted: entry.redacted.map(returned),
            }),
        }
    }
    Some(opened)
}
