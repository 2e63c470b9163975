//! What an attempt used and costs: its provider's report, where that can be
//! true, else what can be counted here. Counting takes a tokenizer, so this runs
//! off the path of requests wherever [`needs_counting`].

use super::bill::{Charge, Due, Prompt};
use super::tally::Tally;
use crate::chat::Usage;
use crate::dialect::usage::Report;
use crate::dialect::usage::texts;
use crate::ledger::UsageSource;
use crate::meter::{Price, tokens};
use crate::units::MicroUsd;
use std::sync::Arc;

/// Tokens of an image, where nobody tells: Anthropic's largest.
const IMAGE: u64 = 1_600;

/// Tokens that a conversation's form takes: about what OpenAI's takes for two
/// short messages.
const FORM: u64 = 7;

/// A report over its bound by more than this is no report: what tools of the
/// provider's add to a prompt is within it.
const OVER: u64 = 4;

/// Bytes that a token of ordinary text has at most. A report of fewer tokens
/// than this allows has not counted what was said.
const TOKEN_BYTES: u64 = 64;

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
    /// True if nothing was said, which takes a look at what came.
    Silent(Usage),
    Nothing,
}

/// Whether it takes a tokenizer to tell what `charge` comes to.
pub fn needs_counting(charge: &Charge) -> bool {
    match &charge.due {
        Due::Nothing => false,
        Due::Sent => charge.input > 0,
        Due::Answer(tally) => {
            matches!(worth(tally, charge), Worth::Nothing | Worth::Silent(_))
        }
    }
}

/// What `charge` comes to at `price`.
pub fn part(charge: &Charge, price: Option<&Arc<Price>>, prompt: &Prompt, model: &str) -> Part {
    let read = || Usage {
        prompt: prompt.tokens(model).min(charge.input),
        ..Usage::default()
    };
    let (usage, source) = match &charge.due {
        Due::Nothing => return Part::default(),
        Due::Sent => (read(), UsageSource::Estimated),
        Due::Answer(tally) => {
            let said = |least: u64| Usage {
                completion: tally.tokens(model).max(least).min(charge.output),
                ..read()
            };
            match worth(tally, charge) {
                Worth::True(usage) => (usage, UsageSource::Provider),
                Worth::Within(usage) => (usage, UsageSource::Estimated),
                Worth::Silent(usage) => match said(0) {
                    Usage { completion: 0, .. } => (usage, UsageSource::Provider),
                    counted => (counted, UsageSource::Estimated),
                },
                Worth::Nothing => (said(u64::from(tally.has_content())), UsageSource::Estimated),
            }
        }
    };
    Part {
        usage,
        source,
        cost: price.map(|price| price.cost(&usage)).unwrap_or_default(),
        price: price.map(|price| Arc::clone(&price.version)),
        unpriced: price.is_none() && usage != Usage::default(),
    }
}

/// What a report that is there already costs; `None` where counting is needed.
pub fn cost_if_told(charge: &Charge, tally: &Tally, price: &Price) -> Option<MicroUsd> {
    match worth(tally, charge) {
        Worth::True(usage) | Worth::Within(usage) => Some(price.cost(&usage)),
        Worth::Silent(_) | Worth::Nothing => None,
    }
}

fn worth(tally: &Tally, charge: &Charge) -> Worth {
    let Some(Report::Told(usage)) = tally.report() else {
        return Worth::Nothing;
    };
    let unseen =
        charge.output > 0 && usage.completion.saturating_mul(TOKEN_BYTES) < tally.text_bytes();
    let unread = charge.input > 0 && usage.prompt == 0 && usage.images == 0;
    if unseen || unread {
        return Worth::Nothing;
    }
    let over = |told: u64, bound: u64| told > bound.saturating_mul(OVER).max(4_096);
    if over(usage.prompt, charge.input) || over(usage.completion, charge.output) {
        return Worth::Nothing;
    }
    if usage.prompt <= charge.input && usage.completion <= charge.output {
        let is_silent = usage.completion == 0 && usage.images == 0;
        if is_silent && charge.output > 0 && tally.has_content() {
            return Worth::Silent(usage);
        }
        return Worth::True(usage);
    }
    Worth::Within(Usage {
        prompt: usage.prompt.min(charge.input),
        completion: usage.completion.min(charge.output),
        ..usage
    })
}

/// Input tokens of a request of which `sample` is the beginning.
pub fn prompt(sample: &[u8], bytes: usize, model: &str) -> u64 {
    let whole = sample.len() == bytes;
    let (text, images) = match whole {
        true => texts::of_request(sample),
        // Cut JSON is read as text, which is a little more.
        false => (String::from_utf8_lossy(sample).into_owned(), 0),
    };
    let counted = tokens::count(model, &text);
    let all = match whole || sample.is_empty() {
        true => counted,
        false => {
            let scaled = u128::from(counted) * bytes as u128 / sample.len() as u128;
            u64::try_from(scaled).unwrap_or(u64::MAX)
        }
    };
    match all + images {
        0 => 0,
        _ => all
            .saturating_add(images.saturating_mul(IMAGE))
            .saturating_add(FORM),
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
        let body = br#"{"messages":[{"role":"user","content":"one two three"}]}"#;
        let prompt = Prompt::of(&bytes::Bytes::from_static(body));
        let part = part(charge, None, &prompt, "gpt-4o");
        (part.usage.prompt, part.usage.completion, part.source)
    }

    #[test]
    fn a_report_that_can_be_true_is_taken() {
        let sound = told(7, 3, "one two three");
        assert!(!needs_counting(&sound));
        assert_eq!(of(&sound), (7, 3, UsageSource::Provider));
    }

    #[test]
    fn a_report_that_cannot_is_counted_here() {
        for (prompt, completion) in [(0, 3), (7, 0), (u64::MAX, 3), (7, u64::MAX), (9_000, 3)] {
            let absurd = told(prompt, completion, "one two three");
            assert!(needs_counting(&absurd), "{prompt} {completion}");
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
        assert!(needs_counting(&lying));
        assert_eq!(of(&lying).1, 2);
        assert_eq!(of(&lying).2, UsageSource::Estimated);
    }

    #[test]
    fn what_is_a_little_over_its_bound_is_the_bound() {
        let over = told(1_500, 600, "one two three");
        assert!(!needs_counting(&over));
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
        let text = "word ".repeat(100_000);
        let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#);
        let prompt = Prompt::of(&bytes::Bytes::from(body));
        let counted = prompt.tokens("gpt-4o");
        assert!(counted.abs_diff(100_000) < 2_000, "{counted}");
    }
}
