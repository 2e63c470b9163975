//! Every metric of the gateway, declared once, with its help text.
//!
//! Label values come from the config or from closed enums, never from a
//! client: callers pass the alias and the provider that the routing table
//! names, so that no traffic can make a new series. [`Metrics::retain`] drops
//! the series of what a reload removed.

use super::accounting::Accounting;
use super::failover::Failover;
use super::process::Process;
use super::traces::Counts;
use super::{AttemptOutcome, Record};
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Error, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::collections::{HashMap, HashSet};

/// A cached answer takes milliseconds, a reasoning model minutes.
const FIRST_BYTE_SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0,
];
const DURATION_SECONDS: [f64; 15] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0,
];
const OVERHEAD_SECONDS: [f64; 13] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1,
];

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    process: Option<Process>,
    requests: IntCounterVec,
    attempts: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    overhead: Histogram,
    in_flight: IntGauge,
    connections: IntGauge,
    connections_refused: IntCounter,
    pub failover: Failover,
    pub accounting: Accounting,
    pub traces: Counts,
    endpoint_healthy: IntGaugeVec,
    reloads: IntCounterVec,
    config_version: IntGauge,
    access_log_dropped: IntCounter,
}

impl Metrics {
    /// Declares every metric in a registry of its own.
    ///
    /// # Errors
    /// Two declarations that clash: a fault of this file, not of its caller.
    pub fn new() -> Result<Self, Error> {
        let declare = Declare {
            registry: Registry::new(),
        };
        let metrics = Self {
            process: Process::register(&declare.registry)?,
            requests: declare.counters(
                "tollgate_requests_total",
                "Requests by the model alias asked for, the provider that answered or was tried \
                 last, and how they ended.",
                &["route", "provider", "outcome"],
            )?,
            attempts: declare.counters(
                "tollgate_attempts_total",
                "Attempts at a provider, by how they ended. A request may need several.",
                &["provider", "outcome"],
            )?,
            duration: declare.histograms(
                "tollgate_request_duration_seconds",
                "From a request's head to the end of its answer.",
                &["route"],
                &DURATION_SECONDS,
            )?,
            first_byte: declare.histograms(
                "tollgate_first_byte_seconds",
                "From a request's head to the first body byte of its answer.",
                &["route", "provider"],
                &FIRST_BYTE_SECONDS,
            )?,
            overhead: declare.histogram(
                "tollgate_overhead_seconds",
                "Time of an answered request that was spent neither waiting for a provider nor \
                 for the client.",
                &OVERHEAD_SECONDS,
            )?,
            in_flight: declare.gauge(
                "tollgate_in_flight_requests",
                "Requests being worked on now.",
            )?,
            connections: declare.gauge("tollgate_connections", "Client connections open now.")?,
            connections_refused: declare.counter(
                "tollgate_connections_refused_total",
                "Client connections closed at once because too many were open.",
            )?,
            failover: Failover::declare(&declare)?,
            accounting: Accounting::declare(&declare)?,
            traces: Counts::declare(&declare)?,
            endpoint_healthy: declare.gauges(
                "tollgate_endpoint_healthy",
                "Whether an endpoint is in use (1) or taken out by its health checks (0).",
                &["provider", "endpoint"],
            )?,
            reloads: declare.counters(
                "tollgate_config_reload_total",
                "Attempts to load the config again, by result. After an error the old one serves.",
                &["result"],
            )?,
            config_version: declare.gauge(
                "tollgate_config_version",
                "Number of the routing table in use: 1 at the start, one more at each reload.",
            )?,
            access_log_dropped: declare.counter(
                "tollgate_access_log_dropped_total",
                "Access log lines lost because their output was full, slow or closed.",
            )?,
            registry: declare.registry.clone(),
        };
        declare.build_info()?;
        // A counter that appears with its first error cannot be alerted on:
        // rate() needs the zero before it.
        for result in ["ok", "error"] {
            metrics.reloads.get_metric_with_label_values(&[result])?;
        }
        Ok(metrics)
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        if let Some(process) = &self.process {
            process.refresh();
        }
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|error| {
                ::log::error!(error:%; "metrics not rendered");
                String::new()
            })
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn in_flight(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// Requests in flight now.
    pub fn in_flight_now(&self) -> usize {
        usize::try_from(self.in_flight.get()).unwrap_or(0)
    }

    /// Counts a client connection as open until the guard is dropped.
    pub fn connection(&self) -> Counted {
        Counted::new(&self.connections)
    }

    /// Client connections open now.
    pub fn connections_now(&self) -> usize {
        usize::try_from(self.connections.get()).unwrap_or(0)
    }

    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Counts a settled request. Its attempts are not counted here: they were
    /// by [`Self::attempt_finished`], each when it ended.
    pub fn request_finished(&self, record: &Record) {
        let (route, provider) = (record.route_label(), record.provider_label());
        let outcome = record.outcome.label();
        with(&self.requests, &[route, provider, outcome], |requests| {
            requests.inc()
        });
        with(&self.duration, &[route], |h| {
            h.observe(record.duration.as_secs_f64())
        });
        if let Some(first_byte) = record.first_byte {
            with(&self.first_byte, &[route, provider], |h| {
                h.observe(first_byte.as_secs_f64())
            });
        }
        // Refusals and failures would drown the number that matters: what a
        // request pays for going through the gateway.
        if record.outcome == super::Outcome::Ok && !record.attempts.is_empty() {
            self.overhead.observe(record.overhead().as_secs_f64());
        }
    }

    pub fn attempt_finished(&self, provider: &str, outcome: AttemptOutcome) {
        with(&self.attempts, &[provider, outcome.label()], |attempts| {
            attempts.inc()
        });
    }

    /// Counts an attempt to load the config again.
    pub fn reload(&self, ok: bool) {
        with(
            &self.reloads,
            &[if ok { "ok" } else { "error" }],
            |reloads| reloads.inc(),
        );
    }

    /// Tells which routing table is in use.
    pub fn config_version(&self, version: u64) {
        self.config_version
            .set(i64::try_from(version).unwrap_or(i64::MAX));
    }

    pub fn endpoint_healthy(&self, provider: &str, endpoint: &str, healthy: bool) {
        with(&self.endpoint_healthy, &[provider, endpoint], |g| {
            g.set(i64::from(healthy))
        });
    }

    /// Drops the series of an endpoint that its provider no longer has.
    pub fn forget_endpoint(&self, provider: &str, endpoint: &str) {
        // An error says that there was no such series.
        let _ = self
            .endpoint_healthy
            .remove_label_values(&[provider, endpoint]);
    }

    /// Counts `lines` that the access log lost.
    pub fn access_log_dropped(&self, lines: u64) {
        self.access_log_dropped.inc_by(lines);
    }

    /// Drops every series of a route or provider that is not named, after a
    /// reload. Requests that are still in flight under the old table may bring
    /// single ones back; the next reload takes them away again.
    pub fn retain<'a>(
        &self,
        routes: impl IntoIterator<Item = &'a str>,
        providers: impl IntoIterator<Item = &'a str>,
    ) {
        let known = Known {
            routes: routes.into_iter().chain([super::NONE]).collect(),
            providers: providers.into_iter().chain([super::NONE]).collect(),
        };
        known.retain(&self.requests);
        known.retain(&self.attempts);
        known.retain(&self.duration);
        known.retain(&self.first_byte);
        self.failover.retain(&known);
        self.accounting.retain(&known);
        known.retain(&self.endpoint_healthy);
    }
}

