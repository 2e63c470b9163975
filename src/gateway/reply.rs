//! Answers that the gateway gives by itself, and errors above all.
//!
//! Pingora's own `respond_error` closes the connection and answers with an
//! empty body; these keep the connection where that is safe and speak OpenAI.

use super::relay::{write, write_head};
use super::translate::face;
use super::{Ctx, Stop};
use crate::chat::{Operation, Speech};
use crate::dialect::responses_face::Responses;
use crate::dialect::{Face, Label, messages_face, openai, rate_limits};
use crate::error::{ErrorKind, GatewayError};
use crate::wire::percent;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::time::Duration;

/// How long a refused upload is read on, so that its sender gets to read why.
/// Closing at once would reset the connection under the answer.
const LINGER: Duration = Duration::from_secs(2);

/// Sets what holds for the whole exchange with this client.
pub fn prepare(session: &mut Session, ctx: &Ctx) {
    let times = &ctx.table.times;
    let down = &mut session.downstream_session;
    // The net below the total time of a body, which has its own timer.
    down.set_read_timeout(Some(times.body + Duration::from_secs(5)));
    down.set_write_timeout(Some(times.client_stall));
    down.set_total_drain_timeout(Some(LINGER));
    // Without this a pipelined request during an answer counts as an error.
    down.set_pipelining_enabled(true);
    if down.get_keepalive().is_some() {
        down.set_keepalive(Some(times.idle.as_secs().max(1)));
    }
}

/// A response head with what every answer of ours carries.
pub fn head(status: u16, ctx: &Ctx) -> Result<ResponseHeader, Stop> {
    let mut head = ResponseHeader::build(status, Some(12)).map_err(|_| Stop::Gone)?;
    put(&mut head, "x-request-id", &ctx.request_id);
    if ctx.speech == Speech::Anthropic {
        // The name that Anthropic's clients read.
        put(&mut head, "request-id", &ctx.request_id);
    }
    put(&mut head, "traceparent", &ctx.trace.header());
    Ok(head)
}

/// Adds a header whose value is known to be harmless; one that is not is left out.
pub fn put(head: &mut ResponseHeader, name: &'static str, value: &str) {
    let _ = head.insert_header(name, value);
}

/// Answers with JSON.
pub async fn json(
    session: &mut Session,
    ctx: &mut Ctx,
    mut head: ResponseHeader,
    body: Vec<u8>,
) -> Result<(), Stop> {
    put(&mut head, "content-type", "application/json");
    whole(session, ctx, head, body.into()).await
}

/// Answers with a body of known length.
pub async fn whole(
    session: &mut Session,
    ctx: &mut Ctx,
    mut head: ResponseHeader,
    body: Bytes,
) -> Result<(), Stop> {
    // No content has no length (RFC 9110, 8.6).
    if head.status != StatusCode::NO_CONTENT {
        head.insert_header(CONTENT_LENGTH, body.len())
            .map_err(|_| Stop::Gone)?;
    }
    ctx.record.status = head.status.as_u16();
    let length = body.len() as u64;
    ctx.first_byte();
    let down = &mut session.downstream_session;
    let bare = down.req_header().method == Method::HEAD;
    write_head(down, ctx, head).await?;
    let body = if bare { Bytes::new() } else { body };
    write(down, ctx, body, true).await?;
    ctx.record.response_bytes = if bare { 0 } else { length };
    Ok(())
}

/// Tells an error as the only event of a stream whose head is out already.
async fn refuse_in_band(
    session: &mut Session,
    ctx: &mut Ctx,
    error: &GatewayError,
) -> Result<(), Stop> {
    let operation = match ctx.speech {
        Speech::OpenAi => Operation::ChatCompletions,
        Speech::Anthropic => Operation::Messages,
        Speech::Responses => Operation::Responses,
    };
    let mut event = Vec::new();
    let label = Label::default();
    face(operation, b"{}")
        .encoder(label)
        .fail(error, &mut event);
    write(&mut session.downstream_session, ctx, event.into(), true).await
}

/// Answers with an error in the client's dialect; in band where that is all that
/// is left.
pub async fn refuse(session: &mut Session, ctx: &mut Ctx, error: GatewayError) -> Result<(), Stop> {
    ctx.refused(&error);
    if ctx.company.head_sent {
        return refuse_in_band(session, ctx, &error).await;
    }
    let (status, body) = match ctx.speech {
        Speech::OpenAi => (error.status(), openai::error_body(&error)),
        Speech::Anthropic => messages_face::error(&error, &ctx.request_id),
        Speech::Responses => Responses::default().error(&error),
    };
    let mut head = head(status, ctx)?;
    let returned = std::mem::take(&mut ctx.returned);
    returned.write(&mut head);
    if let Some(after) = error.retry_after() {
        // Rounded up: coming back a moment too early is another refusal.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        put(&mut head, "retry-after", &seconds.to_string());
        if let Some(millis) = &returned.retry_after_ms {
            put(&mut head, "retry-after-ms", millis);
        }
    }
    if is_final(&error) {
        // The official SDKs would try a 429 or 5xx again.
        put(&mut head, "x-should-retry", "false");
    }
    if let Some(allow) = error.allow() {
        put(&mut head, "allow", allow);
    }
    attribution(&mut head, ctx);
    limits(&mut head, ctx);
    json(session, ctx, head, body).await?;
    // Whoever is being refused must not keep others out while it is let down gently.
    drop(ctx.leave());
    linger(&mut session.downstream_session).await;
    Ok(())
}

