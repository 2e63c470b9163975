//! The task beside the requests: connects, tells Redis what it does not know,
//! writes this gateway's part again where that is needed, and opens the way for
//! decisions when all of that is done.

use super::super::counter::Counter;
use super::super::memory::Memory;
use super::super::period;
use super::decide::PLACE_LASTS;
use super::journal::Change;
use super::script::{self, EXACT};
use super::{Fleet, Link};
use crate::units::{Moment, Window};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How often Redis is looked at when there is nothing to tell it.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long Redis is left alone after it has failed.
const PAUSE: Duration = Duration::from_millis(200);

/// How long one step of the task may take.
const STEP: Duration = Duration::from_millis(500);

/// How long a marker is kept after its gateway was last seen, in milliseconds.
const MARKER_LASTS: u64 = 400 * 86_400_000;

/// Changes told in one batch, and counters written in one step.
const BATCH: usize = 200;

/// One change of a bucket: whose, since when, how much.
type Entry = ((Arc<str>, u64), Change);

/// What the task knows between its steps.
struct Tending<'a> {
    fleet: &'a Fleet,
    memory: &'a Memory,
    connection: Option<MultiplexedConnection>,
    epoch: String,
    /// The number of the latest batch.
    batch: u64,
    /// The batch of that number, where Redis has not said that it has it.
    unsaid: Option<Vec<Entry>>,
    kept: Option<Instant>,
    /// The operator was told that Redis is away.
    has_complained: bool,
}

/// A name that nobody else has.
pub fn token() -> String {
    let mut bytes = [0; 8];
    // Without randomness, the address of a fresh allocation has to do.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = (std::ptr::from_ref(&bytes).addr() as u64).to_le_bytes();
    }
    format!("{:016x}", u64::from_le_bytes(bytes))
}

