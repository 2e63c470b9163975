//! From the provider's answer to the client, piece by piece.
//!
//! A stream is passed on event by event, never half an event: whatever goes
//! wrong, the client's last bytes are a whole event, and an error event can
//! follow. One piece is held at a time and written before the next is read,
//! so a slow client slows the provider and costs no memory. A stream that did
//! not reach its end is never made to look as if it had.

use super::attempt::{Body, Open, Served, progress};
use super::dispatch::stopping;
use super::relay_translated::Translation;
use super::reply::{attribution, head, put, whole};
use super::returned::keep;
use super::translate::{Voice, failed};
use super::vigil::{Interruption, interrupted};
use super::{Ctx, Gateway, Stop};
use crate::chat::{Operation, Speech};
use crate::dialect::openai::Progress;
use crate::dialect::{embeddings, messages_face, responses_face};
use crate::error::{ErrorKind, GatewayError};
use crate::table::Provider;
use crate::telemetry::{AttemptOutcome, Outcome};
use crate::wire::sse::{Event, Framer};
use bytes::Bytes;
use http::Version;
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most that is written at once: a client has to take this much within its
/// stall time, so it bounds how slow a reader may be.
const WRITE: usize = 16 << 10;

/// How long a finished stream's connection may take to show that it can be
/// used again.
const TAIL: Duration = Duration::from_secs(1);

/// How much of that the client's connection waits for.
const AT_ONCE: Duration = Duration::from_millis(20);

/// What makes a stream complete.
pub struct Expected {
    pub operation: Operation,
    /// Answers that the client asked for (`n`). With several, one finish reason
    /// does not finish the stream.
    pub choices: u64,
    /// How to write to the client what is not passed on.
    pub voice: Voice,
}

/// Passes an answer on to its end.
///
/// # Errors
/// When the client left, or the answer broke off in a way that cannot be told
/// in band.
pub async fn run(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    expected: Expected,
    served: Served,
) -> Result<(), Stop> {
    let Served {
        provider,
        head: from,
        body,
        returned,
        ..
    } = served;
    if ctx.company.head_sent && !body.is_stream() {
        let text = "The provider gave a whole answer where a stream was promised.";
        return Err(GatewayError::new(ErrorKind::UpstreamError, text).into());
    }
    let mut to = head(from.status.as_u16(), ctx)?;
    keep(&from, &mut to, &provider);
    returned.write(&mut to);
    attribution(&mut to, ctx);
    ctx.record.outcome = Outcome::Ok;
    let provider = &*provider;
    match body {
        Body::Whole(body) => whole(session, ctx, to, body).await,
        Body::Answer(answer) => {
            let body = expected.voice.face.answer(&answer, &expected.voice.label);
            translated(session, ctx, to, body).await
        }
        Body::Vectors { vectors, base64 } => {
            let body = embeddings::render(&vectors, &expected.voice.label.model, base64);
            translated(session, ctx, to, body).await
        }
        Body::Count { tokens, estimated } => {
            if estimated {
                put(&mut to, "x-tollgate-estimated", "true");
            }
            let body = counted(expected.operation.speech(), tokens);
            translated(session, ctx, to, body).await
        }
        Body::Events { held, framer, open } => {
            put(&mut to, "cache-control", "no-cache");
            begin(session, ctx, to).await?;
            let stream = Stream {
                ctx,
                expected: &expected,
                provider,
                framer,
                open,
                finished: false,
            };
            pass_on(gateway, session, stream, held).await
        }
        Body::Decoded {
            events,
            decoder,
            open,
        } => {
            put(&mut to, "content-type", "text/event-stream");
            put(&mut to, "cache-control", "no-cache");
            begin(session, ctx, to).await?;
            let mut stream = Translation::new(ctx, &expected, provider, decoder, open);
            let end = stream.relay(session, events).await;
            let (open, fail) = stream.finish();
            let finished = b"";
            conclude(
                gateway,
                session,
                ctx,
                open,
                end,
                Farewell { finished, fail },
            )
            .await
        }
        Body::Raw { first, open } => {
            begin(session, ctx, to).await?;
            raw(gateway, session, ctx, provider, first, open).await
        }
    }
}

