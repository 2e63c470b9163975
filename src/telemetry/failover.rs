//! Metrics of failover: alarms, retries, hedges, breakers, what was left out of
//! streams. Declared and kept as [`super::Metrics`] says.

use super::metrics::{Declare, Known, with};
use crate::route::breaker::State;
use crate::route::fault::Alarm;
use prometheus::{Error, IntCounterVec, IntGaugeVec};

#[derive(Debug)]
pub struct Failover {
    alarms: IntCounterVec,
    retries_refused: IntCounterVec,
    hedges: IntCounterVec,
    breakers: IntGaugeVec,
    endpoint_breakers: IntGaugeVec,
    malformed_events: IntCounterVec,
    stream_breaks: IntCounterVec,
}

impl Failover {
    pub(super) fn declare(declare: &Declare) -> Result<Self, Error> {
        Ok(Self {
            alarms: declare.counters(
                "tollgate_provider_alarms_total",
                "Attempts that a provider refused for something that the operator has to mend: \
                 the credential, the account's credit (payment), a model that it does not have.",
                &["provider", "reason"],
            )?,
            retries_refused: declare.counters(
                "tollgate_retries_refused_total",
                "Retries that were not made because the provider's retry_budget was used up.",
                &["provider"],
            )?,
            hedges: declare.counters(
                "tollgate_hedges_total",
                "Requests for which a second target was asked beside a slow one, by which of \
                 them was heard: the second (won) or the first (lost).",
                &["route", "result"],
            )?,
            breakers: declare.gauges(
                "tollgate_target_breaker",
                "State of a model's breaker at a provider: 0 closed (in use), 1 half open (one \
                 request tries it), 2 open (left alone).",
                &["provider", "model"],
            )?,
            endpoint_breakers: declare.gauges(
                "tollgate_endpoint_breaker",
                "State of an endpoint's breaker, as of tollgate_target_breaker.",
                &["provider", "endpoint"],
            )?,
            malformed_events: declare.counters(
                "tollgate_malformed_events_total",
                "Events of streams that could not be read and were left out.",
                &["provider"],
            )?,
            stream_breaks: declare.counters(
                "tollgate_stream_breaks_total",
                "Streams that a provider broke off after their first content, by what the client \
                 got: another target went on (continued), or an error (told).",
                &["provider", "result"],
            )?,
        })
    }

    /// Drops the series of what a reload removed.
    pub(super) fn retain(&self, known: &Known<'_>) {
        known.retain(&self.alarms);
        known.retain(&self.retries_refused);
        known.retain(&self.hedges);
        known.retain(&self.malformed_events);
        known.retain(&self.stream_breaks);
    }

    /// Counts what a provider refused and the operator has to mend.
    pub fn provider_alarm(&self, provider: &str, alarm: Alarm) {
        with(&self.alarms, &[provider, alarm.label()], |alarms| {
            alarms.inc()
        });
    }

    /// Counts an event of a stream that could not be read.
    pub fn malformed_event(&self, provider: &str) {
        with(&self.malformed_events, &[provider], |events| events.inc());
    }

    /// Starts the counters of a provider at zero, so that its first failure is
    /// a change that an alert can see. Call it for every provider of a new
    /// table.
    pub fn provider_known(&self, provider: &str) {
        for alarm in Alarm::ALL {
            with(&self.alarms, &[provider, alarm.label()], |_| ());
        }
        with(&self.retries_refused, &[provider], |_| ());
    }

    /// Counts a retry that its provider's budget did not allow.
    pub fn retry_refused(&self, provider: &str) {
        with(&self.retries_refused, &[provider], |refused| refused.inc());
    }

    /// Counts a stream that `provider` broke off.
    pub fn stream_broke(&self, provider: &str, continued: bool) {
        let result = if continued { "continued" } else { "told" };
        with(&self.stream_breaks, &[provider, result], |breaks| {
            breaks.inc()
        });
    }

    /// Counts a request that was hedged.
    pub fn hedged(&self, route: &str, won: bool) {
        let result = if won { "won" } else { "lost" };
        with(&self.hedges, &[route, result], |hedges| hedges.inc());
    }

    /// Shows the breakers of models, and of endpoints, as they are now: those
    /// that are not named are gone.
    pub fn show_breakers<'a>(
        &self,
        targets: impl IntoIterator<Item = (&'a str, &'a str, State)>,
        endpoints: impl IntoIterator<Item = (&'a str, &'a str, State)>,
    ) {
        self.breakers.reset();
        for (provider, model, state) in targets {
            with(&self.breakers, &[provider, model], |g| {
                g.set(state.severity().into())
            });
        }
        self.endpoint_breakers.reset();
        for (provider, endpoint, state) in endpoints {
            with(&self.endpoint_breakers, &[provider, endpoint], |g| {
                g.set(state.severity().into());
            });
        }
    }
}
