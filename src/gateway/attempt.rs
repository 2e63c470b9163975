//! One try at one address: connect, send, read the head, and wait for the
//! first thing that is worth showing to the client.
//!
//! An attempt succeeds only when it holds something to send: the whole body of
//! a JSON answer, the first real event of a stream, the first bytes of
//! anything else. Until then nothing has reached the client and the next
//! candidate can still serve it.

use super::authority::Authority;
use super::exchange::{self, Exchanged};
use super::failure::{Failure, classify, lacks_counter};
use super::heard::Heard;
use super::held;
use super::passing::Faults;
use super::phases::{Phase, Stopwatch};
use super::returned::{self, Returned};
use super::translate::{self, Lane, Sending};
use super::translated;
use super::upstream::media_type;
use crate::chat::{self, Answer, Decoder, Operation, Speech};
use crate::dialect::Vectors;
use crate::dialect::openai::{self, Progress};
use crate::dialect::openai_chat;
use crate::route::endpoint::Address;
use crate::route::fault::Fault;
use crate::table::{Provider, RoutingTable, Timeouts};
use crate::wire::sse::{Event, Framer};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Longest error body that is read for its message.
const ERROR_BODY: usize = 64 << 10;

/// How long an error body may take; its status is known already.
const ERROR_TIME: Duration = Duration::from_secs(2);

/// Bytes of comments that are kept until the first real event.
const HELD: usize = 64 << 10;

/// Events that tell nothing yet, as a multiple of the longest event: they may
/// repeat the whole request (`response.created`).
const EMPTY: usize = 4;

/// Everything an attempt needs to know. It is its own, so that an attempt can
/// run beside another one.
pub struct Plan {
    pub connector: Arc<Connector>,
    pub table: Arc<RoutingTable>,
    pub provider: Arc<Provider>,
    pub address: Arc<Address>,
    pub sending: Arc<Sending>,
    /// What the provider calls the model.
    pub model: String,
    pub operation: Operation,
    /// The client asked for a stream.
    pub stream: bool,
    /// Answers that it asked for.
    pub choices: u64,
    /// Nothing is sent before the whole stream is there.
    pub hold: bool,
    /// The client's format.
    pub speech: Speech,
    /// The route's limits in time, or else the provider's.
    pub timeouts: Timeouts,
    /// The request's.
    pub deadline: Instant,
    /// When it is cut off for the sake of another candidate.
    pub cut: Option<Instant>,
    pub watch: Arc<Stopwatch>,
    /// What nobody is served from yet.
    pub heard: Arc<Heard>,
}

impl Plan {
    /// What the client may see of an answer's head.
    fn returned(&self, head: &ResponseHeader) -> Returned {
        Returned::of(head, &self.provider, self.speech)
    }
}

/// An answer that has begun.
pub struct Served {
    pub provider: Arc<Provider>,
    pub head: ResponseHeader,
    pub body: Body,
    /// From the attempt's start to the answer's head.
    pub head_after: Duration,
    pub returned: Returned,
}

impl Served {
    /// A number of tokens for which no provider was asked.
    pub fn estimate(provider: &Arc<Provider>, tokens: u64) -> Option<Self> {
        Some(Self {
            provider: Arc::clone(provider),
            head: ResponseHeader::build(200, None).ok()?,
            body: Body::Count {
                tokens,
                estimated: true,
            },
            head_after: Duration::ZERO,
            returned: Returned::default(),
        })
    }

    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }
}

/// What is there of the answer's body, and where the rest comes from.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// A stream of events; `held` are the first ones, the last of them real.
    Events {
        held: Vec<Bytes>,
        framer: Framer,
        open: Open,
    },
    /// A translated answer.
    Answer(Box<Answer>),
    /// A number of input tokens, perhaps made here.
    Count { tokens: u64, estimated: bool },
    /// Translated embeddings.
    Vectors { vectors: Vectors, base64: bool },
    /// A translated stream, with what was decoded so far: the last of it real.
    Decoded {
        events: Vec<chat::Event>,
        decoder: Box<dyn Decoder>,
        faults: Faults,
        open: Open,
    },
    /// Anything else.
    Raw { first: Option<Bytes>, open: Open },
}

