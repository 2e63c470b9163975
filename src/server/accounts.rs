//! What counts, from the start on: the ledger, the clock of budgets, the
//! limiter.

use super::{House, fleet};
use crate::admission::{Clock, Limiter};
use crate::config::{self, Config, Durability, OnFailure, Store};
use crate::gateway::{Accounts, Open};
use crate::ledger::{self, Ledger, MEMORY, Settings};
use crate::meter::tokens;
use crate::reload::Source;
use std::path::PathBuf;
use std::sync::Arc;

/// The ledger's file. Where there is no config file and no word on it, nothing
/// is kept.
pub(super) fn file(source: &Source, config: &config::Ledger) -> PathBuf {
    match (&config.path, source) {
        (Some(path), _) => path.clone(),
        (None, Source::File(path)) => ledger::place(path),
        (None, Source::Embedded { .. }) => MEMORY.into(),
    }
}

/// Opens the ledger and starts the clock.
///
/// # Errors
/// Why the ledger cannot be written, or the fleet's store has no usable address,
/// for the operator.
pub(super) fn open(source: &Source, config: &Config) -> Result<Accounts, String> {
    let state = &config.state;
    let config = &config.ledger;
    let settings = Settings {
        path: file(source, config),
        durability: match config.durability {
            Durability::Process => ledger::Durability::Process,
            Durability::Power => ledger::Durability::Power,
        },
        buffer: config.buffer,
        retention: config.retention,
        max_bytes: Some(config.max_size as u64),
    };
    let (ledger, recovery) = Ledger::open(settings).map_err(|e| format!("ledger: {e}"))?;
    if recovery.recovered > 0 {
        let cost = recovery.cost.to_string();
        log::warn!(
            requests = recovery.recovered, cost_usd = cost.as_str();
            "requests of a process that died are charged at their bound"
        );
    }
    Ok(Accounts {
        limiter: match state.store {
            Store::Memory => Limiter::new(),
            Store::Redis => Limiter::of_fleet(fleet::of(state, &file(source, config))?),
        },
        open: Open::default(),
        clock: Clock::starting(recovery.latest.unwrap_or_default()),
        ledger: Arc::new(ledger),
        buffers: config.on_failure == OnFailure::Buffer,
    })
}

/// Loads the tokenizers, which takes most of a second, before anybody needs one.
pub(super) fn warm() {
    let load = || {
        for model in ["gpt-5", "gpt-4"] {
            tokens::count(model, "warm");
        }
    };
    let named = std::thread::Builder::new().name("tokenizers".to_owned());
    // Without the thread the first count is late, no more.
    let _ = named.spawn(load);
}

/// Makes the gauges what they are now.
pub(super) fn look(house: &House) -> impl Fn() + Send + Sync + use<> {
    let (table, metrics) = (Arc::clone(&house.table), Arc::clone(&house.metrics));
    let accounts = Arc::clone(&house.accounts);
    move || {
        let now = accounts.clock.now();
        let left = accounts.limiter.left(&table.load().rules, now);
        let health = accounts.ledger.health();
        let accounting = &metrics.accounting;
        accounting.look(&left, &health, accounts.clock.ahead());
        if let Some(fleet) = accounts.limiter.fleet() {
            accounting.look_at_store(&fleet.condition());
        }
    }
}
