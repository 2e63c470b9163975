//! An OpenAI-compatible provider without a model, inside the process.
//!
//! It lets somebody try the gateway without an account: a real HTTP server on
//! a loopback port, so that a request walks the whole path out and back. What
//! it says is plainly no model's: the reply names its origin and repeats the
//! last message. The same request gets the same answer, but for `created`.
//!
//! Served: `GET /v1/models` and `/v1/models/{id}`, `POST
//! /v1/chat/completions`, `/v1/completions` (both also as streams) and
//! `/v1/embeddings`. Any model name is taken. What a demo cannot do honestly
//! (calling a required tool, structured output, several choices) is refused,
//! not faked. Every answer carries `x-tollgate-demo: 1`. No key is asked for.
//!
//! Tokens are counted, not learnt: one is up to four characters, and a word
//! with the blank before it starts a new one.

mod chat;
mod embedding;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use pingora_core::Result;
use pingora_core::apps::{
    HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream,
};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::listening::Service;
use pingora_http::ResponseHeader;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// More than the gateway's default limit lets through, so that it is the
/// gateway's limit that a user meets.
const MAX_BODY: usize = 33 << 20;

/// One read from, or write to, the gateway.
const IO_TIMEOUT: Duration = Duration::from_secs(60);

const MODELS: [&str; 2] = ["demo", "demo-embedding"];

/// The demo provider as an application of Pingora's.
pub struct Demo {
    options: HttpServerOptions,
}

impl Demo {
    pub fn new() -> Self {
        let mut options = HttpServerOptions::default();
        // HTTP/2 by prior knowledge, beside HTTP/1.1 on the same port.
        options.h2c = true;
        Self { options }
    }
}

impl Default for Demo {
    fn default() -> Self {
        Self::new()
    }
}

/// The demo provider as a service of Pingora's, with one thread of its own.
pub fn service(listen: SocketAddr) -> Service<Demo> {
    let mut service = Service::new("demo provider".to_owned(), Demo::new());
    service.add_tcp(&listen.to_string());
    service.threads = Some(1);
    service
}

#[async_trait]
impl HttpServerApp for Demo {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        session.set_read_timeout(Some(IO_TIMEOUT));
        session.set_write_timeout(Some(IO_TIMEOUT));
        // A peer that breaks off wants no answer, and a demo logs nothing.
        if !session.read_request().await.ok()? {
            return None;
        }
        session.set_keepalive((!*shutdown.borrow()).then_some(IO_TIMEOUT.as_secs()));
        let answer = match read_body(&mut session).await.ok()? {
            Some(body) => {
                let head = session.req_header();
                answer(&head.method, head.uri.path(), &body, unix_seconds())
            }
            None => {
                session.set_keepalive(None);
                Err(Refusal::new(
                    413,
                    "request_too_large",
                    None,
                    "The body is too large.",
                ))
            }
        };
        send(&mut session, answer).await.ok()?;
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// The whole body; `None` when it is longer than [`MAX_BODY`].
async fn read_body(session: &mut ServerSession) -> Result<Option<Vec<u8>>> {
    if session.get_header(EXPECT).is_some() {
        session.write_continue_response().await?;
    }
    let mut body = Vec::new();
    while let Some(piece) = session.read_request_body().await? {
        if body.len().saturating_add(piece.len()) > MAX_BODY {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

fn head(status: u16, kind: &str) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(4))?;
    head.insert_header(CONTENT_TYPE, kind)?;
    head.insert_header("x-tollgate-demo", "1")?;
    Ok(head)
}

async fn send(session: &mut ServerSession, answer: Result<Answer, Refusal>) -> Result<()> {
    let json = "application/json";
    let (mut head, body) = match answer {
        Ok(Answer::Stream(events)) => return send_stream(session, events).await,
        Ok(Answer::Json(body)) => (head(200, json)?, body),
        Err(refusal) => {
            let mut head = head(refusal.status, json)?;
            if let Some(allow) = refusal.allow {
                head.insert_header(ALLOW, allow)?;
            }
            (head, refusal.body())
        }
    };
    let body = body.to_string();
    head.insert_header(CONTENT_LENGTH, body.len())?;
    session.write_response_header(Box::new(head)).await?;
    session.write_response_body(Bytes::from(body), true).await
}

/// One write for each event, so that a client sees a stream and not a lump.
async fn send_stream(session: &mut ServerSession, events: Vec<Value>) -> Result<()> {
    let mut head = head(200, "text/event-stream")?;
    head.insert_header(CACHE_CONTROL, "no-cache")?;
    // Pingora takes it out again on HTTP/2.
    head.insert_header(TRANSFER_ENCODING, "chunked")?;
    session.write_response_header(Box::new(head)).await?;
    for event in events {
        session
            .write_response_body(Bytes::from(format!("data: {event}\n\n")), false)
            .await?;
    }
    session
        .write_response_body(Bytes::from_static(b"data: [DONE]\n\n"), true)
        .await
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// What goes back when all is well.
#[derive(Debug)]
enum Answer {
    Json(Value),
    /// The events, without the closing `[DONE]`.
    Stream(Vec<Value>),
}

/// What goes back when it is not, in OpenAI's shape.
#[derive(Debug)]
struct Refusal {
    status: u16,
    /// The method to use instead, with 405.
    allow: Option<&'static str>,
    code: &'static str,
    param: Option<&'static str>,
    message: String,
}

impl Refusal {
    fn new(
        status: u16,
        code: &'static str,
        param: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            allow: None,
            code,
            param,
            message: message.into(),
        }
    }

    fn method(allow: &'static str) -> Self {
        let message = format!("Use {allow} here.");
        Self {
            allow: Some(allow),
            ..Self::new(405, "method_not_allowed", None, message)
        }
    }

    fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_value", Some(param), message)
    }

    fn unsupported(param: &'static str, what: &str) -> Self {
        let message = format!("The embedded demo provider has no model and cannot {what}.");
        Self::new(400, "unsupported_value", Some(param), message)
    }

    fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }})
    }
}

