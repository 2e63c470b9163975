//! What a request reads: an immutable table compiled from the config.
//!
//! One request reads one table, pinned when it arrives, so a reload in
//! mid-request changes nothing for it. Compiling (`compile`) checks
//! everything that can be known before a request comes; after it, nothing in
//! here fails. Pools, with their health and connections, and credentials, with
//! what they hold, are carried over from the previous table where their settings
//! are the same.

mod capabilities;
mod compile;
mod compile_credential;
mod compile_limit;
mod compile_policy;
mod compile_provider;
mod compile_traces;
mod decision;
mod policy;
mod provider;
mod terms;

pub use crate::config::{Limits, OnBreak, Times};
pub use compile_limit::rules_of_key;
pub use decision::{Candidate, Candidates, Decision, Reason};
pub use policy::{Asked, Explained, Policies, Policy, Seen, Standing, Standings};
pub use provider::{Dialect, Provider, Timeouts};
pub use terms::{Hedge, Terms, merged};

use crate::admission::Rule;
use crate::identity::{Digest, KeyRing, Principal};
use crate::meter::{Book, Price};
use crate::route::decide::{Choice, Order, decide};
use crate::route::fault::Kinds;
use crate::telemetry::traces;
use crate::units::{Moment, Wildcard};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

/// Metrics label of requests that named `provider/model` themselves.
pub const DIRECT: &str = "direct";

/// Everything that requests look up.
#[derive(Debug)]
pub struct RoutingTable {
    /// Counts the tables of this process, from 1; set when it starts to serve.
    pub version: u64,
    pub loaded_at: SystemTime,
    pub limits: Limits,
    pub times: Times,
    pub keys: KeyRing,
    /// Limits and budgets, but for those of single keys.
    pub rules: Arc<[Arc<Rule>]>,
    pub prices: Arc<Book>,
    /// What the operator shows to change something; nothing can be changed
    /// without one.
    pub admin_token: Option<Digest>,
    pub providers: BTreeMap<Arc<str>, Arc<Provider>>,
    /// Where traces go. Read when the process starts.
    pub traces: Option<traces::Settings>,
    /// The config without its secrets, for the operator.
    pub redacted: serde_json::Value,
    policies: Policies,
    routes: HashMap<String, Arc<Route>>,
    /// How requests are served that name `provider/model` themselves.
    direct_terms: Arc<Terms>,
    /// The more specific first.
    wildcards: Vec<(Wildcard, Arc<Route>)>,
}

/// One alias of the config.
#[derive(Debug)]
pub struct Route {
    pub alias: Arc<str>,
    order: Order,
    terms: Arc<Terms>,
    weights: Vec<usize>,
    /// Targets, then fallbacks.
    targets: Vec<TargetPattern>,
    /// Rules, where it has any.
    policy: Option<Policy>,
}

/// A target as written: its model may hold a star.
#[derive(Debug)]
struct TargetPattern {
    provider: Arc<Provider>,
    model: String,
    on: Kinds,
}

/// Something that can be sent to.
#[derive(Debug, Clone)]
pub struct Target {
    pub provider: Arc<Provider>,
    /// What the provider calls the model.
    pub model: String,
}

impl std::fmt::Display for Target {
    /// `provider/model`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider.name, self.model)
    }
}

impl Target {
    fn is(&self, other: &Self) -> bool {
        self.model == other.model && Arc::ptr_eq(&self.provider, &other.provider)
    }
}

/// Why a request leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Unknown,
    NotAllowed,
    /// The name may be asked for, the route that it leads to may not be taken.
    RouteNotAllowed,
    /// No target will do.
    NoCandidate(Box<Reason>),
}

impl RoutingTable {
    /// May this principal ask for `asked`, and does it exist?
    ///
    /// # Errors
    /// As [`RoutingTable::find`].
    pub fn knows(&self, who: &Principal, asked: &str) -> Result<(), Refusal> {
        self.find(who, asked).map(|_| ())
    }

    /// The aliases that this principal may use, sorted. Wildcards have no list
    /// and are not in it.
    pub fn aliases(&self, who: &Principal) -> Vec<&str> {
        let mut all: Vec<&str> = self
            .routes
            .keys()
            .map(String::as_str)
            .filter(|alias| who.may_use(alias) && who.may_take(alias))
            .collect();
        all.sort_unstable();
        all
    }

    /// What a target costs at a time.
    pub fn price(&self, target: &Target, at: Moment) -> Option<Arc<Price>> {
        let Target { provider, model } = target;
        let dialect = provider.dialect.name();
        self.prices.find(&provider.name, dialect, model, at)
    }

    /// All limits and budgets, those of single keys among them.
    pub fn all_rules(&self) -> Vec<Arc<Rule>> {
        let runtime = self.keys.runtime().everybody();
        let everybody = self.keys.written().chain(&runtime);
        let own = everybody.flat_map(|who| rules_of_key(&who.name, &who.limits));
        self.rules.iter().cloned().chain(own).collect()
    }

