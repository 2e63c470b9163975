//! Keys that are made at runtime, in the ledger's file.
//!
//! A key is here as its SHA-256 only. Whoever changes something writes in one
//! transaction what is now and one line of a journal, which only grows: who did
//! what, and when. The journal's last line tells a running gateway that there is
//! something new. A revoked key stays, with its name: a name in the ledger means
//! one key for ever.
//!
//! The file may be open elsewhere at the same time: the gateway that serves, its
//! ledger's writer, another command. All of them wait for each other for a short
//! time (WAL, busy timeout), and none of them on the path of a request.

mod live;
mod order;
mod shown;

pub use live::{Change, Live, read as read_file};
pub use order::{Order, Rights, expiry, overlap};
pub use shown::{Shown, rfc3339};

use super::database::{self, Durability, OpenError};
use crate::identity::{self, Digest, RuntimeKey, fresh_key};
use crate::units::Moment;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a change waits for others to finish theirs.
const BUSY: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS runtime_keys (
    name TEXT PRIMARY KEY,
    created INTEGER NOT NULL,  -- times are microseconds since 1970, in UTC
    expires INTEGER,
    revoked INTEGER,
    team TEXT,
    models TEXT NOT NULL,      -- lists are JSON
    routes TEXT NOT NULL,
    endpoints TEXT NOT NULL,
    direct INTEGER NOT NULL,
    priority TEXT NOT NULL,
    limits TEXT NOT NULL,
    metadata TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS runtime_key_digests (
    digest BLOB PRIMARY KEY,   -- SHA-256 of the key
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    until INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS runtime_key_journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    name TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS runtime_key_journal_stays
    BEFORE DELETE ON runtime_key_journal
    BEGIN SELECT raise(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS runtime_key_journal_is_true
    BEFORE UPDATE ON runtime_key_journal
    BEGIN SELECT raise(ABORT, 'the journal only grows'); END;
";

/// Who changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The command line.
    Cli,
    /// The admin listener.
    Admin,
}

impl Actor {
    const fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Admin => "admin",
        }
    }
}

/// Why nothing was changed, or nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
    Invalid(String),
    #[error("there is no key \"{0}\" that was made at runtime")]
    Unknown(String),
    #[error("there is a key \"{0}\" already, or there was one: a name is given once")]
    Taken(String),
    #[error("the key \"{0}\" was revoked")]
    Revoked(String),
    #[error("the key \"{0}\" has expired")]
    Expired(String),
    #[error("the system gives no random numbers: {0}")]
    NoRandom(#[from] getrandom::Error),
    #[error("the file cannot be opened: {0}")]
    File(#[from] std::io::Error),
    #[error("{0}")]
    Ledger(#[from] OpenError),
    #[error("the database: {0}")]
    Database(#[from] rusqlite::Error),
}

/// A key that was just made. It is nowhere else.
pub struct Made {
    pub name: String,
    pub key: Zeroizing<String>,
    /// Of the keys that it replaces: their end.
    pub old_until: Option<Moment>,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<a key of {}>", self.name)
    }
}

/// What the file says of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub name: String,
    pub created: Moment,
    pub expires: Option<Moment>,
    pub revoked: Option<Moment>,
    pub rights: Rights,
    /// What opens it, each until its end, the newest first.
    pub digests: Vec<(Digest, Option<Moment>)>,
}

impl Record {
    /// `active`, `expired` or `revoked`.
    pub fn state(&self, now: Moment) -> &'static str {
        match (self.revoked, self.expires) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            _ => "active",
        }
    }
}

/// All that the file says, and what of it cannot be understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// By name.
    pub records: Vec<Record>,
    /// Names of keys whose rights are unreadable. They are refused.
    pub damaged: Vec<String>,
}

impl Listed {
    /// What a gateway lets in.
    pub fn in_force(&self) -> impl Iterator<Item = RuntimeKey> {
        let open = self.records.iter().filter(|one| one.revoked.is_none());
        open.map(|one| RuntimeKey {
            principal: Arc::new(one.rights.principal(&one.name, one.expires)),
            digests: one.digests.clone(),
        })
    }
}

