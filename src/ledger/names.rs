//! Names as numbers: each is written down once.
//!
//! What the operator named stays. What a client made up (users, tags, models)
//! stays where an hour's sums have it; else only for as long as single entries
//! do, and is then [deleted](delete_unused).

use rusqlite::{Connection, OptionalExtension as _, Statement};
use std::collections::{BTreeMap, HashMap};

/// How many numbers are kept in memory, of names and of sets of tags each.
const KNOWN: usize = 65_536;

/// Bytes of them, of each: sets of tags are as long as clients make them.
const KNOWN_BYTES: usize = 8 << 20;

/// What stands in the sums of hours for what has no place of its own there: a
/// user, a model, the name and the value of the one tag of such a set.
pub(super) const OTHER: &str = "(other)";

/// Until when a name is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stay {
    /// By single entries of this hour.
    Hour(i64),
    For,
}

impl Stay {
    /// As it stands in the tables.
    fn column(self) -> Option<i64> {
        match self {
            Self::Hour(hour) => Some(hour),
            Self::For => None,
        }
    }
}

/// The dictionary of a connection that writes.
pub(super) struct Names<'c> {
    names: Dictionary<'c>,
    sets: Dictionary<'c>,
    tag: Statement<'c>,
    keep_name: Statement<'c>,
    keep_set: Statement<'c>,
    keep_tags: Statement<'c>,
}

struct Dictionary<'c> {
    known: HashMap<Box<str>, (i64, Stay)>,
    /// Of the texts that are known.
    bytes: usize,
    find: Statement<'c>,
    add: Statement<'c>,
    /// Makes the hour of one that has an hour later, or takes it away.
    prolong: Statement<'c>,
}

/// What came of looking a text up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    New,
    /// It is needed for longer than it was.
    Prolonged,
    Known,
}

impl<'c> Dictionary<'c> {
    fn new(connection: &'c Connection, table: &str, text: &str) -> rusqlite::Result<Self> {
        let prepare = |statement: String| connection.prepare(&statement);
        Ok(Self {
            known: HashMap::new(),
            bytes: 0,
            find: prepare(format!("SELECT id, hour FROM {table} WHERE {text} = ?"))?,
            add: prepare(format!(
                "INSERT INTO {table} ({text}, hour) VALUES (?, ?) RETURNING id"
            ))?,
            prolong: prepare(format!(
                "UPDATE {table} SET hour = max(hour, ?) WHERE id = ? AND hour IS NOT NULL"
            ))?,
        })
    }

    /// The number of a text that is needed so long.
    fn number(&mut self, text: &str, stay: Stay) -> rusqlite::Result<(i64, Found)> {
        if let Some((number, known)) = self.known.get_mut(text) {
            let number = *number;
            if *known >= stay {
                return Ok((number, Found::Known));
            }
            *known = stay;
            self.prolong.execute((stay.column(), number))?;
            return Ok((number, Found::Prolonged));
        }
        let found = self.find.query_row([text], |row| {
            let hour: Option<i64> = row.get(1)?;
            Ok((row.get::<_, i64>(0)?, hour.map_or(Stay::For, Stay::Hour)))
        });
        let (number, until, found) = match found.optional()? {
            Some((number, until)) if until >= stay => (number, until, Found::Known),
            Some((number, _)) => {
                self.prolong.execute((stay.column(), number))?;
                (number, stay, Found::Prolonged)
            }
            None => {
                let added = (text, stay.column());
                let number = self.add.query_row(added, |row| row.get(0))?;
                (number, stay, Found::New)
            }
        };
        if self.known.len() >= KNOWN || self.bytes >= KNOWN_BYTES {
            self.forget();
        }
        self.known.insert(text.into(), (number, until));
        self.bytes += text.len();
        Ok((number, found))
    }

    fn forget(&mut self) {
        self.known.clear();
        self.bytes = 0;
    }
}

