//! Which lane a request takes to a target: its own bytes where both sides speak
//! the same format, else through the canonical conversation.

use super::attempt::{Body, Served};
use super::dispatch::Outgoing;
use crate::chat::{
    Conversation, Encoder, Failure, Limit, Operation, Rewrite, Speech, Unsupported, estimate,
};
use crate::dialect::messages_face::{self, MessagesFace};
use crate::dialect::openai_chat::{self, Chat};
use crate::dialect::openai_completions::Completions;
use crate::dialect::responses_face::{self, Responses};
use crate::dialect::{self, Face, Label, Rendered, embeddings, openai};
use crate::error::{ErrorKind, GatewayError};
use crate::table::{Provider, Target};
use bytes::Bytes;
use std::time::{SystemTime, UNIX_EPOCH};

/// How the answer of a target is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Bytes pass.
    Pass,
    /// A conversation is translated.
    Chat,
    /// Embeddings are; the client may want them as base64.
    Embeddings { base64: bool },
    /// A conversation's tokens are counted by the provider.
    Count,
    /// They are estimated here: the provider has no counter.
    Estimate { tokens: u64 },
}

/// One target's request.
pub struct Sending {
    pub lane: Lane,
    /// Below the base URL, query included.
    pub path: String,
    pub pieces: Vec<Bytes>,
    pub headers: Vec<(&'static str, String)>,
    /// Names of the client's fields that were left out.
    pub dropped: Vec<String>,
}

/// The client's format.
pub fn face(operation: Operation, body: &[u8]) -> Box<dyn Face> {
    match operation.speech() {
        Speech::Anthropic => Box::new(MessagesFace),
        Speech::Responses => Box::new(Responses::echoing(body)),
        Speech::OpenAi if operation == Operation::Completions => Box::new(Completions),
        Speech::OpenAi => Box::new(Chat::of(body)),
    }
}

/// Writes the request for `target`.
///
/// # Errors
/// 400 when the target cannot carry it, or the client's format was not kept.
pub fn prepare(
    outgoing: &Outgoing,
    target: &Target,
    strict: bool,
) -> Result<Sending, GatewayError> {
    let (operation, provider) = (outgoing.call.operation, &target.provider);
    if provider.speaks(operation) && !brings_back_ours(operation, &outgoing.body) {
        return Ok(Sending {
            lane: Lane::Pass,
            path: provider.path(operation, &target.model),
            pieces: outgoing.passed(target),
            headers: provider.wire.headers(&provider.options),
            dropped: Vec::new(),
        });
    }
    let capabilities = provider.capabilities(&target.model);
    let asked = dialect::Target {
        capabilities: &capabilities,
        options: &provider.options,
        strict,
    };
    let (lane, rendered) = match operation {
        Operation::ChatCompletions
        | Operation::Completions
        | Operation::Messages
        | Operation::Responses => {
            let mut conversation = outgoing.conversation()?.clone();
            conversation.model.clone_from(&target.model);
            // Whoever is not to be told has to be charged all the same.
            conversation.include_usage = conversation.stream;
            if let Some(most) = outgoing.max_output {
                let asked = conversation.max_tokens.unwrap_or(most);
                conversation.max_tokens = Some(asked.min(most));
            }
            (Lane::Chat, provider.wire.chat(&conversation, asked))
        }
        operation if operation.counts() => {
            let mut conversation = outgoing.conversation()?.clone();
            conversation.model.clone_from(&target.model);
            match provider.wire.count_tokens(&conversation, asked) {
                Ok(Some(rendered)) => (Lane::Count, Ok(rendered)),
                Ok(None) => {
                    let tokens = estimate::tokens(&conversation);
                    (Lane::Estimate { tokens }, Ok(Rendered::default()))
                }
                Err(e) => (Lane::Count, Err(e)),
            }
        }
        Operation::Embeddings => {
            let mut request = embeddings::parse(&outgoing.body)?;
            request.model.clone_from(&target.model);
            let base64 = request.base64;
            let rendered = provider.wire.embeddings(&request, asked);
            (Lane::Embeddings { base64 }, rendered)
        }
        _ => return Err(no_such_endpoint(provider)),
    };
    let Rendered {
        path,
        body,
        headers,
        mut dropped,
    } = rendered.map_err(|e| refuse(outgoing, e))?;
    if !dropped.is_empty() {
        let face = face(operation, &outgoing.body);
        let words = dropped.iter().map(|name| face.field(&outgoing.body, name));
        dropped = words.collect();
    }
    dropped.sort_unstable();
    Ok(Sending {
        lane,
        path,
        pieces: vec![body.into()],
        headers,
        dropped,
    })
}

/// Writes a conversation for `target` that is not as the client sent it.
///
/// # Errors
/// 400 when the target cannot carry it.
pub fn render(
    outgoing: &Outgoing,
    target: &Target,
    conversation: &Conversation,
    strict: bool,
) -> Result<Sending, GatewayError> {
    let provider = &target.provider;
    let asked = dialect::Target {
        capabilities: &provider.capabilities(&target.model),
        options: &provider.options,
        strict,
    };
    let rendered = provider.wire.chat(conversation, asked);
    let rendered = rendered.map_err(|e| refuse(outgoing, e))?;
    Ok(Sending {
        lane: Lane::Chat,
        path: rendered.path,
        pieces: vec![rendered.body.into()],
        headers: rendered.headers,
        // Names of fields are told with the head, which the client has.
        dropped: Vec::new(),
    })
}

/// Whether a request holds thoughts in a form that the gateway gave them: of
/// another provider's model, from an earlier turn of the conversation.
fn brings_back_ours(operation: Operation, body: &[u8]) -> bool {
    match operation {
        Operation::Messages => messages_face::is_tagged(body),
        Operation::Responses => responses_face::is_sealed(body),
        _ => false,
    }
}

fn no_such_endpoint(provider: &Provider) -> GatewayError {
    let text = format!(
        "The provider '{}' of this model has no such endpoint.",
        provider.name
    );
    GatewayError::new(ErrorKind::InvalidRequest, text)
}

fn refuse(outgoing: &Outgoing, e: Unsupported) -> GatewayError {
    let face = face(outgoing.call.operation, &outgoing.body);
    let e = face.worded(&outgoing.body, e);
    GatewayError::new(ErrorKind::InvalidValue, e.reason).with_param(Some(e.param))
}

/// A provider's failure in our words.
pub fn failed(failure: Failure, provider: &Provider) -> GatewayError {
    openai::refusal(failure, |text| provider.scrub(text))
}

impl Outgoing {
    /// The client's own bytes for a target of its format: with the target's
    /// model, and asking for the usage that has to be paid.
    fn passed(&self, target: &Target) -> Vec<Bytes> {
        let (operation, provider) = (self.call.operation, &target.provider);
        let is_chat = matches!(
            operation,
            Operation::ChatCompletions | Operation::Completions
        );
        let field = match operation {
            Operation::Responses => "max_output_tokens",
            Operation::ChatCompletions => openai_chat::limit_field(&provider.options),
            _ => "max_tokens",
        };
        let limit = |tokens| Limit { tokens, field };
        let rewrite = Rewrite {
            model: &target.model,
            include_usage: is_chat
                && self.request.stream
                && openai_chat::takes_stream_options(&provider.options),
            max_output: self.max_output.map(limit),
        };
        self.request.rewritten(&self.body, &rewrite)
    }

