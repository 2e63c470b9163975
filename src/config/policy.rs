//! The keys of routing by what a request is: rules, pools, qualities.

use super::value;
use crate::units::MicroUsd;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Targets that belong together, such as those on machines of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// `provider/model`; `*` matches any run of characters.
    pub targets: Vec<String>,
}

/// How good models are. The first list that names one counts, from `strong` on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Qualities {
    pub strong: Vec<String>,
    pub medium: Vec<String>,
    pub budget: Vec<String>,
}

/// What judges the kind and the difficulty of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Classifier {
    /// In place of the weights that come with tollgate.
    pub weights: Option<PathBuf>,
}

/// A rule of all routes: it says within which pool requests stay.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Containment {
    pub name: String,
    /// A predicate in CEL.
    pub when: String,
    pub pool: String,
    #[serde(default)]
    pub unknown: Unknown,
}

/// A rule of one route. The first that holds counts.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub name: String,
    /// A predicate in CEL; without one the rule always holds.
    #[serde(default = "always")]
    pub when: String,
    /// Its requests reach nothing outside.
    #[serde(default)]
    pub pool: Option<String>,
    /// At least.
    #[serde(default)]
    pub quality: Option<Quality>,
    /// At most.
    #[serde(default)]
    pub max_quality: Option<Quality>,
    /// Usual time to the first token, at most.
    #[serde(default, with = "value::duration::optional")]
    pub max_first_token: Option<Duration>,
    /// What a request costs, at most: `"0.01 usd"`.
    #[serde(default, with = "value::usd::optional")]
    pub max_price: Option<MicroUsd>,
    #[serde(default)]
    pub prefer: Prefer,
    /// How much the price counts where it is balanced against time.
    #[serde(default = "half", deserialize_with = "value::share::deserialize")]
    pub price_weight: f64,
    /// A predicate that cannot be told counts so; `match` where there is a pool,
    /// else `skip`.
    #[serde(default)]
    pub unknown: Option<Unknown>,
    /// Where no target will do: `next` rule, or `refuse`, as with a pool always.
    #[serde(default)]
    pub on_none: OnNone,
}

fn always() -> String {
    "true".to_owned()
}

fn half() -> f64 {
    0.5
}

/// How good a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    Budget,
    Medium,
    Strong,
}

/// What is preferred among targets that will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefer {
    /// The route's own order.
    #[default]
    Listed,
    Cheapest,
    Fastest,
    /// Price and time, weighted.
    Balanced,
    LeastLoaded,
}

/// What a predicate counts as that cannot be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    #[default]
    Match,
    Skip,
}

/// What becomes of a request for which a rule leaves no target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNone {
    #[default]
    Next,
    Refuse,
}
