//! What was used before, for budgets that are taken up again at a start, and for
//! limits that come with a reload.
//!
//! Requests are counted as the limiter counts them while it runs: limits of no
//! target count each request that was let in and of which something came, limits
//! of providers and models each attempt at one (see [`super::counts`]).
//!
//! The further back, the coarser: a window that is as long as an hour never
//! sees less than was used in it.

use super::book::{HOUR, hour, uint};
use super::counts::targets;
use super::entry::SERVED;
use super::view::{AskError, View};
use crate::units::{MicroUsd, Moment};
use rusqlite::{Connection, Row, ToSql};
use std::sync::Arc;
use std::time::Duration;

/// How exactly what time is told.
#[derive(Debug, Clone)]
pub struct Horizon {
    /// What was used before this is told as one sum: no window but `total`
    /// reaches further back.
    pub windows_from: Moment,
    /// From here on, it is told by `grain`; before, by the hour.
    pub fine_from: Moment,
    /// At least a microsecond.
    pub grain: Duration,
    /// Only what was settled before this.
    pub mark: Option<Mark>,
}

/// A moment in the life of a ledger that is written: who was let in by then, and
/// who of them was open. What is told by the hour does not know of it: a request
/// of over an hour ago that has ended since the mark is told all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// The last id that was given.
    pub last: u64,
    pub open: Vec<u64>,
}

/// Whether it is known who had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certainty {
    Known,
    /// One of these, each with what it calls the model: its process died. For
    /// limits of targets alone, each of which counts it once; where it is empty,
    /// not even those are known. The request itself is told as known, without a
    /// target.
    ///
    /// Also one of them that was tried and is not who served.
    Presumed(Vec<(Arc<str>, Arc<str>)>),
}

/// What one subject used, of whom with which target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub key: Arc<str>,
    pub team: Option<Arc<str>>,
    pub user: Option<Arc<str>>,
    pub route: Arc<str>,
    pub endpoint: Arc<str>,
    pub provider: Option<Arc<str>>,
    pub model: Option<Arc<str>>,
    pub certainty: Certainty,
    /// The last moment of the time that it is the sum of: a window that still
    /// holds some of that time holds all of this.
    pub at: Moment,
    /// Requests that were let in, and of which something came.
    pub requests: u64,
    /// Attempts at this target.
    pub sent: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: MicroUsd,
}

/// Hours from the first to before the last.
type Hours = (i64, i64);

/// All columns of a [`Used`] but its target, and that of its time.
const OF: &str = "key, team, user, route, endpoint";

