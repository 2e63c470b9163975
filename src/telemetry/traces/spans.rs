//! The spans of a request, from its record.
//!
//! Names are those of OpenTelemetry's semantic conventions: HTTP (1.44), and
//! GenAI (in development; `gen_ai.client.inference` of the repository
//! `semantic-conventions-genai`, 2026). What they have no name for is under
//! `tollgate.`. A record holds no prompt, no answer and no key, so a span holds
//! none; end users and tags, which it does hold, are left to the ledger.
//!
//! The request is a SERVER span under the client's, each attempt a CLIENT span
//! under the request's. Pure: the same record gives the same spans.

use crate::chat::{Operation, Usage};
use crate::ledger::UsageSource;
use crate::route::endpoint::Origin;
use crate::telemetry::record::{Attempt, AttemptOutcome, AttemptRole, Outcome, Record};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Names that the GenAI conventions give to those who speak OpenAI's format, by
/// the end of their host's name. All others are `openai`, as the conventions
/// have it for what only looks like it.
const COMPATIBLE: [(&str, &str); 7] = [
    ("groq.com", "groq"),
    ("mistral.ai", "mistral_ai"),
    ("deepseek.com", "deepseek"),
    ("x.ai", "x_ai"),
    ("perplexity.ai", "perplexity"),
    ("moonshot.ai", "moonshot_ai"),
    ("moonshot.cn", "moonshot_ai"),
];

/// The request's span and those of its attempts. None for a record that has no
/// trace.
pub(super) fn of(record: &Record, scope: &InstrumentationScope) -> Vec<SpanData> {
    let trace = record
        .trace_id
        .as_deref()
        .and_then(|id| TraceId::from_hex(id).ok());
    let own = SpanId::from_hex(&record.span.id).ok();
    let (Some(trace), Some(own)) = (trace, own) else {
        return Vec::new();
    };
    let of = Of {
        record,
        scope,
        trace,
        own,
        operation: Operation::from_path(record.path),
    };
    let attempts = record.attempts.iter().enumerate();
    let attempts = attempts.map(|(at, attempt)| of.attempt(at, attempt));
    std::iter::once(of.request()).chain(attempts).collect()
}

/// What the spans of one request share.
struct Of<'a> {
    record: &'a Record,
    scope: &'a InstrumentationScope,
    trace: TraceId,
    own: SpanId,
    operation: Option<Operation>,
}

