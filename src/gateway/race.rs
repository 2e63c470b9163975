//! One attempt; or two beside each other, where the route hedges: a second
//! candidate is asked when the first is silent for too long, whoever speaks
//! first is heard, and the other is cut off at once.

use super::Stop;
use super::attempt::{self, Plan, Served};
use super::bill::{Cover, Due};
use super::dispatch::{Way, stopped};
use super::failure::Failure;
use super::heard::Heard;
use super::phases::{Phase, Stopwatch};
use super::translate::{Lane, Sending};
use super::trip::learn;
use super::upstream::request_head;
use super::vigil;
use crate::error::{ErrorKind, GatewayError};
use crate::route::balance::Picked;
use crate::route::breaker::Permit;
use crate::route::course::View as _;
use crate::route::endpoint::Address;
use crate::route::fault::Fault;
use crate::route::hedging::Caps;
use crate::table::OnBreak;
use crate::telemetry::{Attempt, AttemptOutcome, AttemptRole};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// A candidate to ask.
pub struct Start {
    pub at: usize,
    pub role: AttemptRole,
    pub sending: Arc<Sending>,
}

/// How it ended. The candidate may be another than the one that was begun with.
pub enum Ended {
    Served(usize, Box<Served>),
    Failed(usize, Box<Failure>),
    /// The candidate has no endpoint that may be asked.
    Unreachable,
}

/// The attempts at one candidate, and at one beside it.
struct Race<'r, 'a> {
    way: &'r mut Way<'a>,
    running: Vec<Running>,
}

struct Running {
    at: usize,
    role: AttemptRole,
    address: Arc<Address>,
    permit: Permit,
    started: Instant,
    watch: Arc<Stopwatch>,
    heard: Arc<Heard>,
    /// What it holds of limits and budgets.
    cover: Cover,
    future: Pin<Box<dyn Future<Output = Result<Served, Failure>> + Send>>,
}

/// What happens next among those that run.
enum News {
    /// One of them is done.
    Done(usize, Box<Result<Served, Failure>>),
    /// The first was silent for as long as a route waits before it hedges.
    Hedge,
}

/// Asks a candidate, and perhaps another one beside it.
///
/// # Errors
/// Only when there is nobody left to ask for.
pub(super) async fn run(way: &mut Way<'_>, start: Start) -> Result<Ended, Stop> {
    let mut race = Race {
        way,
        running: Vec::with_capacity(1),
    };
    let at = start.at;
    let watch = Arc::clone(&race.way.ctx.watch);
    if let Some(failure) = race.start(start, watch).await? {
        return Ok(Ended::Failed(at, Box::new(failure)));
    }
    if race.running.is_empty() {
        return Ok(Ended::Unreachable);
    }
    race.finish(at).await
}

impl Race<'_, '_> {
    /// Begins an attempt. A failure is one of the provider's name; nothing
    /// begins where no endpoint may be asked.
    async fn start(
        &mut self,
        start: Start,
        watch: Arc<Stopwatch>,
    ) -> Result<Option<Failure>, Stop> {
        let (at, began) = (start.at, Instant::now());
        watch.enter(Phase::Connecting, began);
        let running: Vec<usize> = self.running.iter().map(|run| run.at).collect();
        let Some(cover) = self.way.cover(at, &running).await? else {
            return Ok(None);
        };
        let picked = match self.pick(at).await {
            Ok(Some(picked)) => picked,
            Ok(None) => return Ok(self.unresolved(&start, began.elapsed(), cover)),
            Err(stop) => {
                cover.release();
                return Err(stop);
            }
        };
        self.way.trip.sides.asks(at);
        let heard = Arc::new(Heard::default());
        let plan = self.plan(
            &start,
            &picked.address,
            (Arc::clone(&watch), Arc::clone(&heard)),
        );
        let Some(plan) = plan else {
            cover.release();
            return Ok(None);
        };
        let head = request_head(
            self.way.session,
            self.way.ctx,
            &plan.provider,
            &picked.address,
            self.way.outgoing,
            &start.sending,
        );
        let head = match head {
            Ok(head) => head,
            Err(e) => {
                cover.release();
                let text = "The request could not be written.";
                return Err(GatewayError::new(ErrorKind::Internal, text)
                    .because(e)
                    .into());
            }
        };
        self.running.push(Running {
            at,
            role: start.role,
            address: picked.address,
            permit: picked.permit,
            started: Instant::now(),
            watch,
            heard,
            cover,
            future: Box::pin(attempt::run(plan, head)),
        });
        Ok(None)
    }

