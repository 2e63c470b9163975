//! Reading a provider's answer through its dialect: whole, or up to the first
//! event that says something.

use super::attempt::{Body, Form, Open, Plan, header_of, json, read};
use super::failure::{Failure, classify_in_band};
use super::held;
use super::passing::{Faults, decode};
use super::returned::Returned;
use super::translate::{self, Lane};
use super::upstream::media_type;
use crate::chat::{self, DecodeError, Event};
use crate::dialect::embeddings;
use pingora_http::ResponseHeader;
use std::time::{Duration, Instant};

/// Reads what makes the answer an answer.
pub async fn read_answer(
    plan: &Plan,
    open: Open,
    head: &ResponseHeader,
    form: Result<Form, &'static str>,
    by: Instant,
) -> Result<Body, Failure> {
    let streamed = media_type(head) == "application/vnd.amazon.eventstream"
        || matches!(form, Ok(Form::Events));
    match form {
        Err(why) => {
            open.cancel().await;
            Err(Failure::invalid(why))
        }
        Ok(_) if streamed && plan.stream => events(plan, open, by).await,
        Ok(Form::Json) if !plan.stream => whole(plan, open, head, by).await,
        // In place of a stream: an error, or a provider that does not stream.
        Ok(Form::Json) => events(plan, open, by).await,
        Ok(_) => {
            open.cancel().await;
            Err(Failure::invalid(
                "an answer of another media type than asked for",
            ))
        }
    }
}

async fn whole(
    plan: &Plan,
    open: Open,
    head: &ResponseHeader,
    by: Instant,
) -> Result<Body, Failure> {
    let wire = plan.provider.wire;
    // The dialect reads all of it, so a cut one is found out there.
    let body = json(plan, open, by, true).await?;
    if let Lane::Embeddings { base64 } = plan.sending.lane {
        let header = |name: &str| header_of(head, name);
        let vectors = wire.embedded(&header, &body).and_then(embeddings::finite);
        let vectors = vectors.map_err(|e| unreadable(&e))?;
        return Ok(Body::Vectors { vectors, base64 });
    }
    if plan.sending.lane == Lane::Count {
        let tokens = wire.counted(&body).map_err(|e| unreadable(&e))?;
        return Ok(Body::Count {
            tokens,
            estimated: false,
        });
    }
    match wire
        .answer(&plan.model, &body)
        .map_err(|e| unreadable(&e))?
    {
        Ok(answer) => Ok(Body::Answer(Box::new(answer))),
        Err(failure) => Err(told(plan, failure)),
    }
}

/// Most events that are kept before one says something. A provider that sends
/// more of them is not starting an answer.
const HELD: usize = 1024;

/// Reads up to the first event that says something.
async fn events(plan: &Plan, mut open: Open, mut by: Instant) -> Result<Body, Failure> {
    let mut decoder = plan
        .provider
        .wire
        .decoder(&plan.model, plan.table.limits.event);
    let mut events = Vec::new();
    let mut faults = Faults::default();
    loop {
        match read(&mut open, by).await? {
            Some(piece) => {
                by = Instant::now() + plan.timeouts.idle;
                decode(&mut *decoder, piece, &mut faults, &mut events)
                    .map_err(|e| unreadable(&e))?;
            }
            None => {
                decoder.end(&mut events).map_err(|e| unreadable(&e))?;
                events.push(Event::End);
            }
        }
        let failed = events.iter().position(|e| matches!(e, Event::Failed(_)));
        let said = events.iter().position(says_something);
        match (failed, said) {
            (Some(at), said) if said.is_none_or(|said| at < said) => {
                open.cancel().await;
                let Event::Failed(failure) = events.swap_remove(at) else {
                    return Err(Failure::invalid("no failure"));
                };
                return Err(told(plan, failure));
            }
            (_, Some(_)) if plan.hold => {
                return held::decoded(plan, open, events, (decoder, faults)).await;
            }
            (_, Some(_)) => {
                return Ok(Body::Decoded {
                    events,
                    decoder,
                    faults,
                    open,
                });
            }
            (_, None) => {}
        }
        // A sign of life is nothing to show to a client that has no answer yet.
        events.retain(|event| *event != Event::Ping);
        if events.len() > HELD {
            open.cancel().await;
            return Err(Failure::invalid("no content in its first events"));
        }
    }
}

/// Whether an event is worth committing to: pings, an empty start and usage are
/// not.
pub(super) fn says_something(event: &Event) -> bool {
    match event {
        Event::Text { text, .. } | Event::Thought { text, .. } | Event::Refusal { text, .. } => {
            !text.is_empty()
        }
        Event::Start { .. }
        | Event::Ping
        | Event::Usage(_)
        | Event::Other(_)
        | Event::Failed(_) => false,
        _ => true,
    }
}

pub(super) fn unreadable(e: &DecodeError) -> Failure {
    match e {
        DecodeError::Truncated => Failure::truncated(e),
        DecodeError::Malformed(_) => Failure::invalid("not what its dialect says"),
        DecodeError::TooLong => Failure::invalid("an event over the limit"),
    }
}

/// A failure that came inside a success.
pub fn told(plan: &Plan, failure: chat::Failure) -> Failure {
    Failure {
        fault: classify_in_band(&failure),
        status: Some(200),
        retry_after: failure.retry_after.map(Duration::from_secs),
        error: translate::failed(failure, &plan.provider),
        returned: Returned::default(),
    }
}
