//! Rows: what an intent, a settlement and its part of the hour's sums look like
//! in the tables. Everything is written in [`Book::transaction`].

use super::counts::Counts;
use super::entry::{Attempt, Intent, Settlement, UsageSource};
use super::names::Names;
use super::rollups::{ROWS, Rollups};
use super::schema::USAGE;
use crate::chat::Usage;
use crate::units::{MicroUsd, Moment};
use rusqlite::{Connection, Row, Statement, ToSql, params, params_from_iter};
use std::time::Duration;

/// The most of anything that one row can say: a billion dollars, or as many
/// tokens. Nine thousand such rows still have a sum in SQLite's integers.
const MOST: i64 = 1_000_000_000_000_000;

pub(super) const HOUR: u64 = 3_600_000_000;

/// The hour that a moment is in, counted from 1970.
pub(super) fn hour(time: Moment) -> i64 {
    int(time.0 / HOUR)
}

pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// An amount that can be summed up.
pub(super) fn amount(number: u64) -> i64 {
    int(number).min(MOST)
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// In the order of [`USAGE`].
pub(super) fn usage(usage: &Usage) -> [i64; USAGE.len()] {
    [
        usage.prompt,
        usage.completion,
        usage.cached,
        usage.cache_write,
        usage.cache_write_1h,
        usage.reasoning,
        usage.audio_in,
        usage.audio_out,
        usage.images,
    ]
    .map(amount)
}

/// Reads a usage from nine columns.
pub(super) fn usage_at(row: &Row<'_>, from: usize) -> rusqlite::Result<Usage> {
    let at = |offset: usize| row.get::<_, i64>(from + offset).map(uint);
    Ok(Usage {
        prompt: at(0)?,
        completion: at(1)?,
        cached: at(2)?,
        cache_write: at(3)?,
        cache_write_1h: at(4)?,
        reasoning: at(5)?,
        audio_in: at(6)?,
        audio_out: at(7)?,
        images: at(8)?,
    })
}

/// An intent's names as numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    pub hour: i64,
    pub key: i64,
    pub team: i64,
    pub user: i64,
    pub endpoint: i64,
    pub route: i64,
    pub tags: i64,
}

/// Who served, as numbers, and how it ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub provider: i64,
    pub model: i64,
    pub outcome: i64,
}

/// What is added to an hour's sums. Corrections can be negative.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub requests: i64,
    pub usage: [i64; USAGE.len()],
    pub cost: i64,
    pub estimated: i64,
    pub recovered: i64,
    pub unpriced: i64,
}

impl Sums {
    /// In the order of [`super::rollups::sums`].
    pub fn columns(&self) -> [i64; USAGE.len() + 5] {
        let [a, b, c, d, e, f, g, h, i] = self.usage;
        let Self {
            requests,
            cost,
            estimated,
            recovered,
            unpriced,
            ..
        } = *self;
        [
            requests, a, b, c, d, e, f, g, h, i, cost, estimated, recovered, unpriced,
        ]
    }
}

/// What one attempt of a settlement costs by another price.
#[derive(Debug, Clone)]
pub(super) struct Repricing<'a> {
    pub id: i64,
    pub attempt: i64,
    pub time: Moment,
    pub price: &'a str,
    /// What it costs more than before.
    pub cost: i64,
    pub unpriced: i64,
}

/// What a settlement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Now,
    /// It was before; nothing was changed.
    Before,
}

/// A connection that writes, with its statements.
pub(super) struct Book<'c> {
    connection: &'c Connection,
    names: Names<'c>,
    intent: Statement<'c>,
    settlement: Statement<'c>,
    share: Statement<'c>,
    attempt: Statement<'c>,
    repricing: Statement<'c>,
    rollups: Rollups<'c>,
    state: Statement<'c>,
    counts: Counts<'c>,
    decision: Statement<'c>,
}

/// `INSERT INTO table (before, usage, after) VALUES (?, ...)`.
fn insert(table: &str, before: &str, after: &str) -> String {
    let columns = format!("{before}, {}, {after}", USAGE.join(", "));
    let places = vec!["?"; columns.split(',').count()].join(", ");
    format!("INSERT INTO {table} ({columns}) VALUES ({places})")
}

