//! What was used before: budgets that are taken up again at a start, and limits
//! that come with a reload, count what the ledger knows.

use super::Accounts;
use crate::admission::{Load, Rule, Subject};
use crate::ledger::{AskError, Horizon, Used};
use crate::units::{Calendar, Measure, Moment, Window};
use std::sync::Arc;
use std::time::Duration;

/// A month has at most so long.
const MONTH: Duration = Duration::from_secs(31 * 86_400);

/// How finely the latest time is told, and for how long back: no limit of less
/// than this is worth more.
const GRAIN: Duration = Duration::from_secs(1);
const FINE: Duration = Duration::from_secs(3_600);

impl Accounts {
    /// Counts under `rules` what was used before now, and nothing else. To be
    /// called before a request is counted under them. Blocks while it reads.
    ///
    /// # Errors
    /// When the ledger cannot be read; then some of it may be counted.
    pub fn restore(&self, rules: &[Arc<Rule>]) -> Result<(), AskError> {
        let counts = |rule: &&Arc<Rule>| rule.allowance.measure != Measure::Concurrent;
        let rules: Vec<_> = rules.iter().filter(counts).cloned().collect();
        if rules.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let horizon = horizon(&rules, now);
        let all = self.ledger.read(move |view| {
            let mut all = Vec::new();
            view.used(&horizon, |used| all.push(used))?;
            Ok(all)
        })?;
        for rule in &rules {
            self.limiter.forget(rule);
        }
        for used in &all {
            self.limiter
                .record(&rules, &subject(used), &load(used), used.at.min(now));
        }
        self.limiter.recorded();
        Ok(())
    }
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

fn load(used: &Used) -> Load {
    Load {
        requests: used.requests,
        input_tokens: used.input_tokens,
        output_tokens: used.output_tokens,
        cost: used.cost,
    }
}
