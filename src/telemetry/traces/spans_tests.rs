use super::*;
use crate::telemetry::Span;
use crate::units::MicroUsd;
use std::collections::BTreeMap;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn attempt(provider: &str, outcome: AttemptOutcome, began: u64, duration: u64) -> Attempt {
    Attempt {
        provider: provider.into(),
        dialect: "anthropic",
        model: "claude-x".into(),
        endpoint: "https://api.example:8443/v1".into(),
        outcome,
        began: Duration::from_millis(began),
        duration: Duration::from_millis(duration),
        ..Attempt::new(AttemptRole::First)
    }
}

fn record() -> Record {
    Record {
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
        request_id: "req-1".into(),
        trace_id: Some(TRACE.into()),
        span: Span {
            id: "00f067aa0ba902b7".into(),
            parent: Some("1111111111111111".into()),
            sampled: true,
        },
        method: "POST".into(),
        path: "/v1/chat/completions",
        route: Some("fast".into()),
        key: Some("search".into()),
        user: Some("canary-user".into()),
        tags: Arc::new([("feature".to_owned(), "canary-tag".to_owned())].into()),
        model: Some("fast".into()),
        provider: Some("b".into()),
        upstream_model: Some("claude-x".into()),
        status: 200,
        outcome: Outcome::Ok,
        duration: Duration::from_secs(3),
        ..Record::default()
    }
}

fn spans(record: &Record) -> Vec<SpanData> {
    of(record, &InstrumentationScope::builder("test").build())
}

fn attributes(span: &SpanData) -> BTreeMap<String, String> {
    let all = span.attributes.iter();
    let all: BTreeMap<_, _> = all
        .map(|kv| (kv.key.to_string(), kv.value.to_string()))
        .collect();
    assert_eq!(all.len(), span.attributes.len(), "a key stands there twice");
    all
}

fn at(span: &SpanData) -> (u128, u128) {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let millis = |time: SystemTime| time.duration_since(start).unwrap().as_millis();
    (millis(span.start_time), millis(span.end_time))
}

#[test]
fn a_request_is_a_server_span_under_the_clients() {
    let record = Record {
        usage: Usage {
            prompt: 100,
            completion: 20,
            cached: 60,
            reasoning: 5,
            ..Usage::default()
        },
        usage_source: UsageSource::Provider,
        cost: MicroUsd(1_250),
        attempts: vec![attempt("b", AttemptOutcome::Ok, 10, 2_000)],
        ..record()
    };
    let spans = spans(&record);
    assert_eq!(spans.len(), 2);
    let span = &spans[0];
    assert_eq!(span.name, "chat fast");
    assert_eq!(span.span_kind, SpanKind::Server);
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.span_context.span_id().to_string(), "00f067aa0ba902b7");
    assert_eq!(span.parent_span_id.to_string(), "1111111111111111");
    assert!(span.parent_span_is_remote);
    assert_eq!(span.status, Status::Unset);
    assert_eq!(at(span), (0, 3_000));
    let want = [
        ("http.request.method", "POST"),
        ("http.route", "/v1/chat/completions"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "fast"),
        ("gen_ai.response.model", "claude-x"),
        ("gen_ai.provider.name", "anthropic"),
        ("gen_ai.usage.input_tokens", "100"),
        ("gen_ai.usage.output_tokens", "20"),
        ("gen_ai.usage.cache_read.input_tokens", "60"),
        ("gen_ai.usage.reasoning.output_tokens", "5"),
        ("tollgate.usage_source", "provider"),
        ("tollgate.provider", "b"),
        ("tollgate.route", "fast"),
        ("tollgate.key", "search"),
        ("tollgate.request_id", "req-1"),
        ("tollgate.outcome", "ok"),
        ("tollgate.attempts", "1"),
        ("tollgate.cost_usd", "0.001250"),
    ];
    let want: BTreeMap<_, _> = want
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    assert_eq!(attributes(span), want);
}

#[test]
fn each_attempt_is_a_client_span_under_the_requests() {
    let failed = Attempt {
        status: Some(503),
        ..attempt("a", AttemptOutcome::ServerError, 10, 100)
    };
    let served = Attempt {
        status: Some(200),
        request_id: Some("up-7".into()),
        role: AttemptRole::Fallback,
        usage_source: UsageSource::Estimated,
        ..attempt("b", AttemptOutcome::Ok, 120, 80)
    };
    let spans = spans(&Record {
        attempts: vec![failed, served],
        ..record()
    });
    let [request, failed, served] = &spans[..] else {
        panic!("{spans:?}")
    };
    for span in [failed, served] {
        assert_eq!(span.name, "chat claude-x");
        assert_eq!(span.span_kind, SpanKind::Client);
        assert_eq!(span.parent_span_id, request.span_context.span_id());
        assert!(!span.parent_span_is_remote);
        assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    }
    assert_ne!(failed.span_context.span_id(), served.span_context.span_id());
    assert_eq!((at(failed), at(served)), ((10, 110), (120, 200)));
    assert_eq!(failed.status, Status::error("server_error"));
    let all = attributes(failed);
    assert_eq!(all["error.type"], "server_error");
    assert_eq!(all["http.response.status_code"], "503");
    assert_eq!(all["tollgate.attempt.role"], "first");
    assert!(!all.contains_key("gen_ai.usage.input_tokens"), "{all:?}");
    let all = attributes(served);
    for (key, value) in [
        ("gen_ai.provider.name", "anthropic"),
        ("gen_ai.request.model", "claude-x"),
        ("gen_ai.usage.input_tokens", "0"),
        ("server.address", "api.example"),
        ("server.port", "8443"),
        ("tollgate.provider", "b"),
        ("tollgate.attempt.role", "fallback"),
        ("tollgate.attempt.outcome", "ok"),
        ("tollgate.provider_request_id", "up-7"),
        ("tollgate.cost_usd", "0.000000"),
    ] {
        assert_eq!(all[key], value, "{key}");
    }
    assert!(!all.contains_key("error.type"));
}

