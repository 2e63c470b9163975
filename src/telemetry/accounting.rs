//! Metrics of what is used, what it costs, what is left, and how well it is
//! written down. Declared and kept as [`super::Metrics`] says: no label ever
//! names a key, a user or a tag, of which clients can make any number.

use super::metrics::{Declare, Known, with};
use super::record::Record;
use crate::admission::{Condition, Refusal, Remaining, Why};
use crate::ledger::{Health, UsageSource};
use crate::units::Measure;
use prometheus::{Error, Gauge, IntCounterVec, IntGauge, IntGaugeVec};

/// The label of limits that are a single key's.
const KEYS: &str = "key";

/// What tokens are counted as.
const KINDS: [&str; 5] = ["input", "output", "cached", "cache_write", "reasoning"];

#[derive(Debug)]
pub struct Accounting {
    cost: IntCounterVec,
    tokens: IntCounterVec,
    usage: IntCounterVec,
    unpriced: IntCounterVec,
    refusals: IntCounterVec,
    limits: IntGaugeVec,
    remaining: IntGaugeVec,
    waiting: IntGaugeVec,
    ledger_queued: IntGauge,
    ledger_lag: Gauge,
    ledger_failing: IntGauge,
    ledger_errors: IntGauge,
    ledger_refused: IntGauge,
    clock: Gauge,
    store: Store,
}

/// The link to what a fleet shares.
#[derive(Debug, Clone)]
struct Store {
    up: IntGaugeVec,
    losses: IntGaugeVec,
    untold: IntGaugeVec,
    leases: IntGaugeVec,
}

impl Store {
    fn declare(declare: &Declare) -> Result<Self, Error> {
        Ok(Self {
            up: declare.gauges(
                "tollgate_state_store_up",
                "Whether limits are decided with the shared store (1), or without it until it \
                 answers again (0). Absent where none is shared.",
                &[],
            )?,
            losses: declare.gauges(
                "tollgate_state_store_losses",
                "How often the shared store stopped being asked since the start.",
                &[],
            )?,
            untold: declare.gauges(
                "tollgate_state_store_untold_changes",
                "Changes of counters that the shared store has not been told of.",
                &[],
            )?,
            leases: declare.gauges(
                "tollgate_state_store_leases",
                "Hard limits' counters of which this gateway may spend a share without the store.",
                &[],
            )?,
        })
    }
}

impl Accounting {
    pub(super) fn declare(declare: &Declare) -> Result<Self, Error> {
        Ok(Self {
            cost: declare.counters(
                "tollgate_cost_microdollars_total",
                "What was spent, in millionths of a US dollar: what budgets were charged.",
                &["route", "provider"],
            )?,
            tokens: declare.counters(
                "tollgate_tokens_total",
                "Tokens used. cached and cache_write are parts of input, reasoning is one of \
                 output.",
                &["route", "provider", "kind"],
            )?,
            usage: declare.counters(
                "tollgate_usage_reports_total",
                "Requests by how their tokens are known: the provider told them (provider), or \
                 they were counted here (estimated).",
                &["provider", "source"],
            )?,
            unpriced: declare.counters(
                "tollgate_unpriced_requests_total",
                "Requests that used something for which no price is known.",
                &["provider"],
            )?,
            refusals: declare.counters(
                "tollgate_limit_refusals_total",
                "What a limit or budget did not allow, by the limit's name (key for those of \
                 single keys) and why: exhausted, too_large, waited, queue_full, crowded, \
                 unavailable.",
                &["limit", "reason"],
            )?,
            limits: declare.gauges(
                "tollgate_limit",
                "What a limit allows that is not counted for each of something, in its unit \
                 (millionths of a US dollar for usd).",
                &["limit", "measure"],
            )?,
            remaining: declare.gauges(
                "tollgate_limit_remaining",
                "What is left of it.",
                &["limit", "measure"],
            )?,
            waiting: declare.gauges(
                "tollgate_limit_waiting_requests",
                "Requests that wait for their turn under a limit of concurrency.",
                &["limit"],
            )?,
            ledger_queued: declare.gauge(
                "tollgate_ledger_queued_entries",
                "Entries of the ledger that are not yet written.",
            )?,
            ledger_lag: declare.fine_gauge(
                "tollgate_ledger_lag_seconds",
                "For how long the first of them has waited.",
            )?,
            ledger_failing: declare.gauge(
                "tollgate_ledger_failing",
                "Whether the ledger cannot be written at the moment (1).",
            )?,
            ledger_errors: declare.gauge(
                "tollgate_ledger_write_errors",
                "Attempts to write the ledger that failed since the start.",
            )?,
            ledger_refused: declare.gauge(
                "tollgate_ledger_refused_entries",
                "Entries that the ledger did not take since the start: a fault of the gateway's.",
            )?,
            clock: declare.fine_gauge(
                "tollgate_clock_offset_seconds",
                "How far the clock of budgets is ahead of the machine's, which somebody set.",
            )?,
            store: Store::declare(declare)?,
        })
    }

    /// Drops the series of what a reload removed.
    pub(super) fn retain(&self, known: &Known<'_>) {
        known.retain(&self.cost);
        known.retain(&self.tokens);
        known.retain(&self.usage);
        known.retain(&self.unpriced);
    }

