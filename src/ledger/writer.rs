//! The one thread that writes.
//!
//! Whatever came while it wrote is the next transaction. When one fails, those
//! who wait for their commit are told, the rest is kept in its order, and the
//! file is opened anew and tried again, less and less often. A file that was
//! put in the place of a broken one gets the intents that are still open, so
//! that their settlements have something to belong to.

use super::book::{Book, Settled};
use super::checkpoint::Checkpoints;
use super::database::{self, Durability};
use super::entry::{Intent, Settlement};
use super::queue::{Item, Next, Queue, Unavailable, Waiting};
use super::retention::{self, Retention, Room};
use crate::units::Moment;
use rusqlite::{Connection, ErrorCode};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// Entries in one transaction.
const BATCH: usize = 2_048;

/// For how long nothing has to come before there is time for other things.
const IDLE: Duration = Duration::from_secs(1);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Writer {
    pub queue: Arc<Queue>,
    pub path: PathBuf,
    pub durability: Durability,
    pub checkpoints: Option<Checkpoints>,
    /// Begun and not settled.
    pub open: BTreeMap<u64, Arc<Intent>>,
    /// The greatest id of any intent.
    pub last: u64,
    /// The latest time of any intent.
    pub latest: Moment,
    /// Taken from the queue, not yet written.
    pub pending: Vec<Waiting>,
    pub fitness: Fitness,
    pub retention: Retention,
    /// Whether there was any the last time.
    pub room: Room,
    /// Held until the last entry is written.
    pub lock: Option<File>,
}

/// Whether the last transaction could be made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fitness {
    #[default]
    Well,
    /// It could not, so many times in a row.
    Failing(u32),
}

/// What became of a batch.
#[derive(Default)]
struct Written {
    settled: HashSet<u64>,
    entries: usize,
    refused: usize,
    /// Intents that SQLite refuses for what they are, and why.
    denied: HashMap<u64, Arc<str>>,
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub fn run(mut self, connection: Connection) {
        let mut connection = Some(connection);
        loop {
            let opened = match connection.take() {
                Some(connection) => Ok(connection),
                None => database::to_write(&self.path, self.durability),
            };
            let outcome = match opened {
                Ok(opened) => {
                    let outcome = self.serve(&opened).map_err(|error| error.to_string());
                    // What is only in memory is not opened a second time.
                    connection = database::is_memory(&self.path).then_some(opened);
                    outcome
                }
                Err(error) => Err(error.to_string()),
            };
            match outcome {
                Ok(()) => break,
                Err(why) => {
                    // It may hold a file open that is no longer the ledger.
                    drop(self.checkpoints.take());
                    self.failed(&why.into());
                    let tries = match self.fitness {
                        Fitness::Failing(tries) => tries,
                        Fitness::Well => 0,
                    };
                    let pause = FIRST_PAUSE * 2u32.saturating_pow(tries.min(6));
                    // The last try of a ledger that is closed has been made.
                    if self.queue.pause(pause.min(LONGEST_PAUSE)) && tries > 0 {
                        break;
                    }
                }
            }
        }
        drop(connection);
        drop(self.checkpoints.take());
        // Not by closing it: a process that is just being started has it open too.
        if let Some(lock) = self.lock.take() {
            let _ = lock.unlock();
        }
        self.queue.ended();
    }

    fn serve(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut book = Book::new(connection)?;
        let file = identity(&self.path);
        if self.checkpoints.is_none() && !database::is_memory(&self.path) {
            // Without a thread the WAL grows; the next failure tries again.
            self.checkpoints = Checkpoints::start(self.path.clone()).ok();
        }
        if self.fitness != Fitness::Well {
            self.restore(&mut book)?;
        }
        let (mut pause, mut tidied) = (IDLE, Instant::now());
        loop {
            // In a pause; and now and then where there is none.
            if pause.is_zero() || tidied.elapsed() >= IDLE {
                let is_more = self.tidy(connection, &mut book)?;
                pause = if is_more { Duration::ZERO } else { IDLE };
                tidied = Instant::now();
                if identity(&self.path) != file {
                    return Err(moved());
                }
            }
            if self.pending.is_empty() {
                match self.queue.next(BATCH, pause) {
                    Next::Write(taken) => (self.pending, pause) = (taken, IDLE),
                    Next::Idle => continue,
                    Next::Stop => return Ok(()),
                }
            }
            let denied = self.write(&mut book)?;
            self.answer(connection, &denied);
            if let Some(checkpoints) = &self.checkpoints {
                checkpoints.written();
            }
        }
    }