/// Whether trying again brings the same, though the status says otherwise.
fn is_final(error: &GatewayError) -> bool {
    match error.kind {
        ErrorKind::UpstreamAuth
        | ErrorKind::QuotaExhausted
        | ErrorKind::BudgetExceeded
        | ErrorKind::NoCandidate
        | ErrorKind::PriceUnknown => true,
        // It is more than the limit allows at all, or the limit is for ever.
        ErrorKind::LimitReached => error.retry_after().is_none(),
        _ => false,
    }
}

/// What is left of the client's own limits, in OpenAI's words. They stand in
/// place of the provider's, whose limits are not the client's.
pub fn limits(head: &mut ResponseHeader, ctx: &Ctx) {
    let left = [
        ctx.standing.requests.map(|left| (left, REQUESTS)),
        ctx.standing.tokens.map(|left| (left, TOKENS)),
    ];
    for (left, [limit, remaining, reset]) in left.into_iter().flatten() {
        put(head, limit, &left.limit.to_string());
        put(head, remaining, &left.remaining.to_string());
        put(head, reset, &rate_limits::duration(left.reset));
    }
}

const REQUESTS: [&str; 3] = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];
const TOKENS: [&str; 3] = [
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];

/// Who served the request, as far as anybody did.
pub fn attribution(head: &mut ResponseHeader, ctx: &Ctx) {
    let record = &ctx.record;
    if let (true, Some(decision)) = (ctx.explains, &record.decision) {
        put(head, "x-tollgate-decision", &decision_of(decision));
    }
    if record.attempts.is_empty() {
        return;
    }
    if let (Some(provider), Some(model)) = (&record.provider, &record.upstream_model) {
        for (name, value) in [
            ("x-tollgate-provider", provider),
            ("x-tollgate-model", model),
        ] {
            if is_header_safe(value) {
                put(head, name, value);
            }
        }
    }
    if !ctx.dropped.is_empty() {
        put(head, "x-tollgate-dropped", &listed_names(&ctx.dropped));
    }
    put(
        head,
        "x-tollgate-attempts",
        &record.attempts.len().to_string(),
    );
}

/// Strings that a client may have chosen enter a header only if they match
/// `^[A-Za-z0-9._:/@+-]{1,256}$`.
fn is_header_safe(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._:/@+-".contains(&b))
}

/// A decision, whose names may be a client's: a target of a wildcard route.
fn decision_of(text: &str) -> String {
    const ROOM: usize = 1024;
    let is_plain = |c: char| c.is_ascii_graphic() || c == ' ';
    let plain = text.chars().map(|c| if is_plain(c) { c } else { '?' });
    plain.take(ROOM).collect()
}

/// A list of a client's field names, such as `tools[0].strict`. They are the
/// client's own texts, so what is no plain letter is percent-encoded; what the
/// header has no room for is counted: `a,b,+12`.
fn listed_names(names: &[String]) -> String {
    const ROOM: usize = 1024;
    let mut list = String::new();
    for (at, name) in names.iter().enumerate() {
        let mut encoded = String::with_capacity(name.len());
        percent::encode_but(name, b"[]", &mut encoded);
        if list.len() + encoded.len() > ROOM {
            let rest = names.len() - at;
            let comma = if list.is_empty() { "" } else { "," };
            list.push_str(&format!("{comma}+{rest}"));
            break;
        }
        if at > 0 {
            list.push(',');
        }
        list.push_str(&encoded);
    }
    list
}

/// Reads on what is left of a refused request, for a moment.
async fn linger(session: &mut ServerSession) {
    let rest = async {
        while !session.is_body_done() {
            match session.read_request_body().await {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        listed_names(&names)
    }

    #[test]
    fn every_name_that_was_left_out_is_told_or_counted() {
        assert_eq!(listed(&["seed", "tools[0].strict"]), "seed,tools[0].strict");
        assert_eq!(listed(&["a b,c", "\r\nx: y"]), "a%20b%2Cc,%0D%0Ax%3A%20y");
        let long = "x".repeat(600);
        assert_eq!(listed(&[&long, &long, "seed"]), format!("{long},+2"));
        assert_eq!(listed(&[&"x".repeat(2000)]), "+1");
    }
}
