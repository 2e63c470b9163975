//! One request on one connection: connect, send, and read the answer's head.

use super::attempt::Plan;
use super::authority::Authority;
use super::failure::Failure;
use super::phases::Phase;
use bytes::Bytes;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::{Error, ErrorType, RetryType};
use pingora_http::RequestHeader;
use std::time::{Duration, Instant};

/// How often a pooled connection may turn out to be closed already. Such a
/// try costs the provider nothing and is not counted.
const STALE: usize = 2;

/// How soon a connection that was closed before the request shows it: the way
/// there and back. What breaks later may have been worked on, and is a failed
/// attempt like any other.
const STALE_WITHIN: Duration = Duration::from_millis(500);

/// Most that is written at once: the write timeout is for each piece, so a slow
/// but moving upload is not cut.
const WRITE: usize = 256 << 10;

/// How long the answer to an upload that broke off may take.
const EARLY: Duration = Duration::from_secs(2);

/// Interim (1xx) responses before an answer.
const INTERIM: usize = 8;

/// A connection with the head of an answer.
pub struct Exchanged {
    pub session: HttpSession,
    /// The provider took the whole request. If not, what follows on this
    /// connection would be read as the rest of it.
    pub sent_all: bool,
    /// When the first of the answer's body must be there.
    pub answer_by: Instant,
}

/// Connects, sends, and reads the head of the final response. The credential
/// goes on last, each time that something is sent: a signature is for these
/// bytes and this moment.
pub async fn run(
    plan: &Plan,
    head: RequestHeader,
    authority: Option<&Authority>,
) -> Result<Exchanged, Failure> {
    let body = &plan.sending.pieces;
    let peer = &plan.address.peer;
    let mut tries = 0;
    let mut head = Some(Box::new(head));
    loop {
        tries += 1;
        let (mut session, reused) = match plan.connector.get_http_session(peer).await {
            Ok(got) => got,
            Err(e) if tries <= STALE && is_stale_h2(&e) => {
                downgrade(&plan.connector, plan, &e);
                continue;
            }
            Err(e) => return Err(Failure::connect(&e)),
        };
        plan.watch.enter(Phase::Head, Instant::now());
        // The net below the limits that are kept here.
        let longest = plan.timeouts.first_byte.max(plan.timeouts.idle);
        session.set_read_timeout(Some(longest + Duration::from_secs(1)));
        session.set_write_timeout(peer.options.write_timeout);
        // The last try may have the original.
        let again = reused || peer.options.alpn.get_max_http_version() == 2;
        let sending = if again && tries <= STALE {
            head.clone()
        } else {
            head.take()
        };
        let Some(mut sending) = sending else {
            return Err(Failure::reset("no request left to send"));
        };
        if let Some(authority) = authority {
            authority.sign(&mut sending, body)?;
        }
        let began = Instant::now();
        let e = match exchange(plan, &mut session, sending, body).await {
            Ok((sent_all, answer_by)) => {
                return Ok(Exchanged {
                    session,
                    sent_all,
                    answer_by,
                });
            }
            Err(Broken::Silent) => {
                session.shutdown().await;
                return Err(Failure::silent());
            }
            Err(Broken::Error(e)) => e,
        };
        let untouched = session.response_header().is_none();
        session.shutdown().await;
        let stale = reused && untouched && began.elapsed() < STALE_WITHIN && is_closed(&e);
        let unseen = is_stale_h2(&e) && is_unseen(&e);
        if head.is_none() || tries > STALE || !(stale || unseen) {
            return Err(Failure::reset(e));
        }
        downgrade(&plan.connector, plan, &e);
    }
}

/// Errors of a connection that the other side had closed.
fn is_closed(e: &Error) -> bool {
    matches!(
        e.etype,
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
    )
}

/// Whether the other side says that it has not looked at the request. A stream
/// that is reset may have been worked on, and is a failed attempt.
fn is_unseen(e: &Error) -> bool {
    matches!(e.retry, RetryType::Decided(true))
}

/// Errors of HTTP/2 by which a connection turns out to be of no use.
fn is_stale_h2(e: &Error) -> bool {
    matches!(
        e.etype,
        ErrorType::H2Error | ErrorType::H2Downgrade | ErrorType::InvalidH2
    )
}

fn downgrade(connector: &Connector, plan: &Plan, e: &Error) {
    if matches!(e.etype, ErrorType::H2Downgrade | ErrorType::InvalidH2) {
        connector.prefer_h1(&plan.address.peer);
    }
}

enum Broken {
    Error(Box<Error>),
    Silent,
}

impl From<Box<Error>> for Broken {
    fn from(e: Box<Error>) -> Self {
        Self::Error(e)
    }
}

async fn exchange(
    plan: &Plan,
    session: &mut HttpSession,
    head: Box<RequestHeader>,
    body: &[Bytes],
) -> Result<(bool, Instant), Broken> {
    session.write_request_header(head).await?;
    if let Err(unsent) = upload(session, body).await {
        // A provider may refuse a large body before it has read it all; its
        // answer is then there, though the rest cannot be sent.
        return match tokio::time::timeout(EARLY, final_head(session)).await {
            Ok(Ok(())) => Ok((false, Instant::now() + EARLY)),
            _ => Err(unsent.into()),
        };
    }
    let answer_by = plan.deadline.min(Instant::now() + plan.timeouts.first_byte);
    match tokio::time::timeout_at(answer_by.into(), final_head(session)).await {
        Ok(result) => result.map(|()| (true, answer_by)).map_err(Broken::Error),
        Err(_) => Err(Broken::Silent),
    }
}

async fn upload(session: &mut HttpSession, body: &[Bytes]) -> pingora_core::Result<()> {
    let last = body.len().saturating_sub(1);
    for (i, piece) in body.iter().enumerate() {
        let mut rest = piece.clone();
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(WRITE));
            let end = i == last && rest.is_empty();
            session.write_request_body(part, end).await?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_is_reset_may_have_been_worked_on() {
        let mut e = Error::explain(ErrorType::H2Error, "reset by the other side");
        assert!(is_stale_h2(&e) && !is_unseen(&e));
        e.retry = RetryType::ReusedOnly;
        assert!(!is_unseen(&e));
        e.retry = RetryType::Decided(true);
        assert!(is_unseen(&e));
    }
}
