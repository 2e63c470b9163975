//! A provider's addresses: base URLs, and the sockets that they resolve to.

use super::breaker::{Breaker, Settings};
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_core::upstreams::peer::{HttpPeer, PeerOptions, Scheme as PeerScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A parsed base URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// As written, without a trailing slash: the endpoint's name in logs and metrics.
    pub url: String,
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// `host` or `host:port`, as the `Host` header wants it.
    pub authority: HeaderValue,
    /// Path of the base URL, without a trailing slash; empty for none.
    pub path: String,
}

impl Origin {
    /// Parses `http(s)://host[:port][/path]`.
    ///
    /// # Errors
    /// Says what is wrong with the URL, for the operator.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("not a URL: {e}"))?;
        let tls = match uri.scheme() {
            Some(s) if *s == Scheme::HTTPS => true,
            Some(s) if *s == Scheme::HTTP => false,
            _ => return Err("a base URL starts with http:// or https://".to_owned()),
        };
        let authority = uri.authority().ok_or("a base URL names a host")?;
        if authority.as_str().contains('@') {
            return Err("a base URL holds no user or password; use `credential`".to_owned());
        }
        if uri.query().is_some() || url.contains('#') {
            return Err("a base URL has no query and no fragment".to_owned());
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err("a base URL names a host".to_owned());
        }
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            tls,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|_| "the host is not a valid header value".to_owned())?,
            host,
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// Recent time to first byte, smoothed: each answer counts for an eighth.
#[derive(Debug, Default)]
pub struct Latency(AtomicU64);

impl Latency {
    /// Takes in one answer. Racing answers may be lost, never torn.
    pub fn record(&self, took: Duration) {
        let new = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let old = self.0.load(Ordering::Relaxed);
        let next = if old == 0 {
            new
        } else {
            old - old / 8 + new / 8
        };
        self.0.store(next.max(1), Ordering::Relaxed);
    }

    /// Microseconds; 0 while nothing is known, so that a new address is tried.
    pub fn micros(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One socket address of one base URL: what a connection is made to.
pub struct Address {
    pub origin: Arc<Origin>,
    pub peer: HttpPeer,
    pub latency: Latency,
    pub breaker: Arc<Breaker>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("url", &self.origin.url)
            .field("peer", &self.peer._address)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// `options` carries timeouts, ALPN and trust. The breaker is a new one.
    pub fn new(origin: Arc<Origin>, addr: SocketAddr, options: PeerOptions, group: u64) -> Self {
        let scheme = if origin.tls {
            PeerScheme::HTTPS
        } else {
            PeerScheme::HTTP
        };
        // An empty SNI would switch certificate verification off.
        let sni = if origin.tls {
            origin.host.clone()
        } else {
            String::new()
        };
        let peer = HttpPeer {
            _address: PeerAddr::Inet(addr),
            scheme,
            sni,
            proxy: None,
            client_cert_key: None,
            group_key: group,
            options,
        };
        Self {
            origin,
            peer,
            latency: Latency::default(),
            breaker: Arc::new(Breaker::new(Settings::default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        let o = Origin::parse("https://api.openai.com/v1/").unwrap();
        assert_eq!(
            (o.tls, &*o.host, o.port, &*o.path),
            (true, "api.openai.com", 443, "/v1")
        );
        assert_eq!(o.authority, "api.openai.com");
        let o = Origin::parse("http://[::1]:8000").unwrap();
        assert_eq!(
            (o.tls, &*o.host, o.port, &*o.path),
            (false, "::1", 8000, "")
        );
        assert_eq!(o.authority, "[::1]:8000");
        for bad in [
            "api.openai.com/v1",
            "ftp://x/",
            "https://user:pw@x/",
            "https://x/?a=1",
            "https://x/#f",
            "https://",
            "",
        ] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn latency_moves_by_an_eighth() {
        let l = Latency::default();
        assert_eq!(l.micros(), 0);
        l.record(Duration::from_micros(800));
        assert_eq!(l.micros(), 800);
        l.record(Duration::from_micros(1600));
        assert_eq!(l.micros(), 900);
    }
}
