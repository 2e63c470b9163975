//! What is known of providers and their models, by name.
//!
//! Breakers, learned times and budgets live here, outside the routing table:
//! a reload changes their settings and forgets nothing but what is gone. A
//! client that asks for invented models cannot fill the memory: a provider has
//! at most [`TARGETS`] of them here, and those that nobody needs make room.

use super::breaker::{Breaker, Settings, State};
use super::budget::Budget;
use super::conversations::Conversations;
use super::fault::{Alarm, Kind};
use super::hedging::Hedging;
use super::learned::Learned;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Models of one provider about which something is remembered.
const TARGETS: usize = 1024;

/// How often an alarm is said in the log; its metric counts every time.
const ALARM_EVERY: Duration = Duration::from_secs(60);

/// One model at one provider.
pub struct Standing {
    pub breaker: Arc<Breaker>,
    /// Time to the first content of a stream.
    pub first_token: Learned,
    /// Time to a whole answer.
    pub whole: Learned,
    /// Its last failure was a rate limit.
    limited: AtomicBool,
    /// Held by each request that is under way there.
    under_way: Arc<()>,
}

impl Standing {
    fn new(settings: Settings) -> Self {
        Self {
            breaker: Arc::new(Breaker::new(settings)),
            first_token: Learned::new(),
            whole: Learned::new(),
            limited: AtomicBool::new(false),
            under_way: Arc::default(),
        }
    }

    /// A request is under way there, until what this gives is dropped.
    pub fn begin(&self) -> Arc<()> {
        Arc::clone(&self.under_way)
    }

    /// Requests under way there.
    pub fn load(&self) -> u64 {
        Arc::strong_count(&self.under_way).saturating_sub(1) as u64
    }

    /// Remembers what it was that its breaker heard of last.
    pub fn failed_by(&self, kind: Kind) {
        self.limited
            .store(kind == Kind::RateLimit, Ordering::Relaxed);
    }

    /// The kind of its last failure.
    pub fn last_failure(&self) -> Kind {
        match self.limited.load(Ordering::Relaxed) {
            true => Kind::RateLimit,
            false => Kind::Error,
        }
    }

    /// The times of streams, or of whole answers.
    pub fn learned(&self, stream: bool) -> &Learned {
        match stream {
            true => &self.first_token,
            false => &self.whole,
        }
    }

    /// Whether it tells anything.
    fn matters(&self, now: Instant) -> bool {
        self.breaker.peek(now).is_suspect
            || self.first_token.p50().is_some()
            || self.whole.p50().is_some()
    }
}

/// One provider.
pub struct Account {
    pub budget: Budget,
    settings: Mutex<Settings>,
    targets: RwLock<HashMap<Arc<str>, Arc<Standing>>>,
    /// When each alarm was raised last.
    alarmed: Mutex<[Option<Instant>; Alarm::ALL.len()]>,
}

impl Account {
    fn new(settings: Settings, share: f64) -> Self {
        Self {
            budget: Budget::new(share),
            settings: Mutex::new(settings),
            targets: RwLock::default(),
            alarmed: Mutex::default(),
        }
    }

    /// Whether an alarm is news: not within [`ALARM_EVERY`] of the last one.
    pub fn alarm(&self, alarm: Alarm, now: Instant) -> bool {
        let mut alarmed = self.alarmed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = alarmed.get_mut(alarm as usize) else {
            return false;
        };
        let passed = |at| now.saturating_duration_since(at);
        let news = last.is_none_or(|at| passed(at) >= ALARM_EVERY);
        if news {
            *last = Some(now);
        }
        news
    }

    /// What is known of a model.
    pub fn target(&self, model: &str, now: Instant) -> Arc<Standing> {
        {
            let known = self.targets.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(standing) = known.get(model) {
                return Arc::clone(standing);
            }
        }
        let fresh = Arc::new(Standing::new(*self.settings()));
        let mut known = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TARGETS {
            known.retain(|_, standing| standing.matters(now));
        }
        // What everybody knows goes before those who come now have no breaker.
        if known.len() >= TARGETS {
            known.retain(|_, standing| standing.breaker.peek(now).state == State::Open);
        }
        if known.len() >= TARGETS {
            return fresh;
        }
        Arc::clone(known.entry(model.into()).or_insert(fresh))
    }

    /// Every model of which something is known, sorted.
    pub fn targets(&self) -> BTreeMap<Arc<str>, Arc<Standing>> {
        let known = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        let all = known.iter();
        all.map(|(model, standing)| (Arc::clone(model), Arc::clone(standing)))
            .collect()
    }

