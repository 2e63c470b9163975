//! The only room that speaks `ProxyHttp`: one request, step by step.
//!
//! [`Gateway::request_filter`] walks the steps and answers by itself; Pingora's
//! own upstream path is never taken, because it cannot fail over after a
//! header, and hangs on bodies over 64 KiB that were read first. What Pingora
//! does here is the downstream side: parsing, keep-alive, HTTP/2, TLS, and
//! calling `logging` exactly once per request, where the request is settled.
//!
//! ```text
//! intake -> inspect -> decide -> dispatch (attempt ...) -> relay -> settle
//! ```

mod admit;
mod attempt;
mod attribution;
mod authority;
mod bill;
mod ctx;
mod decide;
mod dispatch;
mod entry;
mod estimated;
mod exchange;
mod failure;
mod heard;
mod held;
mod intake;
mod models;
mod open;
mod passing;
mod phases;
mod race;
mod relay;
mod relay_bytes;
mod relay_passing;
mod relay_translated;
mod reply;
mod rescue;
mod restore;
mod returned;
mod seam;
mod settle;
mod tally;
mod trace;
mod transcript;
mod translate;
mod translated;
mod trip;
mod upstream;
mod vigil;
mod watch;

pub use admit::Accounts;
pub use ctx::Ctx;
pub use open::Open;
pub use restore::Coming;

use crate::chat;
use crate::error::{ErrorKind, GatewayError};
use crate::identity::Principal;
use crate::route::standing::Board;
use crate::table::RoutingTable;
use crate::telemetry::{AccessLog, Metrics, Traces};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use intake::Asked;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use std::any::Any;
use std::cell::Cell;
use std::sync::{Arc, OnceLock};

/// Idle connections kept to all providers together.
const POOL_SIZE: usize = 1024;

tokio::task_local! {
    /// Whether the head of the request being read has arrived: the listener
    /// that runs a request watches the time until it has.
    pub static HEAD_ARRIVED: Cell<bool>;
}

/// The data path.
pub struct Gateway {
    table: Arc<ArcSwap<RoutingTable>>,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    traces: Arc<Traces>,
    board: Arc<Board>,
    accounts: Arc<Accounts>,
    connector: Arc<Connector>,
    ending: Ending,
}

/// Turns true when the grace period of a stopping gateway is over.
pub type Ending = tokio::sync::watch::Receiver<bool>;

/// Why a request was left without a complete answer.
#[derive(Debug)]
enum Stop {
    /// Nothing was sent yet: the client gets an error.
    Refuse(GatewayError),
    /// The client left.
    Gone,
    /// Bytes were sent and the rest cannot follow: the answer ends without a
    /// sign of being complete. `Some` when the break was the provider's and
    /// could not be told in band.
    Cut(Option<GatewayError>),
}

impl From<GatewayError> for Stop {
    fn from(error: GatewayError) -> Self {
        Self::Refuse(error)
    }
}

impl Gateway {
    pub fn new(
        table: Arc<ArcSwap<RoutingTable>>,
        metrics: Arc<Metrics>,
        access_log: Arc<AccessLog>,
        traces: Arc<Traces>,
        board: Arc<Board>,
        accounts: Arc<Accounts>,
        ending: Ending,
    ) -> Self {
        let connector = Arc::new(Connector::new(Some(ConnectorOptions::new(POOL_SIZE))));
        Self {
            table,
            metrics,
            access_log,
            traces,
            board,
            accounts,
            connector,
            ending,
        }
    }

    /// Every step of a request, in order.
    async fn serve(&self, session: &mut Session, ctx: &mut Ctx) -> Result<(), Stop> {
        intake::arrive(session, ctx, &self.traces);
        ctx.admit()?;
        let asked = intake::head(session, ctx)?;
        let who = intake::identify(session, ctx)?;
        match asked {
            Asked::Models(page) => models::list(session, ctx, &who, &page).await,
            Asked::Model(id) => models::one(session, ctx, &who, &id).await,
            Asked::Call(call) => {
                refuse_endpoint(&who, call.operation)?;
                self.call(session, ctx, &who, call).await
            }
        }
    }

