//! The request's head and body, bounded, before anything believes them.
//!
//! The key is checked before the body is read: somebody without one cannot
//! make the gateway hold 32 MiB. Pingora reads a body in pieces of at most
//! 64 KiB and has no total time limit (none at all on HTTP/2), so both are
//! added here.

use super::Ctx;
use super::Stop;
use super::models::Page;
use super::trace::{TraceParent, request_id};
use crate::chat::{Media, Operation};
use crate::error::{ErrorKind, GatewayError};
use crate::identity::Principal;
use crate::telemetry::Traces;
use crate::units::Moment;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING,
};
use http::{Method, Version};
use pingora_core::Error;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What the request line asks for.
pub enum Asked {
    Models(Page),
    Model(String),
    Call(Call),
}

/// A call that carries a model in its body.
#[derive(Debug, Clone)]
pub struct Call {
    pub operation: Operation,
    pub media: Media,
    pub content_type: String,
}

/// First allocation for a body without a length: many are smaller.
const FIRST_GUESS: usize = 64 << 10;

/// Writes down who came and under which ids, before anything can be refused.
pub fn arrive(session: &Session, ctx: &mut Ctx, traces: &Traces) {
    let head = session.req_header();
    ctx.arrived(session);
    ctx.request_id = request_id(one(head, "x-request-id"));
    let sent = one(head, "traceparent");
    ctx.trace = TraceParent::continue_or_start(sent, |id| traces.samples(id));
}

/// Reads the head: sizes, host, what is asked for.
///
/// # Errors
/// 404, 405, 411, 413, 414, 415 and 431, each for what its name says.
pub fn head(session: &Session, ctx: &mut Ctx) -> Result<Asked, GatewayError> {
    let head = session.req_header();
    sizes(head, ctx)?;
    host(head)?;
    let asked = route(head)?;
    if matches!(asked, Asked::Call(_)) {
        if let Some(least) = deadline(head)? {
            ctx.lower_deadline(least);
        }
        let declared = content_length(head);
        if declared.is_none() && head.version != Version::HTTP_2 && !is_chunked(head) {
            let text = "The request has no length; send Content-Length.";
            return Err(GatewayError::new(ErrorKind::LengthRequired, text));
        }
        if declared.is_some_and(|n| n > ctx.table.limits.body) {
            return Err(too_large(ctx.table.limits.body));
        }
    }
    Ok(asked)
}

/// The single value of a header; a repeated one is as good as none.
fn one<'a>(head: &'a RequestHeader, name: &str) -> Option<&'a [u8]> {
    let mut all = head.headers.get_all(name).iter();
    let first = all.next()?;
    all.next().is_none().then_some(first.as_bytes())
}

/// How long the client means to wait: the least of what its headers say.
fn deadline(head: &RequestHeader) -> Result<Option<Duration>, GatewayError> {
    let mut least: Option<Duration> = None;
    for (name, unit, in_seconds) in [
        ("x-tollgate-deadline-ms", "milliseconds", false),
        ("x-request-timeout", "seconds", true),
    ] {
        if !head.headers.contains_key(name) {
            continue;
        }
        let text = one(head, name).and_then(|v| std::str::from_utf8(v).ok());
        let time = text.map(str::trim).and_then(|text| match in_seconds {
            true => Duration::try_from_secs_f64(text.parse().ok()?).ok(),
            false => text.parse().ok().map(Duration::from_millis),
        });
        let Some(time) = time else {
            let text = format!("The header {name} is not a number of {unit}.");
            return Err(GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(name)));
        };
        least = Some(least.map_or(time, |other| other.min(time)));
    }
    Ok(least)
}

fn sizes(head: &RequestHeader, ctx: &Ctx) -> Result<(), GatewayError> {
    let limits = &ctx.table.limits;
    if head.raw_path().len() > limits.uri_bytes {
        return Err(GatewayError::new(
            ErrorKind::UriTooLong,
            format!(
                "The request target is longer than {} bytes.",
                limits.uri_bytes
            ),
        ));
    }
    let bytes: usize = head
        .headers
        .iter()
        .map(|(n, v)| n.as_str().len() + v.len())
        .sum();
    if bytes > limits.header_bytes || head.headers.len() > limits.header_fields {
        return Err(GatewayError::new(
            ErrorKind::HeadersTooLarge,
            format!(
                "The header is larger than {} bytes or {} fields.",
                limits.header_bytes, limits.header_fields
            ),
        ));
    }
    Ok(())
}

