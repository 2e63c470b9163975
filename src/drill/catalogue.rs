//! The faults that are drilled, and what has to come out of each under a
//! route's policy.

use super::fault::{Cut, Fault, Phase, SHORT_WAIT};
use super::policy::{Longer, Policy};
use super::said::{BEFORE, TEXT, tokens};
use crate::config::OnBreak;
use crate::route::fault::Kind;
use std::time::Duration;

/// One fault, in one way of asking.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// A plain name: it stands in the config and in paths.
    pub name: String,
    pub fault: Fault,
    pub streamed: bool,
}

impl Row {
    fn new(name: &str, fault: Fault, streamed: bool) -> Self {
        let suffix = if streamed { "-streamed" } else { "" };
        Self {
            name: format!("{name}{suffix}"),
            fault,
            streamed,
        }
    }

    /// The model's name in the drill's config.
    pub fn model(&self) -> String {
        format!("drill-{}", self.name)
    }

    /// It is a tool call that is asked for.
    pub fn calls(&self) -> bool {
        self.fault == Fault::CallCut
    }
}

/// Whose answer it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Anyone,
    Primary,
    Fallback,
}

/// What may come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Come {
    /// The whole answer, to the last letter.
    Whole(By),
    /// An error in the client's shape, with a status among these.
    Refused(&'static [u16]),
    /// A part of the answer, and then an error as the last event: nothing that
    /// looks like an end.
    Broken,
}

/// What must come out of a row, and by when.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Any of these.
    pub come: Vec<Come>,
    /// An error may come as an event, though the status was 200.
    pub told_in_stream: bool,
    /// The first content, or the error.
    pub first_by: Duration,
    /// All of it.
    pub all_by: Duration,
}

/// Faults that are asked for both ways, those for a whole answer, and those for
/// a stream.
const BOTH: [(&str, Fault); 9] = [
    ("healthy", Fault::Healthy),
    ("refused-connection", Fault::Refuse),
    ("reset-before-head", Fault::ResetBeforeHead),
    ("silence", Fault::Silence),
    ("head-then-silence", Fault::HeadThenSilence),
    ("byte-drip", Fault::ByteDrip),
    ("500-once", Fault::ErrorOnce),
    ("500-always", Fault::ErrorAlways),
    ("html-200", Fault::Html),
];
const WHOLE: [(&str, Fault); 12] = [
    ("503-retry-after", Fault::Unavailable),
    ("429-short", Fault::RateLimit),
    ("429-long", Fault::RateLimitLong),
    ("401", Fault::Unauthorized),
    ("402", Fault::Payment),
    ("404", Fault::NoModel),
    ("409-once", Fault::ConflictOnce),
    ("context-length", Fault::ContextLength),
    ("content-policy", Fault::ContentPolicy),
    ("not-json-200", Fault::NotJson),
    ("truncated-body", Fault::TruncatedBody),
    ("error-in-200", Fault::ErrorInBody),
];
const STREAMED: [(&str, Fault); 13] = [
    ("429-long", Fault::RateLimitLong),
    ("comments-only", Fault::CommentsOnly),
    ("role-then-silence", Fault::RoleThenSilence),
    ("error-first", Fault::ErrorFirst),
    ("cut-reset", Fault::Cut(Cut::Reset)),
    ("cut-close", Fault::Cut(Cut::Close)),
    ("cut-last-chunk", Fault::Cut(Cut::LastChunk)),
    ("stall", Fault::Stall { comments: false }),
    ("stall-comments", Fault::Stall { comments: true }),
    ("error-after-tokens", Fault::ErrorAfterTokens),
    ("malformed-event", Fault::Malformed),
    ("no-done", Fault::NoDone),
    ("tool-call-cut", Fault::CallCut),
];

/// Every row of the drill of a route.
pub fn rows(policy: &Policy) -> Vec<Row> {
    let both = BOTH
        .iter()
        .flat_map(|(name, fault)| [false, true].map(|way| Row::new(name, *fault, way)));
    let whole = WHOLE
        .iter()
        .map(|(name, fault)| Row::new(name, *fault, false));
    let streamed = STREAMED
        .iter()
        .map(|(name, fault)| Row::new(name, *fault, true));
    let slow = Row::new("slow-tokens", Fault::SlowTokens(pause(policy)), true);
    both.chain(whole).chain(streamed).chain([slow]).collect()
}