#[test]
fn a_stream_is_served_until_somebody_goes_on_with_it_or_it_ends() {
    let served = |outcome, role, began| Attempt {
        role,
        first_token: Some(Duration::from_millis(250)),
        ..attempt("a", outcome, began, 250)
    };
    let spans = spans(&Record {
        stream: true,
        first_byte: Some(Duration::from_millis(300)),
        attempts: vec![
            served(AttemptOutcome::Truncated, AttemptRole::First, 0),
            served(AttemptOutcome::Ok, AttemptRole::Continue, 1_500),
        ],
        ..record()
    });
    assert_eq!(at(&spans[1]), (0, 1_500));
    assert_eq!(at(&spans[2]), (1_500, 3_000));
    let all = attributes(&spans[2]);
    assert_eq!(all["gen_ai.request.stream"], "true");
    assert_eq!(all["gen_ai.response.time_to_first_chunk"], "0.25");
    assert_eq!(
        attributes(&spans[0])["gen_ai.response.time_to_first_chunk"],
        "0.3"
    );
}

#[test]
fn only_what_is_the_gateways_or_a_providers_fault_is_an_error() {
    for (outcome, error, status) in [
        (Outcome::ClientError, Some("invalid_json"), Status::Unset),
        (Outcome::Refused, Some("budget_exceeded"), Status::Unset),
        (Outcome::Canceled, None, Status::Unset),
        (
            Outcome::Timeout,
            Some("deadline_exceeded"),
            Status::error("deadline_exceeded"),
        ),
        (Outcome::Truncated, None, Status::error("truncated")),
        (Outcome::Internal, None, Status::error("internal")),
    ] {
        let spans = spans(&Record {
            outcome,
            error,
            ..record()
        });
        assert_eq!(spans[0].status, status, "{outcome:?}");
        let told = error.unwrap_or(outcome.label());
        assert_eq!(attributes(&spans[0])["error.type"], told);
    }
}

#[test]
fn names_are_few() {
    let name = |path, method: &str, route: Option<&str>| {
        let spans = spans(&Record {
            path,
            method: method.into(),
            route: route.map(Into::into),
            model: Some("whatever a client says".into()),
            ..record()
        });
        spans[0].name.to_string()
    };
    assert_eq!(name("/v1/embeddings", "POST", None), "embeddings");
    assert_eq!(name("/v1/models", "GET", None), "GET /v1/models");
    assert_eq!(name("other", "GET", None), "GET");
}

#[test]
fn providers_have_the_names_of_the_conventions() {
    let name = |dialect, endpoint: &str| {
        provider_name(&Attempt {
            dialect,
            endpoint: endpoint.into(),
            ..Attempt::new(AttemptRole::First)
        })
    };
    for (dialect, endpoint, want) in [
        ("openai", "https://api.openai.com/v1", "openai"),
        ("openai", "https://api.groq.com/openai/v1", "groq"),
        ("openai", "https://api.x.ai/v1", "x_ai"),
        ("openai", "https://api.not-x.ai/v1", "openai"),
        ("openai", "http://10.0.0.7:8000", "openai"),
        ("azure", "https://x.openai.azure.com", "azure.ai.openai"),
        (
            "bedrock",
            "https://bedrock-runtime.eu.amazonaws.com",
            "aws.bedrock",
        ),
        ("vertex", "https://x", "gcp.vertex_ai"),
    ] {
        assert_eq!(name(dialect, endpoint), want, "{dialect} {endpoint}");
    }
}

#[test]
fn a_record_without_a_trace_has_no_spans() {
    let without = |change: fn(&mut Record)| {
        let mut record = record();
        change(&mut record);
        spans(&record).len()
    };
    assert_eq!(without(|_| ()), 1);
    assert_eq!(without(|record| record.trace_id = None), 0);
    assert_eq!(without(|record| record.span.id.clear()), 0);
}

#[test]
fn whom_a_request_was_for_is_in_no_span() {
    let all = format!("{:?}", spans(&record()));
    assert!(!all.contains("canary"), "{all}");
}

#[test]
fn ids_of_attempts_are_all_different() {
    let own = SpanId::from_hex("00f067aa0ba902b7").unwrap();
    let ids: std::collections::BTreeSet<_> = (0..100).map(|n| nth(own, n).to_string()).collect();
    assert_eq!(ids.len(), 100);
    assert!(!ids.contains("00f067aa0ba902b7"));
}
