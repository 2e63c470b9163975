//! The faults, as bytes on the wire.

use super::fault::{Cut, Fault, SHORT_WAIT};
use super::provider::Wire;
use super::said::{self, ARGUMENTS, Asked, BEFORE, DONE};
use std::io;
use std::time::Duration;

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Keep,
    Close,
    Reset,
}

/// Between two comments.
const BEAT: Duration = Duration::from_millis(50);

/// Between two bytes of a drip: the head of the first event alone takes longer
/// than any fault may last.
const DRIP: Duration = Duration::from_millis(250);

/// Does `fault` with a request.
///
/// # Errors
/// When the peer has left.
pub async fn act(fault: Fault, asked: &Asked, wire: &mut Wire) -> io::Result<After> {
    match fault {
        Fault::Refuse | Fault::ResetBeforeHead => Ok(After::Reset),
        Fault::Silence => silence(wire).await,
        Fault::HeadThenSilence => {
            begin(asked, wire).await?;
            silence(wire).await
        }
        Fault::ByteDrip => drip(asked, wire).await,
        Fault::TruncatedBody => {
            let body = said::whole(asked);
            head(
                wire,
                200,
                JSON,
                &format!("content-length: {}\r\n", body.len()),
            )
            .await?;
            let half = body.as_bytes().get(..body.len() / 2).unwrap_or_default();
            wire.raw(half).await?;
            Ok(After::Close)
        }
        Fault::Html => answer(wire, 200, "text/html", "", "<html><h1>Welcome</h1></html>").await,
        Fault::NotJson => answer(wire, 200, JSON, "", "upstream connect error {").await,
        Fault::ErrorInBody => answer(wire, 200, JSON, "", &server_error()).await,
        other => match (refusal(other), asked.streamed) {
            (Some((status, headers, body)), _) => answer(wire, status, JSON, &headers, &body).await,
            (None, false) => answer(wire, 200, JSON, "", &said::whole(asked)).await,
            (None, true) => {
                begin(asked, wire).await?;
                stream(other, asked, wire).await
            }
        },
    }
}

const JSON: &str = "application/json";

/// 404 for every other path.
///
/// # Errors
/// When the peer has left.
pub async fn nowhere(wire: &mut Wire) -> io::Result<After> {
    let body = said::error(
        "There is nothing at this URL.",
        "invalid_request_error",
        None,
    );
    answer(wire, 404, JSON, "", &body).await
}

fn server_error() -> String {
    said::error("The server had an error.", "server_error", None)
}

/// The status, headers and body of a fault that is an error like any other.
fn refusal(fault: Fault) -> Option<(u16, String, String)> {
    const INVALID: &str = "invalid_request_error";
    let wait = |seconds: u64| format!("retry-after: {seconds}\r\n");
    let plain = |status, message, kind, code| {
        Some((status, String::new(), said::error(message, kind, code)))
    };
    let limited = |seconds| {
        let body = said::error(
            "Rate limit reached.",
            "requests",
            Some("rate_limit_exceeded"),
        );
        Some((429, wait(seconds), body))
    };
    match fault {
        Fault::ErrorOnce | Fault::ErrorAlways => Some((500, String::new(), server_error())),
        Fault::Unavailable => {
            let body = said::error("Overloaded.", "server_error", None);
            Some((503, wait(SHORT_WAIT.as_secs()), body))
        }
        Fault::RateLimit => limited(SHORT_WAIT.as_secs()),
        Fault::RateLimitLong => limited(3600),
        Fault::Unauthorized => plain(401, "Incorrect key.", INVALID, Some("invalid_api_key")),
        Fault::Payment => plain(402, "Insufficient Balance", "unknown_error", None),
        Fault::NoModel => plain(404, "No such model.", INVALID, Some("model_not_found")),
        Fault::ConflictOnce => plain(409, "Try again.", "conflict_error", None),
        Fault::ContextLength => {
            let code = Some("context_length_exceeded");
            plain(400, "The prompt is too long.", INVALID, code)
        }
        Fault::ContentPolicy => plain(400, "Refused.", INVALID, Some("content_filter")),
        _ => None,
    }
}

