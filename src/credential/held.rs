//! What is held of a credential, and when to fetch another: values and times
//! in, decisions out.
//!
//! Ends are in Unix seconds, as sources tell them; pauses between fetches are
//! measured on a clock that nobody sets.

use super::Problem;
use super::aws::Keys;
use super::google::Token;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause after a fetch that succeeded, and after the first that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Pause after a fetch that gave what is held already: sources have the next
/// one only some minutes before the end.
const SAME_PAUSE: Duration = Duration::from_secs(60);

/// Longest pause after failures while nobody waits; it doubles from a second.
const LONG_PAUSE: Duration = Duration::from_secs(64);

/// Longest pause after failures while requests are refused for it.
const SHORT_PAUSE: Duration = Duration::from_secs(4);

/// How often a credential is given up because a provider refused it. A
/// provider that refuses all of them must not become a load on the source.
const GIVE_UP_EVERY: Duration = Duration::from_secs(10);

/// A credential until its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    pub value: Value,
    /// Unix seconds; `None` for one that does not end.
    pub ends: Option<u64>,
    /// How long before its end it is renewed, in seconds.
    pub early: u64,
}

/// What a source gives.
#[derive(PartialEq, Eq)]
pub enum Value {
    Keys(Keys),
    Token(Token),
}

impl Value {
    /// The texts that nobody may see.
    pub(super) fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Keys(keys) => keys.secrets(),
            Self::Token(token) => vec![token.secret()],
        }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keys(_) => "Keys(..)",
            Self::Token(_) => "Token(..)",
        })
    }
}

/// What is held, and how the last fetch went.
#[derive(Debug, Default)]
pub struct Held {
    current: Option<Arc<Lease>>,
    /// Held before: requests under way may still carry it.
    previous: Option<Arc<Lease>>,
    last: Option<Last>,
    gave_up: Option<Instant>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    /// It gave what was held already.
    same: bool,
    /// Failures in a row, with what the last one was.
    failed: Option<(u32, Problem)>,
}

/// What to do for a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Use it; if it is due, also fetch another in the background.
    Serve { lease: Arc<Lease>, due: bool },
    /// Wait for a fetch.
    Fetch,
    /// A fetch failed a moment ago; another would fail too.
    Refuse(Problem),
}

impl Held {
    /// With a lease that needs no fetch, or with none.
    pub fn new(fixed: Option<Lease>) -> Self {
        Self {
            current: fixed.map(Arc::new),
            ..Self::default()
        }
    }

    /// What to do for a request at `now`.
    pub fn look(&self, now: u64, at: Instant) -> Look {
        if let Some(lease) = self.current.as_ref().filter(|lease| !lease.has_ended(now)) {
            return Look::Serve {
                lease: Arc::clone(lease),
                due: self.is_due(now, at),
            };
        }
        match self.last.as_ref().and_then(|last| last.failed.as_ref()) {
            Some((_, problem)) if !self.rested(SHORT_PAUSE, at) => Look::Refuse(problem.clone()),
            _ => Look::Fetch,
        }
    }

    /// Should another be fetched, although nobody waits for it?
    pub fn is_due(&self, now: u64, at: Instant) -> bool {
        let wanted = self.current.as_ref().is_none_or(|lease| lease.is_due(now));
        wanted && self.rested(LONG_PAUSE, at)
    }

    /// Does it hold one that has not ended?
    pub fn serves(&self, now: u64) -> bool {
        self.current
            .as_ref()
            .is_some_and(|lease| !lease.has_ended(now))
    }

    /// Takes in what a fetch gave.
    pub fn fetched(
        &mut self,
        result: Result<Arc<Lease>, Problem>,
        at: Instant,
    ) -> Result<Arc<Lease>, Problem> {
        let failures = match &self.last {
            Some(Last {
                failed: Some((times, _)),
                ..
            }) => *times,
            _ => 0,
        };
        let mut same = false;
        let failed = match &result {
            Ok(lease) => {
                // Its end may be told anew each time, and differ by a second.
                let current = self.current.as_ref();
                same = current.is_some_and(|current| current.value == lease.value);
                self.hold(Some(Arc::clone(lease)));
                None
            }
            Err(problem) => Some((failures.saturating_add(1), problem.clone())),
        };
        self.last = Some(Last { at, same, failed });
        result
    }

    /// Gives `lease` up, if it is the current one and that helps; says whether
    /// it did.
    pub fn give_up(&mut self, lease: &Arc<Lease>, at: Instant) -> bool {
        let current = self.current.as_ref().is_some_and(|c| Arc::ptr_eq(c, lease));
        let rested = self
            .gave_up
            .is_none_or(|last| at.saturating_duration_since(last) >= GIVE_UP_EVERY);
        let renewable = lease.ends.is_some();
        if !(current && rested && renewable) {
            return false;
        }
        self.gave_up = Some(at);
        self.hold(None);
        true
    }

    /// What is held, and what was held last.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        let both = [&self.current, &self.previous];
        both.into_iter().flatten().map(|lease| &**lease)
    }

    fn hold(&mut self, next: Option<Arc<Lease>>) {
        if let Some(before) = std::mem::replace(&mut self.current, next) {
            self.previous = Some(before);
        }
    }

    /// Is the pause after the last fetch over? It is `longest` at most.
    fn rested(&self, longest: Duration, at: Instant) -> bool {
        self.last.as_ref().is_none_or(|last| {
            let pause = match &last.failed {
                None if last.same => SAME_PAUSE,
                None => PAUSE,
                Some((times, _)) => PAUSE
                    .saturating_mul(1 << times.saturating_sub(1).min(6))
                    .min(longest),
            };
            at.saturating_duration_since(last.at) >= pause
        })
    }
}