    /// The conversation that the body is, read once for all targets.
    pub fn conversation(&self) -> Result<&Conversation, GatewayError> {
        let parsed = self.parsed.get_or_init(|| match self.call.operation {
            // A limit of the answer is not asked of who wants none.
            Operation::CountTokens => messages_face::parse_count_tokens(&self.body),
            operation => face(operation, &self.body).parse(&self.body),
        });
        parsed.as_ref().map_err(Clone::clone)
    }
}

/// How to write to this client what is not passed on as it came.
pub struct Voice {
    pub face: Box<dyn Face>,
    pub label: Label,
}

/// The voice for an answer. One that passes needs it for errors only, so the
/// body is not read again for it.
pub fn voice(outgoing: &Outgoing, served: &Served, request_id: &str) -> Voice {
    let operation = outgoing.call.operation;
    let translated = matches!(served.body, Body::Answer(_) | Body::Decoded { .. });
    let body: &[u8] = if translated { &outgoing.body } else { b"{}" };
    let created = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let include_usage = translated && outgoing.conversation().is_ok_and(|c| c.include_usage);
    let label = Label {
        model: outgoing.request.model.clone(),
        // Unique as the request is; the ids of its parts are made of it.
        seed: request_id
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect(),
        created,
        include_usage,
        id: None,
    };
    Voice {
        face: face(operation, body),
        label,
    }
}

impl Voice {
    /// A new stream in the client's format.
    pub fn encoder(&self) -> Box<dyn Encoder> {
        self.face.encoder(self.label.clone())
    }
}
