//! What one request holds, and what it comes to.
//!
//! A bill is opened when a request is admitted: an upper bound of what any of
//! its candidates may cost is reserved, and written down in the ledger, before
//! anything is sent. Every attempt that is made is a charge on it. It is closed
//! once, when the request is settled; a bill that is dropped instead (a panic)
//! is charged in full by what it holds.

use super::entry::Entry;
use super::estimated::Counted;
use super::tally::Tally;
use crate::admission::{Hold, Load, Priority, Stage, Subject, Turn};
use crate::admission::{Limiter, Refusal, Rule};
use crate::chat::{Capabilities, Operation};
use crate::meter::{Price, Size};
use crate::table::{Candidate, Target};
use crate::units::{MicroUsd, Moment};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

/// The longest answer of a model of which nobody has said how long its answers
/// may be.
const UNKNOWN_OUTPUT: u64 = 131_072;

/// Tokens of an image that is made, where those are told in tokens: over twice
/// what the largest takes (OpenAI: 6,240 for 1024 by 1536 in high quality).
const IMAGE_OUTPUT: u64 = 16_384;

/// Bytes of a request that are kept to count its tokens.
const SAMPLE: usize = 64 << 10;

/// Names of one request, as rules and the ledger know them.
#[derive(Debug, Clone)]
pub struct Names {
    pub key: Arc<str>,
    pub team: Option<Arc<str>>,
    pub user: Option<Arc<str>>,
    pub route: Arc<str>,
    pub endpoint: &'static str,
    pub priority: Priority,
}

impl Names {
    pub fn subject<'a>(&'a self, target: Option<&'a Target>) -> Subject<'a> {
        Subject {
            key: &self.key,
            team: self.team.as_deref(),
            user: self.user.as_deref(),
            route: &self.route,
            endpoint: self.endpoint,
            target: target.map(|t| (&*t.provider.name, &*t.model)),
        }
    }
}

/// The most that a request may use at one of its candidates.
#[derive(Debug, Clone)]
pub struct Bound {
    pub price: Option<Arc<Price>>,
    pub input: u64,
    /// All answers together.
    pub output: u64,
    images: u64,
}

impl Bound {
    /// What is reserved for it, with so much more to read.
    pub fn load(&self, more: u64) -> Load {
        let input = self.input.saturating_add(more);
        let price = self.price.as_ref();
        let cost = price.map(|price| price.bound(input, self.output, self.images));
        Load {
            requests: 1,
            input_tokens: input,
            output_tokens: self.output,
            cost: cost.unwrap_or_default(),
        }
    }

    /// Whether anything of it is ever paid for.
    pub const fn is_paid(&self) -> bool {
        self.input > 0 || self.output > 0 || self.images > 0
    }
}

/// What bounds a request, whoever serves it.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub operation: Operation,
    pub size: Size,
    /// Answers that are generated; of none, one.
    pub answers: u64,
    /// The longest answer that it wants, in tokens.
    pub max_output: Option<u64>,
}

impl Extent {
    /// The most that a candidate may use.
    pub fn at(&self, candidate: &Candidate, price: Option<Arc<Price>>) -> Bound {
        let target = &candidate.target;
        let known = target.provider.capabilities(&target.model);
        let input = match self.operation.counts() {
            // A number of tokens costs nothing.
            true => 0,
            // Nobody reads more than its window.
            false => {
                let most = self.size.tokens(price.as_deref());
                known.context.map_or(most, |window| match self.size.opaque {
                    0 => most,
                    _ => most.min(window),
                })
            }
        };
        Bound {
            input,
            output: self.output(&known),
            images: match self.operation.makes_images() {
                true => self.answers.max(1),
                false => 0,
            },
            price,
        }
    }

    fn output(&self, known: &Capabilities) -> u64 {
        let one = match self.operation {
            Operation::Embeddings | Operation::Moderations | Operation::Rerank => 0,
            operation if operation.counts() => 0,
            operation if operation.makes_images() => IMAGE_OUTPUT,
            _ => {
                let model = known.max_output.or(known.context);
                self.max_output.or(model).unwrap_or(UNKNOWN_OUTPUT)
            }
        };
        one.saturating_mul(self.answers.max(1))
    }
}

/// The beginning of a request's body, to count its tokens by.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    sample: Bytes,
    bytes: usize,
    size: Size,
}

impl Prompt {
    pub fn of(body: &Bytes, size: Size) -> Self {
        let sample = match body.len() {
            0..=SAMPLE => body.clone(),
            // A copy, so that the whole body is not kept.
            _ => Bytes::copy_from_slice(body.get(..SAMPLE).unwrap_or_default()),
        };
        Self {
            sample,
            bytes: body.len(),
            size,
        }
    }

    /// Input tokens, by a tokenizer. Takes milliseconds.
    pub fn count(&self, model: &str) -> Counted {
        Counted::of(&self.sample, self.bytes, model)
    }

