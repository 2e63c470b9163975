//! A limit as the operator set it, and what it counts of a request.

use crate::units::{Allowance, MicroUsd, Pattern};
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
    /// Whether it is about providers or their models: then another target may
    /// be asked where it has nothing left.
    pub fn is_of_targets(&self) -> bool {
        let of_targets = [Dimension::Model, Dimension::Provider];
        !self.on.models.is_empty()
            || !self.on.providers.is_empty()
            || self.per.iter().any(|per| of_targets.contains(per))
    }
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

/// What a request uses, or may use at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    pub requests: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: MicroUsd,
}
