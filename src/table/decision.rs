//! Where one request goes, and why not elsewhere.

use super::{Target, Terms};
use crate::route::fault::Kinds;
use crate::route::policy::Lost;
use std::sync::Arc;

/// A target that a request may come to.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub target: Target,
    /// One of the route's own targets, not a fallback.
    pub is_target: bool,
    /// The failures of others that lead to it.
    pub on: Kinds,
    /// The config names its model in full: that the provider does not know it
    /// is then no client's doing.
    pub is_exact: bool,
}

/// All that a request may reach, first choice first. It is made once, by the
/// decision, and can only become smaller: nothing after that, no fallback and no
/// second try, adds to it.
#[derive(Debug, Default)]
pub struct Candidates(Vec<Candidate>);

impl Candidates {
    pub(super) const fn new(all: Vec<Candidate>) -> Self {
        Self(all)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Candidate> {
        self.0.iter()
    }

    pub const fn len(&self) -> usize {
        self.0.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves those out that will not do; each is asked about once, in order.
    pub fn retain(&mut self, keep: impl FnMut(&Candidate) -> bool) {
        self.0.retain(keep);
    }
}

impl IntoIterator for Candidates {
    type Item = Candidate;
    type IntoIter = std::vec::IntoIter<Candidate>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Why the targets are what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason {
    /// The rule of the route that held.
    pub rule: Option<Arc<str>>,
    /// The pools that the request stays within, each with the rule that says so.
    pub pools: Vec<(Arc<str>, Arc<str>)>,
    /// Rules that held and left nothing, so that the next one was asked.
    pub passed: Vec<Arc<str>>,
    /// `provider/model` of each target that lost, with why.
    pub lost: Vec<(Arc<str>, Lost)>,
}

/// Where a request may go, first choice first.
#[derive(Debug)]
pub struct Decision {
    /// The alias that matched, for labels.
    pub route: Arc<str>,
    pub candidates: Candidates,
    pub terms: Arc<Terms>,
    pub reason: Reason,
}

impl Reason {
    /// In one line: `rule=code; pool=own; lost=a/b:quality,c/d:pool`.
    pub fn short(&self) -> String {
        let mut parts = Vec::new();
        if let Some(rule) = &self.rule {
            parts.push(format!("rule={rule}"));
        }
        for (pool, _) in &self.pools {
            parts.push(format!("pool={pool}"));
        }
        if !self.passed.is_empty() {
            parts.push(format!("passed={}", self.passed.join(",")));
        }
        if !self.lost.is_empty() {
            let lost = self.lost.iter();
            let lost = lost.map(|(target, why)| format!("{target}:{}", why.label()));
            parts.push(format!("lost={}", lost.collect::<Vec<_>>().join(",")));
        }
        match parts.is_empty() {
            true => "listed".to_owned(),
            false => parts.join("; "),
        }
    }

    /// Whether there is more to say than that targets are asked as listed.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}
