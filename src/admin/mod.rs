//! The operator's listener: metrics, health, readiness, the config in use, what
//! is known of targets; keys (`keys`); and what was used (`usage`).
//!
//! It speaks plain HTTP/1.1: it belongs on loopback or on a network of the
//! operator's own, never on the clients' port. All but keys can be read without
//! a token, where there is none, and only read. What it shows is free of secrets (the config comes
//! redacted), but names providers, aliases and keys.
//!
//! A browser on the same machine could still be made to read it: a page whose
//! own name is re-pointed at 127.0.0.1 after it was loaded (DNS rebinding) has
//! the same origin as this listener. Such a request carries the page's name in
//! `Host`. So only IP literals and `localhost`, which nobody's DNS can
//! re-point, are served; every other name gets 421. A Prometheus that scrapes
//! by name sets the target's address instead.

mod keys;
mod usage;

pub use keys::Keys;

use crate::ledger::Ledger;
use crate::telemetry::{Metrics, timestamp};
use crate::units::Moment;
use async_trait::async_trait;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, Method, Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::services::listening::Service;
use serde::Serialize;
use serde_json::json;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The version is that of Prometheus' text format.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// A scraper that takes no byte for so long is cut.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What the listener tells, at the moment it is asked.
pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
    /// Brings the gauges up to date that only a look can tell.
    pub look: Arc<dyn Fn() + Send + Sync>,
    pub ledger: Arc<Ledger>,
    pub keys: Arc<Keys>,
}

/// The state of the process and the config it runs on.
#[derive(Debug, Clone)]
pub struct Status {
    /// A table is loaded and the process is not stopping.
    pub ready: bool,
    /// Number of the routing table.
    pub version: u64,
    pub loaded_at: SystemTime,
    /// Where the config was read from.
    pub source: String,
    /// The config with every secret masked.
    pub config: serde_json::Value,
    pub endpoints: Vec<Endpoint>,
    pub targets: Vec<Target>,
    pub providers: Vec<Provider>,
}

/// One address of a provider, what its health checks say, and what its requests
/// did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    pub provider: String,
    pub endpoint: String,
    pub healthy: bool,
    pub breaker: Breaker,
}

/// A breaker's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// Milliseconds until one request tries it; `null` where any may.
    pub asks_again_in_ms: Option<u64>,
}

/// What is known of one model at one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    pub provider: String,
    pub model: String,
    pub breaker: Breaker,
    /// To a stream's first content, of the latest requests; `null` before there
    /// are enough.
    pub first_token_ms: Option<Times>,
    /// To a whole answer.
    pub whole_answer_ms: Option<Times>,
}

/// Quantiles, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Times {
    pub p50: u64,
    pub p95: u64,
}

/// What is left to a provider.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Provider {
    pub provider: String,
    /// Retries that its budget still allows.
    pub retries_left: f64,
}

/// The listener as a service of Pingora's, with one thread of its own, so that
/// a busy data path does not fail its health checks.
pub fn service(listen: SocketAddr, admin: Admin) -> Service<Admin> {
    let mut service = Service::new("admin".to_owned(), admin);
    service.add_tcp(&listen.to_string());
    service.threads = Some(1);
    service
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        session.set_write_timeout(Some(WRITE_TIMEOUT));
        if !session.is_body_empty() {
            // Nobody here reads it, so that the next request's start is unknown.
            session.set_keepalive(None);
        }
        let head = session.req_header();
        let host = match (head.headers.get(HOST), head.uri.authority()) {
            (Some(host), _) => Some(host.as_bytes()),
            (None, authority) => authority.map(|authority| authority.as_str().as_bytes()),
        };
        if !host.is_none_or(cannot_be_rebound) {
            return self.answer(&head.method, head.uri.path(), host);
        }
        if let Some(asked) = keys::Asked::of(head.uri.path()) {
            return self.keys(session, asked).await;
        }
        let now = Moment::from(SystemTime::now());
        match usage::Asked::of(head.uri.path(), head.uri.query(), now) {
            Some(asked) if head.method == Method::GET => self.usage(&head.headers, asked).await,
            Some(_) => only_get(),
            None => self.answer(&head.method, head.uri.path(), host),
        }
    }
}

