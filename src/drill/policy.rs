//! What the operator's config promises of a route, as far as a drill can tell
//! whether it is kept.

use super::fault::{Fault, LONGEST, Limit};
use crate::config::{Breaker, Config, Covers, Model, OnBreak, TargetName, Timeouts};
use crate::route::fault::Kind;
use crate::table::merged;
use std::time::Duration;

/// Who is asked after a prompt that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Longer {
    Nobody,
    /// Whoever has a larger window, if windows are known.
    Perhaps,
    Somebody,
}

/// A route's limits and what it does when they are met.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The route's own deadline.
    pub own: Duration,
    /// The drill's, which each request carries: not longer.
    pub deadline: Duration,
    pub covers_answer: bool,
    /// Retries at one target.
    pub retries: usize,
    /// A first failure can be tried again: neither budget nor breaker forbid.
    pub forgiving: bool,
    pub on_break: OnBreak,
    /// An error may come as an event, since the head is out already.
    pub told_in_stream: bool,
    pub hedged: bool,
    pub timeouts: Timeouts,
    /// There is another candidate after a failure, and after a rate limit.
    pub on_error: bool,
    pub on_rate_limit: bool,
    pub on_context_length: Longer,
    pub on_content_policy: bool,
}

/// How much of the deadline has to be left for somebody else.
const LEFT: Duration = Duration::from_millis(500);

impl Policy {
    /// That of a route; `None` when the config has no such route or it has no
    /// targets. `asked` lowers the deadline.
    pub fn of(config: &Config, route: &str, asked: Duration) -> Option<Self> {
        let model = config.models.get(route)?;
        let first = model.targets.first()?;
        let provider = config.providers.get(&first.provider)?;
        let own = model.deadline.unwrap_or(config.times.request);
        let more = model.targets.iter().any(|target| !same(target, first));
        let leads = |list: &Option<Vec<TargetName>>| {
            let list = list.as_ref().unwrap_or(&model.fallbacks);
            list.iter().any(|target| !same(target, first))
        };
        Some(Self {
            own,
            deadline: own.min(asked),
            covers_answer: model.deadline_covers == Covers::Answer,
            retries: model.retries,
            forgiving: forgiving(provider.retry_budget, &provider.breaker),
            on_break: model.on_break,
            told_in_stream: model.early_headers || model.keep_alive.is_some(),
            hedged: model.hedge.is_some(),
            timeouts: merged(&model.timeouts, &provider.timeouts),
            on_error: more || leads(&model.on_error),
            on_rate_limit: more || leads(&model.on_rate_limit),
            on_context_length: match &model.on_context_length {
                Some(list) if list.iter().any(|target| !same(target, first)) => Longer::Somebody,
                Some(_) => Longer::Nobody,
                None if more || leads(&None) => Longer::Perhaps,
                None => Longer::Nobody,
            },
            on_content_policy: model
                .on_content_policy
                .as_ref()
                .is_some_and(|list| list.iter().any(|target| !same(target, first))),
        })
    }

    /// Somebody else is asked after a failure of this kind.
    pub const fn leads(&self, kind: Kind) -> bool {
        match kind {
            Kind::Error => self.on_error,
            Kind::RateLimit => self.on_rate_limit,
            Kind::ContextLength => matches!(self.on_context_length, Longer::Somebody),
            Kind::ContentPolicy => self.on_content_policy,
        }
    }

    /// There is nobody but the first target, whatever happens.
    pub const fn alone(&self) -> bool {
        !self.on_error
            && !self.on_rate_limit
            && !self.on_content_policy
            && matches!(self.on_context_length, Longer::Nobody)
    }

    /// How long a fault may go on before a limit of the route's ends it, or the
    /// provider itself does.
    pub fn patience(&self, fault: Fault) -> Duration {
        let own = &self.timeouts;
        let limit = match fault.limit() {
            None => Duration::ZERO,
            Some(Limit::FirstByte) => own.first_byte,
            // Whichever of the two the second is measured from.
            Some(Limit::FirstToken) => own.first_byte + own.first_token,
            Some(Limit::Stall) => own.stall.max(own.idle),
            Some(Limit::Rate) => LONGEST,
        };
        limit.min(LONGEST)
    }

