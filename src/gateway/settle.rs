//! The end of every request, on every exit: what it comes to, budgets, ledger,
//! metrics, access log, traces, one line for the operator when something is
//! wrong.
//!
//! Where tokens have to be counted first, all of this happens on a thread beside
//! the path of requests; the request counts as in flight until it is done.

use super::bill::Bill;
use super::estimated::{self, Part};
use super::{Ctx, Gateway};
use crate::admission::Load;
use crate::ledger::{self, Settlement, UsageSource};
use crate::telemetry::metrics::Counted;
use crate::telemetry::{AccessLog, Metrics, Outcome, Record, Traces};
use std::sync::Arc;
use std::time::Instant;

/// Tells what became of the request, once.
pub fn run(gateway: &Gateway, ctx: &mut Ctx) {
    ctx.count_serving();
    ctx.take_tally();
    if let Some(serving) = ctx.serving_from.take()
        && ctx.record.outcome == Outcome::Ok
    {
        serving.done();
        remember(gateway, ctx);
    }
    let record = Record {
        request_id: std::mem::take(&mut ctx.request_id),
        trace_id: Some(std::mem::take(&mut ctx.trace.trace_id)),
        span: std::mem::take(&mut ctx.trace.span),
        duration: ctx.started.elapsed(),
        ..std::mem::take(&mut ctx.record)
    };
    let ending = Ending {
        record,
        trouble: ctx.trouble.take(),
        metrics: Arc::clone(&gateway.metrics),
        access_log: Arc::clone(&gateway.access_log),
        traces: Arc::clone(&gateway.traces),
        in_flight: ctx.leave(),
    };
    let Some(bill) = ctx.bill.take() else {
        return ending.tell();
    };
    let needs_counting = |charge| estimated::needs_counting(charge, &bill.prompt);
    if bill.charges.iter().any(needs_counting) {
        tokio::task::spawn_blocking(move || ending.pay(bill));
    } else {
        ending.pay(bill);
    }
}

/// Who served the conversation has it in its cache.
fn remember(gateway: &Gateway, ctx: &Ctx) {
    let record = &ctx.record;
    if let (Some(conversation), Some(provider), Some(model)) =
        (ctx.conversation, &record.provider, &record.upstream_model)
    {
        let target = format!("{provider}/{model}").into();
        let conversations = &gateway.board.conversations;
        conversations.served(conversation, target, Instant::now());
    }
}

/// A request that is over.
struct Ending {
    record: Record,
    trouble: Option<String>,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    traces: Arc<Traces>,
    /// The request's place among those in flight.
    in_flight: Option<Counted>,
}

impl Ending {
    /// Pays what the request comes to, and tells it.
    fn pay(mut self, mut bill: Bill) {
        let parts: Vec<Part> = bill
            .charges
            .iter()
            .zip(&self.record.attempts)
            .map(|(charge, attempt)| {
                estimated::part(charge, bill.price(charge.at), &bill.prompt, &attempt.model)
            })
            .collect();
        let entry = bill.entry.take();
        // What is answered here was asked all the same.
        let is_served = self.record.outcome == Outcome::Ok;
        let charged = match self.record.attempts.is_empty() && !is_served {
            true => {
                bill.void();
                Load::default()
            }
            false => bill.settle(&parts.iter().map(load).collect::<Vec<_>>()),
        };
        self.keep(parts, charged);
        self.metrics.accounting.settled(&self.record);
        if let Some(entry) = entry {
            let id = entry.id();
            entry.settle(settlement(id, &self.record));
        }
        self.tell();
    }

    /// Writes what the attempts used into the record.
    fn keep(&mut self, parts: Vec<Part>, charged: Load) {
        let record = &mut self.record;
        record.cost = charged.cost;
        for (attempt, part) in record.attempts.iter_mut().zip(parts) {
            record.usage = record.usage.plus(part.usage);
            record.unpriced |= part.unpriced;
            record.usage_source = surer(record.usage_source, part.source);
            attempt.usage = part.usage;
            attempt.usage_source = part.source;
            attempt.cost = part.cost;
            attempt.price = part.price;
        }
    }

    fn tell(self) {
        let record = &self.record;
        if let Some(trouble) = &self.trouble {
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
        self.metrics.request_finished(record);
        self.access_log.write(record);
        self.traces.tell(self.record);
        drop(self.in_flight);
    }
}

/// Of two sources, what can be said of both together.
const fn surer(one: UsageSource, other: UsageSource) -> UsageSource {
    match (one, other) {
        (UsageSource::None, other) => other,
        (one, UsageSource::None) => one,
        (UsageSource::Provider, UsageSource::Provider) => UsageSource::Provider,
        _ => UsageSource::Estimated,
    }
}

fn load(part: &Part) -> Load {
    Load {
        requests: 1,
        input_tokens: part.usage.prompt,
        output_tokens: part.usage.completion,
        cost: part.cost,
    }
}

fn settlement(id: u64, record: &Record) -> Settlement {
    let attempts = record.attempts.iter().map(|attempt| ledger::Attempt {
        provider: Arc::clone(&attempt.provider),
        model: Arc::clone(&attempt.model),
        endpoint: Arc::clone(&attempt.endpoint),
        role: attempt.role.label(),
        outcome: attempt.outcome.label(),
        status: attempt.status,
        duration: attempt.duration,
        first_token: attempt.first_token,
        usage: attempt.usage,
        source: attempt.usage_source,
        cost: attempt.cost,
        price: attempt.price.clone(),
    });
    Settlement {
        id,
        outcome: record.outcome.label(),
        error: record.error,
        status: record.status,
        duration: record.duration,
        first_byte: record.first_byte,
        provider: record.provider.clone(),
        model: record.upstream_model.clone(),
        usage: record.usage,
        source: record.usage_source,
        cost: record.cost,
        unpriced: record.unpriced,
        attempts: attempts.collect(),
    }
}
