//! The file: who may open it, how safe it is, and which version it has.
//!
//! One gateway writes; `FILE.lock` keeps a second one away. Everybody else
//! reads beside it, which is what WAL is for. With [`Durability::Process`] a
//! commit is a write to the system's cache: it survives the process, however
//! that dies, and a power cut takes the last commits but leaves a sound file.
//! With [`Durability::Power`] each commit waits for the disk.

use super::schema;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The path of a ledger that is in memory only.
pub const MEMORY: &str = ":memory:";

/// How long a connection waits for another one that writes.
const BUSY: Duration = Duration::from_secs(5);

/// What an entry survives once it is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process, at any moment.
    #[default]
    Process,
    /// The death of the machine too: every batch is flushed to the disk.
    Power,
}

/// A file that is no ledger for us.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: another gateway writes this ledger (process {holder}); each needs a file of its own", .path.display())]
    Locked { path: PathBuf, holder: String },
    #[error("{}: this ledger has version {found}, and this tollgate knows versions up to {known}: it was written by a newer one; nothing was changed", .path.display())]
    Newer {
        path: PathBuf,
        found: usize,
        known: usize,
    },
    #[error("{}: this is an SQLite file, but no ledger of tollgate's", .path.display())]
    Foreign { path: PathBuf },
    #[error("{}: there is no ledger", .path.display())]
    Missing { path: PathBuf },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", .path.display())]
    Sqlite {
        path: PathBuf,
        source: rusqlite::Error,
    },
}

/// How a file that is there is opened to write it, by one thread.
pub(super) fn existing() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

pub(super) fn is_memory(path: &Path) -> bool {
    path.as_os_str() == MEMORY
}

/// Keeps other gateways from the file for as long as the result lives.
///
/// # Errors
/// [`OpenError::Locked`] when one has it; [`OpenError::Io`].
pub(super) fn lock(path: &Path) -> Result<Option<File>, OpenError> {
    if is_memory(path) {
        return Ok(None);
    }
    let beside = beside(path, ".lock");
    let io = |source| OpenError::Io {
        path: beside.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&beside)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(20).read_to_string(&mut holder);
            return Err(OpenError::Locked {
                path: path.to_owned(),
                holder: holder.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    // For the text above; the lock holds without it, also on a full disk.
    let _ = file.set_len(0);
    let _ = writeln!(file, "{}", std::process::id());
    Ok(Some(file))
}

/// Opens the file to write it, and makes or migrates it.
///
/// # Errors
/// When it is a newer tollgate's or nobody's ledger, or cannot be written.
pub(super) fn to_write(path: &Path, durability: Durability) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    if !is_memory(path) {
        create(path)?;
    }
    let connection = Connection::open_with_flags(path, existing()).map_err(sqlite)?;
    connection.busy_timeout(BUSY).map_err(sqlite)?;
    let found = version(&connection, path)?;
    settle_in(&connection, durability).map_err(sqlite)?;
    if found < schema::VERSION {
        schema::migrate(&connection, found).map_err(sqlite)?;
    }
    Ok(connection)
}

/// Makes an empty file that only its owner may read. SQLite gives the files
/// beside it the same mode. One that is there is not opened: closing it would
/// take the locks away that SQLite holds on it in this process.
fn create(path: &Path) -> Result<(), OpenError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    match made {
        Ok(_) => hand_over(path).map_err(io),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(io(source)),
    }
}

/// Root makes it for whom the directory belongs to: the gateway does not run as
/// root.
fn hand_over(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let directory = std::fs::metadata(parent.unwrap_or(Path::new(".")))?;
    if directory.uid() != std::fs::metadata(path)?.uid() {
        let _ = chown(path, Some(directory.uid()), Some(directory.gid()));
    }
    Ok(())
}

/// The ledger's file where the config names none: `tollgate.db` in
/// `$STATE_DIRECTORY` (the first of several, as systemd.exec(5) joins them), else
/// beside the config file. What is packaged has its config in `/etc/tollgate` and
/// its state in `/var/lib/tollgate`, also for a command outside the service.
pub fn place(config_file: &Path) -> PathBuf {
    let state = std::env::var_os("STATE_DIRECTORY").unwrap_or_default();
    let state = std::env::split_paths(&state).next();
    match state.filter(|directory| !directory.as_os_str().is_empty()) {
        Some(directory) => directory.join("tollgate.db"),
        None if config_file.starts_with("/etc/tollgate") => "/var/lib/tollgate/tollgate.db".into(),
        None => config_file.with_file_name("tollgate.db"),
    }
}

fn settle_in(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let synchronous = match durability {
        Durability::Process => "NORMAL",
        Durability::Power => "FULL",
    };
    write_ahead(connection)?;
    // Checkpoints are made beside the writer; see `checkpoint`.
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous};
         PRAGMA foreign_keys = ON;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -65536;
         PRAGMA temp_store = MEMORY;"
    ))
}

/// Makes the file one with a write-ahead log. Of several who do that to a new file
/// at once, SQLite refuses all but one without waiting: they would wait for each
/// other. Whoever is refused waits for its turn to write instead, and finds it done.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + BUSY;
    loop {
        match connection.execute_batch("PRAGMA journal_mode = WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < until =>
            {
                let _ = connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK");
            }
            done => return done,
        }
    }
}

/// Opens the file to ask it, beside a gateway that writes it or without one.
///
/// # Errors
/// When there is none, it is a newer tollgate's or nobody's, or unreadable.
pub(super) fn to_read(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing {
            path: path.to_owned(),
        });
    }
    // A reader of a WAL writes to the index beside it. Who may not do that can
    // still read what a gateway has open.
    let open = |access| Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let connection =
        open(OpenFlags::SQLITE_OPEN_READ_WRITE).or_else(|_| open(OpenFlags::SQLITE_OPEN_READ_ONLY));
    let asked = connection.and_then(|connection| {
        connection.busy_timeout(BUSY)?;
        connection.execute_batch(
            "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536;",
        )?;
        Ok(connection)
    });
    let connection = asked.map_err(|source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    })?;
    match version(&connection, path)? {
        0 => Err(OpenError::Missing {
            path: path.to_owned(),
        }),
        _ => Ok(connection),
    }
}

/// The version of the file's schema; 0 when it is empty.
fn version(connection: &Connection, path: &Path) -> Result<usize, OpenError> {
    let number = |pragma: &str| connection.query_row(pragma, (), |row| row.get::<_, i64>(0));
    let read = || {
        // As the file is at one moment: somebody may be making it.
        let _snapshot = connection.unchecked_transaction()?;
        Ok((
            number("PRAGMA application_id")?,
            number("PRAGMA user_version")?,
            // Keys may have been made before there was a ledger.
            number(
                "SELECT count(*) FROM sqlite_schema WHERE tbl_name NOT LIKE 'runtime_key%' \
                 AND tbl_name NOT LIKE 'sqlite_%'",
            )?,
        ))
    };
    let path = path.to_owned();
    let (application, found, tables) = match read() {
        Ok(read) => read,
        Err(source) => return Err(OpenError::Sqlite { path, source }),
    };
    let is_empty = application == 0 && found == 0 && tables == 0;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    match () {
        () if is_empty => Ok(0),
        () if application != i64::from(schema::APPLICATION) => Err(OpenError::Foreign { path }),
        () if found > schema::VERSION => Err(OpenError::Newer {
            path,
            found,
            known: schema::VERSION,
        }),
        () => Ok(found),
    }
}

/// A file beside the ledger.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