    /// Deletes what is old, a little of it. Whether there may be more.
    fn tidy(&mut self, connection: &Connection, book: &mut Book<'_>) -> rusqlite::Result<bool> {
        let now = retention::now(SystemTime::now().into(), self.latest);
        let step = self.retention.step(connection, now)?;
        if step.names > 0 {
            book.forget_names();
        }
        if step.room == Room::None && self.room != Room::None {
            log::warn!(
                "the ledger is larger than ledger.max_size by what is never deleted, its sums by \
                 the hour; the latest single entries are kept"
            );
        }
        self.room = step.room;
        Ok(step.entries + step.names > 0)
    }

    /// Writes all open intents, those too that the file may have. It shows
    /// whether the file can be written again.
    fn restore(&mut self, book: &mut Book<'_>) -> rusqlite::Result<()> {
        let (open, through) = (&self.open, self.settled_through());
        let latest = self.latest;
        book.transaction(|book| {
            for intent in open.values() {
                book.begin(intent)?;
            }
            book.state(through, latest)
        })?;
        if self.pending.is_empty() {
            self.well();
            self.queue.wrote(0, 0, self.open.len());
        }
        Ok(())
    }

    /// Writes what is pending, in one transaction if that can be done. Gives the
    /// intents that are not in the file.
    fn write(&mut self, book: &mut Book<'_>) -> rusqlite::Result<HashMap<u64, Arc<str>>> {
        let pending = std::mem::take(&mut self.pending);
        let written = match self.commit(book, &pending) {
            Err(error) if is_of_an_entry(&error) => self.one_by_one(book, &pending),
            other => other,
        };
        self.pending = pending;
        let written = written?;
        for id in &written.settled {
            self.open.remove(id);
        }
        self.well();
        self.queue
            .wrote(written.entries, written.refused, self.open.len());
        Ok(written.denied)
    }

    /// Writes all of it, or nothing, and then knows nothing of it.
    fn commit(&mut self, book: &mut Book<'_>, items: &[Waiting]) -> rusqlite::Result<Written> {
        let before = (self.last, self.latest);
        let mut new = Vec::new();
        let committed = self.try_commit(book, items, &mut new);
        if committed.is_err() {
            (self.last, self.latest) = before;
            for id in new {
                self.open.remove(&id);
            }
        }
        committed
    }

    fn try_commit(
        &mut self,
        book: &mut Book<'_>,
        items: &[Waiting],
        new: &mut Vec<u64>,
    ) -> rusqlite::Result<Written> {
        let mut written = Written::default();
        book.transaction(|book| {
            for waiting in items {
                match &waiting.item {
                    Item::Begin { intent, .. } => {
                        book.begin(intent)?;
                        self.last = self.last.max(intent.id);
                        self.latest = self.latest.max(intent.time);
                        if self.open.insert(intent.id, intent.clone()).is_none() {
                            new.push(intent.id);
                        }
                        written.entries += 1;
                    }
                    Item::Settle(settlement) => self.settle(book, settlement, &mut written)?,
                    Item::Flush(_) | Item::Read(_) => {}
                }
            }
            let still = self.open.keys().find(|id| !written.settled.contains(id));
            let through = still.map_or(self.last, |id| id.saturating_sub(1));
            book.state(through, self.latest)
        })?;
        Ok(written)
    }

