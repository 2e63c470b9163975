//! Before anything is sent: what the request may use is reserved, and written
//! down.

use super::bill::{self, Bill, Desk, Extent, Names, Prompt, longest_within};
use super::entry::Entry;
use super::intake::Call;
use super::open::{self, Ending, Open, Outlook};
use super::{Ctx, Gateway, Stop, vigil};
use crate::admission::{Clock, Hold, Limiter, Refusal, Rule, Why};
use crate::chat::Request;
use crate::error::{ErrorKind, GatewayError};
use crate::identity::Principal;
use crate::ledger::{Decided, Intent, Ledger, Need, Targets};
use crate::meter::Size;
use crate::table::{Candidate, Decision, Target, rules_of_key};
use crate::units::{Measure, MicroUsd, Moment, Window};
use bytes::Bytes;
use pingora_proxy::Session;
use std::sync::Arc;

/// The shortest answer that is worth sending a request for, in tokens.
const SHORTEST: u64 = 16;

/// Whatever counts, for all requests and beyond any table.
pub struct Accounts {
    pub limiter: Limiter,
    pub open: Open,
    pub clock: Clock,
    pub ledger: Arc<Ledger>,
    /// Whether requests are served while the ledger cannot be written.
    pub buffers: bool,
}

/// Admits a request: opens its bill. `decision` loses the candidates that it may
/// not come to. Returns the longest answer that is covered, in tokens, where
/// that is less than what was asked for.
///
/// # Errors
/// When a limit or a budget has not enough left, or what is used could not be
/// written down.
pub async fn run(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    who: &Principal,
    asks: (&Call, &Request, &Bytes),
    decision: &mut Decision,
) -> Result<Option<u64>, Stop> {
    loop {
        let outlook = gateway.accounts.open.outlook(ctx.table.version);
        let admitted = once(gateway, session, ctx, who, asks, decision, &outlook).await?;
        if let Admitted::Now(clamped) = admitted {
            return Ok(clamped);
        }
    }
}

/// What came of one try.
enum Admitted {
    /// With the longest answer, where it is shorter than asked.
    Now(Option<u64>),
    /// Limits came in the meantime: they have to be asked too.
    Outdated,
}

async fn once(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    who: &Principal,
    (call, request, body): (&Call, &Request, &Bytes),
    decision: &mut Decision,
    outlook: &Outlook,
) -> Result<Admitted, Stop> {
    let now = gateway.accounts.clock.now();
    let names = names(ctx, who, call, decision);
    let rules = rules(ctx, who, outlook);
    let size = Size::of(body);
    let extent = Extent {
        operation: call.operation,
        size,
        answers: request.generated,
        max_output: request.max_output,
    };
    let candidates = decision.candidates.iter();
    let bound = |one: &Candidate| extent.at(one, ctx.table.price(&one.target, now));
    let mut asked = bill::Request {
        bounds: candidates.map(bound).collect(),
        names,
        rules,
        prompt: Prompt::of(body, size),
    };
    let mut hard = hard(&asked, decision);
    let is_budget = |rule: &Arc<Rule>| rule.allowance.measure == Measure::Usd;
    let budgets: Vec<_> = hard.iter().filter(|r| is_budget(r)).cloned().collect();
    if !budgets.is_empty() {
        refuse_surcharge(request)?;
        drop_unpriced(&mut asked, &budgets, decision)?;
        // Of the candidates that are left.
        hard = self::hard(&asked, decision);
    }
    // Elsewhere nothing in the request limits what is answered.
    let may_clamp = decision.terms.clamp_output && call.operation.says_texts();
    let mut clamped = None;
    let (hold, time) = loop {
        let refusal = match reserve(gateway, session, ctx, &asked).await? {
            Ok(reserved) => break reserved,
            Err(refusal) => refusal,
        };
        let answers = extent.answers.max(1);
        let shorter = may_clamp.then(|| shorter(&asked, &refusal)).flatten();
        // Each round is shorter than the one before.
        let Some(one) = shorter.and_then(|all| of_one(all, answers)) else {
            ctx.standing = *refusal.standing;
            ctx.metrics.accounting.refused(&refusal);
            return Err(refused(&refusal).into());
        };
        for bound in &mut asked.bounds {
            bound.output = bound.output.min(one.saturating_mul(answers));
        }
        clamped = Some(one);
    };
    ctx.standing = hold.standing();
    let need = match hard.is_empty() && gateway.accounts.buffers {
        true => Need::Buffered,
        false => Need::Durable,
    };
    let bill = asked.open(hold, time);
    let targets = targets(decision);
    match record(
        gateway,
        session,
        ctx,
        (bill, need, targets, outlook),
        request,
    )
    .await?
    {
        true => Ok(Admitted::Now(clamped)),
        false => Ok(Admitted::Outdated),
    }
}