impl Admin {
    async fn usage(
        &self,
        headers: &HeaderMap,
        asked: Result<usage::Asked, Box<Response<Vec<u8>>>>,
    ) -> Response<Vec<u8>> {
        if let Err(refusal) = self.keys.authorize_if_set(headers) {
            return *refusal;
        }
        let asked = match asked {
            Ok(asked) => asked,
            Err(refusal) => return *refusal,
        };
        let ledger = Arc::clone(&self.ledger);
        let asked = tokio::task::spawn_blocking(move || asked.ask(&ledger)).await;
        asked.unwrap_or_else(|_| keys::refuse(500, "internal_error", "it failed"))
    }

    async fn keys(&self, session: &mut ServerSession, asked: keys::Asked) -> Response<Vec<u8>> {
        let head = session.req_header();
        let method = head.method.clone();
        if let Err(mut refusal) = self.keys.admit(&asked, &method, &head.headers) {
            if method == Method::HEAD {
                refusal.body_mut().clear();
            }
            return *refusal;
        }
        let body = match tokio::time::timeout(keys::BODY_TIME, body(session)).await {
            Ok(Ok(body)) => body,
            Ok(Err(refusal)) => return refusal,
            Err(_) => return keys::refuse(408, "request_timeout", "the body took too long"),
        };
        let keys = Arc::clone(&self.keys);
        // It may wait for the disk; health checks must not.
        let acted = tokio::task::spawn_blocking(move || keys.act(&asked, &method, &body)).await;
        acted.unwrap_or_else(|_| keys::refuse(500, "internal_error", "it failed"))
    }
}