/// A number of input tokens in the client's format.
fn counted(speech: Speech, tokens: u64) -> Vec<u8> {
    match speech {
        Speech::Anthropic => messages_face::count_tokens_answer(tokens),
        Speech::OpenAi | Speech::Responses => responses_face::input_tokens(tokens),
    }
}

/// Sends a whole answer in the client's format.
async fn translated(
    session: &mut Session,
    ctx: &mut Ctx,
    mut to: ResponseHeader,
    body: Vec<u8>,
) -> Result<(), Stop> {
    put(&mut to, "content-type", "application/json");
    whole(session, ctx, to, body.into()).await
}

/// Passes a stream of the client's own format on, to its end.
async fn pass_on(
    gateway: &Gateway,
    session: &mut Session,
    mut stream: Stream<'_>,
    held: Vec<Bytes>,
) -> Result<(), Stop> {
    let end = stream.relay(session, held).await;
    let Stream {
        ctx,
        expected,
        open,
        ..
    } = stream;
    let fail = |error: &GatewayError| {
        let mut out = Vec::new();
        expected.voice.encoder().fail(error, &mut out);
        out
    };
    let finished: &[u8] = match expected.operation.has_done() {
        true => b"data: [DONE]\n\n",
        false => b"",
    };
    conclude(
        gateway,
        session,
        ctx,
        open,
        end,
        Farewell { finished, fail },
    )
    .await
}

/// Sends the head of an answer of unknown length.
async fn begin(session: &mut Session, ctx: &mut Ctx, mut to: ResponseHeader) -> Result<(), Stop> {
    if ctx.company.head_sent {
        ctx.first_byte();
        return Ok(());
    }
    let down = &mut session.downstream_session;
    if down.req_header().version == Version::HTTP_10 {
        // No chunks there: the end of the connection is the end of the answer.
        down.set_keepalive(None);
    } else {
        // Pingora flushes each write of a chunked answer, and without this an
        // answer of unknown length is delimited by the end of the connection.
        // It drops the field on HTTP/2.
        put(&mut to, "transfer-encoding", "chunked");
    }
    ctx.record.status = to.status.as_u16();
    ctx.first_byte();
    write_head(down, ctx, to).await
}

/// Sends a head, within the client's stall time: Pingora itself would wait for
/// ever for a client that does not read.
pub async fn write_head(
    down: &mut ServerSession,
    ctx: &Ctx,
    to: ResponseHeader,
) -> Result<(), Stop> {
    let written = down.write_response_header(Box::new(to));
    match tokio::time::timeout(ctx.table.times.client_stall, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Stop::Gone),
    }
}

/// Writes `bytes`, within the client's stall time for each piece.
pub async fn write(
    down: &mut ServerSession,
    ctx: &mut Ctx,
    mut bytes: Bytes,
    end: bool,
) -> Result<(), Stop> {
    let started = Instant::now();
    let stall = ctx.table.times.client_stall;
    loop {
        let piece = bytes.split_to(bytes.len().min(WRITE));
        let sent = piece.len();
        let last = bytes.is_empty();
        let written = down.write_response_body(piece, last && end);
        match tokio::time::timeout(stall, written).await {
            Ok(Ok(())) => ctx.record.response_bytes += sent as u64,
            Ok(Err(_)) | Err(_) => return Err(Stop::Gone),
        }
        if last {
            ctx.record.client_time += started.elapsed();
            return Ok(());
        }
    }
}

/// Why a read gave nothing.
pub(super) enum Broken {
    /// The client left.
    Gone,
    /// The gateway is being stopped.
    Stopping,
    /// The provider broke off or went silent.
    Upstream(String),
}

