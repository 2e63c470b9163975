//! What an attempt used and costs: its provider's report, where that can be
//! true, else what can be counted here. Counting takes a tokenizer, so this runs
//! off the path of requests wherever [`needs_counting`].

use super::bill::{Charge, Due, Prompt};
use super::tally::{SOUND_BYTES, TOKEN_BYTES, Tally};
use crate::chat::Usage;
use crate::dialect::usage::Report;
use crate::dialect::usage::texts::{self, Asked};
use crate::ledger::UsageSource;
use crate::meter::{IMAGE_TOKENS, Price, REQUEST_TOKENS, Size, TOOL_TOKENS, tokens};
use crate::units::{MicroUsd, Rate};
use std::sync::Arc;

/// Tokens of an image, where nobody tells: Anthropic's largest.
const IMAGE: u64 = 1_600;

/// Tokens that a conversation's form takes: about what OpenAI's takes for two
/// short messages.
const FORM: u64 = 7;

/// A report over its bound by more than this is no report: what tools of the
/// provider's add to a prompt is within it.
const OVER: u64 = 4;

/// A report is taken where it says at least this part, and at most this many
/// times, of what is counted here: tokenizers differ by tens of percent.
const APART: u64 = 2;

/// Bytes that a token of ordinary text has at least. A report of more may be true
/// all the same, and is worth a count.
const LEAST_TOKEN_BYTES: u64 = 2;

/// Bytes of a short request that are names and marks, and tokens of one that
/// nobody has to look after.
const SMALL: u64 = 1_024;

/// Output tokens of an image that is told in images and paid in tokens: OpenAI's
/// largest (1024 by 1536 in high quality).
const IMAGE_MADE: u64 = 6_240;

/// What an attempt comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    pub usage: Usage,
    pub source: UsageSource,
    pub cost: MicroUsd,
    /// The version of its price.
    pub price: Option<Arc<str>>,
    /// Something was used, and nobody knows at what price.
    pub unpriced: bool,
}

/// What a report is worth.
enum Worth {
    True(Usage),
    /// True as far as the bound goes.
    Within(Usage),
    /// True if a count of what was sent and said comes near it.
    Doubtful(Usage),
    Nothing,
}

/// Whether it takes a tokenizer to tell what `charge` comes to.
pub fn needs_counting(charge: &Charge, prompt: &Prompt) -> bool {
    match &charge.due {
        Due::Nothing => false,
        Due::Sent => charge.input > 0,
        Due::Answer(tally) => {
            matches!(
                worth(tally, charge, prompt),
                Worth::Nothing | Worth::Doubtful(_)
            )
        }
    }
}

/// What `charge` comes to at `price`.
pub fn part(charge: &Charge, price: Option<&Arc<Price>>, prompt: &Prompt, model: &str) -> Part {
    let (usage, source) = match &charge.due {
        Due::Nothing => return Part::default(),
        Due::Sent => (read(charge, prompt, model), UsageSource::Estimated),
        Due::Answer(tally) => answered(tally, charge, prompt, model),
    };
    let is_in_tokens = price
        .is_some_and(|price| price.rates.image == Rate::ZERO && price.rates.output != Rate::ZERO);
    let (usage, source) = match usage.images > 0 && usage.completion == 0 && is_in_tokens {
        true => (of_images(usage, charge), UsageSource::Estimated),
        false => (usage, source),
    };
    Part {
        usage,
        source,
        cost: price.map(|price| price.cost(&usage)).unwrap_or_default(),
        price: price.map(|price| Arc::clone(&price.version)),
        unpriced: price.is_none() && usage != Usage::default(),
    }
}

fn answered(tally: &Tally, charge: &Charge, prompt: &Prompt, model: &str) -> (Usage, UsageSource) {
    match worth(tally, charge, prompt) {
        Worth::True(usage) => (usage, UsageSource::Provider),
        Worth::Within(usage) => (usage, UsageSource::Estimated),
        Worth::Doubtful(told) => match judged(told, tally, charge, prompt, model) {
            usage if usage == told => (told, UsageSource::Provider),
            usage => (usage, UsageSource::Estimated),
        },
        Worth::Nothing => {
            let least = u64::from(tally.has_content());
            let usage = Usage {
                completion: said(tally, charge, model).max(least).min(charge.output),
                ..read(charge, prompt, model)
            };
            (usage, UsageSource::Estimated)
        }
    }
}

