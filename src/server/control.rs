//! The work behind the requests: reloads, name resolution, health checks,
//! credentials that end, telling systemd, and stopping in good order.

use crate::gateway::Accounts;
use crate::ledger::Ledger;
use crate::reload::Reloader;
use crate::route::balance::{Pool, RESOLVE_EVERY};
use crate::table::RoutingTable;
use crate::telemetry::Traces;
use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use sd_notify::NotifyState;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often the file is looked at, and health checks and name resolution are
/// looked for. Polling, because it works on every file system, through symbolic
/// links and bind mounts, and costs one `read` a second.
const TICK: Duration = Duration::from_secs(1);

/// How often in-flight requests are counted while stopping.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// What is written by a request may still be on its way to the socket when the
/// request is settled (HTTP/2 writes from another task).
const FLUSH: Duration = Duration::from_millis(200);

/// How long requests may take to say that they were cut.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// How long a start waits for the fleet's store: without it, it serves what may
/// be served then.
const JOINING: Duration = Duration::from_secs(2);

/// How long what is left may take to be written to the ledger.
const CLOSING: Duration = Duration::from_secs(10);

/// Background work of the process.
pub struct Control {
    reloader: Arc<Reloader>,
    ready: Arc<AtomicBool>,
    listening: Vec<SocketAddr>,
    stopping: Stopping,
    schedule: Arc<Mutex<Schedule>>,
}

/// How the process is stopped.
pub struct Stopping {
    /// How long requests in flight may take to finish by themselves.
    pub grace: Duration,
    /// Told when that time is over.
    pub ending: watch::Sender<bool>,
    /// Closed last, when nothing can be added to them any more.
    pub accounts: Arc<Accounts>,
    pub traces: Arc<Traces>,
}

/// Writes what the ledger still has in memory.
pub fn close(ledger: &Ledger) {
    if let Err(unwritten) = ledger.close(CLOSING) {
        let reason = unwritten.to_string();
        log::error!(reason = reason.as_str(); "the ledger is not complete: open requests are charged at their bound at the next start");
    }
}

/// What was done for each pool, by the pool itself: one that a reload put in
/// another's place starts anew.
#[derive(Default)]
struct Schedule {
    pools: HashMap<usize, Arc<Tended>>,
    /// Series of endpoint health that exist.
    shown: BTreeSet<(String, String)>,
}

/// One pool's timetable. Its work is done by one task at a time, so that a slow
/// resolver holds up nobody else's probes.
#[derive(Default)]
struct Tended {
    busy: AtomicBool,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    resolved: Option<Instant>,
    probed: Option<Instant>,
}

impl Control {
    pub fn new(
        reloader: Reloader,
        ready: Arc<AtomicBool>,
        listening: Vec<SocketAddr>,
        stopping: Stopping,
    ) -> Self {
        Self {
            reloader: Arc::new(reloader),
            ready,
            listening,
            stopping,
            schedule: Arc::default(),
        }
    }

    /// Resolves as soon as every listener accepts.
    async fn listening(&self) {
        for address in &self.listening {
            while !listens(*address).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    async fn announce(&self) {
        self.listening().await;
        if let Some(fleet) = self.stopping.accounts.limiter.fleet() {
            fleet.ready(JOINING).await;
        }
        self.ready.store(true, Ordering::Release);
        // Not under systemd: there is nobody to tell.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let addresses: Vec<_> = self.listening.iter().map(ToString::to_string).collect();
        log::info!(addresses = addresses.join(",").as_str(); "ready");
    }

    /// Waits until nothing is in flight, then ends the process. What is still
    /// in flight when the grace period is over is told so, and settled. Pingora
    /// itself would sleep for the whole grace period, and then drop the rest.
    async fn drain(&self) {
        self.ready.store(false, Ordering::Release);
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        log::info!(in_flight = self.reloader.metrics.in_flight_now(); "stopping");
        let grace = self.stopping.grace;
        if tokio::time::timeout(grace, self.quiet()).await.is_err() {
            let cut = self.reloader.metrics.in_flight_now();
            log::warn!(cut = cut; "grace period over");
            self.stopping.ending.send_replace(true);
            let _ = tokio::time::timeout(FAREWELL, self.quiet()).await;
        }
        if let Some(fleet) = self.stopping.accounts.limiter.fleet() {
            fleet.flushed(FAREWELL).await;
        }
        log::info!("stopped");
        self.reloader.access_log.shutdown();
        close(&self.stopping.accounts.ledger);
        self.stopping.traces.shutdown();
        std::process::exit(0);
    }

    /// Resolves when nothing is in flight any more.
    async fn quiet(&self) {
        let metrics = &self.reloader.metrics;
        loop {
            while metrics.in_flight_now() > 0 {
                tokio::time::sleep(DRAIN_TICK).await;
            }
            tokio::time::sleep(FLUSH).await;
            if metrics.in_flight_now() == 0 {
                return;
            }
        }
    }

    async fn reload(&self) {
        let reloader = Arc::clone(&self.reloader);
        // Reading and compiling may take a while; timers must not wait for it.
        let done = tokio::task::spawn_blocking(move || reloader.reload()).await;
        if done.is_err() {
            log::error!("reloading failed in an unexpected way, the old config stays");
        }
    }

    async fn reload_if_changed(&self) {
        let reloader = Arc::clone(&self.reloader);
        let _ = tokio::task::spawn_blocking(move || reloader.reload_if_changed()).await;
    }

    /// Starts what is due, without waiting for it, and shows what is known.
    fn tend(&self) {
        let table = self.reloader.table.load_full();
        for provider in table.providers.values() {
            if let Some(credential) = &provider.credential {
                credential.tend();
            }
        }
        let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        for (pool, tended) in schedule.idle(&table) {
            let (schedule, reloader) = (Arc::clone(&self.schedule), Arc::clone(&self.reloader));
            tokio::spawn(async move {
                tended.tend(&pool).await;
                tended.busy.store(false, Ordering::Release);
                let mut schedule = schedule.lock().unwrap_or_else(PoisonError::into_inner);
                schedule.show(&reloader.table.load(), &reloader.metrics);
            });
        }
    }
}

/// Whether somebody listens there. Read from the kernel's table, for a
/// connection that only looks would be logged as a failed handshake by a TLS
/// listener; where there is no such table, one has to do.
async fn listens(address: SocketAddr) -> bool {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(std::fs::read_to_string);
    if tables.iter().all(Result::is_err) {
        return tokio::net::TcpStream::connect(address).await.is_ok();
    }
    let port = address.port();
    tables.iter().flatten().any(|table| listens_in(table, port))
}

/// Reads `/proc/net/tcp` (proc_net_tcp(5)): the local address is the second
/// column, its port in hexadecimal after the colon; state 0A is LISTEN.
fn listens_in(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let local = columns
            .next()
            .and_then(|address| address.rsplit(':').next());
        let here = local.and_then(|p| u16::from_str_radix(p, 16).ok()) == Some(port);
        here && columns.nth(1) == Some("0A")
    })
}