    /// Counts a request that is settled. `record` is complete.
    pub fn settled(&self, record: &Record) {
        let (route, provider) = (record.route_label(), record.provider_label());
        with(&self.cost, &[route, provider], |cost| {
            cost.inc_by(record.cost.0);
        });
        let usage = &record.usage;
        let counts = [
            usage.prompt,
            usage.completion,
            usage.cached,
            usage.cache_write,
            usage.reasoning,
        ];
        for (kind, count) in KINDS.into_iter().zip(counts) {
            if count > 0 {
                with(&self.tokens, &[route, provider, kind], |tokens| {
                    tokens.inc_by(count);
                });
            }
        }
        if record.usage_source != UsageSource::None {
            let source = record.usage_source.name();
            with(&self.usage, &[provider, source], |usage| usage.inc());
        }
        if record.unpriced {
            with(&self.unpriced, &[provider], |unpriced| unpriced.inc());
        }
    }

    /// Counts what a limit did not allow.
    pub fn refused(&self, refusal: &Refusal) {
        let limit = label(&refusal.rule);
        let reason = refusal.why.label();
        with(&self.refusals, &[limit, reason], |refusals| refusals.inc());
    }

    /// Starts the counters of a limit at zero, so that its first refusal is a
    /// change that an alert can see.
    pub fn limit_known(&self, name: &str) {
        with(&self.refusals, &[name, Why::Exhausted.label()], |_| ());
    }

    /// Makes the gauges what they are now. `ahead`: of the clock, microseconds.
    pub fn look(&self, remaining: &[Remaining], health: &Health, ahead: i64) {
        self.limits.reset();
        self.remaining.reset();
        self.waiting.reset();
        for one in remaining {
            let allowance = one.rule.allowance;
            let labels = [&*one.rule.name, allowance.measure.name()];
            with(&self.limits, &labels, |gauge| {
                gauge.set(signed(allowance.amount));
            });
            with(&self.remaining, &labels, |gauge| {
                gauge.set(signed(one.left))
            });
            if allowance.measure == Measure::Concurrent {
                with(&self.waiting, &[&*one.rule.name], |gauge| {
                    gauge.set(signed(one.waiting as u64));
                });
            }
        }
        self.ledger_queued.set(signed(health.queued as u64));
        self.ledger_lag.set(health.oldest.as_secs_f64());
        self.ledger_failing.set(health.failing.is_some().into());
        self.ledger_errors.set(signed(health.errors));
        self.ledger_refused.set(signed(health.refused));
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact for 285 years of microseconds"
        )]
        self.clock.set(ahead as f64 / 1e6);
    }
}

impl Accounting {
    /// Makes the gauges of the shared store what they are now.
    pub fn look_at_store(&self, store: &Condition) {
        for (gauge, value) in [
            (&self.store.up, u64::from(store.is_linked)),
            (&self.store.losses, store.losses),
            (&self.store.untold, store.untold as u64),
            (&self.store.leases, store.leases as u64),
        ] {
            with(gauge, &[], |gauge| gauge.set(signed(value)));
        }
    }
}

/// A limit's label: those of single keys share one, for keys are made at runtime.
fn label(rule: &str) -> &str {
    match rule.starts_with("key:") {
        true => KEYS,
        false => rule,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Standing;
    use crate::chat::Usage;
    use crate::telemetry::Metrics;
    use crate::units::{MicroUsd, Window};

    #[test]
    fn a_settled_request_is_counted_in_all_its_kinds() {
        let metrics = Metrics::new().unwrap();
        let record = Record {
            route: Some("fast".into()),
            provider: Some("a".into()),
            usage: Usage {
                prompt: 10,
                completion: 5,
                cached: 4,
                ..Usage::default()
            },
            usage_source: UsageSource::Estimated,
            cost: MicroUsd(7),
            unpriced: true,
            ..Record::default()
        };
        metrics.accounting.settled(&record);
        metrics.accounting.settled(&record);
        let text = metrics.render();
        for line in [
            "tollgate_cost_microdollars_total{provider=\"a\",route=\"fast\"} 14",
            "tollgate_tokens_total{kind=\"input\",provider=\"a\",route=\"fast\"} 20",
            "tollgate_tokens_total{kind=\"cached\",provider=\"a\",route=\"fast\"} 8",
            "tollgate_usage_reports_total{provider=\"a\",source=\"estimated\"} 2",
            "tollgate_unpriced_requests_total{provider=\"a\"} 2",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("reasoning\""));
    }

    #[test]
    fn a_shared_store_is_shown_where_there_is_one() {
        let metrics = Metrics::new().unwrap();
        assert!(!metrics.render().contains("tollgate_state_store"));
        metrics.accounting.look_at_store(&Condition {
            is_linked: true,
            losses: 2,
            untold: 3,
            leases: 4,
        });
        let text = metrics.render();
        for line in ["up 1", "losses 2", "untold_changes 3", "leases 4"] {
            let line = format!("\ntollgate_state_store_{line}\n");
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }

    #[test]
    fn limits_of_single_keys_share_a_label() {
        let metrics = Metrics::new().unwrap();
        let refusal = |rule: &str| Refusal {
            rule: rule.into(),
            measure: Measure::Requests,
            window: Window::Total,
            limit: 1,
            left: 0,
            retry_after: None,
            why: Why::Exhausted,
            standing: Box::new(Standing::default()),
        };
        for rule in ["all", "key:a:requests:1m", "key:b:requests:1m"] {
            metrics.accounting.refused(&refusal(rule));
        }
        let text = metrics.render();
        let line = |limit: &str, n: u32| {
            format!("tollgate_limit_refusals_total{{limit=\"{limit}\",reason=\"exhausted\"}} {n}")
        };
        assert!(
            text.contains(&line("key", 2)) && text.contains(&line("all", 1)),
            "{text}"
        );
    }
}
