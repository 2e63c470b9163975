//! A copy of a route's policy over the drill's own provider, as a config.
//!
//! Everything that decides what becomes of a failure is the operator's: the
//! route's keys, and its providers' timeouts, breakers and retry budgets. What
//! would reach somebody is not: no credential, no header, no address of the
//! operator's is in the copy. Each row has an alias and providers of its own,
//! so that one row's breaker is no other row's.

use super::catalogue::Row;
use super::fault::Fault;
use super::policy::{others, same};
use super::provider::Side;
use crate::config::{
    AccessLog, Admin, Config, Dialect, Hash, Ledger, Limits, Listen, Log, Model, Output, Provider,
    Server, Strategy, TargetName, Times,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Where everybody is.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub provider: SocketAddr,
    /// Where connecting is refused.
    pub closed: SocketAddr,
}

/// The text of a config for the drill of `route`, which one key may use; `None`
/// when there is no such route, or it has no targets.
pub fn copy(
    config: &Config,
    route: &str,
    rows: &[Row],
    places: Places,
    key: Hash,
) -> Option<String> {
    let model = config.models.get(route)?;
    let first = config.providers.get(&model.targets.first()?.provider)?;
    let second = others(model).find_map(|target| config.providers.get(&target.provider));
    let mut providers = BTreeMap::new();
    let mut models = BTreeMap::new();
    for row in rows {
        for (side, original) in [(Side::Primary, Some(first)), (Side::Fallback, second)] {
            if let Some(original) = original {
                providers.insert(named(side, row), provider(original, side, row, places));
            }
        }
        models.insert(row.model(), rerouted(model, row));
    }
    let copied = Config {
        server: Server {
            threads: 0,
            grace_period: Duration::from_secs(1),
        },
        listen: vec![Listen {
            address: places.listen,
            ..Listen::default()
        }],
        admin: Admin {
            listen: places.admin,
            ..Admin::default()
        },
        demo: None,
        log: Log::default(),
        access_log: AccessLog {
            output: Output::Off,
        },
        // Those that decide about answers. What bounds the clients' side would
        // only be in the way of asking everything at once.
        limits: Limits {
            response: config.limits.response,
            event: config.limits.event,
            ..Limits::default()
        },
        times: Times {
            request: config.times.request,
            ..Times::default()
        },
        providers,
        models,
        ledger: Ledger {
            path: Some(":memory:".into()),
            ..Ledger::default()
        },
        // No limits, no store, no traces: those are not what is rehearsed.
        ..Config::default()
    };
    // A hash is masked when it is written, so that the key comes by itself.
    let text = toml::to_string(&copied).ok()?;
    Some(format!(
        "{text}\n[keys.drill]\nhash = \"{}\"\n",
        key.notation()
    ))
}

fn named(side: Side, row: &Row) -> String {
    format!("{}-{}", side.name(), row.name)
}

/// A provider of the drill's with the limits of one of the operator's.
fn provider(original: &Provider, side: Side, row: &Row, places: Places) -> Provider {
    let address = match (side, row.fault) {
        (Side::Primary, Fault::Refuse) => places.closed,
        _ => places.provider,
    };
    Provider {
        dialect: Dialect::OpenAi,
        base_url: Some(format!("http://{address}/{}/{}/v1", side.name(), row.name)),
        base_urls: Vec::new(),
        credential: None,
        aws: None,
        google: None,
        optional: false,
        headers: BTreeMap::new(),
        balance: original.balance,
        http: Default::default(),
        models: vec!["*".to_owned()],
        timeouts: original.timeouts.clone(),
        health_check: Default::default(),
        ca: None,
        options: BTreeMap::new(),
        self_hosted: false,
        breaker: original.breaker.clone(),
        retry_budget: original.retry_budget,
    }
}

/// The route with its targets on the drill's providers: the first on the one
/// that fails, every other on the one that does not.
fn rerouted(model: &Model, row: &Row) -> Model {
    let first = model.targets.first();
    let there = |side: Side, model: &str| TargetName {
        provider: named(side, row),
        model: model.to_owned(),
        weight: 1,
    };
    let list = |written: &[TargetName]| {
        let mut list: Vec<TargetName> = Vec::new();
        for target in written {
            let target = match first {
                Some(first) if same(first, target) => there(Side::Primary, "drill-a"),
                _ => there(Side::Fallback, "drill-b"),
            };
            // Several that are one here stand once.
            if !list.contains(&target) {
                list.push(target);
            }
        }
        list
    };
    let targets = list(&model.targets);
    let new = |written: &[TargetName]| {
        let mut list = list(written);
        list.retain(|target| !targets.contains(target));
        list
    };
    Model {
        strategy: Strategy::Ordered,
        fallbacks: new(&model.fallbacks),
        on_error: model.on_error.as_deref().map(new),
        on_rate_limit: model.on_rate_limit.as_deref().map(new),
        on_context_length: model.on_context_length.as_deref().map(list),
        on_content_policy: model.on_content_policy.as_deref().map(list),
        targets: targets.clone(),
        ..model.clone()
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
