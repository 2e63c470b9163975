//! The head of a request to a provider, built from nothing: what is not put
//! here does not leave. And the way back: which of a provider's headers a
//! client may see.

use super::Ctx;
use super::dispatch::Outgoing;
use super::translate::{Lane, Sending};
use crate::chat::Media;
use crate::route::endpoint::Address;
use crate::table::Provider;
use bytes::Bytes;
use http::HeaderName;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::time::Duration;

/// Headers of a client that a provider may see.
const FORWARDED: [&str; 4] = [
    "openai-beta",
    "idempotency-key",
    "anthropic-version",
    "anthropic-beta",
];

/// Headers of a provider that a client may see, besides `x-ratelimit-*`.
const RETURNED: [&str; 6] = [
    "content-type",
    "openai-processing-ms",
    "openai-version",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
];

/// Longest value of a header that is passed on in either direction.
const VALUE_BYTES: usize = 1024;

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
    // A state without its parent belongs to no trace.
    let state = ctx.trace.continued.then_some("tracestate");
    let known = FORWARDED.into_iter().filter(|_| sending.lane == Lane::Pass);
    for name in known.chain(state) {
        if let Some(value) = session.get_header(name).filter(|v| v.len() <= VALUE_BYTES) {
            head.insert_header(HeaderName::from_static(name), value.clone())?;
        }
    }
    for (name, value) in &sending.headers {
        head.insert_header(*name, value.as_str())?;
    }
    for (name, value) in &provider.headers {
        head.insert_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

/// Copies what a client may see of a provider's answer.
pub fn return_headers(from: &ResponseHeader, to: &mut ResponseHeader, provider: &Provider) {
    for (name, value) in &from.headers {
        let allowed =
            RETURNED.contains(&name.as_str()) || name.as_str().starts_with("x-ratelimit-");
        let Ok(text) = value.to_str() else { continue };
        if allowed && text.len() <= VALUE_BYTES && provider.scrub(text) == text {
            // The first of several: two content types are none.
            if !to.headers.contains_key(name) {
                let _ = to.insert_header(name.clone(), value.clone());
            }
        }
    }
}

/// `Retry-After` in seconds; its other form, a date, is left to the defaults.
pub fn retry_after(head: &ResponseHeader) -> Option<Duration> {
    let text = |name| {
        head.headers
            .get(name)
            .and_then(|v: &http::HeaderValue| v.to_str().ok())
    };
    let millis = text("retry-after-ms")
        .and_then(|t| t.trim().parse().ok())
        .map(Duration::from_millis);
    millis.or_else(|| {
        text("retry-after")
            .and_then(|t| t.trim().parse().ok())
            .map(Duration::from_secs)
    })
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