    /// An endpoint of a candidate; none when time runs out over resolving its
    /// name, which is a part of connecting.
    async fn pick(&mut self, at: usize) -> Result<Option<Picked>, Stop> {
        let Some(side) = self.way.trip.sides.get_mut(at) else {
            return Ok(None);
        };
        let provider = &side.candidate.target.provider;
        let by = Instant::now() + provider.timeouts.connect;
        let by = self.way.ctx.deadline().min(by);
        let affinity = Arc::clone(&self.way.ctx.affinity);
        let pool = &provider.pool;
        let picked = async {
            let fresh = pool.pick(&affinity, &side.tried).await;
            if fresh.is_some() {
                return fresh;
            }
            // All were tried: a retry is at one of them.
            match side.forced {
                true => pool.pick_any(&affinity, &[]).await,
                false => pool.pick(&affinity, &[]).await,
            }
        };
        let picked = tokio::time::timeout_at(by.into(), picked);
        let picked = vigil::watch(self.way.session, self.way.ctx, picked)
            .await
            .map_err(stopped)?;
        let picked = picked.ok().flatten();
        if let Some(picked) = &picked {
            side.tried.push(Arc::clone(&picked.address));
        }
        Ok(picked)
    }

    /// Writes down an attempt that ended at its provider's name.
    fn unresolved(&mut self, start: &Start, took: Duration, cover: Cover) -> Option<Failure> {
        let side = self.way.trip.sides.get(start.at);
        let target = side.map(|side| &side.candidate.target);
        let target = target.filter(|target| !target.provider.pool.is_resolved());
        let Some(target) = target else {
            cover.release();
            return None;
        };
        let mut failure = Failure::unresolved();
        // Whoever has waited for it once has no time to wait again.
        if took >= target.provider.timeouts.connect {
            failure.fault = Fault::ConnectSilent;
        }
        let origins = &target.provider.pool.spec().origins;
        let attempt = Attempt {
            provider: Arc::clone(&target.provider.name),
            dialect: target.provider.dialect.name(),
            model: target.model.as_str().into(),
            endpoint: origins.first().map_or("", |(o, _)| &o.url).into(),
            outcome: failure.outcome(),
            duration: took,
            ..Attempt::new(start.role)
        };
        self.way.trip.sides.asks(start.at);
        let charge = (start.at, cover);
        self.way.ctx.attempted(attempt, charge, Due::Nothing);
        Some(failure)
    }

    fn plan(
        &self,
        start: &Start,
        address: &Arc<Address>,
        (watch, heard): (Arc<Stopwatch>, Arc<Heard>),
    ) -> Option<Plan> {
        let side = self.way.trip.sides.get(start.at)?;
        let target = &side.candidate.target;
        let request = &self.way.outgoing.request;
        let timeouts = self.way.outgoing.terms.timeouts(&target.provider.timeouts);
        let now = Instant::now();
        let deadline = self.way.ctx.deadline();
        let left = deadline.saturating_duration_since(now);
        let hold = request.stream && self.way.outgoing.terms.on_break == OnBreak::Hold;
        let own = match request.stream && !hold {
            true => timeouts.first_token,
            // All of it has to be there.
            false => left,
        };
        let sides = &self.way.trip.sides;
        let cut = self.way.trip.course.cut_after(start.at, left, own, sides);
        Some(Plan {
            connector: Arc::clone(&self.way.gateway.connector),
            table: Arc::clone(&self.way.ctx.table),
            provider: Arc::clone(&target.provider),
            address: Arc::clone(address),
            sending: Arc::clone(&start.sending),
            model: target.model.clone(),
            operation: self.way.outgoing.call.operation,
            stream: request.stream,
            choices: request.choices,
            hold,
            speech: self.way.ctx.speech,
            timeouts,
            deadline,
            cut: cut.map(|after| now + after),
            watch,
            heard,
        })
    }

    /// When a second candidate is to be asked, if ever.
    fn hedge_at(&self, at: usize) -> Option<Instant> {
        let hedge = self.way.outgoing.terms.hedge.as_ref()?;
        // Caps are shares of requests, however often each of them tries.
        if self.way.trip.course.made() <= 1 {
            self.way.gateway.board.route(&self.way.trip.route).asked();
        }
        let after = hedge.after.or_else(|| self.way.trip.sides.expected(at))?;
        Some(Instant::now() + after)
    }

