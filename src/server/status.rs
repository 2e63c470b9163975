//! What the operator's listener shows of the process, and the gauges of the
//! breakers.

use super::House;
use crate::admin::{self, Status};
use crate::route::breaker::{Peek, State};
use crate::route::standing::{Board, Standing};
use crate::table::RoutingTable;
use crate::telemetry::Metrics;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What the listener tells, at the moment it is asked.
pub(super) fn status(house: &House) -> Arc<dyn Fn() -> Status + Send + Sync> {
    let (table, ready) = (Arc::clone(&house.table), Arc::clone(&house.ready));
    let board = Arc::clone(&house.board);
    let source = house.source.name();
    Arc::new(move || {
        let table = table.load();
        Status {
            ready: ready.load(Ordering::Acquire),
            version: table.version,
            loaded_at: table.loaded_at,
            source: source.clone(),
            config: table.redacted.clone(),
            endpoints: endpoints(&table),
            targets: targets(&board),
            providers: providers(&board),
        }
    })
}

fn endpoints(table: &RoutingTable) -> Vec<admin::Endpoint> {
    let now = Instant::now();
    let of = |p: &crate::table::Provider| {
        let name = p.name.to_string();
        let all = p.pool.health().into_iter();
        all.map(|(address, healthy)| admin::Endpoint {
            provider: name.clone(),
            endpoint: address.origin.url.clone(),
            healthy,
            breaker: breaker(&address.breaker.peek(now)),
        })
        .collect::<Vec<_>>()
    };
    table.providers.values().flat_map(|p| of(p)).collect()
}

fn targets(board: &Board) -> Vec<admin::Target> {
    let now = Instant::now();
    let of = |provider: &str, model: &str, standing: &Standing| admin::Target {
        provider: provider.to_owned(),
        model: model.to_owned(),
        breaker: breaker(&standing.breaker.peek(now)),
        first_token_ms: times(&standing.first_token),
        whole_answer_ms: times(&standing.whole),
    };
    let mut all = Vec::new();
    for (provider, account) in board.providers() {
        for (model, standing) in account.targets() {
            all.push(of(&provider, &model, &standing));
        }
    }
    all
}

fn providers(board: &Board) -> Vec<admin::Provider> {
    let all = board.providers().into_iter();
    all.map(|(provider, account)| admin::Provider {
        provider: provider.to_string(),
        retries_left: account.budget.level(),
    })
    .collect()
}

fn breaker(peek: &Peek) -> admin::Breaker {
    admin::Breaker {
        state: peek.state.label(),
        asks_again_in_ms: peek.shut.map(|(wait, _)| millis(wait)),
    }
}

fn times(learned: &crate::route::learned::Learned) -> Option<admin::Times> {
    Some(admin::Times {
        p50: millis(learned.p50()?),
        p95: millis(learned.p95()?),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the gauges what they are now that only a look can tell.
pub(super) fn look(house: &House) -> Arc<dyn Fn() + Send + Sync> {
    let (table, metrics) = (Arc::clone(&house.table), Arc::clone(&house.metrics));
    let board = Arc::clone(&house.board);
    let accounts = super::accounts::look(house);
    Arc::new(move || {
        show_breakers(&metrics, &board, &table.load());
        accounts();
    })
}

/// An endpoint is as well as the best of its addresses.
fn show_breakers(metrics: &Metrics, board: &Board, table: &RoutingTable) {
    let now = Instant::now();
    let mut targets = Vec::new();
    for (provider, account) in board.providers() {
        for (model, standing) in account.targets() {
            // A model that somebody made up is no label.
            if !table.names(&provider, &model) {
                continue;
            }
            let state = standing.breaker.peek(now).state;
            targets.push((Arc::clone(&provider), model, state));
        }
    }
    let mut best: BTreeMap<(Arc<str>, String), State> = BTreeMap::new();
    for (name, provider) in &table.providers {
        for (address, _) in provider.pool.health() {
            let state = address.breaker.peek(now).state;
            let key = (Arc::clone(name), address.origin.url.clone());
            let known = best.entry(key).or_insert(state);
            if state.severity() < known.severity() {
                *known = state;
            }
        }
    }
    metrics.failover.show_breakers(
        targets.iter().map(|(p, m, state)| (&**p, &**m, *state)),
        best.iter()
            .map(|((p, url), state)| (&**p, url.as_str(), *state)),
    );
}
