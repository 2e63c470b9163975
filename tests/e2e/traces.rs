//! Traces: spans at a collector, with the names and parents that OpenTelemetry's conventions give them.
//!
//! The collector is a scripted HTTP server; what it received is decoded with the protocol's own definitions.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;

use crate::gateway::{
    Gateway, KEY, SECRET, chat_request, model_once, own_key, provider, simple, stream_request,
};
use crate::provider::{
    Provider, Script, chat, delta, fail, finish, in_turn, plain, silence, status, stream,
};
use crate::wait::eventually;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A span as the collector got it.
#[derive(Debug)]
struct Span {
    name: String,
    kind: SpanKind,
    trace: String,
    id: String,
    parent: String,
    start: u64,
    end: u64,
    failed: bool,
    attributes: BTreeMap<String, String>,
    resource: BTreeMap<String, String>,
}

fn accepting() -> Script {
    plain("application/x-protobuf", b"")
}

fn traces(collector: &Provider) -> String {
    format!("[traces]\nendpoint = \"http://{}\"\n", collector.address)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: Option<Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => panic!("an attribute of another type: {other:?}"),
    }
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let pairs = all.iter().cloned();
    pairs
        .map(|pair| (pair.key, text(pair.value.and_then(|value| value.value))))
        .collect()
}

/// Every span that came so far.
fn spans(collector: &Provider) -> Vec<Span> {
    let mut all = Vec::new();
    for request in collector.requests() {
        let batch = ExportTraceServiceRequest::decode(&request.body[..]).expect("not OTLP");
        for of in batch.resource_spans {
            let resource = attributes(&of.resource.unwrap_or_default().attributes);
            for span in of.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                all.push(Span {
                    kind: span.kind(),
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    start: span.start_time_unix_nano,
                    end: span.end_time_unix_nano,
                    failed: span.status.is_some_and(|status| status.code == 2),
                    attributes: attributes(&span.attributes),
                    name: span.name,
                    resource: resource.clone(),
                });
            }
        }
    }
    all
}

/// The request's span and its attempts' in their order, when all of them are there.
fn story(collector: &Provider, attempts: usize) -> (Span, Vec<Span>) {
    let mut all = eventually("all spans are at the collector", || {
        let all = spans(collector);
        (all.len() > attempts).then_some(all)
    });
    assert_eq!(all.len(), attempts + 1, "{all:#?}");
    let server = all.iter().position(|span| span.kind == SpanKind::Server);
    let request = all.remove(server.expect("no SERVER span"));
    all.sort_by_key(|span| span.start);
    for attempt in &all {
        assert_eq!(attempt.kind, SpanKind::Client);
        assert_eq!(attempt.trace, request.trace);
        assert_eq!(attempt.parent, request.id);
        assert!(request.start <= attempt.start && attempt.end <= request.end);
    }
    (request, all)
}

#[track_caller]
fn holds(span: &Span, wanted: &[(&str, &str)]) {
    for (key, value) in wanted {
        let found = span.attributes.get(*key).map(String::as_str);
        assert_eq!(found, Some(*value), "{key} of {span:#?}");
    }
}

