//! The providers' part of the compiler: base URLs, headers, connection
//! settings and health checks, each checked where it is read.

use super::Provider;
use super::capabilities::{Known, row};
use super::compile::{Compiler, Unresolved, path};
use super::compile_credential::owns;
use super::provider::{family, wire};
use crate::config::{self, HeaderSource, Path, Secret};
use crate::route::balance::{Pool, PoolSpec, Strategy};
use crate::route::breaker::Settings;
use crate::route::endpoint::Origin;
use crate::route::health::{Kind, ProbeSpec};
use crate::tls;
use crate::units::Pattern;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use pingora_core::protocols::{ALPN, TcpKeepalive};
use pingora_core::upstreams::peer::PeerOptions;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// Parallel requests on one HTTP/2 connection to a provider. Pingora's default
/// is one, which makes every concurrent request open a connection.
const H2_STREAMS: u32 = 100;

/// Bytes of one HTTP/2 stream that may wait for a slow client.
const H2_WINDOW: u32 = 256 << 10;

/// Headers that a config may not set: framing and routing are the gateway's.
const RESERVED: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
];

/// Headers to send, and the secrets among their values.
type Sent = (Vec<(HeaderName, HeaderValue)>, Vec<Secret>);

impl<'a> Compiler<'a> {
    pub(super) fn provider(
        &mut self,
        name: &'a str,
        written: &'a config::Provider,
    ) -> Option<Provider> {
        let origins = self.origins(name, written);
        self.options(name, written);
        let (headers, secrets) = self.headers(name, written)?;
        let credential = self.credential(name, written, &origins);
        if self.absent.contains(name) {
            return None;
        }
        let options = self.peer_options(name, written);
        let probe = self.probe(name, written, &headers);
        // A renewed authority is another trust, under the same path.
        let authorities = hash(written.ca.as_ref().and_then(|ca| std::fs::read(ca).ok()));
        let spec = PoolSpec {
            origins,
            strategy: match written.balance {
                config::Balance::RoundRobin => Strategy::RoundRobin,
                config::Balance::ConsistentHash => Strategy::ConsistentHash,
                config::Balance::LeastLatency => Strategy::LeastLatency,
            },
            options,
            group: hash((name, authorities)),
            probe,
            breaker: breaker(&written.breaker),
            fingerprint: fingerprint(written, &headers, authorities),
        };
        Some(Provider {
            name: name.into(),
            dialect: written.dialect,
            wire: wire(written.dialect, &written.options),
            options: written.options.clone(),
            capabilities: self.known(name, written.dialect),
            pool: self.pool(name, spec),
            timeouts: written.timeouts.clone(),
            self_hosted: written.self_hosted,
            breaker: breaker(&written.breaker),
            retry_budget: written.retry_budget,
            headers,
            credential,
            secrets,
            models: written.models.iter().map(Pattern::new).collect(),
        })
    }

    /// What is said of this provider's models.
    fn known(&self, name: &str, dialect: config::Dialect) -> Known {
        let concerns = |said: &&config::Capability| {
            said.providers.is_empty() || said.providers.iter().any(|p| p == name)
        };
        let said = self.config.capabilities.iter().filter(concerns);
        Known::new(&self.capabilities, said.map(row).collect(), family(dialect))
    }

    fn options(&mut self, name: &str, written: &config::Provider) {
        let dialect = wire(written.dialect, &written.options);
        for problem in dialect.problems(&written.options) {
            let at = path(["providers", name, "options", &problem.name]);
            match problem.wrong {
                Some(expected) => self.error(at, format!("expected {expected}"), ""),
                None => {
                    let known: Vec<&str> = dialect.options().iter().map(|opt| opt.name).collect();
                    let message = format!("unknown option {}", problem.name);
                    let hint = config::choices(&problem.name, &known, "options");
                    self.error(at, message, &hint);
                }
            }
        }
    }

    fn pool(&self, name: &str, spec: PoolSpec) -> Arc<Pool> {
        let previous = self
            .previous
            .and_then(|t| t.providers.get(name))
            .map(|p| &p.pool);
        match previous {
            Some(pool) if *pool.spec() == spec => Arc::clone(pool),
            _ => Arc::new(Pool::new(spec, previous.map(|pool| &**pool))),
        }
    }