/// Holds a gauge one higher while it lives.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Runs `f` on the series with these label values. The only error there is, a
/// wrong number of values, is one of this file and shows in its tests.
pub(super) fn with<T: MetricVecBuilder, const N: usize>(
    series: &MetricVec<T>,
    values: &[&str; N],
    f: impl FnOnce(T::M),
) {
    if let Ok(metric) = series.get_metric_with_label_values(values) {
        f(metric);
    }
}

pub(super) struct Known<'a> {
    routes: HashSet<&'a str>,
    providers: HashSet<&'a str>,
}

impl Known<'_> {
    pub(super) fn retain<T: MetricVecBuilder>(&self, series: &MetricVec<T>) {
        for family in series.collect() {
            for metric in family.get_metric() {
                let labels: HashMap<&str, &str> = metric
                    .get_label()
                    .iter()
                    .map(|label| (label.name(), label.value()))
                    .collect();
                if !self.has(&labels) {
                    // An error says that somebody else has removed it.
                    let _ = series.remove(&labels);
                }
            }
        }
    }

    fn has(&self, labels: &HashMap<&str, &str>) -> bool {
        let known = |name, set: &HashSet<&str>| labels.get(name).is_none_or(|v| set.contains(v));
        known("route", &self.routes) && known("provider", &self.providers)
    }
}

/// Makes a metric and registers it, in one step, so that none is forgotten.
pub(super) struct Declare {
    registry: Registry,
}

impl Declare {
    fn add<C: Collector + Clone + 'static>(&self, metric: Result<C, Error>) -> Result<C, Error> {
        let metric = metric?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.add(IntCounter::new(name, help))
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.add(IntGauge::new(name, help))
    }

    pub(super) fn fine_gauge(&self, name: &str, help: &str) -> Result<Gauge, Error> {
        self.add(Gauge::new(name, help))
    }

    pub(super) fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(options))
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, labels))
    }

    fn build_info(&self) -> Result<(), Error> {
        let options = Opts::new(
            "tollgate_build_info",
            "Always 1; the build is in the labels.",
        );
        let info = self.add(GaugeVec::new(options, &["version", "commit"]))?;
        let commit = option_env!("TOLLGATE_COMMIT").unwrap_or("unknown");
        info.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION"), commit])?
            .set(1.0);
        Ok(())
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
