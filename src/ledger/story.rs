//! Everything about one request.

use super::book::{int, uint, usage_at};
use super::query::stamp;
use super::schema::USAGE;
use super::view::{AskError, View};
use crate::chat::Usage;
use crate::units::MicroUsd;
use rusqlite::Row;
use serde_json::{Value, json};

impl View<'_> {
    /// The stories of the requests of this id, the latest first: clients name
    /// requests too, so there can be several. At most a hundred.
    ///
    /// # Errors
    /// SQLite's.
    pub fn stories(&self, request_id: &str) -> Result<Vec<Value>, AskError> {
        const MOST: usize = 100;
        let read = self.connection.unchecked_transaction()?;
        let crc = crc32fast::hash(request_id.as_bytes());
        // From hour to hour that has entries, down: the index begins with it.
        let mut below = read.prepare("SELECT max(hour) FROM intents WHERE hour < ?")?;
        let mut find = read.prepare(
            "SELECT id FROM intents WHERE hour = ? AND request_crc = ? AND request_id = ? \
             ORDER BY id DESC LIMIT 100",
        )?;
        let mut stories = Vec::new();
        let mut hour = i64::MAX;
        while let Some(at) = below.query_row([hour], |row| row.get::<_, Option<i64>>(0))? {
            hour = at;
            let ids = find.query_map((at, crc, request_id), |row| row.get(0))?;
            for id in ids.collect::<rusqlite::Result<Vec<i64>>>()? {
                stories.push(self.story(id)?);
            }
            if stories.len() >= MOST {
                break;
            }
        }
        Ok(stories)
    }

    fn story(&self, id: i64) -> Result<Value, AskError> {
        let question = "SELECT time, request_id, key, team, user, endpoint, route, asked, stream, \
             request_bytes, bound, input_bound, output_bound, \
             (SELECT tags FROM tag_sets WHERE tag_sets.id = intents.tags) FROM intents WHERE id = ?";
        let mut story = self.connection.query_row(question, [id], |row| {
            let name = |at| row.get(at).and_then(|number| self.text(number));
            let tags = row.get::<_, Option<String>>(13)?.unwrap_or_default();
            Ok(json!({
                "id": id,
                "request_id": row.get::<_, String>(1)?,
                "time": stamp(row.get(0)?),
                "key": name(2)?,
                "team": name(3)?,
                "user": name(4)?,
                "tags": serde_json::from_str(&tags).unwrap_or_else(|_| json!({})),
                "endpoint": name(5)?,
                "route": name(6)?,
                "asked": name(7)?,
                "stream": row.get::<_, bool>(8)?,
                "request_bytes": row.get::<_, i64>(9)?,
                "bound": {
                    "cost_usd": money(row, 10)?,
                    "input_tokens": row.get::<_, i64>(11)?,
                    "output_tokens": row.get::<_, i64>(12)?,
                },
                "settled": Value::Null,
            }))
        })?;
        if let Some(object) = story.as_object_mut() {
            object.insert("settled".to_owned(), self.settled(id)?);
            object.insert("decision".to_owned(), self.decided(id)?);
            object.insert("attempts".to_owned(), self.attempts(id)?);
            object.insert("repricings".to_owned(), self.repricings(id)?);
        }
        Ok(story)
    }

    /// Why it went where it went; null where there was no choice.
    fn decided(&self, id: i64) -> Result<Value, AskError> {
        // A file that no gateway of this version has written yet has none.
        if !self.has("decisions")? {
            return Ok(Value::Null);
        }
        let question = "SELECT rule, reason, features FROM decisions WHERE id = ?";
        let mut statement = self.connection.prepare(question)?;
        let mut found = statement.query_map([id], |row| {
            let features: String = row.get(2)?;
            Ok(json!({
                "rule": row.get::<_, Option<String>>(0)?,
                "reason": row.get::<_, String>(1)?,
                "features": serde_json::from_str::<Value>(&features).unwrap_or_default(),
            }))
        })?;
        Ok(found.next().transpose()?.unwrap_or_default())
    }

    /// With what others used, and at the prices of today.
    fn settled(&self, id: i64) -> Result<Value, AskError> {
        let used: Vec<_> = USAGE
            .iter()
            .map(|column| {
                format!(
                    "s.{column} + (SELECT coalesce(sum({column}), 0) FROM shares o WHERE o.id = s.id)"
                )
            })
            .collect();
        let question = format!(
            "SELECT outcome, error, status, duration, first_byte, provider, model, source, unpriced \
             + (SELECT coalesce(sum(unpriced), 0) FROM repricings r WHERE r.id = s.id), s.cost \
             + (SELECT coalesce(sum(cost), 0) FROM shares o WHERE o.id = s.id) \
             + (SELECT coalesce(sum(cost), 0) FROM repricings r WHERE r.id = s.id), {} \
             FROM settlements s WHERE id = ?",
            used.join(", ")
        );
        let mut statement = self.connection.prepare(&question)?;
        let mut found = statement.query_map([id], |row| {
            let name = |at| row.get(at).and_then(|number| self.text(number));
            Ok(json!({
                "outcome": name(0)?,
                "error": name(1)?,
                "status": row.get::<_, i64>(2)?,
                "duration_ms": millis(row.get(3)?),
                "first_byte_ms": row.get::<_, Option<i64>>(4)?.map(millis),
                "provider": name(5)?,
                "model": name(6)?,
                "usage": usage_json(&usage_at(row, 10)?),
                "usage_source": source(row.get(7)?),
                "cost_usd": money(row, 9)?,
                "unpriced": row.get::<_, i64>(8)? > 0,
            }))
        })?;
        Ok(found.next().transpose()?.unwrap_or_default())
    }

    fn attempts(&self, id: i64) -> Result<Value, AskError> {
        let question = format!(
            "SELECT provider, model, endpoint, role, outcome, status, duration, first_token, \
             source, cost, price, {} FROM attempts WHERE id = ? ORDER BY n",
            USAGE.join(", ")
        );
        let mut statement = self.connection.prepare(&question)?;
        let found = statement.query_map([id], |row| {
            let name = |at| row.get(at).and_then(|number| self.text(number));
            Ok(json!({
                "provider": name(0)?,
                "model": name(1)?,
                "endpoint": name(2)?,
                "role": name(3)?,
                "outcome": name(4)?,
                "status": row.get::<_, Option<i64>>(5)?,
                "duration_ms": millis(row.get(6)?),
                "first_token_ms": row.get::<_, Option<i64>>(7)?.map(millis),
                "usage": usage_json(&usage_at(row, 11)?),
                "usage_source": source(row.get(8)?),
                "cost_usd": money(row, 9)?,
                "price": name(10)?,
            }))
        })?;
        Ok(found.collect::<rusqlite::Result<Vec<_>>>()?.into())
    }

    fn repricings(&self, id: i64) -> Result<Value, AskError> {
        let question = "SELECT attempt, time, price, cost FROM repricings \
             WHERE id = ? AND attempt >= 0 ORDER BY seq";
        let mut statement = self.connection.prepare(question)?;
        let found = statement.query_map([id], |row| {
            let more: i64 = row.get(3)?;
            let sign = if more < 0 { "-" } else { "" };
            Ok(json!({
                "attempt": row.get::<_, i64>(0)?,
                "time": stamp(row.get(1)?),
                "price": self.text(row.get(2)?)?,
                "difference_usd": format!("{sign}{}", MicroUsd(more.unsigned_abs())),
            }))
        })?;
        Ok(found.collect::<rusqlite::Result<Vec<_>>>()?.into())
    }

    fn text(&self, number: i64) -> rusqlite::Result<Option<String>> {
        Ok(self.name(number)?.map(|name| name.to_string()))
    }
}

fn money(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(MicroUsd(row.get(at).map(uint)?).to_string())
}

fn millis(micros: i64) -> f64 {
    // Exact far beyond any request's duration.
    micros as f64 / 1_000.0
}

fn source(number: i64) -> &'static str {
    super::UsageSource::ALL
        .into_iter()
        .find(|source| super::book::source_number(*source) == number)
        .unwrap_or_default()
        .name()
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "input_tokens": int(usage.prompt),
        "output_tokens": int(usage.completion),
        "cached_tokens": int(usage.cached),
        "cache_write_tokens": int(usage.cache_write),
        "cache_write_1h_tokens": int(usage.cache_write_1h),
        "reasoning_tokens": int(usage.reasoning),
        "audio_input_tokens": int(usage.audio_in),
        "audio_output_tokens": int(usage.audio_out),
        "images": int(usage.images),
    })
}
