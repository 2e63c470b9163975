//! The runtime keys of a process that serves, kept as the file has them.
//!
//! Looked at often and cheaply: the last line of the journal says whether there
//! is something new. What cannot be read changes nothing; the keys that are known
//! stay. A file that was put in another's place is noticed by what it is.

use super::{Listed, Refused, Store, list};
use crate::identity::RuntimeKeys;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a look waits for the file.
const BUSY: Duration = Duration::from_secs(1);

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    None,
    /// These are in force now.
    Keys(Listed),
}

/// The file, and the keys of this process.
pub struct Live {
    path: PathBuf,
    keys: Arc<RuntimeKeys>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    reader: Option<Reader>,
    /// A file was there once: its absence is then a failure.
    expected: bool,
}

struct Reader {
    connection: Connection,
    /// Device and inode.
    file: (u64, u64),
    /// The journal's last line that is in force; `None` before the first look.
    line: Option<i64>,
}

impl Live {
    pub fn new(path: PathBuf, keys: Arc<RuntimeKeys>) -> Self {
        Self {
            path,
            keys,
            seen: Mutex::default(),
        }
    }

    /// Where the keys are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether there is something new, and puts it into force. Blocks on
    /// the file system.
    ///
    /// # Errors
    /// When the file cannot be read. The keys stay as they are.
    pub fn look(&self) -> Result<Change, Refused> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match std::fs::metadata(&self.path) {
            Ok(meta) => (meta.dev(), meta.ino()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !seen.expected => {
                return Ok(Change::None);
            }
            Err(e) => {
                seen.reader = None;
                return Err(e.into());
            }
        };
        seen.expected = true;
        if seen
            .reader
            .as_ref()
            .is_none_or(|reader| reader.file != file)
        {
            seen.reader = None;
            seen.reader = Some(Reader::open(&self.path, file)?);
        }
        let Some(reader) = &mut seen.reader else {
            return Ok(Change::None);
        };
        let change = reader.look();
        match &change {
            Ok(Change::Keys(listed)) => self.keys.replace(listed.in_force()),
            Ok(Change::None) => {}
            // What is wrong with this connection may be right with the next one.
            Err(_) => seen.reader = None,
        }
        change
    }

    /// As [`Self::look`], but reads everything, whether it is new or not.
    ///
    /// # Errors
    /// As there.
    pub fn look_again(&self) -> Result<Change, Refused> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.reader = None;
        drop(seen);
        self.look()
    }

    /// Changes something in the file, and puts it into force.
    ///
    /// # Errors
    /// Those of the change. When it was made and cannot be seen, the next look
    /// will.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Store) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut store = Store::open(&self.path)?;
        let changed = change(&mut store)?;
        let _ = self.look();
        Ok(changed)
    }

    /// All keys that the file has; none where there is no file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(&self) -> Result<Listed, Refused> {
        read(&self.path)
    }
}

/// All keys that a file has; none where there is no file. Changes nothing.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Listed, Refused> {
    let file = match std::fs::metadata(path) {
        Ok(meta) => (meta.dev(), meta.ino()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Listed::default()),
        Err(e) => return Err(e.into()),
    };
    match Reader::open(path, file)?.look()? {
        Change::Keys(listed) => Ok(listed),
        Change::None => Ok(Listed::default()),
    }
}

impl Reader {
    fn open(path: &Path, file: (u64, u64)) -> Result<Self, Refused> {
        // Not read-only: the first reader after a crash replays the WAL.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(Self {
            connection,
            file,
            line: None,
        })
    }

    fn look(&mut self) -> Result<Change, Refused> {
        let line = self.last_line()?;
        if self.line == Some(line) {
            return Ok(Change::None);
        }
        // What is written between the two is read now and again at the next look.
        let listed = match line {
            0 => Listed::default(),
            _ => list(&self.connection)?,
        };
        self.line = Some(line);
        Ok(Change::Keys(listed))
    }

    /// 0 where there is no journal: nobody has made a key yet.
    fn last_line(&self) -> Result<i64, rusqlite::Error> {
        let exists = "SELECT 1 FROM sqlite_master WHERE name = 'runtime_key_journal'";
        let mut exists = self.connection.prepare(exists)?;
        if exists.query_row([], |_| Ok(())).optional()?.is_none() {
            return Ok(0);
        }
        let last = "SELECT coalesce(max(id), 0) FROM runtime_key_journal";
        let mut last = self.connection.prepare(last)?;
        last.query_row([], |row| row.get(0))
    }
}