#[test]
fn a_request_and_its_attempt_are_spans_of_the_clients_trace() {
    let (upstream, collector) = (Provider::start(chat("ok")), Provider::start(accepting()));
    let gateway = Gateway::start(&(traces(&collector) + &simple(&upstream)));
    let sent = format!("00-{TRACE}-{PARENT}-01");
    let response = gateway.call(&chat_request("m").header("traceparent", &sent));
    assert_eq!(response.status, 200);
    let (request, attempts) = story(&collector, 1);
    assert_eq!(request.name, "chat m");
    assert_eq!((&*request.trace, &*request.parent), (TRACE, PARENT));
    let own = format!("00-{TRACE}-{}-01", request.id);
    assert_eq!(response.header("traceparent"), Some(&*own));
    assert_eq!(upstream.take_one().header("traceparent"), Some(own));
    assert!(!request.failed && request.start < request.end);
    assert_eq!(request.resource["service.name"], "tollgate");
    let id = response.header("x-request-id").expect("no x-request-id");
    holds(
        &request,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/v1/chat/completions"),
            ("http.response.status_code", "200"),
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.request.model", "m"),
            ("gen_ai.response.model", "upstream-m"),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.usage.input_tokens", "8"),
            ("gen_ai.usage.output_tokens", "3"),
            ("tollgate.route", "m"),
            ("tollgate.provider", "main"),
            ("tollgate.outcome", "ok"),
            ("tollgate.attempts", "1"),
            ("tollgate.key", "tester"),
            ("tollgate.request_id", id),
        ],
    );
    assert!(request.attributes.contains_key("tollgate.cost_usd"));
    assert_eq!(attempts[0].name, "chat upstream-m");
    holds(
        &attempts[0],
        &[
            ("gen_ai.request.model", "upstream-m"),
            ("server.address", "127.0.0.1"),
            ("server.port", &upstream.address.port().to_string()),
            ("http.response.status_code", "200"),
            ("tollgate.provider", "main"),
            ("tollgate.attempt.role", "first"),
            ("tollgate.attempt.outcome", "ok"),
        ],
    );
    eventually("the spans are counted", || {
        (gateway.metric("tollgate_traces_sent_total", &[]) == 1.0).then_some(())
    });
}

#[test]
fn a_failover_shows_who_failed_and_who_served() {
    let (bad, good) = (Provider::start(fail(503)), Provider::start(chat("ok")));
    let collector = Provider::start(accepting());
    let toml = [
        traces(&collector),
        provider("bad", &bad),
        provider("good", &good),
        model_once("m", &["bad/one", "good/two"]),
        own_key(),
    ];
    let gateway = Gateway::start(&toml.concat());
    assert_eq!(gateway.chat("m").status, 200);
    let (request, attempts) = story(&collector, 2);
    assert!(request.parent.is_empty(), "the trace begins here");
    holds(
        &request,
        &[
            ("tollgate.provider", "good"),
            ("tollgate.attempts", "2"),
            ("gen_ai.response.model", "two"),
        ],
    );
    assert!(attempts[0].failed && !attempts[1].failed && !request.failed);
    holds(
        &attempts[0],
        &[
            ("tollgate.provider", "bad"),
            ("error.type", "server_error"),
            ("http.response.status_code", "503"),
        ],
    );
    holds(
        &attempts[1],
        &[
            ("tollgate.provider", "good"),
            ("tollgate.attempt.role", "fallback"),
        ],
    );
    assert!(attempts[0].end <= attempts[1].start);
}

#[test]
fn a_streams_span_lasts_to_its_end() {
    let upstream = Provider::start(stream(vec![delta("a"), delta("b"), finish()]));
    let collector = Provider::start(accepting());
    let gateway = Gateway::start(&(traces(&collector) + &simple(&upstream)));
    let mut events = gateway.connect().stream(&stream_request("m")).unwrap();
    assert_eq!(events.events().last().map(String::as_str), Some("[DONE]"));
    let (request, attempts) = story(&collector, 1);
    for span in [&request, &attempts[0]] {
        holds(span, &[("gen_ai.request.stream", "true")]);
        let first = &span.attributes["gen_ai.response.time_to_first_chunk"];
        let first: f64 = first.parse().unwrap();
        let whole = Duration::from_nanos(span.end - span.start).as_secs_f64();
        assert!(0.0 < first && first <= whole, "{first} of {whole}");
    }
    assert_eq!(attempts[0].end, request.end);
}