/// What went in, as it is counted here.
fn read(charge: &Charge, prompt: &Prompt, model: &str) -> Usage {
    Usage {
        prompt: prompt.count(model).tokens().min(charge.input),
        ..Usage::default()
    }
}

/// What came out, as it is counted here.
fn said(tally: &Tally, charge: &Charge, model: &str) -> u64 {
    tally.tokens(model).min(charge.output)
}

/// `told`, but for what a count shows to be untrue.
fn judged(told: Usage, tally: &Tally, charge: &Charge, prompt: &Prompt, model: &str) -> Usage {
    let mut usage = told;
    if let Some(size) = prompt.countable() {
        let counted = prompt.count(model);
        let most = counted
            .text
            .saturating_mul(APART)
            .saturating_add(beside_text(size, charge));
        let is_low = told.prompt.saturating_mul(APART) < counted.text;
        if is_low || told.prompt > most {
            usage.prompt = counted.tokens().min(charge.input);
        }
    }
    let counted = said(tally, charge, model);
    if told.completion.saturating_mul(APART) < counted {
        usage.completion = counted;
    }
    usage
}

/// The most input tokens that are not the request's text.
fn beside_text(size: &Size, charge: &Charge) -> u64 {
    let images = size.images.saturating_mul(IMAGE_TOKENS);
    let tools = size.tools.saturating_mul(TOOL_TOKENS);
    images
        .saturating_add(tools)
        .saturating_add(REQUEST_TOKENS)
        .saturating_add(charge.more)
}

/// Images are paid in tokens, and their number is all that is known.
fn of_images(usage: Usage, charge: &Charge) -> Usage {
    let tokens = usage.images.saturating_mul(IMAGE_MADE);
    Usage {
        completion: tokens.min(charge.output),
        ..usage
    }
}

/// What a report that is there already costs; `None` where counting is needed.
pub fn cost_if_told(
    charge: &Charge,
    tally: &Tally,
    prompt: &Prompt,
    price: &Price,
) -> Option<MicroUsd> {
    match worth(tally, charge, prompt) {
        Worth::True(usage) | Worth::Within(usage) if usage.images == 0 => Some(price.cost(&usage)),
        _ => None,
    }
}

fn worth(tally: &Tally, charge: &Charge, prompt: &Prompt) -> Worth {
    let Some(Report::Told(usage)) = tally.report() else {
        return Worth::Nothing;
    };
    let unread = charge.input > 0 && usage.prompt == 0 && usage.images == 0;
    let over = |told: u64, bound: u64| told > bound.saturating_mul(OVER).max(4 * SMALL);
    if unread || over(usage.prompt, charge.input) || over(usage.completion, charge.output) {
        return Worth::Nothing;
    }
    let is_unseen = charge.output > 0
        && usage.images == 0
        && tally.has_content()
        && (usage.completion == 0 || tally.looks_longer_than(usage.completion));
    match within(usage, charge) {
        cut if cut != usage => Worth::Within(cut),
        _ if is_unseen || is_odd(usage.prompt, charge, prompt) => Worth::Doubtful(usage),
        _ => Worth::True(usage),
    }
}

fn within(usage: Usage, charge: &Charge) -> Usage {
    Usage {
        prompt: usage.prompt.min(charge.input),
        completion: usage.completion.min(charge.output),
        ..usage
    }
}

/// Whether a report of so many input tokens is not what a request of that size
/// comes to as a rule.
fn is_odd(told: u64, charge: &Charge, prompt: &Prompt) -> bool {
    let Some(size) = prompt.countable().filter(|_| charge.input > 0) else {
        return false;
    };
    let text = size.text_bytes;
    let is_low = text > told.saturating_mul(TOKEN_BYTES).saturating_add(SMALL);
    let most = (text / LEAST_TOKEN_BYTES).saturating_add(beside_text(size, charge));
    is_low || told > most
}

/// What can be counted of a request here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Tokens of its texts.
    pub text: u64,
    images: u64,
    /// Tokens of its sounds.
    sound: u64,
}

