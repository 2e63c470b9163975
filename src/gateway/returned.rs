//! Which of a provider's headers a client may see, and under which names.
//!
//! What a provider says enters a header only in the form of its field:
//! rate limits under OpenAI's names ([`rate_limits`]), the provider's id of the
//! request as `x-tollgate-upstream-request-id` (never as our own
//! `x-request-id`), and few others. Nothing that holds a secret of the
//! provider's passes.

use super::reply::put;
use super::trace::is_id;
use crate::chat::{Failure, Speech};
use crate::dialect::rate_limits;
use crate::table::Provider;
use http::{HeaderName, HeaderValue};
use pingora_http::ResponseHeader;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Headers of a success that pass as they are.
const KEPT: [&str; 6] = [
    "content-type",
    "openai-processing-ms",
    "openai-version",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
];

/// Where providers write their id of a request, the most telling first: Azure
/// has two, and its support asks for its gateway's.
const REQUEST_IDS: [&str; 4] = [
    "x-amzn-requestid",
    "apim-request-id",
    "request-id",
    "x-request-id",
];

/// Longest value of a header that is passed on in either direction.
pub const VALUE_BYTES: usize = 1024;

/// Longer is no plan.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// What an answer of a provider's says beside its body.
#[derive(Debug, Clone, Default)]
pub struct Returned {
    fields: Vec<(HeaderName, HeaderValue)>,
    /// The provider's id of the request.
    pub request_id: Option<Arc<str>>,
    /// Azure's finer form of `retry-after`, for errors that have one.
    pub retry_after_ms: Option<Box<str>>,
}

impl Returned {
    /// Reads the head of any answer.
    pub fn of(from: &ResponseHeader, provider: &Provider, speech: Speech) -> Self {
        let now = SystemTime::now();
        let mut returned = Self {
            fields: Vec::new(),
            request_id: request_id(from, provider),
            retry_after_ms: retry_after_ms(from),
        };
        let limits = |name: &HeaderName| name.as_str().contains("ratelimit-");
        for (name, value) in from.headers.iter().filter(|(name, _)| limits(name)) {
            let Some(text) = passable(value, provider) else {
                continue;
            };
            if let Some((name, value)) = rate_limits::openai(name.as_str(), text, now) {
                returned.add(name.parse().ok(), value.parse().ok());
            }
            let own = speech == Speech::Anthropic && rate_limits::is_anthropic(name.as_str(), text);
            if own {
                returned.add(Some(name.clone()), Some(value.clone()));
            }
        }
        returned
    }

    /// The first of several counts: two values are none.
    fn add(&mut self, name: Option<HeaderName>, value: Option<HeaderValue>) {
        let (Some(name), Some(value)) = (name, value) else {
            return;
        };
        if !self.fields.iter().any(|(known, _)| *known == name) {
            self.fields.push((name, value));
        }
    }

    pub fn write(&self, to: &mut ResponseHeader) {
        for (name, value) in &self.fields {
            let _ = to.insert_header(name.clone(), value.clone());
        }
        if let Some(id) = &self.request_id {
            put(to, "x-tollgate-upstream-request-id", id);
        }
    }
}

/// Copies what else a client may see of a success.
pub fn keep(from: &ResponseHeader, to: &mut ResponseHeader, provider: &Provider) {
    for name in KEPT {
        let value = from.headers.get(name);
        let text = value.and_then(|value| passable(value, provider));
        let sound = match name {
            "content-type" => text.is_some(),
            _ => text.is_some_and(is_word),
        };
        if let Some(value) = value.filter(|_| sound) {
            let _ = to.insert_header(name, value.clone());
        }
    }
}

fn passable<'a>(value: &'a HeaderValue, provider: &Provider) -> Option<&'a str> {
    let text = value.to_str().ok()?;
    (text.len() <= VALUE_BYTES && provider.scrub(text) == text).then_some(text)
}

/// Numbers, dates, versions.
fn is_word(text: &str) -> bool {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b" ._:,+-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(harmless)
}

fn request_id(from: &ResponseHeader, provider: &Provider) -> Option<Arc<str>> {
    let told = REQUEST_IDS
        .into_iter()
        .find_map(|name| from.headers.get(name))?;
    let text = passable(told, provider)?;
    is_id(text.as_bytes()).then(|| text.into())
}

fn retry_after_ms(from: &ResponseHeader) -> Option<Box<str>> {
    let text = from.headers.get("retry-after-ms")?.to_str().ok()?.trim();
    let number = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    number.then(|| text.into())
}

/// When the head of a failure says to come back: `retry-after-ms` (Azure), or
/// `retry-after` in seconds or as a date.
pub fn retry_after(head: &ResponseHeader, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| {
        let value: Option<&HeaderValue> = head.headers.get(name);
        value.and_then(|v| v.to_str().ok()).map(str::trim)
    };
    let count = |text: &str, unit: f64| {
        let seconds = text.parse::<f64>().ok()? * unit;
        Duration::try_from_secs_f64(seconds).ok()
    };
    let date = |text: &str| {
        let moment = rate_limits::http_date(text)?;
        Some(moment.duration_since(now).unwrap_or(Duration::ZERO))
    };
    let millis = text("retry-after-ms").and_then(|t| count(t, 0.001));
    let after = || text("retry-after").and_then(|t| count(t, 1.0).or_else(|| date(t)));
    millis.or_else(after).map(|after| after.min(LONGEST_WAIT))
}

/// Adds to a failure what only the head and the clock know.
pub fn complete(failure: &mut Failure, head: &ResponseHeader) {
    if failure.retry_after.is_some() {
        return;
    }
    // Rounded up: a moment too early is another refusal.
    failure.retry_after = retry_after(head, SystemTime::now())
        .map(|after| after.as_secs() + u64::from(after.subsec_nanos() > 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_back_is_read_in_every_form() {
        let now = rate_limits::http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (name, value, expected) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", " 0.5 ", Some(500)),
            ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT", Some(30_000)),
            ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("retry-after", "999999999", Some(86_400_000)),
            ("retry-after", "-1", None),
            ("retry-after", "NaN", None),
            ("retry-after", "soon", None),
            ("retry-after-ms", "1500", Some(1_500)),
            ("x-other", "1", None),
        ] {
            let mut head = ResponseHeader::build(429, None).unwrap();
            head.insert_header(name, value).unwrap();
            let expected = expected.map(Duration::from_millis);
            assert_eq!(retry_after(&head, now), expected, "{name}: {value}");
        }
    }
}