#[test]
fn errors_are_told_by_their_kind() {
    let (upstream, collector) = (Provider::start(fail(500)), Provider::start(accepting()));
    let toml = [
        traces(&collector),
        provider("main", &upstream),
        model_once("m", &["main/x"]),
        own_key(),
    ];
    let gateway = Gateway::start(&toml.concat());
    let response = gateway.chat("m");
    let (request, attempts) = story(&collector, 1);
    assert!(request.failed && attempts[0].failed);
    assert_eq!(request.attributes["error.type"], response.error("code"));
    holds(&request, &[("tollgate.outcome", "provider_error")]);
    collector.forget();

    let unknown = gateway.chat("canary-no-such-model");
    assert_eq!(unknown.status, 404);
    let (request, _) = story(&collector, 0);
    assert_eq!(request.name, "chat", "clients do not make names of spans");
    assert!(!request.failed, "it is the client's mistake");
    holds(
        &request,
        &[
            ("http.response.status_code", "404"),
            ("error.type", &unknown.error("code")),
            ("tollgate.attempts", "0"),
        ],
    );
}

#[test]
fn a_clients_choice_is_kept_and_all_others_are_sampled() {
    let (upstream, collector) = (Provider::start(chat("ok")), Provider::start(accepting()));
    let none = traces(&collector) + "sample = 0.0\n";
    let gateway = Gateway::start(&(none + &simple(&upstream)));
    let parent = |flags: &str| format!("00-{TRACE}-{PARENT}-{flags}");
    // Neither this one, nor one that the client does not want.
    let own = gateway.chat("m");
    assert!(own.header("traceparent").unwrap().ends_with("-00"));
    gateway.call(&chat_request("m").header("traceparent", &parent("00")));
    let kept = gateway.call(&chat_request("m").header("traceparent", &parent("01")));
    assert_eq!(kept.status, 200);
    let (request, _) = story(&collector, 1);
    assert_eq!(request.parent, PARENT);
    holds(
        &request,
        &[("tollgate.request_id", kept.header("x-request-id").unwrap())],
    );
}