/// The whole provider, without its sockets. `now` is in Unix seconds.
fn answer(method: &Method, path: &str, body: &[u8], now: u64) -> Result<Answer, Refusal> {
    let call: fn(&Call<'_>) -> Result<Answer, Refusal> = match path {
        "/v1/chat/completions" => chat::chat,
        "/v1/completions" => chat::completion,
        "/v1/embeddings" => embedding::embeddings,
        _ => return models(method, path, now),
    };
    if method != Method::POST {
        return Err(Refusal::method("POST"));
    }
    let fields = match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => {
            return Err(Refusal::new(
                400,
                "invalid_json",
                None,
                "The body is no JSON object.",
            ));
        }
        Err(error) => {
            let message = format!("The body is no JSON: {error}");
            return Err(Refusal::new(400, "invalid_json", None, message));
        }
    };
    let hash = Sha256::digest(body);
    let id = hash
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    call(&Call {
        fields: &fields,
        id: &id,
        now,
    })
}

fn models(method: &Method, path: &str, now: u64) -> Result<Answer, Refusal> {
    let asked = match path.strip_prefix("/v1/models") {
        Some("") => None,
        Some(rest) if rest.starts_with('/') => rest.strip_prefix('/'),
        _ => {
            return Err(Refusal::new(
                404,
                "unknown_url",
                None,
                "There is nothing at this URL.",
            ));
        }
    };
    if method != Method::GET {
        return Err(Refusal::method("GET"));
    }
    let model = |id: &str| json!({"id": id, "object": "model", "created": now, "owned_by": "tollgate-demo"});
    match asked {
        None => Ok(Answer::Json(
            json!({"object": "list", "data": MODELS.map(model)}),
        )),
        Some(id) if MODELS.contains(&id) => Ok(Answer::Json(model(id))),
        Some(_) => Err(Refusal::new(
            404,
            "model_not_found",
            Some("model"),
            "There is no such model.",
        )),
    }
}

/// A parsed request, and what identifies its answer.
struct Call<'a> {
    fields: &'a Map<String, Value>,
    id: &'a str,
    now: u64,
}

impl<'a> Call<'a> {
    /// A field that is there and not `null`.
    fn field(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn model(&self) -> Result<&'a str, Refusal> {
        self.field("model")
            .and_then(Value::as_str)
            .ok_or_else(|| Refusal::invalid("model", "You must provide a model parameter."))
    }

    fn flag(&self, name: &'static str) -> Result<bool, Refusal> {
        match self.field(name) {
            None => Ok(false),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| Refusal::invalid(name, format!("'{name}' is no boolean."))),
        }
    }

    /// A whole number of at least 1.
    fn count(&self, name: &'static str) -> Result<Option<usize>, Refusal> {
        let Some(value) = self.field(name) else {
            return Ok(None);
        };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        match count.filter(|count| *count > 0) {
            Some(count) => Ok(Some(count)),
            None => Err(Refusal::invalid(
                name,
                format!("'{name}' is no positive integer."),
            )),
        }
    }
}

/// The tokens of a text; put together they are the text again.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut in_word = false;
        let end = rest.char_indices().enumerate().find_map(|(nth, (at, c))| {
            let word_ends = in_word && c.is_whitespace();
            in_word |= !c.is_whitespace();
            (nth == 4 || word_ends).then_some(at)
        });
        let (token, left) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        rest = left;
        Some(token)
    })
}

#[cfg(test)]
#[path = "demo/tests.rs"]
mod tests;
