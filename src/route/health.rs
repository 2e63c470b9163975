//! Active probes of a provider's addresses.
//!
//! The probing itself is pingora-load-balancing's; its checks know one host
//! per pool, so this one builds the right check for each address, once. A
//! probe never asks for a completion: it connects, or gets a free path.

use super::balance::first_address;
use super::endpoint::Address;
use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use pingora_core::{Error, ErrorType, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HealthCheck, HttpHealthCheck, TcpHealthCheck};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a probe does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Tls,
    Http,
}

/// A provider's health check, as the operator wrote it.
#[derive(Clone)]
pub struct ProbeSpec {
    pub kind: Kind,
    /// Appended to the base URL's path.
    pub path: String,
    /// The provider's credential and extra headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub interval: Duration,
    pub timeout: Duration,
    pub healthy_after: usize,
    pub unhealthy_after: usize,
}

impl std::fmt::Debug for ProbeSpec {
    // The headers hold the credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeSpec")
            .field("kind", &self.kind)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

type Check = Arc<dyn HealthCheck + Send + Sync>;

/// Probes whatever address it is given.
pub struct Probe {
    spec: ProbeSpec,
    /// One check per endpoint: each holds a connector with its own trust store.
    checks: Mutex<HashMap<String, Check>>,
}

impl Probe {
    pub fn new(spec: ProbeSpec) -> Self {
        Self {
            spec,
            checks: Mutex::default(),
        }
    }

    fn check_for(&self, address: &Address) -> Result<Check> {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(check) = checks.get(&address.origin.url) {
            return Ok(Arc::clone(check));
        }
        let check = self.build(address)?;
        checks.insert(address.origin.url.clone(), Arc::clone(&check));
        Ok(check)
    }

    fn build(&self, address: &Address) -> Result<Check> {
        if self.spec.kind == Kind::Http {
            return self.build_http(address);
        }
        let mut tcp = match self.spec.kind {
            Kind::Tls => TcpHealthCheck::new_tls(&address.origin.host),
            Kind::Tcp | Kind::Http => TcpHealthCheck::new(),
        };
        tcp.peer_template.options = address.peer.options.clone();
        tcp.peer_template.options.connection_timeout = Some(self.spec.timeout);
        tcp.peer_template.options.total_connection_timeout = Some(self.spec.timeout);
        Ok(Arc::from(tcp as Box<dyn HealthCheck + Send + Sync>))
    }

    fn build_http(&self, address: &Address) -> Result<Check> {
        let origin = &address.origin;
        let mut http: HttpHealthCheck = HttpHealthCheck::new(&origin.host, origin.tls);
        http.peer_template = address.peer.clone();
        let options = &mut http.peer_template.options;
        options.connection_timeout = Some(self.spec.timeout);
        options.total_connection_timeout = Some(self.spec.timeout);
        options.read_timeout = Some(self.spec.timeout);
        options.write_timeout = Some(self.spec.timeout);
        let path = format!("{}{}", origin.path, self.spec.path);
        let mut request = pingora_http::RequestHeader::build("GET", path.as_bytes(), None)?;
        request.insert_header(http::header::HOST, origin.authority.clone())?;
        request.insert_header(http::header::USER_AGENT, crate::USER_AGENT)?;
        for (name, value) in &self.spec.headers {
            request.insert_header(name.clone(), value.clone())?;
        }
        http.req = request;
        http.validator = Some(Box::new(|response| match response.status.as_u16() {
            // A refusal is an answer: whoever checks a credential is alive.
            100..500 => Ok(()),
            status => Error::e_explain(ErrorType::HTTPStatus(status), "health check"),
        }));
        Ok(Arc::new(http))
    }
}

#[async_trait]
impl HealthCheck for Probe {
    async fn check(&self, target: &Backend) -> Result<()> {
        let Some(address) = first_address(target) else {
            return Error::e_explain(ErrorType::InternalError, "a backend without an address");
        };
        let check = self.check_for(address)?;
        match tokio::time::timeout(self.spec.timeout, check.check(target)).await {
            Ok(result) => result,
            Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "health check"),
        }
    }

    async fn health_status_change(&self, target: &Backend, healthy: bool) {
        let endpoint = first_address(target).map_or("", |a| &a.origin.url);
        let address = target.addr.to_string();
        if healthy {
            log::info!(endpoint = endpoint, address = address.as_str(); "endpoint is healthy again");
        } else {
            log::warn!(endpoint = endpoint, address = address.as_str(); "endpoint is unhealthy");
        }
    }

    fn backend_summary(&self, target: &Backend) -> String {
        first_address(target).map_or_else(|| target.addr.to_string(), |a| a.origin.url.clone())
    }

    fn health_threshold(&self, success: bool) -> usize {
        if success {
            self.spec.healthy_after
        } else {
            self.spec.unhealthy_after
        }
    }
}
