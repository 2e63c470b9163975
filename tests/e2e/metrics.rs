//! What the operator sees: metrics that a Prometheus accepts, whose number does not depend on what clients send.

use std::collections::BTreeSet;

use crate::client::{Client, Kept, Request};
use crate::gateway::{
    Gateway, KEY, SECRET, chat_request, model_once, own_key, provider, simple, stream_request, sum,
};
use crate::provider::{Provider, chat, delta, fail, stream};
use crate::tool;
use crate::wait::eventually;

/// The names and labels of all series, without their values.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, _)| series.to_owned())
        .collect()
}

#[test]
fn promtool_has_nothing_to_say() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    assert_eq!(gateway.chat("m").status, 200);
    assert_eq!(gateway.chat("unknown").status, 404);
    gateway.reload("nonsense", "error");
    let ran = tool::run(
        "promtool",
        &["check", "metrics"],
        gateway.metrics().as_bytes(),
    );
    assert!(
        ran.success && ran.stdout.trim().is_empty() && ran.stderr.trim().is_empty(),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
}

#[test]
fn every_promised_metric_is_there_and_counts() {
    let (first, second) = (Provider::start(fail(500)), Provider::start(chat("ok")));
    let config = [
        provider("first", &first),
        provider("second", &second),
        model_once("m", &["first/a", "second/b"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    for _ in 0..3 {
        assert_eq!(gateway.chat("m").status, 200);
    }
    second.become_script(stream(vec![delta("x")]));
    gateway.stream("m").events();
    let metrics = eventually("the requests are settled", || {
        let settled = |text: &String| {
            sum(text, "tollgate_requests_total", &[]) == 4.0
                && sum(text, "tollgate_in_flight_requests", &[]) == 0.0
        };
        Some(gateway.metrics()).filter(settled)
    });
    for (name, labels, value) in [
        (
            "tollgate_requests_total",
            &[("route", "m"), ("provider", "second")][..],
            4.0,
        ),
        (
            "tollgate_attempts_total",
            &[("provider", "first"), ("outcome", "server_error")],
            4.0,
        ),
        (
            "tollgate_attempts_total",
            &[("provider", "second"), ("outcome", "ok")],
            4.0,
        ),
        (
            "tollgate_request_duration_seconds_count",
            &[("route", "m")],
            4.0,
        ),
        (
            "tollgate_first_byte_seconds_count",
            &[("route", "m"), ("provider", "second")],
            4.0,
        ),
        ("tollgate_overhead_seconds_count", &[], 4.0),
        ("tollgate_in_flight_requests", &[], 0.0),
        (
            "tollgate_build_info",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1.0,
        ),
        ("tollgate_access_log_dropped_total", &[], 0.0),
        (
            "tollgate_traces_dropped_total",
            &[("reason", "unsent")],
            0.0,
        ),
    ] {
        assert_eq!(
            sum(&metrics, name, labels),
            value,
            "{name} {labels:?} in\n{metrics}"
        );
    }
    for name in [
        "tollgate_config_reload_total",
        "tollgate_config_version",
        "tollgate_endpoint_healthy",
        "tollgate_provider_alarms_total",
    ] {
        assert!(
            metrics.contains(&format!("# TYPE {name} ")),
            "{name} is missing"
        );
    }
}

/// Over a few connections: what costs here is the test, not the gateway.
const CONNECTIONS: usize = 8;
const REQUESTS: usize = 100_000;

#[test]
fn a_hundred_thousand_random_models_and_users_make_no_new_series() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&format!(
        "[access_log]\noutput = \"off\"\n{}",
        simple(&provider)
    ));
    let odd = |model: &str, user: &str, path: &str, key: &str| {
        let body = format!("{{\"model\":\"{model}\",\"user\":\"{user}\",\"messages\":[]}}");
        Request::post(path)
            .key(key)
            .header("x-request-id", user)
            .json(body)
    };
    // One of each kind that follows, so that all series that a client can cause exist.
    let mut client = Kept::new(gateway.address);
    for (request, status) in kinds(&odd, 0) {
        assert_eq!(client.call(&request).unwrap().status, status);
    }
    // A request is counted when it is settled, which is after its answer has left.
    let before = eventually("the first requests are settled", || {
        let metrics = gateway.metrics();
        let settled = sum(&metrics, "tollgate_requests_total", &[]) == 4.0;
        // The gateway tells of its endpoints' health now and then, not from the start.
        let known = metrics.contains("\ntollgate_endpoint_healthy{");
        (settled && known).then(|| series(&metrics))
    });
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let address = gateway.address;
            std::thread::spawn(move || hammer(address, number))
        })
        .collect();
    for client in clients {
        client.join().expect("a client failed");
    }
    let metrics = gateway.metrics();
    let new: Vec<String> = series(&metrics).difference(&before).cloned().collect();
    assert!(new.is_empty(), "new series: {new:?}");
    assert!(
        metrics.len() < 2 * 1024 * 1024,
        "{} bytes of metrics",
        metrics.len()
    );
    let counted = sum(&metrics, "tollgate_requests_total", &[]);
    assert!(
        counted >= REQUESTS as f64,
        "only {counted} requests were counted"
    );
}

