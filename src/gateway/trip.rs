//! What one request knows of its candidates while it is under way: their
//! breakers, budgets and learned times, and what was tried of each. This is the
//! world that a [`Course`] asks about; what the attempts taught goes back to
//! where it came from.

use super::failure::Failure;
use super::translate::Sending;
use super::{Ctx, Gateway};
use crate::admission::Refusal;
use crate::route::breaker::{Admission, Breaker, Permit, State};
use crate::route::course::{Admit, Course, Leg, View};
use crate::route::endpoint::Address;
use crate::route::fault::{Fault, Feeds, Kind};
use crate::route::learned::Learned;
use crate::route::standing::{Account, Standing};
use crate::table::{Candidate, Decision, Provider, Target};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a failed attempt counts as among times to the answer's head.
const FAILED: Duration = Duration::from_secs(10);

/// One candidate.
pub(super) struct Side {
    pub candidate: Candidate,
    pub standing: Arc<Standing>,
    pub account: Arc<Account>,
    /// The breaker's, while the target is asked.
    permit: Option<Permit>,
    /// Its breaker was passed by: nobody else was left.
    pub forced: bool,
    pub tried: Vec<Arc<Address>>,
    /// A retry was taken out of its provider's budget, and not made yet.
    paid: bool,
    /// Held while it is asked.
    under_way: Option<Arc<()>>,
    /// What is sent to it, once it is written.
    pub sending: Option<Arc<Sending>>,
}

impl Side {
    /// Whether it has a usable endpoint but for those `tried`. A name that was
    /// never resolved may have any.
    fn has_endpoint(&self, tried: &[Arc<Address>]) -> bool {
        let pool = &self.candidate.target.provider.pool;
        !pool.is_resolved() || pool.has_other(tried)
    }

    /// Whether a failure is for a model that the client made up: that says
    /// nothing of the provider.
    pub fn is_invented(&self, fault: Fault) -> bool {
        fault == Fault::NoModel && !self.candidate.is_exact
    }

    /// Gives the target's breaker a verdict.
    fn verdict(&self, give: impl FnOnce(Instant)) {
        let now = Instant::now();
        let target = &self.candidate.target;
        let breaker = &self.standing.breaker;
        told(&target.provider, &target.model, breaker, now, || give(now));
    }
}

/// All candidates.
pub(super) struct Sides {
    pub all: Vec<Side>,
    stream: bool,
    /// Its times are like those of others at the same model.
    is_usual: bool,
    /// Providers that this request has asked.
    asked: Vec<Arc<Account>>,
    /// Retries that a budget refused.
    refused: Vec<Arc<str>>,
}

/// One request's way to an answer, and on from there if that breaks off.
pub struct Trip {
    pub(super) course: Course,
    pub(super) sides: Sides,
    pub(super) route: Arc<str>,
    /// Who serves the client.
    pub(super) serving: Option<usize>,
    /// Why a candidate was not asked that might have been: its limits.
    pub(super) limited: Option<Refusal>,
}

impl Trip {
    /// `stream`: its beginning is waited for, not the whole answer. `is_usual`:
    /// it takes as long as others at the same model. `chance`: this request's.
    pub fn new(
        gateway: &Gateway,
        decision: Decision,
        (stream, is_usual): (bool, bool),
        chance: u64,
    ) -> Self {
        let now = Instant::now();
        let leg = |candidate: &Candidate| Leg {
            is_target: candidate.is_target,
            on: candidate.on,
        };
        let legs: Vec<_> = decision.candidates.iter().map(leg).collect();
        let side = |candidate: Candidate| {
            let provider = &candidate.target.provider;
            let share = provider.retry_budget;
            let account = gateway
                .board
                .provider(&provider.name, provider.breaker, share);
            Side {
                standing: account.target(&candidate.target.model, now),
                account,
                candidate,
                permit: None,
                forced: false,
                tried: Vec::new(),
                paid: false,
                under_way: None,
                sending: None,
            }
        };
        Self {
            course: Course::new(legs, decision.terms.retries).with_chance(chance),
            sides: Sides {
                all: decision.candidates.into_iter().map(side).collect(),
                stream,
                is_usual,
                asked: Vec::new(),
                refused: Vec::new(),
            },
            route: decision.route,
            serving: None,
            limited: None,
        }
    }

    /// What was written for the candidates is not what is to be sent any more.
    pub(super) fn forget_requests(&mut self) {
        for side in &mut self.sides.all {
            side.sending = None;
        }
    }

    /// Whether somebody is left to go on with a stream that breaks off.
    pub fn has_more(&self) -> bool {
        self.serving.is_some_and(|at| self.course.has_other(at))
    }

    /// Who serves the client.
    pub(super) fn serving_target(&self) -> Option<Target> {
        Some(self.sides.get(self.serving?)?.candidate.target.clone())
    }

