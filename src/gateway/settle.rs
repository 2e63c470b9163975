//! The end of every request, on every exit: metrics, access log, one line for
//! the operator when something is wrong.

use super::{Ctx, Gateway};
use crate::telemetry::{Outcome, Record};
use pingora_proxy::Session;

/// Tells what became of the request, once.
pub fn run(gateway: &Gateway, _session: &Session, ctx: &mut Ctx) {
    ctx.count_serving();
    if let Some(serving) = ctx.serving_from.take()
        && ctx.record.outcome == Outcome::Ok
    {
        serving.done();
    }
    let record = Record {
        request_id: std::mem::take(&mut ctx.request_id),
        trace_id: Some(std::mem::take(&mut ctx.trace.trace_id)),
        duration: ctx.started.elapsed(),
        ..std::mem::take(&mut ctx.record)
    };
    if let Some(trouble) = ctx.trouble.take() {
        // What clients bring about by themselves must not fill the log.
        let level = match record.outcome {
            Outcome::ClientError | Outcome::Refused => log::Level::Debug,
            _ => log::Level::Warn,
        };
        log::log!(
            level,
            request_id = record.request_id.as_str(),
            route = record.route.as_deref().unwrap_or_default(),
            provider = record.provider.as_deref().unwrap_or_default(),
            outcome = record.outcome.label(),
            cause = trouble.as_str();
            "request not served"
        );
    } else if record.outcome == Outcome::Internal {
        log::error!(request_id = record.request_id.as_str(); "request ended without an outcome");
    }
    gateway.metrics.request_finished(&record);
    gateway.access_log.write(&record);
    ctx.leave();
}