/// Reserves what the request may use; and when that was.
async fn reserve(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    asked: &bill::Request,
) -> Result<Result<(Hold, Moment), Refusal>, Stop> {
    let desk = Desk {
        limiter: &gateway.accounts.limiter,
        now: gateway.accounts.clock.now(),
        until: ctx.deadline(),
    };
    let reserved = vigil::watch(session, ctx, asked.reserve(&desk)).await;
    let reserved = reserved.map_err(super::dispatch::stopped)?;
    Ok(reserved.map(|hold| (hold, desk.now)))
}

/// Writes the request down; nothing may be sent before. Not where limits came in
/// the meantime: then nothing is held either.
async fn record(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    (mut bill, need, targets, outlook): (Bill, Need, Targets, &Outlook),
    request: &Request,
) -> Result<bool, Stop> {
    let accounts = &gateway.accounts;
    let Some(place) = Place::take(accounts, &bill, &targets, outlook) else {
        bill.void();
        return Ok(false);
    };
    let intent = intent((place.id, targets), ctx, &bill, request);
    let begun = vigil::watch(session, ctx, accounts.ledger.begin(intent, need)).await;
    match begun {
        Ok(Ok(())) => {
            let bound = bill.reserved();
            bill.entry = Some(Entry::new(place.keep(), bound, Arc::clone(accounts)));
            ctx.bill = Some(bill);
            Ok(true)
        }
        Ok(Err(unavailable)) => {
            bill.void();
            let text = "What this request uses cannot be written down at the moment.";
            let error = GatewayError::new(ErrorKind::LedgerUnavailable, text);
            Err(error.because(unavailable).into())
        }
        Err(why) => {
            bill.void();
            Err(super::dispatch::stopped(why))
        }
    }
}

/// A request's place among those under way, which it leaves unless it begins.
struct Place<'a> {
    accounts: &'a Accounts,
    id: u64,
    is_kept: bool,
}

impl<'a> Place<'a> {
    fn take(
        accounts: &'a Accounts,
        bill: &Bill,
        targets: &Targets,
        outlook: &Outlook,
    ) -> Option<Self> {
        let names = (bill.names.clone(), Arc::clone(targets));
        let rules = Arc::clone(&bill.rules);
        let request = open::Request::new(names, rules, bill.time, bill.reserved());
        let id = accounts.open.enter(&accounts.ledger, outlook, request)?;
        Some(Self {
            accounts,
            id,
            is_kept: false,
        })
    }

    /// From here on the entry leaves for it.
    fn keep(mut self) -> u64 {
        self.is_kept = true;
        self.id
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.accounts.open.leave(self.id, Ending::Void);
        }
    }
}

fn intent((id, targets): (u64, Targets), ctx: &Ctx, bill: &Bill, request: &Request) -> Intent {
    let reserved = bill.reserved();
    let names = &bill.names;
    Intent {
        id,
        time: bill.time,
        request_id: ctx.request_id.as_str().into(),
        key: Arc::clone(&names.key),
        team: names.team.clone(),
        user: names.user.clone(),
        tags: Arc::clone(&ctx.record.tags),
        endpoint: names.endpoint,
        route: Arc::clone(&names.route),
        asked: ctx.record.model.as_deref().unwrap_or_default().into(),
        stream: request.stream,
        request_bytes: ctx.record.request_bytes,
        bound: reserved.cost,
        input_bound: reserved.input_tokens,
        output_bound: reserved.output_tokens,
        targets,
        decided: decided(ctx),
    }
}