impl View<'_> {
    /// Tells all that was ever used, in no order, sum by sum.
    ///
    /// # Errors
    /// SQLite's; what was told until then is then not all.
    pub fn used(&self, horizon: &Horizon, mut tell: impl FnMut(Used)) -> Result<(), AskError> {
        let read = self.connection.unchecked_transaction()?;
        // Single entries where there are any, else what the hour came to.
        let fine = hour(horizon.fine_from);
        let windows = hour(horizon.windows_from).min(fine);
        let raw_from = self.raw_from()?;
        let fine = fine.max(raw_from);
        let folded = self.folded(&read, (raw_from, fine))?;
        let end = (uint(windows) * HOUR).saturating_sub(1).to_string();
        let of_hour = format!("(hour + 1) * {HOUR} - 1");
        for ((first, last), time) in [((0, windows), &end), ((windows, fine), &of_hour)] {
            let hours = format!("hour >= {first} AND hour < {last} AND hour NOT IN ({folded})");
            self.tell(&read, &rolled_up(&hours, time), &[], &mut tell)?;
            self.presume(
                &read,
                &presumed(&hours, time, "sent + recovered"),
                &mut tell,
            )?;
        }
        let single_hours = format!("(hour >= {fine} OR hour IN ({folded}))");
        let later = presumed(&single_hours, &of_hour, "recovered");
        self.presume(&read, &later, &mut tell)?;
        let grain = i64::try_from(horizon.grain.as_micros()).unwrap_or(i64::MAX);
        let by_grain = format!("(time / {0}) * {0} + {0} - 1", grain.max(1));
        let served = self.number(SERVED)?;
        let single = single(&single_hours, served, &by_grain, horizon.mark.is_some());
        let open = horizon.mark.as_ref().map(|mark| {
            let last = i64::try_from(mark.last).unwrap_or(i64::MAX);
            let open = serde_json::to_string(&mark.open).unwrap_or_default();
            (last, open)
        });
        match &open {
            Some((last, open)) => self.tell(&read, &single, &[last, open], &mut tell),
            None => self.tell(&read, &single, &[], &mut tell),
        }
    }

    /// Hours of which some names are in no sum, but still in single entries.
    fn folded(&self, read: &Connection, (first, last): Hours) -> rusqlite::Result<String> {
        read.query_row(
            "SELECT coalesce(group_concat(hour, ', '), '') FROM folded \
             WHERE hour >= ? AND hour < ?",
            [first, last],
            |row| row.get(0),
        )
    }

    /// Tells what is known; targets are numbers.
    fn tell(
        &self,
        read: &Connection,
        question: &str,
        with: &[&dyn ToSql],
        tell: &mut impl FnMut(Used),
    ) -> Result<(), AskError> {
        let mut statement = read.prepare(question)?;
        let mut rows = statement.query(with)?;
        while let Some(row) = rows.next()? {
            let target = |at| row.get(at).and_then(|number| self.name(number));
            tell(Used {
                provider: target(5)?,
                model: target(6)?,
                ..self.sum(row, Certainty::Known)?
            });
        }
        Ok(())
    }

    /// Tells what may have been; targets are written out.
    fn presume(
        &self,
        read: &Connection,
        question: &str,
        tell: &mut impl FnMut(Used),
    ) -> Result<(), AskError> {
        let mut statement = read.prepare(question)?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let named: String = row.get(5)?;
            tell(self.sum(row, Certainty::Presumed(targets(&named)))?);
        }
        Ok(())
    }

    fn sum(&self, row: &Row<'_>, certainty: Certainty) -> rusqlite::Result<Used> {
        let name = |at| row.get(at).and_then(|number| self.name(number));
        let number = |at: usize| row.get(at).map(uint);
        Ok(Used {
            key: name(0)?.unwrap_or_default(),
            team: name(1)?,
            user: name(2)?,
            route: name(3)?.unwrap_or_default(),
            endpoint: name(4)?.unwrap_or_default(),
            provider: None,
            model: None,
            certainty,
            at: Moment(number(7)?),
            requests: number(8)?,
            sent: number(9)?,
            input_tokens: number(10)?,
            output_tokens: number(11)?,
            cost: MicroUsd(number(12)?),
        })
    }
}

fn sums(time: &str, rows: &str) -> String {
    format!(
        "SELECT {OF}, provider, model, {time}, sum(requests), sum(sent), sum(prompt), \
         sum(completion), sum(cost) FROM ({rows}) GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
    )
}

/// The sums of hours: who served was sent one.
fn rolled_up(within: &str, time: &str) -> String {
    let rows = format!(
        "SELECT hour, {OF}, provider, model, requests, \
         CASE provider WHEN 0 THEN 0 ELSE requests END AS sent, prompt, completion, cost \
         FROM rollups WHERE {within} \
         UNION ALL SELECT hour, {OF}, 0, 0, -void, 0, 0, 0, 0 FROM counts \
         WHERE void > 0 AND {within}"
    );
    sums(time, &rows)
}

fn presumed(within: &str, time: &str, sent: &str) -> String {
    let rows = format!(
        "SELECT hour, {OF}, targets AS provider, 0 AS model, 0 AS requests, {sent} AS sent, prompt, completion, \
         cost FROM counts WHERE {sent} > 0 AND {within}"
    );
    sums(time, &rows)
}

/// Single entries. `served`: the number of that outcome.
fn single(hours: &str, served: i64, time: &str, is_marked: bool) -> String {
    let marked = match is_marked {
        true => " AND i.id <= ?1 AND i.id NOT IN (SELECT value FROM json_each(?2))",
        false => "",
    };
    let select = |join: &str, target: &str, counts: &str| {
        format!(
            "SELECT i.time, i.key, i.team, i.user, i.route, i.endpoint, {target}.provider, \
             {target}.model, {counts} FROM intents i CROSS JOIN settlements s ON s.id = i.id {join} \
             WHERE {hours}{marked}"
        )
    };
    let is_void = format!(
        "s.outcome <> {served} AND s.source <> 3 \
         AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.id = i.id)"
    );
    let settled = format!(
        "NOT ({is_void}) AS requests, 0 AS sent, s.prompt AS prompt, s.completion AS completion, \
         s.cost AS cost"
    );
    let join = |table: &str| format!("CROSS JOIN {table} o ON o.id = i.id");
    let rows = [
        select("", "s", &settled),
        select(&join("attempts"), "o", "0, 1, 0, 0, 0"),
        select(&join("shares"), "o", "0, 0, o.prompt, o.completion, o.cost"),
        select(&join("repricings"), "o", "0, 0, 0, 0, o.cost"),
    ];
    sums(time, &rows.join(" UNION ALL "))
}
