//! What a process that died left open.
//!
//! Of an intent without a settlement nobody knows what was sent or used. It is
//! settled at its bound, so that a budget is never the larger for a crash.

use super::book::{Book, Settled, Subject, hour, uint};
use super::entry::Settlement;
use crate::units::{MicroUsd, Moment};
use rusqlite::{Connection, Row};

/// The outcome of a request that was settled at its bound.
pub const RECOVERED: &str = "recovered";

/// What was found when the ledger was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Requests that were open, and are now settled at their bound.
    pub recovered: u64,
    /// What they were charged together.
    pub cost: MicroUsd,
    /// The latest time of any intent, also of those that retention has deleted.
    /// A clock that is behind it has been put back.
    pub latest: Option<Moment>,
}

/// Settles what is open, in one transaction. The second is the greatest id.
pub(super) fn recover(connection: &Connection) -> rusqlite::Result<(Recovery, u64)> {
    let mut book = Book::new(connection)?;
    book.transaction(|book| {
        let state = "SELECT settled_through, latest, (SELECT max(id) FROM intents) FROM state";
        let (through, latest, last) = connection.query_row(state, (), |row| {
            let last: Option<i64> = row.get(2)?;
            Ok((row.get::<_, i64>(0)?, row.get(1).map(uint)?, last))
        })?;
        let open = "SELECT i.id, i.time, i.key, i.team, i.user, i.endpoint, i.route, i.tags, \
             i.bound, i.input_bound, i.output_bound FROM intents i LEFT JOIN settlements s \
             ON s.id = i.id WHERE i.id > ? AND s.id IS NULL";
        let mut open = connection.prepare(open)?;
        let open = open.query_map([through], at_its_bound)?;
        let open: Vec<_> = open.collect::<rusqlite::Result<_>>()?;
        let mut recovery = Recovery {
            latest: (latest > 0).then_some(Moment(latest)),
            ..Recovery::default()
        };
        for (subject, settlement) in open {
            if book.settle(&subject, &settlement)? == Settled::Now {
                recovery.recovered += 1;
                recovery.cost = recovery.cost.saturating_add(settlement.cost);
            }
        }
        let last = uint(last.unwrap_or(0).max(through));
        book.state(last, Moment(latest))?;
        Ok((recovery, last))
    })
}

fn at_its_bound(row: &Row<'_>) -> rusqlite::Result<(Subject, Settlement)> {
    let number = |at: usize| row.get::<_, i64>(at).map(uint);
    let subject = Subject {
        hour: hour(Moment(number(1)?)),
        key: row.get(2)?,
        team: row.get(3)?,
        user: row.get(4)?,
        endpoint: row.get(5)?,
        route: row.get(6)?,
        tags: row.get(7)?,
    };
    let tokens = [number(9)?, number(10)?];
    let cost = MicroUsd(number(8)?);
    let settlement = Settlement::at_bound(number(0)?, RECOVERED, tokens, cost);
    Ok((subject, settlement))
}