impl Schedule {
    /// The table's pools that nobody works on, each marked as worked on.
    fn idle(&mut self, table: &RoutingTable) -> Vec<(Arc<Pool>, Arc<Tended>)> {
        let mut kept = HashMap::new();
        let mut idle = Vec::new();
        for provider in table.providers.values() {
            let pool = Arc::clone(&provider.pool);
            let id = Arc::as_ptr(&pool).addr();
            let tended = self.pools.remove(&id).unwrap_or_default();
            kept.insert(id, Arc::clone(&tended));
            if !tended.busy.swap(true, Ordering::AcqRel) {
                idle.push((pool, tended));
            }
        }
        self.pools = kept;
        idle
    }

    /// Makes the health series those of `table`.
    fn show(&mut self, table: &RoutingTable, metrics: &crate::telemetry::Metrics) {
        let mut shown: HashMap<(String, String), bool> = HashMap::new();
        for (name, provider) in &table.providers {
            for (address, healthy) in provider.pool.health() {
                // One of an endpoint's addresses is enough for it to serve.
                *shown
                    .entry((name.to_string(), address.origin.url.clone()))
                    .or_default() |= healthy;
            }
        }
        for (provider, endpoint) in self.shown.iter().filter(|s| !shown.contains_key(*s)) {
            metrics.forget_endpoint(provider, endpoint);
        }
        for ((provider, endpoint), healthy) in &shown {
            metrics.endpoint_healthy(provider, endpoint, *healthy);
        }
        self.shown = shown.into_keys().collect();
    }
}

impl Tended {
    async fn tend(&self, pool: &Pool) {
        if self.due(RESOLVE_EVERY, |times| &mut times.resolved) {
            pool.resolve().await;
        }
        let every = pool.spec().probe.as_ref().map(|probe| probe.interval);
        if every.is_some_and(|every| self.due(every, |times| &mut times.probed)) {
            pool.probe().await;
        }
    }

    /// Whether it is time; if so, that time is now.
    fn due(&self, every: Duration, last: impl Fn(&mut Times) -> &mut Option<Instant>) -> bool {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last(&mut times);
        let due = last.is_none_or(|at| at.elapsed() >= every);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

#[async_trait]
impl BackgroundService for Control {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        // First of all: until there is a handler, SIGHUP ends the process.
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(e) => {
                let reason = e.to_string();
                log::error!(reason = reason.as_str(); "SIGHUP cannot be received");
                return;
            }
        };
        self.announce().await;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                changed = shutdown.changed() => {
                    if changed.is_err() || *shutdown.borrow() {
                        return self.drain().await;
                    }
                }
                _ = hangup.recv() => self.reload().await,
                _ = tick.tick() => {
                    self.reload_if_changed().await;
                    self.tend();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_told_from_a_connection() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
                     1: 0100007F:C350 0100007F:1F91 01 00000000:00000000\n";
        assert!(listens_in(table, 8080));
        assert!(!listens_in(table, 8081));
        assert!(!listens_in(table, 50000));
        assert!(!listens_in("", 8080));
    }
}
