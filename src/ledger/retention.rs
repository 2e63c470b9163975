//! Deleting single entries that are old, a few at a time. What they came to by
//! the hour stays, so that sums over whole hours stay exact.
//!
//! The size is that of the whole file, and sums and names take their part of it.
//! Where they have grown to take most of it, deleting single entries would make
//! no room: the latest are kept, as many as fit into a [`SHARE`] of the size.

use super::book::{HOUR, int, uint};
use super::names;
use crate::units::Moment;
use rusqlite::Connection;
use std::time::Duration;

/// Entries in one step: a few milliseconds.
const STEP: i64 = 500;

/// Single entries may have one part in so many of the size, whatever else there
/// is.
const SHARE: u64 = 4;

/// What an entry takes in the file with one attempt and its places in indexes,
/// about: the tests measure it.
pub(super) const ENTRY_BYTES: u64 = 256;

/// How long, and how much of it, is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Retention {
    pub time: Option<Duration>,
    /// Of pages in use. The file does not become smaller, but its free pages are
    /// written again before it grows.
    pub bytes: Option<u64>,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Entries that were deleted.
    pub entries: usize,
    /// Names, and sets of tags, that nothing had any more.
    pub names: usize,
    pub room: Room,
}

/// How the file stands to its size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Room {
    #[default]
    Enough,
    /// It is larger, and single entries are deleted for it.
    Making,
    /// It is larger, and what is left is to be kept.
    None,
}

impl Retention {
    /// Deletes the oldest entries, in one transaction, and the names that nothing
    /// has any more. Never an entry that is open, nor one that comes after one.
    pub fn step(&self, connection: &Connection, now: Moment) -> rusqlite::Result<Step> {
        let (entries, room) = self.entries(connection, now)?;
        let names = names::delete_unused(connection, STEP)?;
        Ok(Step {
            entries,
            names,
            room,
        })
    }

    fn entries(&self, connection: &Connection, now: Moment) -> rusqlite::Result<(usize, Room)> {
        let before = self.time.map_or(0, |time| int(now.minus(time).0));
        let (mut up_to, mut room) = (0, Room::Enough);
        if let Some(most) = self.bytes
            && used(connection)? > most
        {
            let ends = "SELECT (SELECT min(id) FROM intents), (SELECT max(id) FROM intents)";
            let (first, last) = connection.query_row(ends, (), |row| {
                Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
            })?;
            // Ids follow one another, but for a few that nothing was begun with.
            up_to = last.unwrap_or(0) - int(most / SHARE / ENTRY_BYTES);
            room = match first {
                Some(first) if first <= up_to => Room::Making,
                _ => Room::None,
            };
        }
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
            if time >= before && id > up_to {
                break;
            }
            last = Some(id);
            hour = hour.max(of);
            count += 1;
        }
        if let Some(last) = last {
            delete(connection, last, hour)?;
        }
        Ok((count, room))
    }
}

/// Deletes entries up to this one, of hours up to this.
fn delete(connection: &Connection, last: i64, hour: i64) -> rusqlite::Result<()> {
    let deleted = connection.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         DELETE FROM repricings WHERE id <= {last};
         DELETE FROM shares WHERE id <= {last};
         DELETE FROM attempts WHERE id <= {last};
         DELETE FROM settlements WHERE id <= {last};
         DELETE FROM decisions WHERE id <= {last};
         DELETE FROM intents WHERE id <= {last};
         UPDATE state SET raw_from = max(raw_from, {hour} + 1);
         COMMIT;"
    ));
    if deleted.is_err() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    deleted
}

/// Bytes of the pages in use.
fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| connection.query_row(pragma, (), |row| row.get(0).map(uint));
    let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
    Ok(pages.saturating_mul(number("PRAGMA page_size")?))
}

/// The time that retention goes by: a clock that ran ahead deletes nothing that
/// the entries themselves do not make old.
pub(super) fn now(clock: Moment, latest: Moment) -> Moment {
    clock.min(Moment(latest.0.saturating_add(HOUR)))
}