impl<'c> Names<'c> {
    pub fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            names: Dictionary::new(connection, "names", "name")?,
            sets: Dictionary::new(connection, "tag_sets", "tags")?,
            tag: connection.prepare("INSERT INTO tags (tag_set, name, value) VALUES (?, ?, ?)")?,
            keep_name: connection
                .prepare("UPDATE names SET hour = NULL WHERE id = ? AND hour IS NOT NULL")?,
            keep_set: connection
                .prepare("UPDATE tag_sets SET hour = NULL WHERE id = ? AND hour IS NOT NULL")?,
            keep_tags: connection.prepare(
                "UPDATE names SET hour = NULL WHERE hour IS NOT NULL AND id IN \
                 (SELECT name FROM tags WHERE tag_set = ?1 \
                  UNION SELECT value FROM tags WHERE tag_set = ?1)",
            )?,
        })
    }

    /// The number of a name that stays.
    pub fn number(&mut self, name: &str) -> rusqlite::Result<i64> {
        Ok(self.names.number(name, Stay::For)?.0)
    }

    /// The number of a name that stays, 0 for none.
    pub fn optional(&mut self, name: Option<&str>) -> rusqlite::Result<i64> {
        name.map_or(Ok(0), |name| self.number(name))
    }

    /// The number of a name that a client made up, 0 for none, for an entry of
    /// this hour.
    pub fn passing(&mut self, name: Option<&str>, hour: i64) -> rusqlite::Result<i64> {
        let Some(name) = name else { return Ok(0) };
        Ok(self.names.number(name, Stay::Hour(hour))?.0)
    }

    /// The number of tags together, 0 for none, for an entry of this hour.
    pub fn set(&mut self, tags: &BTreeMap<String, String>, hour: i64) -> rusqlite::Result<i64> {
        if tags.is_empty() {
            return Ok(0);
        }
        let text = serde_json::to_string(tags).unwrap_or_default();
        self.numbered(&text, tags, Stay::Hour(hour))
    }

    /// The number of the set that stands for sets without a place of their own.
    pub fn other_set(&mut self) -> rusqlite::Result<i64> {
        let tags = BTreeMap::from([(OTHER.to_owned(), OTHER.to_owned())]);
        self.numbered(&other_tags(), &tags, Stay::For)
    }

    fn numbered(
        &mut self,
        text: &str,
        tags: &BTreeMap<String, String>,
        stay: Stay,
    ) -> rusqlite::Result<i64> {
        let (set, found) = self.sets.number(text, stay)?;
        if found == Found::Known {
            return Ok(set);
        }
        // The names of a set stay no shorter than it.
        for (name, value) in tags {
            let (name, _) = self.names.number(name, stay)?;
            let (value, _) = self.names.number(value, stay)?;
            if found == Found::New {
                self.tag.execute([set, name, value])?;
            }
        }
        Ok(set)
    }

    /// Names that have come into an hour's sums stay, and so does a set of tags.
    pub fn keep(&mut self, names: [i64; 2], set: i64) -> rusqlite::Result<()> {
        for name in names.into_iter().filter(|name| *name != 0) {
            self.keep_name.execute([name])?;
        }
        if set != 0 && self.keep_set.execute([set])? > 0 {
            self.keep_tags.execute([set])?;
        }
        Ok(())
    }

    /// Forgets what is in memory: a transaction that had added it was rolled
    /// back, or names were deleted.
    pub fn forget(&mut self) {
        self.names.forget();
        self.sets.forget();
    }
}

/// The text of the set of [`Names::other_set`].
pub(super) fn other_tags() -> String {
    serde_json::json!({OTHER: OTHER}).to_string()
}

/// Deletes names, and sets of tags, that nothing has any more: at most `step` of
/// each. How many. Whoever knows numbers has to forget them then.
///
/// # Errors
/// SQLite's; nothing is deleted then.
pub(super) fn delete_unused(connection: &Connection, step: i64) -> rusqlite::Result<usize> {
    // Single entries are deleted with their intents, open ones have theirs, and a
    // name's hour is none before that of any entry that has it.
    let unused = |table: &str| {
        format!(
            "SELECT id FROM {table} WHERE hour < coalesce((SELECT min(hour) FROM intents), \
             (SELECT raw_from FROM state)) ORDER BY hour LIMIT {step}"
        )
    };
    let is_any = |table: &str| {
        let question = format!("SELECT EXISTS ({})", unused(table));
        connection.query_row(&question, (), |row| row.get::<_, bool>(0))
    };
    if !is_any("tag_sets")? && !is_any("names")? {
        return Ok(0);
    }
    let delete = || {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let sets = unused("tag_sets");
        connection.execute(&format!("DELETE FROM tags WHERE tag_set IN ({sets})"), ())?;
        let sets = connection.execute(&format!("DELETE FROM tag_sets WHERE id IN ({sets})"), ())?;
        // A set that this step does not reach still has its names.
        let names = format!(
            "DELETE FROM names WHERE id IN ({}) AND NOT EXISTS \
             (SELECT 1 FROM tags WHERE name = names.id) \
             AND NOT EXISTS (SELECT 1 FROM tags WHERE value = names.id)",
            unused("names")
        );
        let names = connection.execute(&names, ())?;
        connection.execute_batch("COMMIT")?;
        Ok(sets + names)
    };
    let deleted = delete();
    if deleted.is_err() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    deleted
}
