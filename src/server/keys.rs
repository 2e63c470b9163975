//! Takes what is done to keys at runtime over, off the path of requests: once a
//! second, and at SIGHUP.

use super::{House, accounts};
use crate::config::Config;
use crate::ledger::MEMORY;
use crate::ledger::keys::{Change, Listed, Live, Refused};
use crate::reload::Source;
use crate::table::RoutingTable;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often the file is looked at: one small read each time.
const TICK: Duration = Duration::from_secs(1);

/// The runtime keys of `table` and all that come after it; read before anybody
/// is let in. `None` where nothing is kept.
pub(super) fn live(source: &Source, config: &Config, table: &RoutingTable) -> Option<Arc<Live>> {
    let path = accounts::file(source, &config.ledger);
    let keeps = path.as_os_str() != MEMORY;
    keeps.then(|| Arc::new(Live::new(path, Arc::clone(table.keys.runtime()))))
}

/// Keeps the runtime keys as the file has them.
pub(super) struct Watch {
    live: Arc<Live>,
    table: Arc<ArcSwap<RoutingTable>>,
    /// The last look failed, and that was said.
    troubled: AtomicBool,
}

impl Watch {
    /// Looks for the first time.
    pub(super) fn new(house: &House, live: &Arc<Live>) -> Arc<Self> {
        let watch = Self {
            live: Arc::clone(live),
            table: Arc::clone(&house.table),
            troubled: AtomicBool::new(false),
        };
        // Again: what was read for the limits was not told of.
        watch.tell(watch.live.look_again());
        Arc::new(watch)
    }

    fn tell(&self, looked: Result<Change, Refused>) {
        match looked {
            Ok(change) => {
                if self.troubled.swap(false, Ordering::Relaxed) {
                    log::info!("the file of the runtime keys can be read again");
                }
                if let Change::Keys(listed) = change {
                    self.tell_of(&listed);
                }
            }
            // Once, not every second until it is mended.
            Err(_) if self.troubled.swap(true, Ordering::Relaxed) => {}
            Err(e) => {
                let (file, reason) = (self.live.path().display().to_string(), e.to_string());
                log::error!(file = file.as_str(), reason = reason.as_str(); "runtime keys cannot be read, the known ones stay");
            }
        }
    }

    fn tell_of(&self, listed: &Listed) {
        let table = self.table.load();
        let open = listed.records.iter().filter(|one| one.revoked.is_none());
        let mut count = 0;
        for one in open {
            count += 1;
            if table.keys.claims(&one.name) {
                log::warn!(key = one.name.as_str(); "a runtime key has the name of one in the config, which counts");
            }
        }
        for name in &listed.damaged {
            log::error!(key = name.as_str(); "a runtime key's rights are unreadable, it is refused");
        }
        if count > 0 || !listed.records.is_empty() {
            log::info!(keys = count; "runtime keys loaded");
        }
    }

    async fn look(self: &Arc<Self>, again: bool) {
        let watch = Arc::clone(self);
        // It may wait for a writer; timers must not.
        let looked = tokio::task::spawn_blocking(move || {
            watch.tell(match again {
                true => watch.live.look_again(),
                false => watch.live.look(),
            });
        });
        let _ = looked.await;
    }
}

/// The task that looks.
pub(super) struct Watching(pub(super) Arc<Watch>);

#[async_trait]
impl BackgroundService for Watching {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(e) => {
                let reason = e.to_string();
                log::error!(reason = reason.as_str(); "SIGHUP cannot be received");
                return;
            }
        };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                changed = shutdown.changed() => {
                    if changed.is_err() || *shutdown.borrow() {
                        return;
                    }
                }
                _ = hangup.recv() => self.0.look(true).await,
                _ = tick.tick() => self.0.look(false).await,
            }
        }
    }
}
