//! Questions about what was used, and their answers.

use super::book::{self, HOUR, uint};
use super::names;
use super::rollups;
use super::sources::{self, Conditions, Detail, Plan};
use super::view::{AskError, View};
use crate::chat::Usage;
use crate::units::{MicroUsd, Moment};
use rusqlite::Row as SqlRow;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// What is asked: the sums of the requests that were admitted from `since` to
/// before `until`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    pub since: Moment,
    /// Without an end: all that there is.
    pub until: Option<Moment>,
    pub of: Filter,
    /// One row for each of these together; one for all when empty.
    pub by: Vec<By>,
}

impl Question {
    /// What it needs names for.
    fn detail(&self) -> Detail {
        let of = &self.of;
        let is_of_names = of.user.is_some() || of.model.is_some() || !of.tags.is_empty();
        let is_by_names = |by: &By| matches!(by, By::User | By::Model | By::Tag(_));
        match is_of_names || self.by.iter().any(is_by_names) {
            true => Detail::Names,
            false => Detail::Sums,
        }
    }
}

/// Which requests count: all, where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub key: Option<String>,
    pub team: Option<String>,
    pub user: Option<String>,
    pub endpoint: Option<String>,
    pub route: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub outcome: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// What a row is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    Key,
    Team,
    User,
    Endpoint,
    Route,
    Provider,
    /// What the provider calls it.
    Model,
    Outcome,
    Hour,
    /// In UTC.
    Day,
    /// The value of this tag.
    Tag(String),
}

impl By {
    const PLAIN: [Self; 10] = [
        Self::Key,
        Self::Team,
        Self::User,
        Self::Endpoint,
        Self::Route,
        Self::Provider,
        Self::Model,
        Self::Outcome,
        Self::Hour,
        Self::Day,
    ];

    /// As it is written: `user`, `tag:feature`.
    pub fn name(&self) -> String {
        match self {
            Self::Hour => "hour".to_owned(),
            Self::Day => "day".to_owned(),
            Self::Tag(name) => format!("tag:{name}"),
            other => other.column().to_owned(),
        }
    }

    /// The column of its number; of a tag there is none.
    fn column(&self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Team => "team",
            Self::User => "user",
            Self::Endpoint => "endpoint",
            Self::Route => "route",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Outcome => "outcome",
            Self::Hour => "hour",
            Self::Day => "hour / 24",
            Self::Tag(_) => "tags",
        }
    }
}

impl std::str::FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(tag) = text.strip_prefix("tag:").filter(|tag| !tag.is_empty()) {
            return Ok(Self::Tag(tag.to_owned()));
        }
        let found = Self::PLAIN.into_iter().find(|by| by.name() == text);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::PLAIN.iter().map(Self::name).collect();
            format!("expected one of {} or tag:NAME", names.join(", "))
        })
    }
}

/// Sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// One for each of [`Question::by`]; hours and days as RFC 3339 has them.
    pub by: Vec<Option<String>>,
    /// Each counts for who served it; others that were tried have only tokens
    /// and cost.
    pub requests: u64,
    pub usage: Usage,
    pub cost: MicroUsd,
    /// Requests whose tokens were counted here, not by the provider.
    pub estimated: u64,
    /// Requests that were settled at their bound after a crash.
    pub recovered: u64,
    /// Requests of which some has no known price.
    pub unpriced: u64,
}

/// What a [`Question`] comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// By time where that is asked for, else the dearest first.
    pub rows: Vec<Row>,
    /// Single entries that it is about have been deleted, so the hours at its
    /// ends are counted as a whole.
    pub is_widened: bool,
}

impl Answer {
    /// As a JSON object; money is a decimal text.
    pub fn json(&self, by: &[By]) -> Value {
        let rows: Vec<_> = self.rows.iter().map(|row| row.json(by)).collect();
        json!({"rows": rows, "widened_to_hours": self.is_widened})
    }
}

impl Row {
    fn json(&self, by: &[By]) -> Value {
        let mut object: Map<String, Value> = by
            .iter()
            .zip(&self.by)
            .map(|(by, value)| (by.name(), value.clone().into()))
            .collect();
        for (name, value) in self.columns() {
            object.insert(name.to_owned(), value.into());
        }
        object.insert("cost_usd".to_owned(), self.cost.to_string().into());
        Value::Object(object)
    }