impl Fleet {
    /// Runs for ever. `now`: the time of budgets.
    pub(in super::super) async fn tend(&self, memory: &Memory, now: impl Fn() -> Moment + Send) {
        let mut tending = Tending {
            fleet: self,
            memory,
            connection: None,
            epoch: token(),
            batch: 0,
            unsaid: None,
            kept: None,
            has_complained: false,
        };
        loop {
            match tending.step(&now).await {
                Ok(()) => {
                    let _ = timeout(HEARTBEAT, self.nudge.notified()).await;
                }
                Err(error) => {
                    tending.failed(&error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// What the operator is told of it: an error names no password.
fn reason(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            "it is a node of a cluster, and another has the slot of {fleet}: a cluster is not \
             followed, state.url has to name that node or a proxy"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

impl Tending<'_> {
    fn failed(&mut self, error: &RedisError) {
        self.fleet.cut();
        self.connection = None;
        if !self.has_complained {
            self.has_complained = true;
            let reason = reason(error);
            log::error!(reason = reason.as_str(); "shared limits cannot be reached: hard budgets end with their leases, other limits are counted by each gateway for itself");
        }
    }

    async fn step(&mut self, now: &(impl Fn() -> Moment + Send)) -> RedisResult<()> {
        if !self.fleet.is_linked() {
            // It failed somebody: what is on its way there must not be waited for.
            self.connection = None;
        }
        let mut connection = match &self.connection {
            Some(connection) => connection.clone(),
            None => self.connect().await?,
        };
        let to = &mut connection;
        let is_lost = self.is_lost(to).await?;
        if is_lost {
            self.fleet.renew();
            self.unsaid = None;
            self.kept = None;
        } else {
            self.tell(to).await?;
        }
        let is_wanted = {
            let journal = self.fleet.lock();
            journal.renew || !journal.doubtful.is_empty()
        };
        if is_wanted {
            self.renew(to, now()).await?;
            self.tell(to).await?;
        }
        self.keep(to).await?;
        if !self.fleet.is_linked() {
            self.open(connection).await?;
        }
        Ok(())
    }

    async fn connect(&mut self) -> RedisResult<MultiplexedConnection> {
        let terms = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(STEP))
            .set_response_timeout(Some(STEP));
        let client = &self.fleet.client;
        let connection = client
            .get_multiplexed_async_connection_with_config(&terms)
            .await?;
        self.connection = Some(connection.clone());
        // Places are renewed at once: it may have been long.
        self.kept = None;
        Ok(connection)
    }

    /// Lets decisions in, when Redis answers as fast as they need it.
    async fn open(&mut self, mut connection: MultiplexedConnection) -> RedisResult<()> {
        // So that the first decision takes one turn, as all others.
        let reserve = &self.fleet.scripts.reserve;
        reserve.load_async(&mut connection).await?;
        let ping = redis::cmd("PING");
        let pong = timeout(self.fleet.shared.timeout, ping.exec_async(&mut connection)).await;
        pong.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))?;
        let epoch = self.epoch.clone();
        let link = Link { connection, epoch };
        self.fleet.link.send_replace(Some(Arc::new(link)));
        self.has_complained = false;
        log::info!("shared limits are in force");
        Ok(())
    }

    /// Whether Redis has forgotten something.
    async fn is_lost(&self, to: &mut MultiplexedConnection) -> RedisResult<bool> {
        let seen = self.fleet.seen.load(Ordering::Acquire);
        let mut ask = redis::cmd("HMGET");
        ask.arg(self.fleet.marker()).arg("e").arg("n");
        let answer: RedisResult<(Option<String>, Option<u64>)> = ask.query_async(to).await;
        let (epoch, known) = match answer {
            // Somebody else has put something in its place.
            Err(error) if error.code() == Some("WRONGTYPE") => return Ok(true),
            answer => answer?,
        };
        let is_same = epoch.as_deref() == Some(&*self.epoch);
        Ok(!is_same || known.unwrap_or_default() < seen)
    }

    /// Tells Redis what was given back and what was spent without it.
    async fn tell(&mut self, to: &mut MultiplexedConnection) -> RedisResult<()> {
        loop {
            if self.unsaid.is_none() {
                let mut journal = self.fleet.lock();
                let names: Vec<_> = journal.changes.keys().take(BATCH).cloned().collect();
                let taken = names.into_iter().filter_map(|name| {
                    let change = journal.changes.remove(&name)?;
                    (change.amount != 0).then_some((name, change))
                });
                let batch: Vec<_> = taken.collect();
                if batch.is_empty() {
                    break;
                }
                self.batch += 1;
                self.unsaid = Some(batch);
            }
            let Some(batch) = &self.unsaid else { break };
            let mut call = self.fleet.scripts.apply.prepare_invoke();
            call.key(self.fleet.marker());
            call.arg(&self.epoch).arg(self.batch);
            for ((name, from), change) in batch {
                call.key(&self.fleet.keys(name));
                script::window(&mut call, change.window, period::width(change.window));
                call.arg(*from).arg(change.amount);
            }
            let told: i64 = call.invoke_async(to).await?;
            self.unsaid = None;
            if told == 0 {
                // It was emptied just now.
                self.fleet.renew();
                break;
            }
        }
        let left = std::mem::take(&mut self.fleet.lock().left);
        if !left.is_empty() {
            let mut all = redis::pipe();
            for (key, member) in &left {
                all.zrem(key, member).ignore();
            }
            // Those that are not told end by themselves.
            all.exec_async(to).await?;
        }
        Ok(())
    }

    /// Begins an epoch, and writes this gateway's part.
    async fn renew(&mut self, to: &mut MultiplexedConnection, now: Moment) -> RedisResult<()> {
        // Nothing is decided from here on.
        let alone = self.fleet.gate.write().await;
        let was_linked = self.fleet.link.send_replace(None).is_some();
        self.epoch = token();
        let seen = self.fleet.seen.load(Ordering::Acquire);
        let join = &self.fleet.scripts.join;
        let mut call = join.key(self.fleet.marker());
        call.arg(&self.epoch).arg(seen).arg(MARKER_LASTS);
        let (decision, batch): (u64, u64) = call.invoke_async(to).await?;
        self.fleet.seen.fetch_max(decision, Ordering::AcqRel);
        self.batch = self.batch.max(batch);
        let (all, doubtful, parts) = self.snapshot(now);
        for chunk in parts.chunks(BATCH) {
            if let Err(error) = self.write(to, chunk).await {
                let mut journal = self.fleet.lock();
                journal.renew |= all;
                journal.doubtful.extend(doubtful);
                return Err(error);
            }
        }
        if was_linked && let Some(connection) = self.connection.clone() {
            let epoch = self.epoch.clone();
            let link = Link { connection, epoch };
            self.fleet.link.send_replace(Some(Arc::new(link)));
        }
        drop(alone);
        Ok(())
    }

    /// What this gateway has used and reserved of the counters in question. What
    /// was to be told of them is part of that.
    fn snapshot(&self, now: Moment) -> (bool, Doubtful, Vec<Part>) {
        let mut journal = self.fleet.lock();
        let all = std::mem::take(&mut journal.renew);
        let doubtful: Doubtful = std::mem::take(&mut journal.doubtful).into_iter().collect();
        let mut counters: std::collections::HashMap<_, _> = doubtful.iter().cloned().collect();
        if all {
            counters.extend(self.memory.hard());
        }
        let parts: Vec<_> = counters
            .into_iter()
            .map(|(name, counter)| {
                let buckets = {
                    let mut held = counter.lock();
                    held.tally.turn(counter.window, now);
                    held.tally.buckets()
                };
                Part {
                    name,
                    window: counter.window,
                    buckets,
                }
            })
            .collect();
        for part in &parts {
            journal.forget_lease(&part.name);
        }
        let names: std::collections::HashSet<_> = parts.iter().map(|part| &part.name).collect();
        journal.changes.retain(|(name, _), _| !names.contains(name));
        drop(journal);
        (all, doubtful, parts)
    }

    async fn write(&self, to: &mut MultiplexedConnection, parts: &[Part]) -> RedisResult<()> {
        let mut call = self.fleet.scripts.own.prepare_invoke();
        for part in parts {
            call.key(&self.fleet.keys(&part.name));
            script::window(&mut call, part.window, period::width(part.window));
            call.arg(part.buckets.len());
            for (from, amount) in &part.buckets {
                call.arg(*from).arg((*amount).min(EXACT));
            }
        }
        call.invoke_async(to).await
    }

    /// Renews the places of this gateway's requests.
    async fn keep(&mut self, to: &mut MultiplexedConnection) -> RedisResult<()> {
        if self
            .kept
            .is_some_and(|kept| kept.elapsed() < PLACE_LASTS / 4)
        {
            return Ok(());
        }
        let places: Vec<_> = self.fleet.lock().places.iter().cloned().collect();
        let ttl = u64::try_from(PLACE_LASTS.as_micros()).unwrap_or(EXACT);
        for chunk in places.chunks(BATCH) {
            let mut call = self.fleet.scripts.keep.prepare_invoke();
            call.arg(ttl);
            for (key, member) in chunk {
                call.key(key).arg(member);
            }
            let _: i64 = call.invoke_async(to).await?;
        }
        self.kept = Some(Instant::now());
        Ok(())
    }
}

type Doubtful = Vec<(Arc<str>, Arc<Counter>)>;

/// This gateway's part of one counter.
struct Part {
    name: Arc<str>,
    window: Window,
    /// Since when, and how much.
    buckets: Vec<(u64, u64)>,
}
