//! The ledger, as it is read: beside the gateway that writes it, or without one.

use super::database::{self, OpenError};
use super::queue::Unavailable;
use rusqlite::{Connection, OptionalExtension as _};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// A question that could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("the ledger cannot be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the ledger is closed")]
    Closed,
    #[error("{0}")]
    Behind(#[from] Unavailable),
}

/// A ledger's file, opened to read it.
pub struct Reader(Connection);

impl Reader {
    /// # Errors
    /// When there is no ledger, or a newer tollgate's.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        database::to_read(path).map(Self)
    }

    pub fn view(&self) -> View<'_> {
        View::new(&self.0)
    }
}

/// What questions are asked of. They block for as long as they read.
pub struct View<'c> {
    pub(super) connection: &'c Connection,
    names: RefCell<HashMap<i64, Arc<str>>>,
}

impl<'c> View<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            names: RefCell::default(),
        }
    }

    /// A name's number. No entry has that of a name that is not known.
    pub(super) fn number(&self, name: &str) -> rusqlite::Result<i64> {
        let number =
            self.connection
                .query_row("SELECT id FROM names WHERE name = ?", [name], |row| {
                    row.get(0)
                });
        Ok(number.optional()?.unwrap_or(-1))
    }

    /// The number of the set of tags that stands for others; -1 before it is
    /// needed.
    pub(super) fn other_set(&self) -> rusqlite::Result<i64> {
        let question = "SELECT id FROM tag_sets WHERE tags = ?";
        let number = self
            .connection
            .query_row(question, [super::names::other_tags()], |row| row.get(0));
        Ok(number.optional()?.unwrap_or(-1))
    }

    /// A number's name; 0 has none.
    pub(super) fn name(&self, number: i64) -> rusqlite::Result<Option<Arc<str>>> {
        if number == 0 {
            return Ok(None);
        }
        if let Some(name) = self.names.borrow().get(&number) {
            return Ok(Some(name.clone()));
        }
        let question = "SELECT name FROM names WHERE id = ?";
        let name = self
            .connection
            .query_row(question, [number], |row| row.get::<_, Arc<str>>(0))
            .optional()?;
        if let Some(name) = &name {
            self.names.borrow_mut().insert(number, name.clone());
        }
        Ok(name)
    }

    /// The first hour of which no entry has been deleted.
    pub(super) fn raw_from(&self) -> rusqlite::Result<i64> {
        let question = "SELECT raw_from FROM state";
        self.connection.query_row(question, (), |row| row.get(0))
    }

    /// Whether the file has that table.
    pub(super) fn has(&self, table: &str) -> rusqlite::Result<bool> {
        let known = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)";
        self.connection.query_row(known, [table], |row| row.get(0))
    }

    /// The hours with sums, if there are any.
    pub(super) fn hours(&self) -> rusqlite::Result<Option<Hours>> {
        let question = "SELECT (SELECT min(hour) FROM rollups), (SELECT max(hour) FROM rollups)";
        let (first, last) = self.connection.query_row(question, (), |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
        let Some((first, last)) = first.zip(last) else {
            return Ok(None);
        };
        // A file that no gateway of this version has written yet has none.
        let mut folded = Vec::new();
        if self.has("folded")? {
            let question = "SELECT hour FROM folded WHERE hour >= (SELECT raw_from FROM state)";
            let mut found = self.connection.prepare(question)?;
            let found = found.query_map((), |row| row.get(0))?;
            folded = found.collect::<rusqlite::Result<_>>()?;
        }
        Ok(Some(Hours {
            first,
            last,
            folded,
        }))
    }
}

/// What hours there are sums of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hours {
    pub first: i64,
    pub last: i64,
    /// Those of which names are missing in the sums, but not in single entries.
    pub folded: Vec<i64>,
}
