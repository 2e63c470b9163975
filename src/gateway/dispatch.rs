//! From a decision to an answer: candidate by candidate while time is left.
//!
//! What to do after each failure is said by the [`Course`]; this loop does it.
//! The client is watched all the while: when it leaves, the attempts in flight
//! are dropped, which closes their connections. Nothing of an answer reaches
//! the client before an attempt holds some of its content.
//!
//! [`Course`]: crate::route::course::Course

use super::attempt::Served;
use super::bill::{Cover, Desk};
use super::failure::Failure;
use super::intake::Call;
use super::phases::Phase;
use super::race::{self, Ended};
use super::returned::Returned;
use super::translate::{Lane, Sending, prepare};
use super::trip::Trip;
use super::upstream::ASKING;
use super::vigil::{self, Interruption};
use super::{Ctx, Gateway, Stop, admit};
use crate::chat::{Conversation, Request, estimate};
use crate::error::{ErrorKind, GatewayError};
use crate::route::course::{End, Report, Role, Step};
use crate::route::fault::Fault;
use crate::table::{Decision, OnBreak, Provider, Target, Terms};
use crate::telemetry::AttemptRole;
use bytes::Bytes;
use pingora_proxy::Session;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What goes out, as the client sent it.
pub struct Outgoing {
    pub call: Call,
    pub request: Request,
    pub body: Bytes,
    /// How the route's requests are served.
    pub terms: Arc<Terms>,
    /// The longest answer that a budget still covers, in tokens, where that is
    /// less than what was asked for.
    pub max_output: Option<u64>,
    /// The canonical form, made when a target first needs it.
    pub parsed: OnceLock<Result<Conversation, GatewayError>>,
}

/// Writes the request for a target.
pub type Write<'a> = &'a (dyn Fn(&Target) -> Result<Sending, GatewayError> + Sync);

/// Tries the decision's candidates until one answers.
///
/// # Errors
/// The last failure that says something, or that the client left.
pub async fn run(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    decision: Decision,
    outgoing: &Outgoing,
) -> Result<(Served, Trip), Stop> {
    let stream = outgoing.request.stream;
    // What is held back is waited for as a whole.
    let begins = stream && outgoing.terms.on_break != OnBreak::Hold;
    // To count tokens takes a moment, and says nothing of answers.
    let is_usual = !outgoing.call.operation.counts();
    let mut trip = Trip::new(gateway, decision, (begins, is_usual), ctx.chance());
    if ctx.company.is_early {
        vigil::greet(session, ctx).await?;
    }
    let strict = outgoing.terms.strict;
    let write = |target: &Target| prepare(outgoing, target, strict);
    let way = Way {
        gateway,
        session,
        ctx,
        trip: &mut trip,
        outgoing,
        write: &write,
        more: 0,
    };
    let served = Dispatch { way, last: None }.first().await?;
    Ok((served, trip))
}

/// Goes on after a stream has broken off: with the candidates that are left,
/// and the requests that `write` makes for them. `more`: input tokens at most of
/// what was said so far.
///
/// # Errors
/// As [`run`].
pub async fn resume(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    trip: &mut Trip,
    outgoing: &Outgoing,
    (write, more): (Write<'_>, u64),
) -> Result<(Target, Served), Stop> {
    trip.forget_requests();
    ctx.renew_deadline(&outgoing.terms);
    let way = Way {
        gateway,
        session,
        ctx,
        trip,
        outgoing,
        write,
        more,
    };
    let served = Dispatch { way, last: None }.again().await?;
    let target = trip.serving_target();
    target.map(|target| (target, served)).ok_or(Stop::Gone)
}

/// What sending a request out needs, attempt by attempt.
pub(super) struct Way<'a> {
    pub gateway: &'a Gateway,
    pub session: &'a mut Session,
    pub ctx: &'a mut Ctx,
    pub trip: &'a mut Trip,
    pub outgoing: &'a Outgoing,
    pub write: Write<'a>,
    /// Input tokens beyond those of the client's request.
    pub more: u64,
}

/// One request being sent out.
struct Dispatch<'a> {
    way: Way<'a>,
    last: Option<GatewayError>,
}