    async fn call(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        who: &Principal,
        call: intake::Call,
    ) -> Result<(), Stop> {
        let body = intake::body(session, ctx).await?;
        let depth = ctx.table.limits.json_depth;
        let mut request =
            chat::inspect(call.operation, call.media, &call.content_type, &body, depth)
                .map_err(|e| refuse_body(&e))?;
        // Elsewhere it is a member that nobody knows.
        request.stream &= call.operation.streams();
        ctx.asked(&request);
        attribution::run(session, ctx)?;
        let asked = (&call, &request, &body);
        let mut decision = decide::run(self, ctx, who, asked).await?;
        ctx.routed(&decision, call.operation);
        let max_output = admit::run(self, session, ctx, who, asked, &mut decision).await?;
        let outgoing = dispatch::Outgoing {
            call,
            request,
            body,
            terms: Arc::clone(&decision.terms),
            max_output,
            parsed: OnceLock::new(),
        };
        let (answer, trip) = dispatch::run(self, session, ctx, decision, &outgoing).await?;
        let expected = relay::Expected {
            operation: outgoing.call.operation,
            choices: outgoing.request.choices,
            voice: translate::voice(&outgoing, &answer, &ctx.request_id),
            terms: Arc::clone(&outgoing.terms),
            usage: relay::Usage::of(outgoing.call.operation, outgoing.request.include_usage),
        };
        // The body may be large and the answer long: it goes unless it may be needed again.
        let rescue = rescue::Rescue::of(outgoing, trip, &answer);
        relay::run(self, session, ctx, expected, answer, rescue).await
    }
}

/// Before the body is read: nobody sends it for nothing.
fn refuse_endpoint(who: &Principal, operation: chat::Operation) -> Result<(), GatewayError> {
    let name = operation.name();
    if who.may_call(name) {
        return Ok(());
    }
    let text = format!("This key may not call the endpoint '{name}'.");
    Err(GatewayError::new(ErrorKind::EndpointNotAllowed, text))
}

fn refuse_body(e: &chat::InspectError) -> GatewayError {
    let kind = match e {
        chat::InspectError::Json(_) => ErrorKind::InvalidJson,
        chat::InspectError::Multipart(_) => ErrorKind::InvalidRequest,
        _ => ErrorKind::InvalidValue,
    };
    GatewayError::new(kind, e.to_string()).with_param(e.param())
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(
            self.table.load_full(),
            Arc::clone(&self.metrics),
            self.ending.clone(),
        )
    }

    // The default installs a compression module that we never enable.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, _session: &mut Session, _ctx: &mut Ctx) -> Result<()> {
        // Outside a listener nobody waits for the head.
        let _ = HEAD_ARRIVED.try_with(|arrived| arrived.set(true));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        reply::prepare(session, ctx);
        let stop = match self.serve(session, ctx).await {
            Ok(()) => return Ok(true),
            Err(stop) => stop,
        };
        let stop = match stop {
            Stop::Refuse(error) => match reply::refuse(session, ctx, error).await {
                Ok(()) => return Ok(true),
                Err(stop) => stop,
            },
            other => other,
        };
        ctx.stopped(stop);
        // An error makes Pingora drop the connection (HTTP/1.1) or reset the
        // stream (HTTP/2): the client can tell that the answer is not whole.
        Error::e_explain(ErrorType::ConnectionClosed, "answer not completed")
            .map_err(Error::into_down)
    }

    // Tells the connection's clock that what comes next is not a first request.
    fn persist_connection_context(
        &self,
        _session: &Session,
        _ctx: &Ctx,
    ) -> Option<Box<dyn Any + Send + Sync>> {
        Some(Box::new(()))
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        Error::e_explain(
            ErrorType::InternalError,
            "every request is answered in request_filter",
        )
    }

    async fn fail_to_proxy(
        &self,
        _session: &mut Session,
        _e: &Error,
        _ctx: &mut Ctx,
    ) -> FailToProxy {
        FailToProxy {
            error_code: 0,
            can_reuse_downstream: false,
        }
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }

    async fn logging(&self, _session: &mut Session, _e: Option<&Error>, ctx: &mut Ctx) {
        settle::run(self, ctx);
    }
}
