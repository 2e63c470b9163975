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
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Streams that a client may have open on one HTTP/2 connection.
const H2_STREAMS: u32 = 100;

/// Header list of one HTTP/2 request, bytes.
const H2_HEADERS: u32 = 64 << 10;

/// Streams reset by a client before they were accepted; more of them end the
/// connection (rapid reset, CVE-2023-44487).
const H2_PENDING_RESETS: usize = 20;

/// Bytes of an answer that may wait in an HTTP/2 stream for a slow reader.
const H2_SEND_BUFFER: usize = 128 << 10;

/// Requests on one HTTP/1.1 connection before it is closed, so that a
/// connection's memory and its place in a load balancer are given up one day.
const REQUESTS_PER_CONNECTION: u32 = 10_000;

tokio::task_local! {
    /// How far the connection of this task has got.
    static PROGRESS: Cell<Progress>;
}

/// How far a connection has got. Before it has a protocol, Pingora waits
/// without a limit for the bytes that tell HTTP/2 from HTTP/1.1; after it, for
/// HTTP/2's preface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Silent,
    Http2,
    Asked,
}

/// HTTP/2 connections that have asked for nothing yet, by their peer: their
/// requests run in tasks that know nothing else of the connection.
#[derive(Debug, Default)]
struct Quiet(Mutex<HashSet<SocketAddr>>);

impl Quiet {
    fn insert(&self, peer: SocketAddr) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(peer);
    }

    /// True if the connection had asked for nothing so far.
    fn remove(&self, peer: Option<SocketAddr>) -> bool {
        let mut quiet = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peer.is_some_and(|peer| quiet.remove(&peer))
    }
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
            .max_pending_accept_reset_streams(H2_PENDING_RESETS)
            .max_send_buffer_size(H2_SEND_BUFFER);
        proxy.h2_options = Some(h2);
        let http = Timed {
            proxy: Arc::new(proxy),
            quiet: Quiet::default(),
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
        let peer = peer_of(&stream);
        let connection = self.process_asking(stream, peer, shutdown);
        let result = PROGRESS
            .scope(Cell::new(Progress::Silent), connection)
            .await;
        self.http.quiet.remove(peer);
        result
    }

    async fn cleanup(&self) {
        self.http.cleanup().await;
    }
}

/// What came of waiting.
enum Waited<T> {
    Done(T),
    /// Not done, but far enough to go on.
    Enough,
    Never,
}

/// Runs `work` for at most `limit`, then asks whether it got far enough.
async fn unless<T>(
    limit: Duration,
    work: impl Future<Output = T>,
    far_enough: impl Fn() -> bool,
) -> Waited<T> {
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return Waited::Done(done),
        () = tokio::time::sleep(limit) => {}
    }
    if far_enough() {
        Waited::Enough
    } else {
        Waited::Never
    }
}

fn peer_of(stream: &Stream) -> Option<SocketAddr> {
    let digest = stream.get_socket_digest()?;
    digest.peer_addr()?.as_inet().copied()
}

impl Front {
    /// Serves a connection, as long as it asks for something in time.
    async fn process_asking(
        &self,
        stream: Stream,
        peer: Option<SocketAddr>,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        if let Some(peer) = peer {
            self.http.quiet.insert(peer);
        }
        let connection = self.http.process_new(stream, shutdown);
        tokio::pin!(connection);
        let spoke = unless(self.http.head, &mut connection, || {
            PROGRESS.with(Cell::get) != Progress::Silent
        });
        let (head, idle) = (self.http.head, self.http.idle);
        match spoke.await {
            Waited::Done(stream) => return stream,
            Waited::Enough if PROGRESS.with(Cell::get) == Progress::Asked => {}
            // A client may open HTTP/2 ahead of its first request.
            Waited::Enough => {
                let asked = unless(head + idle, &mut connection, || {
                    !self.http.quiet.remove(peer)
                });
                match asked.await {
                    Waited::Done(stream) => return stream,
                    Waited::Enough => {}
                    Waited::Never => return None,
                }
            }
            Waited::Never => return None,
        }
        connection.await
    }
}

/// The proxy with a clock on each head.
struct Timed {
    proxy: Arc<HttpProxy<Gateway>>,
    quiet: Quiet,
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
        if PROGRESS
            .try_with(|progress| progress.set(Progress::Asked))
            .is_err()
        {
            self.quiet
                .remove(session.client_addr().and_then(|a| a.as_inet()).copied());
        }
        let request = async {
            let request = self.proxy.process_new_http(session, shutdown);
            tokio::pin!(request);
            match unless(limit, &mut request, || HEAD_ARRIVED.with(Cell::get)).await {
                Waited::Done(reused) => reused,
                Waited::Enough => request.await,
                Waited::Never => None,
            }
        };
        HEAD_ARRIVED.scope(Cell::new(false), request).await
    }

    // Asked for once per HTTP/2 connection, when it is known to be one.
    fn h2_options(&self) -> Option<H2Options> {
        let _ = PROGRESS.try_with(|progress| progress.set(Progress::Http2));
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
