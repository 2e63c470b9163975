//! A limit as the operator set it, and what it counts of a request.

use crate::units::{Allowance, Measure, MicroUsd, Pattern};
use std::sync::Arc;
use std::time::Duration;

/// What a request can be told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    Key,
    Team,
    /// The end user that the client named.
    User,
    /// The alias that the client's model matched.
    Route,
    /// The API's endpoint: `chat_completions`, `embeddings`.
    Endpoint,
    /// What the provider calls the model.
    Model,
    Provider,
}

/// Whom and what a rule is for: all, where a list is empty. A request without a
/// team or a user is matched by no list of teams or users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    pub keys: Vec<Pattern>,
    pub teams: Vec<Pattern>,
    pub users: Vec<Pattern>,
    pub routes: Vec<Pattern>,
    pub endpoints: Vec<Pattern>,
    pub models: Vec<Pattern>,
    pub providers: Vec<Pattern>,
}

/// One limit: an allowance, for each of something, of what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Unique; what is used is kept under it, also over reloads.
    pub name: Arc<str>,
    pub allowance: Allowance,
    /// One allowance for each value of these together; one for all when empty.
    /// Requests that lack one of them (no team, no user) are not counted.
    pub per: Vec<Dimension>,
    pub on: Selector,
    /// When it cannot be told what is left (the ledger or the shared store
    /// fails), nobody gets any.
    pub hard: bool,
    /// For concurrency: how long a request may wait for its turn.
    pub wait: Duration,
    /// For concurrency: how many may wait.
    pub depth: usize,
}

impl Rule {
    /// Whether what was counted of one is a count of the other: only the amount
    /// differs, or whom they are for.
    pub fn counts_as(&self, other: &Self) -> bool {
        let kind = |rule: &Self| (rule.allowance.measure, rule.allowance.window);
        self.name == other.name && self.per == other.per && kind(self) == kind(other)
    }

    /// Whether it is about providers or their models: then another target may
    /// be asked where it has nothing left.
    pub fn is_of_targets(&self) -> bool {
        let of_targets = [Dimension::Model, Dimension::Provider];
        !self.on.models.is_empty()
            || !self.on.providers.is_empty()
            || self.per.iter().any(|per| of_targets.contains(per))
    }

    /// Whether a request is counted: it is of those that the rule is for, and
    /// has all that the rule tells apart.
    pub fn counts(&self, subject: &Subject<'_>) -> bool {
        self.on.matches(subject) && self.per.iter().all(|per| subject.value(*per).is_some())
    }

    /// Whether a request of which nobody knows the target would be counted if it
    /// was the right one. Not where targets are told apart: then it is not known
    /// whose counter it is.
    pub fn may_count(&self, subject: &Subject<'_>) -> bool {
        subject.target.is_none()
            && self.on.may_match(subject)
            && self.per.iter().all(|per| subject.value(*per).is_some())
    }
}

impl Selector {
    /// Whether a request is of these.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.lists().into_iter().all(|list| names(list, subject))
    }

    /// Whether a request is of these, were its target one of them.
    pub fn may_match(&self, subject: &Subject<'_>) -> bool {
        let mut known = self
            .lists()
            .into_iter()
            .filter(|(_, dimension)| !matches!(dimension, Dimension::Model | Dimension::Provider));
        known.all(|list| names(list, subject))
    }

    fn lists(&self) -> [(&[Pattern], Dimension); 7] {
        [
            (&self.keys, Dimension::Key),
            (&self.teams, Dimension::Team),
            (&self.users, Dimension::User),
            (&self.routes, Dimension::Route),
            (&self.endpoints, Dimension::Endpoint),
            (&self.models, Dimension::Model),
            (&self.providers, Dimension::Provider),
        ]
    }
}

/// Whether a list has what the request is called in that respect; an empty one has
/// all.
fn names((patterns, dimension): (&[Pattern], Dimension), subject: &Subject<'_>) -> bool {
    let is_named = |name| patterns.iter().any(|pattern| pattern.matches(name));
    patterns.is_empty() || subject.value(dimension).is_some_and(is_named)
}

/// A request, as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub key: &'a str,
    pub team: Option<&'a str>,
    pub user: Option<&'a str>,
    pub route: &'a str,
    pub endpoint: &'a str,
    /// The provider and what it calls the model; `None` before one is chosen.
    pub target: Option<(&'a str, &'a str)>,
}

impl<'a> Subject<'a> {
    /// What it is called in this respect, if it is known.
    pub const fn value(&self, dimension: Dimension) -> Option<&'a str> {
        match dimension {
            Dimension::Key => Some(self.key),
            Dimension::Team => self.team,
            Dimension::User => self.user,
            Dimension::Route => Some(self.route),
            Dimension::Endpoint => Some(self.endpoint),
            Dimension::Provider => match self.target {
                Some((provider, _)) => Some(provider),
                None => None,
            },
            Dimension::Model => match self.target {
                Some((_, model)) => Some(model),
                None => None,
            },
        }
    }
}

/// What a request uses, or may use at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    pub requests: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: MicroUsd,
}

impl Load {
    /// So much of what is counted. A request is under way once, however often it
    /// is counted: concurrency is not a load.
    pub const fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Requests => self.requests,
            Measure::InputTokens => self.input_tokens,
            Measure::OutputTokens => self.output_tokens,
            Measure::TotalTokens => self.input_tokens.saturating_add(self.output_tokens),
            Measure::Usd => self.cost.0,
            Measure::Concurrent => 0,
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(&self, more: &Self) -> Self {
        Self {
            requests: self.requests.saturating_add(more.requests),
            input_tokens: self.input_tokens.saturating_add(more.input_tokens),
            output_tokens: self.output_tokens.saturating_add(more.output_tokens),
            cost: self.cost.saturating_add(more.cost),
        }
    }

    /// As much of it as `bound` has of each.
    #[must_use]
    pub fn within(&self, bound: &Self) -> Self {
        Self {
            requests: self.requests.min(bound.requests),
            input_tokens: self.input_tokens.min(bound.input_tokens),
            output_tokens: self.output_tokens.min(bound.output_tokens),
            cost: self.cost.min(bound.cost),
        }
    }
}