/// The whole body, if it is small.
async fn body(session: &mut ServerSession) -> Result<Vec<u8>, Response<Vec<u8>>> {
    let broken = || keys::refuse(400, "invalid_request", "the body broke off");
    let mut all = Vec::new();
    while let Some(piece) = session.read_request_body().await.map_err(|_| broken())? {
        if all.len() + piece.len() > keys::BODY {
            return Err(keys::refuse(
                413,
                "request_too_large",
                "the body is over 64 KiB",
            ));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

impl Admin {
    fn answer(&self, method: &Method, path: &str, host: Option<&[u8]>) -> Response<Vec<u8>> {
        // No name at all comes from no browser.
        if host.is_some_and(|host| !cannot_be_rebound(host)) {
            let why = "this listener is reached by IP address or as localhost only\n";
            return text(StatusCode::MISDIRECTED_REQUEST, why);
        }
        let answer: fn(&Self) -> Response<Vec<u8>> = match path {
            "/metrics" => |admin| {
                (admin.look)();
                respond(StatusCode::OK, METRICS, admin.metrics.render().into())
            },
            "/healthz" => |_| text(StatusCode::OK, "ok\n"),
            "/readyz" => |admin| readiness((admin.status)().ready),
            "/config" => |admin| config((admin.status)()),
            "/status" => |admin| shown((admin.status)()),
            _ => |_| text(StatusCode::NOT_FOUND, "not found\n"),
        };
        let mut response = if method == Method::GET {
            answer(self)
        } else {
            only_get()
        };
        if method == Method::HEAD {
            response.body_mut().clear();
        }
        response
    }
}

fn only_get() -> Response<Vec<u8>> {
    let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    let allow = HeaderValue::from_static("GET");
    refused.headers_mut().insert(ALLOW, allow);
    refused
}

fn readiness(ready: bool) -> Response<Vec<u8>> {
    match ready {
        true => text(StatusCode::OK, "ready\n"),
        false => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

fn config(status: Status) -> Response<Vec<u8>> {
    let shown = json!({
        "version": status.version,
        "loaded_at": timestamp(status.loaded_at).to_string(),
        "source": status.source,
        "ready": status.ready,
        "endpoints": status.endpoints,
        "config": status.config,
    });
    respond(StatusCode::OK, JSON, format!("{shown:#}\n").into_bytes())
}

fn shown(status: Status) -> Response<Vec<u8>> {
    let shown = json!({
        "version": status.version,
        "ready": status.ready,
        "providers": status.providers,
        "targets": status.targets,
        "endpoints": status.endpoints,
    });
    respond(StatusCode::OK, JSON, format!("{shown:#}\n").into_bytes())
}

fn text(status: StatusCode, body: &str) -> Response<Vec<u8>> {
    respond(status, TEXT, body.into())
}

fn respond(status: StatusCode, kind: HeaderValue, body: Vec<u8>) -> Response<Vec<u8>> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    // Pingora would otherwise close the connection to mark the end.
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether `host`, with or without a port, is an IP literal or `localhost`.
fn cannot_be_rebound(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    if let Some(literal) = host.strip_prefix('[') {
        let Some((address, rest)) = literal.split_once(']') else {
            return false;
        };
        return address.parse::<Ipv6Addr>().is_ok() && (rest.is_empty() || is_port(rest));
    }
    let name = match host.find(':') {
        Some(colon) => {
            let (name, port) = host.split_at(colon);
            if !is_port(port) {
                return false;
            }
            name
        }
        None => host,
    };
    name.eq_ignore_ascii_case("localhost") || matches!(name.parse(), Ok(IpAddr::V4(_)))
}

/// `:` and digits.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(ready: bool) -> Admin {
        let status = move || Status {
            ready,
            version: 3,
            loaded_at: SystemTime::UNIX_EPOCH,
            source: "/etc/tollgate/tollgate.toml".to_owned(),
            config: json!({"keys": {"search": {"hash": "***"}}}),
            endpoints: vec![Endpoint {
                provider: "openai".to_owned(),
                endpoint: "https://api.openai.com/v1".to_owned(),
                healthy: true,
                breaker: open(),
            }],
            targets: vec![Target {
                provider: "openai".to_owned(),
                model: "gpt-5".to_owned(),
                breaker: open(),
                first_token_ms: Some(Times { p50: 300, p95: 900 }),
                whole_answer_ms: None,
            }],
            providers: vec![Provider {
                provider: "openai".to_owned(),
                retries_left: 2.4,
            }],
        };
        let config = crate::config::Config::default();
        let table = crate::table::RoutingTable::compile(&config).0.unwrap();
        let table = Arc::new(arc_swap::ArcSwap::from_pointee(table));
        Admin {
            metrics: Arc::new(Metrics::new().unwrap()),
            status: Arc::new(status),
            look: Arc::new(|| ()),
            ledger: Arc::new(ledger()),
            keys: Keys::new(table, None),
        }
    }

    fn ledger() -> Ledger {
        let settings = crate::ledger::Settings {
            path: crate::ledger::MEMORY.into(),
            durability: Default::default(),
            buffer: 10,
            retention: None,
            max_bytes: None,
        };
        Ledger::open(settings).unwrap().0
    }

    fn open() -> Breaker {
        Breaker {
            state: "open",
            asks_again_in_ms: Some(4000),
        }
    }

    #[test]
    fn shows_what_is_known_of_targets() {
        let (status, kind, body) = get(&admin(true), "/status");
        assert_eq!((status, kind.as_str()), (200, "application/json"));
        let shown: serde_json::Value = serde_json::from_str(&body).unwrap();
        let breaker = json!({"state": "open", "asks_again_in_ms": 4000});
        let want = json!({
            "version": 3,
            "ready": true,
            "providers": [{"provider": "openai", "retries_left": 2.4}],
            "targets": [{"provider": "openai", "model": "gpt-5", "breaker": breaker,
                         "first_token_ms": {"p50": 300, "p95": 900}, "whole_answer_ms": null}],
            "endpoints": [{"provider": "openai", "endpoint": "https://api.openai.com/v1",
                           "healthy": true, "breaker": breaker}],
        });
        assert_eq!(shown, want);
    }

    fn get(admin: &Admin, path: &str) -> (u16, String, String) {
        let response = admin.answer(&Method::GET, path, Some(b"127.0.0.1:9090"));
        let header = |name| {
            response
                .headers()
                .get(name)
                .map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(header(CACHE_CONTROL).unwrap(), "no-store");
        assert_eq!(header(X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
        assert_eq!(
            header(CONTENT_LENGTH).unwrap(),
            response.body().len().to_string()
        );
        assert!(
            response
                .headers()
                .keys()
                .all(|name| !name.as_str().starts_with("access-control"))
        );
        let kind = header(CONTENT_TYPE).unwrap();
        let status = response.status().as_u16();
        (
            status,
            kind,
            String::from_utf8(response.into_body()).unwrap(),
        )
    }

    #[test]
    fn tells_health_and_readiness() {
        let text = "text/plain; charset=utf-8".to_owned();
        assert_eq!(
            get(&admin(true), "/healthz"),
            (200, text.clone(), "ok\n".into())
        );
        assert_eq!(
            get(&admin(false), "/healthz"),
            (200, text.clone(), "ok\n".into())
        );
        assert_eq!(
            get(&admin(true), "/readyz"),
            (200, text.clone(), "ready\n".into())
        );
        assert_eq!(
            get(&admin(false), "/readyz"),
            (503, text, "not ready\n".into())
        );
    }

    #[test]
    fn shows_metrics_in_prometheus_format() {
        let (status, kind, body) = get(&admin(true), "/metrics");
        assert_eq!(
            (status, kind.as_str()),
            (200, "text/plain; version=0.0.4; charset=utf-8")
        );
        assert!(body.contains("# TYPE tollgate_build_info gauge\n"));
    }

    #[test]
    fn shows_the_config_and_its_version() {
        let (status, kind, body) = get(&admin(true), "/config");
        assert_eq!((status, kind.as_str()), (200, "application/json"));
        let shown: serde_json::Value = serde_json::from_str(&body).unwrap();
        let want = json!({
            "version": 3,
            "loaded_at": "1970-01-01T00:00:00.000Z",
            "source": "/etc/tollgate/tollgate.toml",
            "ready": true,
            "endpoints": [{"provider": "openai", "endpoint": "https://api.openai.com/v1", "healthy": true,
                           "breaker": {"state": "open", "asks_again_in_ms": 4000}}],
            "config": {"keys": {"search": {"hash": "***"}}},
        });
        assert_eq!(shown, want);
    }

    #[test]
    fn knows_no_other_path() {
        for path in [
            "/",
            "/metrics/",
            "/v1/models",
            "/CONFIG",
            "//config",
            "/config/../metrics",
        ] {
            assert_eq!(get(&admin(true), path).0, 404, "{path}");
        }
    }

    #[test]
    fn only_reads() {
        let admin = admin(true);
        for method in [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::HEAD,
        ] {
            let response = admin.answer(&method, "/metrics", Some(b"localhost"));
            assert_eq!(
                response.status(),
                StatusCode::METHOD_NOT_ALLOWED,
                "{method}"
            );
            assert_eq!(response.headers()[ALLOW], "GET");
            assert_eq!(response.body().is_empty(), method == Method::HEAD);
        }
    }

    #[test]
    fn serves_only_names_that_cannot_be_rebound() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "10.0.0.7:9090",
            "[::1]",
            "[::1]:9090",
            "localhost",
            "LocalHost:9090",
        ] {
            assert!(cannot_be_rebound(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":9090",
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "localhost.",
            "127.0.0.1.evil.example",
            "127.0.0.1:x",
            "127.0.0.1:99999",
            "127.0.0.1:1:2",
            "[::1",
            "[::1]x",
            "[evil]",
            "::1",
            "0x7f.1",
            "2130706433",
            "127.1",
            "\u{e9}",
        ] {
            assert!(!cannot_be_rebound(host.as_bytes()), "{host}");
        }
        assert!(!cannot_be_rebound(b"\xff"));
        let admin = admin(true);
        let status = |host: Option<&[u8]>| admin.answer(&Method::GET, "/config", host).status();
        assert_eq!(
            status(Some(b"evil.example:9090")),
            StatusCode::MISDIRECTED_REQUEST
        );
        assert_eq!(status(Some(b"localhost:9090")), StatusCode::OK);
        assert_eq!(status(None), StatusCode::OK);
    }
}
