//! From the provider's answer to the client, piece by piece.
//!
//! A stream is passed on event by event, never half an event: whatever goes
//! wrong, the client's last bytes are a whole event, and an error event can
//! follow. One piece is held at a time and written before the next is read,
//! so a slow client slows the provider and costs no memory. A stream that did
//! not reach its end is never made to look as if it had.

use super::attempt::{Body, Open, Served};
use super::relay_bytes;
use super::relay_passing::Passing;
use super::relay_translated::{Source, Telling, Translation};
use super::reply::{attribution, head, limits, put, whole};
use super::rescue::Rescue;
use super::returned::keep;
use super::tally::Tally;
use super::transcript::{Passed, Transcript};
use super::translate::{Voice, failed};
use super::watch::Watch;
use super::{Ctx, Gateway, Stop};
use crate::chat::{Event, Failure, Operation, Speech};
use crate::dialect::{embeddings, messages_face, responses_face};
use crate::error::{Blame, ErrorKind, GatewayError};
use crate::table::{Provider, Terms};
use crate::telemetry::{AttemptOutcome, Outcome};
use crate::wire::sse::Framer;
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
    pub terms: Arc<Terms>,
    pub usage: Usage,
}

/// What becomes of the event that tells a stream's usage alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// It passes: the format always has it.
    Passes,
    /// The client did not ask for it.
    Hidden,
    /// The client asked for it, and is told the cost with it.
    Priced,
}

impl Usage {
    pub fn of(operation: Operation, asked: bool) -> Self {
        match operation {
            Operation::ChatCompletions | Operation::Completions => match asked {
                true => Self::Priced,
                false => Self::Hidden,
            },
            _ => Self::Passes,
        }
    }
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
    rescue: Option<Rescue>,
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
    ctx.tally = Tally::of(&body, expected.operation);
    attribution(&mut to, ctx);
    limits(&mut to, ctx);
    if !body.is_stream()
        && let Some(cost) = ctx.cost_so_far()
    {
        put(&mut to, "x-tollgate-cost-usd", &cost.to_string());
    }
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
            let stream = (held, (framer, open));
            pass_on(gateway, session, ctx, &expected, provider, stream, rescue).await
        }
        Body::Decoded {
            events,
            decoder,
            faults,
            open,
        } => {
            put(&mut to, "content-type", "text/event-stream");
            put(&mut to, "cache-control", "no-cache");
            begin(session, ctx, to).await?;
            let source = Source {
                decoder,
                faults,
                open,
            };
            let stream = (events, source);
            translate(gateway, session, ctx, &expected, provider, stream, rescue).await
        }
        Body::Raw { first, open } => {
            begin(session, ctx, to).await?;
            let watch = Watch::bytes(&expected.terms.timeouts(&provider.timeouts));
            relay_bytes::run(gateway, session, ctx, watch, first, open).await
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
    ctx: &mut Ctx,
    expected: &Expected,
    provider: &Provider,
    (held, source): (Vec<Bytes>, (Framer, Open)),
    rescue: Option<Rescue>,
) -> Result<(), Stop> {
    let passed = rescue.is_some().then(Passed::default);
    let mut stream = Passing::new(ctx, expected, provider, source, passed);
    let end = stream.relay(session, held).await;
    let (open, passed) = stream.finish();
    let taken_over = match (&end, &rescue, &passed) {
        (End::Lost(_), Some(rescue), Some(passed)) => {
            rescue.take_over(ctx, expected, provider, passed)
        }
        _ => None,
    };
    if let (End::Lost(lost), Some(rescue), Some(telling)) = (&end, rescue, taken_over) {
        open.cancel().await;
        let lost = lost.clone();
        let (open, end, mut telling) = rescue
            .run(gateway, session, ctx, expected, telling, lost)
            .await;
        let fail = |error: &GatewayError, out: &mut Vec<u8>| telling.encoder.fail(error, out);
        return conclude(gateway, session, ctx, open, end, b"", fail).await;
    }
    let farewell: &[u8] = match expected.operation.has_done() {
        true => b"data: [DONE]\n\n",
        false => b"",
    };
    let fail = |error: &GatewayError, out: &mut Vec<u8>| expected.voice.encoder().fail(error, out);
    conclude(gateway, session, ctx, Some(open), end, farewell, fail).await
}