    /// Whether a fault ends early enough to ask somebody else within the
    /// deadline.
    pub fn leaves_time(&self, fault: Fault) -> bool {
        self.patience(fault) + LEFT <= self.deadline
    }

    /// What is measured of a stream's pace, if anything can be in a drill.
    pub fn paces(&self) -> bool {
        self.timeouts.min_tokens_per_second > 0.0 && self.timeouts.rate_window * 2 < LONGEST
    }
}

/// Two ways to write one target; its share is something else.
pub fn same(one: &TargetName, other: &TargetName) -> bool {
    one.provider == other.provider && one.model == other.model
}

/// Every target of a route but the first, in the order in which a drill takes
/// the second from them.
pub fn others(model: &Model) -> impl Iterator<Item = &TargetName> {
    let lists = [
        &model.on_error,
        &model.on_rate_limit,
        &model.on_context_length,
        &model.on_content_policy,
    ];
    let first = model.targets.first();
    model
        .targets
        .iter()
        .chain(&model.fallbacks)
        .chain(lists.into_iter().flatten().flatten())
        .filter(move |target| first.is_some_and(|first| !same(first, target)))
}

fn forgiving(budget: f64, breaker: &Breaker) -> bool {
    budget > 0.0 && breaker.consecutive_failures > 1
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config;

    /// A route `m` over providers `a` and `b`.
    pub fn written(route: &str) -> Config {
        let text = format!(
            "[providers.a]\ndialect = \"anthropic\"\nbase_url = \"https://a.example\"\n\
             timeouts = {{ first_byte = \"2s\", stall = \"3s\", idle = \"4s\" }}\n\
             [providers.b]\ndialect = \"openai\"\nbase_url = \"https://b.example/v1\"\n\
             [models.m]\ntargets = [\"a/x\"]\n{route}\n"
        );
        let (config, found) = config::load(&text);
        assert_eq!(found, []);
        config.unwrap()
    }

    pub fn policy(route: &str) -> Policy {
        Policy::of(&written(route), "m", Duration::from_secs(30)).unwrap()
    }

    #[test]
    fn the_shorter_deadline_counts() {
        assert_eq!(policy("").deadline, Duration::from_secs(30));
        assert_eq!(policy("").own, Duration::from_secs(600));
        let short = policy("deadline = \"5s\"");
        assert_eq!(
            (short.own, short.deadline),
            (short.deadline, Duration::from_secs(5))
        );
        assert_eq!(Policy::of(&written(""), "n", Duration::from_secs(1)), None);
    }

    #[test]
    fn the_routes_limits_go_before_the_providers() {
        let policy = policy("timeouts = { first_byte = \"1s\" }");
        assert_eq!(policy.timeouts.first_byte, Duration::from_secs(1));
        assert_eq!(policy.timeouts.stall, Duration::from_secs(3));
        assert!(policy.leaves_time(Fault::Silence));
        // The provider's first_token is two minutes.
        assert!(!policy.leaves_time(Fault::CommentsOnly));
        let stall = Fault::Stall { comments: false };
        assert_eq!(policy.patience(stall), Duration::from_secs(4));
    }

    #[test]
    fn who_is_asked_next_depends_on_the_failure() {
        let alone = policy("");
        assert!(alone.alone() && !alone.leads(Kind::Error));
        let both = policy("fallbacks = [\"b/y\"]");
        assert!(both.leads(Kind::Error) && both.leads(Kind::RateLimit));
        assert!(!both.leads(Kind::ContentPolicy));
        assert_eq!(both.on_context_length, Longer::Perhaps);
        let only = policy("fallbacks = [\"b/y\"]\non_error = []\non_context_length = [\"b/z\"]");
        assert!(!only.leads(Kind::Error) && only.leads(Kind::RateLimit));
        assert_eq!(only.on_context_length, Longer::Somebody);
        // A target that is its own fallback is nobody else.
        assert!(policy("fallbacks = [\"a/x\"]").alone());
    }
}
