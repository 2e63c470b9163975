//! One decision: asked of Redis, or made alone where Redis is away.

use super::super::hold::{self, Charge};
use super::super::{Left, Load, Refusal, Rule, Standing, Why};
use super::journal::AWAY;
use super::script::{self, EXACT};
use super::{Fleet, Link};
use crate::units::{Moment, Window};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// When to come again while Redis is away.
const AWAY_FOR: Duration = Duration::from_secs(1);

/// When to come again for a place.
const PLACE_AFTER: Duration = Duration::from_secs(1);

/// A place is somebody else's again so long after its gateway was last seen.
pub const PLACE_LASTS: Duration = Duration::from_secs(10);

/// Numbers that are told for each counter.
const TOLD: usize = 5;

/// What one decision is about.
pub(in super::super) struct Asked<'a> {
    pub charges: &'a mut [Charge],
    /// Rules that want a place, with the key of their places.
    pub places: &'a [(Arc<Rule>, String)],
    pub member: &'a str,
    pub load: Load,
}

/// What came of asking.
enum Outcome {
    Decided(Result<Standing, Refusal>),
    /// The marker is not as it was.
    Lost,
}

/// What was reserved in memory, until it is known what Redis says. A decision
/// that is given up is taken back here; whether Redis has made it is not known.
struct Pending<'a, 'b> {
    fleet: &'a Fleet,
    asked: &'a mut Asked<'b>,
    is_open: bool,
}

impl Pending<'_, '_> {
    /// Takes it back in memory.
    fn undo(&mut self) {
        self.is_open = false;
        let load = self.asked.load;
        for charge in self.asked.charges.iter_mut() {
            charge.undo(&load);
        }
    }
}

impl Drop for Pending<'_, '_> {
    fn drop(&mut self) {
        if self.is_open {
            self.undo();
            self.fleet.doubt(self.asked.charges);
        }
    }
}

impl Fleet {
    /// Reserves in memory and in Redis, all or nothing. A future that is dropped
    /// while it waits leaves no trace.
    ///
    /// # Errors
    /// When a rule has not enough left, or a hard one cannot be told.
    pub(in super::super) async fn take(
        &self,
        asked: &mut Asked<'_>,
        now: Moment,
    ) -> Result<Standing, Refusal> {
        let until = Instant::now() + self.shared.timeout;
        for _ in 0..2 {
            let entered = timeout_at(until, self.gate.read()).await;
            let link = self.link.borrow().clone();
            let (Ok(_entered), Some(link)) = (entered, link) else {
                break;
            };
            match self.decide(&link, asked, until, now).await {
                Outcome::Decided(decided) => return decided,
                Outcome::Lost => {}
            }
            drop(_entered);
            self.unlink();
            self.renew();
            let mut link = self.link.subscribe();
            let _ = timeout_at(until, link.wait_for(Option::is_some)).await;
        }
        self.alone(asked, now)
    }

    async fn decide(
        &self,
        link: &Arc<Link>,
        asked: &mut Asked<'_>,
        until: Instant,
        now: Moment,
    ) -> Outcome {
        let standing = match hold::reserve(asked.charges, &asked.load, now) {
            Ok(standing) => standing,
            Err(refusal) => return Outcome::Decided(Err(refusal)),
        };
        let mut pending = Pending {
            fleet: self,
            asked,
            is_open: true,
        };
        let answer = timeout_at(until, self.ask(link, pending.asked)).await;
        let answer = answer.ok().and_then(Result::ok);
        let numbers = answer.as_deref().unwrap_or_default();
        let decided = match numbers {
            [0] => {
                pending.undo();
                return Outcome::Lost;
            }
            [1, decision, _, told @ ..] => {
                pending.is_open = false;
                Ok(self.taken(pending.asked, unsigned(*decision), told, now))
            }
            [2, place, after, told @ ..] => {
                pending.undo();
                Err(refusal(pending.asked, *place, *after, told))
            }
            [3, place, ..] => {
                pending.undo();
                Err(no_place(pending.asked, *place))
            }
            // No answer in time, or one that says nothing.
            _ => {
                self.unlink();
                self.failed(&mut pending).map(|()| standing)
            }
        };
        Outcome::Decided(decided)
    }

    async fn ask(&self, link: &Link, asked: &Asked<'_>) -> redis::RedisResult<Vec<i64>> {
        let mut call = self.scripts.reserve.prepare_invoke();
        call.key(self.marker());
        let ttl = u64::try_from(PLACE_LASTS.as_micros()).unwrap_or(EXACT);
        call.arg(&link.epoch)
            .arg(self.seen.load(Ordering::Acquire))
            .arg(asked.charges.len())
            .arg(asked.places.len())
            .arg(asked.member)
            .arg(ttl);
        for charge in asked.charges.iter() {
            let name = charge.name.as_deref().unwrap_or_default();
            let limit = charge.rule.allowance.amount.min(EXACT);
            let lease = match charge.rule.hard {
                true => u128::from(limit) * u128::from(self.shared.lease) / 1_000_000,
                false => 0,
            };
            call.key(&self.keys(name));
            script::window(&mut call, charge.counter.window, charge.width());
            call.arg(limit)
                .arg(charge.amount(&asked.load).min(EXACT))
                .arg(u64::try_from(lease).unwrap_or_default());
        }
        for (rule, key) in asked.places {
            call.key(key).arg(rule.allowance.amount.min(EXACT));
        }
        call.invoke_async(&mut link.connection.clone()).await
    }