type Odd<'a> = &'a dyn Fn(&str, &str, &str, &str) -> Request;

fn kinds(odd: Odd<'_>, number: usize) -> Vec<(Request, u16)> {
    let (model, user) = (format!("model-{number}"), format!("user-{number}"));
    let chat = "/v1/chat/completions";
    vec![
        (odd(&model, &user, chat, KEY), 404),
        (odd("m", &user, chat, KEY), 200),
        (odd(&model, &user, &format!("/v1/{model}"), KEY), 404),
        (odd(&model, &user, chat, &model), 401),
    ]
}

/// Unknown models for the most part; now and then a known one with a new user, an unknown path, an unknown key.
fn hammer(address: std::net::SocketAddr, number: usize) {
    let odd = |model: &str, user: &str, path: &str, key: &str| {
        let body = format!("{{\"model\":\"{model}\",\"user\":\"{user}\",\"messages\":[]}}");
        Request::post(path)
            .key(key)
            .header("x-request-id", user)
            .json(body)
    };
    let mut client = Kept::new(address);
    for round in 0..REQUESTS / CONNECTIONS {
        let kinds = kinds(&odd, 1 + number * REQUESTS + round);
        let (request, status) = &kinds[if round % 50 == 0 {
            round / 50 % kinds.len()
        } else {
            0
        }];
        assert_eq!(client.call(request).expect("no answer").status, *status);
    }
}

#[test]
fn the_admin_listener_shows_the_config_without_its_secrets() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    assert_eq!(gateway.admin("/healthz").status, 200);
    assert_eq!(gateway.admin("/readyz").status, 200);
    assert_eq!(gateway.admin("/nothing").status, 404);
    // A page in a browser whose name was re-pointed here (DNS rebinding) must not read any of it.
    let rebound = Request::get("/config").header("host", "evil.test:9090");
    let answer = Client::connect(gateway.admin)
        .unwrap()
        .call(&rebound)
        .unwrap();
    assert_eq!(answer.status, 421);
    let shown = gateway.admin("/config");
    assert_eq!(
        (shown.status, shown.header("content-type")),
        (200, Some("application/json"))
    );
    let text = shown.text();
    assert!(
        shown.json().is_object() && text.contains("upstream-m") && text.contains("version"),
        "{text}"
    );
    for secret in [SECRET, KEY, &crate::gateway::sha256(KEY.as_bytes())] {
        assert!(!text.contains(secret), "a secret is shown: {text}");
    }
    let first = gateway.version();
    gateway.reload(&format!("# again\n{}", simple(&provider)), "ok");
    assert!(gateway.version() > first);
    let kind = gateway
        .admin("/metrics")
        .header("content-type")
        .map(str::to_owned);
    assert!(kind.is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
}

#[test]
fn requests_in_flight_are_counted_while_they_last() {
    let provider = Provider::start(crate::provider::silence());
    let gateway = Gateway::start(&simple(&provider));
    let in_flight = |count: f64| {
        eventually(&format!("{count} requests are in flight"), || {
            (gateway.metric("tollgate_in_flight_requests", &[]) == count).then_some(())
        });
    };
    let mut clients: Vec<Client> = (0..3).map(|_| gateway.connect()).collect();
    for (client, request) in
        clients
            .iter_mut()
            .zip([chat_request("m"), stream_request("m"), chat_request("m")])
    {
        client.send(&request.bytes()).unwrap();
    }
    in_flight(3.0);
    clients.pop();
    in_flight(2.0);
    clients.clear();
    in_flight(0.0);
}