    /// Every label that a route can have in metrics.
    pub fn route_labels(&self) -> Vec<&str> {
        let wild = self.wildcards.iter().map(|(_, r)| &*r.alias);
        self.routes
            .keys()
            .map(String::as_str)
            .chain(wild)
            .chain([DIRECT])
            .collect()
    }

    /// Whether the config itself names this model of a provider, in full.
    pub fn names(&self, provider: &str, model: &str) -> bool {
        let mut routes = self
            .routes
            .values()
            .chain(self.wildcards.iter().map(|(_, r)| r));
        routes.any(|route| {
            let mut targets = route.targets.iter();
            targets.any(|t| &*t.provider.name == provider && t.model == model)
        })
    }

    fn route(&self, alias: &str) -> Option<&Route> {
        let mut wild = self.wildcards.iter().map(|(_, route)| route);
        let exact = self.routes.get(alias);
        exact
            .or_else(|| wild.find(|route| &*route.alias == alias))
            .map(|route| &**route)
    }

    pub fn routes_len(&self) -> usize {
        self.routes.len() + self.wildcards.len()
    }

    /// What `asked` leads to.
    ///
    /// # Errors
    /// When no route has that name, or this principal may not use it.
    pub fn find<'a>(&'a self, who: &Principal, asked: &'a str) -> Result<Found<'a>, Refusal> {
        let by_alias = self.routes.get(asked).map(|route| (route, "")).or_else(|| {
            self.wildcards
                .iter()
                .find_map(|(w, route)| Some((route, w.capture(asked)?)))
        });
        if let Some((route, star)) = by_alias {
            return match (who.may_use(asked), who.may_take(&route.alias)) {
                (true, true) => Ok(Found(Way::Alias(route, star))),
                (true, false) => Err(Refusal::RouteNotAllowed),
                (false, _) => Err(Refusal::NotAllowed),
            };
        }
        let target = self.direct(asked).ok_or(Refusal::Unknown)?;
        match (who.direct, who.may_take(DIRECT)) {
            (true, true) => Ok(Found(Way::Direct(target))),
            (true, false) => Err(Refusal::RouteNotAllowed),
            (false, _) => Err(Refusal::NotAllowed),
        }
    }

    fn direct(&self, asked: &str) -> Option<Target> {
        let (provider, model) = asked.split_once('/')?;
        let provider = self.providers.get(provider)?;
        (!model.is_empty() && provider.serves(model)).then(|| Target {
            provider: Arc::clone(provider),
            model: model.to_owned(),
        })
    }
}

/// Where a model's name leads.
pub struct Found<'a>(Way<'a>);

enum Way<'a> {
    /// To a route, and what stands for its star.
    Alias(&'a Route, &'a str),
    Direct(Target),
}

impl Found<'_> {
    fn policy(&self) -> Option<&Policy> {
        match &self.0 {
            Way::Alias(route, _) => route.policy.as_ref(),
            Way::Direct(_) => None,
        }
    }

    /// All its targets, as they are listed or as chance has it.
    fn listed(&self, table: &RoutingTable, seed: u64) -> Decision {
        match &self.0 {
            Way::Alias(route, star) => route.listed(star, seed),
            Way::Direct(target) => Decision {
                route: DIRECT.into(),
                candidates: Candidates::new(vec![Candidate {
                    target: target.clone(),
                    is_target: true,
                    on: Kinds::NONE,
                    is_exact: false,
                }]),
                terms: Arc::clone(&table.direct_terms),
                reason: Reason::default(),
            },
        }
    }
}

impl Route {
    fn listed(&self, star: &str, seed: u64) -> Decision {
        let choice = Choice {
            order: self.order,
            weights: &self.weights,
            fallbacks: self.targets.len() - self.weights.len(),
        };
        let all = decide(&choice, seed)
            .into_iter()
            .filter_map(|i| Some((i, self.targets.get(i)?)))
            .map(|(i, t)| Candidate {
                target: Target {
                    provider: Arc::clone(&t.provider),
                    model: t.model.replacen('*', star, 1),
                },
                is_target: i < self.weights.len(),
                on: t.on,
                is_exact: !t.model.contains('*'),
            });
        // What is listed twice, or is the same by what stands for a star, is
        // one candidate: what failed is not tried twice.
        let mut candidates: Vec<Candidate> = Vec::new();
        for one in all {
            let same = |known: &&mut Candidate| known.target.is(&one.target);
            match candidates.iter_mut().find(same) {
                Some(known) => {
                    known.on = known.on.and(one.on);
                    known.is_exact |= one.is_exact;
                }
                None => candidates.push(one),
            }
        }
        Decision {
            route: Arc::clone(&self.alias),
            candidates: Candidates::new(candidates),
            terms: Arc::clone(&self.terms),
            reason: Reason::default(),
        }
    }
}

#[cfg(test)]
mod credential_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;
