//! One try at one address: connect, send, read the head, and wait for the
//! first thing that is worth showing to the client.
//!
//! An attempt succeeds only when it holds something to send: the whole body of
//! a JSON answer, the first real event of a stream, the first bytes of
//! anything else. Until then nothing has reached the client and the next
//! candidate can still serve it.

use super::upstream::{media_type, retry_after};
use crate::dialect::openai::{self, Progress};
use crate::error::{ErrorKind, GatewayError};
use crate::route::endpoint::Address;
use crate::table::{Limits, Provider};
use crate::telemetry::AttemptOutcome;
use crate::wire::sse::{Event, Framer};
use bytes::{Bytes, BytesMut};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::{Error, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a pooled connection may turn out to be closed already. Such a
/// try costs the provider nothing and is not counted.
const STALE: usize = 4;

/// Longest error body that is read for its message.
const ERROR_BODY: usize = 64 << 10;

/// How long an error body may take; its status is known already.
const ERROR_TIME: Duration = Duration::from_secs(2);

/// Interim (1xx) responses before an answer.
const INTERIM: usize = 8;

/// Comments that are kept until the first real event.
const HELD: usize = 64;

/// Everything an attempt needs to know.
pub struct Plan<'a> {
    pub connector: &'a Connector,
    pub provider: &'a Arc<Provider>,
    pub address: &'a Arc<Address>,
    pub limits: &'a Limits,
    pub first_byte_by: Instant,
}

/// An answer that has begun.
pub struct Served {
    pub provider: Arc<Provider>,
    pub head: ResponseHeader,
    pub body: Body,
}

impl Served {
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
    /// Anything else.
    Raw { first: Option<Bytes>, open: Open },
}

/// A connection with an answer still on it.
pub struct Open {
    pub session: HttpSession,
    address: Arc<Address>,
    pool_idle: Duration,
}

impl Open {
    /// Gives the connection back after its answer was read to the end.
    pub async fn release(self, connector: &Connector) {
        connector
            .release_http_session(self.session, &self.address.peer, Some(self.pool_idle))
            .await;
    }

    /// Closes the connection: the provider stops working on the answer.
    pub async fn cancel(mut self) {
        self.session.shutdown().await;
    }
}

/// Where to go after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another endpoint of the same target may do better.
    Endpoint,
    /// The same would happen at every endpoint of this target.
    Target,
    /// The same would happen everywhere.
    Stop,
}

/// An attempt that failed.
#[derive(Debug)]
pub struct Failure {
    pub outcome: AttemptOutcome,
    pub status: Option<u16>,
    pub error: GatewayError,
    pub next: Next,
}

impl Failure {
    fn new(
        outcome: AttemptOutcome,
        next: Next,
        kind: ErrorKind,
        public: &'static str,
        source: impl ToString,
    ) -> Self {
        Self {
            outcome,
            status: None,
            error: GatewayError::new(kind, public).because(source),
            next,
        }
    }

    fn connect(e: &Error) -> Self {
        let text = "The provider could not be reached.";
        Self::new(
            AttemptOutcome::ConnectFailed,
            Next::Endpoint,
            ErrorKind::UpstreamError,
            text,
            e,
        )
    }

    fn reset(e: impl ToString) -> Self {
        let text = "The provider broke off before its answer.";
        Self::new(
            AttemptOutcome::Reset,
            Next::Endpoint,
            ErrorKind::UpstreamError,
            text,
            e,
        )
    }

    fn silent() -> Self {
        let text = "The provider did not answer in time.";
        Self::new(
            AttemptOutcome::Timeout,
            Next::Target,
            ErrorKind::DeadlineExceeded,
            text,
            "no first byte in time",
        )
    }

    fn invalid(why: &'static str) -> Self {
        let text = "The provider's answer was not understood.";
        Self::new(
            AttemptOutcome::InvalidResponse,
            Next::Endpoint,
            ErrorKind::UpstreamError,
            text,
            why,
        )
    }
}