/// The keys' part of the file.
pub struct Store(Connection);

impl Store {
    /// Opens the file to change something; makes it, for its owner's eyes only,
    /// where there is none.
    ///
    /// # Errors
    /// When it cannot be opened or is no database.
    pub fn open(path: &Path) -> Result<Self, Refused> {
        // Whoever is told that a key is revoked may rely on it.
        let connection = database::to_write(path, Durability::Power)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(connection))
    }

    /// Makes a key.
    ///
    /// # Errors
    /// When the order is not sound or the name was given before.
    pub fn create(&mut self, order: &Order, actor: Actor, now: Moment) -> Result<Made, Refused> {
        order.check(now)?;
        let key = fresh_key()?;
        let change = self.change()?;
        if find(&change, &order.name)?.is_some() {
            return Err(Refused::Taken(order.name.clone()));
        }
        insert(&change, order, now)?;
        admit(&change, &order.name, &key, now)?;
        let rights = json(&order.rights);
        write_down(&change, now, actor, "create", &order.name, &rights)?;
        change.commit()?;
        Ok(Made {
            name: order.name.clone(),
            key,
            old_until: None,
        })
    }

    /// Takes a key back, for ever. To do it twice changes nothing.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn revoke(&mut self, name: &str, actor: Actor, now: Moment) -> Result<(), Refused> {
        let change = self.change()?;
        let (_, revoked) = find(&change, name)?.ok_or_else(|| Refused::Unknown(name.to_owned()))?;
        if revoked.is_some() {
            return Ok(());
        }
        let revoke = "UPDATE runtime_keys SET revoked = ?2 WHERE name = ?1";
        change.execute(revoke, (name, stored(now)))?;
        write_down(&change, now, actor, "revoke", name, "")?;
        change.commit()?;
        Ok(())
    }

    /// Makes another key in the place of a key. What opened it until now goes on
    /// to do so for `overlap`.
    ///
    /// # Errors
    /// When there is no such key, or its time is over.
    pub fn rotate(
        &mut self,
        name: &str,
        overlap: Duration,
        actor: Actor,
        now: Moment,
    ) -> Result<Made, Refused> {
        let key = fresh_key()?;
        let change = self.change()?;
        let (expires, revoked) =
            find(&change, name)?.ok_or_else(|| Refused::Unknown(name.to_owned()))?;
        if revoked.is_some() {
            return Err(Refused::Revoked(name.to_owned()));
        }
        if expires.is_some_and(|end| end <= now) {
            return Err(Refused::Expired(name.to_owned()));
        }
        let until = now.plus(overlap);
        // What ends sooner anyway, from a rotation before this one, still does.
        let end = "UPDATE runtime_key_digests SET until = ?2 \
                   WHERE name = ?1 AND (until IS NULL OR until > ?2)";
        change.execute(end, (name, stored(until)))?;
        let forget = "DELETE FROM runtime_key_digests WHERE name = ?1 AND until <= ?2";
        change.execute(forget, (name, stored(now)))?;
        admit(&change, name, &key, now)?;
        let detail = format!("{{\"overlap_s\":{}}}", overlap.as_secs());
        write_down(&change, now, actor, "rotate", name, &detail)?;
        change.commit()?;
        Ok(Made {
            name: name.to_owned(),
            key,
            old_until: Some(until),
        })
    }

    /// All keys.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Listed, Refused> {
        list(&self.0)
    }

    fn change(&mut self) -> Result<Transaction<'_>, rusqlite::Error> {
        // At once: a reader that becomes a writer later may have to give up.
        let kind = TransactionBehavior::Immediate;
        self.0.transaction_with_behavior(kind)
    }
}

fn stored(moment: Moment) -> i64 {
    i64::try_from(moment.0).unwrap_or(i64::MAX)
}

fn read(stored: i64) -> Moment {
    Moment(u64::try_from(stored).unwrap_or(0))
}