/// What follows on the head of a stream.
async fn stream(fault: Fault, asked: &Asked, wire: &mut Wire) -> io::Result<After> {
    match fault {
        Fault::CommentsOnly => return comments(wire).await,
        Fault::ErrorFirst => return tell(&server_error(), wire).await,
        _ => wire.chunk(said::role().as_bytes()).await?,
    }
    if fault == Fault::RoleThenSilence {
        return silence(wire).await;
    }
    for (nth, event) in said::content(asked).iter().enumerate() {
        match fault {
            Fault::CallCut if nth == BEFORE.min(calls_before()) => return Ok(After::Close),
            Fault::SlowTokens(pause) if nth >= BEFORE => tokio::time::sleep(pause).await,
            Fault::Malformed if nth == BEFORE => wire.chunk(b"data: {\"choices\": [\n\n").await?,
            _ if nth == BEFORE => {
                if let Some(after) = broken(fault, wire).await? {
                    return Ok(after);
                }
            }
            _ => {}
        }
        wire.chunk(event.as_bytes()).await?;
    }
    wire.chunk(said::finish(asked).as_bytes()).await?;
    if fault != Fault::NoDone {
        wire.chunk(DONE.as_bytes()).await?;
    }
    end(wire).await
}

/// Events of a tool call before it is cut: its name and half of its arguments.
fn calls_before() -> usize {
    ARGUMENTS.split_inclusive(',').count() / 2 + 1
}

/// Breaks a stream, if that is what the fault does.
async fn broken(fault: Fault, wire: &mut Wire) -> io::Result<Option<After>> {
    let after = match fault {
        Fault::Cut(Cut::Reset) => After::Reset,
        Fault::Cut(Cut::Close) => After::Close,
        Fault::Cut(Cut::LastChunk) => end(wire).await?,
        Fault::Stall { comments: true } => comments(wire).await?,
        Fault::Stall { comments: false } => silence(wire).await?,
        Fault::ErrorAfterTokens => tell(&server_error(), wire).await?,
        _ => return Ok(None),
    };
    Ok(Some(after))
}

async fn silence(wire: &mut Wire) -> io::Result<After> {
    wire.hold().await.map(|()| After::Close)
}

/// Comments until the peer leaves.
async fn comments(wire: &mut Wire) -> io::Result<After> {
    loop {
        wire.chunk(b": keep-alive\n\n").await?;
        tokio::time::sleep(BEAT).await;
    }
}

/// The answer one byte at a time, each a chunk of its own where it is streamed.
async fn drip(asked: &Asked, wire: &mut Wire) -> io::Result<After> {
    begin(asked, wire).await?;
    let body = match asked.streamed {
        true => said::role() + &said::content(asked).concat() + &said::finish(asked) + DONE,
        false => said::whole(asked),
    };
    for byte in body.into_bytes() {
        match asked.streamed {
            true => wire.chunk(&[byte]).await?,
            false => wire.raw(&[byte]).await?,
        }
        tokio::time::sleep(DRIP).await;
    }
    match asked.streamed {
        true => end(wire).await,
        false => Ok(After::Keep),
    }
}

/// An event that is an error, and the end.
async fn tell(error: &str, wire: &mut Wire) -> io::Result<After> {
    wire.chunk(format!("data: {error}\n\n").as_bytes()).await?;
    end(wire).await
}

async fn end(wire: &mut Wire) -> io::Result<After> {
    wire.raw(b"0\r\n\r\n").await?;
    Ok(After::Keep)
}

/// The head of a good answer.
async fn begin(asked: &Asked, wire: &mut Wire) -> io::Result<()> {
    match asked.streamed {
        true => {
            head(
                wire,
                200,
                "text/event-stream",
                "transfer-encoding: chunked\r\n",
            )
            .await
        }
        false => {
            let length = said::whole(asked).len();
            head(wire, 200, JSON, &format!("content-length: {length}\r\n")).await
        }
    }
}

/// A whole answer; `headers` are lines with their ends.
async fn answer(
    wire: &mut Wire,
    status: u16,
    kind: &str,
    headers: &str,
    body: &str,
) -> io::Result<After> {
    let length = body.len();
    head(
        wire,
        status,
        kind,
        &format!("content-length: {length}\r\n{headers}"),
    )
    .await?;
    wire.raw(body.as_bytes()).await?;
    Ok(After::Keep)
}

async fn head(wire: &mut Wire, status: u16, kind: &str, headers: &str) -> io::Result<()> {
    let text = format!("HTTP/1.1 {status} Drill\r\ncontent-type: {kind}\r\n{headers}\r\n");
    wire.raw(text.as_bytes()).await
}
