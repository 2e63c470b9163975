//! Which target served a conversation last: what its provider has in its cache of
//! it is cheaper there, for a while.
//!
//! A conversation is a hash; a collision makes a hint wrong and nothing else. The
//! room is bounded: a client that begins conversations without end pushes out
//! the oldest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long providers keep a prompt in their caches at least (Anthropic's and
/// OpenAI's five minutes).
const KEPT: Duration = Duration::from_secs(300);

/// Conversations in each of the two generations.
const ROOM: usize = 32_768;

/// The conversations of a process.
#[derive(Debug, Default)]
pub struct Conversations(Mutex<Generations>);

type Served = HashMap<u64, (Arc<str>, Instant)>;

/// When the younger one is full, it becomes the older, whose place it takes.
#[derive(Debug, Default)]
struct Generations {
    young: Served,
    old: Served,
}

impl Conversations {
    /// A target served a conversation.
    pub fn served(&self, conversation: u64, target: Arc<str>, now: Instant) {
        let mut all = self.lock();
        if all.young.len() >= ROOM && !all.young.contains_key(&conversation) {
            all.old = std::mem::take(&mut all.young);
        }
        all.young.insert(conversation, (target, now));
    }

    /// Who served it last, if that is not too long ago.
    pub fn last(&self, conversation: u64, now: Instant) -> Option<Arc<str>> {
        let all = self.lock();
        let found = all
            .young
            .get(&conversation)
            .or_else(|| all.old.get(&conversation));
        let (target, at) = found?;
        (now.saturating_duration_since(*at) < KEPT).then(|| Arc::clone(target))
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_counts_for_a_while() {
        let (all, now) = (Conversations::default(), Instant::now());
        assert_eq!(all.last(1, now), None);
        all.served(1, "a/x".into(), now);
        all.served(1, "b/y".into(), now);
        assert_eq!(all.last(1, now + KEPT / 2).as_deref(), Some("b/y"));
        assert_eq!(all.last(1, now + KEPT), None);
    }

    #[test]
    fn the_room_is_bounded_and_the_oldest_goes() {
        let (all, now) = (Conversations::default(), Instant::now());
        let target: Arc<str> = "a/x".into();
        for conversation in 0..5 * ROOM as u64 {
            all.served(conversation, Arc::clone(&target), now);
        }
        let held = all.lock();
        assert!(held.young.len() + held.old.len() <= 2 * ROOM);
        drop(held);
        assert_eq!(all.last(0, now), None);
        assert!(all.last(5 * ROOM as u64 - 1, now).is_some());
    }
}