    /// Tells the budgets' refusals.
    pub(super) fn count_refusals(&mut self, ctx: &Ctx) {
        for provider in self.sides.refused.drain(..) {
            ctx.metrics.failover.retry_refused(&provider);
        }
    }
}

/// From whom the client is being served.
pub struct Serving {
    address: Arc<Address>,
    provider: Arc<Provider>,
    model: String,
    standing: Arc<Standing>,
    /// The verdict on the target, and on its endpoint, where it waits for the
    /// end: a stream that always breaks off would else look well every other
    /// time. A probe's does not wait: nobody else gets through meanwhile.
    permits: [Option<Permit>; 2],
    /// It counts as a request at its target for so long.
    _under_way: Option<Arc<()>>,
}

impl Serving {
    /// The answer has come to its end.
    pub fn done(self) {
        let now = Instant::now();
        for permit in self.permits.into_iter().flatten() {
            permit.succeeded(now);
        }
    }

    /// The stream has broken off, and that is the provider's doing.
    pub fn broke(self) {
        let now = Instant::now();
        let [target, endpoint] = self.permits;
        let breaker = &self.standing.breaker;
        let target = target.unwrap_or_else(|| breaker.force(now));
        let endpoint = endpoint.unwrap_or_else(|| self.address.breaker.force(now));
        endpoint.failed(now, None);
        told(&self.provider, &self.model, breaker, now, || {
            target.failed(now, None);
        });
    }
}

impl Sides {
    pub fn get(&self, at: usize) -> Option<&Side> {
        self.all.get(at)
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut Side> {
        self.all.get_mut(at)
    }

    /// A first attempt at a provider earns it a part of a retry.
    pub fn asks(&mut self, at: usize) {
        if let Some(side) = self.all.get_mut(at) {
            side.paid = false;
            side.under_way = Some(side.standing.begin());
        }
        let Some(account) = self.all.get(at).map(|side| &side.account) else {
            return;
        };
        if !self.has_asked(at) {
            account.budget.deposit();
            self.asked.push(Arc::clone(account));
        }
    }

    /// Lets a request through to a candidate that it has waited for. Whoever
    /// else was let through as a probe in the meantime does not make this one
    /// wait again.
    pub fn readmit(&mut self, at: usize) {
        let Some(side) = self.all.get_mut(at) else {
            return;
        };
        if side.permit.is_none() {
            side.permit = Some(side.standing.breaker.force(Instant::now()));
        }
    }

    /// The candidate answers, from `address`: after `took`, content was there.
    pub fn serving(
        &mut self,
        at: usize,
        took: Duration,
        address: Arc<Address>,
        endpoint: Permit,
    ) -> Option<Serving> {
        if let Some(learned) = self.learned(at) {
            learned.record(took);
        }
        let waits = |permit: &Permit| self.stream && !permit.is_probe();
        let side = self.all.get_mut(at)?;
        let mut permits = [side.permit.take(), Some(endpoint)];
        let [target, endpoint] = &mut permits;
        if let Some(permit) = target.take_if(|permit| !waits(permit)) {
            side.verdict(|now| permit.succeeded(now));
        }
        if let Some(permit) = endpoint.take_if(|permit| !waits(permit)) {
            permit.succeeded(Instant::now());
        }
        Some(Serving {
            address,
            permits,
            provider: Arc::clone(&side.candidate.target.provider),
            model: side.candidate.target.model.clone(),
            standing: Arc::clone(&side.standing),
            _under_way: side.under_way.take(),
        })
    }

    /// The candidate is left, because of a failure.
    pub fn left(&mut self, at: usize, failure: &Failure) {
        let Some(side) = self.all.get_mut(at) else {
            return;
        };
        side.under_way = None;
        let Some(permit) = side.permit.take() else {
            return;
        };
        let rule = failure.fault.rule();
        if rule.feeds == Feeds::Nobody || side.is_invented(failure.fault) {
            return;
        }
        if let Some(kind) = rule.kind {
            side.standing.failed_by(kind);
        }
        side.verdict(|now| permit.failed(now, failure.retry_after));
    }

    /// The candidate is given up without a verdict. What was paid for a retry
    /// that was not made is given back.
    pub fn release(&mut self, at: usize) {
        if let Some(side) = self.all.get_mut(at) {
            side.permit = None;
            side.under_way = None;
            if std::mem::take(&mut side.paid) {
                side.account.budget.give_back();
            }
        }
    }

    /// It took at least so long: it was not waited for any longer.
    pub fn outlasted(&self, at: usize, took: Duration) {
        if let Some(learned) = self.learned(at) {
            learned.outlasted(took);
        }
    }

    /// Whether anybody of them is shut because of a rate limit.
    pub fn are_limited(&self) -> bool {
        let mut all = self.all.iter();
        all.any(|side| side.standing.last_failure() == Kind::RateLimit)
    }

    fn learned(&self, at: usize) -> Option<&Learned> {
        let side = self.all.get(at).filter(|_| self.is_usual)?;
        Some(side.standing.learned(self.stream))
    }
}

impl View for Sides {
    fn admit(&mut self, at: usize) -> Admit {
        let Some(side) = self.all.get(at) else {
            return Admit::Spent;
        };
        let again = self.has_asked(at);
        if !side.has_endpoint(&[]) {
            return Admit::Shut {
                wait: Duration::ZERO,
                told: false,
                kind: Kind::Error,
            };
        }
        let permit = match side.standing.breaker.admit(Instant::now()) {
            Admission::Admitted(permit) => permit,
            Admission::Shut { wait, told } => {
                let kind = side.standing.last_failure();
                return Admit::Shut { wait, told, kind };
            }
        };
        if again && !self.withdraw(at) {
            return Admit::Spent;
        }
        if let Some(side) = self.all.get_mut(at) {
            side.permit = Some(permit);
            side.forced = false;
        }
        Admit::Yes
    }

