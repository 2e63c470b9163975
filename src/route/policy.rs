//! Rules: what a request needs by what it is, and what is preferred among the
//! targets that have it.
//!
//! Pure: [`choose`] is given what is known of each target, and gives their order
//! with, for each that is not in it, why it lost. The live path, `explain` and
//! `replay` call the same function.

use super::when::Predicate;
use crate::chat::Capabilities;
use crate::features::{Features, Shape};
use crate::units::MicroUsd;
use std::sync::Arc;
use std::time::Duration;

/// How good a model is, as the operator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    Budget,
    Medium,
    Strong,
}

impl Quality {
    /// As it is written in the config.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Medium => "medium",
            Self::Strong => "strong",
        }
    }
}

/// What targets are preferred among those that will do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Preference {
    /// The route's own order.
    Listed,
    /// The lowest price of the request, as far as it can be told beforehand.
    Cheapest,
    /// The lowest usual time to the first token.
    Fastest,
    /// Price and time, each as a multiple of the best, weighted.
    Balanced { price: f64, time: f64 },
    /// The fewest requests under way.
    LeastLoaded,
}

impl Preference {
    /// As it is written in the config.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Cheapest => "cheapest",
            Self::Fastest => "fastest",
            Self::Balanced { .. } => "balanced",
            Self::LeastLoaded => "least_loaded",
        }
    }
}

/// What a target has to have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Need {
    /// At least.
    pub quality: Option<Quality>,
    /// At most.
    pub max_quality: Option<Quality>,
    /// Its usual time to the first token is no longer. Nothing is known of a target
    /// that was not asked lately: it passes.
    pub max_first_token: Option<Duration>,
    /// The request costs no more, as far as that can be told beforehand. A target
    /// without a price does not pass.
    pub max_price: Option<MicroUsd>,
}

/// One rule of a route.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: Arc<str>,
    pub when: Predicate,
    /// It holds where its predicate cannot be told.
    pub holds_unknown: bool,
    /// The pool that its requests stay within.
    pub pool: Option<Arc<str>>,
    pub need: Need,
    pub prefer: Preference,
    /// Where nothing will do, the next rule is asked; else the request is refused.
    pub passes_on: bool,
}

/// What is known of one target when a request comes.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub capabilities: &'a Capabilities,
    pub quality: Option<Quality>,
    /// It is in every pool that the request has to stay within.
    pub is_inside: bool,
    /// What the request costs there, by and large.
    pub price: Option<MicroUsd>,
    /// Usual time to the first token.
    pub first_token: Option<Duration>,
    /// Requests under way there.
    pub load: u64,
    /// It is left alone at the moment.
    pub is_open: bool,
    /// It served this conversation last.
    pub is_last: bool,
    /// A fallback: after all that are none.
    pub is_fallback: bool,
}

/// Why a target does not serve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It is outside the pool.
    Pool,
    /// It cannot do what the request needs.
    Capability(&'static str),
    /// The request is longer than its window.
    Context,
    Quality,
    Price,
    /// No price is known, and one was needed.
    Unpriced,
    Deadline,
}

impl Lost {
    /// For headers, the ledger and the operator.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Capability(what) => what,
            Self::Context => "context",
            Self::Quality => "quality",
            Self::Price => "price",
            Self::Unpriced => "unpriced",
            Self::Deadline => "deadline",
        }
    }
}

/// The targets that will do, by their places in what was given, first choice
/// first; and why each of the others will not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    pub order: Vec<usize>,
    pub lost: Vec<(usize, Lost)>,
}

/// Chooses among targets that are given in the route's own order.
pub fn choose(features: &Features, need: &Need, prefer: Preference, all: &[Known<'_>]) -> Choice {
    let mut choice = Choice::default();
    for (at, known) in all.iter().enumerate() {
        match lost(features, need, known) {
            None => choice.order.push(at),
            Some(why) => choice.lost.push((at, why)),
        }
    }
    let best = Best::of(choice.order.iter().filter_map(|at| all.get(*at)));
    let rank = |at: &usize| all.get(*at).map(|known| rank(prefer, known, &best));
    // Stable: what is equal stays as it is listed.
    choice.order.sort_by(|one, other| {
        rank(one)
            .partial_cmp(&rank(other))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    choice
}

fn lost(features: &Features, need: &Need, known: &Known<'_>) -> Option<Lost> {
    if !known.is_inside {
        return Some(Lost::Pool);
    }
    if let Some(shape) = &features.shape
        && let Some(why) = incapable(shape, features.max_output, known.capabilities)
    {
        return Some(why);
    }
    let is_below = |least| known.quality.is_none_or(|quality| quality < least);
    let is_above = |most| known.quality.is_none_or(|quality| quality > most);
    if need.quality.is_some_and(is_below) || need.max_quality.is_some_and(is_above) {
        return Some(Lost::Quality);
    }
    if let Some(most) = need.max_price {
        match known.price {
            None => return Some(Lost::Unpriced),
            Some(price) if price > most => return Some(Lost::Price),
            Some(_) => {}
        }
    }
    let is_late = |most| known.first_token.is_some_and(|usual| usual > most);
    need.max_first_token
        .is_some_and(is_late)
        .then_some(Lost::Deadline)
}

/// What of a request a model cannot do.
fn incapable(shape: &Shape, max_output: Option<u64>, can: &Capabilities) -> Option<Lost> {
    let cannot = [
        (shape.images > 0 && !can.images, "images"),
        (shape.sounds > 0 && !can.audio, "audio"),
        (shape.documents > 0 && !can.documents, "documents"),
        (shape.tools > 0 && !can.tools, "tools"),
        (shape.schema && !can.json_schema, "json_schema"),
    ];
    if let Some((_, what)) = cannot.into_iter().find(|(cannot, _)| *cannot) {
        return Some(Lost::Capability(what));
    }
    let tokens = shape
        .tokens()
        .saturating_add(max_output.unwrap_or_default());
    can.context
        .is_some_and(|window| tokens > window)
        .then_some(Lost::Context)
}

/// The lowest of each that is known.
struct Best {
    price: f64,
    time: f64,
}

impl Best {
    fn of<'a>(all: impl Iterator<Item = &'a Known<'a>> + Clone) -> Self {
        let lowest = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
        Self {
            price: lowest(&mut all.clone().filter_map(price)),
            time: lowest(&mut all.filter_map(time)),
        }
    }
}

fn price(known: &Known<'_>) -> Option<f64> {
    known.price.map(|price| price.0 as f64)
}

fn time(known: &Known<'_>) -> Option<f64> {
    known.first_token.map(|time| time.as_secs_f64())
}

/// Lower is better. Fallbacks come last, and before them what is left alone at
/// the moment.
fn rank(prefer: Preference, known: &Known<'_>, best: &Best) -> (bool, bool, f64, bool) {
    // How many times the best; what is not known is as good, so that it is tried.
    let times = |value: Option<f64>, best: f64| match value {
        Some(value) if best > 0.0 && best.is_finite() => value / best,
        Some(value) => 1.0 + value,
        None => 1.0,
    };
    let score = match prefer {
        Preference::Listed => 0.0,
        // A price that nobody knows is no bargain.
        Preference::Cheapest => price(known).unwrap_or(f64::INFINITY),
        Preference::Fastest => times(time(known), best.time),
        Preference::Balanced {
            price: by_price,
            time: by_time,
        } => by_price * times(price(known), best.price) + by_time * times(time(known), best.time),
        Preference::LeastLoaded => known.load as f64,
    };
    (known.is_fallback, known.is_open, score, !known.is_last)
}
