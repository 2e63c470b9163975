//! What the ledger holds of a request: counts, names and times, never text.

use crate::chat::Usage;
use crate::units::{MicroUsd, Moment};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Providers, each with what it calls the model.
pub type Targets = Arc<[(Arc<str>, Arc<str>)]>;

/// The outcome of a request that was served.
pub(super) const SERVED: &str = "ok";

/// A request that is about to be sent somewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Unique in this ledger; given by [`super::Ledger::next_id`].
    pub id: u64,
    /// When it was admitted, by the clock of budgets.
    pub time: Moment,
    /// What the client may ask for it by; not unique, for clients name it too.
    pub request_id: Arc<str>,
    pub key: Arc<str>,
    pub team: Option<Arc<str>>,
    /// The end user that the client named.
    pub user: Option<Arc<str>>,
    pub tags: Arc<BTreeMap<String, String>>,
    /// The API's endpoint: `chat_completions`, `embeddings`.
    pub endpoint: &'static str,
    pub route: Arc<str>,
    /// The model as the client named it.
    pub asked: Arc<str>,
    pub stream: bool,
    pub request_bytes: u64,
    /// The most that it may use and cost.
    pub bound: MicroUsd,
    pub input_bound: u64,
    pub output_bound: u64,
    /// Whom it may be sent to. Kept until it is settled: should the process die,
    /// limits of each of them count it.
    pub targets: Targets,
    /// Why it goes where it goes, where there was a choice.
    pub decided: Option<Decided>,
}

/// A decision, and what was known for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decided {
    /// The rule that chose.
    pub rule: Option<Arc<str>>,
    /// In one line.
    pub reason: Arc<str>,
    /// Counts, kinds and names as a JSON object, never a text; empty where nobody
    /// asked for any.
    pub features: Box<str>,
}

/// How a number of tokens came to be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum UsageSource {
    /// Nothing was used: no provider began to answer.
    #[default]
    None,
    /// The provider said so.
    Provider,
    /// The provider said nothing, or nothing that can be believed; or it was cut
    /// off. Counted here.
    Estimated,
    /// The process died in the meantime: charged at its bound.
    Recovered,
}

impl UsageSource {
    pub const ALL: [Self; 4] = [Self::None, Self::Provider, Self::Estimated, Self::Recovered];

    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Provider => "provider",
            Self::Estimated => "estimated",
            Self::Recovered => "recovered",
        }
    }
}

/// One try at one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub provider: Arc<str>,
    /// What the provider calls the model.
    pub model: Arc<str>,
    /// Base URL.
    pub endpoint: Arc<str>,
    /// `first`, `retry`, `fallback`, `hedge`, `continue`.
    pub role: &'static str,
    /// As in the access log: `ok`, `timeout`, `rate_limited`.
    pub outcome: &'static str,
    pub status: Option<u16>,
    pub duration: Duration,
    /// To the first content of a stream.
    pub first_token: Option<Duration>,
    pub usage: Usage,
    pub source: UsageSource,
    pub cost: MicroUsd,
    /// The version of the price that it cost by; `None` where none was known.
    pub price: Option<Arc<str>>,
}

/// What became of a request; once for each [`Intent`].
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    pub id: u64,
    /// As in the access log: `ok`, `canceled`, `truncated`.
    pub outcome: &'static str,
    /// `error.code` of what the client was told.
    pub error: Option<&'static str>,
    /// 0 when the client left before an answer.
    pub status: u16,
    pub duration: Duration,
    /// To the first byte of the answer's body.
    pub first_byte: Option<Duration>,
    /// Who served it, if anybody did.
    pub provider: Option<Arc<str>>,
    pub model: Option<Arc<str>>,
    /// Of all attempts together.
    pub usage: Usage,
    /// `Estimated` when any of it was.
    pub source: UsageSource,
    /// What the budgets were charged.
    pub cost: MicroUsd,
    /// Some of it was at no known price, and is not in `cost`.
    pub unpriced: bool,
    pub attempts: Vec<Attempt>,
}

impl Settlement {
    /// Whether nothing came of it: nobody was asked, and nothing was answered
    /// here. No limit counts it.
    pub fn is_void(&self) -> bool {
        self.attempts.is_empty() && self.outcome != SERVED && self.source != UsageSource::Recovered
    }

    /// Of a request for which nothing was sent to anybody.
    pub fn of_nothing(id: u64, outcome: &'static str) -> Self {
        Self {
            id,
            outcome,
            error: None,
            status: 0,
            duration: Duration::ZERO,
            first_byte: None,
            provider: None,
            model: None,
            usage: Usage::default(),
            source: UsageSource::None,
            cost: MicroUsd::ZERO,
            unpriced: false,
            attempts: Vec::new(),
        }
    }

    /// Of a request of which nobody knows what was sent or used: at its bound.
    pub fn at_bound(id: u64, outcome: &'static str, tokens: [u64; 2], cost: MicroUsd) -> Self {
        let [prompt, completion] = tokens;
        Self {
            usage: Usage {
                prompt,
                completion,
                ..Usage::default()
            },
            source: UsageSource::Recovered,
            cost,
            ..Self::of_nothing(id, outcome)
        }
    }
}
