//! The schema of the access log: one [`Record`] as one JSON object.

use super::{
    Attempt, AttemptOutcome, AttemptRole, MODEL_CHARS, Outcome, Record, capped, timestamp,
};
use crate::units::MicroUsd;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// The line as it is written. Every field is always there, absent values as
/// `null`, so that a reader needs no second schema.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    #[serde(serialize_with = "rfc3339")]
    time: SystemTime,
    request_id: &'a str,
    trace_id: Option<&'a str>,
    client: Option<SocketAddr>,
    protocol: &'a str,
    method: &'a str,
    path: &'a str,
    route: Option<&'a str>,
    rule: Option<&'a str>,
    decision: Option<&'a str>,
    key: Option<&'a str>,
    metadata: &'a BTreeMap<String, String>,
    tags: &'a BTreeMap<String, String>,
    model: Option<&'a str>,
    provider: Option<&'a str>,
    upstream_model: Option<&'a str>,
    attempts: Vec<AttemptLine<'a>>,
    status: u16,
    outcome: Outcome,
    error: Option<&'a str>,
    stream: bool,
    request_bytes: u64,
    response_bytes: u64,
    duration_ms: f64,
    first_byte_ms: Option<f64>,
    upstream_ms: f64,
    overhead_ms: f64,
    malformed_events: u64,
    input_tokens: u64,
    output_tokens: u64,
    usage_source: &'static str,
    /// Dollars.
    cost_usd: MicroUsd,
    unpriced: bool,
}

#[derive(Serialize)]
struct AttemptLine<'a> {
    provider: &'a str,
    model: &'a str,
    endpoint: &'a str,
    role: AttemptRole,
    outcome: AttemptOutcome,
    status: Option<u16>,
    request_id: Option<&'a str>,
    duration_ms: f64,
    first_token_ms: Option<f64>,
    cost_usd: MicroUsd,
}

impl<'a> From<&'a Record> for Line<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            time: record.time,
            request_id: capped(&record.request_id, 128),
            trace_id: record.trace_id.as_deref().map(|id| capped(id, 32)),
            client: record.client,
            protocol: record.protocol,
            method: capped(&record.method, 32),
            path: record.path,
            route: record.route.as_deref(),
            rule: record.rule.as_deref(),
            decision: record.decision.as_deref(),
            key: record.key.as_deref(),
            metadata: &record.metadata,
            tags: &record.tags,
            model: record
                .model
                .as_deref()
                .map(|model| capped(model, MODEL_CHARS)),
            provider: record.provider.as_deref(),
            upstream_model: record.upstream_model.as_deref(),
            attempts: record.attempts.iter().map(AttemptLine::from).collect(),
            status: record.status,
            outcome: record.outcome,
            error: record.error,
            stream: record.stream,
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            duration_ms: milliseconds(record.duration),
            first_byte_ms: record.first_byte.map(milliseconds),
            upstream_ms: milliseconds(record.upstream_time),
            overhead_ms: milliseconds(record.overhead()),
            malformed_events: record.malformed_events,
            input_tokens: record.usage.prompt,
            output_tokens: record.usage.completion,
            usage_source: record.usage_source.name(),
            cost_usd: record.cost,
            unpriced: record.unpriced,
        }
    }
}

impl<'a> From<&'a Attempt> for AttemptLine<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            provider: &attempt.provider,
            model: capped(&attempt.model, MODEL_CHARS),
            endpoint: &attempt.endpoint,
            role: attempt.role,
            outcome: attempt.outcome,
            status: attempt.status,
            request_id: attempt.request_id.as_deref().map(|id| capped(id, 128)),
            duration_ms: milliseconds(attempt.duration),
            first_token_ms: attempt.first_token.map(milliseconds),
            cost_usd: attempt.cost,
        }
    }
}

