//! A route's rules over what is known of a request: from a request's features to
//! a [`Decision`].
//!
//! Nothing here asks a clock, the network or chance: what changes from moment to
//! moment comes as an argument ([`Asked`], [`Standings`]), so that a decision can
//! be made again from what was written down of it.

use super::decision::{Candidates, Reason};
use super::{Candidate, Decision, Found, Refusal, RoutingTable, Target};
use crate::chat::{Capabilities, Usage};
use crate::classify::{Model, Sketch};
use crate::config::Qualities;
use crate::features::{Features, Wanted};
use crate::identity::Principal;
use crate::route::fault::Kinds;
use crate::route::policy::{self, Choice, Known, Need, Preference, Quality, Rule};
use crate::route::when::{Caller, Predicate, Subject};
use crate::units::{MicroUsd, Moment, Pattern};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Tokens of an answer, where the client does not bound it: for choosing a
/// model, never for money.
const ANSWER_TOKENS: u64 = 500;

/// Of a conversation's input, what its last provider has in its cache.
const CACHED_PERCENT: u64 = 90;

/// A route's rules.
#[derive(Debug)]
pub struct Policy {
    pub(super) rules: Vec<Rule>,
    /// The share of requests that is `hard`, and the scores that it is taken of.
    pub(super) strong: Option<(f32, Arc<Sketch>)>,
}

/// A rule of all routes.
#[derive(Debug)]
pub struct Containment {
    pub(super) name: Arc<str>,
    pub(super) when: Predicate,
    pub(super) holds_unknown: bool,
    pub(super) pool: Arc<str>,
}

/// What rules are about, and what judges requests for them.
#[derive(Debug, Default)]
pub struct Policies {
    pub(super) everywhere: Vec<Containment>,
    pub(super) pools: BTreeMap<Arc<str>, Vec<Pattern>>,
    pub(super) qualities: Vec<(Quality, Vec<Pattern>)>,
    pub(super) model: Option<Arc<Model>>,
}

impl Policies {
    pub(super) fn qualities(written: &Qualities) -> Vec<(Quality, Vec<Pattern>)> {
        let lists = [
            (Quality::Strong, &written.strong),
            (Quality::Medium, &written.medium),
            (Quality::Budget, &written.budget),
        ];
        let patterns = |list: &Vec<String>| list.iter().map(Pattern::new).collect();
        lists
            .into_iter()
            .map(|(quality, list)| (quality, patterns(list)))
            .collect()
    }

    /// How good a target is, if anybody has said.
    pub fn quality(&self, target: &str) -> Option<Quality> {
        let mut all = self.qualities.iter();
        let fits = |list: &[Pattern]| list.iter().any(|pattern| pattern.matches(target));
        all.find(|(_, list)| fits(list))
            .map(|(quality, _)| *quality)
    }

    /// Whether a target belongs to a pool.
    pub fn is_in(&self, pool: &str, target: &str) -> bool {
        let pool = self.pools.get(pool);
        pool.is_some_and(|all| all.iter().any(|pattern| pattern.matches(target)))
    }
}

/// What is known of a target at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Usual time to the first token of a stream, or to a whole answer.
    pub first_token: Option<Duration>,
    /// Requests under way there.
    pub load: u64,
    /// It is left alone.
    pub is_open: bool,
}

/// Whoever knows how targets stand: the process, or what was written down of one.
pub trait Standings {
    /// How a model of a provider stands.
    fn of(&self, provider: &str, model: &str, stream: bool) -> Standing;

    /// The target, `provider/model`, that served this conversation last.
    fn last(&self, conversation: u64) -> Option<Arc<str>>;
}

/// One request, for the decision.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub who: &'a Principal,
    /// The model as the client named it.
    pub model: &'a str,
    pub tags: &'a BTreeMap<String, String>,
    pub features: &'a Features,
    /// It is among the hardest of its route, as far as the route tells.
    pub hard: bool,
    /// What tells its conversation from others, if it is one.
    pub conversation: Option<u64>,
    pub now: Moment,
    /// Stands for chance.
    pub seed: u64,
    pub standings: &'a dyn Standings,
}

/// A decision, with all that was known for it.
#[derive(Debug)]
pub struct Explained {
    pub seen: Vec<Seen>,
    pub outcome: Result<Decision, Refusal>,
}

/// What was known of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// `provider/model`.
    pub name: Arc<str>,
    pub quality: Option<Quality>,
    pub price: Option<MicroUsd>,
    pub standing: Standing,
    pub is_last: bool,
    pub is_fallback: bool,
}

