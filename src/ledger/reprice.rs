//! What a period costs at other prices: a row beside each settlement that
//! changes, and the sums of its hour corrected in the same transaction. Nothing
//! that was written before is changed.

use super::book::{Book, Outcome, Repricing, Subject, amount, int, source_number, uint, usage_at};
use super::database::{self, Durability};
use super::entry::UsageSource;
use super::schema::USAGE;
use super::view::{AskError, View};
use crate::chat::Usage;
use crate::units::{MicroUsd, Moment};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Settlements in one transaction: a gateway that writes beside it waits no
/// longer than that.
const BATCH: usize = 500;

/// An attempt that is to be given a price.
#[derive(Debug, Clone, Copy)]
pub struct Priced<'a> {
    pub provider: &'a str,
    pub model: &'a str,
    /// When its request was admitted.
    pub time: Moment,
    pub usage: &'a Usage,
}

/// From when to before when, and whether to write it.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    pub since: Moment,
    pub until: Option<Moment>,
    /// When it is done.
    pub now: Moment,
    pub mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is written.
    DryRun,
    Write,
}

/// What became of the attempts at one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// With some usage.
    pub attempts: u64,
    pub changed: u64,
    /// Of which no price is known: left as they are.
    pub unpriced: u64,
    pub before: MicroUsd,
    pub after: MicroUsd,
}

/// By provider and model.
pub type Changes = BTreeMap<(Arc<str>, Arc<str>), Change>;

struct Attempted {
    n: i64,
    provider: i64,
    model: i64,
    usage: Usage,
    cost: i64,
    is_priced: bool,
}

/// Recomputes a period at the prices that `price` gives: their version and what
/// is due. `None` leaves an attempt as it is. A gateway may write meanwhile.
///
/// # Errors
/// When the ledger cannot be opened or written; what was done until then stays,
/// and doing it again changes only the rest.
pub fn reprice(
    path: &Path,
    period: &Period,
    price: impl Fn(&Priced<'_>) -> Option<(Arc<str>, MicroUsd)>,
) -> Result<Changes, AskError> {
    // It has to be there: writing would make it.
    drop(database::to_read(path)?);
    let connection = database::to_write(path, Durability::Process)?;
    let mut book = Book::new(&connection)?;
    let mut run = Run {
        view: View::new(&connection),
        period,
        price,
        changes: Changes::new(),
    };
    let mut after = 0;
    loop {
        let ids = run.ids(after)?;
        let Some(last) = ids.last() else {
            return Ok(run.changes);
        };
        after = *last;
        book.transaction(|book| {
            for id in &ids {
                run.settlement(book, *id)?;
            }
            Ok(())
        })?;
    }
}

struct Run<'c, P> {
    view: View<'c>,
    period: &'c Period,
    price: P,
    changes: Changes,
}

impl<P: Fn(&Priced<'_>) -> Option<(Arc<str>, MicroUsd)>> Run<'_, P> {
    fn connection(&self) -> &Connection {
        self.view.connection
    }

    fn ids(&self, after: i64) -> rusqlite::Result<Vec<i64>> {
        let mut ids = self.connection().prepare(
            "SELECT i.id FROM intents i JOIN settlements s ON s.id = i.id \
             WHERE i.id > ? AND i.time >= ? AND i.time < ? ORDER BY i.id LIMIT ?",
        )?;
        let until = self.period.until.map_or(i64::MAX, |until| int(until.0));
        let bounds = (after, int(self.period.since.0), until, int(BATCH as u64));
        ids.query_map(bounds, |row| row.get(0))?.collect()
    }

    fn settlement(&mut self, book: &mut Book<'_>, id: i64) -> rusqlite::Result<()> {
        let (time, subject, served, unpriced) = self.begun(id)?;
        let mut is_all_priced = true;
        for attempt in self.attempts(id)? {
            let name = |number| self.view.name(number).map(Option::unwrap_or_default);
            let (provider, model) = (name(attempt.provider)?, name(attempt.model)?);
            let priced = (self.price)(&Priced {
                provider: &provider,
                model: &model,
                time,
                usage: &attempt.usage,
            });
            let change = self.changes.entry((provider, model)).or_default();
            change.attempts += 1;
            let before = MicroUsd(uint(attempt.cost));
            change.before = change.before.saturating_add(before);
            let Some((version, due)) = priced else {
                change.unpriced += 1;
                change.after = change.after.saturating_add(before);
                is_all_priced &= attempt.is_priced;
                continue;
            };
            change.after = change.after.saturating_add(due);
            let more = amount(due.0) - attempt.cost;
            if more == 0 && attempt.is_priced {
                continue;
            }
            change.changed += 1;
            let of = Outcome {
                provider: attempt.provider,
                model: attempt.model,
                ..served
            };
            self.write(book, &subject, of, (id, attempt.n), &version, more, 0)?;
        }
        if unpriced > 0 && is_all_priced {
            // It was counted for who served, whatever was without a price.
            self.write(book, &subject, served, (id, -1), "", 0, -unpriced)?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a row's columns")]
    fn write(
        &self,
        book: &mut Book<'_>,
        subject: &Subject,
        of: Outcome,
        (id, attempt): (i64, i64),
        price: &str,
        cost: i64,
        unpriced: i64,
    ) -> rusqlite::Result<()> {
        if self.period.mode == Mode::DryRun {
            return Ok(());
        }
        let repricing = Repricing {
            id,
            attempt,
            time: self.period.now,
            price,
            cost,
            unpriced,
        };
        book.reprice(subject, of, &repricing)
    }

    fn begun(&self, id: i64) -> rusqlite::Result<(Moment, Subject, Outcome, i64)> {
        let question = "SELECT i.time, i.hour, i.key, i.team, i.user, i.endpoint, i.route, i.tags, \
             s.provider, s.model, s.outcome, s.unpriced + (SELECT coalesce(sum(r.unpriced), 0) \
             FROM repricings r WHERE r.id = i.id) \
             FROM intents i JOIN settlements s ON s.id = i.id WHERE i.id = ?";
        let mut statement = self.connection().prepare(question)?;
        statement.query_row([id], |row| {
            let subject = Subject {
                hour: row.get(1)?,
                key: row.get(2)?,
                team: row.get(3)?,
                user: row.get(4)?,
                endpoint: row.get(5)?,
                route: row.get(6)?,
                tags: row.get(7)?,
            };
            let served = Outcome {
                provider: row.get(8)?,
                model: row.get(9)?,
                outcome: row.get(10)?,
            };
            Ok((Moment(row.get(0).map(uint)?), subject, served, row.get(11)?))
        })
    }

    /// Those with some usage, at what they cost today.
    fn attempts(&self, id: i64) -> rusqlite::Result<Vec<Attempted>> {
        let question = format!(
            "SELECT n, provider, model, cost + (SELECT coalesce(sum(r.cost), 0) FROM repricings r \
             WHERE r.id = a.id AND r.attempt = a.n), price <> 0 OR EXISTS (SELECT 1 FROM \
             repricings r WHERE r.id = a.id AND r.attempt = a.n), {} FROM attempts a \
             WHERE id = ? AND source <> {} ORDER BY n",
            USAGE.join(", "),
            source_number(UsageSource::None)
        );
        let mut statement = self.connection().prepare(&question)?;
        let attempts = statement.query_map([id], |row| {
            Ok(Attempted {
                n: row.get(0)?,
                provider: row.get(1)?,
                model: row.get(2)?,
                cost: row.get(3)?,
                is_priced: row.get(4)?,
                usage: usage_at(row, 5)?,
            })
        })?;
        attempts.collect()
    }
}
