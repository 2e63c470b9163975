//! Another provider goes on with a stream that broke off.
//!
//! The client sees one stream: one id, one finish, and the usage of all who
//! took part. A model that can go on with a text is given the text so far as
//! the assistant's last message. One that cannot is asked anew, and goes on
//! only if it says the very same (see [`super::seam`]). Whatever does not fit
//! ends the stream with an error, never with a finish.
//!
//! Only plain text is continued (see [`super::transcript`]), and only where
//! nothing but text was asked for: no tools, no JSON, no log probabilities, one
//! answer.

use super::attempt::{Body, Served};
use super::dispatch::{self, Outgoing};
use super::relay::{End, Expected};
use super::relay_translated::{Source, Telling, Translation};
use super::seam::Seam;
use super::transcript::{Passed, Transcript};
use super::translate;
use super::trip::Trip;
use super::watch::late;
use super::{Ctx, Gateway, Stop};
use crate::chat::{Conversation, Format, Message, Operation, Part, Turn, Usage, estimate};
use crate::dialect::asks_for_more;
use crate::error::{ErrorKind, GatewayError};
use crate::route::pace::tokens_in;
use crate::table::{Dialect, OnBreak, Provider, Target};
use pingora_proxy::Session;

/// What it takes to ask somebody else.
pub(super) struct Rescue {
    outgoing: Outgoing,
    trip: Trip,
}

impl Rescue {
    /// Keeps what is needed, if the stream of this answer may be continued.
    pub fn of(outgoing: Outgoing, trip: Trip, served: &Served) -> Option<Self> {
        let continues = outgoing.terms.on_break == OnBreak::Continue
            && outgoing.request.stream
            && outgoing.request.choices == 1
            && trip.has_more();
        let operation = outgoing.call.operation;
        let streams = match served.body {
            // A completion that passes comes from a model that does not chat, and of
            // Responses that pass only their provider knows what is in them.
            Body::Events { .. } => {
                matches!(operation, Operation::ChatCompletions | Operation::Messages)
            }
            Body::Decoded { .. } => true,
            _ => false,
        };
        (continues && streams).then_some(Self { outgoing, trip })
    }

    /// The request, if its answer is a plain text.
    fn asked(&self) -> Option<&Conversation> {
        let asked = self.outgoing.conversation().ok()?;
        is_plain(asked).then_some(asked)
    }

    /// Takes a stream over whose bytes passed so far: an encoder that stands
    /// where the client does.
    pub fn take_over(
        &self,
        ctx: &Ctx,
        expected: &Expected,
        provider: &Provider,
        passed: &Passed,
    ) -> Option<Telling> {
        let model = ctx.record.upstream_model.as_deref().unwrap_or_default();
        let events = passed.read(provider, model, ctx.table.limits.event)?;
        let mut label = expected.voice.label.clone();
        label.include_usage = self.asked()?.include_usage;
        passed.name(&mut label);
        let mut encoder = expected.voice.face.encoder(label);
        let mut transcript = Transcript::default();
        let mut sent_already = Vec::new();
        for event in events {
            transcript.note(&event);
            encoder.encode(event, &mut sent_already);
        }
        transcript.text()?;
        Some(Telling {
            encoder,
            transcript: Some(transcript),
            seam: None,
        })
    }

    /// Asks others to go on, until one has to the end or nobody can. The error
    /// is what the client is told if nobody does.
    pub async fn run(
        mut self,
        gateway: &Gateway,
        session: &mut Session,
        ctx: &mut Ctx,
        expected: &Expected,
        mut telling: Telling,
        mut lost: GatewayError,
    ) -> (Option<super::attempt::Open>, End, Telling) {
        loop {
            let Some(begun) = self.begun(&telling) else {
                return (None, End::Lost(lost), telling);
            };
            let broken = ctx.record.provider.clone();
            ctx.broke_off();
            let (target, served) = match self.ask(gateway, session, ctx, &begun).await {
                Ok(answer) => answer,
                Err(Stop::Gone) => return (None, End::Gone, telling),
                Err(Stop::Refuse(error)) if is_final(error.kind) => {
                    return (None, End::Over(error), telling);
                }
                Err(_) => return (None, End::Lost(lost), telling),
            };
            let Body::Decoded {
                events,
                decoder,
                faults,
                open,
            } = served.body
            else {
                return (None, End::Lost(lost), telling);
            };
            if let Some(broken) = broken {
                ctx.metrics.failover.stream_broke(&broken, true);
            }
            telling.seam = Some(begun.seam(&target));
            let source = Source {
                decoder,
                faults,
                open,
            };
            let provider = served.provider;
            let mut stream = Translation::new(ctx, expected, &provider, source, telling);
            let end = stream.relay(session, events).await;
            let open;
            (open, telling) = stream.finish();
            match end {
                End::Lost(error) => {
                    open.cancel().await;
                    lost = error;
                }
                end => return (Some(open), end, telling),
            }
        }
    }

    /// Where the stream stands, if it can be gone on with.
    fn begun(&self, telling: &Telling) -> Option<Begun> {
        let asked = self.asked()?;
        let transcript = telling.transcript.as_ref()?;
        let text = transcript.text()?;
        let prompt = estimate::tokens(asked);
        Some(Begun {
            text: text.to_owned(),
            spent: match &telling.seam {
                Some(seam) => seam.spent(),
                None => transcript.spent(|| prompt),
            },
            prompt,
        })
    }

