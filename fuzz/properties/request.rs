//! Requests: from every client's format to every provider's.

use super::answer::holds;
use super::formats::{DIALECTS, faces, models, no_options};
use super::shown;
use super::strict;
use bytes::Bytes;
use serde_json::Value;
use tollgate::chat::{
    Capabilities, Content, Conversation, Media, Message, Operation, Part, ToolChoice, inspect,
};
use tollgate::dialect::messages_face::{MessagesFace, parse_count_tokens};
use tollgate::dialect::openai_chat::Chat;
use tollgate::dialect::openai_completions::Completions;
use tollgate::dialect::responses_face::Responses;
use tollgate::dialect::{Dialect, Face, Rendered, Target, embeddings as embedding};
use tollgate::error::GatewayError;

pub fn chat(bytes: &[u8]) {
    request(Operation::ChatCompletions, &Chat::of(bytes), bytes);
}

pub fn completions(bytes: &[u8]) {
    request(Operation::Completions, &Completions, bytes);
}

pub fn messages(bytes: &[u8]) {
    request(Operation::Messages, &MessagesFace, bytes);
    if let (Ok(asked), Ok(counted)) = (MessagesFace.parse(bytes), parse_count_tokens(bytes)) {
        assert_eq!(asked, counted);
    }
}

pub fn responses(bytes: &[u8]) {
    request(Operation::Responses, &Responses::echoing(bytes), bytes);
}

/// A request for embeddings, to every provider that has them: each text arrives.
pub fn embeddings(bytes: &[u8]) {
    let asked = match embedding::parse(bytes) {
        Ok(asked) => asked,
        Err(error) => return refused(&error),
    };
    for (name, dialect) in DIALECTS {
        for strict in [false, true] {
            let (able, options) = (Capabilities::default(), no_options());
            let target = Target {
                capabilities: &able,
                options: &options,
                strict,
            };
            let Ok(rendered) = dialect.embeddings(&asked, target) else {
                continue;
            };
            let body = well_formed(name, &rendered, strict);
            let mut texts = Vec::new();
            strict::texts(&body, &mut texts);
            for text in &asked.texts {
                assert!(
                    texts.contains(&text.as_str()),
                    "{name}: {text:?} is not in {body}"
                );
            }
        }
    }
}

/// A body that a parser refuses is the client's fault and named so; one that it takes is
/// rendered for every provider and kind of model.
fn request(operation: Operation, face: &dyn Face, bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let scanned = inspect(operation, Media::Json, "application/json", &body, 64);
    let asked = match face.parse(bytes) {
        Ok(asked) => asked,
        Err(error) => return refused(&error),
    };
    // Bodies that were not scanned never come here; parsers need not judge them.
    let Ok(scanned) = scanned else { return };
    assert_eq!(asked.model, scanned.model);
    assert_eq!(asked.stream, scanned.stream, "{}", shown(bytes));
    rendered(&asked);
}

fn refused(error: &GatewayError) {
    assert!((400..500).contains(&error.status()), "{error:?}");
    for (_, face) in faces() {
        strict::read(&face.error(error).1);
    }
}

/// Every provider's form of a conversation.
pub fn rendered(asked: &Conversation) {
    let options = no_options();
    for able in models() {
        for (name, dialect) in DIALECTS {
            let target = |strict| Target {
                capabilities: &able,
                options: &options,
                strict,
            };
            let lenient = dialect.chat(asked, target(false));
            let strict = dialect.chat(asked, target(true));
            match (&lenient, strict) {
                (Err(refusal), strict) => {
                    assert!(
                        !refusal.param.is_empty() && !refusal.reason.is_empty(),
                        "{name}: {refusal:?}"
                    );
                    assert!(
                        strict.is_err(),
                        "{name}: strict takes what lenient does not: {asked:?}"
                    );
                }
                (Ok(lenient), Ok(strict)) => assert_eq!((name, lenient), (name, &strict)),
                // Without a loss there is nothing to be strict about.
                (Ok(lenient), Err(refusal)) => {
                    // What is done in another way: a form of answer by a call, a `top_p` of 0.
                    let emulated = ["response_format", "top_p"].contains(&refusal.param.as_str());
                    assert!(
                        emulated || !lenient.dropped.is_empty(),
                        "{name}: {refusal:?} for {asked:?}"
                    );
                }
            }
            if let Ok(lenient) = lenient {
                let body = well_formed(name, &lenient, false);
                nothing_is_lost(name, asked, &body);
                again(name, dialect, asked, &able, &lenient);
            }
        }
    }
}

/// What is sent can be sent: JSON that says everything once, a path and headers without a
/// character that ends them.
fn well_formed(name: &str, rendered: &Rendered, strict: bool) -> Value {
    let Rendered {
        path,
        body,
        headers,
        dropped,
    } = rendered;
    assert!(
        path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()),
        "{name}: {path:?}"
    );
    for (header, value) in headers {
        let clean = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        assert!(clean(header) && clean(value), "{name}: {header}: {value}");
    }
    assert!(
        !strict || dropped.is_empty(),
        "{name}: strict, but dropped {dropped:?}"
    );
    let mut once = dropped.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), dropped.len(), "{dropped:?}");
    strict::read(body)
}

/// Rendering is a function: the same conversation is the same bytes.
fn again(
    name: &str,
    dialect: &dyn Dialect,
    asked: &Conversation,
    able: &Capabilities,
    first: &Rendered,
) {
    let options = no_options();
    let target = Target {
        capabilities: able,
        options: &options,
        strict: false,
    };
    assert_eq!(dialect.chat(asked, target).as_ref(), Ok(first), "{name}");
}

/// Every text that was said is in what is sent, whatever became of the form around it.
fn nothing_is_lost(name: &str, asked: &Conversation, body: &Value) {
    let mut texts = Vec::new();
    strict::texts(body, &mut texts);
    let is_there = |part: &str| {
        let part = part.trim();
        let json = serde_json::from_str::<Value>(part);
        part.is_empty()
            || texts.iter().any(|text| text.contains(part))
            || json.is_ok_and(|json| holds(body, &json))
    };
    for message in &asked.messages {
        for text in said(message) {
            assert!(is_there(text), "{name}: {text:?} is not in {body}");
        }
    }
    for tool in asked.tools.iter().filter(|tool| tool.foreign.is_none()) {
        if let Some(description) = &tool.description {
            let allowed = match &asked.tool_choice {
                Some(ToolChoice::None) => false,
                // Some providers know no better way to demand a tool than to offer no other.
                Some(ToolChoice::Function(name)) => *name == tool.name,
                Some(ToolChoice::Allowed { names, .. }) => names.contains(&tool.name),
                _ => true,
            };
            assert!(
                !allowed || is_there(description),
                "{name}: {description:?} is not in {body}"
            );
        }
    }
}

fn said(message: &Message) -> Vec<&str> {
    let parts: &[Part] = match message {
        Message::System { parts } | Message::User { parts, .. } | Message::Tool { parts, .. } => {
            parts
        }
        Message::Assistant(turn) => &turn.parts,
    };
    let text = |part: &Part| match &part.content {
        Content::Text(_) => part.as_text().map(|_| ()),
        _ => None,
    };
    parts
        .iter()
        .filter(|part| text(part).is_some())
        .filter_map(Part::as_text)
        .collect()
}