/// The next piece of the answer, while the client is there.
pub(super) async fn next_piece(
    session: &mut Session,
    ctx: &mut Ctx,
    open: &mut Open,
    idle: Duration,
) -> Result<Option<Bytes>, Broken> {
    let started = Instant::now();
    let piece = tokio::select! {
        biased;
        piece = tokio::time::timeout(idle, open.session.read_response_body()) => piece,
        why = interrupted(&mut session.downstream_session, &mut ctx.ending) => {
            return Err(match why {
                Interruption::Client => Broken::Gone,
                Interruption::Gateway => Broken::Stopping,
            });
        }
    };
    ctx.record.upstream_time += started.elapsed();
    match piece {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(e)) => Err(Broken::Upstream(e.to_string())),
        Err(_) => Err(Broken::Upstream(format!(
            "silent for {} s",
            idle.as_secs_f32()
        ))),
    }
}

/// How the relaying of a stream ended.
pub(super) enum End {
    /// Complete, `[DONE]` and all.
    Done,
    /// Complete and at its end, but without `[DONE]`.
    Finished,
    /// Not complete.
    Broken(GatewayError),
    Gone,
}

struct Stream<'a> {
    ctx: &'a mut Ctx,
    expected: &'a Expected,
    provider: &'a Provider,
    framer: Framer,
    open: Open,
    finished: bool,
}

impl Stream<'_> {
    async fn relay(&mut self, session: &mut Session, held: Vec<Bytes>) -> End {
        for raw in held {
            if let Some(end) = self.pass(session, raw).await {
                return end;
            }
        }
        let idle = self.provider.timeouts.idle;
        loop {
            loop {
                match self.framer.next_event() {
                    Ok(Some(raw)) => {
                        if let Some(end) = self.pass(session, raw).await {
                            return end;
                        }
                    }
                    Ok(None) => break,
                    Err(_) => return self.broken("an event over the limit"),
                }
            }
            match next_piece(session, self.ctx, &mut self.open, idle).await {
                Ok(Some(piece)) => self.framer.push(piece),
                Ok(None) => return self.at_end(),
                Err(Broken::Gone) => return End::Gone,
                Err(Broken::Stopping) => {
                    return End::Broken(stopping().because("grace period over"));
                }
                // After the finish nothing is missing but the farewell.
                Err(Broken::Upstream(_)) if self.finished => return End::Finished,
                Err(Broken::Upstream(why)) => return self.broken(&why),
            }
        }
    }

    /// Passes one event on; `Some` when it was the last.
    async fn pass(&mut self, session: &mut Session, raw: Bytes) -> Option<End> {
        let event = Event::parse(&raw);
        let progress = progress(self.expected.operation, &event);
        if progress == Progress::Error {
            let data = event.data.as_deref().unwrap_or_default();
            let error = failed(self.provider.wire.in_band(data), self.provider)
                .because("the provider reported an error in its stream");
            return Some(End::Broken(error));
        }
        self.finished |= match progress {
            Progress::Done => true,
            Progress::Finish => self.expected.choices == 1,
            _ => false,
        };
        match write(&mut session.downstream_session, self.ctx, raw, false).await {
            Ok(()) if progress == Progress::Done => Some(End::Done),
            Ok(()) => None,
            Err(_) => Some(End::Gone),
        }
    }

    /// The provider has nothing more: was that all?
    fn at_end(&mut self) -> End {
        let cut = self.framer.rest() > 0;
        // A [DONE] without its blank line is still a farewell.
        self.framer.push(Bytes::from_static(b"\n\n"));
        let tail = self.framer.next_event().ok().flatten().unwrap_or_default();
        let waved = progress(self.expected.operation, &Event::parse(&tail)) == Progress::Done;
        let whole = match self.expected.operation.has_end() {
            true => self.finished || waved,
            false => !cut || waved,
        };
        if whole {
            End::Finished
        } else {
            self.broken("the stream ended early")
        }
    }

    fn broken(&self, why: &str) -> End {
        End::Broken(broken(why))
    }
}

