//! Names as numbers: each is written down once.

use rusqlite::{Connection, OptionalExtension as _, Statement};
use std::collections::{BTreeMap, HashMap};

/// How many numbers are kept in memory, of names and of sets of tags each.
const KNOWN: usize = 65_536;

/// Bytes of them, of each: sets of tags are as long as clients make them.
const KNOWN_BYTES: usize = 8 << 20;

/// The dictionary of a connection that writes.
pub(super) struct Names<'c> {
    names: Dictionary<'c>,
    sets: Dictionary<'c>,
    tag: Statement<'c>,
}

struct Dictionary<'c> {
    known: HashMap<Box<str>, i64>,
    /// Of the texts that are known.
    bytes: usize,
    find: Statement<'c>,
    add: Statement<'c>,
}

impl<'c> Dictionary<'c> {
    fn new(connection: &'c Connection, find: &str, add: &str) -> rusqlite::Result<Self> {
        Ok(Self {
            known: HashMap::new(),
            bytes: 0,
            find: connection.prepare(find)?,
            add: connection.prepare(add)?,
        })
    }

    /// The number of a text, and whether it is new.
    fn number(&mut self, text: &str) -> rusqlite::Result<(i64, bool)> {
        if let Some(number) = self.known.get(text) {
            return Ok((*number, false));
        }
        let found = self.find.query_row([text], |row| row.get(0)).optional()?;
        let (number, is_new) = match found {
            Some(number) => (number, false),
            None => (self.add.query_row([text], |row| row.get(0))?, true),
        };
        if self.known.len() >= KNOWN || self.bytes >= KNOWN_BYTES {
            self.forget();
        }
        self.known.insert(text.into(), number);
        self.bytes += text.len();
        Ok((number, is_new))
    }

    fn forget(&mut self) {
        self.known.clear();
        self.bytes = 0;
    }
}

impl<'c> Names<'c> {
    pub fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            names: Dictionary::new(
                connection,
                "SELECT id FROM names WHERE name = ?",
                "INSERT INTO names (name) VALUES (?) RETURNING id",
            )?,
            sets: Dictionary::new(
                connection,
                "SELECT id FROM tag_sets WHERE tags = ?",
                "INSERT INTO tag_sets (tags) VALUES (?) RETURNING id",
            )?,
            tag: connection.prepare("INSERT INTO tags (tag_set, name, value) VALUES (?, ?, ?)")?,
        })
    }

    /// The number of a name.
    pub fn number(&mut self, name: &str) -> rusqlite::Result<i64> {
        Ok(self.names.number(name)?.0)
    }

    /// The number of a name, 0 for none.
    pub fn optional(&mut self, name: Option<&str>) -> rusqlite::Result<i64> {
        name.map_or(Ok(0), |name| self.number(name))
    }

    /// The number of tags together, 0 for none.
    pub fn set(&mut self, tags: &BTreeMap<String, String>) -> rusqlite::Result<i64> {
        if tags.is_empty() {
            return Ok(0);
        }
        let text = serde_json::to_string(tags).unwrap_or_default();
        let (set, is_new) = self.sets.number(&text)?;
        if is_new {
            for (name, value) in tags {
                let (name, value) = (self.number(name)?, self.number(value)?);
                self.tag.execute([set, name, value])?;
            }
        }
        Ok(set)
    }

    /// Forgets what a transaction that was rolled back had added.
    pub fn forget(&mut self) {
        self.names.forget();
        self.sets.forget();
    }
}
