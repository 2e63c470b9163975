//! A stream of the client's own format, whose bytes pass.

use super::Ctx;
use super::attempt::Open;
use super::passing::{Reading, Step};
use super::relay::{End, Expected, Usage, broken, reported};
use super::tally::with_cost;
use super::transcript::Passed;
use super::watch::{Broken, Watch};
use crate::chat::Speech;
use crate::dialect::usage::is_usage_alone;
use crate::table::Provider;
use crate::wire::sse::{Event, Framer};
use bytes::Bytes;
use pingora_proxy::Session;

/// A stream under way.
pub(super) struct Passing<'a> {
    ctx: &'a mut Ctx,
    provider: &'a Provider,
    framer: Framer,
    open: Open,
    reading: Reading,
    watch: Watch,
    speech: Speech,
    /// What becomes of the usage that was asked for.
    usage: Usage,
    /// What the client got, if another may have to go on.
    passed: Option<Passed>,
}

impl<'a> Passing<'a> {
    pub fn new(
        ctx: &'a mut Ctx,
        expected: &Expected,
        provider: &'a Provider,
        (framer, open): (Framer, Open),
        passed: Option<Passed>,
    ) -> Self {
        Self {
            ctx,
            provider,
            framer,
            open,
            reading: Reading::new(expected.operation, expected.choices),
            watch: Watch::stream(&expected.terms.timeouts(&provider.timeouts)),
            speech: expected.operation.speech(),
            usage: expected.usage,
            passed,
        }
    }

    /// Passes the stream on; `held` are the events that came before.
    pub async fn relay(&mut self, session: &mut Session, held: Vec<Bytes>) -> End {
        for raw in held {
            if let Some(end) = self.pass(session, raw).await {
                return end;
            }
        }
        loop {
            loop {
                match self.framer.next_event() {
                    Ok(Some(raw)) => {
                        if let Some(end) = self.pass(session, raw).await {
                            return end;
                        }
                    }
                    Ok(None) => break,
                    Err(_) => return End::Lost(broken("an event over the limit")),
                }
            }
            match self.watch.next(session, self.ctx, &mut self.open).await {
                Ok(Some(piece)) => self.framer.push(piece),
                Ok(None) => return self.at_end(),
                Err(Broken::Gone) => return End::Gone,
                Err(Broken::Over(error)) => return End::Over(error),
                // After the finish nothing is missing but the farewell.
                Err(Broken::Upstream(_)) if self.reading.finished => return End::Finished,
                Err(Broken::Upstream(why)) => return End::Lost(broken(&why)),
            }
        }
    }

    /// Passes one event on; `Some` when it was the last.
    async fn pass(&mut self, session: &mut Session, mut raw: Bytes) -> Option<End> {
        let step = self.reading.step(&raw, self.watch.is_counting);
        match step {
            Step::Send { tokens: 0 } | Step::Last => {}
            Step::Send { tokens } => self.watch.said(tokens),
            Step::Skip => {
                self.ctx.malformed(&self.provider.name);
                return None;
            }
            Step::Failed => {
                let event = Event::parse(&raw);
                let data = event.data.as_deref().unwrap_or_default();
                return Some(reported(self.provider.wire.in_band(data), self.provider));
            }
            Step::Lost(why) => {
                if self.reading.faults.fresh() > 0 {
                    self.ctx.malformed(&self.provider.name);
                }
                return Some(End::Lost(broken(why)));
            }
        }
        let may_tell = self.ctx.tally.event(self.speech, &raw);
        if let Some(passed) = &mut self.passed {
            passed.keep(&raw);
        }
        if may_tell && self.usage != Usage::Passes && is_usage_alone(&raw) {
            match self.usage {
                Usage::Priced => raw = with_cost(&raw, self.ctx),
                // Asked for by the gateway, for itself.
                _ => return None,
            }
        }
        match self.watch.write(session, self.ctx, raw).await {
            Ok(()) if step == Step::Last => Some(End::Done),
            Ok(()) => None,
            Err(_) => Some(End::Gone),
        }
    }

    /// The provider has nothing more: was that all?
    fn at_end(&mut self) -> End {
        let cut = self.framer.rest() > 0;
        self.framer.push(Bytes::from_static(b"\n\n"));
        let tail = self.framer.next_event().ok().flatten().unwrap_or_default();
        let rest = if cut { &*tail } else { b"" };
        match self.reading.is_whole(rest) {
            true => End::Finished,
            false => End::Lost(broken("the stream ended early")),
        }
    }

    /// The connection, and what the client got.
    pub fn finish(self) -> (Open, Option<Passed>) {
        (self.open, self.passed)
    }
}