    fn origins(&mut self, name: &str, written: &config::Provider) -> Vec<(Arc<Origin>, usize)> {
        let one = written
            .base_url
            .iter()
            .map(|url| (path(["providers", name, "base_url"]), url, 1));
        let many = written.base_urls.iter().enumerate().map(|(i, b)| {
            (
                path(["providers", name, "base_urls", &i.to_string(), "url"]),
                &b.url,
                b.weight,
            )
        });
        let all: Vec<_> = one.chain(many).collect();
        if all.is_empty() {
            self.error(
                path(["providers", name]),
                "no base URL",
                "add base_url = \"https://host/v1\"",
            );
        }
        if written.base_url.is_some() && !written.base_urls.is_empty() {
            self.error(
                path(["providers", name, "base_urls"]),
                "base_url and base_urls are both given",
                "keep one of them",
            );
        }
        let mut origins: Vec<(Arc<Origin>, usize)> = Vec::new();
        for (at, url, weight) in all {
            match Origin::parse(url) {
                Err(e) => self.error(at, e, "write it as https://host[:port]/path"),
                Ok(o) if origins.iter().any(|(other, _)| other.url == o.url) => {
                    self.error(at, "this base URL is there twice", "use weight instead");
                }
                Ok(o) => origins.push((Arc::new(o), weight)),
            }
        }
        origins
    }

    /// The headers to send, with the secrets among their values; `None` when
    /// the provider is left out.
    fn headers(&mut self, name: &'a str, written: &config::Provider) -> Option<Sent> {
        let mut headers = Vec::new();
        let mut secrets = Vec::new();
        if let Some(reference) = &written.credential {
            match reference.resolve() {
                Ok(secret) => {
                    headers.extend(credential(written.dialect, secret.expose()));
                    secrets.push(secret);
                }
                Err(_) if written.optional => {
                    self.absent.insert(name);
                    return None;
                }
                Err(e) => self.unresolved(path(["providers", name, "credential"]), &e.to_string()),
            }
        }
        for (key, source) in &written.headers {
            let at = path(["providers", name, "headers", key]);
            let Ok(header) = HeaderName::try_from(key.as_str()) else {
                self.error(at, "not a header name", "letters, digits and dashes");
                continue;
            };
            if RESERVED.contains(&header.as_str()) {
                self.error(at, "this header belongs to the gateway", "remove it");
                continue;
            }
            if owns(written, &header) {
                self.error(at, "this header belongs to the credential", "remove it");
                continue;
            }
            let value = match source {
                HeaderSource::Literal(text) => HeaderValue::from_str(text).ok(),
                HeaderSource::Reference(reference) => match reference.resolve() {
                    Ok(secret) => {
                        let value = sensitive(secret.expose());
                        secrets.push(secret);
                        value
                    }
                    Err(e) => {
                        self.unresolved(at, &e.to_string());
                        continue;
                    }
                },
            };
            match value {
                Some(value) => headers.push((header, value)),
                None => self.error(at, "not a header value", "visible ASCII on one line"),
            }
        }
        Some((headers, secrets))
    }

    pub(super) fn unresolved(&mut self, at: Path, reason: &str) {
        let hint = "set it where the gateway runs, or mark the provider optional = true";
        match self.unresolved {
            Unresolved::Warn => self.warn(at, reason, hint),
            Unresolved::Fail => self.error(at, reason, hint),
        }
    }

