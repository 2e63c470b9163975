use super::*;
use crate::route::breaker::State;
use crate::route::fault::Alarm;
use crate::telemetry::{Attempt, AttemptRole, Outcome};
use std::sync::Arc;
use std::time::Duration;

fn answered(route: &str, provider: &str) -> Record {
    Record {
        route: Some(Arc::from(route)),
        provider: Some(Arc::from(provider)),
        attempts: vec![Attempt {
            provider: Arc::from(provider),
            model: Arc::from("m"),
            endpoint: Arc::from("https://a/v1"),
            outcome: AttemptOutcome::Ok,
            status: Some(200),
            duration: Duration::from_millis(90),
            first_token: Some(Duration::from_millis(30)),
            ..Attempt::new(AttemptRole::First)
        }],
        status: 200,
        outcome: Outcome::Ok,
        duration: Duration::from_millis(100),
        first_byte: Some(Duration::from_millis(30)),
        upstream_time: Duration::from_millis(99),
        ..Record::default()
    }
}

fn check(metrics: &Metrics, lines: &[&str]) {
    let text = metrics.render();
    for line in lines {
        assert!(
            text.lines().any(|have| have == *line),
            "{line} is missing in\n{text}"
        );
    }
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn a_settled_request_shows_in_counters_and_histograms() {
    let metrics = Metrics::new().unwrap();
    metrics.request_finished(&answered("fast", "openai"));
    metrics.attempt_finished("openai", AttemptOutcome::Ok);
    metrics.attempt_finished("groq", AttemptOutcome::ConnectFailed);
    check(
        &metrics,
        &[
            r#"tollgate_requests_total{outcome="ok",provider="openai",route="fast"} 1"#,
            r#"tollgate_attempts_total{outcome="ok",provider="openai"} 1"#,
            r#"tollgate_attempts_total{outcome="connect_failed",provider="groq"} 1"#,
            r#"tollgate_request_duration_seconds_bucket{route="fast",le="0.1"} 1"#,
            r#"tollgate_request_duration_seconds_bucket{route="fast",le="0.05"} 0"#,
            r#"tollgate_first_byte_seconds_bucket{provider="openai",route="fast",le="0.05"} 1"#,
            r#"tollgate_overhead_seconds_bucket{le="0.001"} 1"#,
            r#"tollgate_overhead_seconds_bucket{le="0.0005"} 0"#,
        ],
    );
}

#[test]
fn a_request_without_route_or_provider_is_counted_under_none() {
    let metrics = Metrics::new().unwrap();
    metrics.request_finished(&Record {
        outcome: Outcome::Refused,
        ..Record::default()
    });
    check(
        &metrics,
        &[
            r#"tollgate_requests_total{outcome="refused",provider="none",route="none"} 1"#,
            "tollgate_overhead_seconds_count 0",
        ],
    );
    assert!(!metrics.render().contains("tollgate_first_byte_seconds"));
}

#[test]
fn guards_count_what_lives() {
    let metrics = Metrics::new().unwrap();
    let first = metrics.in_flight();
    let second = metrics.in_flight();
    let connection = metrics.connection();
    check(
        &metrics,
        &["tollgate_in_flight_requests 2", "tollgate_connections 1"],
    );
    drop(first);
    assert_eq!(metrics.in_flight_now(), 1);
    drop((second, connection));
    check(
        &metrics,
        &["tollgate_in_flight_requests 0", "tollgate_connections 0"],
    );
    assert_eq!(metrics.connections_now(), 0);
}

#[test]
fn alarms_start_at_zero() {
    let metrics = Metrics::new().unwrap();
    metrics.failover.provider_known("openai");
    check(
        &metrics,
        &[
            r#"tollgate_config_reload_total{result="ok"} 0"#,
            r#"tollgate_config_reload_total{result="error"} 0"#,
            r#"tollgate_provider_alarms_total{provider="openai",reason="credential"} 0"#,
            "tollgate_access_log_dropped_total 0",
            "tollgate_connections_refused_total 0",
        ],
    );
    metrics.failover.provider_alarm("openai", Alarm::Credential);
    metrics.failover.provider_known("openai");
    metrics.reload(true);
    metrics.reload(false);
    metrics.config_version(7);
    metrics.access_log_dropped(3);
    metrics.connection_refused();
    check(
        &metrics,
        &[
            r#"tollgate_config_reload_total{result="ok"} 1"#,
            r#"tollgate_config_reload_total{result="error"} 1"#,
            r#"tollgate_provider_alarms_total{provider="openai",reason="credential"} 1"#,
            "tollgate_config_version 7",
            "tollgate_access_log_dropped_total 3",
            "tollgate_connections_refused_total 1",
        ],
    );
}

#[test]
fn a_reload_takes_away_what_it_removed_and_nothing_else() {
    let metrics = Metrics::new().unwrap();
    for (route, provider) in [("fast", "openai"), ("slow", "openai"), ("fast", "groq")] {
        metrics.request_finished(&answered(route, provider));
        metrics.attempt_finished(provider, AttemptOutcome::Ok);
        metrics.failover.provider_known(provider);
    }
    metrics.request_finished(&Record::default());
    metrics.endpoint_healthy("openai", "https://a", true);
    metrics.endpoint_healthy("openai", "https://b", false);
    metrics.endpoint_healthy("groq", "https://c", true);
    metrics.forget_endpoint("openai", "https://a");
    metrics.forget_endpoint("openai", "https://never");
    metrics.retain(["fast"], ["openai"]);
    let text = metrics.render();
    assert!(
        !text.contains("\"slow\"") && !text.contains("groq"),
        "{text}"
    );
    assert!(!text.contains("https://a\""), "{text}");
    check(
        &metrics,
        &[
            r#"tollgate_requests_total{outcome="ok",provider="openai",route="fast"} 1"#,
            r#"tollgate_requests_total{outcome="internal",provider="none",route="none"} 1"#,
            r#"tollgate_endpoint_healthy{endpoint="https://b",provider="openai"} 0"#,
            r#"tollgate_request_duration_seconds_count{route="fast"} 2"#,
        ],
    );
}

#[test]
fn clients_make_no_series() {
    let metrics = Metrics::new().unwrap();
    let mut record = answered("fast", "openai");
    metrics.request_finished(&record);
    let before = series(&metrics.render());
    for n in 0..1000 {
        record.model = Some(format!("model-{n}"));
        record.key = Some(Arc::from(format!("key-{n}")));
        record.method = format!("M{n}");
        metrics.request_finished(&record);
    }
    assert_eq!(series(&metrics.render()), before);
}

#[test]
fn every_metric_has_help_and_a_name_of_ours_or_the_process() {
    let text = Metrics::new().unwrap().render();
    let mut names = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .peekable();
    assert!(names.peek().is_some());
    for name in names.filter_map(|rest| rest.split(' ').next()) {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        assert!(
            name.starts_with("tollgate_") || name.starts_with("process_"),
            "{name}"
        );
    }
    assert!(text.contains("tollgate_build_info{commit="), "{text}");
}

#[test]
fn breakers_are_shown_as_they_are_and_gone_when_they_are_gone() {
    let metrics = Metrics::new().unwrap();
    let states = [State::Closed, State::HalfOpen, State::Open];
    let models = ["a", "b", "c"].into_iter().zip(states);
    metrics.failover.show_breakers(
        models.map(|(model, state)| ("openai", model, state)),
        [("openai", "https://a", State::Open)],
    );
    check(
        &metrics,
        &[
            r#"tollgate_target_breaker{model="a",provider="openai"} 0"#,
            r#"tollgate_target_breaker{model="b",provider="openai"} 1"#,
            r#"tollgate_target_breaker{model="c",provider="openai"} 2"#,
            r#"tollgate_endpoint_breaker{endpoint="https://a",provider="openai"} 2"#,
        ],
    );
    metrics.failover.show_breakers([], []);
    assert!(!metrics.render().contains("_breaker{"));
}