/// Makes the attempt.
pub async fn run(plan: &Plan<'_>, head: RequestHeader, body: &[Bytes]) -> Result<Served, Failure> {
    let by = plan.first_byte_by.into();
    let begun = async {
        let session = send(plan, head, body).await?;
        receive(plan, session).await
    };
    match tokio::time::timeout_at(by, begun).await {
        Ok(result) => result,
        Err(_) => Err(Failure::silent()),
    }
}

/// Connects, sends, and reads the head of the final response.
async fn send(
    plan: &Plan<'_>,
    head: RequestHeader,
    body: &[Bytes],
) -> Result<HttpSession, Failure> {
    let peer = &plan.address.peer;
    let mut stale = 0;
    loop {
        let (mut session, reused) = match plan.connector.get_http_session(peer).await {
            Ok(got) => got,
            Err(e) if is_downgrade(&e) && stale < STALE => {
                plan.connector.prefer_h1(peer);
                stale = STALE;
                continue;
            }
            Err(e) => return Err(Failure::connect(&e)),
        };
        session.set_read_timeout(peer.options.read_timeout);
        session.set_write_timeout(peer.options.write_timeout);
        match exchange(&mut session, head.clone(), body).await {
            Ok(()) => return Ok(session),
            Err(e) => {
                session.shutdown().await;
                if reused && stale < STALE {
                    stale += 1;
                } else if is_downgrade(&e) && stale < STALE {
                    plan.connector.prefer_h1(peer);
                    stale = STALE;
                } else {
                    return Err(Failure::reset(e));
                }
            }
        }
    }
}

fn is_downgrade(e: &Error) -> bool {
    matches!(e.etype, ErrorType::H2Downgrade | ErrorType::InvalidH2)
}

async fn exchange(
    session: &mut HttpSession,
    head: RequestHeader,
    body: &[Bytes],
) -> pingora_core::Result<()> {
    session.write_request_header(Box::new(head)).await?;
    if let Err(unsent) = upload(session, body).await {
        // A provider may refuse a large body before it has read it all; its
        // answer is then there, though the rest cannot be sent.
        return match tokio::time::timeout(ERROR_TIME, final_head(session)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(unsent),
        };
    }
    final_head(session).await
}

async fn upload(session: &mut HttpSession, body: &[Bytes]) -> pingora_core::Result<()> {
    let last = body.len().saturating_sub(1);
    for (i, piece) in body.iter().enumerate() {
        session.write_request_body(piece.clone(), i == last).await?;
    }
    session.finish_request_body().await
}

async fn final_head(session: &mut HttpSession) -> pingora_core::Result<()> {
    for _ in 0..INTERIM {
        session.read_response_header().await?;
        match session.response_header().map(|h| h.status.as_u16()) {
            // Nobody asked for another protocol.
            Some(101) => return Error::e_explain(ErrorType::InvalidHTTPHeader, "unsolicited 101"),
            Some(100..200) => {}
            _ => return Ok(()),
        }
    }
    Error::e_explain(ErrorType::InvalidHTTPHeader, "too many interim responses")
}

/// Reads what makes the answer an answer.
async fn receive(plan: &Plan<'_>, session: HttpSession) -> Result<Served, Failure> {
    let Some(head) = session.response_header().cloned() else {
        return Err(Failure::invalid("no response head"));
    };
    let open = Open {
        session,
        address: Arc::clone(plan.address),
        pool_idle: plan.provider.timeouts.pool_idle,
    };
    let status = head.status.as_u16();
    if !(200..300).contains(&status) {
        return Err(refused(plan, open, &head).await);
    }
    let media = media_type(&head);
    let body = if media == "text/event-stream" {
        events(plan, open).await?
    } else if media == "application/json" || media.ends_with("+json") {
        Body::Whole(collect(plan, open).await?)
    } else if media == "text/html" {
        open.cancel().await;
        return Err(Failure {
            status: Some(status),
            ..Failure::invalid("an HTML page in place of an answer")
        });
    } else {
        raw(open).await?
    };
    Ok(Served {
        provider: Arc::clone(plan.provider),
        head,
        body,
    })
}

async fn read(open: &mut Open) -> Result<Option<Bytes>, Failure> {
    open.session
        .read_response_body()
        .await
        .map_err(Failure::reset)
}