/// Every request names one host, and nothing but a host: what follows a `/` or
/// `#` in it would be read by some as part of a URL.
fn host(head: &RequestHeader) -> Result<(), GatewayError> {
    let named = match head.uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => one(head, HOST.as_str()),
    };
    let harmless = |b: &u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(b);
    match named {
        Some(name) if !name.is_empty() && name.iter().all(harmless) => Ok(()),
        None if head.version == Version::HTTP_10 => Ok(()),
        _ => {
            let text = "The Host header is missing or malformed.";
            Err(GatewayError::new(ErrorKind::InvalidRequest, text))
        }
    }
}

fn is_chunked(head: &RequestHeader) -> bool {
    one(head, TRANSFER_ENCODING.as_str()).is_some_and(|v| v.eq_ignore_ascii_case(b"chunked"))
}

fn route(head: &RequestHeader) -> Result<Asked, GatewayError> {
    let path = head.uri.path();
    if let Some(operation) = Operation::from_path(path) {
        allow(head, Method::POST, "POST")?;
        return call(head, operation).map(Asked::Call);
    }
    if path == "/v1/models" {
        allow(head, Method::GET, "GET")?;
        return Page::of(head.uri.query()).map(Asked::Models);
    }
    if path.starts_with("/v1/responses/") {
        return Err(not_kept());
    }
    let id = path.strip_prefix("/v1/models/").filter(|id| !id.is_empty());
    let Some(id) = id.and_then(percent_decoded) else {
        return Err(GatewayError::new(
            ErrorKind::UnknownUrl,
            "There is nothing at this URL.",
        ));
    };
    allow(head, Method::GET, "GET")?;
    Ok(Asked::Model(id))
}

/// A stored response could be at any provider: its id does not tell which.
fn not_kept() -> GatewayError {
    let text = "Responses are not stored here: there is none to read, cancel or delete. Send \
                'store': false, and the whole conversation in 'input'.";
    GatewayError::new(ErrorKind::UnknownUrl, text)
        .with_code(Some("response_not_found".to_owned()))
        .with_param(Some("response_id"))
}

fn allow(head: &RequestHeader, method: Method, name: &'static str) -> Result<(), GatewayError> {
    if head.method == method {
        return Ok(());
    }
    let text = format!("This URL answers to {name} only.");
    Err(GatewayError::new(ErrorKind::MethodNotAllowed, text).with_allow(name))
}

