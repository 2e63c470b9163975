//! A request's place in the ledger, from its intent to its settlement.
//!
//! It is settled once, whatever becomes of the request. One that is dropped
//! unsettled (its task panicked, or was dropped when the runtime ended) is
//! settled at its bound, as one whose process died; its budgets are charged the
//! same by the hold that is dropped with it.

use super::Accounts;
use super::open::Ending;
use crate::admission::{Load, Refusal};
use crate::ledger::Settlement;
use crate::telemetry::Outcome;
use crate::units::Moment;
use std::sync::Arc;

/// An intent that has to be settled.
pub struct Entry {
    id: u64,
    bound: Load,
    accounts: Option<Arc<Accounts>>,
}

impl Entry {
    /// `bound`: what is reserved for it.
    pub fn new(id: u64, bound: Load, accounts: Arc<Accounts>) -> Self {
        Self {
            id,
            bound,
            accounts: Some(accounts),
        }
    }

    /// So much more is reserved for it. Limits that came since it was let in have
    /// to have it too.
    ///
    /// # Errors
    /// When one of those has not enough left.
    pub fn grow(&mut self, more: &Load, now: Moment) -> Result<(), Refusal> {
        self.bound = self.bound.plus(more);
        match &self.accounts {
            Some(accounts) => accounts.open.grow(self.id, more, now),
            None => Ok(()),
        }
    }

    /// Its number in the ledger.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Writes down what became of it.
    pub fn settle(mut self, settlement: Settlement) {
        if let Some(accounts) = self.accounts.take() {
            end(&accounts, self.id, settlement);
        }
    }

    fn at_its_bound(&self) -> Settlement {
        let tokens = [self.bound.input_tokens, self.bound.output_tokens];
        let outcome = Outcome::Internal.label();
        Settlement::at_bound(self.id, outcome, tokens, self.bound.cost)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Entry").field(&self.id).finish()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(accounts) = self.accounts.take() {
            log::error!(entry = self.id; "a request ended unsettled, and is charged at its bound");
            end(&accounts, self.id, self.at_its_bound());
        }
    }
}

/// The ledger first: what is neither there nor among the open ones is lost to
/// limits that come now.
fn end(accounts: &Accounts, id: u64, settlement: Settlement) {
    let ending = Ending::of(&settlement);
    accounts.ledger.settle(settlement);
    accounts.open.leave(id, ending);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Clock, Limiter};
    use crate::gateway::Open;
    use crate::ledger::{Durability, Intent, Ledger, MEMORY, Need, Settings};
    use crate::units::MicroUsd;

    fn accounts() -> Arc<Accounts> {
        let settings = Settings {
            path: MEMORY.into(),
            durability: Durability::Process,
            buffer: 10,
            retention: None,
            max_bytes: None,
        };
        let (ledger, _) = Ledger::open(settings).unwrap();
        Arc::new(Accounts {
            limiter: Limiter::new(),
            open: Open::default(),
            clock: Clock::starting(Moment(0)),
            ledger: Arc::new(ledger),
            buffers: true,
        })
    }

    fn intent(id: u64) -> Intent {
        Intent {
            id,
            time: Moment(1),
            request_id: "r".into(),
            key: "k".into(),
            team: None,
            user: None,
            tags: Arc::default(),
            endpoint: "chat_completions",
            route: "m".into(),
            asked: "m".into(),
            stream: false,
            request_bytes: 1,
            bound: MicroUsd(7),
            input_bound: 3,
            output_bound: 4,
            targets: Arc::default(),
            decided: None,
        }
    }

    #[tokio::test]
    async fn what_is_dropped_is_settled_and_what_is_settled_is_not_settled_again() {
        let accounts = accounts();
        let bound = Load {
            requests: 1,
            input_tokens: 3,
            output_tokens: 4,
            cost: MicroUsd(7),
        };
        for is_dropped in [true, false] {
            let id = accounts.ledger.next_id();
            let begun = accounts.ledger.begin(intent(id), Need::Buffered).await;
            begun.unwrap();
            let entry = Entry::new(id, bound, Arc::clone(&accounts));
            match is_dropped {
                true => drop(entry),
                false => {
                    let settlement = entry.at_its_bound();
                    entry.settle(settlement);
                }
            }
        }
        accounts.ledger.flush().await.unwrap();
        let health = accounts.ledger.health();
        assert_eq!((health.open, health.refused, health.written), (0, 0, 4));
    }
}
