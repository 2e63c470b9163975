//! What an attempt has heard of an answer of which its client has nothing yet:
//! one that is held back, or that comes whole.
//!
//! It breaks off, or is given up, while its reader is at work, so that what was
//! heard is kept where whoever writes the attempt down finds it: the provider is
//! paid for what it said, seen or not.

use super::tally::Tally;
use crate::chat::{Event, Speech};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by the one who reads and the one who pays.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Tally>);

impl Heard {
    /// An event of the client's own format.
    pub fn event(&self, speech: Speech, raw: &[u8]) {
        self.tally().event(speech, raw);
    }

    /// Events of another format.
    pub fn decoded(&self, events: &[Event]) {
        let mut tally = self.tally();
        events.iter().for_each(|event| tally.decoded(event));
    }

    /// A piece of a whole answer.
    pub fn piece(&self, bytes: usize) {
        self.tally().piece(bytes);
    }

    /// All of it is there, and is judged as a whole.
    pub fn whole(&self) {
        drop(self.take());
    }

    /// What was heard so far.
    pub fn take(&self) -> Tally {
        std::mem::take(&mut *self.tally())
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
