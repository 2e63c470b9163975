//! From a decision to an answer: candidate by candidate while time is left.
//!
//! Within a target, another endpoint is tried where the fault may be the
//! endpoint's own; then the next target. What the client did wrong is not
//! tried again anywhere. The client is watched all the while: when it leaves,
//! the attempt in flight is dropped, which closes its connection.

use super::attempt::{self, Failure, Next, Served};
use super::intake::Call;
use super::upstream::request_head;
use super::{Ctx, Gateway, Stop};
use crate::chat::Request;
use crate::error::{ErrorKind, GatewayError};
use crate::identity::Principal;
use crate::route::endpoint::Address;
use crate::table::{Decision, Target};
use crate::telemetry::{Attempt, AttemptOutcome};
use bytes::Bytes;
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Instant;

/// Different endpoints of one target that a request tries.
const ENDPOINTS: usize = 2;

/// What goes out, as the client sent it.
pub struct Outgoing {
    pub call: Call,
    pub request: Request,
    pub body: Bytes,
}

/// Tries the decision's candidates in order until one answers.
///
/// # Errors
/// The last failure that says something, or that the client left.
pub async fn run(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    who: &Principal,
    decision: Decision,
    outgoing: &Outgoing,
) -> Result<Served, Stop> {
    debug_assert_eq!(ctx.record.key.as_ref(), Some(&who.name));
    let mut last: Option<GatewayError> = None;
    for target in decision.candidates {
        let pieces = outgoing.request.with_model(&outgoing.body, &target.model);
        let mut tried: Vec<Arc<Address>> = Vec::new();
        while tried.len() < ENDPOINTS {
            if Instant::now() >= ctx.deadline() {
                return Err(out_of_time(ctx).into());
            }
            let Some(address) = pick(ctx, &target, &tried).await else {
                break;
            };
            tried.push(Arc::clone(&address));
            match once(gateway, session, ctx, &target, address, outgoing, &pieces).await? {
                Ok(served) => return Ok(served),
                Err(failure) => {
                    let next = failure.next;
                    let error = failure.error;
                    match next {
                        Next::Stop => return Err(error.into()),
                        Next::Endpoint => last = Some(error),
                        Next::Target => {
                            last = Some(error);
                            break;
                        }
                    }
                }
            }
        }
    }
    Err(match last {
        _ if Instant::now() >= ctx.deadline() => out_of_time(ctx),
        Some(error) => error,
        None => GatewayError::new(
            ErrorKind::NoTarget,
            "No provider for this model is reachable.",
        )
        .because("no healthy endpoint"),
    }
    .into())
}

/// An address of the target that was not tried yet; none when time runs out
/// over resolving its name.
async fn pick(ctx: &Ctx, target: &Target, tried: &[Arc<Address>]) -> Option<Arc<Address>> {
    let deadline = ctx.deadline().into();
    let picked = target.provider.pool.pick(&ctx.affinity, tried);
    tokio::time::timeout_at(deadline, picked)
        .await
        .ok()
        .flatten()
}

/// One attempt, written down. The outer error is the end of the request.
async fn once(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    target: &Target,
    address: Arc<Address>,
    outgoing: &Outgoing,
    pieces: &[Bytes],
) -> Result<Result<Served, Failure>, Stop> {
    let started = Instant::now();
    let provider = &target.provider;
    let length = pieces.iter().map(Bytes::len).sum();
    let head = request_head(session, ctx, provider, &address, outgoing, length).map_err(|e| {
        GatewayError::new(ErrorKind::Internal, "The request could not be written.").because(e)
    })?;
    let plan = attempt::Plan {
        connector: &gateway.connector,
        provider,
        address: &address,
        limits: &ctx.table.limits,
        first_byte_by: ctx.deadline().min(started + provider.timeouts.first_byte),
    };
    let result = tokio::select! {
        biased;
        result = attempt::run(&plan, head, pieces) => Some(result),
        () = gone(&mut session.downstream_session) => None,
    };
    let (outcome, status) = match &result {
        None => (AttemptOutcome::Canceled, None),
        Some(Ok(served)) => (AttemptOutcome::Ok, Some(served.status())),
        Some(Err(failure)) => (failure.outcome, failure.status),
    };
    ctx.attempted(Attempt {
        provider: Arc::clone(&provider.name),
        model: target.model.as_str().into(),
        endpoint: address.origin.url.as_str().into(),
        outcome,
        status,
        duration: started.elapsed(),
    });
    match result {
        None => Err(Stop::Gone),
        Some(result) => {
            if result.is_ok() {
                address.latency.record(started.elapsed());
            }
            Ok(result)
        }
    }
}

/// Resolves when the client has left.
pub async fn gone(session: &mut ServerSession) {
    if session.read_body_or_idle(true).await.is_ok() {
        // Not a disconnect, and there is nothing more to learn here.
        std::future::pending::<()>().await;
    }
}

fn out_of_time(ctx: &Ctx) -> GatewayError {
    let seconds = ctx.table.times.request.as_secs_f32();
    GatewayError::new(
        ErrorKind::DeadlineExceeded,
        format!("No provider answered within {seconds} s."),
    )
}