    fn settle(
        &self,
        book: &mut Book<'_>,
        settlement: &Settlement,
        written: &mut Written,
    ) -> rusqlite::Result<()> {
        let Some(intent) = self.open.get(&settlement.id) else {
            // It was never begun, or was settled before.
            written.refused += 1;
            return Ok(());
        };
        let subject = book.subject(intent)?;
        match book.settle(&subject, settlement)? {
            Settled::Now => written.entries += 1,
            Settled::Before => written.refused += 1,
        }
        written.settled.insert(settlement.id);
        Ok(())
    }

    /// Leaves out what SQLite refuses, so that it does not keep back the rest.
    fn one_by_one(&mut self, book: &mut Book<'_>, items: &[Waiting]) -> rusqlite::Result<Written> {
        let mut all = Written::default();
        for item in items {
            match self.commit(book, std::slice::from_ref(item)) {
                Ok(written) => {
                    for id in &written.settled {
                        self.open.remove(id);
                    }
                    all.entries += written.entries;
                    all.refused += written.refused;
                }
                Err(error) if is_of_an_entry(&error) => {
                    log::error!(error:%; "the ledger refuses an entry");
                    all.refused += 1;
                    if let Item::Begin { intent, .. } = &item.item {
                        all.denied.insert(intent.id, error.to_string().into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Tells those who wait that what they gave is committed, or is not.
    fn answer(&mut self, connection: &Connection, denied: &HashMap<u64, Arc<str>>) {
        for waiting in self.pending.drain(..) {
            match waiting.item {
                Item::Begin { intent, told } => {
                    let why = denied.get(&intent.id).cloned();
                    tell(
                        told,
                        why.map_or(Ok(()), |why| Err(Unavailable::Refused(why))),
                    );
                }
                Item::Settle(_) => {}
                Item::Flush(told) => drop(told.send(())),
                Item::Read(read) => read(connection),
            }
        }
    }

    /// Every intent up to this one is settled.
    fn settled_through(&self) -> u64 {
        self.open
            .keys()
            .next()
            .map_or(self.last, |id| id.saturating_sub(1))
    }

    fn well(&mut self) {
        if self.fitness != Fitness::Well {
            log::info!("the ledger is written again");
        }
        self.fitness = Fitness::Well;
    }

    fn failed(&mut self, why: &Arc<str>) {
        let tries = match self.fitness {
            Fitness::Well => {
                log::error!(why = &**why; "the ledger cannot be written; entries wait in memory");
                0
            }
            Fitness::Failing(tries) => tries.saturating_add(1),
        };
        self.fitness = Fitness::Failing(tries);
        // Whoever waits for a commit is told that there is none; nothing is sent
        // for it, so nothing is kept of it.
        let pending = std::mem::take(&mut self.pending);
        let (told, kept): (Vec<_>, Vec<_>) = pending
            .into_iter()
            .partition(|waiting| matches!(waiting.item, Item::Begin { told: Some(_), .. }));
        self.pending = kept;
        let told = told.into_iter().map(|waiting| waiting.item);
        for item in told.chain(self.queue.failed(why, self.pending.len())) {
            if let Item::Begin { intent, told } = item {
                self.open.remove(&intent.id);
                tell(told, Err(Unavailable::Failing(why.clone())));
            }
        }
    }
}

/// Which file it is, whatever it is called.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// SQLite would go on writing to a file that nobody finds again.
fn moved() -> rusqlite::Error {
    let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY_DBMOVED);
    let why = "the file was removed or replaced".to_owned();
    rusqlite::Error::SqliteFailure(error, Some(why))
}

fn tell(told: Option<oneshot::Sender<Result<(), Unavailable>>>, what: Result<(), Unavailable>) {
    if let Some(told) = told {
        let _ = told.send(what);
    }
}

/// Whether an entry itself is at fault, not the file.
fn is_of_an_entry(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => matches!(
            code,
            ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch
        ),
        // Not SQLite's: a value that cannot be bound.
        None => true,
    }
}