impl Dispatch<'_> {
    async fn first(mut self) -> Result<Served, Stop> {
        let step = self.next();
        self.walk(step, None).await
    }

    /// The role of every attempt is then to continue.
    async fn again(mut self) -> Result<Served, Stop> {
        if let Some(at) = self.way.trip.serving.take() {
            self.way.trip.course.unusable(at);
        }
        let step = self.next();
        self.walk(step, Some(AttemptRole::Continue)).await
    }

    fn next(&mut self) -> Step {
        let (elapsed, deadline) = self.way.ctx.clock();
        self.way
            .trip
            .course
            .next(elapsed, deadline, &mut self.way.trip.sides)
    }

    async fn walk(&mut self, mut step: Step, role: Option<AttemptRole>) -> Result<Served, Stop> {
        loop {
            self.way.trip.count_refusals(self.way.ctx);
            if Instant::now() >= self.way.ctx.deadline() {
                return Err(self.way.ctx.out_of_time().into());
            }
            step = match step {
                Step::End(end) => return Err(self.ended(end).into()),
                Step::Wait { at, pause } => {
                    self.pause(pause).await?;
                    self.resumed(at)
                }
                Step::Try { at, role: why } => {
                    let role = role.unwrap_or(match why {
                        Role::First => AttemptRole::First,
                        Role::Retry => AttemptRole::Retry,
                        Role::Fallback => AttemptRole::Fallback,
                    });
                    match self.ask(at, role).await? {
                        Ok(served) => return Ok(served),
                        Err(step) => step,
                    }
                }
            };
        }
    }

    async fn pause(&mut self, pause: Duration) -> Result<(), Stop> {
        self.way.ctx.watch.enter(Phase::Pausing, Instant::now());
        let by = self.way.ctx.deadline().min(Instant::now() + pause);
        let slept = tokio::time::sleep_until(by.into());
        vigil::watch(self.way.session, self.way.ctx, slept)
            .await
            .map_err(stopped)?;
        // Whoever waits for a provider waits for it, also between attempts.
        self.way.ctx.record.upstream_time += pause;
        Ok(())
    }

    /// The pause before a candidate is over. Whoever else was let through to it
    /// as a probe in the meantime does not make this one wait again.
    fn resumed(&mut self, at: usize) -> Step {
        self.way.trip.sides.readmit(at);
        self.way.trip.course.resumed(at)
    }

    /// Asks one candidate: the answer, or what to do without one.
    async fn ask(&mut self, at: usize, role: AttemptRole) -> Result<Result<Served, Step>, Stop> {
        let sending = match self.way.sending(at) {
            Ok(sending) => sending,
            // Another target may be able to carry it; and one that could, and
            // failed, says more than this, unless nobody could read it.
            Err(error) => {
                let is_wrong = matches!(self.way.outgoing.parsed.get(), Some(Err(_)));
                if is_wrong || self.last.is_none() {
                    self.way.ctx.returned = Returned::default();
                    self.last = Some(error);
                }
                return Ok(Err(self.unusable(at)));
            }
        };
        if let Lane::Estimate { tokens } = sending.lane {
            return self.estimated(at, tokens).map(Ok);
        }
        let ended = race::run(&mut self.way, race::Start { at, role, sending }).await?;
        match ended {
            Ended::Served(at, served) => {
                let sending = self.way.sending(at)?;
                self.way.ctx.dropped.clone_from(&sending.dropped);
                self.way
                    .ctx
                    .dropped
                    .extend(unasked(self.way.session, sending.lane));
                Ok(Ok(*served))
            }
            Ended::Unreachable => Ok(Err(self.unusable(at))),
            Ended::Failed(at, failure) => self.failed(at, *failure),
        }
    }

    fn failed(&mut self, at: usize, failure: Failure) -> Result<Result<Served, Step>, Stop> {
        if failure.fault == Fault::NoCounter {
            let tokens = estimate::tokens(self.way.outgoing.conversation()?);
            return self.estimated(at, tokens).map(Ok);
        }
        let (elapsed, deadline) = self.way.ctx.clock();
        let report = Report {
            fault: failure.fault,
            retry_after: failure.retry_after,
            elapsed,
            deadline,
            chance: self.way.ctx.chance(),
        };
        let sides = &mut self.way.trip.sides;
        let step = self.way.trip.course.failed(at, &report, sides);
        if self.way.trip.course.has_left(at) {
            self.way.trip.sides.left(at, &failure);
        }
        self.way.ctx.returned = failure.returned;
        self.last = Some(failure.error);
        Ok(Err(step))
    }

    fn unusable(&mut self, at: usize) -> Step {
        self.way.trip.sides.release(at);
        self.way.trip.course.spare(at);
        self.way.trip.course.unusable(at);
        self.next()
    }

    /// A count that no provider made.
    fn estimated(&mut self, at: usize, tokens: u64) -> Result<Served, Stop> {
        self.way.trip.sides.release(at);
        self.way.ctx.answered_here();
        let provider = self.way.trip.sides.get(at).map(|side| {
            let provider: &Arc<Provider> = &side.candidate.target.provider;
            Arc::clone(provider)
        });
        provider
            .and_then(|provider| Served::estimate(&provider, tokens))
            .ok_or(Stop::Gone)
    }

    /// What the client is told when nothing more is tried.
    fn ended(&mut self, end: End) -> GatewayError {
        if Instant::now() >= self.way.ctx.deadline() {
            return self.way.ctx.out_of_time();
        }
        match (self.last.take(), end) {
            (Some(error), End::Later(after)) if error.retry_after().is_none() => {
                error.with_retry_after(Some(after))
            }
            (Some(error), _) => error,
            (None, _) if self.way.trip.limited.is_some() => {
                let refusal = self.way.trip.limited.take();
                refusal.map_or_else(no_target, |refusal| {
                    self.way.ctx.standing = *refusal.standing;
                    admit::refused(&refusal)
                })
            }
            (None, End::Later(after)) => {
                let text = "The provider of this model asked to be left alone for a while.";
                let kind = match self.way.trip.sides.are_limited() {
                    true => ErrorKind::RateLimited,
                    false => ErrorKind::UpstreamOverloaded,
                };
                GatewayError::new(kind, text)
                    .with_retry_after(Some(after))
                    .because("its Retry-After has not passed")
            }
            (None, _) => no_target(),
        }
    }
}

