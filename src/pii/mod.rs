//! Personal details and secrets in text: where they are, and of what kind.
//!
//! One pass over the bytes, without a model, a network or a regular expression. It is made to be
//! right about what it reports rather than to report much: identifiers of requests, versions, order
//! numbers, hashes, times and dumps of bytes, of which prompts about code are full, are not personal.
//! What has check digits must pass them; what has none, and looks like other numbers, must have a word
//! beside it that says what it is, in one of some twenty languages.
//!
//! Text is given as it is read, that is with the escapes of JSON taken out. What is found does not
//! overlap, is in order, and starts and ends between characters when the text is UTF-8.
//!
//! Names and postal addresses are not found: they would take a model of language. Private,
//! loopback and other special IP addresses ([`address`]) are not reported. Full-width and invisible
//! characters are seen through ([`fold`], which says what is covered).

mod address;
mod card;
mod check;
mod coded;
mod cue;
mod email;
mod findings;
mod fold;
mod iban;
mod ident;
mod kind;
mod national;
mod number;
mod phone;
mod scan;
mod secret;
mod text;
mod words;

#[cfg(test)]
mod tests;

pub use findings::Findings;
pub use kind::{Group, Kind};
use std::ops::Range;

/// One thing that was found, and where, in bytes of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub range: Range<usize>,
}

/// How much of each kind the text holds.
#[must_use]
pub fn scan(text: &[u8]) -> Findings {
    let mut findings = Findings::default();
    visit(text, |kind, _| findings.add(kind));
    findings
}

/// Where each thing in the text is, in order.
#[must_use]
pub fn spans(text: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    visit(text, |kind, range| spans.push(Span { kind, range }));
    spans
}

/// Calls with each thing in the text and where it is, in order.
pub fn visit(text: &[u8], mut found: impl FnMut(Kind, Range<usize>)) {
    if !fold::is_needed(text) {
        scan::run(text, &mut |kind, start, end| found(kind, start..end));
        return;
    }
    let folded = fold::folded(text);
    scan::run(&folded.bytes, &mut |kind, start, end| {
        found(kind, folded.start(start)..folded.end(end, text));
    });
}