impl Body {
    /// Whether it reaches the client as events.
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Events { .. } | Self::Decoded { .. })
    }
}

/// A connection with an answer still on it.
pub struct Open {
    pub session: HttpSession,
    address: Arc<Address>,
    pool_idle: Duration,
    sent_all: bool,
}

impl Open {
    /// Gives the connection back after its answer was read to the end; closes
    /// it when the provider did not take the whole request, for it would read
    /// the next one as the rest.
    pub async fn release(self, connector: &Connector) {
        if !self.sent_all {
            return self.cancel().await;
        }
        connector
            .release_http_session(self.session, &self.address.peer, Some(self.pool_idle))
            .await;
    }

    /// Closes the connection: the provider stops working on the answer.
    pub async fn cancel(mut self) {
        self.session.shutdown().await;
    }
}

/// Makes the attempt.
pub async fn run(plan: Plan, head: RequestHeader) -> Result<Served, Failure> {
    let attempt = async {
        let authority = Authority::of(&plan.provider).await?;
        // What a credential takes says nothing about the address.
        let began = Instant::now();
        let exchanged = exchange::run(&plan, head, authority.as_ref()).await?;
        let phase = match plan.stream && !plan.hold {
            true => Phase::Content,
            false => Phase::Body,
        };
        plan.watch.enter(phase, Instant::now());
        let result = receive(&plan, exchanged, began.elapsed()).await;
        if let (Some(authority), Err(failure)) = (&authority, &result) {
            authority.learn(failure);
        }
        result
    };
    let cut = plan.cut.filter(|cut| *cut < plan.deadline);
    let by = cut.unwrap_or(plan.deadline);
    match tokio::time::timeout_at(by.into(), attempt).await {
        Ok(result) => result,
        Err(_) if cut.is_some() => Err(Failure::slow()),
        Err(_) => Err(Failure::silent()),
    }
}

/// Reads what makes the answer an answer.
async fn receive(
    plan: &Plan,
    exchanged: Exchanged,
    head_after: Duration,
) -> Result<Served, Failure> {
    let Exchanged {
        session,
        sent_all,
        answer_by: by,
    } = exchanged;
    let Some(head) = session.response_header().cloned() else {
        return Err(Failure::invalid("no response head"));
    };
    let open = Open {
        session,
        address: Arc::clone(&plan.address),
        pool_idle: plan.timeouts.pool_idle,
        sent_all,
    };
    let status = head.status.as_u16();
    if !(200..300).contains(&status) {
        return Err(refused(plan, open, &head).await);
    }
    let returned = plan.returned(&head);
    let body = match plan.sending.lane {
        Lane::Pass => passing(plan, open, &head, by).await,
        _ => translated::read_answer(plan, open, &head, Form::of(&head), by).await,
    };
    match body {
        Ok(body) => Ok(Served {
            provider: Arc::clone(&plan.provider),
            head,
            body,
            head_after,
            returned,
        }),
        Err(failure) => Err(Failure {
            returned,
            ..failure
        }),
    }
}

/// Reads what makes an answer in the client's own format one.
async fn passing(
    plan: &Plan,
    open: Open,
    head: &ResponseHeader,
    by: Instant,
) -> Result<Body, Failure> {
    let status = head.status.as_u16();
    match Form::of(head) {
        Ok(Form::Events) => events(plan, open, by).await,
        Ok(Form::Json) => {
            let body = json(plan, open, by, is_framed(head)).await?;
            match openai_chat::failure_in(&body) {
                Some(failure) => Err(translated::told(plan, failure)),
                None => Ok(Body::Whole(body)),
            }
        }
        Ok(Form::Bytes) => raw(plan, open, by, status).await,
        Err(why) => {
            open.cancel().await;
            Err(Failure {
                status: Some(status),
                ..Failure::invalid(why)
            })
        }
    }
}

/// What a success is written as.
pub(super) enum Form {
    Events,
    Json,
    Bytes,
}

