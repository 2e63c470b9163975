//! The sums of an hour, which stay: how many there may be.
//!
//! A row is of one user, key, model, set of tags and so on together, and clients
//! make up users, tags and, where a route takes any, models. So the rows that one
//! key adds to one hour are bounded: from [`ROWS`] on, what has no row yet is
//! summed up without its tags, from twice that on without its user too, and from
//! three times on without its model. What stands in their place is
//! [`OTHER`]. Sums stay exact, and nobody fills another key's
//! rows.
//!
//! The count of rows only grows, so that what was summed up in one row finds that
//! row again, also when a later price corrects it. An hour of which names are
//! missing is noted in `folded`; while its single entries are there, questions
//! about names are answered by those.

use super::book::{Outcome, Subject, Sums};
use super::names::{Names, OTHER};
use super::schema::USAGE;
use rusqlite::{Connection, Statement, params_from_iter};
use std::collections::{BTreeMap, HashMap};

/// Rows of one key in one hour with all that they have to say.
pub(super) const ROWS: u32 = 10_000;

/// Hours whose rows are counted in memory: entries come late, but seldom by more.
const HOURS: usize = 4;

/// What a row is of, in the order of the primary key.
pub(super) const PLACE: [&str; 10] = [
    "hour", "user", "key", "team", "endpoint", "route", "provider", "model", "outcome", "tags",
];

/// What a row has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fold {
    Nothing,
    Tags,
    User,
    Model,
}

impl Fold {
    const ALL: [Self; 4] = [Self::Nothing, Self::Tags, Self::User, Self::Model];

    /// How many rows of the key there are before more has to go.
    fn until(self, rows: u32) -> u32 {
        match self {
            Self::Nothing => rows,
            Self::Tags => rows.saturating_mul(2),
            Self::User => rows.saturating_mul(3),
            Self::Model => u32::MAX,
        }
    }
}

/// The statements for it, and how many rows there are.
pub(super) struct Rollups<'c> {
    add: Statement<'c>,
    insert: Statement<'c>,
    count: Statement<'c>,
    folded: Statement<'c>,
    /// Rows by hour and key.
    rows: BTreeMap<i64, HashMap<i64, u32>>,
    most: u32,
}

impl<'c> Rollups<'c> {
    pub fn new(connection: &'c Connection, most: u32) -> rusqlite::Result<Self> {
        let sums = sums();
        let added: Vec<_> = sums
            .iter()
            .map(|sum| format!("{sum} = {sum} + ?"))
            .collect();
        let columns: Vec<_> = sums.into_iter().chain(PLACE).collect();
        Ok(Self {
            add: connection.prepare(&format!(
                "UPDATE rollups SET {} WHERE {} = ?",
                added.join(", "),
                PLACE.join(" = ? AND ")
            ))?,
            insert: connection.prepare(&format!(
                "INSERT INTO rollups ({}) VALUES ({})",
                columns.join(", "),
                vec!["?"; columns.len()].join(", ")
            ))?,
            count: connection
                .prepare("SELECT key, count(*) FROM rollups WHERE hour = ? GROUP BY key")?,
            folded: connection.prepare("INSERT OR IGNORE INTO folded (hour) VALUES (?)")?,
            rows: BTreeMap::new(),
            most,
        })
    }

    /// Adds to the row that this belongs to. Whose that row is: the subject's, but
    /// for what it has lost.
    pub fn add(
        &mut self,
        names: &mut Names<'_>,
        subject: &Subject,
        of: Outcome,
        sums: &Sums,
    ) -> rusqlite::Result<Subject> {
        let whole = place(subject, of);
        let (mut subject, mut of, mut tried) = (*subject, of, None);
        for fold in Fold::ALL {
            match fold {
                Fold::Tags if subject.tags != 0 => subject.tags = names.other_set()?,
                Fold::User if subject.user != 0 => subject.user = names.number(OTHER)?,
                Fold::Model if of.model != 0 => of.model = names.number(OTHER)?,
                _ => {}
            }
            let place = place(&subject, of);
            let row = || sums.columns().into_iter().chain(place);
            if tried != Some(place) && self.add.execute(params_from_iter(row()))? > 0 {
                return Ok(subject);
            }
            tried = Some(place);
            let count = self.count(subject.hour, subject.key)?;
            if count >= fold.until(self.most) {
                continue;
            }
            self.insert.execute(params_from_iter(row()))?;
            let hour = self.rows.entry(subject.hour).or_default();
            hour.insert(subject.key, count.saturating_add(1));
            names.keep([subject.user, of.model], subject.tags)?;
            if place != whole {
                self.folded.execute([subject.hour])?;
            }
            break;
        }
        Ok(subject)
    }

    fn count(&mut self, hour: i64, key: i64) -> rusqlite::Result<u32> {
        if !self.rows.contains_key(&hour) {
            let counted = self
                .count
                .query_map([hour], |row| Ok((row.get(0)?, row.get(1)?)));
            let counted = counted?.collect::<rusqlite::Result<_>>()?;
            self.rows.insert(hour, counted);
            while self.rows.len() > HOURS {
                let oldest = self.rows.keys().next().copied();
                // Not the one that is asked for, or it is counted for each entry.
                let gone = oldest.filter(|oldest| *oldest != hour);
                let gone = gone.or_else(|| self.rows.keys().nth(1).copied());
                gone.and_then(|gone| self.rows.remove(&gone));
            }
        }
        let hour = self.rows.get(&hour);
        Ok(hour.and_then(|keys| keys.get(&key)).copied().unwrap_or(0))
    }

    /// Forgets what a transaction that was rolled back had counted.
    pub fn forget(&mut self) {
        self.rows.clear();
    }
}

/// The names of the columns of [`Sums::columns`].
pub(super) fn sums() -> Vec<&'static str> {
    let mut sums = vec!["requests"];
    sums.extend(USAGE);
    sums.extend(["cost", "estimated", "recovered", "unpriced"]);
    sums
}

fn place(subject: &Subject, of: Outcome) -> [i64; PLACE.len()] {
    [
        subject.hour,
        subject.user,
        subject.key,
        subject.team,
        subject.endpoint,
        subject.route,
        of.provider,
        of.model,
        of.outcome,
        subject.tags,
    ]
}

#[cfg(test)]
#[path = "rollups_tests.rs"]
mod tests;
