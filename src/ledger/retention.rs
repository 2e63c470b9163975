//! Deleting single entries that are old, a few at a time. What they came to by
//! the hour stays, so that sums over whole hours stay exact.

use super::book::{HOUR, int, uint};
use crate::units::Moment;
use rusqlite::Connection;
use std::time::Duration;

/// Entries in one step: a few milliseconds.
const STEP: i64 = 500;

/// How long, and how much of it, is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Retention {
    pub time: Option<Duration>,
    /// Of pages in use. The file does not become smaller, but its free pages are
    /// written again before it grows.
    pub bytes: Option<u64>,
}

impl Retention {
    /// Deletes the oldest entries, in one transaction: how many. Never one that
    /// is open, nor one that comes after one.
    pub fn step(&self, connection: &Connection, now: Moment) -> rusqlite::Result<usize> {
        let is_large = self.is_exceeded(connection)?;
        let before = match (is_large, self.time) {
            (true, _) => i64::MAX,
            (false, Some(time)) => int(now.minus(time).0),
            (false, None) => return Ok(0),
        };
        let mut oldest = connection.prepare(
            "SELECT id, time, hour FROM intents \
             WHERE id <= (SELECT settled_through FROM state) ORDER BY id LIMIT ?",
        )?;
        let oldest = oldest.query_map([STEP], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get(2)?))
        })?;
        let (mut last, mut hour, mut count) = (None, 0i64, 0);
        for entry in oldest {
            let (id, time, of) = entry?;
            if time >= before {
                break;
            }
            last = Some(id);
            hour = hour.max(of);
            count += 1;
        }
        let Some(last) = last else {
            return Ok(0);
        };
        let deleted = connection.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             DELETE FROM repricings WHERE id <= {last};
             DELETE FROM shares WHERE id <= {last};
             DELETE FROM attempts WHERE id <= {last};
             DELETE FROM settlements WHERE id <= {last};
             DELETE FROM intents WHERE id <= {last};
             UPDATE state SET raw_from = max(raw_from, {hour} + 1);
             COMMIT;"
        ));
        if deleted.is_err() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        deleted.map(|()| count)
    }

    fn is_exceeded(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let Some(most) = self.bytes else {
            return Ok(false);
        };
        let number = |pragma: &str| connection.query_row(pragma, (), |row| row.get(0).map(uint));
        let used = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
        Ok(used.saturating_mul(number("PRAGMA page_size")?) > most)
    }
}

/// The time that retention goes by: a clock that ran ahead deletes nothing that
/// the entries themselves do not make old.
pub(super) fn now(clock: Moment, latest: Moment) -> Moment {
    clock.min(Moment(latest.0.saturating_add(HOUR)))
}