impl Of<'_> {
    fn request(&self) -> SpanData {
        let record = self.record;
        let parent = record.span.parent.as_deref();
        let parent = parent.and_then(|id| SpanId::from_hex(id).ok());
        // Names have to be few, and a model that no route has may be anything.
        let model = record.route.as_ref().and(record.model.as_deref());
        let name = match self.operation {
            Some(operation) => named(operation, model.unwrap_or_default()),
            None if record.path == "other" => record.method.clone().into(),
            None => format!("{} {}", record.method, record.path).into(),
        };
        SpanData {
            parent_span_id: parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: parent.is_some(),
            span_kind: SpanKind::Server,
            start_time: self.after(Duration::ZERO),
            end_time: self.after(record.duration),
            attributes: self.request_attributes(),
            status: match record.outcome {
                Outcome::Ok | Outcome::ClientError | Outcome::Refused | Outcome::Canceled => {
                    Status::Unset
                }
                failed => Status::error(record.error.unwrap_or(failed.label())),
            },
            ..self.blank(self.own, name)
        }
    }

    fn request_attributes(&self) -> Vec<KeyValue> {
        let record = self.record;
        let mut all = Attributes::default();
        all.put("http.request.method", record.method.clone());
        if record.path != "other" {
            all.put("http.route", record.path);
        }
        if record.status > 0 {
            all.put("http.response.status_code", i64::from(record.status));
        }
        let version = record.protocol.split_once('/').map_or("", |(_, v)| v);
        all.put("network.protocol.version", version);
        all.count("http.request.body.size", record.request_bytes);
        all.count("http.response.body.size", record.response_bytes);
        if record.outcome != Outcome::Ok {
            all.put("error.type", record.error.unwrap_or(record.outcome.label()));
        }
        if let Some(operation) = self.operation {
            all.put("gen_ai.operation.name", operation_name(operation));
        }
        if let Some(model) = &record.model {
            all.put("gen_ai.request.model", model.clone());
        }
        if let Some(model) = &record.upstream_model {
            all.put("gen_ai.response.model", Arc::clone(model));
        }
        // The last one is who answered, if anybody did.
        let last = record.attempts.last().filter(|_| record.provider.is_some());
        if let Some(last) = last {
            all.put("gen_ai.provider.name", provider_name(last));
            all.put("tollgate.provider", Arc::clone(&last.provider));
        }
        if record.stream {
            all.put("gen_ai.request.stream", true);
            all.first_chunk(record.first_byte);
        }
        all.usage(&record.usage, record.usage_source);
        if let Some(route) = &record.route {
            all.put("tollgate.route", Arc::clone(route));
        }
        if let Some(key) = &record.key {
            all.put("tollgate.key", Arc::clone(key));
        }
        all.put("tollgate.request_id", record.request_id.clone());
        all.put("tollgate.outcome", record.outcome.label());
        all.put("tollgate.attempts", count(record.attempts.len() as u64));
        all.put("tollgate.cost_usd", record.cost.to_string());
        if record.unpriced {
            all.put("tollgate.unpriced", true);
        }
        all.0
    }

    fn attempt(&self, at: usize, attempt: &Attempt) -> SpanData {
        let name = match self.operation {
            Some(operation) => named(operation, &attempt.model),
            None => attempt.model.to_string().into(),
        };
        SpanData {
            parent_span_id: self.own,
            span_kind: SpanKind::Client,
            start_time: self.after(attempt.began),
            end_time: self.after(self.end(at, attempt)),
            attributes: self.attempt_attributes(attempt),
            status: match attempt.outcome {
                // One that another has overtaken has done nothing wrong.
                AttemptOutcome::Ok | AttemptOutcome::Canceled => Status::Unset,
                failed => Status::error(failed.label()),
            },
            ..self.blank(nth(self.own, at), name)
        }
    }

    fn attempt_attributes(&self, attempt: &Attempt) -> Vec<KeyValue> {
        let mut all = Attributes::default();
        if let Some(operation) = self.operation {
            all.put("gen_ai.operation.name", operation_name(operation));
        }
        all.put("gen_ai.provider.name", provider_name(attempt));
        all.put("gen_ai.request.model", Arc::clone(&attempt.model));
        if self.record.stream {
            all.put("gen_ai.request.stream", true);
            all.first_chunk(attempt.first_token);
        }
        all.usage(&attempt.usage, attempt.usage_source);
        if let Ok(origin) = Origin::parse(&attempt.endpoint) {
            all.put("server.address", origin.host);
            all.put("server.port", i64::from(origin.port));
        }
        if let Some(status) = attempt.status {
            all.put("http.response.status_code", i64::from(status));
        }
        if attempt.outcome != AttemptOutcome::Ok {
            all.put("error.type", attempt.outcome.label());
        }
        all.put("tollgate.provider", Arc::clone(&attempt.provider));
        all.put("tollgate.attempt.role", attempt.role.label());
        all.put("tollgate.attempt.outcome", attempt.outcome.label());
        if let Some(id) = &attempt.request_id {
            all.put("tollgate.provider_request_id", Arc::clone(id));
        }
        all.put("tollgate.cost_usd", attempt.cost.to_string());
        all.0
    }

    /// When an attempt ended, from the request's head on. One that a stream was
    /// served from went on until somebody else took over, or to the end.
    fn end(&self, at: usize, attempt: &Attempt) -> Duration {
        let ended = attempt.began + attempt.duration;
        if !self.record.stream || attempt.first_token.is_none() {
            return ended;
        }
        let mut later = self.record.attempts.iter().skip(at + 1);
        let next = later.find(|later| later.role == AttemptRole::Continue);
        let until = next.map_or(self.record.duration, |next| next.began);
        until.max(ended)
    }

    fn after(&self, time: Duration) -> SystemTime {
        let start = self.record.time;
        // Nothing outlasts the request that it was made for.
        let time = time.min(self.record.duration);
        start.checked_add(time).unwrap_or(start)
    }

    /// A span of which only the name is known.
    fn blank(&self, id: SpanId, name: Cow<'static, str>) -> SpanData {
        SpanData {
            span_context: SpanContext::new(
                self.trace,
                id,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name,
            start_time: self.record.time,
            end_time: self.record.time,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn put(&mut self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        self.0.push(KeyValue::new(key, value));
    }

    /// A number that says nothing where it is zero.
    fn count(&mut self, key: &'static str, number: u64) {
        if number > 0 {
            self.put(key, count(number));
        }
    }

    fn first_chunk(&mut self, after: Option<Duration>) {
        if let Some(after) = after {
            self.put("gen_ai.response.time_to_first_chunk", after.as_secs_f64());
        }
    }

    /// Tokens, as far as anybody has counted them.
    fn usage(&mut self, usage: &Usage, source: UsageSource) {
        if source == UsageSource::None {
            return;
        }
        self.put("gen_ai.usage.input_tokens", count(usage.prompt));
        self.put("gen_ai.usage.output_tokens", count(usage.completion));
        self.count("gen_ai.usage.cache_read.input_tokens", usage.cached);
        self.count("gen_ai.usage.cache_write.input_tokens", usage.cache_write);
        self.count("gen_ai.usage.reasoning.output_tokens", usage.reasoning);
        self.put("tollgate.usage_source", source.name());
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn named(operation: Operation, model: &str) -> Cow<'static, str> {
    match model.is_empty() {
        true => operation_name(operation).into(),
        false => format!("{} {model}", operation_name(operation)).into(),
    }
}

/// `gen_ai.operation.name`: the conventions' where they have one, else ours.
const fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::ChatCompletions | Operation::Responses | Operation::Messages => "chat",
        Operation::Completions => "text_completion",
        other => other.name(),
    }
}

/// `gen_ai.provider.name`, from the dialect that it was spoken to in.
fn provider_name(attempt: &Attempt) -> &'static str {
    match attempt.dialect {
        "azure" => "azure.ai.openai",
        "anthropic" => "anthropic",
        "gemini" => "gcp.gemini",
        "vertex" => "gcp.vertex_ai",
        "bedrock" => "aws.bedrock",
        "cohere" => "cohere",
        _ => compatible(&attempt.endpoint),
    }
}

fn compatible(endpoint: &str) -> &'static str {
    let host = Origin::parse(endpoint).map_or(String::new(), |origin| origin.host);
    let ends = |domain: &str| {
        let before = host.strip_suffix(domain);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    let known = COMPATIBLE.iter().find(|(domain, _)| ends(domain));
    known.map_or("openai", |(_, name)| name)
}

/// An id for the `at`th attempt. The request's own is random, so this is as
/// good: a bijection of it and the number (the finalizer of SplitMix64).
fn nth(own: SpanId, at: usize) -> SpanId {
    let own = u64::from_be_bytes(own.to_bytes());
    let mut id = own.wrapping_add((at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    SpanId::from_bytes((id ^ (id >> 31)).max(1).to_be_bytes())
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;