    fn force(&mut self, at: usize) {
        if let Some(side) = self.all.get_mut(at) {
            side.permit = Some(side.standing.breaker.force(Instant::now()));
            side.forced = true;
        }
    }

    fn is_ready(&self, at: usize) -> bool {
        self.all.get(at).is_some_and(|side| {
            side.standing.breaker.peek(Instant::now()).shut.is_none()
                && side.has_endpoint(&[])
                && (side.account.budget.level() >= 1.0 || !self.has_asked(at))
        })
    }

    fn expected(&self, at: usize) -> Option<Duration> {
        self.learned(at)?.p95()
    }

    fn has_asked(&self, at: usize) -> bool {
        self.all.get(at).is_some_and(|side| {
            let mut asked = self.asked.iter();
            asked.any(|account| Arc::ptr_eq(account, &side.account))
        })
    }

    fn usual(&self, at: usize) -> Option<Duration> {
        self.learned(at)?.p50()
    }

    fn withdraw(&mut self, at: usize) -> bool {
        let Some(side) = self.all.get_mut(at) else {
            return false;
        };
        // Whoever is down, or was so a moment ago, is asked once, not again.
        if side.forced || side.permit.as_ref().is_some_and(Permit::is_probe) {
            return false;
        }
        let granted = side.account.budget.withdraw();
        side.paid |= granted;
        if !granted {
            let provider = &side.candidate.target.provider;
            self.refused.push(Arc::clone(&provider.name));
        }
        granted
    }

    fn has_other_endpoint(&self, at: usize) -> bool {
        self.all.get(at).is_some_and(|side| {
            let pool = &side.candidate.target.provider.pool;
            pool.is_resolved() && pool.has_other(&side.tried)
        })
    }

    fn is_larger(&self, at: usize, than: usize) -> bool {
        let window = |at: usize| {
            let target = &self.all.get(at)?.candidate.target;
            target.provider.capabilities(&target.model).context
        };
        match (window(at), window(than)) {
            (Some(one), Some(other)) => one > other,
            _ => !self.is_same_model(at, than),
        }
    }

    fn is_same_model(&self, at: usize, other: usize) -> bool {
        let model = |at: usize| Some(&self.all.get(at)?.candidate.target.model);
        model(at) == model(other)
    }
}

/// Gives a verdict on a target, and says so where its breaker changes by it.
fn told(provider: &Provider, model: &str, breaker: &Breaker, now: Instant, verdict: impl FnOnce()) {
    let before = breaker.peek(now).state;
    verdict();
    let after = breaker.peek(now).state;
    match (before, after) {
        (State::Closed | State::HalfOpen, State::Open) => {
            log::warn!(provider = &*provider.name, model = model; "target is left alone");
        }
        (State::Open | State::HalfOpen, State::Closed) => {
            log::info!(provider = &*provider.name, model = model; "target is in use again");
        }
        _ => {}
    }
}

/// Tells an endpoint's breaker and its balancer how an attempt failed. One that
/// fails is as good as slow, or it would look new, and be preferred, for ever.
pub(super) fn learn(address: &Address, permit: Permit, fault: Fault, took: Duration) {
    let now = Instant::now();
    match fault.rule().feeds {
        // It had no time to answer.
        _ if fault == Fault::Hurried => drop(permit),
        Feeds::Both => {
            address.latency.record(took.max(FAILED));
            permit.failed(now, None);
        }
        // It answered, whatever it was that it said.
        Feeds::Target | Feeds::Nobody => permit.succeeded(now),
    }
}