    /// What of it can be counted here, if that is nearly all: no file, sound or
    /// film of which only the provider knows how long it is.
    pub fn countable(&self) -> Option<&Size> {
        let is_json = self.sample.trim_ascii_start().first() == Some(&b'{');
        let is_read = self.sample.len() == self.bytes || self.size.images == 0;
        (is_json && is_read && self.size.opaque == 0).then_some(&self.size)
    }
}

/// One attempt's part.
#[derive(Debug)]
pub struct Charge {
    /// Which candidate.
    pub at: usize,
    pub due: Due,
    /// Input tokens at most, and output.
    pub input: u64,
    pub output: u64,
    /// Input tokens beyond the request's own, at most.
    pub more: u64,
    /// What it holds of limits of its provider and model.
    cover: Option<Hold>,
}

impl Charge {
    /// One that holds nothing of its target's limits. `input`, `output`: tokens
    /// at most.
    pub const fn new(at: usize, due: Due, (input, output): (u64, u64)) -> Self {
        Self {
            at,
            due,
            input,
            output,
            more: 0,
            cover: None,
        }
    }

    /// Pays what it used of its target's limits, once.
    fn pay(&mut self, used: Load) {
        if let Some(cover) = self.cover.take() {
            cover.settle(&Load {
                requests: 1,
                ..used
            });
        }
    }
}

/// What an attempt has to be paid for.
#[derive(Debug)]
pub enum Due {
    /// It was refused, or never got there.
    Nothing,
    /// It was sent, and nobody knows what became of it: what went in.
    Sent,
    /// What it said.
    Answer(Box<Tally>),
}

/// One request's account.
#[derive(Debug)]
pub struct Bill {
    /// Its place in the ledger; `None` before it is written down.
    pub entry: Option<Entry>,
    /// When it was admitted.
    pub time: Moment,
    pub names: Names,
    pub rules: Arc<[Arc<Rule>]>,
    /// For each candidate.
    pub bounds: Vec<Bound>,
    pub prompt: Prompt,
    pub charges: Vec<Charge>,
    hold: Hold,
}

/// A place to reserve in, and until when to wait there.
pub struct Desk<'a> {
    pub limiter: &'a Limiter,
    pub now: Moment,
    pub until: Instant,
}

impl Desk<'_> {
    fn turn(&self, names: &Names) -> Turn {
        Turn {
            priority: names.priority,
            until: self.until,
        }
    }
}

/// What a request asks for before it is admitted.
pub struct Request {
    pub names: Names,
    pub rules: Arc<[Arc<Rule>]>,
    pub bounds: Vec<Bound>,
    pub prompt: Prompt,
}

impl Request {
    /// The most that the dearest of its candidates may use.
    pub fn load(&self) -> Load {
        let loads = self.bounds.iter().map(|bound| bound.load(0));
        loads.reduce(greater).unwrap_or_default()
    }

    /// Reserves what it may use.
    ///
    /// # Errors
    /// When a rule that is not of targets has not enough left.
    pub async fn reserve(&self, desk: &Desk<'_>) -> Result<Hold, Refusal> {
        let (subject, turn) = (self.names.subject(None), desk.turn(&self.names));
        let (rules, load) = (&self.rules, self.load());
        desk.limiter
            .reserve(rules, &subject, Stage::Request, &load, turn, desk.now)
            .await
    }

    /// Its account, with what was reserved at that time.
    pub fn open(self, hold: Hold, time: Moment) -> Bill {
        Bill {
            entry: None,
            time,
            names: self.names,
            rules: self.rules,
            bounds: self.bounds,
            prompt: self.prompt,
            charges: Vec::new(),
            hold,
        }
    }
}

fn greater(one: Load, other: Load) -> Load {
    Load {
        requests: one.requests.max(other.requests),
        input_tokens: one.input_tokens.max(other.input_tokens),
        output_tokens: one.output_tokens.max(other.output_tokens),
        cost: one.cost.max(other.cost),
    }
}

/// What an attempt about to be made holds.
#[derive(Debug)]
pub struct Cover {
    pub hold: Option<Hold>,
    /// More input than the request's own: what was said before.
    pub more: u64,
}

impl Cover {
    /// No attempt is made.
    pub fn release(self) {
        if let Some(hold) = self.hold {
            hold.release();
        }
    }
}

impl Bill {
    /// What the request may cost at most, as it is reserved.
    pub const fn reserved(&self) -> Load {
        *self.hold.bound()
    }