    /// All counts, each with its name.
    pub fn columns(&self) -> [(&'static str, u64); 13] {
        let usage = &self.usage;
        [
            ("requests", self.requests),
            ("input_tokens", usage.prompt),
            ("output_tokens", usage.completion),
            ("cached_tokens", usage.cached),
            ("cache_write_tokens", usage.cache_write),
            ("cache_write_1h_tokens", usage.cache_write_1h),
            ("reasoning_tokens", usage.reasoning),
            ("audio_input_tokens", usage.audio_in),
            ("audio_output_tokens", usage.audio_out),
            ("images", usage.images),
            ("estimated", self.estimated),
            ("recovered", self.recovered),
            ("unpriced", self.unpriced),
        ]
    }
}

/// RFC 3339, to the second.
pub(super) fn stamp(micros: i64) -> String {
    let time: SystemTime = Moment(uint(micros)).into();
    // Beyond the year 9999 there is no such text, and formatting would panic.
    let end = Duration::from_secs(253_402_300_799);
    let time = time.min(SystemTime::UNIX_EPOCH + end);
    humantime::format_rfc3339_seconds(time).to_string()
}

impl View<'_> {
    /// Answers a question, exactly, but for [`Answer::is_widened`].
    ///
    /// # Errors
    /// SQLite's.
    pub fn ask(&self, question: &Question) -> Result<Answer, AskError> {
        // One state of the file for all that is read.
        let read = self.connection.unchecked_transaction()?;
        let plan = Plan::new(question.since, question.until, self.raw_from()?);
        let mut conditions = self.conditions(&question.of)?;
        conditions.detail = question.detail();
        let entries = sources::entries(&plan, self.hours()?, &conditions);
        let (other, other_set) = (self.number(names::OTHER)?, self.other_set()?);
        let mut columns = Vec::new();
        for by in &question.by {
            columns.push(match by {
                By::Tag(name) => format!(
                    "coalesce((SELECT value FROM tags WHERE tag_set = e.tags AND name = {}), \
                     iif(e.tags = {other_set}, {other}, 0))",
                    self.number(name)?
                ),
                plain => plain.column().to_owned(),
            });
        }
        let count = columns.len();
        let group = match count {
            0 => String::new(),
            _ => {
                let places: Vec<_> = (1..=count).map(|place| place.to_string()).collect();
                format!(" GROUP BY {}", places.join(", "))
            }
        };
        let sums = rollups::sums();
        columns.extend(sums.iter().map(|sum| format!("coalesce(sum({sum}), 0)")));
        let text = format!("SELECT {} FROM ({entries}) e{group}", columns.join(", "));
        let mut statement = read.prepare(&text)?;
        let mut found = statement.query(())?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            rows.push(self.row(row, &question.by)?);
        }
        let is_by_time = question
            .by
            .iter()
            .any(|by| matches!(by, By::Hour | By::Day));
        rows.sort_by(|a: &Row, b: &Row| match is_by_time {
            true => a.by.cmp(&b.by),
            false => b.cost.cmp(&a.cost).then_with(|| a.by.cmp(&b.by)),
        });
        Ok(Answer {
            rows,
            is_widened: plan.is_widened,
        })
    }

    fn row(&self, row: &SqlRow<'_>, by: &[By]) -> Result<Row, AskError> {
        let mut names = Vec::new();
        for (at, by) in by.iter().enumerate() {
            let number: i64 = row.get(at)?;
            names.push(match by {
                By::Hour => Some(stamp(number.saturating_mul(HOUR as i64))),
                By::Day => {
                    let day = stamp(number.saturating_mul(24 * HOUR as i64));
                    day.get(..10).map(str::to_owned)
                }
                _ => self.name(number)?.map(|name| name.to_string()),
            });
        }
        let from = by.len();
        let count = |at: usize| row.get(from + at).map(uint);
        Ok(Row {
            by: names,
            requests: count(0)?,
            usage: book::usage_at(row, from + 1)?,
            cost: MicroUsd(count(10)?),
            estimated: count(11)?,
            recovered: count(12)?,
            unpriced: count(13)?,
        })
    }

    fn conditions(&self, of: &Filter) -> Result<Conditions, AskError> {
        let mut conditions = Conditions::default();
        for (column, name) in [
            ("key", &of.key),
            ("team", &of.team),
            ("endpoint", &of.endpoint),
            ("route", &of.route),
        ] {
            if let Some(name) = name {
                conditions.intent.push((column, self.number(name)?));
            }
        }
        for (column, name) in [("provider", &of.provider), ("model", &of.model)] {
            if let Some(name) = name {
                conditions.target.push((column, self.number(name)?));
            }
        }
        if let Some(user) = &of.user {
            conditions.user = Some(self.number(user)?);
        }
        if let Some(outcome) = &of.outcome {
            conditions.outcome = Some(self.number(outcome)?);
        }
        for (name, value) in &of.tags {
            let tag = (self.number(name)?, self.number(value)?);
            conditions.tags.push(tag);
        }
        Ok(conditions)
    }
}