/// Microseconds are as fine as the clock is worth, and keep the digits few.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&timestamp(*time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Usage;
    use crate::ledger::UsageSource;
    use crate::telemetry::{Span, json_line};
    use serde_json::{Value, json};
    use std::sync::Arc;

    #[test]
    fn a_line_tells_the_whole_request() {
        let attempt = |provider: &str, outcome, status: Option<u16>| Attempt {
            provider: provider.into(),
            model: "gpt-5-mini".into(),
            endpoint: "https://a/v1".into(),
            outcome,
            status,
            request_id: status.map(|_| "up-1".into()),
            role: if status.is_some() {
                AttemptRole::Fallback
            } else {
                AttemptRole::First
            },
            duration: Duration::from_micros(1500),
            first_token: status.map(|_| Duration::from_micros(1400)),
            ..Attempt::new(AttemptRole::First)
        };
        let record = Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_900_000_123),
            request_id: "req-1".into(),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
            span: Span::default(),
            client: Some("[::1]:4000".parse().unwrap()),
            protocol: "HTTP/2",
            method: "POST".into(),
            path: "/v1/chat/completions",
            route: Some("fast".into()),
            rule: Some("simple".into()),
            decision: Some("rule=simple".into()),
            features: None,
            key: Some("search".into()),
            metadata: Arc::new([("team".to_owned(), "search".to_owned())].into()),
            user: Some("8473".into()),
            tags: Arc::new([("feature".to_owned(), "a".to_owned())].into()),
            model: Some("fast".into()),
            provider: Some("openai".into()),
            upstream_model: Some("gpt-5-mini".into()),
            attempts: vec![
                attempt("groq", AttemptOutcome::ConnectFailed, None),
                attempt("openai", AttemptOutcome::Ok, Some(200)),
            ],
            status: 200,
            outcome: Outcome::Ok,
            error: None,
            stream: true,
            request_bytes: 12,
            response_bytes: 345,
            duration: Duration::from_micros(20_000),
            first_byte: Some(Duration::from_micros(9_001)),
            upstream_time: Duration::from_micros(19_000),
            client_time: Duration::from_micros(900),
            malformed_events: 2,
            usage: Usage {
                prompt: 7,
                completion: 3,
                ..Usage::default()
            },
            usage_source: UsageSource::Provider,
            cost: MicroUsd(1_250),
            unpriced: false,
        };
        let line: Value =
            serde_json::from_slice(&json_line(&Line::from(&record)).unwrap()).unwrap();
        let want = json!({
            "time": "2025-11-23T12:13:20.123Z",
            "request_id": "req-1",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "client": "[::1]:4000",
            "protocol": "HTTP/2",
            "method": "POST",
            "path": "/v1/chat/completions",
            "route": "fast",
            "rule": "simple",
            "decision": "rule=simple",
            "key": "search",
            "metadata": {"team": "search"},
            "tags": {"feature": "a"},
            "model": "fast",
            "provider": "openai",
            "upstream_model": "gpt-5-mini",
            "attempts": [
                {"provider": "groq", "model": "gpt-5-mini", "endpoint": "https://a/v1",
                 "role": "first", "outcome": "connect_failed", "status": null, "request_id": null,
                 "duration_ms": 1.5, "first_token_ms": null, "cost_usd": "0.000000"},
                {"provider": "openai", "model": "gpt-5-mini", "endpoint": "https://a/v1",
                 "role": "fallback", "outcome": "ok", "status": 200, "request_id": "up-1",
                 "duration_ms": 1.5, "first_token_ms": 1.4, "cost_usd": "0.000000"},
            ],
            "status": 200,
            "outcome": "ok",
            "error": null,
            "stream": true,
            "request_bytes": 12,
            "response_bytes": 345,
            "duration_ms": 20.0,
            "first_byte_ms": 9.001,
            "upstream_ms": 19.0,
            "overhead_ms": 0.1,
            "malformed_events": 2,
            "input_tokens": 7,
            "output_tokens": 3,
            "usage_source": "provider",
            "cost_usd": "0.001250",
            "unpriced": false,
        });
        assert_eq!(line, want);
    }

    #[test]
    fn what_a_client_wrote_is_short_and_harmless() {
        let record = Record {
            model: Some(format!("\n{{\"x\":1}}\u{1b}[2J{}", "é".repeat(10_000))),
            method: "M".repeat(10_000),
            request_id: "i".repeat(10_000),
            ..Record::default()
        };
        let line = String::from_utf8(json_line(&Line::from(&record)).unwrap()).unwrap();
        assert!(line.len() < 2_000, "{}", line.len());
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\u{1b}'));
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["model"].as_str().unwrap().chars().count(), MODEL_CHARS);
    }
}