/// Passes a translated stream on, to its end.
async fn translate(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    expected: &Expected,
    provider: &Provider,
    (events, source): (Vec<Event>, Source),
    rescue: Option<Rescue>,
) -> Result<(), Stop> {
    let telling = Telling {
        encoder: expected.voice.encoder(),
        transcript: rescue.is_some().then(Transcript::default),
        seam: None,
    };
    let mut stream = Translation::new(ctx, expected, provider, source, telling);
    let end = stream.relay(session, events).await;
    let (open, telling) = stream.finish();
    let (open, end, mut telling) = match (end, rescue) {
        (End::Lost(lost), Some(rescue)) => {
            open.cancel().await;
            rescue
                .run(gateway, session, ctx, expected, telling, lost)
                .await
        }
        (end, _) => (Some(open), end, telling),
    };
    let fail = |error: &GatewayError, out: &mut Vec<u8>| telling.encoder.fail(error, out);
    conclude(gateway, session, ctx, open, end, b"", fail).await
}

/// Sends the head of an answer of unknown length.
async fn begin(session: &mut Session, ctx: &mut Ctx, to: ResponseHeader) -> Result<(), Stop> {
    if ctx.company.head_sent {
        ctx.first_byte();
        return Ok(());
    }
    ctx.first_byte();
    open_body(session, ctx, to).await
}

/// Sends a head whose body ends when it ends. Nothing but its body can follow.
pub(super) async fn open_body(
    session: &mut Session,
    ctx: &mut Ctx,
    mut to: ResponseHeader,
) -> Result<(), Stop> {
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
    // Whoever has to wait again, for another provider, is not greeted again.
    ctx.company.head_sent = true;
    ctx.record.status = to.status.as_u16();
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

/// How the relaying of a stream ended.
pub(super) enum End {
    /// Complete, `[DONE]` and all.
    Done,
    /// Complete and at its end, but without `[DONE]`.
    Finished,
    /// The provider broke it off. Another might go on with it.
    Lost(GatewayError),
    /// Not complete, and nobody is to go on with it.
    Over(GatewayError),
    Gone,
}

/// A failure that a provider reported in its stream. What it says of the
/// request would be said elsewhere too.
pub(super) fn reported(failure: Failure, provider: &Provider) -> End {
    let error = failed(failure, provider).because("the provider reported an error in its stream");
    match error.kind.row().blame {
        Blame::Client => End::Over(error),
        Blame::Provider | Blame::Gateway => End::Lost(error),
    }
}

/// What a client is told of a stream that broke off.
pub(super) fn broken(why: &str) -> GatewayError {
    let text = "The provider's stream broke off; the answer is incomplete.";
    GatewayError::new(ErrorKind::UpstreamError, text).because(why)
}

/// Ends a stream as what it was. `open` is the connection that it came from,
/// if that is still there; `fail` writes an error as the last event, and
/// `farewell` is what stands at the end where the provider forgot it.
async fn conclude(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    open: Option<Open>,
    end: End,
    farewell: &'static [u8],
    fail: impl FnOnce(&GatewayError, &mut Vec<u8>),
) -> Result<(), Stop> {
    let is_lost = matches!(end, End::Lost(_));
    let last: &'static [u8] = match end {
        End::Done => b"",
        End::Finished => farewell,
        End::Lost(error) | End::Over(error) => {
            cancel(open).await;
            if let (true, Some(provider)) = (is_lost, &ctx.record.provider) {
                ctx.metrics.failover.stream_broke(provider, false);
            }
            match is_lost {
                true => ctx.lost(),
                false => ctx.serving_turned(AttemptOutcome::Truncated),
            }
            let mut event = Vec::new();
            fail(&error, &mut event);
            ctx.stopped(Stop::Cut(Some(error)));
            return write(&mut session.downstream_session, ctx, event.into(), true).await;
        }
        End::Gone => {
            cancel(open).await;
            ctx.serving_turned(AttemptOutcome::Canceled);
            return Err(Stop::Gone);
        }
    };
    let last = Bytes::from_static(last);
    write(&mut session.downstream_session, ctx, last, true).await?;
    if let Some(open) = open {
        reuse(gateway, open).await;
    }
    Ok(())
}

async fn cancel(open: Option<Open>) {
    if let Some(open) = open {
        open.cancel().await;
    }
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
