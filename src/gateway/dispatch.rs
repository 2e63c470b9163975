//! From a decision to an answer: candidate by candidate while time is left.
//!
//! Within a target, another endpoint is tried where the fault may be the
//! endpoint's own; then the next target. What the client did wrong is not
//! tried again anywhere. The client is watched all the while: when it leaves,
//! the attempt in flight is dropped, which closes its connection.

use super::attempt::{self, Failure, Next, Served};
use super::intake::Call;
use super::returned::Returned;
use super::translate::{Lane, Sending, prepare};
use super::upstream::{ASKING, request_head};
use super::{Ctx, Ending, Gateway, Stop};
use crate::chat::{Conversation, Request, estimate};
use crate::error::{ErrorKind, GatewayError};
use crate::route::endpoint::Address;
use crate::table::{Decision, Target};
use crate::telemetry::{Attempt, AttemptOutcome};
use bytes::Bytes;
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::Session;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Different endpoints of one target that a request tries.
const ENDPOINTS: usize = 2;

/// What a failed attempt counts as among times to the answer's head.
const FAILED: Duration = Duration::from_secs(10);

/// What goes out, as the client sent it.
pub struct Outgoing {
    pub call: Call,
    pub request: Request,
    pub body: Bytes,
    /// The canonical form, made when a target first needs it.
    pub parsed: OnceLock<Result<Conversation, GatewayError>>,
}

