//! Requests under way, and limits that come while they are.
//!
//! A limit that comes with a reload counts what was used before it: what is
//! settled stands in the ledger, what is under way is here. A request is in here
//! from before its intent is given to the ledger until after its settlement is,
//! so that at any moment each is in one of the two or in both, and those in both
//! are known by their ids.
//!
//! 1. [`Open::begin`] marks a moment. What has ended by then is read from the
//!    ledger; who ends later is kept here.
//! 2. When that is read, [`Open::publish`] counts who ended since, reserves the
//!    bound of who is still under way, at once and whether the limit has so much
//!    or not, and puts the table in force. From then on the limit counts itself.
//!    What it reserved here is settled with the request.
//! 3. Who was let in by the rules of an older table, and comes here only now, is
//!    sent back to ask the new limits too.
//!
//! So each request is counted once. Two cases count one twice, and none counts
//! it less: one that was let in over an hour ago and ends while the ledger is
//! read; and attempts at a provider or model under a limit that was taken out of
//! the config and put in again while the request was under way. A request under
//! way when a limit comes is counted at that time, not when it was let in; of its
//! attempts at one provider or model, a limit of requests counts one (a restart
//! counts all). Limits of concurrency see only who comes after them.

use super::bill::Names;
use crate::admission::{Hold, Limiter, Load, Refusal, Rule, Subject};
use crate::ledger::{Ledger, Mark, Settlement, Targets, UsageSource};
use crate::units::{Measure, Moment};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All requests that are under way.
#[derive(Default)]
pub struct Open(Mutex<State>);

#[derive(Default)]
struct State {
    requests: HashMap<u64, Request>,
    /// Changes when limits begin to be taken up, and when they are in force.
    turn: u64,
    /// Limits that a reload brought, with the version of its table.
    came: Vec<(u64, Arc<Rule>)>,
    /// Who ended while limits are being taken up.
    ended: Option<Vec<(Request, Ending)>>,
}

/// One of them.
pub struct Request {
    pub names: Names,
    pub targets: Targets,
    /// By which it was let in.
    pub rules: Arc<[Arc<Rule>]>,
    pub time: Moment,
    pub bound: Load,
    turn: u64,
    /// What it holds of limits that came later.
    late: Vec<Late>,
}

struct Late {
    /// The targets that it counts; `None`: the request itself.
    of: Option<Vec<usize>>,
    hold: Hold,
}

/// What a request has to know of limits that came.
#[derive(Default)]
pub struct Outlook {
    turn: u64,
    /// Limits that its table does not have.
    pub came: Vec<Arc<Rule>>,
}

/// What became of a request.
pub enum Ending {
    Void,
    Used {
        all: Load,
        /// Of each attempt.
        parts: Vec<(Arc<str>, Arc<str>, Load)>,
    },
    /// Nobody knows: it is charged at its bound.
    Lost,
}

impl Request {
    pub fn new(
        (names, targets): (Names, Targets),
        rules: Arc<[Arc<Rule>]>,
        time: Moment,
        bound: Load,
    ) -> Self {
        Self {
            names,
            targets,
            rules,
            time,
            bound,
            turn: 0,
            late: Vec::new(),
        }
    }

    fn subject(&self) -> Subject<'_> {
        self.names.subject(None)
    }

    fn at_targets(&self) -> impl Iterator<Item = Subject<'_>> + Clone {
        let subject = self.subject();
        self.targets.iter().map(move |(provider, model)| Subject {
            target: Some((provider, model)),
            ..subject
        })
    }

    /// The rules that do not count it yet. `turn`: since when they count those
    /// whose own rules they are.
    fn uncounted<'r>(
        &'r self,
        fresh: &'r [Arc<Rule>],
        turn: u64,
    ) -> impl Iterator<Item = &'r Arc<Rule>> {
        let own = move |rule: &&Arc<Rule>| {
            self.turn >= turn && self.rules.iter().any(|one| one.counts_as(rule))
        };
        let counts = |rule: &&Arc<Rule>| rule.allowance.measure != Measure::Concurrent;
        fresh.iter().filter(counts).filter(move |rule| !own(rule))
    }

    /// Reserves its bound under limits that come now.
    fn adopt(&mut self, limiter: &Limiter, (fresh, turn): (&[Arc<Rule>], u64), now: Moment) {
        let mut late = Vec::new();
        for rule in self.uncounted(fresh, turn) {
            if rule.is_of_targets() {
                let held = limiter.adopt(rule, self.at_targets(), &self.bound, now);
                late.extend(
                    held.into_iter()
                        .map(|(hold, of)| Late { of: Some(of), hold }),
                );
            } else {
                let held = limiter.adopt(rule, [self.subject()], &self.bound, now);
                late.extend(held.into_iter().map(|(hold, _)| Late { of: None, hold }));
            }
        }
        self.late.extend(late);
    }

    /// Counts what it has used under limits that come now.
    fn record(
        &self,
        limiter: &Limiter,
        (fresh, turn): (&[Arc<Rule>], u64),
        ending: &Ending,
        now: Moment,
    ) {
        let at = self.time.min(now);
        let uncounted = self.uncounted(fresh, turn).cloned();
        let (of_targets, others): (Vec<_>, Vec<_>) =
            uncounted.partition(|rule| rule.is_of_targets());
        match ending {
            Ending::Void => {}
            Ending::Used { all, parts } => {
                limiter.record(&others, &self.subject(), all, at);
                for (provider, model, load) in parts {
                    let target = Some((&**provider, &**model));
                    let subject = Subject {
                        target,
                        ..self.subject()
                    };
                    limiter.record(&of_targets, &subject, load, at);
                }
            }
            Ending::Lost => {
                limiter.record(&others, &self.subject(), &self.bound, at);
                limiter.presume(&of_targets, self.at_targets(), &self.bound, at);
            }
        }
    }

    /// Settles what it holds of limits that came later.
    fn settle(&mut self, ending: &Ending) {
        for Late { of, hold } in std::mem::take(&mut self.late) {
            match (ending, of) {
                (Ending::Void, _) => hold.release(),
                (Ending::Used { all, .. }, None) => drop(hold.settle(all)),
                (Ending::Used { parts, .. }, Some(of)) => {
                    let is_one = |provider: &str, model: &str| {
                        let mut targets = of.iter().filter_map(|at| self.targets.get(*at));
                        targets.any(|(p, m)| (&**p, &**m) == (provider, model))
                    };
                    let own = parts.iter().filter(|(p, m, _)| is_one(p, m));
                    let used = own.fold(Load::default(), |sum, (_, _, load)| sum.plus(load));
                    hold.settle(&used);
                }
                // What is dropped is charged in full.
                (Ending::Lost, _) => drop(hold),
            }
        }
    }
}