impl Form {
    /// Reads it off the head; says what is wrong with one that is no answer.
    fn of(head: &ResponseHeader) -> Result<Self, &'static str> {
        let other_than = |name, value: &str| {
            let mut all = head.headers.get_all(name).iter();
            all.any(|v: &http::HeaderValue| !v.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
        };
        if other_than(CONTENT_ENCODING, "identity") {
            return Err("a compressed answer that was not asked for");
        }
        if other_than(TRANSFER_ENCODING, "chunked") {
            return Err("an unknown transfer encoding");
        }
        if head.headers.get_all(CONTENT_TYPE).iter().count() > 1 {
            return Err("two content types");
        }
        let media = media_type(head);
        match media.as_str() {
            "text/event-stream" => Ok(Self::Events),
            "text/html" => Err("an HTML page in place of an answer"),
            "application/json" => Ok(Self::Json),
            other if other.ends_with("+json") => Ok(Self::Json),
            _ => Ok(Self::Bytes),
        }
    }
}

pub(super) async fn read(open: &mut Open, by: Instant) -> Result<Option<Bytes>, Failure> {
    match tokio::time::timeout_at(by.into(), open.session.read_response_body()).await {
        Ok(piece) => piece.map_err(Failure::reset),
        Err(_) => Err(Failure::silent()),
    }
}

/// Reads a whole JSON answer. One without a length may be cut without a sign
/// of it, so it has to be whole JSON.
pub(super) async fn json(
    plan: &Plan,
    open: Open,
    by: Instant,
    framed: bool,
) -> Result<Bytes, Failure> {
    let body = collect(plan, open, by).await?;
    let whole = || serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
    let text = text.trim_ascii();
    match (text.first(), text.last()) {
        (Some(b'{' | b'['), Some(b'}' | b']')) if framed || whole() => Ok(body),
        (Some(b'{' | b'['), _) => Err(Failure::truncated("a JSON answer that is cut off")),
        (Some(_), _) => Err(Failure::invalid("a JSON answer that is none")),
        (None, _) => Err(Failure::invalid("an empty JSON answer")),
    }
}

/// Whether the answer's end can be told from a broken connection.
fn is_framed(head: &ResponseHeader) -> bool {
    head.version == http::Version::HTTP_2
        || head.headers.contains_key(CONTENT_LENGTH)
        || head.headers.contains_key(TRANSFER_ENCODING)
}

/// Reads a whole body, bounded.
async fn collect(plan: &Plan, mut open: Open, mut by: Instant) -> Result<Bytes, Failure> {
    let mut first: Option<Bytes> = None;
    let mut joined: Option<BytesMut> = None;
    let mut total = 0_usize;
    while let Some(piece) = read(&mut open, by).await? {
        by = Instant::now() + plan.timeouts.idle;
        plan.heard.piece(piece.len());
        total = total.saturating_add(piece.len());
        if total > plan.table.limits.response {
            open.cancel().await;
            return Err(Failure::invalid("a response over the limit"));
        }
        match (&mut first, &mut joined) {
            (None, _) => first = Some(piece),
            (Some(one), None) => {
                let mut all = BytesMut::with_capacity(total * 2);
                all.extend_from_slice(one);
                all.extend_from_slice(&piece);
                joined = Some(all);
            }
            (Some(_), Some(all)) => all.extend_from_slice(&piece),
        }
    }
    plan.heard.whole();
    open.release(&plan.connector).await;
    Ok(joined.map(BytesMut::freeze).or(first).unwrap_or_default())
}