fn call(head: &RequestHeader, operation: Operation) -> Result<Call, GatewayError> {
    let refuse = |text: &'static str| Err(GatewayError::new(ErrorKind::UnsupportedMediaType, text));
    let encoding = head.headers.get(CONTENT_ENCODING).map(|v| v.as_bytes());
    if encoding.is_some_and(|e| !e.eq_ignore_ascii_case(b"identity")) {
        return refuse(
            "Compressed request bodies are not accepted; send it without Content-Encoding.",
        );
    }
    let Some(content_type) = one(head, "content-type").and_then(|v| std::str::from_utf8(v).ok())
    else {
        return refuse("Content-Type is missing; send application/json.");
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let media = if essence.eq_ignore_ascii_case("application/json") {
        Media::Json
    } else if essence.eq_ignore_ascii_case("multipart/form-data") {
        Media::Multipart
    } else {
        return refuse("This Content-Type is not accepted; send application/json.");
    };
    if !operation.accepts(media) {
        return refuse("This URL does not accept this Content-Type.");
    }
    Ok(Call {
        operation,
        media,
        content_type: content_type.to_owned(),
    })
}

/// Model ids may hold escaped characters; `None` when they do not decode.
pub(super) fn percent_decoded(id: &str) -> Option<String> {
    let mut out = Vec::with_capacity(id.len());
    let mut bytes = id.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let mut digit = || bytes.next().and_then(|d| char::from(d).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// The key's holder, from `Authorization: Bearer` or `x-api-key`.
///
/// # Errors
/// One 401 for a missing, unknown, disabled, revoked and expired key.
pub fn identify(session: &Session, ctx: &mut Ctx) -> Result<Arc<Principal>, GatewayError> {
    let head = session.req_header();
    let bearer = one(head, AUTHORIZATION.as_str()).and_then(|v| match v.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(key.trim_ascii()),
        _ => None,
    });
    let key = bearer
        .or_else(|| one(head, "x-api-key"))
        .unwrap_or_default();
    let now = Moment::from(SystemTime::now());
    let Some(who) = ctx.table.keys.find(key, now) else {
        return Err(GatewayError::new(
            ErrorKind::Unauthenticated,
            "No valid API key was given. Send it as Authorization: Bearer KEY.",
        ));
    };
    ctx.identified(&who);
    Ok(who)
}

fn content_length(head: &RequestHeader) -> Option<usize> {
    std::str::from_utf8(one(head, CONTENT_LENGTH.as_str())?)
        .ok()?
        .parse()
        .ok()
}

fn too_large(limit: usize) -> GatewayError {
    GatewayError::new(
        ErrorKind::BodyTooLarge,
        format!("The request body is larger than {limit} bytes."),
    )
}

/// The whole body, however it is framed, within the limits of size and time.
///
/// # Errors
/// 400, 408, 413 and 504, or the client left.
pub async fn body(session: &mut Session, ctx: &mut Ctx) -> Result<Bytes, Stop> {
    let limit = ctx.table.limits.body;
    let time = ctx.table.times.body;
    let by = ctx.deadline().min(Instant::now() + time);
    let body = match tokio::time::timeout_at(by.into(), read(session, limit)).await {
        Ok(body) => body?,
        Err(_) if Instant::now() >= ctx.deadline() => return Err(ctx.out_of_time().into()),
        Err(_) => {
            let text = format!("The request body took longer than {} s.", time.as_secs());
            return Err(GatewayError::new(ErrorKind::BodyTimeout, text).into());
        }
    };
    ctx.received(body.len());
    if body.is_empty() {
        let text = "The request has no body; send a JSON object.";
        return Err(GatewayError::new(ErrorKind::InvalidJson, text).into());
    }
    Ok(body)
}

fn expects_continue(head: &RequestHeader) -> bool {
    // HTTP/1.0 knows no interim responses (RFC 9110, 10.1.1).
    head.version != Version::HTTP_10
        && one(head, EXPECT.as_str()).is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue"))
}

/// A body that cannot be read: its sender's fault, if it is still there.
fn broken(e: &Error) -> Stop {
    // Pingora's own names; the constants are private to it.
    match e.etype.as_str() {
        "InvalidChunk" | "InvalidTrailerEnd" => {
            let text = "The request body is not framed as HTTP demands.";
            GatewayError::new(ErrorKind::InvalidRequest, text).into()
        }
        _ => Stop::Gone,
    }
}

async fn read(session: &mut Session, limit: usize) -> Result<Bytes, Stop> {
    let session = &mut session.downstream_session;
    let declared = content_length(session.req_header());
    if expects_continue(session.req_header()) {
        // Pingora gives the connection up with an interim response.
        let keepalive = session.get_keepalive();
        session
            .write_continue_response()
            .await
            .map_err(|_| Stop::Gone)?;
        session.set_keepalive(keepalive);
    }
    let mut first: Option<Bytes> = None;
    let mut joined: Option<BytesMut> = None;
    let mut total = 0_usize;
    loop {
        let piece = session.read_request_body().await.map_err(|e| broken(&e))?;
        let Some(piece) = piece else { break };
        total = total.saturating_add(piece.len());
        if total > limit {
            return Err(too_large(limit).into());
        }
        // A body in one piece is used as it came; from the second piece on,
        // they are joined, for the scan wants them contiguous.
        match (&mut first, &mut joined) {
            (None, None) => first = Some(piece),
            (Some(one), None) => {
                let size = declared.unwrap_or(FIRST_GUESS).clamp(total, limit);
                let mut all = BytesMut::with_capacity(size);
                all.put_slice(one);
                all.put_slice(&piece);
                joined = Some(all);
            }
            (_, Some(all)) => all.put_slice(&piece),
        }
        if session.is_body_done() {
            break;
        }
    }
    if declared.is_some_and(|n| n != total) {
        return Err(Stop::Gone);
    }
    Ok(joined.map(BytesMut::freeze).or(first).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Asked, u16> {
        let mut head = RequestHeader::build(method, path.as_bytes(), None).unwrap();
        for (name, value) in headers {
            head.append_header((*name).to_owned(), *value).unwrap();
        }
        route(&head).map_err(|e| e.status())
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    #[test]
    fn only_known_urls_methods_and_media_types() {
        for (method, path, headers, expected) in [
            ("POST", "/v1/chat/completions", vec![JSON], None),
            ("POST", "/v1/chat/completions?x=1", vec![JSON], None),
            ("GET", "/v1/models", vec![], None),
            ("GET", "/v1/models?limit=5&after_id=x", vec![], None),
            ("GET", "/v1/models?limit=0", vec![], Some(400)),
            ("POST", "/v1/messages?beta=true", vec![JSON], None),
            ("GET", "/v1/responses/resp_1", vec![], Some(404)),
            ("DELETE", "/v1/responses/resp_1", vec![], Some(404)),
            ("POST", "/v1/responses/resp_1/cancel", vec![], Some(404)),
            ("GET", "/v1/responses/resp_1/input_items", vec![], Some(404)),
            ("GET", "/v1/models/openai/gpt-5", vec![], None),
            ("GET", "/v1/chat/completions", vec![], Some(405)),
            ("POST", "/v1/models", vec![], Some(405)),
            ("DELETE", "/v1/models/x", vec![], Some(405)),
            ("GET", "/v1/models/", vec![], Some(404)),
            ("GET", "/v1/models/%zz", vec![], Some(404)),
            ("GET", "/", vec![], Some(404)),
            ("POST", "/v1/chat/completions/", vec![JSON], Some(404)),
            ("POST", "/V1/chat/completions", vec![JSON], Some(404)),
            ("POST", "/v1/chat/completions", vec![], Some(415)),
            (
                "POST",
                "/v1/chat/completions",
                vec![("content-type", "text/plain")],
                Some(415),
            ),
            ("POST", "/v1/chat/completions", vec![JSON, JSON], Some(415)),
            (
                "POST",
                "/v1/chat/completions",
                vec![JSON, ("content-encoding", "gzip")],
                Some(415),
            ),
            (
                "POST",
                "/v1/chat/completions",
                vec![("content-type", "multipart/form-data; boundary=x")],
                Some(415),
            ),
            ("POST", "/v1/audio/transcriptions", vec![JSON], Some(415)),
            (
                "POST",
                "/v1/audio/transcriptions",
                vec![("content-type", "multipart/form-data; boundary=x")],
                None,
            ),
        ] {
            assert_eq!(
                asked(method, path, &headers).err(),
                expected,
                "{method} {path} {headers:?}"
            );
        }
    }

    #[test]
    fn the_least_of_a_clients_deadlines_counts() {
        for (headers, expected) in [
            (vec![], Ok(None)),
            (vec![("x-tollgate-deadline-ms", "1500")], Ok(Some(1500))),
            (vec![("x-request-timeout", " 2.5 ")], Ok(Some(2500))),
            (
                vec![
                    ("x-tollgate-deadline-ms", "900"),
                    ("x-request-timeout", "2"),
                ],
                Ok(Some(900)),
            ),
            (vec![("x-tollgate-deadline-ms", "0")], Ok(Some(0))),
            (vec![("x-tollgate-deadline-ms", "1.5")], Err(400)),
            (vec![("x-tollgate-deadline-ms", "-1")], Err(400)),
            (vec![("x-request-timeout", "-1")], Err(400)),
            (vec![("x-request-timeout", "inf")], Err(400)),
            (vec![("x-request-timeout", "soon")], Err(400)),
            (
                vec![("x-request-timeout", "1"), ("x-request-timeout", "1")],
                Err(400),
            ),
        ] {
            let mut head = RequestHeader::build("POST", b"/", None).unwrap();
            for (name, value) in &headers {
                head.append_header((*name).to_owned(), *value).unwrap();
            }
            let millis = deadline(&head).map(|least| least.map(|time| time.as_millis()));
            assert_eq!(millis.map_err(|e| e.status()), expected, "{headers:?}");
        }
    }

    #[test]
    fn model_ids_are_decoded() {
        let Ok(Asked::Model(id)) = asked("GET", "/v1/models/ft:gpt%2D4o:org::id", &[]) else {
            panic!()
        };
        assert_eq!(id, "ft:gpt-4o:org::id");
    }
}