impl Ending {
    /// What a settlement says.
    pub fn of(settlement: &Settlement) -> Self {
        if settlement.is_void() {
            return Self::Void;
        }
        if settlement.source == UsageSource::Recovered {
            return Self::Lost;
        }
        let load = |usage: &crate::chat::Usage, cost| Load {
            requests: 1,
            input_tokens: usage.prompt,
            output_tokens: usage.completion,
            cost,
        };
        let part = |attempt: &crate::ledger::Attempt| {
            let (provider, model) = (Arc::clone(&attempt.provider), Arc::clone(&attempt.model));
            (provider, model, load(&attempt.usage, attempt.cost))
        };
        Self::Used {
            all: load(&settlement.usage, settlement.cost),
            parts: settlement.attempts.iter().map(part).collect(),
        }
    }
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a request that goes by the table of this version has to know.
    pub fn outlook(&self, version: u64) -> Outlook {
        let state = self.lock();
        let came = state.came.iter().filter(|(with, _)| *with > version);
        Outlook {
            turn: state.turn,
            came: came.map(|(_, rule)| Arc::clone(rule)).collect(),
        }
    }

    /// A request was let in, as of this outlook. Its number in the ledger; `None`
    /// when limits have come since, which it has to ask too.
    pub fn enter(&self, ledger: &Ledger, outlook: &Outlook, request: Request) -> Option<u64> {
        let mut state = self.lock();
        if state.turn != outlook.turn {
            return None;
        }
        let id = ledger.next_id();
        let turn = state.turn;
        state.requests.insert(id, Request { turn, ..request });
        Some(id)
    }

    /// More is reserved for a request; limits that came later have to have it too.
    ///
    /// # Errors
    /// When one has not enough left.
    pub fn grow(&self, id: u64, more: &Load, now: Moment) -> Result<(), Refusal> {
        let mut state = self.lock();
        let Some(request) = state.requests.get_mut(&id) else {
            return Ok(());
        };
        request.bound = request.bound.plus(more);
        for late in &mut request.late {
            late.hold.extend_here(more, now)?;
        }
        Ok(())
    }

    /// A request is over: the ledger has been given its settlement, or nothing was
    /// begun.
    pub fn leave(&self, id: u64, ending: Ending) {
        let mut state = self.lock();
        let Some(mut request) = state.requests.remove(&id) else {
            return;
        };
        request.settle(&ending);
        if let Some(ended) = &mut state.ended {
            ended.push((request, ending));
        }
    }

    /// Limits begin to be taken up: `forget` forgets what was counted of them
    /// once. What the ledger knows up to the mark is settled.
    pub fn begin(&self, ledger: &Ledger, forget: impl FnOnce()) -> Mark {
        let mut state = self.lock();
        state.turn += 1;
        state.ended = Some(Vec::new());
        forget();
        Mark {
            last: ledger.last_id(),
            open: state.requests.keys().copied().collect(),
        }
    }

    /// They are not taken up after all.
    pub fn abandon(&self) {
        self.lock().ended = None;
    }

    /// They are in force, with the table that `publish` makes known: `all` of its
    /// limits, of which those are `fresh`, from this version on.
    pub fn publish(
        &self,
        limiter: &Limiter,
        (fresh, all, version): (&[Arc<Rule>], &[Arc<Rule>], u64),
        now: Moment,
        publish: impl FnOnce(),
    ) {
        let mut state = self.lock();
        let of = (fresh, state.turn);
        for (request, ending) in state.ended.take().unwrap_or_default() {
            request.record(limiter, of, &ending, now);
        }
        for request in state.requests.values_mut() {
            request.adopt(limiter, of, now);
        }
        // As the table has them now; what it has no more counts nobody.
        let known = std::mem::take(&mut state.came).into_iter();
        let known = known.filter_map(|(with, old)| {
            let now = all.iter().find(|rule| rule.counts_as(&old))?;
            let is_fresh = fresh.iter().any(|rule| rule.counts_as(&old));
            (!is_fresh).then(|| (with, Arc::clone(now)))
        });
        let fresh = fresh.iter().map(|rule| (version, Arc::clone(rule)));
        let came: Vec<_> = known.chain(fresh).collect();
        if !of.0.is_empty() {
            state.turn += 1;
        }
        state.came = came;
        publish();
    }
}
