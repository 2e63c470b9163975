//! Moving what was committed from the WAL to the file, beside the writer.
//!
//! A passive checkpoint waits for nobody and nobody waits for it. Under a load
//! without a pause it never sees the end of the WAL, which then grows; past
//! [`LARGE`] the rest is moved with the writer held up, which is short, since
//! the passive one has just moved nearly all of it.

use super::database;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pages (of 4 KiB) that are worth a checkpoint...
const SOME: i64 = 1_000;
/// ...and that are too many.
const LARGE: i64 = 32_768;

/// Without a word of the writer's.
const PATIENCE: Duration = Duration::from_secs(30);

/// For how long readers may hold up a checkpoint that holds up the writer.
const BUSY: Duration = Duration::from_millis(100);

/// The thread that makes checkpoints; dropping it makes a last one and ends it.
pub(super) struct Checkpoints {
    written: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// # Errors
    /// When the system gives no thread.
    pub fn start(path: PathBuf) -> std::io::Result<Self> {
        let (written, heard) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("ledger-checkpoint".to_owned())
            .spawn(move || {
                let mut connection = None;
                loop {
                    match heard.recv_timeout(PATIENCE) {
                        Ok(()) => advance(&mut connection, &path),
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
            })?;
        Ok(Self {
            written: Some(written),
            thread: Some(thread),
        })
    }

    /// Something was committed.
    pub fn written(&self) {
        if let Some(written) = &self.written {
            let _ = written.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.written = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Moves what there is. What goes wrong is tried again with the next commit; a
/// disk that stays full shows in the writer.
fn advance(connection: &mut Option<Connection>, path: &std::path::Path) {
    if connection.is_none() {
        *connection = open(path).ok();
    }
    let Some(open) = connection else {
        return;
    };
    if step(open).is_err() {
        *connection = None;
    }
}

fn open(path: &std::path::Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, database::existing())?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -256;")?;
    Ok(connection)
}

fn step(connection: &Connection) -> rusqlite::Result<()> {
    let checkpoint = |mode: &str| {
        let pragma = format!("PRAGMA wal_checkpoint({mode})");
        connection.query_row(&pragma, (), |row| row.get::<_, i64>(1))
    };
    // A handle that has not looked yet knows of no WAL: this opens it.
    connection.query_row("SELECT count(*) FROM state", (), |_| Ok(()))?;
    if checkpoint("NOOP")? < SOME {
        return Ok(());
    }
    if checkpoint("PASSIVE")? >= LARGE {
        checkpoint("PASSIVE")?;
        checkpoint("RESTART")?;
    }
    Ok(())
}
