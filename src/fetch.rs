//! One HTTP exchange of the gateway's own, over Pingora's connector: with a
//! source of credentials, with a collector of traces.
//!
//! Promises: short times, a small answer, no redirect, certificates verified,
//! and nothing of the answer in an error. Connections are not kept: nobody is
//! asked more than a few times a second.

use crate::route::endpoint::{Address, Origin};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderName, HeaderValue};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::PeerOptions;
use pingora_http::RequestHeader;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use zeroize::Zeroizing;

/// TCP and TLS. Whoever is asked is near, or large.
const CONNECT: Duration = Duration::from_secs(2);

/// One exchange.
const EXCHANGE: Duration = Duration::from_secs(5);

/// Addresses of one name that are tried.
const ADDRESSES: usize = 3;

/// Longest answer.
const ANSWER: usize = 64 << 10;

/// One for all: the system's certificates are read once.
static CONNECTOR: LazyLock<Connector> = LazyLock::new(|| Connector::new(None));

/// Why there is no answer. It never holds any part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("{0} could not be reached: {1}")]
    Unreachable(String, String),
    #[error("{0} did not answer in time")]
    Silent(String),
    #[error("{0} gave too long an answer")]
    TooLong(String),
}

/// A place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    origin: Arc<Origin>,
    /// With the query, if there is one.
    path: String,
}

impl Url {
    /// Parses an absolute `http` or `https` URL.
    ///
    /// # Errors
    /// Says what is wrong with it, for the operator.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: http::Uri = url.parse().map_err(|e| format!("not a URL: {e}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("it starts with http:// or https:// and names a host".to_owned());
        };
        let origin = Origin::parse(&format!("{scheme}://{authority}"))?;
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        Ok(Self {
            origin: Arc::new(origin),
            path: path.to_owned(),
        })
    }

    /// The same with `path`, which starts with a slash, after its own.
    pub fn join(&self, path: &str) -> Self {
        Self {
            origin: Arc::clone(&self.origin),
            path: format!("{}{path}", self.path.trim_end_matches('/')),
        }
    }

    pub fn host(&self) -> &str {
        &self.origin.host
    }

    pub fn is_https(&self) -> bool {
        self.origin.tls
    }
}

impl std::fmt::Display for Url {
    /// Without the query.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}{path}", self.origin.url)
    }
}

/// What is asked.
pub struct Question<'a> {
    pub method: &'static str,
    pub url: &'a Url,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Zeroizing<Vec<u8>>,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    /// How long to leave it alone, if it says so in seconds.
    pub retry_after: Option<Duration>,
    pub body: Zeroizing<Vec<u8>>,
}

impl Question<'_> {
    /// Asks.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub async fn ask(&self) -> Result<Answer, Unanswered> {
        let answered = tokio::time::timeout(EXCHANGE, self.exchange()).await;
        answered.unwrap_or_else(|_| Err(Unanswered::Silent(self.url.to_string())))
    }

    async fn exchange(&self) -> Result<Answer, Unanswered> {
        let mut session = self.connect().await?;
        let answer = self.talk(&mut session).await;
        session.shutdown().await;
        // The whole text of Pingora's error may quote what it read: a token.
        answer.map_err(|e| match e {
            Broken::Error(e) => self.unreachable(e.etype().as_str()),
            Broken::TooLong => Unanswered::TooLong(self.url.to_string()),
        })
    }

    async fn connect(&self) -> Result<HttpSession, Unanswered> {
        let origin = &self.url.origin;
        let found = tokio::net::lookup_host((&*origin.host, origin.port)).await;
        let addresses = found.map_err(|_| self.unreachable("its name does not resolve"))?;
        let mut last = "its name does not resolve";
        for address in addresses.take(ADDRESSES) {
            let address = Address::new(Arc::clone(origin), address, options(), 0);
            match CONNECTOR.get_http_session(&address.peer).await {
                Ok((session, _)) => return Ok(session),
                Err(e) => last = e.etype().as_str(),
            }
        }
        Err(self.unreachable(last))
    }

    async fn talk(&self, session: &mut HttpSession) -> Result<Answer, Broken> {
        session.set_read_timeout(Some(EXCHANGE));
        session.set_write_timeout(Some(EXCHANGE));
        session.write_request_header(Box::new(self.head()?)).await?;
        if !self.body.is_empty() {
            let body = Bytes::copy_from_slice(&self.body);
            session.write_request_body(body, true).await?;
        }
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let head = session.response_header();
        let status = head.map_or(0, |h| h.status.as_u16());
        let retry_after = head
            .and_then(|h| h.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        // Sized for the whole answer: growing would leave copies behind unwiped.
        let mut body = Zeroizing::new(Vec::with_capacity(ANSWER));
        while let Some(piece) = session.read_response_body().await? {
            if body.len() + piece.len() > ANSWER {
                return Err(Broken::TooLong);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }

    fn head(&self) -> pingora_core::Result<RequestHeader> {
        let mut head = RequestHeader::build(self.method, self.url.path.as_bytes(), Some(6))?;
        head.insert_header(HOST, self.url.origin.authority.clone())?;
        head.insert_header(USER_AGENT, crate::USER_AGENT)?;
        if self.method != "GET" {
            head.insert_header(CONTENT_LENGTH, self.body.len())?;
        }
        for (name, value) in &self.headers {
            head.insert_header(name.clone(), value.clone())?;
        }
        Ok(head)
    }

    fn unreachable(&self, why: &str) -> Unanswered {
        Unanswered::Unreachable(self.url.to_string(), why.to_owned())
    }
}

enum Broken {
    Error(Box<pingora_core::Error>),
    TooLong,
}

impl From<Box<pingora_core::Error>> for Broken {
    fn from(e: Box<pingora_core::Error>) -> Self {
        Self::Error(e)
    }
}

fn options() -> PeerOptions {
    let mut options = PeerOptions::new();
    options.connection_timeout = Some(CONNECT);
    options.total_connection_timeout = Some(CONNECT);
    options.read_timeout = Some(EXCHANGE);
    options.write_timeout = Some(EXCHANGE);
    options.alpn = ALPN::H1;
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url = Url::parse("http://169.254.170.2/v2/credentials/u?a=secret").unwrap();
        assert_eq!(url.path, "/v2/credentials/u?a=secret");
        assert_eq!(url.to_string(), "http://169.254.170.2/v2/credentials/u");
        let base = Url::parse("http://[fd00:ec2::254]:80/").unwrap();
        assert_eq!(base.host(), "fd00:ec2::254");
        assert_eq!(base.join("/latest").path, "/latest");
        assert_eq!(Url::parse("https://x").unwrap().join("/a").path, "/a");
        for bad in ["", "/path", "x/y", "ftp://x/", "http://u:p@x/"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }
}
