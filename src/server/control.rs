//! The work behind the requests: reloads, name resolution, health checks,
//! telling systemd, and stopping in good order.

use crate::reload::Reloader;
use crate::table::RoutingTable;
use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use sd_notify::NotifyState;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

/// How often the file is looked at, and health checks and name resolution are
/// looked for. Polling, because it works on every file system, through symbolic
/// links and bind mounts, and costs one `read` a second.
const TICK: Duration = Duration::from_secs(1);

/// How often in-flight requests are counted while stopping.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// What is written by a request may still be on its way to the socket when the
/// request is settled (HTTP/2 writes from another task).
const FLUSH: Duration = Duration::from_millis(200);

/// Background work of the process.
pub struct Control {
    reloader: Arc<Reloader>,
    ready: Arc<AtomicBool>,
    listening: Vec<SocketAddr>,
    schedule: Arc<Mutex<Schedule>>,
}

/// When each pool was last resolved and probed, by provider.
#[derive(Default)]
struct Schedule {
    resolved: HashMap<Arc<str>, Instant>,
    probed: HashMap<Arc<str>, Instant>,
    /// Series of endpoint health that exist.
    shown: BTreeSet<(String, String)>,
}

impl Control {
    pub fn new(reloader: Reloader, ready: Arc<AtomicBool>, listening: Vec<SocketAddr>) -> Self {
        Self {
            reloader: Arc::new(reloader),
            ready,
            listening,
            schedule: Arc::default(),
        }
    }

    /// Resolves as soon as every listener accepts.
    async fn listening(&self) {
        for address in &self.listening {
            let mut reachable = *address;
            if address.ip().is_unspecified() {
                reachable.set_ip(match address {
                    SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                    SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
                });
            }
            while tokio::net::TcpStream::connect(reachable).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    async fn announce(&self) {
        self.listening().await;
        self.ready.store(true, Ordering::Release);
        // Not under systemd: there is nobody to tell.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let addresses: Vec<_> = self.listening.iter().map(ToString::to_string).collect();
        log::info!(addresses = addresses.join(",").as_str(); "ready");
    }

    /// Waits until nothing is in flight, then ends the process. Pingora itself
    /// would sleep for the whole grace period.
    async fn drain(&self) {
        self.ready.store(false, Ordering::Release);
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        let metrics = &self.reloader.metrics;
        log::info!(in_flight = metrics.in_flight_now(); "stopping");
        loop {
            while metrics.in_flight_now() > 0 {
                tokio::time::sleep(DRAIN_TICK).await;
            }
            tokio::time::sleep(FLUSH).await;
            if metrics.in_flight_now() == 0 {
                break;
            }
        }
        log::info!("stopped");
        self.reloader.access_log.shutdown();
        std::process::exit(0);
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

    /// Starts what is due, without waiting for it.
    fn tend(&self) {
        let table = self.reloader.table.load_full();
        let (schedule, metrics) = (
            Arc::clone(&self.schedule),
            Arc::clone(&self.reloader.metrics),
        );
        tokio::spawn(async move {
            // A slow resolver must not let rounds pile up.
            let Ok(mut schedule) = schedule.try_lock() else {
                return;
            };
            schedule.tend(&table).await;
            schedule.show(&table, &metrics);
        });
    }
}

impl Schedule {
    async fn tend(&mut self, table: &RoutingTable) {
        self.resolved
            .retain(|name, _| table.providers.contains_key(name));
        self.probed
            .retain(|name, _| table.providers.contains_key(name));
        let now = Instant::now();
        let due =
            |last: Option<&Instant>, every| last.is_none_or(|at| now.duration_since(*at) >= every);
        let mut work = tokio::task::JoinSet::new();
        for (name, provider) in &table.providers {
            let resolve = due(
                self.resolved.get(name),
                crate::route::balance::RESOLVE_EVERY,
            );
            let every = provider.pool.spec().probe.as_ref().map(|p| p.interval);
            let probe = every.is_some_and(|every| due(self.probed.get(name), every));
            if resolve {
                self.resolved.insert(Arc::clone(name), now);
            }
            if probe {
                self.probed.insert(Arc::clone(name), now);
            }
            if resolve || probe {
                let pool = Arc::clone(&provider.pool);
                work.spawn(async move {
                    if resolve {
                        pool.resolve().await;
                    }
                    if probe {
                        pool.probe().await;
                    }
                });
            }
        }
        while work.join_next().await.is_some() {}
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