/// Why it goes where it goes, for the ledger.
fn decided(ctx: &Ctx) -> Option<Decided> {
    let features = ctx.record.features.as_deref();
    let features = features.and_then(|known| serde_json::to_string(known).ok());
    if ctx.record.decision.is_none() && features.is_none() {
        return None;
    }
    Some(Decided {
        rule: ctx.record.rule.clone(),
        reason: ctx.record.decision.clone().unwrap_or_default(),
        features: features.unwrap_or_default().into(),
    })
}

/// Whom it may be sent to.
fn targets(decision: &Decision) -> Targets {
    let candidates = decision.candidates.iter();
    let target = |candidate: &Candidate| {
        let Target { provider, model } = &candidate.target;
        (Arc::clone(&provider.name), model.as_str().into())
    };
    candidates.map(target).collect()
}

fn names(ctx: &Ctx, who: &Principal, call: &Call, decision: &Decision) -> Names {
    Names {
        key: Arc::clone(&who.name),
        team: who.team.clone(),
        user: ctx.record.user.clone(),
        route: Arc::clone(&decision.route),
        endpoint: call.operation.name(),
        priority: who.priority,
    }
}

/// Those of its table and its key, and those that came since.
fn rules(ctx: &Ctx, who: &Principal, outlook: &Outlook) -> Arc<[Arc<Rule>]> {
    if who.limits.is_empty() && outlook.came.is_empty() {
        return Arc::clone(&ctx.table.rules);
    }
    let own = rules_of_key(&who.name, &who.limits);
    let came = outlook.came.iter().cloned();
    let own = own.into_iter().chain(came);
    ctx.table.rules.iter().cloned().chain(own).collect()
}

/// The hard rules that count the request at any of its candidates: a budget of
/// somebody else's asks nothing of it.
fn hard(asked: &bill::Request, decision: &Decision) -> Vec<Arc<Rule>> {
    let counts = |rule: &&Arc<Rule>| {
        let mut all = decision.candidates.iter();
        all.any(|candidate| rule.counts(&asked.names.subject(Some(&candidate.target))))
    };
    let hard = asked.rules.iter().filter(|rule| rule.hard);
    hard.filter(counts).cloned().collect()
}

/// Prices are list prices: what costs more would be spent past the budget.
fn refuse_surcharge(request: &Request) -> Result<(), GatewayError> {
    let Some(field) = request.surcharge else {
        return Ok(());
    };
    let text = format!(
        "Requests under a budget are served at the list price: '{field}' asks for more than that."
    );
    Err(GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(field)))
}

/// Leaves out the candidates whose cost nobody knows, where a hard budget has to
/// be kept.
fn drop_unpriced(
    asked: &mut bill::Request,
    budgets: &[Arc<Rule>],
    decision: &mut Decision,
) -> Result<(), GatewayError> {
    let names = asked.names.clone();
    let counted = |target: &Target| {
        let subject = names.subject(Some(target));
        budgets.iter().any(|rule| rule.counts(&subject))
    };
    let mut bounds = std::mem::take(&mut asked.bounds).into_iter();
    let mut unpriced = None;
    decision.candidates.retain(|candidate| {
        let Some(bound) = bounds.next() else {
            return false;
        };
        let target = &candidate.target;
        if bound.price.is_none() && bound.is_paid() && counted(target) {
            unpriced = Some(target.to_string());
            return false;
        }
        asked.bounds.push(bound);
        true
    });
    match unpriced.filter(|_| decision.candidates.is_empty()) {
        None => Ok(()),
        Some(target) => {
            let text = "A budget has to be kept, and no price is known for this model.";
            let error = GatewayError::new(ErrorKind::PriceUnknown, text);
            Err(error.because(format!("no price for {target}")))
        }
    }
}