/// What a client is told of a stream that broke off.
pub(super) fn broken(why: &str) -> GatewayError {
    let text = "The provider's stream broke off; the answer is incomplete.";
    GatewayError::new(ErrorKind::UpstreamError, text).because(why)
}

/// What a stream's client is told at its end.
struct Farewell<F> {
    /// Where the provider forgot to say goodbye.
    finished: &'static [u8],
    /// An error as the last event.
    fail: F,
}

/// Ends a stream as what it was.
async fn conclude<F: FnOnce(&GatewayError) -> Vec<u8>>(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    open: Open,
    end: End,
    farewell: Farewell<F>,
) -> Result<(), Stop> {
    let down = &mut session.downstream_session;
    let last: &'static [u8] = match end {
        End::Done => b"",
        End::Finished => farewell.finished,
        End::Broken(error) => {
            open.cancel().await;
            ctx.serving_turned(AttemptOutcome::Truncated);
            let event = (farewell.fail)(&error);
            ctx.stopped(Stop::Cut(Some(error)));
            return write(down, ctx, event.into(), true).await;
        }
        End::Gone => {
            open.cancel().await;
            ctx.serving_turned(AttemptOutcome::Canceled);
            return Err(Stop::Gone);
        }
    };
    write(down, ctx, Bytes::from_static(last), true).await?;
    reuse(gateway, open).await;
    Ok(())
}

/// Gives a connection back if its answer really ends here. Mostly that is known
/// at once, and the client's next request finds the connection; where it is
/// not, nobody waits for it.
async fn reuse(gateway: &Gateway, mut open: Open) {
    let tail = tokio::time::timeout(AT_ONCE, open.session.read_response_body()).await;
    match tail {
        Ok(Ok(None)) => open.release(&gateway.connector).await,
        Ok(_) => open.cancel().await,
        Err(_) => {
            let connector = Arc::clone(&gateway.connector);
            tokio::spawn(async move {
                let tail = tokio::time::timeout(TAIL, open.session.read_response_body()).await;
                match tail {
                    Ok(Ok(None)) => open.release(&connector).await,
                    _ => open.cancel().await,
                }
            });
        }
    }
}

/// Passes bytes on that have no events. A break cannot be told in band, so the
/// client's connection is broken too.
async fn raw(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    provider: &Provider,
    first: Option<Bytes>,
    mut open: Open,
) -> Result<(), Stop> {
    let mut piece = first;
    while let Some(bytes) = piece {
        if let Err(stop) = write(&mut session.downstream_session, ctx, bytes, false).await {
            open.cancel().await;
            ctx.serving_turned(AttemptOutcome::Canceled);
            return Err(stop);
        }
        piece = match next_piece(session, ctx, &mut open, provider.timeouts.idle).await {
            Ok(piece) => piece,
            Err(Broken::Gone) => {
                open.cancel().await;
                ctx.serving_turned(AttemptOutcome::Canceled);
                return Err(Stop::Gone);
            }
            Err(Broken::Stopping) => {
                open.cancel().await;
                ctx.serving_turned(AttemptOutcome::Truncated);
                return Err(Stop::Cut(Some(stopping().because("grace period over"))));
            }
            Err(Broken::Upstream(why)) => {
                open.cancel().await;
                ctx.serving_turned(AttemptOutcome::Truncated);
                let text = "The provider's answer broke off.";
                return Err(Stop::Cut(Some(
                    GatewayError::new(ErrorKind::UpstreamError, text).because(why),
                )));
            }
        };
    }
    write(&mut session.downstream_session, ctx, Bytes::new(), true).await?;
    open.release(&gateway.connector).await;
    Ok(())
}
