//! All or nothing: a stream that is read to its end before any of it is sent.
//!
//! Until then a break is a failure like any other, and the next candidate can
//! still serve the client.

use super::attempt::{Body, Open, Plan, told_in_band};
use super::failure::Failure;
use super::passing::{Faults, Reading, Step, decode};
use super::translated::{says_something, told, unreadable};
use crate::chat::{self, Decoder};
use crate::route::pace::{Limits, Pace};
use crate::table::Timeouts;
use crate::wire::sse::{Event, Framer};
use bytes::Bytes;
use std::time::Instant;

/// Reads a stream of the client's own format on to its end; `held` is its
/// beginning.
///
/// # Errors
/// When it does not end well.
pub(super) async fn events(
    plan: &Plan,
    open: Open,
    mut held: Vec<Bytes>,
    mut framer: Framer,
) -> Result<Body, Failure> {
    let mut reading = Reading::new(plan.operation, plan.choices);
    let mut rest = Rest::new(plan, open);
    for raw in &held {
        plan.heard.event(plan.operation.speech(), raw);
        if let Some(Content::Last) = step(plan, &mut reading, raw)? {
            return Ok(rest.events(held, framer));
        }
    }
    loop {
        while let Some(raw) = framer
            .next_event()
            .map_err(|_| Failure::invalid("an event over the limit"))?
        {
            plan.heard.event(plan.operation.speech(), &raw);
            let content = step(plan, &mut reading, &raw)?;
            held.push(raw);
            match content {
                Some(Content::Last) => return Ok(rest.events(held, framer)),
                Some(Content::Some) => rest.said(),
                None => {}
            }
        }
        match rest.next().await {
            Ok(Some(piece)) => framer.push(piece),
            // Whether that was all is asked again where it is sent.
            Ok(None) if reading.finished || framer.rest() == 0 && reading.is_whole(b"") => {
                return Ok(rest.events(held, framer));
            }
            Ok(None) => return Err(Failure::reset("the stream ended early")),
            Err(_) if reading.finished => return Ok(rest.events(held, framer)),
            Err(failure) => return Err(failure),
        }
    }
}

/// Reads a translated stream on to its end; `events` are its beginning.
///
/// # Errors
/// When it does not end well.
pub(super) async fn decoded(
    plan: &Plan,
    open: Open,
    mut events: Vec<chat::Event>,
    (mut decoder, mut faults): (Box<dyn Decoder>, Faults),
) -> Result<Body, Failure> {
    let mut rest = Rest::new(plan, open);
    let mut from = 0;
    loop {
        let fresh = events.get_mut(from..).unwrap_or_default();
        plan.heard.decoded(fresh);
        if let Some(chat::Event::Failed(failure)) = fresh
            .iter()
            .find(|event| matches!(event, chat::Event::Failed(_)))
        {
            let failure = failure.clone();
            rest.open.cancel().await;
            return Err(told(plan, failure));
        }
        if fresh.contains(&chat::Event::End) {
            return Ok(Body::Decoded {
                events,
                decoder,
                faults,
                open: rest.open,
            });
        }
        if fresh.iter().any(says_something) {
            rest.said();
        }
        from = events.len();
        match rest.next().await? {
            Some(piece) => decode(&mut *decoder, piece, &mut faults, &mut events)
                .map_err(|e| unreadable(&e))?,
            None => {
                decoder.end(&mut events).map_err(|e| unreadable(&e))?;
                events.push(chat::Event::End);
            }
        }
    }
}

/// What an event means for a stream that is held.
enum Content {
    Some,
    Last,
}

fn step(plan: &Plan, reading: &mut Reading, raw: &[u8]) -> Result<Option<Content>, Failure> {
    match reading.step(raw, false) {
        Step::Send { tokens: 0 } | Step::Skip => Ok(None),
        Step::Send { .. } => Ok(Some(Content::Some)),
        Step::Last => Ok(Some(Content::Last)),
        Step::Lost(why) => Err(Failure::invalid(why)),
        Step::Failed => {
            let event = Event::parse(raw);
            let data = event.data.as_deref().unwrap_or_default();
            Err(told_in_band(plan, data))
        }
    }
}

/// What is still to come.
struct Rest {
    open: Open,
    limits: Timeouts,
    pace: Pace,
    /// Bytes that may still come.
    room: usize,
}

impl Rest {
    fn new(plan: &Plan, open: Open) -> Self {
        let limits = plan.timeouts.clone();
        // Nobody reads yet, so nobody is waiting for a rate.
        let pace = Limits {
            stall: limits.stall,
            min_rate: None,
        };
        Self {
            open,
            pace: Pace::new(pace, Instant::now()),
            limits,
            room: plan.table.limits.response,
        }
    }

    fn said(&mut self) {
        self.pace.said(1, Instant::now());
    }

    fn events(self, held: Vec<Bytes>, framer: Framer) -> Body {
        Body::Events {
            held,
            framer,
            open: self.open,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let now = Instant::now();
        if let Err(slow) = self.pace.check(now) {
            return Err(Failure::stalled(slow));
        }
        let by = self.pace.due().min(now + self.limits.idle);
        let read = self.open.session.read_response_body();
        let piece = match tokio::time::timeout_at(by.into(), read).await {
            Ok(piece) => piece.map_err(Failure::reset)?,
            Err(_) => return Err(Failure::stalled("the stream has stalled")),
        };
        let bytes = piece.as_ref().map_or(0, Bytes::len);
        self.room = self
            .room
            .checked_sub(bytes)
            .ok_or_else(|| Failure::invalid("a response over the limit"))?;
        Ok(piece)
    }
}