fn no_target() -> GatewayError {
    let text = "No provider for this model is reachable.";
    GatewayError::new(ErrorKind::NoTarget, text).because("no healthy endpoint")
}

impl Way<'_> {
    /// Reserves what an attempt may cost beside those that run. `None` where
    /// there is not enough left for it.
    pub async fn cover(&mut self, at: usize, running: &[usize]) -> Result<Option<Cover>, Stop> {
        let target = self.trip.sides.get(at).map(|s| s.candidate.target.clone());
        let (Some(target), Some(mut bill)) = (target, self.ctx.bill.take()) else {
            return Ok(None);
        };
        let desk = Desk {
            limiter: &self.gateway.accounts.limiter,
            now: self.gateway.accounts.clock.now(),
            // While a hedge waits for its turn, nobody listens to the first.
            until: match running.is_empty() {
                true => self.ctx.deadline(),
                false => Instant::now(),
            },
        };
        let covered = bill.cover(&desk, (at, &target), running, self.more);
        let covered = vigil::watch(self.session, self.ctx, covered).await;
        self.ctx.bill = Some(bill);
        match covered.map_err(stopped)? {
            Ok(cover) => Ok(Some(cover)),
            Err(refusal) => {
                self.ctx.metrics.accounting.refused(&refusal);
                self.trip.limited = Some(refusal);
                Ok(None)
            }
        }
    }

    /// The request for a candidate, written once.
    pub fn sending(&mut self, at: usize) -> Result<Arc<Sending>, GatewayError> {
        let Some(side) = self.trip.sides.get_mut(at) else {
            return Err(GatewayError::new(ErrorKind::Internal, "No such candidate."));
        };
        if let Some(sending) = &side.sending {
            return Ok(Arc::clone(sending));
        }
        let sending = Arc::new((self.write)(&side.candidate.target)?);
        side.sending = Some(Arc::clone(&sending));
        Ok(sending)
    }
}

/// Names of the client's headers that a translated request does not carry.
fn unasked(session: &Session, lane: Lane) -> Vec<String> {
    let sent = ASKING
        .into_iter()
        .filter(|name| lane != Lane::Pass && session.get_header(*name).is_some());
    sent.map(str::to_owned).collect()
}

/// The end of a request whose waiting was interrupted.
pub(super) fn stopped(why: Interruption) -> Stop {
    match why {
        Interruption::Client => Stop::Gone,
        Interruption::Gateway => stopping().into(),
    }
}

/// What a request is told that the stopping gateway cannot finish.
pub fn stopping() -> GatewayError {
    GatewayError::new(ErrorKind::Stopping, "The gateway is being stopped.")
        .with_retry_after(Some(Duration::from_secs(1)))
}
