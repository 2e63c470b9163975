//! Which candidate a request asks next, and how long it may wait for it.
//!
//! A [`Course`] is one request's way through its candidates: a state machine
//! that is told what failed and says what to do. What it needs to know of the
//! world (breakers, budgets, learned times) it asks of a [`View`]; it has no
//! clock and no chance of its own. What a fault means is [`super::fault`]'s.

use super::fault::{Again, Fault, Kind, Kinds};
use std::time::Duration;

/// The first pause before the same target is asked again is at most this; each
/// further one at most twice the one before.
const PAUSE: Duration = Duration::from_millis(200);

/// The same where the target said that it is asked too often, but not when to
/// come back.
const SLOWER_PAUSE: Duration = Duration::from_millis(1000);

/// Of the time that another candidate usually leaves over, it gets one part in
/// so many on top of what it usually needs.
const SPARE: u32 = 8;

/// Who waits for a `Retry-After` waits up to one part in so many longer, so
/// that not all come back at once.
const SPREAD: u32 = 10;

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What a course asks of the world. Candidates are named by their place.
pub trait View {
    /// Lets a request through to a candidate, if its breaker does.
    fn admit(&mut self, at: usize) -> Admit;
    /// Lets it through whatever the breaker says.
    fn force(&mut self, at: usize);
    /// Whether [`View::admit`] would let it through. Changes nothing.
    fn is_ready(&self, at: usize) -> bool;
    /// What the candidate needs until its first content nineteen times of
    /// twenty, as learned.
    fn expected(&self, at: usize) -> Option<Duration>;
    /// The same, every other time.
    fn usual(&self, at: usize) -> Option<Duration>;
    /// Takes one retry out of the budget of the candidate's provider.
    fn withdraw(&mut self, at: usize) -> bool;
    /// Whether this request has asked the candidate's provider before, be it as
    /// another candidate: then another attempt there is a retry.
    fn has_asked(&self, at: usize) -> bool;
    /// Whether the candidate has a usable endpoint that was not tried.
    fn has_other_endpoint(&self, at: usize) -> bool;
    /// Whether the candidate is another model than `than`, and its window not
    /// known to be as small.
    fn is_larger(&self, at: usize, than: usize) -> bool;
    /// Whether two candidates are the same model.
    fn is_same_model(&self, at: usize, other: usize) -> bool;
}

/// What a breaker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    Yes,
    Shut {
        /// Until it may be asked again.
        wait: Duration,
        /// It said so itself, with a `Retry-After`.
        told: bool,
        /// What it was that shut it.
        kind: Kind,
    },
    /// The budget of its provider, which this request has asked before, is
    /// used up.
    Spent,
}

/// A candidate, as far as a course needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Leg {
    pub is_target: bool,
    /// The failures of others that lead to it.
    pub on: Kinds,
}

/// Why an attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The first of its request.
    First,
    /// At a target that has failed before.
    Retry,
    /// At another target.
    Fallback,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Try {
        at: usize,
        role: Role,
    },
    /// Try it after a pause; it has to be admitted again then.
    Wait {
        at: usize,
        pause: Duration,
    },
    End(End),
}

/// Why nothing more is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The same would happen everywhere.
    Stop,
    /// Nobody is left.
    Nobody,
    /// Who is left asked to wait for so long, which does not fit.
    Later(Duration),
}

/// A failed attempt.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub fault: Fault,
    /// The provider's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Since the request's head.
    pub elapsed: Duration,
    /// Since the request's head.
    pub deadline: Duration,
    /// Chance, for the length of a pause.
    pub chance: u64,
}

#[derive(Debug, Clone)]
struct State {
    leg: Leg,
    /// It may still be asked.
    open: bool,
    tries: usize,
    /// Asked too often; may be asked again then, since the request's head.
    resume: Option<Duration>,
}

/// One request's way through its candidates.
#[derive(Debug, Clone)]
pub struct Course {
    states: Vec<State>,
    retries: usize,
    /// Kinds of failures so far.
    seen: Kinds,
    /// For whom the prompt was too long.
    too_long_for: Vec<usize>,
    /// Somebody refused the content.
    refused: bool,
    made: usize,
    /// Chance, for how much longer than told it waits.
    chance: u64,
}

impl Course {
    /// A course through `legs`, in their order; each may be asked again
    /// `retries` times.
    pub fn new(legs: impl IntoIterator<Item = Leg>, retries: usize) -> Self {
        let state = |leg| State {
            leg,
            open: true,
            tries: 0,
            resume: None,
        };
        Self {
            states: legs.into_iter().map(state).collect(),
            retries,
            seen: Kinds::NONE,
            too_long_for: Vec::new(),
            refused: false,
            made: 0,
            chance: 0,
        }
    }

    /// The same with a chance of its own, as each request must have: those that
    /// wait for the same target then do not come back at the same moment.
    pub const fn with_chance(mut self, chance: u64) -> Self {
        self.chance = chance;
        self
    }

    /// Attempts so far.
    pub fn made(&self) -> usize {
        self.made
    }