/// Between two slow tokens. Where the route asks for a pace, a quarter of it,
/// for two windows at least; else soon enough to be no stall.
fn pause(policy: &Policy) -> Duration {
    const CALM: Duration = Duration::from_millis(100);
    if !policy.paces() {
        return CALM.min(policy.timeouts.stall / 2);
    }
    let slow = tokens(TEXT).len().saturating_sub(BEFORE).max(1);
    let windows = policy.timeouts.rate_window.as_secs_f64() * 2.0 / slow as f64;
    let pace = 4.0 / policy.timeouts.min_tokens_per_second;
    Duration::try_from_secs_f64(windows.max(pace)).unwrap_or(CALM)
}

/// What has to come out of `row`; `tolerance` is how late it may be.
pub fn expected(row: &Row, policy: &Policy, tolerance: Duration) -> Expected {
    let mut come = match row.fault.phase() {
        Phase::Never => vec![Come::Whole(By::Primary)],
        Phase::Before => before(row, policy),
        Phase::After => after(row, policy),
    };
    if policy.hedged {
        // Whoever speaks first is heard.
        come.retain(|come| !matches!(come, Come::Whole(_)));
        come.push(Come::Whole(By::Anyone));
    }
    let deadline = policy.deadline + tolerance;
    let late = row.streamed && !policy.covers_answer;
    let all_by = match row.fault.phase() {
        Phase::After if late => deadline + policy.patience(row.fault),
        _ => deadline,
    };
    Expected {
        come,
        told_in_stream: row.streamed && policy.told_in_stream,
        // Nothing is sent there before all is there.
        first_by: if policy.on_break == OnBreak::Hold {
            all_by
        } else {
            deadline
        },
        all_by,
    }
}

/// The provider fails before anything can be shown.
fn before(row: &Row, policy: &Policy) -> Vec<Come> {
    let fault = row.fault;
    let told = Come::Refused(fault.statuses());
    let leads = policy.leads(fault.kind());
    // Slow bytes of an answer that is not streamed: all of it is due by the
    // deadline, and who gives it is open.
    if fault == Fault::ByteDrip && !row.streamed {
        return vec![Come::Whole(By::Anyone), OUT_OF_TIME];
    }
    if fault.limit().is_some() {
        return match leads {
            true if policy.leaves_time(fault) => vec![Come::Whole(By::Fallback)],
            true => vec![Come::Whole(By::Fallback), OUT_OF_TIME],
            false => vec![OUT_OF_TIME],
        };
    }
    let again = fault.passes() && policy.retries > 0 && policy.forgiving;
    let in_time = SHORT_WAIT * 2 <= policy.deadline;
    match () {
        // A long wait is the last resort.
        () if fault.asks_to_wait() && leads => vec![Come::Whole(By::Fallback)],
        () if fault.asks_to_wait() && again && in_time => vec![Come::Whole(By::Primary), told],
        () if fault.asks_to_wait() => vec![told],
        () if again => vec![Come::Whole(By::Primary)],
        () if leads => vec![Come::Whole(By::Fallback)],
        () if larger(fault, policy) => vec![Come::Whole(By::Fallback), told],
        () => vec![told],
    }
}

/// No answer in time, or in the end none at all.
const OUT_OF_TIME: Come = Come::Refused(&[502, 503, 504]);

/// Whether somebody may have a larger window: the drill's models have none that
/// is known.
fn larger(fault: Fault, policy: &Policy) -> bool {
    fault.kind() == Kind::ContextLength && policy.on_context_length == Longer::Perhaps
}

/// The provider fails when a part of the answer is there.
fn after(row: &Row, policy: &Policy) -> Vec<Come> {
    let fault = row.fault;
    let whole = match fault {
        // It would come to its end by itself, and too slowly.
        Fault::SlowTokens(_) if policy.paces() => Come::Whole(By::Fallback),
        _ => Come::Whole(By::Anyone),
    };
    let saved = policy.on_break == OnBreak::Hold && policy.on_error;
    match policy.on_break {
        OnBreak::Hold if saved && policy.leaves_time(fault) => vec![whole],
        OnBreak::Hold => vec![whole, OUT_OF_TIME],
        OnBreak::Continue | OnBreak::Error => vec![whole, Come::Broken],
    }
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