impl Seen {
    fn of(considered: &Considered) -> Self {
        Self {
            name: Arc::clone(&considered.name),
            quality: considered.quality,
            price: considered.price,
            standing: considered.standing,
            is_last: considered.is_last,
            is_fallback: considered.is_fallback,
        }
    }
}

/// A target as it was considered.
struct Considered {
    name: Arc<str>,
    capabilities: Arc<Capabilities>,
    quality: Option<Quality>,
    is_inside: bool,
    standing: Standing,
    price: Option<MicroUsd>,
    is_last: bool,
    is_fallback: bool,
}

impl Policy {
    pub(super) fn wanted(&self) -> Wanted {
        let all = self.rules.iter().map(|rule| rule.when.wanted());
        let wanted = all.fold(Wanted::default(), Wanted::and);
        Wanted {
            // What a model can do is held against it.
            shape: true,
            judgement: wanted.judgement || self.strong.is_some(),
            ..wanted
        }
    }
}

impl RoutingTable {
    /// What has to be known of a request that goes this way.
    pub fn wanted(&self, found: &Found<'_>) -> Wanted {
        let everywhere = self.policies.everywhere.iter();
        let wanted = everywhere.map(|rule| rule.when.wanted());
        let own = found.policy().map(Policy::wanted).unwrap_or_default();
        wanted.fold(own, Wanted::and)
    }

    /// What judges the kind and difficulty of requests.
    pub fn judge(&self) -> Option<&Arc<Model>> {
        self.policies.model.as_ref()
    }

    /// Decides where a request goes that leads to `found`.
    ///
    /// # Errors
    /// [`Refusal::NoCandidate`] when no target will do, with why each will not.
    pub fn decide(&self, found: &Found<'_>, asked: &Asked<'_>) -> Result<Decision, Refusal> {
        let decision = found.listed(self, asked.seed);
        let pools = self.pools(asked);
        if pools.is_empty() && found.policy().is_none() {
            return Ok(decision);
        }
        let all = self.consider(&decision.candidates, asked);
        self.weigh(found.policy(), (decision, all), pools, asked)
    }

    /// The same, with what was known of each target, in the route's own order.
    pub fn explain(&self, found: &Found<'_>, asked: &Asked<'_>) -> Explained {
        let decision = found.listed(self, asked.seed);
        let all = self.consider(&decision.candidates, asked);
        let seen = all.iter().map(Seen::of).collect();
        let pools = self.pools(asked);
        let outcome = match pools.is_empty() && found.policy().is_none() {
            true => Ok(decision),
            false => self.weigh(found.policy(), (decision, all), pools, asked),
        };
        Explained { seen, outcome }
    }

    fn weigh(
        &self,
        policy: Option<&Policy>,
        (mut decision, mut all): (Decision, Vec<Considered>),
        pools: Vec<(&Arc<str>, &Arc<str>)>,
        asked: &Asked<'_>,
    ) -> Result<Decision, Refusal> {
        let mut reason = Reason::default();
        for (pool, rule) in pools {
            self.contain(&mut all, pool, rule, &mut reason);
        }
        let choice = self.ruled(policy, &mut all, asked, &mut reason);
        let lost = choice.lost.iter();
        let lost = lost.filter_map(|(at, why)| Some((Arc::clone(&all.get(*at)?.name), *why)));
        reason.lost = lost.collect();
        if choice.order.is_empty() {
            return Err(Refusal::NoCandidate(Box::new(reason)));
        }
        decision.candidates = ordered(decision.candidates, &choice.order);
        decision.reason = reason;
        Ok(decision)
    }

    /// The pools that a request has to stay within, whatever its route.
    fn pools(&self, asked: &Asked<'_>) -> Vec<(&Arc<str>, &Arc<str>)> {
        let everywhere = self.policies.everywhere.iter();
        let holding = everywhere.filter(|rule| {
            rule.when
                .holds(&subject(asked))
                .unwrap_or(rule.holds_unknown)
        });
        holding.map(|rule| (&rule.pool, &rule.name)).collect()
    }

    fn contain(
        &self,
        all: &mut [Considered],
        pool: &Arc<str>,
        rule: &Arc<str>,
        reason: &mut Reason,
    ) {
        for one in all {
            one.is_inside &= self.policies.is_in(pool, &one.name);
        }
        reason.pools.push((Arc::clone(pool), Arc::clone(rule)));
    }