/// The values of [`insert`]'s columns.
fn row<'a>(
    before: &[&'a dyn ToSql],
    usage: &'a [i64],
    after: &[&'a dyn ToSql],
) -> Vec<&'a dyn ToSql> {
    let usage = usage.iter().map(|amount| amount as &dyn ToSql);
    before
        .iter()
        .copied()
        .chain(usage)
        .chain(after.iter().copied())
        .collect()
}

impl<'c> Book<'c> {
    pub fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Self::bounded(connection, ROWS)
    }

    /// With another bound of the rows of a key in an hour.
    pub fn bounded(connection: &'c Connection, rows: u32) -> rusqlite::Result<Self> {
        let prepare = |text: &str| connection.prepare(text);
        Ok(Self {
            connection,
            names: Names::new(connection)?,
            // Again after a commit whose end was not heard of: not twice.
            intent: prepare(
                "INSERT INTO intents (id, time, hour, request_id, request_crc, key, team, user, \
                 tags, endpoint, route, asked, stream, request_bytes, bound, input_bound, \
                 output_bound) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                 ON CONFLICT DO NOTHING",
            )?,
            settlement: prepare(&format!(
                "{} ON CONFLICT DO NOTHING",
                insert(
                    "settlements",
                    "id, outcome, error, status, duration, first_byte, provider, model",
                    "source, cost, unpriced",
                )
            ))?,
            share: prepare(&insert("shares", "id, provider, model", "cost"))?,
            attempt: prepare(&insert(
                "attempts",
                "id, n, provider, model, endpoint, role, outcome, status, duration, first_token",
                "source, cost, price",
            ))?,
            repricing: prepare(
                "INSERT INTO repricings (id, seq, attempt, time, provider, model, price, cost, \
                 unpriced) SELECT ?1, (SELECT coalesce(max(seq) + 1, 0) FROM repricings \
                 WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8",
            )?,
            counts: Counts::new(connection)?,
            decision: prepare("INSERT INTO decisions VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")?,
            rollups: Rollups::new(connection, rows)?,
            state: prepare(
                "UPDATE state SET settled_through = ?, latest = max(latest, ?) WHERE one = 1",
            )?,
        })
    }

    /// Commits all that `work` writes, or nothing of it.
    ///
    /// # Errors
    /// `work`'s, or that of the commit.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|done| {
            self.connection.execute_batch("COMMIT")?;
            Ok(done)
        });
        if done.is_err() {
            self.forget_names();
            self.rollups.forget();
            // Some errors have rolled it back already.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        done
    }

    /// Names were deleted: what is known of them is not to be believed.
    pub fn forget_names(&mut self) {
        self.names.forget();
    }

    /// An intent's names as numbers; new ones are written down.
    pub fn subject(&mut self, intent: &Intent) -> rusqlite::Result<Subject> {
        let names = &mut self.names;
        let hour = hour(intent.time);
        Ok(Subject {
            hour,
            key: names.number(&intent.key)?,
            team: names.optional(intent.team.as_deref())?,
            user: names.passing(intent.user.as_deref(), hour)?,
            endpoint: names.number(intent.endpoint)?,
            route: names.number(&intent.route)?,
            tags: names.set(&intent.tags, hour)?,
        })
    }

    /// Writes an intent, if it is not there.
    pub fn begin(&mut self, intent: &Intent) -> rusqlite::Result<()> {
        let subject = self.subject(intent)?;
        let asked = self.names.passing(Some(&intent.asked), subject.hour)?;
        self.intent.execute(params![
            int(intent.id),
            int(intent.time.0),
            subject.hour,
            &*intent.request_id,
            crc32fast::hash(intent.request_id.as_bytes()),
            subject.key,
            subject.team,
            subject.user,
            subject.tags,
            subject.endpoint,
            subject.route,
            asked,
            intent.stream,
            int(intent.request_bytes),
            amount(intent.bound.0),
            amount(intent.input_bound),
            amount(intent.output_bound),
        ])?;
        if let Some(decided) = &intent.decided {
            let rule = decided.rule.as_deref();
            self.decision.execute(params![
                int(intent.id),
                rule,
                &*decided.reason,
                &*decided.features
            ])?;
        }
        self.counts.begin(intent)
    }

    /// Writes a settlement with its attempts, and adds it to its hour.
    pub fn settle(
        &mut self,
        subject: &Subject,
        settlement: &Settlement,
    ) -> rusqlite::Result<Settled> {
        let parts = Parts::of(settlement);
        let model = settlement.model.as_deref();
        let served = Outcome {
            provider: self.names.optional(settlement.provider.as_deref())?,
            model: self.names.passing(model, subject.hour)?,
            outcome: self.names.number(settlement.outcome)?,
        };
        if self.settlement(settlement, served, &parts)? == 0 {
            return Ok(Settled::Before);
        }
        let main = Sums {
            requests: 1,
            usage: usage(&parts.usage),
            cost: amount(parts.cost.0),
            estimated: (settlement.source == UsageSource::Estimated).into(),
            recovered: (settlement.source == UsageSource::Recovered).into(),
            unpriced: settlement.unpriced.into(),
        };
        let kept = self.roll_up(subject, served, &main)?;
        for (n, attempt) in settlement.attempts.iter().enumerate() {
            self.attempt(subject.hour, settlement.id, n, attempt)?;
        }
        for share in &parts.shares {
            self.share(subject, settlement.id, served.outcome, share)?;
        }
        self.counts.settle(&kept, settlement)?;
        Ok(Settled::Now)
    }

    fn settlement(
        &mut self,
        settlement: &Settlement,
        served: Outcome,
        parts: &Parts<'_>,
    ) -> rusqlite::Result<usize> {
        let usage = usage(&parts.usage);
        let error = self.names.optional(settlement.error)?;
        self.settlement.execute(params_from_iter(row(
            &[
                &int(settlement.id),
                &served.outcome,
                &error,
                &settlement.status,
                &micros(settlement.duration),
                &settlement.first_byte.map(micros),
                &served.provider,
                &served.model,
            ],
            &usage,
            &[
                &source_number(settlement.source),
                &amount(parts.cost.0),
                &settlement.unpriced,
            ],
        )))
    }

    fn attempt(&mut self, hour: i64, id: u64, n: usize, attempt: &Attempt) -> rusqlite::Result<()> {
        let names = &mut self.names;
        let usage = usage(&attempt.usage);
        let written = self.attempt.execute(params_from_iter(row(
            &[
                &int(id),
                &int(n as u64),
                &names.number(&attempt.provider)?,
                &names.passing(Some(&attempt.model), hour)?,
                &names.number(&attempt.endpoint)?,
                &names.number(attempt.role)?,
                &names.number(attempt.outcome)?,
                &attempt.status,
                &micros(attempt.duration),
                &attempt.first_token.map(micros),
            ],
            &usage,
            &[
                &source_number(attempt.source),
                &amount(attempt.cost.0),
                &names.optional(attempt.price.as_deref())?,
            ],
        )));
        written.map(drop)
    }

    fn share(
        &mut self,
        subject: &Subject,
        id: u64,
        outcome: i64,
        share: &Share<'_>,
    ) -> rusqlite::Result<()> {
        let of = Outcome {
            provider: self.names.number(share.provider)?,
            model: self.names.passing(Some(share.model), subject.hour)?,
            outcome,
        };
        let sums = Sums {
            usage: usage(&share.usage),
            cost: amount(share.cost.0),
            ..Sums::default()
        };
        let first = [int(id), of.provider, of.model];
        let row = first.into_iter().chain(sums.usage).chain([sums.cost]);
        self.share.execute(params_from_iter(row))?;
        self.roll_up(subject, of, &sums).map(drop)
    }

    /// Writes what an attempt costs more or less than before.
    pub fn reprice(
        &mut self,
        subject: &Subject,
        of: Outcome,
        repricing: &Repricing<'_>,
    ) -> rusqlite::Result<()> {
        let price = self.names.number(repricing.price)?;
        self.repricing.execute(params![
            repricing.id,
            repricing.attempt,
            int(repricing.time.0),
            of.provider,
            of.model,
            price,
            repricing.cost,
            repricing.unpriced,
        ])?;
        let sums = Sums {
            cost: repricing.cost,
            unpriced: repricing.unpriced,
            ..Sums::default()
        };
        self.roll_up(subject, of, &sums).map(drop)
    }

    /// Adds to the sums of an hour. Whose they are there: see [`Rollups::add`].
    fn roll_up(
        &mut self,
        subject: &Subject,
        of: Outcome,
        sums: &Sums,
    ) -> rusqlite::Result<Subject> {
        self.rollups.add(&mut self.names, subject, of, sums)
    }

    /// Writes up to which intent all are settled, and the latest time seen.
    pub fn state(&mut self, settled_through: u64, latest: Moment) -> rusqlite::Result<()> {
        self.state.execute([int(settled_through), int(latest.0)])?;
        self.counts.through(settled_through)
    }
}