    async fn finish(&mut self, first: usize) -> Result<Ended, Stop> {
        let mut hedge = self.hedge_at(first);
        loop {
            let news = next(&mut self.running, hedge);
            let news = vigil::watch(self.way.session, self.way.ctx, news).await;
            match news {
                Err(why) => {
                    self.cancel();
                    return Err(stopped(why));
                }
                Ok(News::Hedge) => {
                    hedge = None;
                    if let Err(stop) = self.hedge(first).await {
                        self.cancel();
                        return Err(stop);
                    }
                }
                Ok(News::Done(i, result)) => {
                    let run = self.running.swap_remove(i);
                    match *result {
                        Ok(served) => return Ok(self.served(run, served)),
                        Err(failure) => {
                            let at = run.at;
                            let failure = self.judged(&run, failure);
                            self.failed(run, &failure);
                            // The same would happen with the other one.
                            if failure.fault.rule().kind.is_none() {
                                self.cut_off();
                            }
                            if self.running.is_empty() {
                                return Ok(Ended::Failed(at, Box::new(failure)));
                            }
                            // The other one may still answer.
                            self.way.trip.sides.left(at, &failure);
                            self.way.trip.course.lost(at, failure.fault);
                        }
                    }
                }
            }
        }
    }

    /// Asks a second candidate, if there is one and the route's caps allow it.
    async fn hedge(&mut self, first: usize) -> Result<(), Stop> {
        let Some(hedge) = &self.way.outgoing.terms.hedge else {
            return Ok(());
        };
        let caps = Caps {
            share: hedge.share,
            per_hour: hedge.per_hour,
        };
        let route = self.way.gateway.board.route(&self.way.trip.route);
        let Some(other) = self.way.trip.course.hedge(first, &mut self.way.trip.sides) else {
            return Ok(());
        };
        // While its name resolves, nobody would listen to the first.
        let side = self.way.trip.sides.get(other);
        let is_resolved = side.is_some_and(|s| s.candidate.target.provider.pool.is_resolved());
        let sending = self.way.sending(other).ok();
        let sending = sending.filter(|_| is_resolved);
        let sending = sending.filter(|s| !matches!(s.lane, Lane::Estimate { .. }));
        let taken = sending.filter(|_| route.take(&caps, Instant::now()));
        let Some(sending) = taken else {
            self.way.trip.course.spare(other);
            self.way.trip.sides.release(other);
            return Ok(());
        };
        let start = Start {
            at: other,
            role: AttemptRole::Hedge,
            sending,
        };
        let watch = Arc::new(Stopwatch::new(Phase::Connecting, Instant::now()));
        let before = self.running.len();
        self.start(start, watch).await?;
        if self.running.len() == before {
            self.way.trip.sides.release(other);
            self.way.trip.course.unusable(other);
        }
        Ok(())
    }

    /// The first that speaks is heard; the others are cut off.
    fn served(&mut self, run: Running, served: Served) -> Ended {
        let took = run.started.elapsed();
        let hedged = run.role == AttemptRole::Hedge || !self.running.is_empty();
        if hedged {
            let won = run.role == AttemptRole::Hedge;
            self.way
                .ctx
                .metrics
                .failover
                .hedged(&self.way.trip.route, won);
        }
        self.cut_off();
        let attempt = Attempt {
            outcome: AttemptOutcome::Ok,
            status: Some(served.status()),
            request_id: served.returned.request_id.clone(),
            first_token: Some(took),
            ..self.attempt(&run)
        };
        let at = run.at;
        let due = Due::Answer(Box::default());
        self.way.ctx.attempted(attempt, (at, run.cover), due);
        self.way.trip.serving = Some(at);
        run.address.latency.record(served.head_after);
        let sides = &mut self.way.trip.sides;
        self.way.ctx.serving_from = sides.serving(at, took, run.address, run.permit);
        Ended::Served(at, Box::new(served))
    }

    /// Those who still run are not waited for any longer.
    fn cut_off(&mut self) {
        for loser in std::mem::take(&mut self.running) {
            self.way
                .trip
                .sides
                .outlasted(loser.at, loser.started.elapsed());
            self.way.trip.sides.release(loser.at);
            let attempt = self.attempt(&loser);
            let due = due(attempt.outcome, &loser);
            let charge = (loser.at, loser.cover);
            self.way.ctx.attempted_beside(attempt, charge, due);
        }
    }

