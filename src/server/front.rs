//! A connection before it is a request: how many there may be, and how long a
//! head may take.
//!
//! Pingora bounds each read of a head, not the whole head, so a client that
//! sends a byte a minute could stay for ever. The time here runs from the
//! first moment to the end of the head; on a kept connection, the idle time
//! comes before it.

use crate::gateway::{Gateway, HEAD_ARRIVED};
use crate::table::Times;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Counted;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::listeners::TlsAccept;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// Streams that a client may have open on one HTTP/2 connection.
const H2_STREAMS: u32 = 100;

/// Header list of one HTTP/2 request, bytes.
const H2_HEADERS: u32 = 64 << 10;

/// Streams reset by a client before they were accepted; more of them end the
/// connection (rapid reset, CVE-2023-44487).
const H2_PENDING_RESETS: usize = 20;

/// Requests on one HTTP/1.1 connection before it is closed, so that a
/// connection's memory and its place in a load balancer are given up one day.
const REQUESTS_PER_CONNECTION: u32 = 10_000;

tokio::task_local! {
    /// Whether a connection has got as far as having a protocol. Before that
    /// Pingora waits, without a limit, for the bytes that tell HTTP/2 from
    /// HTTP/1.1.
    static SPOKEN: Cell<bool>;
}

fn spoken() {
    // HTTP/2 runs its streams in tasks of their own, after the preface.
    let _ = SPOKEN.try_with(|spoken| spoken.set(true));
}

/// Counts client connections over all listeners.
pub struct Opening {
    limit: usize,
    metrics: Arc<Metrics>,
}

impl Opening {
    pub fn new(limit: usize, metrics: Arc<Metrics>) -> Self {
        Self { limit, metrics }
    }

    /// A place for one more connection, given back on drop.
    fn enter(&self) -> Option<Counted> {
        let place = self.metrics.connection();
        if self.metrics.connections_now() <= self.limit {
            return Some(place);
        }
        self.metrics.connection_refused();
        None
    }
}

/// What a listener hands its connections to.
pub struct Front {
    http: Arc<Timed>,
    opening: Arc<Opening>,
}

impl Front {
    pub fn new(
        conf: &Arc<ServerConf>,
        gateway: Gateway,
        h2c: bool,
        opening: Arc<Opening>,
        times: &Times,
    ) -> Self {
        let mut proxy = http_proxy(conf, gateway);
        let mut options = HttpServerOptions::default();
        options.h2c = h2c;
        options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
        options.h2_idle_timeout = Some(times.idle);
        proxy.server_options = Some(options);
        let mut h2 = H2Options::new();
        h2.max_concurrent_streams(H2_STREAMS)
            .max_header_list_size(H2_HEADERS)
            .max_pending_accept_reset_streams(H2_PENDING_RESETS);
        proxy.h2_options = Some(h2);
        let http = Timed {
            proxy: Arc::new(proxy),
            head: times.header,
            idle: times.idle,
        };
        Self {
            http: Arc::new(http),
            opening,
        }
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let _place = self.opening.enter()?;
        let connection = async {
            let connection = self.http.process_new(stream, shutdown);
            unless(self.http.head, connection, || SPOKEN.with(Cell::get))
                .await
                .flatten()
        };
        SPOKEN.scope(Cell::new(false), connection).await
    }

    async fn cleanup(&self) {
        self.http.cleanup().await;
    }
}

/// Runs `work`, but gives it up after `limit` if it has not got far enough.
async fn unless<T>(
    limit: Duration,
    work: impl Future<Output = T>,
    far_enough: impl Fn() -> bool,
) -> Option<T> {
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return Some(done),
        () = tokio::time::sleep(limit) => {}
    }
    if far_enough() { Some(work.await) } else { None }
}

/// The proxy with a clock on each head.
struct Timed {
    proxy: Arc<HttpProxy<Gateway>>,
    head: Duration,
    idle: Duration,
}

#[async_trait]
impl HttpServerApp for Timed {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // The gateway marks a connection that it has served once already.
        let mark = session.take_connection_user_context();
        let limit = if mark.is_some() {
            self.idle + self.head
        } else {
            self.head
        };
        session.set_connection_user_context(mark);
        spoken();
        let request = async {
            let request = self.proxy.process_new_http(session, shutdown);
            unless(limit, request, || HEAD_ARRIVED.with(Cell::get))
                .await
                .flatten()
        };
        HEAD_ARRIVED.scope(Cell::new(false), request).await
    }

    // Asked for once per HTTP/2 connection, when it is known to be one.
    fn h2_options(&self) -> Option<H2Options> {
        spoken();
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.proxy.server_options()
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

/// Pingora takes a certificate resolver only together with callbacks.
pub struct NoCallback;

#[async_trait]
impl TlsAccept for NoCallback {}