    fn configure(&self, settings: Settings, share: f64) {
        *self.settings() = settings;
        self.budget.configure(share);
        for standing in self.targets().values() {
            standing.breaker.configure(settings);
        }
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that is known, of all providers.
#[derive(Default)]
pub struct Board {
    providers: RwLock<HashMap<Arc<str>, Arc<Account>>>,
    routes: RwLock<HashMap<Arc<str>, Arc<Hedging>>>,
    pub conversations: Conversations,
}

impl Board {
    /// One provider's; made with these settings if it is new.
    pub fn provider(&self, name: &Arc<str>, settings: Settings, share: f64) -> Arc<Account> {
        let make = || Account::new(settings, share);
        find(&self.providers, name, make)
    }

    /// How much is asked twice on a route.
    pub fn route(&self, alias: &Arc<str>) -> Arc<Hedging> {
        find(&self.routes, alias, Hedging::new)
    }

    /// A new table: every provider in it has these settings from now on.
    pub fn configure(&self, name: &Arc<str>, settings: Settings, share: f64) {
        self.provider(name, settings, share)
            .configure(settings, share);
    }

    /// Forgets providers and routes that the table no longer has.
    pub fn retain(&self, provider: impl Fn(&str) -> bool, route: impl Fn(&str) -> bool) {
        let mut providers = self
            .providers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        providers.retain(|name, _| provider(name));
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|alias, _| route(alias));
    }

    /// What is known of a model of a provider, if anything is.
    pub fn known(&self, provider: &str, model: &str) -> Option<Arc<Standing>> {
        let account = self
            .providers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(provider)
            .map(Arc::clone)?;
        let targets = account
            .targets
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        targets.get(model).map(Arc::clone)
    }

    /// All providers, sorted.
    pub fn providers(&self) -> BTreeMap<Arc<str>, Arc<Account>> {
        let known = self
            .providers
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let all = known.iter();
        all.map(|(name, account)| (Arc::clone(name), Arc::clone(account)))
            .collect()
    }
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

/// The value of a name, made where it is new.
fn find<T>(
    known: &RwLock<HashMap<Arc<str>, Arc<T>>>,
    name: &Arc<str>,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    {
        let known = known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = known.get(name) {
            return Arc::clone(value);
        }
    }
    let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
    let value = known
        .entry(Arc::clone(name))
        .or_insert_with(|| Arc::new(make()));
    Arc::clone(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::breaker::Admission;

    const SETTINGS: Settings = Settings {
        consecutive_failures: 1,
        error_rate: 1.0,
        min_outcomes: 20,
        open: Duration::from_secs(60),
        open_max: Duration::from_secs(60),
    };

    fn fail(standing: &Standing, now: Instant) {
        standing.breaker.force(now).failed(now, None);
    }

    #[test]
    fn a_reload_changes_settings_and_forgets_nothing() {
        let (board, now, name) = (Board::default(), Instant::now(), "p".into());
        let standing = board.provider(&name, SETTINGS, 0.2).target("m", now);
        fail(&standing, now);
        board.configure(&name, SETTINGS, 0.5);
        board.retain(|provider| provider == "p", |_| true);
        let again = board.provider(&name, SETTINGS, 0.2).target("m", now);
        assert_eq!(again.breaker.peek(now).state, State::Open);
        board.retain(|provider| provider != "p", |_| true);
        let new = board.provider(&name, SETTINGS, 0.2).target("m", now);
        assert!(matches!(new.breaker.admit(now), Admission::Admitted(_)));
    }

    #[test]
    fn there_is_room_for_who_comes_now_however_much_is_known() {
        let (board, now, name) = (Board::default(), Instant::now(), "p".into());
        let settings = Settings {
            consecutive_failures: 2,
            ..SETTINGS
        };
        let account = board.provider(&name, settings, 0.2);
        let open = account.target("open", now);
        fail(&open, now);
        fail(&open, now);
        for i in 0..TARGETS {
            fail(&account.target(&format!("failed-once-{i}"), now), now);
        }
        for _ in 0..2 {
            fail(&account.target("new", now), now);
        }
        for model in ["new", "open"] {
            let state = account.target(model, now).breaker.peek(now).state;
            assert_eq!(state, State::Open, "{model}");
        }
        assert!(account.targets().len() <= TARGETS);
    }

    #[test]
    fn invented_models_make_room_and_known_ones_stay() {
        let (board, now, name) = (Board::default(), Instant::now(), "p".into());
        let account = board.provider(&name, SETTINGS, 0.2);
        fail(&account.target("sick", now), now);
        for _ in 0..10 {
            let known = account.target("known", now);
            known.first_token.record(Duration::from_secs(1));
        }
        for i in 0..TARGETS * 3 {
            let _ = account.target(&format!("invented-{i}"), now);
        }
        let all = account.targets();
        assert!(all.len() <= TARGETS, "{}", all.len());
        assert!(all.contains_key("sick") && all.contains_key("known"));
    }
}