    fn peer_options(&mut self, name: &str, written: &config::Provider) -> PeerOptions {
        let times = &written.timeouts;
        let mut options = PeerOptions::new();
        options.connection_timeout = Some(times.connect);
        options.total_connection_timeout = Some(times.connect);
        // The dispatch loop has its own, shorter timers; these are the net below.
        options.read_timeout = Some(times.first_byte.max(times.idle) + Duration::from_secs(1));
        options.write_timeout = Some(times.write);
        options.idle_timeout = Some(times.pool_idle);
        options.max_h2_streams = H2_STREAMS as usize;
        // What a slow client may make us hold of a stream, and of all of them:
        // with less than the sum, one of them would stall the others.
        options.h2_stream_window_size = Some(H2_WINDOW);
        options.h2_connection_window_size = Some(H2_WINDOW * H2_STREAMS);
        // A connection that died silently is found out.
        options.h2_ping_interval = Some(Duration::from_secs(15));
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            count: 3,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::from_secs(30),
        });
        options.alpn = match written.http {
            config::HttpVersion::Http11 => ALPN::H1,
            config::HttpVersion::Http2 => ALPN::H2,
            config::HttpVersion::Auto => ALPN::H2H1,
        };
        if let Some(file) = &written.ca {
            match tls::authorities(file) {
                Ok(ca) => options.ca = Some(ca),
                Err(e) => self.error(
                    path(["providers", name, "ca"]),
                    e.to_string(),
                    "a PEM file with the authority's certificate",
                ),
            }
        }
        options
    }

    fn probe(
        &mut self,
        name: &str,
        written: &config::Provider,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Option<ProbeSpec> {
        let check = &written.health_check;
        let kind = match check.kind {
            config::HealthKind::Off => return None,
            config::HealthKind::Tcp => Kind::Tcp,
            config::HealthKind::Tls => Kind::Tls,
            config::HealthKind::Http => Kind::Http,
        };
        let at = |key| path(["providers", name, "health_check", key]);
        if kind == Kind::Http && !check.path.starts_with('/') {
            self.error(
                at("path"),
                "a path starts with /",
                "it is appended to the base URL",
            );
        }
        if PAID.iter().any(|paid| check.path.ends_with(paid)) {
            self.error(
                at("path"),
                "this path costs money on every probe",
                "use a free one such as /models",
            );
        }
        Some(ProbeSpec {
            kind,
            path: check.path.clone(),
            headers: headers.to_vec(),
            interval: check.interval,
            timeout: check.timeout,
            healthy_after: check.healthy_after,
            unhealthy_after: check.unhealthy_after,
        })
    }
}

/// The settings of a provider's breakers.
fn breaker(written: &config::Breaker) -> Settings {
    Settings {
        consecutive_failures: u32::try_from(written.consecutive_failures).unwrap_or(u32::MAX),
        error_rate: written.error_rate,
        open: written.open,
        open_max: written.open_max.max(written.open),
        ..Settings::default()
    }
}

/// Paths that no probe may use: each request there is billed.
const PAID: [&str; 8] = [
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/messages",
    "/images/generations",
    "/audio/speech",
    "/rerank",
];

/// How a dialect carries its credential.
fn credential(dialect: config::Dialect, secret: &str) -> Option<(HeaderName, HeaderValue)> {
    use config::Dialect as D;
    let (name, value) = match dialect {
        D::Anthropic => (HeaderName::from_static("x-api-key"), sensitive(secret)),
        D::Gemini => (HeaderName::from_static("x-goog-api-key"), sensitive(secret)),
        D::Azure => (HeaderName::from_static("api-key"), sensitive(secret)),
        D::OpenAi | D::Vertex | D::Bedrock | D::Cohere => {
            (AUTHORIZATION, sensitive(&format!("Bearer {secret}")))
        }
    };
    Some((name, value?))
}

/// A header value that no log prints.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What a pool depends on, as text. The credential counts only where probes
/// send it; it goes in as a hash.
fn fingerprint(
    written: &config::Provider,
    headers: &[(HeaderName, HeaderValue)],
    authorities: u64,
) -> String {
    let probed = written.health_check.kind == config::HealthKind::Http;
    let sent: Vec<_> = headers
        .iter()
        .filter(|_| probed)
        .map(|(n, v)| (n.as_str(), v.as_bytes()))
        .collect();
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:x} {:x}",
        written.base_url,
        written.base_urls,
        written.balance,
        written.http,
        written.timeouts,
        written.health_check,
        written.ca,
        hash(sent),
        authorities,
    )
}
