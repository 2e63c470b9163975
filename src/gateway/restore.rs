//! What was used before: budgets that are taken up again at a start, and limits
//! that come with a reload, count what the ledger knows.
//!
//! Limits that come with a reload count who is under way too, each once: see
//! [`super::open`].
//!
//! What counts as a request is the same as while the gateway runs: for limits of
//! providers and models each attempt at one, for all others each request that was
//! let in and of which something came.

use super::Accounts;
use crate::admission::{Load, Rule, Subject};
use crate::ledger::{AskError, Certainty, Horizon, Mark, Used};
use crate::units::{Calendar, Measure, Moment, Window};
use std::sync::Arc;
use std::time::Duration;

/// A month has at most so long.
const MONTH: Duration = Duration::from_secs(31 * 86_400);

/// How finely the latest time is told, and for how long back: no limit of less
/// than this is worth more.
const GRAIN: Duration = Duration::from_secs(1);
const FINE: Duration = Duration::from_secs(3_600);

/// For how long limits that come wait for the ledger to have all that has ended.
const FLUSH: Duration = Duration::from_secs(10);

/// A table's limits, as a reload brings them.
pub struct Coming<'a> {
    /// Those that count nothing yet.
    pub fresh: Vec<Arc<Rule>>,
    pub all: &'a [Arc<Rule>],
    /// The table's.
    pub version: u64,
}

impl Accounts {
    /// Counts under `rules` what was used before now, and nothing else. To be
    /// called before a request is counted under them. Blocks while it reads.
    ///
    /// # Errors
    /// When the ledger cannot be read; then some of it may be counted.
    pub fn restore(&self, rules: &[Arc<Rule>]) -> Result<(), AskError> {
        let rules = countable(rules);
        if rules.is_empty() {
            return Ok(());
        }
        self.forget(&rules);
        self.record(&rules, None)?;
        self.limiter.recorded();
        Ok(())
    }

    /// Counts under limits that come now what was used before, by those too who
    /// are under way, and puts them in force: `publish` makes their table known.
    /// Blocks while it reads the ledger; nothing else waits for it.
    ///
    /// # Errors
    /// When the ledger cannot be read, or is not written in time; then nothing is
    /// published.
    pub fn take_up(&self, coming: &Coming<'_>, publish: impl FnOnce()) -> Result<(), AskError> {
        let Coming {
            fresh,
            all,
            version,
        } = coming;
        let rules = countable(fresh);
        if !rules.is_empty() {
            let mark = self.open.begin(&self.ledger, || self.forget(&rules));
            let read = self.ledger.flush_within(FLUSH);
            let read = read.map_err(AskError::from);
            if let Err(why) = read.and_then(|()| self.record(&rules, Some(mark))) {
                self.open.abandon();
                return Err(why);
            }
        }
        let (of, now) = ((&**fresh, *all, *version), self.clock.now());
        self.open.publish(&self.limiter, of, now, publish);
        if !rules.is_empty() {
            self.limiter.recorded();
        }
        Ok(())
    }

    fn forget(&self, rules: &[Arc<Rule>]) {
        for rule in rules {
            self.limiter.forget(rule);
        }
    }

    /// Counts what the ledger knows, up to the mark.
    fn record(&self, rules: &[Arc<Rule>], mark: Option<Mark>) -> Result<(), AskError> {
        let now = self.clock.now();
        let horizon = Horizon {
            mark,
            ..horizon(rules, now)
        };
        let all = self.ledger.read(move |view| {
            let mut all = Vec::new();
            view.used(&horizon, |used| all.push(used))?;
            Ok(all)
        })?;
        let rules = rules.iter().cloned();
        let (of_targets, others): (Vec<_>, Vec<_>) = rules.partition(|rule| rule.is_of_targets());
        for used in &all {
            let (subject, at) = (subject(used), used.at.min(now));
            let sent = load(used, used.sent);
            match &used.certainty {
                Certainty::Known => {
                    let let_in = load(used, used.requests);
                    self.limiter.record(&others, &subject, &let_in, at);
                    if subject.target.is_some() {
                        self.limiter.record(&of_targets, &subject, &sent, at);
                    }
                }
                // Not even that is known.
                Certainty::Presumed(targets) if targets.is_empty() => {
                    self.limiter.record(&of_targets, &subject, &sent, at);
                }
                Certainty::Presumed(targets) => {
                    let at_each = targets.iter().map(|(provider, model)| Subject {
                        target: Some((provider, model)),
                        ..subject
                    });
                    self.limiter.presume(&of_targets, at_each, &sent, at);
                }
            }
        }
        Ok(())
    }
}

/// Those that count over time. Who is under way at a start is nobody.
fn countable(rules: &[Arc<Rule>]) -> Vec<Arc<Rule>> {
    let counts = |rule: &&Arc<Rule>| rule.allowance.measure != Measure::Concurrent;
    rules.iter().filter(counts).cloned().collect()
}

fn horizon(rules: &[Arc<Rule>], now: Moment) -> Horizon {
    let back = |rule: &Arc<Rule>| match rule.allowance.window {
        Window::Rolling(length) => length,
        Window::Calendar(Calendar::Hour) => Duration::from_secs(3_600),
        Window::Calendar(Calendar::Day) => Duration::from_secs(86_400),
        Window::Calendar(Calendar::Week) => Duration::from_secs(7 * 86_400),
        Window::Calendar(Calendar::Month) => MONTH,
        // It is all the same when.
        Window::Total => Duration::ZERO,
    };
    let longest = rules.iter().map(back).max().unwrap_or_default();
    Horizon {
        windows_from: now.minus(longest),
        fine_from: now.minus(FINE),
        grain: GRAIN,
        mark: None,
    }
}

fn subject(used: &Used) -> Subject<'_> {
    let target = used.provider.as_deref().zip(used.model.as_deref());
    Subject {
        key: &used.key,
        team: used.team.as_deref(),
        user: used.user.as_deref(),
        route: &used.route,
        endpoint: &used.endpoint,
        target,
    }
}

fn load(used: &Used, requests: u64) -> Load {
    Load {
        requests,
        input_tokens: used.input_tokens,
        output_tokens: used.output_tokens,
        cost: used.cost,
    }
}

#[cfg(test)]
#[path = "restore_tests.rs"]
mod tests;
