//! Credentials that are more than a fixed header: they are fetched, they end,
//! and some of them sign.
//!
//! A provider has one [`Credential`], which outlives reloads as long as its
//! [`Source`] stays the same. Each attempt asks it for a [`Lease`]; what is
//! held serves at once, and is renewed in the background before it ends. Only
//! where nothing is held does a request wait, for the one fetch that all wait
//! for. A renewal that fails takes nothing away: what is held serves to its
//! real end. What a provider refuses is given up, so that the next request
//! fetches anew.
//!
//! Hosts come from the operator's config, this process's environment and the
//! operator's credential file, never from a client. No secret is logged, and
//! what holds one prints none and is wiped when dropped.
//!
//! [`held`] is the state, [`aws`] and [`google`] know the sources, and
//! [`crate::fetch`] speaks HTTP to them.

pub mod aws;
pub mod google;
mod held;

pub use crate::fetch::Url;
pub use held::{Lease, Value};

use crate::fetch::Unanswered;
use held::{Held, Look};
use http::{HeaderName, HeaderValue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Longest time for a fetch, all its exchanges together.
const FETCH: Duration = Duration::from_secs(10);

/// Why a credential cannot be had. It never holds any part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{0} could not be reached: {1}")]
    Unreachable(String, String),
    #[error("{0} did not answer in time")]
    Silent(String),
    #[error("{0} answered with status {1}{2}")]
    Refused(String, u16, String),
    #[error("{0} answered with something that holds no credential")]
    NoCredential(String),
    #[error("{0} answered with a credential that has ended")]
    Ended(String),
    #[error("cannot read {0}: {1}")]
    Unreadable(String, String),
    #[error("{0}")]
    Unusable(&'static str),
    #[error("the fetch broke off")]
    BrokenOff,
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Unreachable(place, why) => Self::Unreachable(place, why),
            Unanswered::Silent(place) => Self::Silent(place),
            Unanswered::TooLong(place) => Self::NoCredential(place),
        }
    }
}

/// Where a credential comes from. Equal sources give the same credential.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    Aws(aws::Source),
    Google(google::Source),
}

/// What a request that is about to be sent looks like.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub method: &'a str,
    /// As sent: percent-encoded, with the query.
    pub target: &'a str,
    /// Those that are set so far; `host` is among them.
    pub headers: &'a http::HeaderMap,
    pub body: &'a [u8],
    pub now: SystemTime,
}

type Fetched = Option<Result<Arc<Lease>, Problem>>;

/// A provider's credential.
pub struct Credential {
    /// The provider, for the operator's log.
    provider: Arc<str>,
    source: Source,
    state: Mutex<State>,
}

struct State {
    held: Held,
    /// The fetch under way, if one is: it is told here how it ended.
    fetching: Option<watch::Receiver<Fetched>>,
}

impl Credential {
    /// A credential of which nothing is fetched yet.
    pub fn new(provider: Arc<str>, source: Source) -> Self {
        let fixed = match &source {
            Source::Aws(source) => source.fixed(),
            Source::Google(_) => None,
        };
        Self {
            provider,
            source,
            state: Mutex::new(State {
                held: Held::new(fixed),
                fetching: None,
            }),
        }
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What to send with the next attempt.
    ///
    /// # Errors
    /// When nothing is held and nothing can be fetched now.
    pub async fn lease(self: &Arc<Self>) -> Result<Arc<Lease>, Problem> {
        let mut fetching = {
            let mut state = self.state();
            match state.held.look(unix(SystemTime::now()), Instant::now()) {
                Look::Serve { lease, due } => {
                    if due {
                        self.fetch(&mut state);
                    }
                    return Ok(lease);
                }
                Look::Refuse(problem) => return Err(problem),
                Look::Fetch => self.fetch(&mut state),
            }
        };
        match fetching.wait_for(Option::is_some).await {
            Ok(fetched) => fetched.clone().unwrap_or(Err(Problem::BrokenOff)),
            Err(_) => Err(Problem::BrokenOff),
        }
    }

    /// Fetches what is due, in the background. Called every second, so that
    /// no request has to wait, and the log tells of trouble before one fails.
    pub fn tend(self: &Arc<Self>) {
        let mut state = self.state();
        if state.held.is_due(unix(SystemTime::now()), Instant::now()) {
            self.fetch(&mut state);
        }
    }

    /// The headers that `lease` adds to a request; none of them may be there
    /// already. What is signed may not change afterwards.
    ///
    /// # Errors
    /// When what was fetched cannot be sent.
    pub fn headers(
        &self,
        lease: &Lease,
        outgoing: &Outgoing<'_>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
        match (&self.source, &lease.value) {
            (Source::Aws(source), Value::Keys(keys)) => source.sign(keys, outgoing),
            (_, Value::Token(token)) => token.headers(),
            (Source::Google(_), Value::Keys(_)) => {
                Err(Problem::Unusable("access keys are of no use to Google"))
            }
        }
    }

    /// The provider refused `lease`.
    pub fn refused(&self, lease: &Arc<Lease>) {
        if self.state().held.give_up(lease, Instant::now()) {
            let provider = &*self.provider;
            log::warn!(provider = provider; "credential refused, it is fetched anew");
        }
    }

    /// `text` without what is held or was held last.
    pub fn scrub(&self, text: &str) -> String {
        let state = self.state();
        let secrets = state.held.leases().flat_map(|lease| lease.value.secrets());
        secrets.fold(text.to_owned(), |text, secret| {
            text.replace(secret, "[redacted]")
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the fetch under way, or starts one. It is a task of its own: the
    /// request that started it may be given up, and others wait for it.
    fn fetch(self: &Arc<Self>, state: &mut State) -> watch::Receiver<Fetched> {
        // A fetch whose task was dropped, with its runtime, has nobody to end it.
        let alive = |told: &&watch::Receiver<Fetched>| told.has_changed().is_ok();
        if let Some(told) = state.fetching.as_ref().filter(alive) {
            return told.clone();
        }
        let (tell, told) = watch::channel(None);
        state.fetching = Some(told.clone());
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let result = this.source.fetch().await;
            tell.send_replace(Some(this.fetched(result)));
        });
        told
    }

    fn fetched(&self, result: Result<Lease, Problem>) -> Result<Arc<Lease>, Problem> {
        let mut state = self.state();
        state.fetching = None;
        let result = state.held.fetched(result.map(Arc::new), Instant::now());
        let provider = &*self.provider;
        match &result {
            Ok(_) => log::debug!(provider = provider; "credential fetched"),
            Err(problem) => {
                let reason = problem.to_string();
                let holds = state.held.serves(unix(SystemTime::now()));
                log::error!(provider = provider, reason = reason.as_str(), still_valid = holds; "credential not fetched");
            }
        }
        result
    }
}

impl Source {
    async fn fetch(&self) -> Result<Lease, Problem> {
        let fetch = async {
            match self {
                Self::Aws(source) => source.fetch().await,
                Self::Google(source) => source.fetch().await,
            }
        };
        tokio::time::timeout(FETCH, fetch)
            .await
            .unwrap_or_else(|_| Err(Problem::Silent(self.place())))
    }

    /// Whom it asks, for messages.
    fn place(&self) -> String {
        match self {
            Self::Aws(source) => source.place(),
            Self::Google(source) => source.place(),
        }
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A header value that no log prints.
fn sensitive(text: &str) -> Result<HeaderValue, Problem> {
    let value = HeaderValue::from_str(text);
    let mut value = value.map_err(|_| Problem::Unusable("no header can carry the credential"))?;
    value.set_sensitive(true);
    Ok(value)
}
