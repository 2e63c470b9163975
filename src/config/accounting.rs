//! The keys of limits, prices, the ledger, and what is told to others of it.

use super::{HeaderSource, Reference, value};
use crate::units::Allowance;
pub use crate::units::Priority;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One limit or budget.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Unique: what was used is kept under it.
    pub name: String,
    /// `60 requests / 1m`, `10 usd / month`, `8 concurrent`.
    pub allow: Allowance,
    /// One allowance for each value of these; one for all together when empty.
    #[serde(default)]
    pub per: Vec<Per>,
    #[serde(default)]
    pub keys: Vec<String>,
    #[serde(default)]
    pub teams: Vec<String>,
    #[serde(default)]
    pub users: Vec<String>,
    #[serde(default)]
    pub routes: Vec<String>,
    #[serde(default)]
    pub endpoints: Vec<String>,
    #[serde(default)]
    pub models: Vec<String>,
    #[serde(default)]
    pub providers: Vec<String>,
    /// Nobody gets any while it cannot be told what is left. Budgets are hard,
    /// other limits are not, unless they say so.
    #[serde(default)]
    pub hard: Option<bool>,
    /// For concurrency: how long a request may wait for its turn.
    #[serde(default, with = "value::duration::or_zero")]
    pub wait: Duration,
    /// For concurrency: how many may wait.
    #[serde(default = "depth", deserialize_with = "value::count::deserialize")]
    pub depth: usize,
}

fn depth() -> usize {
    100
}

/// What a limit can be counted for each of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    Key,
    Team,
    User,
    Route,
    Endpoint,
    Model,
    Provider,
}

/// What models cost.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prices {
    /// Laid over the prices that come with the gateway, in this order.
    pub files: Vec<PathBuf>,
}

/// The record of what was used.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// The SQLite file. Without it: `tollgate.db` in `$STATE_DIRECTORY`, which
    /// systemd sets, else beside the config file.
    pub path: Option<PathBuf>,
    pub durability: Durability,
    pub on_failure: OnFailure,
    /// Entries that are kept in memory while they cannot be written.
    #[serde(deserialize_with = "value::count::deserialize")]
    pub buffer: usize,
    /// Single entries are deleted after so long; hourly sums stay. Never when
    /// absent.
    #[serde(with = "value::duration::optional")]
    pub retention: Option<Duration>,
    /// Single entries are deleted, the oldest first, while the file is larger.
    #[serde(with = "value::size")]
    pub max_size: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            path: None,
            durability: Durability::default(),
            on_failure: OnFailure::default(),
            buffer: 10_000,
            retention: None,
            max_size: 64 << 30,
        }
    }
}

/// What an entry that was acknowledged survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The death of the process, at any moment.
    #[default]
    Process,
    /// The death of the machine too: each batch is flushed to the disk.
    Power,
}

/// What becomes of requests that no hard budget is for while the ledger cannot
/// be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// They are served while the buffer has room.
    #[default]
    Buffer,
    /// They are refused.
    Deny,
}

/// Where limits and budgets are counted. Read at start only.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    pub store: Store,
    /// `redis://HOST:PORT/DB`, without a password.
    pub url: Option<String>,
    pub password: Option<Reference>,
    /// Names of all keys in the store begin with it.
    pub prefix: String,
    /// How long an answer of the store's may take.
    #[serde(with = "value::duration")]
    pub timeout: Duration,
    /// The share of a hard budget that each gateway may still spend by itself
    /// while the store does not answer: 0 to 1.
    #[serde(deserialize_with = "value::share::deserialize")]
    pub lease: f64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            store: Store::default(),
            url: None,
            password: None,
            prefix: "tollgate:".to_owned(),
            timeout: Duration::from_millis(50),
            lease: 0.01,
        }
    }
}

/// A place for counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// This process.
    #[default]
    Memory,
    /// Redis or Valkey, for a fleet.
    Redis,
}

/// Traces for OpenTelemetry. Read at start only.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// A collector's OTLP endpoint over HTTP: `http://127.0.0.1:4318`. No traces
    /// when absent.
    pub endpoint: Option<String>,
    /// Sent to the collector with each request.
    pub headers: BTreeMap<String, HeaderSource>,
    /// Of the traces that begin here: 0 to 1. A client's decision is kept.
    #[serde(deserialize_with = "value::share::deserialize")]
    pub sample: f64,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: BTreeMap::new(),
            sample: 1.0,
        }
    }
}
