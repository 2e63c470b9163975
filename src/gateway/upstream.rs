//! The head of a request to a provider, built from nothing: what is not put
//! here does not leave.

use super::Ctx;
use super::dispatch::Outgoing;
use super::returned::VALUE_BYTES;
use super::translate::{Lane, Sending};
use crate::chat::{Media, Speech};
use crate::route::endpoint::Address;
use crate::table::Provider;
use bytes::Bytes;
use http::HeaderName;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::time::Instant;

/// Headers of a client that a provider may see, where bytes pass.
const fn forwarded(speech: Speech) -> &'static [&'static str] {
    match speech {
        Speech::Anthropic => &["idempotency-key", "anthropic-version", "anthropic-beta"],
        Speech::OpenAi | Speech::Responses => &["idempotency-key", "openai-beta"],
    }
}

/// Headers that ask for what may not be there after translation: they are named
/// to the client as dropped.
pub const ASKING: [&str; 2] = ["anthropic-beta", "openai-beta"];

/// The head of one attempt.
///
/// # Errors
/// Only if a value that was checked before is not a header value after all.
pub fn request_head(
    session: &Session,
    ctx: &Ctx,
    provider: &Provider,
    address: &Address,
    outgoing: &Outgoing,
    sending: &Sending,
) -> Result<RequestHeader> {
    let origin = &address.origin;
    let path = format!("{}{}", origin.path, sending.path);
    let length: usize = sending.pieces.iter().map(Bytes::len).sum();
    let mut head = RequestHeader::build("POST", path.as_bytes(), Some(16))?;
    head.insert_header(HOST, origin.authority.clone())?;
    match outgoing.call.media {
        Media::Json => head.insert_header(CONTENT_TYPE, "application/json")?,
        // The boundary is the client's; it was validated with the body.
        Media::Multipart => {
            head.insert_header(CONTENT_TYPE, outgoing.call.content_type.as_str())?
        }
    }
    head.insert_header(CONTENT_LENGTH, length)?;
    head.insert_header(
        ACCEPT,
        if outgoing.request.stream {
            "text/event-stream"
        } else {
            "*/*"
        },
    )?;
    // Nothing that we read and meter may come compressed.
    head.insert_header(ACCEPT_ENCODING, "identity")?;
    head.insert_header(USER_AGENT, crate::USER_AGENT)?;
    head.insert_header("x-request-id", ctx.request_id.as_str())?;
    head.insert_header("traceparent", ctx.trace.header())?;
    if provider.self_hosted {
        let left = ctx.deadline().saturating_duration_since(Instant::now());
        let left = left.as_millis().to_string();
        head.insert_header("x-tollgate-deadline-ms", left)?;
    }
    // A state without its parent belongs to no trace.
    let state = ctx.trace.continued.then_some("tracestate");
    let known = match sending.lane {
        Lane::Pass => forwarded(outgoing.call.operation.speech()),
        _ => &[],
    };
    for name in known.iter().copied().chain(state) {
        if let Some(value) = session.get_header(name).filter(|v| v.len() <= VALUE_BYTES) {
            head.insert_header(HeaderName::from_static(name), value.clone())?;
        }
    }
    for (name, value) in &sending.headers {
        // Where bytes pass, these only stand in for what the client left out.
        if sending.lane != Lane::Pass || !head.headers.contains_key(*name) {
            head.insert_header(*name, value.as_str())?;
        }
    }
    for (name, value) in &provider.headers {
        head.insert_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

/// The essence of a content type, in lower case.
pub fn media_type(head: &ResponseHeader) -> String {
    let value = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}