/// The tokens of all answers that what is left covers, if it is less than asked.
fn shorter(asked: &bill::Request, refusal: &Refusal) -> Option<u64> {
    if refusal.why != Why::Exhausted && refusal.why != Why::TooLarge {
        return None;
    }
    let load = asked.load();
    let longest = match refusal.measure {
        Measure::Usd => longest_within(&asked.bounds, MicroUsd(refusal.left))?,
        Measure::OutputTokens => refusal.left,
        Measure::TotalTokens => refusal.left.checked_sub(load.input_tokens)?,
        Measure::Requests | Measure::InputTokens | Measure::Concurrent => return None,
    };
    (longest < load.output_tokens).then_some(longest)
}

/// Each answer's part of what all may have together, if it is worth it: a limit
/// of 0 would be none to some providers.
fn of_one(all: u64, answers: u64) -> Option<u64> {
    let one = all / answers.max(1);
    (one >= SHORTEST).then_some(one)
}

/// What the client is told of a limit.
pub fn refused(refusal: &Refusal) -> GatewayError {
    let what = match refusal.measure {
        Measure::Requests => "requests",
        Measure::InputTokens => "input tokens",
        Measure::OutputTokens => "output tokens",
        Measure::TotalTokens => "tokens",
        Measure::Usd => "US dollars",
        Measure::Concurrent => "requests at the same time",
    };
    let amount = |amount: u64| match refusal.measure {
        Measure::Usd => MicroUsd(amount).to_string(),
        _ => amount.to_string(),
    };
    let limit = amount(refusal.limit);
    let window = match refusal.window {
        Window::Total => String::new(),
        Window::Calendar(part) => format!(" per {}", part.name()),
        Window::Rolling(length) => format!(" per {}", humantime::format_duration(length)),
    };
    let name = shown(&refusal.rule);
    let kind = match (refusal.why, refusal.measure) {
        (Why::Unavailable, _) => ErrorKind::LimitsUnavailable,
        (Why::Crowded, _) => ErrorKind::LimitReached,
        (_, Measure::Usd) => ErrorKind::BudgetExceeded,
        _ => ErrorKind::LimitReached,
    };
    let text = match refusal.why {
        Why::Unavailable => format!("It cannot be told at the moment what is left of {name}."),
        Why::Waited => format!("No turn came in time: {name} allows {limit} {what}."),
        Why::QueueFull => format!("Too many requests wait: {name} allows {limit} {what}."),
        Why::Crowded => format!(
            "{name} counts as many users of this key as there is room for. A new one has to wait \
             until others are forgotten."
        ),
        Why::TooLarge => format!(
            "This request may use more than {name} allows at all, {limit} {what}{window}. A lower \
             limit of its answer's tokens makes it smaller."
        ),
        Why::Exhausted => format!(
            "This request may use more than is left: {name} allows {limit} {what}{window}, and {} \
             are left.",
            amount(refusal.left)
        ),
    };
    GatewayError::new(kind, text)
        .with_retry_after(refusal.retry_after)
        .because(format!("{}: {}", refusal.rule, refusal.why.label()))
}

/// A limit's name, for clients. A key's own are named by what they are.
fn shown(rule: &str) -> String {
    match rule.strip_prefix("key:") {
        Some(_) => "the limit of this key".to_owned(),
        None => format!("the limit '{rule}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_is_clamped_to_nothing() {
        assert_eq!(of_one(SHORTEST, 1), Some(SHORTEST));
        assert_eq!(of_one(SHORTEST - 1, 1), None);
        assert_eq!(of_one(100 * SHORTEST + 99, 100), Some(SHORTEST));
        assert_eq!(of_one(50, 100), None);
        assert_eq!(of_one(SHORTEST, 0), Some(SHORTEST));
    }
}