fn time(row: &Row<'_>, at: usize) -> Result<Option<Moment>, rusqlite::Error> {
    Ok(row.get::<_, Option<i64>>(at)?.map(read))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

type Ends = (Option<Moment>, Option<Moment>);

/// When the key expires, and when it was revoked.
fn find(connection: &Connection, name: &str) -> Result<Option<Ends>, rusqlite::Error> {
    let find = "SELECT expires, revoked FROM runtime_keys WHERE name = ?1";
    let ends = |row: &Row<'_>| Ok((time(row, 0)?, time(row, 1)?));
    connection.query_row(find, [name], ends).optional()
}

fn insert(connection: &Connection, order: &Order, now: Moment) -> Result<(), rusqlite::Error> {
    let insert = "INSERT INTO runtime_keys (name, created, expires, team, models, routes, \
                  endpoints, direct, priority, limits, metadata) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let rights = &order.rights;
    connection.execute(
        insert,
        (
            &order.name,
            stored(now),
            order.expires.map(stored),
            &rights.team,
            json(&rights.models),
            json(&rights.routes),
            json(&rights.endpoints),
            rights.direct,
            rights.priority.name(),
            json(&rights.limits),
            json(&rights.metadata),
        ),
    )?;
    Ok(())
}

fn admit(
    connection: &Connection,
    name: &str,
    key: &str,
    now: Moment,
) -> Result<(), rusqlite::Error> {
    let admit = "INSERT INTO runtime_key_digests (digest, name, created) VALUES (?1, ?2, ?3)";
    let digest = identity::digest(key.as_bytes());
    connection.execute(admit, (digest.as_slice(), name, stored(now)))?;
    Ok(())
}

fn write_down(
    connection: &Connection,
    now: Moment,
    actor: Actor,
    action: &str,
    name: &str,
    detail: &str,
) -> Result<(), rusqlite::Error> {
    let line = "INSERT INTO runtime_key_journal (time, actor, action, name, detail) \
                VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.execute(line, (stored(now), actor.name(), action, name, detail))?;
    Ok(())
}

/// All keys, as they were at one moment.
fn list(connection: &Connection) -> Result<Listed, Refused> {
    let reading = connection.unchecked_transaction()?;
    let mut listed = Listed::default();
    let all = "SELECT name, created, expires, revoked, team, direct, priority, models, routes, \
               endpoints, limits, metadata FROM runtime_keys ORDER BY name";
    let mut statement = reading.prepare(all)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        match record(row, &name)? {
            Some(mut record) => {
                record.digests = digests(&reading, &name)?;
                listed.records.push(record);
            }
            None => listed.damaged.push(name),
        }
    }
    Ok(listed)
}

/// `None` where it cannot be understood: by somebody's own hand, or written by a
/// later version. What cannot be understood opens nothing.
fn record(row: &Row<'_>, name: &str) -> Result<Option<Record>, rusqlite::Error> {
    let texts = |at| {
        let text: String = row.get(at)?;
        Ok::<_, rusqlite::Error>(serde_json::from_str(&text).ok())
    };
    let priority: String = row.get(6)?;
    let limits: String = row.get(10)?;
    let metadata: String = row.get(11)?;
    let (Some(models), Some(routes), Some(endpoints), Some(priority), Ok(limits), Ok(metadata)) = (
        texts(7)?,
        texts(8)?,
        texts(9)?,
        identity::Priority::named(&priority),
        serde_json::from_str(&limits),
        serde_json::from_str(&metadata),
    ) else {
        return Ok(None);
    };
    Ok(Some(Record {
        name: name.to_owned(),
        created: read(row.get(1)?),
        expires: time(row, 2)?,
        revoked: time(row, 3)?,
        rights: Rights {
            team: row.get(4)?,
            direct: row.get(5)?,
            priority,
            models,
            routes,
            endpoints,
            limits,
            metadata,
        },
        digests: Vec::new(),
    }))
}

type Digests = Vec<(Digest, Option<Moment>)>;

fn digests(connection: &Connection, name: &str) -> Result<Digests, rusqlite::Error> {
    let of = "SELECT digest, until FROM runtime_key_digests WHERE name = ?1 \
              ORDER BY created DESC, until IS NOT NULL";
    let mut statement = connection.prepare(of)?;
    let one = |row: &Row<'_>| Ok((row.get(0)?, time(row, 1)?));
    statement.query_map([name], one)?.collect()
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