/// Reads a whole body, bounded.
async fn collect(plan: &Plan<'_>, mut open: Open) -> Result<Bytes, Failure> {
    let mut first: Option<Bytes> = None;
    let mut joined: Option<BytesMut> = None;
    let mut total = 0_usize;
    while let Some(piece) = read(&mut open).await? {
        total = total.saturating_add(piece.len());
        if total > plan.limits.response {
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
    open.release(plan.connector).await;
    Ok(joined.map(BytesMut::freeze).or(first).unwrap_or_default())
}

/// Reads up to the first event that says something.
async fn events(plan: &Plan<'_>, mut open: Open) -> Result<Body, Failure> {
    let mut framer = Framer::new(plan.limits.event);
    let mut held = Vec::new();
    loop {
        let Some(piece) = read(&mut open).await? else {
            return Err(Failure::reset("the stream ended before its first event"));
        };
        framer.push(piece);
        while let Some(raw) = framer
            .next_event()
            .map_err(|_| Failure::invalid("an event over the limit"))?
        {
            let event = Event::parse(&raw);
            match openai::progress(&event) {
                Progress::Nothing if held.len() >= HELD => {}
                Progress::Nothing => held.push(raw),
                Progress::Error => {
                    let failure = told_in_band(plan, event.data.as_deref().unwrap_or_default());
                    open.cancel().await;
                    return Err(failure);
                }
                Progress::Chunk | Progress::Finish | Progress::Done => {
                    held.push(raw);
                    return Ok(Body::Events { held, framer, open });
                }
            }
        }
    }
}

async fn raw(mut open: Open) -> Result<Body, Failure> {
    let first = read(&mut open).await?;
    Ok(Body::Raw { first, open })
}

/// An error in place of the first event: a failure like a 502 before it.
fn told_in_band(plan: &Plan<'_>, data: &[u8]) -> Failure {
    let error = openai::provider_error(502, data, None, |t| plan.provider.scrub(t));
    Failure {
        outcome: AttemptOutcome::ServerError,
        status: Some(200),
        error,
        next: Next::Target,
    }
}

/// A status that is not a success: whose fault, and where to go.
async fn refused(plan: &Plan<'_>, mut open: Open, head: &ResponseHeader) -> Failure {
    let status = head.status.as_u16();
    let body = error_body(&mut open).await;
    match &body {
        // Read to its end: the connection can be used again.
        Some(_) => open.release(plan.connector).await,
        None => open.cancel().await,
    }
    let body = body.unwrap_or_default();
    let error =
        openai::provider_error(status, &body, retry_after(head), |t| plan.provider.scrub(t));
    let (outcome, next) = classify(status);
    Failure {
        outcome,
        status: Some(status),
        error,
        next,
    }
}

/// What a provider's status means for the next step.
fn classify(status: u16) -> (AttemptOutcome, Next) {
    match status {
        401 | 403 => (AttemptOutcome::AuthFailed, Next::Target),
        402 | 429 => (AttemptOutcome::RateLimited, Next::Target),
        404 => (AttemptOutcome::Rejected, Next::Target),
        408 | 409 => (AttemptOutcome::ServerError, Next::Endpoint),
        400..=499 => (AttemptOutcome::Rejected, Next::Stop),
        500..=599 => (AttemptOutcome::ServerError, Next::Endpoint),
        // A redirect is never followed, and nothing else is an answer.
        _ => (AttemptOutcome::InvalidResponse, Next::Endpoint),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_means() {
        for (status, outcome, next) in [
            (400, AttemptOutcome::Rejected, Next::Stop),
            (422, AttemptOutcome::Rejected, Next::Stop),
            (401, AttemptOutcome::AuthFailed, Next::Target),
            (404, AttemptOutcome::Rejected, Next::Target),
            (429, AttemptOutcome::RateLimited, Next::Target),
            (500, AttemptOutcome::ServerError, Next::Endpoint),
            (529, AttemptOutcome::ServerError, Next::Endpoint),
            (302, AttemptOutcome::InvalidResponse, Next::Endpoint),
        ] {
            assert_eq!(classify(status), (outcome, next), "{status}");
        }
    }
}
