//! The next bytes of an answer, while somebody waits for them and no limit has
//! passed.
//!
//! `idle` bounds the time without any bytes; the pace is a matter of content
//! alone, so a provider that only keeps the connection warm has stalled. Time
//! in which a slow client was written to is not the provider's.

use super::Ctx;
use super::Stop;
use super::attempt::Open;
use super::dispatch::stopping;
use super::relay::write;
use super::vigil::{Interruption, interrupted};
use crate::error::{ErrorKind, GatewayError};
use crate::route::pace::{Limits, Pace, Rate};
use crate::table::Timeouts;
use bytes::Bytes;
use pingora_proxy::Session;
use std::time::{Duration, Instant};

/// Why there is nothing more.
pub(super) enum Broken {
    /// The client left.
    Gone,
    /// No other provider could help: the gateway is being stopped, or the whole
    /// answer's time is over.
    Over(GatewayError),
    /// The provider broke off, went silent or is too slow.
    Upstream(String),
}

/// The limits of one stream.
pub(super) struct Watch {
    idle: Duration,
    pace: Option<Pace>,
    /// Tokens are asked for.
    pub is_counting: bool,
}

impl Watch {
    /// For a stream of content that has begun.
    pub fn stream(limits: &Timeouts) -> Self {
        let rate = Rate {
            tokens_per_second: limits.min_tokens_per_second,
            window: limits.rate_window,
        };
        let is_counting = rate.tokens_per_second > 0.0;
        let pace = Limits {
            stall: limits.stall,
            min_rate: is_counting.then_some(rate),
        };
        Self {
            idle: limits.idle,
            pace: Some(Pace::new(pace, Instant::now())),
            is_counting,
        }
    }

    /// For bytes of which nothing is known.
    pub const fn bytes(limits: &Timeouts) -> Self {
        Self {
            idle: limits.idle,
            pace: None,
            is_counting: false,
        }
    }

    /// Content came, about so many tokens.
    pub fn said(&mut self, tokens: u64) {
        if let Some(pace) = &mut self.pace {
            pace.said(tokens, Instant::now());
        }
    }

    /// Writes to the client, whose time is not the provider's.
    pub async fn write(
        &mut self,
        session: &mut Session,
        ctx: &mut Ctx,
        bytes: Bytes,
    ) -> Result<(), Stop> {
        let began = Instant::now();
        let written = write(&mut session.downstream_session, ctx, bytes, false).await;
        if let Some(pace) = &mut self.pace {
            pace.paused(began.elapsed());
        }
        written
    }

    /// What has run out by `now` of what is counted from `began` on.
    fn spent(&mut self, began: Instant, now: Instant) -> Option<String> {
        if let Some(Err(slow)) = self.pace.as_mut().map(|pace| pace.check(now)) {
            return Some(slow.to_string());
        }
        (now.saturating_duration_since(began) >= self.idle)
            .then(|| format!("silent for {} s", self.idle.as_secs_f32()))
    }

    /// When to look again.
    fn due(&self, began: Instant) -> Instant {
        let idle = began + self.idle;
        self.pace.as_ref().map_or(idle, |pace| pace.due().min(idle))
    }

    /// The next piece of the answer; `None` at its end.
    pub async fn next(
        &mut self,
        session: &mut Session,
        ctx: &mut Ctx,
        open: &mut Open,
    ) -> Result<Option<Bytes>, Broken> {
        let began = Instant::now();
        let answer_by = ctx.answer_by();
        let piece = {
            let read = open.session.read_response_body();
            let leaving = interrupted(&mut session.downstream_session, &mut ctx.ending);
            tokio::pin!(read, leaving);
            loop {
                let now = Instant::now();
                if answer_by.is_some_and(|by| now >= by) {
                    break Err(Broken::Over(late()));
                }
                if let Some(why) = self.spent(began, now) {
                    break Err(Broken::Upstream(why));
                }
                let due = self.due(began);
                let due = answer_by.map_or(due, |by| by.min(due));
                tokio::select! {
                    biased;
                    piece = &mut read => break piece.map_err(|e| Broken::Upstream(e.to_string())),
                    why = &mut leaving => break Err(match why {
                        Interruption::Client => Broken::Gone,
                        Interruption::Gateway => {
                            Broken::Over(stopping().because("grace period over"))
                        }
                    }),
                    () = tokio::time::sleep_until(due.into()) => {}
                }
            }
        };
        ctx.record.upstream_time += began.elapsed();
        piece
    }
}

/// What a client is told whose answer is not complete in time.
pub(super) fn late() -> GatewayError {
    let text = "The answer was not complete in time.";
    GatewayError::new(ErrorKind::DeadlineExceeded, text).because("the whole answer's deadline")
}
