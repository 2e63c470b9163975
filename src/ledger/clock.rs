//! A wall clock that was once far ahead, and the way back from it.
//!
//! Budgets never go by an earlier time than the latest that the ledger knows, or
//! a clock that is set back would open them again. So a clock that was years
//! ahead, once, leaves windows that end in years. Nothing here can know which of
//! the two clocks was right; whoever runs the machine can, and says so with
//! [`reset`]. What was dated later than now is then dated now: it counts in the
//! windows of today, so that nothing that was spent is had again.

use super::book::{hour, int, uint};
use super::database::{self, Durability};
use super::reprice::Mode;
use super::rollups::{PLACE, sums};
use super::view::AskError;
use crate::units::Moment;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// Clocks of one machine differ by less from one start to the next.
const USUAL: Duration = Duration::from_secs(3_600);

/// By how much the ledger's latest time is ahead of the wall clock, where that
/// is more than clocks are usually corrected by.
pub(super) fn ahead(latest: Moment, wall: Moment) -> Option<Duration> {
    Some(latest.since(wall)).filter(|ahead| *ahead > USUAL)
}

/// What [`reset`] did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// The latest time that the ledger knew.
    pub latest: Moment,
    /// Single entries that were dated later than now.
    pub entries: u64,
}

/// Dates all that is later than `now` as `now`. Only while no gateway has the
/// file: what it has counted in memory would stay ahead.
///
/// # Errors
/// When there is no ledger, a gateway has it, or it cannot be written; nothing is
/// changed then.
pub fn reset(path: &Path, now: Moment, mode: Mode) -> Result<Reset, AskError> {
    // It has to be there: writing would make it.
    drop(database::to_read(path)?);
    let _lock = database::lock(path)?;
    let connection = database::to_write(path, Durability::Power)?;
    let change = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
    let reset = found(&change, now)?;
    if mode == Mode::Write && reset.latest > now {
        change.execute_batch(&statements(now))?;
    }
    change.commit()?;
    Ok(reset)
}

fn found(connection: &Connection, now: Moment) -> rusqlite::Result<Reset> {
    let question = "SELECT latest, (SELECT count(*) FROM intents WHERE hour >= ?1 AND time > ?2) \
         FROM state";
    connection.query_row(question, (hour(now), int(now.0)), |row| {
        Ok(Reset {
            latest: Moment(row.get(0).map(uint)?),
            entries: row.get(1).map(uint)?,
        })
    })
}

fn statements(now: Moment) -> String {
    let (hour, now, sums) = (hour(now), int(now.0), sums());
    let [_, place @ ..] = PLACE;
    let place = place.join(", ");
    let columns = sums.join(", ");
    let totals: Vec<_> = sums.iter().map(|sum| format!("sum({sum})")).collect();
    let totals = totals.join(", ");
    let added: Vec<_> = sums
        .iter()
        .map(|sum| format!("{sum} = {sum} + excluded.{sum}"))
        .collect();
    let added = added.join(", ");
    format!(
        "UPDATE intents SET time = {now}, hour = {hour} WHERE hour >= {hour} AND time > {now};
         UPDATE repricings SET time = {now} WHERE time > {now};
         INSERT INTO rollups (hour, {place}, {columns})
             SELECT {hour}, {place}, {totals} FROM rollups WHERE hour > {hour} GROUP BY {place}
             ON CONFLICT DO UPDATE SET {added};
         DELETE FROM rollups WHERE hour > {hour};
         INSERT OR IGNORE INTO folded SELECT {hour} FROM folded WHERE hour > {hour};
         DELETE FROM folded WHERE hour > {hour};
         UPDATE names SET hour = {hour} WHERE hour > {hour};
         UPDATE tag_sets SET hour = {hour} WHERE hour > {hour};
         UPDATE state SET latest = min(latest, {now}), raw_from = min(raw_from, {hour} + 1);"
    )
}