    /// A client that gives less time than the route does proves nothing of a
    /// target that may need more: than its own limit, or than it usually takes.
    fn judged(&self, run: &Running, mut failure: Failure) -> Failure {
        let is_late = matches!(failure.fault, Fault::Silent | Fault::SlowStart);
        if !is_late || !self.way.ctx.is_hurried(&self.way.outgoing.terms) {
            return failure;
        }
        let sides = &self.way.trip.sides;
        let own = sides.get(run.at).map_or(Duration::ZERO, |side| {
            let own = &side.candidate.target.provider.timeouts;
            self.way.outgoing.terms.timeouts(own).first_byte
        });
        let enough = sides.expected(run.at).map_or(own, |usual| usual.min(own));
        if run.started.elapsed() < enough {
            failure.fault = Fault::Hurried;
        }
        failure
    }

    fn failed(&mut self, run: Running, failure: &Failure) {
        let took = run.started.elapsed();
        let attempt = Attempt {
            outcome: failure.outcome(),
            status: failure.status,
            request_id: failure.returned.request_id.clone(),
            ..self.attempt(&run)
        };
        let side = self.way.trip.sides.get(run.at);
        let side = side.filter(|side| !side.is_invented(failure.fault));
        if let (Some(side), Some(alarm)) = (side, failure.fault.rule().alarm) {
            let failover = &self.way.ctx.metrics.failover;
            failover.provider_alarm(&attempt.provider, alarm);
            if side.account.alarm(alarm, Instant::now()) {
                log::warn!(
                    provider = &*attempt.provider, model = &*attempt.model, reason = alarm.label();
                    "provider refuses what is the operator's to mend"
                );
            }
        }
        let due = due(attempt.outcome, &run);
        let charge = (run.at, run.cover);
        self.way.ctx.attempted(attempt, charge, due);
        if matches!(failure.fault, Fault::Silent | Fault::SlowStart) {
            self.way.trip.sides.outlasted(run.at, took);
        }
        learn(&run.address, run.permit, failure.fault, took);
    }

    /// Nobody waits any more.
    fn cancel(&mut self) {
        for run in std::mem::take(&mut self.running) {
            self.way.trip.sides.release(run.at);
            let attempt = self.attempt(&run);
            let due = due(attempt.outcome, &run);
            let charge = (run.at, run.cover);
            self.way.ctx.attempted(attempt, charge, due);
        }
    }

    fn attempt(&self, run: &Running) -> Attempt {
        let target = self.way.trip.sides.get(run.at).map(|s| &s.candidate.target);
        Attempt {
            provider: target.map_or_else(|| "".into(), |t| Arc::clone(&t.provider.name)),
            dialect: target.map_or("", |t| t.provider.dialect.name()),
            model: target.map_or("", |t| &t.model).into(),
            endpoint: run.address.origin.url.as_str().into(),
            outcome: AttemptOutcome::Canceled,
            duration: run.started.elapsed(),
            ..Attempt::new(run.role)
        }
    }
}

/// What an attempt that did not serve anybody has to be paid for: what was heard
/// of its answer. A provider that was at work when it was left alone, or broke
/// off, is paid for what it read; one that refused, or broke the connection
/// before it answered, is not.
fn due(outcome: AttemptOutcome, run: &Running) -> Due {
    let heard = run.heard.take();
    if heard.has_content() {
        return Due::Answer(Box::new(heard));
    }
    let was_at_work = match outcome {
        AttemptOutcome::Timeout
        | AttemptOutcome::Canceled
        | AttemptOutcome::Truncated
        | AttemptOutcome::InvalidResponse => run.watch.is_sent(),
        AttemptOutcome::Reset => run.watch.is_answered(),
        _ => false,
    };
    match was_at_work {
        true => Due::Sent,
        false => Due::Nothing,
    }
}

/// The next thing that happens.
async fn next(running: &mut [Running], hedge: Option<Instant>) -> News {
    let done = std::future::poll_fn(|cx| {
        for (i, run) in running.iter_mut().enumerate() {
            if let Poll::Ready(result) = run.future.as_mut().poll(cx) {
                return Poll::Ready(News::Done(i, Box::new(result)));
            }
        }
        Poll::Pending
    });
    match hedge {
        None => done.await,
        Some(at) => tokio::select! {
            biased;
            news = done => news,
            () = tokio::time::sleep_until(at.into()) => News::Hedge,
        },
    }
}