    /// The first of the candidates that may be asked. Where every breaker is
    /// open, the first is asked all the same, once: whoever is down for
    /// certain cannot answer worse than nobody. One that said itself when to
    /// come back is waited for, if that fits.
    pub fn next(&mut self, elapsed: Duration, deadline: Duration, view: &mut impl View) -> Step {
        let mut untold = None;
        let mut soonest: Option<(usize, Duration)> = None;
        let mut sooner = |at: usize, then: Duration| {
            if soonest.is_none_or(|(_, best)| then < best) {
                soonest = Some((at, then));
            }
        };
        for at in 0..self.states.len() {
            if let Some(resume) = self.states.get(at).and_then(|s| s.resume) {
                sooner(at, resume);
            }
            if !self.is_open(at, self.seen, view) {
                continue;
            }
            match view.admit(at) {
                Admit::Yes => return self.ask(at),
                Admit::Shut { wait, told, kind } => {
                    self.seen = self.seen.and(Kinds::of(kind));
                    // Its time has passed and somebody tries it: there is
                    // nothing to wait for, and it is as any other then.
                    match told && !wait.is_zero() {
                        true => sooner(at, elapsed.saturating_add(wait)),
                        false => untold = untold.or(Some(at)),
                    }
                }
                Admit::Spent => self.seen = self.seen.and(Kinds::ERROR),
            }
        }
        if let Some(at) = untold.filter(|_| self.made == 0) {
            view.force(at);
            return self.ask(at);
        }
        match soonest {
            Some((at, then)) => self.wait_for(at, then, elapsed, deadline, view),
            None => Step::End(End::Nobody),
        }
    }

    /// Where to go after a failure.
    pub fn failed(&mut self, at: usize, report: &Report, view: &mut impl View) -> Step {
        let rule = report.fault.rule();
        let Some(kind) = rule.kind else {
            return Step::End(End::Stop);
        };
        // Without a time to come back at, being busy is as good as an error. With one, an error is
        // as good as being busy, but at another endpoint, which has not asked for anything.
        let told = report.retry_after.filter(|after| !after.is_zero());
        let again = match rule.again {
            Again::Later if kind == Kind::Error && told.is_none() => Again::Soon,
            Again::Soon if told.is_some() && !view.has_other_endpoint(at) => Again::Later,
            again => again,
        };
        if let Some(step) = self.again(at, again, report, view) {
            return step;
        }
        let tries = self.states.get(at).map_or(0, |s| s.tries);
        let resume = (again == Again::Later && tries <= self.retries).then(|| {
            let pause = jitter(SLOWER_PAUSE, tries, report.chance);
            report.elapsed.saturating_add(told.unwrap_or(pause))
        });
        if let Some(state) = self.states.get_mut(at) {
            state.open = false;
            state.resume = resume;
        }
        self.note(at, kind);
        self.next(report.elapsed, report.deadline, view)
    }

    /// A failure while another candidate is still being asked: nothing is
    /// decided yet, but it counts for what is.
    pub fn lost(&mut self, at: usize, fault: Fault) {
        if let Some(state) = self.states.get_mut(at) {
            state.open = false;
        }
        if let Some(kind) = fault.rule().kind {
            self.note(at, kind);
        }
    }

    fn note(&mut self, at: usize, kind: Kind) {
        match kind {
            Kind::Error | Kind::RateLimit => self.seen = self.seen.and(Kinds::of(kind)),
            Kind::ContextLength => self.too_long_for.push(at),
            Kind::ContentPolicy => self.refused = true,
        }
    }

    /// Whether anybody but `at` may be asked after an error.
    pub fn has_other(&self, at: usize) -> bool {
        let after = self.seen.and(Kinds::ERROR);
        let mut all = self.states.iter().enumerate();
        all.any(|(i, state)| {
            i != at && state.open && (state.leg.is_target || state.leg.on.meets(after))
        })
    }

    /// Whether the candidate was given up, for now or for good.
    pub fn has_left(&self, at: usize) -> bool {
        self.states.get(at).is_none_or(|state| !state.open)
    }

    /// What was to be asked is not, after all.
    pub fn spare(&mut self, at: usize) {
        if let Some(state) = self.states.get_mut(at) {
            state.tries = state.tries.saturating_sub(1);
        }
        self.made = self.made.saturating_sub(1);
    }

    /// The candidate cannot be asked after all: it does not carry the request,
    /// or has no address.
    pub fn unusable(&mut self, at: usize) {
        if let Some(state) = self.states.get_mut(at) {
            state.open = false;
        }
        self.seen = self.seen.and(Kinds::ERROR);
    }