impl Counted {
    /// Of a request of `bytes`, of which `sample` is the beginning.
    pub fn of(sample: &[u8], bytes: usize, model: &str) -> Self {
        let is_whole = sample.len() == bytes;
        let asked = match is_whole {
            true => texts::of_request(sample),
            false => Asked {
                text: texts::of_cut_request(sample),
                ..Asked::default()
            },
        };
        let counted = tokens::count(model, &asked.text);
        let text = match is_whole || sample.is_empty() {
            true => counted,
            false => {
                let scaled = u128::from(counted) * bytes as u128 / sample.len() as u128;
                u64::try_from(scaled).unwrap_or(u64::MAX)
            }
        };
        Self {
            text,
            images: asked.images,
            sound: asked.sound.div_ceil(SOUND_BYTES),
        }
    }

    /// All of it.
    pub fn tokens(&self) -> u64 {
        let all = self
            .text
            .saturating_add(self.images.saturating_mul(IMAGE))
            .saturating_add(self.sound);
        match all {
            0 => 0,
            _ => all.saturating_add(FORM),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Event;

    fn charge(due: Due) -> Charge {
        Charge::new(0, due, (1_000, 500))
    }

    fn told(prompt: u64, completion: u64, text: &str) -> Charge {
        let mut tally = Tally::default();
        let text = text.to_owned();
        tally.decoded(&Event::Text { choice: 0, text });
        tally.decoded(&Event::Usage(Usage {
            prompt,
            completion,
            ..Usage::default()
        }));
        charge(Due::Answer(Box::new(tally)))
    }

    fn of(charge: &Charge) -> (u64, u64, UsageSource) {
        let part = part(charge, None, &short(), "gpt-4o");
        (part.usage.prompt, part.usage.completion, part.source)
    }

    fn asked(text: &str) -> Prompt {
        let body = serde_json::json!({"messages": [{"role": "user", "content": text}]});
        let body = bytes::Bytes::from(body.to_string());
        Prompt::of(&body, Size::of(&body))
    }

    fn short() -> Prompt {
        asked("one two three")
    }

    #[test]
    fn a_report_that_can_be_true_is_taken() {
        let sound = told(7, 3, "one two three");
        assert!(!needs_counting(&sound, &short()));
        assert_eq!(of(&sound), (7, 3, UsageSource::Provider));
    }

    #[test]
    fn a_report_that_cannot_is_counted_here() {
        for (prompt, completion) in [(0, 3), (7, 0), (u64::MAX, 3), (7, u64::MAX), (9_000, 3)] {
            let absurd = told(prompt, completion, "one two three");
            assert!(needs_counting(&absurd, &short()), "{prompt} {completion}");
            let (prompt, completion, source) = of(&absurd);
            assert_eq!((completion, source), (3, UsageSource::Estimated));
            assert!((3..20).contains(&prompt), "{prompt}");
        }
    }

    #[test]
    fn an_answer_of_no_tokens_is_one_that_says_nothing() {
        let silent = |body: &'static str| {
            let body = crate::gateway::attempt::Body::Whole(body.into());
            let tally = Tally::of(&body, crate::chat::Operation::ChatCompletions);
            charge(Due::Answer(Box::new(tally)))
        };
        let empty = silent(
            r#"{"choices":[{"message":{"content":""}}],"usage":{"prompt_tokens":7,"completion_tokens":0}}"#,
        );
        assert_eq!(of(&empty), (7, 0, UsageSource::Provider));
        let lying = silent(
            r#"{"choices":[{"message":{"content":"one two"}}],"usage":{"prompt_tokens":7,"completion_tokens":0}}"#,
        );
        assert!(needs_counting(&lying, &short()));
        assert_eq!(of(&lying).1, 2);
        assert_eq!(of(&lying).2, UsageSource::Estimated);
    }

    #[test]
    fn what_is_a_little_over_its_bound_is_the_bound() {
        let over = told(1_500, 600, "one two three");
        assert!(!needs_counting(&over, &short()));
        assert_eq!(of(&over), (1_000, 500, UsageSource::Estimated));
    }

    #[test]
    fn what_was_sent_and_not_answered_is_what_went_in() {
        let (prompt, completion, source) = of(&charge(Due::Sent));
        assert!((3..20).contains(&prompt), "{prompt}");
        assert_eq!((completion, source), (0, UsageSource::Estimated));
        assert_eq!(of(&charge(Due::Nothing)), (0, 0, UsageSource::None));
    }

    #[test]
    fn a_long_request_is_as_dense_as_its_beginning() {
        let counted = asked(&"word ".repeat(100_000)).count("gpt-4o");
        assert!(counted.tokens().abs_diff(100_000) < 2_000, "{counted:?}");
        // Python writes all but ASCII so, six bytes for a character.
        let written = r"\u4e2d\u6587".repeat(20_000);
        let body = format!(r#"{{"messages":[{{"role":"user","content":"{written}"}}]}}"#);
        let escaped = Counted::of(&body.as_bytes()[..64 << 10], body.len(), "gpt-4o");
        let plain = asked(&"\u{4e2d}\u{6587}".repeat(20_000)).count("gpt-4o");
        assert!(escaped.text < 2 * plain.text, "{escaped:?} {plain:?}");
    }

    /// A report by a provider of an answer to 100,000 words.
    fn reported(prompt: u64, completion: u64, said: &str) -> (u64, u64, UsageSource) {
        let mut charge = told(prompt, completion, said);
        (charge.input, charge.output) = (600_000, 100_000);
        let part = part(&charge, None, &asked(&"word ".repeat(100_000)), "gpt-4o");
        (part.usage.prompt, part.usage.completion, part.source)
    }

    #[test]
    fn a_report_far_from_a_count_is_none() {
        let said = "word ".repeat(1_000);
        // Others' tokenizers differ, but not as much as that.
        assert_eq!(
            reported(70_000, 800, &said),
            (70_000, 800, UsageSource::Provider)
        );
        assert_eq!(
            reported(150_000, 1_500, &said),
            (150_000, 1_500, UsageSource::Provider)
        );
        let (prompt, completion, source) = reported(1, 1_000, &said);
        assert!(prompt.abs_diff(100_000) < 2_000, "{prompt}");
        assert_eq!((completion, source), (1_000, UsageSource::Estimated));
        let (prompt, _, source) = reported(450_000, 1_000, &said);
        assert!(prompt.abs_diff(100_000) < 2_000, "{prompt}");
        assert_eq!(source, UsageSource::Estimated);
        let (prompt, completion, source) = reported(100_000, 2, &said);
        assert_eq!((prompt, source), (100_000, UsageSource::Estimated));
        assert!(completion.abs_diff(1_000) < 10, "{completion}");
    }

    #[test]
    fn what_cannot_be_counted_here_is_as_it_is_told() {
        let text = "word ".repeat(10_000);
        let with_file = serde_json::json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": text}, {"type": "file", "file": {"file_id": "f"}}]}]});
        let body = bytes::Bytes::from(with_file.to_string());
        let prompt = Prompt::of(&body, Size::of(&body));
        let mut charge = told(300, 3, "one two three");
        charge.input = 2_000_000;
        let part = part(&charge, None, &prompt, "gpt-4o");
        assert_eq!(
            (part.usage.prompt, part.source),
            (300, UsageSource::Provider)
        );
    }

    #[test]
    fn images_that_are_paid_in_tokens_cost_something() {
        let body = crate::gateway::attempt::Body::Whole(
            r#"{"data":[{"b64_json":"x"},{"b64_json":"y"}]}"#.into(),
        );
        let tally = Tally::of(&body, crate::chat::Operation::ImageGenerations);
        let charge = Charge::new(0, Due::Answer(Box::new(tally)), (1_000, 20_000));
        let in_tokens = Arc::new(Price {
            version: "v".into(),
            rates: crate::meter::Rates {
                output: Rate(40_000_000),
                ..Default::default()
            },
            tiers: Vec::new(),
            max_image_tokens: IMAGE_TOKENS,
            bytes_per_token: 1,
            from: crate::units::Moment(0),
            until: None,
        });
        let paid = part(&charge, Some(&in_tokens), &short(), "gpt-image-1");
        assert_eq!(
            (paid.usage.images, paid.usage.completion),
            (2, 2 * IMAGE_MADE)
        );
        assert!(paid.cost > MicroUsd::ZERO);
        assert_eq!(paid.source, UsageSource::Estimated);
        assert_eq!(
            cost_if_told(&charge, charge_tally(&charge), &short(), &in_tokens),
            None
        );
    }

    fn charge_tally(charge: &Charge) -> &Tally {
        match &charge.due {
            Due::Answer(tally) => tally,
            _ => panic!("no answer"),
        }
    }
}
