//! What is known of a request, and where it goes by that.

use super::intake::Call;
use super::{Ctx, Gateway};
use crate::chat::Request;
use crate::error::{ErrorKind, GatewayError};
use crate::features::{self, Head};
use crate::identity::Principal;
use crate::route::policy::Lost;
use crate::route::standing::Board;
use crate::table::{Asked, Decision, Reason, Refusal, Standing, Standings};
use bytes::Bytes;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Instant;

/// A body is looked through on a thread of its own beyond so many bytes: others
/// wait on this one.
const LARGE: usize = 256 << 10;

/// Decides where the request goes.
///
/// # Errors
/// When its model leads nowhere, or no target will do.
pub async fn run(
    gateway: &Gateway,
    ctx: &mut Ctx,
    who: &Principal,
    (call, request, body): (&Call, &Request, &Bytes),
) -> Result<Decision, GatewayError> {
    let table = Arc::clone(&ctx.table);
    let model = &request.model;
    let found = table.find(who, model).map_err(|why| refused(why, model))?;
    let wanted = table.wanted(&found);
    let head = Head {
        endpoint: call.operation.name(),
        stream: request.stream,
        max_output: request.max_output,
        is_json: request.is_json(),
    };
    let judge = table.judge().map(Arc::clone);
    let read = match body.len() > LARGE && wanted.is_any() {
        false => features::read(&head, body, wanted, judge.as_deref()),
        true => {
            let body = body.clone();
            let read = move || features::read(&head, &body, wanted, judge.as_deref());
            // Without features nothing is known, and rules say what that means.
            tokio::task::spawn_blocking(read).await.unwrap_or_default()
        }
    };
    let hard = read
        .features
        .said
        .is_some_and(|said| found.is_hard(said.score));
    let conversation = read.opening.map(|opening| conversation(ctx, opening));
    let standings = Live {
        board: &gateway.board,
    };
    let asked = Asked {
        who,
        model,
        tags: &ctx.record.tags,
        features: &read.features,
        hard,
        conversation,
        now: gateway.accounts.clock.now(),
        seed: ctx.seed,
        standings: &standings,
    };
    let decision = table.decide(&found, &asked);
    if let Some(said) = &read.features.said {
        found.count(said.score);
    }
    ctx.conversation = conversation;
    match &decision {
        Ok(decision) => tell(ctx, &decision.reason),
        Err(Refusal::NoCandidate(reason)) => tell(ctx, reason),
        Err(_) => {}
    }
    ctx.record.features = wanted.is_any().then(|| Arc::new(read.features));
    decision.map_err(|why| refused(why, model))
}

/// Writes down why it goes where it goes.
fn tell(ctx: &mut Ctx, reason: &Reason) {
    ctx.record.rule = reason.rule.as_ref().map(Arc::clone);
    ctx.record.decision = reason.is_any().then(|| reason.short().into());
}

/// What tells a conversation from others: who has it, and how it began.
fn conversation(ctx: &Ctx, opening: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    ctx.affinity.hash(&mut hasher);
    opening.hash(&mut hasher);
    hasher.finish()
}

/// How targets stand at the moment.
struct Live<'a> {
    board: &'a Board,
}

impl Standings for Live<'_> {
    fn of(&self, provider: &str, model: &str, stream: bool) -> Standing {
        let now = Instant::now();
        let Some(standing) = self.board.known(provider, model) else {
            return Standing::default();
        };
        Standing {
            first_token: standing.learned(stream).p50(),
            load: standing.load(),
            is_open: standing.breaker.peek(now).is_open(),
        }
    }

    fn last(&self, conversation: u64) -> Option<Arc<str>> {
        self.board.conversations.last(conversation, Instant::now())
    }
}

/// Why a request leads nowhere, in words for its client.
pub fn refused(refusal: Refusal, model: &str) -> GatewayError {
    // The name is the client's own; it stands inside a JSON string.
    let shown: String = model.chars().take(128).collect();
    match refusal {
        Refusal::Unknown => GatewayError::new(
            ErrorKind::UnknownModel,
            format!("The model '{shown}' does not exist."),
        ),
        Refusal::NotAllowed => GatewayError::new(
            ErrorKind::ModelNotAllowed,
            format!("This key may not use the model '{shown}'."),
        ),
        Refusal::RouteNotAllowed => GatewayError::new(
            ErrorKind::RouteNotAllowed,
            format!("This key may not take the route of the model '{shown}'."),
        ),
        Refusal::NoCandidate(reason) => no_candidate(&reason, &shown),
    }
    .with_param(Some("model"))
}

/// What nothing here can do is the client's to change; all else is the operator's.
fn no_candidate(reason: &Reason, model: &str) -> GatewayError {
    let mut cannot: Vec<_> = reason
        .lost
        .iter()
        .filter_map(|(_, why)| match why {
            Lost::Capability(what) => Some(*what),
            Lost::Context => Some("a request of this length"),
            _ => None,
        })
        .collect();
    let all = cannot.len() == reason.lost.len();
    cannot.sort_unstable();
    cannot.dedup();
    let error = match all && !cannot.is_empty() {
        true => GatewayError::new(
            ErrorKind::InvalidValue,
            format!("No model behind '{model}' takes {}.", cannot.join(" or ")),
        ),
        false => GatewayError::new(
            ErrorKind::NoCandidate,
            format!("No model behind '{model}' may serve this request."),
        ),
    };
    error.because(reason.short())
}
