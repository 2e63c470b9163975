//! What limits count that neither a settlement nor the sums of an hour show.
//!
//! Limits that are of no target count requests that were let in: a settlement
//! each, but for those of which nothing came (void). Limits of providers and
//! models count attempts: one for each, where a settlement shows only who served.
//! And of a request whose process died nobody knows who had it: limits of targets
//! count it, at its bound, at each one that it may have been sent to.
//!
//! The difference is kept by the hour, and stays as roll-ups do. Most requests
//! make none. Targets are written out, those of one request together: a limit of
//! two of them counts it once.

use super::book::{Subject, amount, int};
use super::entry::{Intent, Settlement, UsageSource};
use rusqlite::{Connection, OptionalExtension as _, Statement, params};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The statements that write it.
pub(super) struct Counts<'c> {
    begin: Statement<'c>,
    targets: Statement<'c>,
    add: Statement<'c>,
    through: Statement<'c>,
}

/// Targets as they stand in the tables; none is the empty text.
fn text(targets: &[(&str, &str)]) -> String {
    serde_json::to_string(targets).unwrap_or_default()
}

/// Reads [`text`].
pub(super) fn targets(text: &str) -> Vec<(Arc<str>, Arc<str>)> {
    let read: Vec<(String, String)> = serde_json::from_str(text).unwrap_or_default();
    let named = read.into_iter();
    named.map(|(p, m)| (p.into(), m.into())).collect()
}

/// What one settlement adds.
#[derive(Default)]
struct Row {
    /// Requests that do not count.
    void: i64,
    /// Attempts beside the one that a settlement shows.
    sent: i64,
    /// Requests that may have been there, and what they may have used.
    recovered: i64,
    used: [i64; 3],
}

impl<'c> Counts<'c> {
    pub fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |text: &str| connection.prepare(text);
        Ok(Self {
            begin: prepare(
                "INSERT INTO candidates (id, targets) VALUES (?, ?) ON CONFLICT DO NOTHING",
            )?,
            targets: prepare("SELECT targets FROM candidates WHERE id = ?")?,
            add: prepare(
                "INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                 ON CONFLICT DO UPDATE SET void = void + excluded.void, \
                 sent = sent + excluded.sent, recovered = recovered + excluded.recovered, \
                 prompt = prompt + excluded.prompt, \
                 completion = completion + excluded.completion, cost = cost + excluded.cost",
            )?,
            through: prepare("DELETE FROM candidates WHERE id <= ?")?,
        })
    }

    /// Writes down whom an intent may be sent to.
    pub fn begin(&mut self, intent: &Intent) -> rusqlite::Result<()> {
        if intent.targets.is_empty() {
            return Ok(());
        }
        let mut targets: Vec<_> = intent.targets.iter().map(|(p, m)| (&**p, &**m)).collect();
        targets.sort_unstable();
        targets.dedup();
        self.begin
            .execute(params![int(intent.id), text(&targets)])?;
        Ok(())
    }

    /// Adds what a settlement that was just written does not show.
    pub fn settle(&mut self, subject: &Subject, settlement: &Settlement) -> rusqlite::Result<()> {
        if settlement.is_void() {
            let row = Row {
                void: 1,
                ..Row::default()
            };
            return self.add(subject, "", &row);
        }
        if settlement.source == UsageSource::Recovered && settlement.provider.is_none() {
            return self.recovered(subject, settlement);
        }
        let mut sent: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for attempt in &settlement.attempts {
            *sent.entry((&attempt.provider, &attempt.model)).or_default() += 1;
        }
        let served = settlement
            .provider
            .as_deref()
            .zip(settlement.model.as_deref());
        if let Some(count) = served.and_then(|served| sent.get_mut(&served)) {
            *count -= 1;
        }
        for (target, sent) in sent.into_iter().filter(|(_, sent)| *sent > 0) {
            let row = Row {
                sent,
                ..Row::default()
            };
            self.add(subject, &text(&[target]), &row)?;
        }
        Ok(())
    }

    fn recovered(&mut self, subject: &Subject, settlement: &Settlement) -> rusqlite::Result<()> {
        let targets: Option<String> = self
            .targets
            .query_row([int(settlement.id)], |row| row.get(0))
            .optional()?;
        let usage = &settlement.usage;
        let row = Row {
            recovered: 1,
            used: [usage.prompt, usage.completion, settlement.cost.0].map(amount),
            ..Row::default()
        };
        self.add(subject, &targets.unwrap_or_default(), &row)
    }

    /// All up to this one are settled.
    pub fn through(&mut self, id: u64) -> rusqlite::Result<()> {
        self.through.execute([int(id)]).map(drop)
    }

    fn add(&mut self, subject: &Subject, targets: &str, row: &Row) -> rusqlite::Result<()> {
        let [prompt, completion, cost] = row.used;
        self.add.execute(params![
            subject.hour,
            subject.key,
            subject.team,
            subject.user,
            subject.endpoint,
            subject.route,
            targets,
            row.void,
            row.sent,
            row.recovered,
            prompt,
            completion,
            cost,
        ])?;
        Ok(())
    }
}