    /// What the first rule chooses that holds and leaves anything.
    fn ruled(
        &self,
        policy: Option<&Policy>,
        all: &mut [Considered],
        asked: &Asked<'_>,
        reason: &mut Reason,
    ) -> Choice {
        let rules = policy.map_or(&[][..], |policy| &policy.rules);
        for rule in rules {
            if !rule
                .when
                .holds(&subject(asked))
                .unwrap_or(rule.holds_unknown)
            {
                continue;
            }
            if let Some(pool) = &rule.pool {
                self.contain(all, pool, &rule.name, reason);
            }
            let known: Vec<_> = all.iter().map(Considered::known).collect();
            let choice = policy::choose(asked.features, &rule.need, rule.prefer, &known);
            if choice.order.is_empty() && rule.passes_on && rule.pool.is_none() {
                reason.passed.push(Arc::clone(&rule.name));
                continue;
            }
            reason.rule = Some(Arc::clone(&rule.name));
            return choice;
        }
        let known: Vec<_> = all.iter().map(Considered::known).collect();
        policy::choose(asked.features, &Need::default(), Preference::Listed, &known)
    }

    fn consider(&self, candidates: &Candidates, asked: &Asked<'_>) -> Vec<Considered> {
        let last = asked.conversation.and_then(|id| asked.standings.last(id));
        let considered = candidates.iter().map(|candidate| {
            let Target { provider, model } = &candidate.target;
            let name: Arc<str> = candidate.target.to_string().into();
            let is_last = last.as_deref() == Some(&*name);
            let capabilities = provider.capabilities(model);
            let stream = asked.features.stream;
            Considered {
                quality: self.policies.quality(&name),
                is_inside: true,
                standing: asked.standings.of(&provider.name, model, stream),
                price: self.expected(&candidate.target, &capabilities, asked, is_last),
                is_last,
                is_fallback: !candidate.is_target,
                name,
                capabilities,
            }
        });
        considered.collect()
    }

    /// What the request costs at a target, by and large. What its provider has in
    /// its cache of the conversation is cheaper there: so much costs a change.
    fn expected(
        &self,
        target: &Target,
        known: &Capabilities,
        asked: &Asked<'_>,
        is_last: bool,
    ) -> Option<MicroUsd> {
        let price = self.price(target, asked.now)?;
        let prompt = asked.features.shape.map_or(0, |shape| shape.tokens());
        let most = known.max_output.unwrap_or(u64::MAX);
        let usage = Usage {
            prompt,
            completion: asked.features.max_output.unwrap_or(ANSWER_TOKENS).min(most),
            cached: match is_last {
                true => prompt.saturating_mul(CACHED_PERCENT) / 100,
                false => 0,
            },
            ..Usage::default()
        };
        Some(price.cost(&usage))
    }
}

impl Considered {
    fn known(&self) -> Known<'_> {
        Known {
            capabilities: &self.capabilities,
            quality: self.quality,
            is_inside: self.is_inside,
            price: self.price,
            first_token: self.standing.first_token,
            load: self.standing.load,
            is_open: self.standing.is_open,
            is_last: self.is_last,
            is_fallback: self.is_fallback,
        }
    }
}

fn subject<'a>(asked: &Asked<'a>) -> Subject<'a> {
    Subject {
        features: asked.features,
        caller: Caller {
            key: &asked.who.name,
            team: asked.who.team.as_deref().unwrap_or_default(),
            model: asked.model,
            tags: asked.tags,
        },
        hard: asked.hard,
    }
}

/// The candidates of `order`, in that order. What is not in it is gone. Where only
/// fallbacks are left, the first of them that serves after any error is asked as
/// if it were a target.
fn ordered(candidates: Candidates, order: &[usize]) -> Candidates {
    let mut places: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
    let chosen = order.iter().filter_map(|at| places.get_mut(*at)?.take());
    let mut chosen: Vec<_> = chosen.collect();
    if !chosen.iter().any(|candidate| candidate.is_target) {
        let mut fallbacks = chosen.iter_mut();
        if let Some(first) = fallbacks.find(|one| one.on.meets(Kinds::ERROR)) {
            first.is_target = true;
        }
    }
    Candidates::new(chosen)
}

impl Found<'_> {
    /// Whether a request of that score is among the hardest of its route.
    pub fn is_hard(&self, score: f32) -> bool {
        let strong = self.policy().and_then(|policy| policy.strong.as_ref());
        strong.is_some_and(|(share, sketch)| sketch.is_strong(score, *share))
    }

    /// Another request of that score came this way.
    pub fn count(&self, score: f32) {
        if let Some((_, sketch)) = self.policy().and_then(|policy| policy.strong.as_ref()) {
            sketch.add(score);
        }
    }
}