    /// After how long without content a candidate is cut off for the sake of
    /// another: its `own` limit, or sooner, so that what is `left` of the
    /// deadline suffices for whoever of the others needs the least. `None`
    /// where there is nobody else: the last one may take all the time there is.
    pub fn cut_after(
        &self,
        at: usize,
        left: Duration,
        own: Duration,
        view: &impl View,
    ) -> Option<Duration> {
        let others = self.others(at, view);
        others.first()?;
        // One silence in twenty makes nobody hopeless.
        let needs = |other| match view.expected(other) {
            Some(expected) if expected >= left => view.usual(other),
            expected => expected,
        };
        let known: Vec<_> = others.iter().copied().filter_map(needs).collect();
        let reserve = match known.iter().min() {
            // The 95th percentile is too short for one in twenty.
            Some(expected) if *expected < left => {
                expected.saturating_add((left - *expected) / SPARE)
            }
            // Those who are known would come too late; of the others nothing
            // is known, so that the time is shared.
            Some(_) if known.len() == others.len() => return None,
            _ => left / 2,
        };
        Some(own.min(left.saturating_sub(reserve)))
    }

    /// Another candidate to ask while `at` is silent.
    pub fn hedge(&mut self, at: usize, view: &mut impl View) -> Option<usize> {
        let other = *self.others(at, view).first()?;
        if view.admit(other) != Admit::Yes {
            return None;
        }
        if let Some(state) = self.states.get_mut(other) {
            state.tries += 1;
        }
        self.made += 1;
        Some(other)
    }

    /// Whoever is still there besides `at`, should it fail.
    fn others(&self, at: usize, view: &impl View) -> Vec<usize> {
        let after = self.seen.and(Kinds::ERROR);
        (0..self.states.len())
            .filter(|other| *other != at)
            .filter(|other| self.is_open(*other, after, view) && view.is_ready(*other))
            .collect()
    }

    /// Whether a candidate may be asked after failures of these kinds.
    fn is_open(&self, at: usize, seen: Kinds, view: &impl View) -> bool {
        let Some(state) = self.states.get(at).filter(|s| s.open) else {
            return false;
        };
        let on = state.leg.on;
        if self.refused && !on.meets(Kinds::CONTENT_POLICY) {
            return false;
        }
        let wide = |than: &usize| match on.meets(Kinds::CONTEXT_LENGTH) {
            true => !view.is_same_model(at, *than),
            false => on.meets(Kinds::IF_LARGER) && view.is_larger(at, *than),
        };
        if !self.too_long_for.iter().all(wide) {
            return false;
        }
        let narrowed = self.refused || !self.too_long_for.is_empty();
        narrowed || state.leg.is_target || on.meets(seen)
    }

    fn ask(&mut self, at: usize) -> Step {
        let mut role = match self.made {
            0 => Role::First,
            _ => Role::Fallback,
        };
        if let Some(state) = self.states.get_mut(at) {
            if state.tries > 0 {
                role = Role::Retry;
            }
            state.tries += 1;
            state.resume = None;
        }
        self.made += 1;
        Step::Try { at, role }
    }

    /// A step at the same target, if there may be one.
    fn again(
        &mut self,
        at: usize,
        again: Again,
        report: &Report,
        view: &mut impl View,
    ) -> Option<Step> {
        let tries = self.states.get(at)?.tries;
        let elsewhere = view.has_other_endpoint(at);
        let may = match again {
            Again::Never | Again::Later => false,
            Again::Elsewhere => elsewhere,
            Again::Soon => true,
        };
        if !may || tries > self.retries {
            return None;
        }
        let pause = match elsewhere {
            true => Duration::ZERO,
            false => jitter(PAUSE, tries, report.chance),
        };
        let then = report.elapsed.saturating_add(pause);
        if !self.fits(at, then, report.deadline, view) || !view.withdraw(at) {
            return None;
        }
        Some(match elsewhere {
            true => self.ask(at),
            false => Step::Wait { at, pause },
        })
    }

    /// Whether a candidate that is asked then will more likely than not answer
    /// in time.
    fn fits(&self, at: usize, then: Duration, deadline: Duration, view: &impl View) -> bool {
        let needs = view.usual(at).unwrap_or_default();
        then.saturating_add(needs) < deadline
    }

    fn wait_for(
        &mut self,
        at: usize,
        then: Duration,
        elapsed: Duration,
        deadline: Duration,
        view: &mut impl View,
    ) -> Step {
        let told = then.saturating_sub(elapsed);
        let pause = told.saturating_add(up_to(told / SPREAD, self.chance));
        let then = elapsed.saturating_add(pause);
        let asked = view.has_asked(at) || self.states.get(at).is_some_and(|s| s.tries > 0);
        if !self.fits(at, then, deadline, view) || (asked && !view.withdraw(at)) {
            return Step::End(End::Later(told));
        }
        Step::Wait { at, pause }
    }

    /// The pause is over: the candidate is asked.
    pub fn resumed(&mut self, at: usize) -> Step {
        self.ask(at)
    }
}

/// Full jitter: anything from nothing to the pause, which doubles with each
/// try (Brooker, Exponential Backoff and Jitter, AWS 2015).
fn jitter(first: Duration, tries: usize, chance: u64) -> Duration {
    let doublings = u32::try_from(tries.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(8);
    up_to(
        first.saturating_mul(1 << doublings).min(LONGEST_PAUSE),
        chance,
    )
}

fn up_to(most: Duration, chance: u64) -> Duration {
    let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
    Duration::from_micros(chance % micros)
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;