/// Tries the decision's candidates in order until one answers.
///
/// # Errors
/// The last failure that says something, or that the client left.
pub async fn run(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    decision: Decision,
    outgoing: &Outgoing,
) -> Result<Served, Stop> {
    let mut last: Option<GatewayError> = None;
    for candidate in decision.candidates.iter().cloned() {
        let target = candidate.target;
        let sending = match prepare(outgoing, &target, decision.terms.strict) {
            Ok(sending) => sending,
            // Another target may be able to carry it.
            Err(error) => {
                ctx.returned = Returned::default();
                last = Some(error);
                continue;
            }
        };
        if let Lane::Estimate { tokens } = sending.lane {
            return estimated(ctx, &target, tokens);
        }
        let mut tried: Vec<Arc<Address>> = Vec::new();
        while tried.len() < ENDPOINTS {
            if Instant::now() >= ctx.deadline() {
                return Err(out_of_time(ctx).into());
            }
            let Some(address) = pick(ctx, &target, &tried).await else {
                if tried.is_empty() && !target.provider.pool.is_resolved() {
                    last = Some(unresolved(ctx, &target));
                }
                break;
            };
            tried.push(Arc::clone(&address));
            match once(gateway, session, ctx, &target, address, outgoing, &sending).await? {
                Ok(served) => {
                    ctx.dropped = sending.dropped;
                    ctx.dropped.extend(unasked(session, sending.lane));
                    return Ok(served);
                }
                Err(failure) => {
                    let next = failure.next;
                    let error = failure.error;
                    ctx.returned = failure.returned;
                    match next {
                        Next::Stop => return Err(error.into()),
                        Next::Estimate => {
                            let tokens = estimate::tokens(outgoing.conversation()?);
                            return estimated(ctx, &target, tokens);
                        }
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

/// A count that no provider made.
fn estimated(ctx: &mut Ctx, target: &Target, tokens: u64) -> Result<Served, Stop> {
    ctx.answered_here();
    Served::estimate(&target.provider, tokens).ok_or(Stop::Gone)
}

/// Names of the client's headers that a translated request does not carry.
fn unasked(session: &Session, lane: Lane) -> Vec<String> {
    let sent = ASKING
        .into_iter()
        .filter(|name| lane != Lane::Pass && session.get_header(*name).is_some());
    sent.map(str::to_owned).collect()
}

/// Writes down an attempt that ended at its provider's name.
fn unresolved(ctx: &mut Ctx, target: &Target) -> GatewayError {
    let origins = &target.provider.pool.spec().origins;
    ctx.attempted(Attempt {
        provider: Arc::clone(&target.provider.name),
        model: target.model.as_str().into(),
        endpoint: origins.first().map_or("", |(o, _)| &o.url).into(),
        outcome: AttemptOutcome::ConnectFailed,
        status: None,
        request_id: None,
        duration: Duration::ZERO,
    });
    let text = "The provider could not be reached.";
    GatewayError::new(ErrorKind::UpstreamError, text).because("its name does not resolve")
}

/// An address of the target that was not tried yet; none when time runs out
/// over resolving its name.
async fn pick(ctx: &Ctx, target: &Target, tried: &[Arc<Address>]) -> Option<Arc<Address>> {
    let provider = &target.provider;
    // Resolving a name is a part of connecting.
    let by = ctx
        .deadline()
        .min(Instant::now() + provider.timeouts.connect);
    let picked = provider.pool.pick(&ctx.affinity, tried);
    tokio::time::timeout_at(by.into(), picked)
        .await
        .ok()
        .flatten()
        .map(|picked| picked.address)
}

/// One attempt, written down. The outer error is the end of the request.
async fn once(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    target: &Target,
    address: Arc<Address>,
    outgoing: &Outgoing,
    sending: &Sending,
) -> Result<Result<Served, Failure>, Stop> {
    let started = Instant::now();
    let provider = &target.provider;
    let head = request_head(session, ctx, provider, &address, outgoing, sending).map_err(|e| {
        GatewayError::new(ErrorKind::Internal, "The request could not be written.").because(e)
    })?;
    let plan = attempt::Plan {
        connector: &gateway.connector,
        provider,
        address: &address,
        sending,
        model: &target.model,
        operation: outgoing.call.operation,
        stream: outgoing.request.stream,
        speech: ctx.speech,
        limits: &ctx.table.limits,
        deadline: ctx.deadline(),
    };
    let mut ending = ctx.ending.clone();
    let result = tokio::select! {
        biased;
        result = attempt::run(&plan, head) => Ok(result),
        why = interrupted(&mut session.downstream_session, &mut ending) => Err(why),
    };
    let (outcome, status, returned) = match &result {
        Err(_) => (AttemptOutcome::Canceled, None, None),
        Ok(Ok(served)) => (
            AttemptOutcome::Ok,
            Some(served.status()),
            Some(&served.returned),
        ),
        Ok(Err(failure)) => (failure.outcome, failure.status, Some(&failure.returned)),
    };
    ctx.attempted(Attempt {
        provider: Arc::clone(&provider.name),
        model: target.model.as_str().into(),
        endpoint: address.origin.url.as_str().into(),
        outcome,
        status,
        request_id: returned.and_then(|r| r.request_id.clone()),
        duration: started.elapsed(),
    });
    match result {
        Err(Interruption::Client) => Err(Stop::Gone),
        Err(Interruption::Gateway) => Err(stopping().into()),
        Ok(result) => {
            learn(&address, &result, started.elapsed());
            Ok(result)
        }
    }
}

/// Remembers how fast the address was. One that fails is as good as slow, or
/// it would look new, and be preferred, for ever.
fn learn(address: &Address, result: &Result<Served, Failure>, took: Duration) {
    match result {
        Ok(served) => address.latency.record(served.head_after),
        Err(failure) => match failure.outcome {
            AttemptOutcome::Rejected | AttemptOutcome::AuthFailed | AttemptOutcome::RateLimited => {
            }
            _ => address.latency.record(took.max(FAILED)),
        },
    }
}

/// Why the waiting for a provider ends before the provider says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The client left.
    Client,
    /// The gateway is being stopped and its grace period is over.
    Gateway,
}

/// Resolves when there is nobody left to wait for, or no time.
pub async fn interrupted(session: &mut ServerSession, ending: &mut Ending) -> Interruption {
    tokio::select! {
        () = gone(session) => Interruption::Client,
        _ = ending.wait_for(|over| *over) => Interruption::Gateway,
    }
}

async fn gone(session: &mut ServerSession) {
    if session.read_body_or_idle(true).await.is_ok() {
        // Not a disconnect, and there is nothing more to learn here.
        std::future::pending::<()>().await;
    }
}

/// What a request is told that the stopping gateway cannot finish.
pub fn stopping() -> GatewayError {
    GatewayError::new(ErrorKind::Stopping, "The gateway is being stopped.")
        .with_retry_after(Some(Duration::from_secs(1)))
}

fn out_of_time(ctx: &Ctx) -> GatewayError {
    let seconds = ctx.table.times.request.as_secs_f32();
    GatewayError::new(
        ErrorKind::DeadlineExceeded,
        format!("No provider answered within {seconds} s."),
    )
}
