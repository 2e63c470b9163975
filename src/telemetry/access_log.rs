//! One JSON line per request, on standard output, standard error or a file.
//!
//! A request only appends its line to a queue in memory; a thread of its own
//! writes what has gathered. So a full disk, a slow pipe or a closed one never
//! holds a request up: what the queue (16 MiB) cannot take, and what the output
//! refuses, is dropped and counted in `tollgate_access_log_dropped_total`, with
//! at most one warning a minute in the operator's log. Lines are whole or
//! absent: after a partial write the next one starts on a line of its own.
//!
//! Not promised: that a line is on disk when the client has its answer. Lines
//! are written as soon as the thread is free, never synced.

use super::access_line::Line;
use super::metrics::Metrics;
use super::{Record, json_line};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where the lines go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Output {
    Off,
    #[default]
    Stdout,
    Stderr,
    /// Appended to; made with mode 0640 when absent.
    File(PathBuf),
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Bytes that may wait to be written.
    queue: usize,
    /// How long a shutdown waits for an output that does not take its lines.
    grace: Duration,
    /// Between two warnings about lost lines.
    quiet: Duration,
}

const BOUNDS: Bounds = Bounds {
    queue: 16 << 20,
    grace: Duration::from_secs(2),
    quiet: Duration::from_secs(60),
};

/// After a burst the buffers shrink to this.
const KEPT_CAPACITY: usize = 1 << 20;

/// The access log of a process; shared by reference.
#[derive(Debug)]
pub struct AccessLog {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Opens the output and starts the thread that writes to it.
    ///
    /// # Errors
    /// The output cannot be opened, or the thread not be started.
    pub fn start(output: &Output, metrics: Arc<Metrics>) -> io::Result<Self> {
        match Sink::open(output)? {
            Some(sink) => Self::with(sink, metrics, BOUNDS),
            None => Ok(Self { running: None }),
        }
    }

    fn with(sink: Sink, metrics: Arc<Metrics>, bounds: Bounds) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(metrics, bounds));
        let theirs = Arc::clone(&queue);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || theirs.write_to(sink))?;
        let writer = Mutex::new(Some(writer));
        Ok(Self {
            running: Some(Running { queue, writer }),
        })
    }

    /// Queues the line of a settled request. Never waits for the output.
    pub fn write(&self, record: &Record) {
        if let Some(Running { queue, .. }) = &self.running
            && let Some(line) = json_line(&Line::from(record))
        {
            queue.push(&line);
        }
    }

    /// Opens the file again by its path, before the next line, so that a
    /// rotated file is let go. Standard output and error stay as they are.
    pub fn reopen(&self) {
        if let Some(Running { queue, .. }) = &self.running {
            queue.lock().reopen = true;
            queue.wake.notify_one();
        }
    }

    /// Writes what is queued and ends. An output that takes nothing is given
    /// up after two seconds. Lines that come later are dropped and counted.
    pub fn shutdown(&self) {
        let Some(Running { queue, writer }) = &self.running else {
            return;
        };
        if queue.close()
            && let Some(writer) = writer.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // An error is a panic of the writer, which the panic hook has told.
            let _ = writer.join();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// What requests and the writing thread share.
#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    /// Something to do for the thread.
    wake: Condvar,
    /// The thread has ended.
    ended: Condvar,
    metrics: Arc<Metrics>,
    bounds: Bounds,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    reopen: bool,
    closing: bool,
    ended: bool,
    /// Lost, and not told in the operator's log yet.
    untold: u64,
}

impl Queue {
    fn new(metrics: Arc<Metrics>, bounds: Bounds) -> Self {
        let (state, wake, ended) = Default::default();
        Self {
            state,
            wake,
            ended,
            metrics,
            bounds,
        }
    }