/// As it stands in the tables.
pub(super) fn source_number(source: UsageSource) -> i64 {
    match source {
        UsageSource::None => 0,
        UsageSource::Provider => 1,
        UsageSource::Estimated => 2,
        UsageSource::Recovered => 3,
    }
}

/// A settlement, taken apart by who used what.
struct Parts<'a> {
    /// Of who served, and what no attempt accounts for.
    usage: Usage,
    cost: MicroUsd,
    /// Of other targets than that.
    shares: Vec<Share<'a>>,
}

struct Share<'a> {
    provider: &'a str,
    model: &'a str,
    usage: Usage,
    cost: MicroUsd,
}

impl<'a> Parts<'a> {
    /// The parts always sum up to the settlement. Attempts that claim more than
    /// it are not believed: all is then on who served.
    fn of(settlement: &'a Settlement) -> Self {
        let whole = Self {
            usage: settlement.usage,
            cost: settlement.cost,
            shares: Vec::new(),
        };
        let served = (settlement.provider.as_deref(), settlement.model.as_deref());
        let mut shares: Vec<Share<'a>> = Vec::new();
        for attempt in &settlement.attempts {
            let is_nothing = attempt.usage == Usage::default() && attempt.cost == MicroUsd::ZERO;
            let (provider, model) = (&*attempt.provider, &*attempt.model);
            if is_nothing || served == (Some(provider), Some(model)) {
                continue;
            }
            match shares
                .iter_mut()
                .find(|share| (share.provider, share.model) == (provider, model))
            {
                Some(share) => {
                    share.usage = share.usage.plus(attempt.usage);
                    share.cost = share.cost.saturating_add(attempt.cost);
                }
                None => shares.push(Share {
                    provider,
                    model,
                    usage: attempt.usage,
                    cost: attempt.cost,
                }),
            }
        }
        let rest = shares.iter().try_fold(
            (settlement.usage, settlement.cost),
            |(usage, cost), share| {
                let cost = cost.0.checked_sub(share.cost.0).map(MicroUsd);
                Some((less(usage, share.usage)?, cost?))
            },
        );
        match rest {
            Some((usage, cost)) => Self {
                usage,
                cost,
                shares,
            },
            None => whole,
        }
    }
}

/// `None` when there is less of anything.
fn less(all: Usage, part: Usage) -> Option<Usage> {
    Some(Usage {
        prompt: all.prompt.checked_sub(part.prompt)?,
        completion: all.completion.checked_sub(part.completion)?,
        cached: all.cached.checked_sub(part.cached)?,
        cache_write: all.cache_write.checked_sub(part.cache_write)?,
        cache_write_1h: all.cache_write_1h.checked_sub(part.cache_write_1h)?,
        reasoning: all.reasoning.checked_sub(part.reasoning)?,
        audio_in: all.audio_in.checked_sub(part.audio_in)?,
        audio_out: all.audio_out.checked_sub(part.audio_out)?,
        images: all.images.checked_sub(part.images)?,
    })
}