    /// Reserves what one more attempt may cost beside those that were made and
    /// those that run, under the request's rules and those of the target. `more`:
    /// input tokens beyond the request's own.
    ///
    /// # Errors
    /// When there is not enough left for it. Nothing is held then.
    pub async fn cover(
        &mut self,
        desk: &Desk<'_>,
        (at, target): (usize, &Target),
        running: &[usize],
        more: u64,
    ) -> Result<Cover, Refusal> {
        let Some(bound) = self.bounds.get(at) else {
            return Ok(Cover { hold: None, more });
        };
        let own = bound.load(more);
        let subject = self.names.subject(Some(target));
        let turn = desk.turn(&self.names);
        let hold = desk
            .limiter
            .reserve(&self.rules, &subject, Stage::Target, &own, turn, desk.now)
            .await?;
        let mut unsent = Unsent(Some(hold));
        let others = running.iter().filter_map(|at| self.bounds.get(*at));
        let beside = others.map(|bound| bound.load(0));
        let before = self.charges.iter().filter_map(|charge| self.so_far(charge));
        let needed = before.chain(beside).fold(own, |sum, load| sum.plus(&load));
        let lacking = lacking(&needed, self.hold.bound());
        if lacking != Load::default() {
            self.hold.extend(&lacking, desk.now).await?;
            if let Some(entry) = &mut self.entry {
                entry.grow(&lacking, desk.now)?;
            }
        }
        Ok(Cover {
            hold: unsent.0.take(),
            more,
        })
    }

    /// The most that an attempt of the past comes to.
    fn so_far(&self, charge: &Charge) -> Option<Load> {
        let bound = self.bounds.get(charge.at)?;
        let output = match &charge.due {
            Due::Nothing => return None,
            Due::Sent => 0,
            Due::Answer(tally) => tally.bytes().min(charge.output),
        };
        let cut = Bound {
            input: charge.input,
            output,
            ..bound.clone()
        };
        Some(cut.load(0))
    }

    /// An attempt was made and is over, or answers.
    pub fn charge(&mut self, at: usize, cover: Cover, due: Due) {
        let (input, output) = match self.bounds.get(at) {
            Some(bound) => (bound.input.saturating_add(cover.more), bound.output),
            None => (0, 0),
        };
        let mut charge = Charge {
            more: cover.more,
            cover: cover.hold,
            ..Charge::new(at, due, (input, output))
        };
        if matches!(charge.due, Due::Nothing) {
            charge.pay(Load::default());
        }
        self.charges.push(charge);
    }

    /// The last attempt is over: its place at its target is somebody else's, were
    /// it this request's own next attempt.
    pub fn ended(&mut self) {
        let last = self.charges.last_mut();
        if let Some(cover) = last.and_then(|charge| charge.cover.as_mut()) {
            cover.leave();
        }
    }

    /// The price at a candidate.
    pub fn price(&self, at: usize) -> Option<&Arc<Price>> {
        self.bounds.get(at)?.price.as_ref()
    }

    /// Nothing was sent, and nothing will be.
    pub fn void(self) {
        for charge in self.charges {
            if let Some(cover) = charge.cover {
                cover.release();
            }
        }
        self.hold.release();
    }

    /// Pays what each attempt and all of them together used. Returns what the
    /// budgets were charged: never more than what was reserved.
    pub fn settle(self, parts: &[Load]) -> Load {
        let mut total = Load::default();
        let parts = parts
            .iter()
            .copied()
            .chain(std::iter::repeat(Load::default()));
        for (mut charge, part) in self.charges.into_iter().zip(parts) {
            total = total.plus(&part);
            charge.pay(part);
        }
        total.requests = 1;
        self.hold.settle(&total)
    }
}

/// What an attempt holds that is not made before all of it is had. A request may
/// be dropped while it waits for the rest: a hold alone would be charged in full.
struct Unsent(Option<Hold>);

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some(hold) = self.0.take() {
            hold.release();
        }
    }
}

/// What of `needed` is not in `held`.
fn lacking(needed: &Load, held: &Load) -> Load {
    Load {
        // Counted once, however often it is tried.
        requests: 0,
        input_tokens: needed.input_tokens.saturating_sub(held.input_tokens),
        output_tokens: needed.output_tokens.saturating_sub(held.output_tokens),
        cost: needed.cost.saturating_sub(held.cost),
    }
}

/// The longest answer, in tokens, that every candidate can give within `left`;
/// `None` where not even the request itself is covered.
pub fn longest_within(bounds: &[Bound], left: MicroUsd) -> Option<u64> {
    let fits = |output: u64| {
        bounds.iter().all(|bound| {
            let cut = Bound {
                output: bound.output.min(output),
                ..bound.clone()
            };
            cut.load(0).cost <= left
        })
    };
    let most = bounds.iter().map(|bound| bound.output).max()?;
    if !fits(1) {
        return None;
    }
    let (mut least, mut over) = (1, most.saturating_add(1));
    while over.saturating_sub(least) > 1 {
        let middle = least.midpoint(over);
        match fits(middle) {
            true => least = middle,
            false => over = middle,
        }
    }
    Some(least)
}

#[cfg(test)]
#[path = "bill_tests.rs"]
mod tests;