    async fn ask(
        &mut self,
        gateway: &Gateway,
        session: &mut Session,
        ctx: &mut Ctx,
        begun: &Begun,
    ) -> Result<(Target, Served), Stop> {
        let (outgoing, trip) = (&self.outgoing, &mut self.trip);
        let asked = outgoing.conversation()?;
        let write = |target: &Target| {
            let asked = begun.ask_of(target, asked);
            translate::render(outgoing, target, &asked, outgoing.terms.strict)
        };
        let answer_by = ctx.answer_by();
        // Boxed: it is as large as all of a request's way to its provider.
        let resumed = Box::pin(dispatch::resume(
            gateway,
            session,
            ctx,
            trip,
            outgoing,
            (&write, begun.text.len() as u64),
        ));
        // Whatever it waits for, it waits no longer than the request's deadline, and
        // that is the answer's where one is asked. It is not cut off from without:
        // what attempts have used would be forgotten.
        match resumed.await {
            Err(Stop::Refuse(error))
                if answer_by.is_some() && error.kind == ErrorKind::DeadlineExceeded =>
            {
                Err(late().into())
            }
            other => other,
        }
    }
}

/// An answer that was begun.
struct Begun {
    text: String,
    /// By all who took part.
    spent: Usage,
    /// Estimated tokens of the client's request.
    prompt: u64,
}

impl Begun {
    /// The request for `target`.
    fn ask_of(&self, target: &Target, asked: &Conversation) -> Conversation {
        let mut asked = asked.clone();
        asked.model.clone_from(&target.model);
        asked.include_usage = true;
        if self.is_given_to(target) {
            give(&mut asked, self.text.trim_end());
            // What was said is a part of what may be said, and is no thinking.
            let said = tokens_in(&self.text);
            let left = asked
                .max_tokens
                .map(|most| most.saturating_sub(said).max(1));
            asked.max_tokens = left;
            asked.reasoning = None;
        }
        asked
    }

    /// Whether the model is given the text, rather than asked anew.
    fn is_given_to(&self, target: &Target) -> bool {
        !self.text.trim_end().is_empty() && goes_on(target)
    }

    fn seam(&self, target: &Target) -> Seam {
        match self.is_given_to(target) {
            true => {
                let prompt = self.prompt.saturating_add(tokens_in(&self.text));
                Seam::given(&self.text, self.spent, prompt)
            }
            false => Seam::again(&self.text, self.spent, self.prompt),
        }
    }
}

/// Whether a model is known to go on with the assistant's last message. The
/// capability alone is no proof, for it is also what is taken of a model that
/// nobody described: Anthropic's format promises it, and refuses with 400
/// where a model does not; of Bedrock's models it is Claude; to OpenAI's such a
/// message is a turn that is over, unless the provider has a flag for it. Of
/// Gemini and Cohere nothing is promised.
fn goes_on(target: &Target) -> bool {
    let provider = &target.provider;
    let promised = match provider.dialect {
        Dialect::Anthropic => true,
        Dialect::Bedrock => target.model.contains("claude"),
        Dialect::OpenAi | Dialect::Azure => provider.options.contains_key("prefill"),
        Dialect::Gemini | Dialect::Vertex | Dialect::Cohere => false,
    };
    promised && provider.capabilities(&target.model).prefill
}

/// Puts the text so far at the end of the conversation. A client that began the
/// answer itself finds its beginning gone on with.
fn give(asked: &mut Conversation, text: &str) {
    if let Some(Message::Assistant(turn)) = asked.messages.last_mut() {
        match turn.parts.last_mut().map(|part| &mut part.content) {
            Some(crate::chat::Content::Text(begun)) => begun.push_str(text),
            _ => turn.parts.push(Part::text(text)),
        }
        return;
    }
    asked.messages.push(Message::Assistant(Turn {
        parts: vec![Part::text(text)],
        ..Turn::default()
    }));
}

/// Whether nothing but one text is asked for.
fn is_plain(asked: &Conversation) -> bool {
    asked.tools.is_empty()
        && asked.format == Format::Text
        && asked.logprobs.is_none()
        && asked.n.unwrap_or(1) == 1
        && !asked.other.contains_key("mcp_servers")
        && !asks_for_more(asked)
}

/// Whether the client is told this rather than why its stream broke off.
const fn is_final(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Stopping | ErrorKind::DeadlineExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(messages: Vec<Message>) -> Conversation {
        Conversation {
            messages,
            ..Conversation::default()
        }
    }

    fn user() -> Message {
        Message::User {
            parts: vec![Part::text("hello")],
            name: None,
        }
    }

    fn last_text(asked: &Conversation) -> Option<&str> {
        match asked.messages.last()? {
            Message::Assistant(turn) => turn.parts.last()?.as_text(),
            _ => None,
        }
    }

    #[test]
    fn the_text_so_far_is_the_assistants_last_message() {
        let mut fresh = asked(vec![user()]);
        give(&mut fresh, "one two");
        assert_eq!(
            (fresh.messages.len(), last_text(&fresh)),
            (2, Some("one two"))
        );
        let begun = Message::Assistant(Turn {
            parts: vec![Part::text("zero")],
            ..Turn::default()
        });
        let mut begun = asked(vec![user(), begun]);
        give(&mut begun, " one");
        assert_eq!(
            (begun.messages.len(), last_text(&begun)),
            (2, Some("zero one"))
        );
    }

    #[test]
    fn more_than_a_text_is_not_continued() {
        assert!(is_plain(&asked(vec![user()])));
        let with = |change: fn(&mut Conversation)| {
            let mut asked = asked(vec![user()]);
            change(&mut asked);
            is_plain(&asked)
        };
        assert!(!with(|a| a.tools.push(crate::chat::Tool::default())));
        assert!(!with(|a| a.format = Format::JsonObject));
        assert!(!with(|a| a.n = Some(2)));
        assert!(!with(
            |a| a.logprobs = Some(crate::chat::Logprobs::default())
        ));
        assert!(!with(|a| {
            a.other
                .insert("web_search_options".to_owned(), serde_json::json!({}));
        }));
    }
}