    fn taken(&self, asked: &mut Asked<'_>, decision: u64, told: &[i64], now: Moment) -> Standing {
        self.seen.fetch_max(decision, Ordering::AcqRel);
        let mut standing = Standing::default();
        let mut journal = self.lock();
        for (charge, told) in asked.charges.iter_mut().zip(told.chunks(TOLD)) {
            let [from, left, reset, lease, lasts] = *told else {
                continue;
            };
            if charge.amount(&asked.load) > 0 {
                charge.shared.push(unsigned(from));
            }
            see(&mut standing, charge, left, reset);
            let used = charge.rule.allowance.amount.saturating_sub(unsigned(left));
            charge.counter.lock().told(used, now);
            if let Some(name) = charge.name.as_ref().filter(|_| charge.rule.hard) {
                let until = (lasts >= 0)
                    .then(|| std::time::Instant::now() + Duration::from_micros(unsigned(lasts)));
                journal.lease(name, unsigned(lease), until, decision);
            }
        }
        journal.placed(asked.places, asked.member);
        standing
    }

    /// Redis did not say what became of it: whether it was counted there is not
    /// known, and the request goes on as if it was not.
    fn failed(&self, pending: &mut Pending<'_, '_>) -> Result<(), Refusal> {
        let load = pending.asked.load;
        let mut journal = self.lock();
        for charge in pending.asked.charges.iter() {
            let Some(name) = &charge.name else { continue };
            journal
                .doubtful
                .insert(Arc::clone(name), Arc::clone(&charge.counter));
            // Redis may have used the lease up for it.
            journal.cap(name, charge.amount(&load));
        }
        let short = journal.short(pending.asked.charges, &load).cloned();
        let short = short.or_else(|| hard_place(pending.asked.places));
        if let Some(rule) = short {
            pending.undo();
            return Err(unavailable(&rule));
        }
        pending.is_open = false;
        journal.spend(pending.asked.charges, &load);
        journal.placed(pending.asked.places, pending.asked.member);
        Ok(())
    }

    /// Without Redis.
    fn alone(&self, asked: &mut Asked<'_>, now: Moment) -> Result<Standing, Refusal> {
        let mut journal = self.lock();
        let short = journal.short(asked.charges, &asked.load).cloned();
        if let Some(rule) = short.or_else(|| hard_place(asked.places)) {
            return Err(unavailable(&rule));
        }
        let standing = hold::reserve(asked.charges, &asked.load, now)?;
        journal.spend(asked.charges, &asked.load);
        journal.placed(asked.places, asked.member);
        Ok(standing)
    }

    /// What Redis counts for these may be wrong.
    fn doubt(&self, charges: &[Charge]) {
        let mut journal = self.lock();
        for charge in charges {
            if let Some(name) = &charge.name {
                let counter = Arc::clone(&charge.counter);
                journal.doubtful.insert(Arc::clone(name), counter);
            }
        }
        drop(journal);
        self.nudge();
    }
}

/// Redis tells of no negative amount.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn see(standing: &mut Standing, charge: &Charge, left: i64, reset: i64) {
    if reset >= 0 {
        let left = Left {
            limit: charge.rule.allowance.amount,
            remaining: unsigned(left),
            reset: Duration::from_micros(unsigned(reset)),
        };
        standing.see(charge.rule.allowance.measure, left);
    }
}

fn hard_place(places: &[(Arc<Rule>, String)]) -> Option<Arc<Rule>> {
    let hard = places.iter().find(|(rule, _)| rule.hard);
    hard.map(|(rule, _)| Arc::clone(rule))
}

fn refused(rule: &Rule, left: u64, retry_after: Option<Duration>, why: Why) -> Refusal {
    Refusal {
        rule: Arc::clone(&rule.name),
        measure: rule.allowance.measure,
        window: rule.allowance.window,
        limit: rule.allowance.amount,
        left,
        retry_after,
        why,
        standing: Box::default(),
    }
}

fn unavailable(rule: &Rule) -> Refusal {
    refused(rule, 0, Some(AWAY_FOR), AWAY)
}

fn no_place(asked: &Asked<'_>, place: i64) -> Refusal {
    let rule = usize::try_from(place)
        .ok()
        .and_then(|place| asked.places.get(place));
    let none = || refused(&nobody(), 0, Some(PLACE_AFTER), Why::Unavailable);
    rule.map_or_else(none, |(rule, _)| match rule.allowance.amount {
        0 => refused(rule, 0, None, Why::TooLarge),
        _ => refused(rule, 0, Some(PLACE_AFTER), Why::Exhausted),
    })
}

fn refusal(asked: &Asked<'_>, place: i64, after: i64, told: &[i64]) -> Refusal {
    let mut standing = Standing::default();
    let mut short = None;
    for (at, (charge, told)) in asked.charges.iter().zip(told.chunks(TOLD)).enumerate() {
        let [_, left, reset, ..] = *told else {
            continue;
        };
        see(&mut standing, charge, left, reset);
        if i64::try_from(at) == Ok(place) {
            short = Some((charge, unsigned(left)));
        }
    }
    let Some((charge, left)) = short else {
        return refused(&nobody(), 0, Some(AWAY_FOR), Why::Unavailable);
    };
    let why = match charge.amount(&asked.load) > charge.rule.allowance.amount {
        true => Why::TooLarge,
        false => Why::Exhausted,
    };
    let after = (after >= 0).then(|| Duration::from_micros(unsigned(after)));
    Refusal {
        standing: Box::new(standing),
        ..refused(&charge.rule, left, after, why)
    }
}

/// Stands for a rule that an answer names and that was not asked about.
fn nobody() -> Rule {
    Rule {
        name: "state".into(),
        allowance: crate::units::Allowance {
            amount: 0,
            measure: crate::units::Measure::Requests,
            window: Window::Total,
        },
        per: Vec::new(),
        on: super::super::Selector::default(),
        hard: true,
        wait: Duration::ZERO,
        depth: 0,
    }
}
