//! The price of a model: what each kind of token costs, by the size of the
//! request.
//!
//! Kinds are parts of one another (cached tokens of the prompt, reasoning of
//! the completion), and what providers report may contradict itself. Each part
//! is cut to what is left of its whole, so that no token is charged twice and
//! none below nothing: the sum is of exactly `prompt` and `completion` tokens.

use crate::chat::Usage;
use crate::units::{MicroUsd, Moment, Rate};
use std::sync::Arc;

/// The most input tokens that one image costs, where a row says nothing.
/// Anthropic's largest is about 4,784 (2,576 px, on newer models), OpenAI's
/// 1,536 patches and tiles stay below; the exceptions say so in their rows.
pub const IMAGE_TOKENS: u64 = 5_000;

/// What one unit of each kind costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    pub input: Rate,
    pub output: Rate,
    /// Input that was read from a cache.
    pub cached: Rate,
    /// Input that was written to a cache, to stay for five minutes.
    pub cache_write: Rate,
    /// The same, to stay for an hour.
    pub cache_write_1h: Rate,
    pub reasoning: Rate,
    pub audio_in: Rate,
    pub audio_out: Rate,
    /// One image made, where images are not told in tokens.
    pub image: Rate,
    /// One request, besides its tokens.
    pub request: Rate,
}

/// The rates of a request whose prompt is longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// For prompts of more tokens than this.
    pub above: u64,
    pub rates: Rates,
}

/// What a model costs at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Names the row, the day from which it holds, and its figures:
    /// `gpt-5.4@2026-03-05#1b2f99c0`. It changes when any figure does.
    pub version: Arc<str>,
    pub rates: Rates,
    /// By `above`, ascending.
    pub tiers: Vec<Tier>,
    /// The most input tokens that one image can cost.
    pub max_image_tokens: u64,
    /// A token is never shorter than this; at least 1.
    pub bytes_per_token: u64,
    /// It holds from here on, inclusive.
    pub from: Moment,
    /// It does not hold from here on.
    pub until: Option<Moment>,
}

impl Rates {
    /// Picodollars.
    fn of(&self, usage: &Usage) -> u128 {
        let mut prompt = usage.prompt;
        let cached = taken(&mut prompt, usage.cached);
        let mut written = taken(&mut prompt, usage.cache_write);
        let written_1h = taken(&mut written, usage.cache_write_1h);
        let audio_in = taken(&mut prompt, usage.audio_in);
        let mut completion = usage.completion;
        let audio_out = taken(&mut completion, usage.audio_out);
        let reasoning = taken(&mut completion, usage.reasoning);
        [
            self.input.of(prompt),
            self.cached.of(cached),
            self.cache_write.of(written),
            self.cache_write_1h.of(written_1h),
            self.audio_in.of(audio_in),
            self.output.of(completion),
            self.audio_out.of(audio_out),
            self.reasoning.of(reasoning),
            self.image.of(usage.images),
            self.request.of(1),
        ]
        .into_iter()
        .fold(0, u128::saturating_add)
    }

    /// Picodollars, if every token were of the dearest kind.
    fn most(&self, input: u64, output: u64, images: u64) -> u128 {
        let dearest_in = self
            .input
            .max(self.cached)
            .max(self.cache_write)
            .max(self.cache_write_1h)
            .max(self.audio_in);
        let dearest_out = self.output.max(self.reasoning).max(self.audio_out);
        [
            dearest_in.of(input),
            dearest_out.of(output),
            self.image.of(images),
            self.request.of(1),
        ]
        .into_iter()
        .fold(0, u128::saturating_add)
    }
}

/// Takes a part out of a whole: no more than there is.
fn taken(whole: &mut u64, part: u64) -> u64 {
    let part = part.min(*whole);
    *whole = whole.saturating_sub(part);
    part
}

impl Price {
    /// What was used costs, to the nearest micro-dollar. The size of the prompt,
    /// cached or not, decides on the tier.
    pub fn cost(&self, usage: &Usage) -> MicroUsd {
        MicroUsd::nearest(self.rates_for(usage.prompt).of(usage))
    }

    /// The most that a request can cost which has at most so many input tokens,
    /// output tokens and images made: the dearest kinds, in the dearest tier that
    /// it can reach. Rounded up. [`Price::cost`] is never more for such a usage.
    pub fn bound(&self, input_tokens: u64, output_tokens: u64, images: u64) -> MicroUsd {
        let reached = self.tiers.iter().filter(|tier| tier.above < input_tokens);
        let picos = reached
            .map(|tier| &tier.rates)
            .chain([&self.rates])
            .map(|rates| rates.most(input_tokens, output_tokens, images))
            .max();
        MicroUsd::covering(picos.unwrap_or_default())
    }

    /// The rates of a request with so many input tokens.
    pub fn rates_for(&self, input_tokens: u64) -> &Rates {
        let mut reached = self.tiers.iter().rev();
        reached
            .find(|tier| tier.above < input_tokens)
            .map_or(&self.rates, |tier| &tier.rates)
    }

    /// Does it hold at that moment?
    pub fn holds(&self, at: Moment) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

#[cfg(test)]
#[path = "price_tests.rs"]
mod tests;