    /// A panic while it is held leaves whole lines, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.closing || state.lines.len().saturating_add(line.len()) > self.bounds.queue {
            // Only the thread logs: standard error may be the same slow pipe.
            state.untold = state.untold.saturating_add(1);
            self.metrics.access_log_dropped(1);
            return;
        }
        let was_empty = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// Asks the thread to end; `false` when it did not in time.
    fn close(&self) -> bool {
        let mut state = self.lock();
        state.closing = true;
        self.wake.notify_one();
        let waited = self
            .ended
            .wait_timeout_while(state, self.bounds.grace, |state| !state.ended);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.metrics.access_log_dropped(count_lines(&state.lines));
        state.lines.clear();
        state.ended
    }

    /// The writing thread.
    fn write_to(&self, mut sink: Sink) {
        let mut batch = Vec::new();
        let mut warned: Option<Instant> = None;
        while let Some(Work { reopen, lost }) = self.next(&mut batch) {
            let reopened = if reopen { sink.reopen() } else { Ok(()) };
            let written = sink.write(&batch, || self.pause());
            let refused = written.as_ref().err().map_or(0, |refused| refused.lines);
            self.metrics.access_log_dropped(refused);
            let error = reopened
                .err()
                .or(written.err().map(|refused| refused.error));
            let lost = lost.saturating_add(refused);
            if lost == 0 && error.is_none() {
                continue;
            }
            if warned.is_none_or(|last| last.elapsed() >= self.bounds.quiet) {
                warned = Some(Instant::now());
                warn(lost, error.as_ref());
            } else {
                let mut state = self.lock();
                state.untold = state.untold.saturating_add(lost);
            }
        }
        let mut state = self.lock();
        if state.untold > 0 {
            warn(state.untold, None);
        }
        state.ended = true;
        self.ended.notify_all();
    }

    /// Waits for lines and swaps them into `batch`; `None` at the end.
    fn next(&self, batch: &mut Vec<u8>) -> Option<Work> {
        batch.clear();
        batch.shrink_to(KEPT_CAPACITY);
        let idle = |state: &mut State| state.lines.is_empty() && !state.reopen && !state.closing;
        let mut state = self
            .wake
            .wait_while(self.lock(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        if state.lines.is_empty() && !state.reopen {
            return None;
        }
        std::mem::swap(batch, &mut state.lines);
        Some(Work {
            reopen: std::mem::take(&mut state.reopen),
            lost: std::mem::take(&mut state.untold),
        })
    }

    /// Lets a full output that does not block drain; `false` when it is time
    /// to give up.
    fn pause(&self) -> bool {
        let waited = self
            .wake
            .wait_timeout(self.lock(), Duration::from_millis(10));
        !waited.unwrap_or_else(PoisonError::into_inner).0.closing
    }
}

struct Work {
    reopen: bool,
    lost: u64,
}

fn warn(lost: u64, error: Option<&io::Error>) {
    match error {
        Some(error) => ::log::warn!(lost, error:%; "access log lines dropped"),
        None => ::log::warn!(lost; "access log lines dropped"),
    }
}

/// The open output.
#[derive(Debug)]
struct Sink {
    file: File,
    path: Option<PathBuf>,
    /// The last write stopped inside a line.
    torn: bool,
}

struct Refused {
    lines: u64,
    error: io::Error,
}

impl Sink {
    fn open(output: &Output) -> io::Result<Option<Self>> {
        // A duplicate of the descriptor instead of `io::stdout()`, whose
        // buffer would write line by line and hold its lock meanwhile.
        let file = match output {
            Output::Off => return Ok(None),
            Output::Stdout => io::stdout().as_fd().try_clone_to_owned()?.into(),
            Output::Stderr => io::stderr().as_fd().try_clone_to_owned()?.into(),
            Output::File(path) => append(path)?,
        };
        let path = if let Output::File(path) = output {
            Some(path.clone())
        } else {
            None
        };
        Ok(Some(Self {
            file,
            path,
            torn: false,
        }))
    }

    /// Keeps the old file when the path cannot be opened.
    fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.file = append(path)?;
            self.torn = false;
        }
        Ok(())
    }

    fn write(&mut self, batch: &[u8], pause: impl Fn() -> bool) -> Result<(), Refused> {
        let refused = |rest: &[u8], error| Refused {
            lines: count_lines(rest),
            error,
        };
        if self.torn {
            self.file
                .write_all(b"\n")
                .map_err(|error| refused(batch, error))?;
            self.torn = false;
        }
        let mut rest = batch;
        while !rest.is_empty() {
            let written = match self.file.write(rest) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                Ok(written) => Ok(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
                // Somebody shares the descriptor and made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock && pause() => Ok(0),
                Err(error) => Err(error),
            };
            let (done, left) = match written {
                Ok(written) => rest.split_at_checked(written).unwrap_or((rest, &[])),
                Err(error) => return Err(refused(rest, error)),
            };
            self.torn = done.last().map_or(self.torn, |last| *last != b'\n');
            rest = left;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