/// Reads up to the first event that says something.
async fn events(plan: &Plan, mut open: Open, mut by: Instant) -> Result<Body, Failure> {
    let mut framer = Framer::new(plan.table.limits.event);
    let mut held = Vec::new();
    let mut held_bytes = 0_usize;
    let mut empty_bytes = 0_usize;
    let mut is_headless = false;
    loop {
        let Some(piece) = read(&mut open, by).await? else {
            return Err(Failure::truncated(
                "the stream ended before its first event",
            ));
        };
        by = Instant::now() + plan.timeouts.idle;
        framer.push(piece);
        while let Some(raw) = framer
            .next_event()
            .map_err(|_| Failure::invalid("an event over the limit"))?
        {
            let event = Event::parse(&raw);
            let progress = progress(plan.operation, &event);
            // What opens a stream of named events is said once, and without it
            // the rest has no meaning to its client.
            is_headless |=
                progress == Progress::Malformed && plan.operation.speech() != Speech::OpenAi;
            match progress {
                Progress::Nothing | Progress::Malformed => {
                    held_bytes = held_bytes.saturating_add(raw.len());
                    if held_bytes <= HELD {
                        held.push(raw);
                    }
                }
                // They open the answer that they belong to: they go first, when it comes.
                Progress::Empty => {
                    empty_bytes = empty_bytes.saturating_add(raw.len());
                    if empty_bytes > plan.table.limits.event.saturating_mul(EMPTY) {
                        open.cancel().await;
                        return Err(Failure::invalid("no content in its first events"));
                    }
                    held.push(raw);
                }
                Progress::Error => {
                    let failure = told_in_band(plan, event.data.as_deref().unwrap_or_default());
                    open.cancel().await;
                    return Err(failure);
                }
                Progress::Chunk | Progress::Finish | Progress::Done => {
                    if is_headless {
                        open.cancel().await;
                        return Err(Failure::invalid("a stream without its beginning"));
                    }
                    held.push(raw);
                    if plan.hold {
                        return held::events(plan, open, held, framer).await;
                    }
                    return Ok(Body::Events { held, framer, open });
                }
            }
        }
    }
}

/// Where a stream of bytes that pass stands, in the client's format.
pub fn progress(operation: Operation, event: &Event<'_>) -> Progress {
    let found = match operation.speech() {
        Speech::OpenAi => openai::progress(event),
        Speech::Anthropic | Speech::Responses => openai::named_progress(event),
    };
    match found {
        // Nobody knows what the events of the others are.
        Progress::Malformed if !operation.has_end() => Progress::Chunk,
        found => found,
    }
}

async fn raw(plan: &Plan, mut open: Open, by: Instant, status: u16) -> Result<Body, Failure> {
    let first = read(&mut open, by).await?;
    if first.is_some() {
        return Ok(Body::Raw { first, open });
    }
    open.release(&plan.connector).await;
    match status {
        // No content, and so it says.
        204 | 205 => Ok(Body::Whole(Bytes::new())),
        _ => Err(Failure::invalid("an empty answer")),
    }
}

/// An error in place of the first event: a failure like its status before it.
pub(super) fn told_in_band(plan: &Plan, data: &[u8]) -> Failure {
    translated::told(plan, plan.provider.wire.in_band(data))
}

/// A status that is not a success: whose fault, and where to go.
async fn refused(plan: &Plan, mut open: Open, head: &ResponseHeader) -> Failure {
    let status = head.status.as_u16();
    let body = error_body(&mut open).await;
    match &body {
        // Read to its end: the connection can be used again.
        Some(_) => open.release(&plan.connector).await,
        None => open.cancel().await,
    }
    let body = body.unwrap_or_default();
    let header = |name: &str| header_of(head, name);
    let mut told = plan.provider.wire.failure(status, &header, &body);
    let retry_after = returned::retry_after(head, SystemTime::now())
        .or_else(|| told.retry_after.map(Duration::from_secs));
    returned::complete(&mut told, head);
    let fault = match plan.operation.counts() && lacks_counter(&told) {
        true => Fault::NoCounter,
        false => classify(&told),
    };
    Failure {
        fault,
        status: Some(status),
        error: translate::failed(told, &plan.provider),
        retry_after,
        returned: plan.returned(head),
    }
}

/// A header by its lower-case name, as dialects ask for it.
pub(super) fn header_of(head: &ResponseHeader, name: &str) -> Option<String> {
    head.headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The body of an error, if it is short and comes soon.
async fn error_body(open: &mut Open) -> Option<Bytes> {
    let whole = async {
        let mut all = BytesMut::new();
        while let Some(piece) = open.session.read_response_body().await.ok()? {
            all.extend_from_slice(&piece);
            if all.len() > ERROR_BODY {
                return None;
            }
        }
        Some(all.freeze())
    };
    tokio::time::timeout(ERROR_TIME, whole).await.ok().flatten()
}