impl Lease {
    fn has_ended(&self, now: u64) -> bool {
        self.ends.is_some_and(|end| now >= end)
    }

    fn is_due(&self, now: u64) -> bool {
        self.ends
            .is_some_and(|end| now.saturating_add(self.early) >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(name: &str, ends: Option<u64>) -> Arc<Lease> {
        Arc::new(Lease {
            value: Value::Token(Token::new(name.to_owned(), None)),
            ends,
            early: 200,
        })
    }

    fn problem() -> Problem {
        Problem::Silent("there".to_owned())
    }

    fn serves(held: &Held, now: u64, at: Instant) -> Option<(String, bool)> {
        match held.look(now, at) {
            Look::Serve { lease, due } => Some((lease.value.secrets().concat(), due)),
            _ => None,
        }
    }

    #[test]
    fn it_is_fetched_once_and_again_before_its_end() {
        let (mut held, at) = (Held::default(), Instant::now());
        assert!(held.is_due(0, at));
        assert_eq!(held.look(0, at), Look::Fetch);
        held.fetched(Ok(lease("a", Some(1000))), at).unwrap();
        let at = at + SECOND;
        assert_eq!(serves(&held, 799, at), Some(("a".to_owned(), false)));
        assert_eq!(serves(&held, 800, at), Some(("a".to_owned(), true)));
        assert_eq!(serves(&held, 999, at), Some(("a".to_owned(), true)));
        assert_eq!(held.look(1000, at), Look::Fetch);
        held.fetched(Ok(lease("b", Some(2000))), at).unwrap();
        assert_eq!(serves(&held, 1000, at), Some(("b".to_owned(), false)));
        let secrets: Vec<_> = held.leases().flat_map(|l| l.value.secrets()).collect();
        assert_eq!(secrets, ["b", "a"]);
    }

    #[test]
    fn a_failed_renewal_takes_nothing_away_and_is_not_repeated_at_once() {
        let (mut held, start) = (Held::default(), Instant::now());
        held.fetched(Ok(lease("a", Some(1000))), start).unwrap();
        let mut at = start + SECOND;
        // A second, two, four: the pause doubles, to about a minute.
        for pause in [1, 2, 4, 8, 16, 32, 64, 64] {
            assert_eq!(serves(&held, 900, at), Some(("a".to_owned(), true)));
            held.fetched(Err(problem()), at).unwrap_err();
            at += SECOND * pause - Duration::from_millis(1);
            assert_eq!(serves(&held, 900, at), Some(("a".to_owned(), false)));
            at += Duration::from_millis(1);
        }
        held.fetched(Ok(lease("b", Some(5000))), at).unwrap();
        assert_eq!(serves(&held, 1000, at), Some(("b".to_owned(), false)));
    }

    #[test]
    fn requests_are_refused_for_a_moment_after_a_failure() {
        let (mut held, mut at) = (Held::default(), Instant::now());
        for pause in [1, 2, 4, 4, 4] {
            assert_eq!(held.look(0, at), Look::Fetch);
            held.fetched(Err(problem()), at).unwrap_err();
            at += SECOND * pause - Duration::from_millis(1);
            assert_eq!(held.look(0, at), Look::Refuse(problem()));
            at += Duration::from_millis(1);
        }
    }

    #[test]
    fn what_is_always_due_is_fetched_once_a_second() {
        let (mut held, at) = (Held::default(), Instant::now());
        held.fetched(Ok(lease("a", Some(100))), at).unwrap();
        assert_eq!(serves(&held, 0, at), Some(("a".to_owned(), false)));
        assert_eq!(serves(&held, 0, at + SECOND), Some(("a".to_owned(), true)));
    }

    #[test]
    fn a_source_that_has_no_other_yet_is_not_pressed() {
        let (mut held, at) = (Held::default(), Instant::now());
        held.fetched(Ok(lease("a", Some(101))), at).unwrap();
        held.fetched(Ok(lease("a", Some(100))), at).unwrap();
        assert!(!held.is_due(0, at + SECOND * 59) && held.is_due(0, at + SECOND * 60));
        // But at its end there is no time to lose.
        assert_eq!(held.look(100, at), Look::Fetch);
    }

    #[test]
    fn only_the_current_one_is_given_up_and_not_all_the_time() {
        let (mut held, at) = (Held::default(), Instant::now());
        let (a, b) = (lease("a", Some(1000)), lease("b", Some(1000)));
        held.fetched(Ok(Arc::clone(&a)), at).unwrap();
        assert!(held.give_up(&a, at) && !held.give_up(&a, at));
        assert_eq!(held.look(0, at), Look::Fetch);
        held.fetched(Ok(Arc::clone(&b)), at).unwrap();
        // Twenty requests were refused with the one before.
        assert!(!held.give_up(&a, at + SECOND * 60));
        assert!(!held.give_up(&b, at + SECOND * 9));
        assert!(held.give_up(&b, at + SECOND * 10));
    }

    #[test]
    fn what_does_not_end_is_neither_fetched_nor_given_up() {
        let mut held = Held::new(Some(Lease {
            value: Value::Token(Token::new("a".to_owned(), None)),
            ends: None,
            early: 0,
        }));
        let at = Instant::now();
        assert_eq!(serves(&held, u64::MAX, at), Some(("a".to_owned(), false)));
        let current = Arc::clone(held.current.as_ref().unwrap());
        assert!(!held.is_due(u64::MAX, at) && !held.give_up(&current, at));
        assert!(!format!("{held:?}").contains('"'));
    }
}