#[test]
fn the_config_says_where_to_and_with_which_headers() {
    let (upstream, collector) = (Provider::start(chat("ok")), Provider::start(accepting()));
    let toml = [
        traces(&collector),
        "[traces.headers]\nauthorization = \"env:OTLP_KEY\"\nx-tenant = \"a\"\n".to_owned(),
        simple(&upstream),
    ];
    let environment = [
        ("OTLP_KEY", "Bearer canary-collector-key"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=b,x-stray=c"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
        ("OTEL_SERVICE_NAME", "gate-7"),
    ];
    let gateway = Gateway::start_in(&environment, &toml.concat());
    assert_eq!(gateway.chat("m").status, 200);
    let (request, _) = story(&collector, 1);
    assert_eq!(request.resource["service.name"], "gate-7");
    assert_eq!(request.resource["deployment.environment.name"], "test");
    let export = collector.take_one();
    assert_eq!((&*export.method(), &*export.path()), ("POST", "/v1/traces"));
    let header = |name| export.header(name);
    let wanted = [
        ("authorization", Some("Bearer canary-collector-key")),
        ("content-type", Some("application/x-protobuf")),
        ("x-tenant", Some("a")),
        ("x-stray", None),
    ];
    for (name, value) in wanted {
        assert_eq!(header(name).as_deref(), value, "{name}");
    }
    let printed = gateway.stderr() + &gateway.stdout() + &gateway.admin("/config").text();
    assert!(!printed.contains("canary-collector-key"));
}

#[test]
fn nothing_that_was_said_and_no_secret_is_in_a_span() {
    let (upstream, collector) = (
        Provider::start(in_turn(vec![
            chat("canary-answer"),
            status(
                400,
                &[],
                r#"{"error":{"message":"canary-refusal","type":"x","param":null,"code":"canary-code"}}"#,
            ),
            stream(vec![delta("canary-answer"), finish()]),
        ])),
        Provider::start(accepting()),
    );
    let gateway = Gateway::start(&(traces(&collector) + &simple(&upstream)));
    let body = |streams: bool| {
        format!(
            r#"{{"model":"m","stream":{streams},"user":"canary-user","messages":[{{"role":"user","content":"canary-prompt"}}]}}"#
        )
    };
    let request = |streams| {
        crate::client::Request::post("/v1/chat/completions")
            .key(KEY)
            .header("x-tollgate-tags", "feature=canary-tag")
            .json(body(streams))
    };
    assert_eq!(gateway.call(&request(false)).status, 200);
    assert_eq!(gateway.call(&request(false)).status, 400);
    gateway.connect().stream(&request(true)).unwrap().events();
    eventually("all spans are at the collector", || {
        (spans(&collector).len() >= 6).then_some(())
    });
    for export in collector.requests() {
        let sent = String::from_utf8_lossy(&export.body).into_owned();
        for never in ["canary", KEY, SECRET] {
            assert!(!sent.contains(never), "{never} in {sent}");
        }
    }
}

#[test]
fn a_collector_that_is_away_or_silent_holds_up_nobody() {
    let upstream = Provider::start(chat("ok"));
    for collector in [Provider::refusing(), Provider::start(silence())] {
        let mut gateway = Gateway::start(&(traces(&collector) + &simple(&upstream)));
        for _ in 0..20 {
            assert_eq!(gateway.chat("m").status, 200);
        }
        gateway.signal("TERM");
        assert_eq!(gateway.wait().code(), Some(0));
        let told = gateway.stderr();
        assert!(
            told.contains("traces") && told.contains("not sent"),
            "{told}"
        );
    }
}

#[test]
fn what_a_collector_refuses_is_lost_and_what_it_defers_is_not() {
    let upstream = Provider::start(chat("ok"));
    let collector = Provider::start(in_turn(vec![
        fail(500),
        status(503, &["retry-after: 0"], ""),
        accepting(),
    ]));
    let gateway = Gateway::start(&(traces(&collector) + &simple(&upstream)));
    let count = |reason| gateway.metric("tollgate_traces_dropped_total", &[("reason", reason)]);
    assert_eq!(gateway.chat("m").status, 200);
    eventually("the refused spans are counted", || {
        (count("unsent") == 1.0).then_some(())
    });
    assert!(
        gateway.stderr().contains("status 500"),
        "{}",
        gateway.stderr()
    );
    assert_eq!(gateway.metric("tollgate_traces_sent_total", &[]), 0.0);
    collector.forget();
    assert_eq!(gateway.chat("m").status, 200);
    eventually("the deferred spans are counted", || {
        (gateway.metric("tollgate_traces_sent_total", &[]) == 1.0).then_some(())
    });
    assert_eq!(collector.count(), 2, "once deferred, once taken");
    assert_eq!((count("unsent"), count("queue_full")), (1.0, 0.0));
}

#[test]
fn the_last_spans_are_sent_before_the_end() {
    let (upstream, collector) = (Provider::start(chat("ok")), Provider::start(accepting()));
    let mut gateway = Gateway::start(&(traces(&collector) + &simple(&upstream)));
    let wanted = 30;
    for _ in 0..wanted {
        assert_eq!(gateway.chat("m").status, 200);
    }
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(spans(&collector).len(), 2 * wanted);
}

#[test]
fn a_secret_that_is_not_there_is_said_at_the_start() {
    let directory = crate::gateway::directory();
    let path = directory.join("tollgate.toml");
    let ports = [crate::gateway::free_port(), crate::gateway::free_port()];
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:{}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n\
         [traces]\nendpoint = \"http://127.0.0.1:4318\"\nheaders.x-key = \"env:TOLLGATE_E2E_ABSENT\"\n",
        ports[0], ports[1]
    );
    std::fs::write(&path, toml).unwrap();
    let finished = crate::gateway::run(&["run", "-c", path.to_str().unwrap()]);
    assert_ne!(finished.code, Some(0));
    assert!(
        finished.stderr.contains("traces.headers.x-key")
            && finished.stderr.contains("TOLLGATE_E2E_ABSENT"),
        "{}",
        finished.stderr
    );
}
