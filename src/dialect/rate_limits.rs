//! What a provider says of its rate limits, under the names of OpenAI, which is
//! what clients look for: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`.
//!
//! Anthropic's `anthropic-ratelimit-{requests,tokens,...}-{limit,remaining,reset}`
//! become those; their resets are moments (RFC 3339) and become the time until
//! then, as OpenAI writes it: `6m0s`. Gemini and Bedrock have no such headers.
//!
//! A value that has not the form of its field is left out.

use std::time::{Duration, SystemTime};

const OPENAI: &str = "x-ratelimit-";
const ANTHROPIC: &str = "anthropic-ratelimit-";

/// Longest name and number that pass.
const NAME_BYTES: usize = 64;
const NUMBER_BYTES: usize = 32;

/// A header under OpenAI's name, if it is one about rate limits and says
/// something. `name` is in lower case.
pub fn openai(name: &str, value: &str, now: SystemTime) -> Option<(String, String)> {
    let value = value.trim();
    if !is_name(name) {
        return None;
    }
    if let Some(rest) = name.strip_prefix(OPENAI) {
        let sound = match rest.split('-').next().unwrap_or_default() {
            "limit" | "remaining" => is_number(value),
            "reset" => is_number(value) || is_duration(value) || moment(value).is_some(),
            _ => is_plain(value),
        };
        return sound.then(|| (name.to_owned(), value.to_owned()));
    }
    let (bucket, field) = name.strip_prefix(ANTHROPIC)?.rsplit_once('-')?;
    let value = match field {
        "limit" | "remaining" if is_number(value) => value.to_owned(),
        "reset" => until(moment(value)?, now),
        _ => return None,
    };
    Some((format!("{OPENAI}{field}-{bucket}"), value))
}

/// Whether a header is Anthropic's own and has its form, for clients that know
/// these names.
pub fn is_anthropic(name: &str, value: &str) -> bool {
    let value = value.trim();
    let field = name
        .strip_prefix(ANTHROPIC)
        .filter(|_| is_name(name))
        .and_then(|rest| rest.rsplit('-').next());
    match field {
        Some("limit" | "remaining") => is_number(value),
        Some("reset") => moment(value).is_some(),
        _ => false,
    }
}

fn is_name(name: &str) -> bool {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    name.len() <= NAME_BYTES && name.bytes().all(letters)
}

fn is_plain(value: &str) -> bool {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"._:/@+-".contains(&b);
    !value.is_empty() && value.bytes().all(harmless)
}

/// `60`, `-1` (no limit), `0.5`.
fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    value.len() <= NUMBER_BYTES && all(whole) && all(part)
}

/// `1s`, `6m0s`, `2m59.56s`, `20ms`.
fn is_duration(value: &str) -> bool {
    let mut rest = value;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let (count, unit) = rest.split_at(rest.len() - number.len());
        let unit = ["ms", "d", "h", "m", "s"]
            .into_iter()
            .find_map(|name| unit.strip_prefix(name));
        match unit {
            Some(after) if is_number(count) => rest = after,
            _ => return false,
        }
    }
    !value.is_empty() && value.len() <= NUMBER_BYTES
}

fn moment(value: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(value)
        .or_else(|_| humantime::parse_rfc3339(&value.replace("+00:00", "Z")))
        .ok()
}

/// The time from `now`, in whole seconds rounded up: a moment too early is
/// another refusal.
fn until(moment: SystemTime, now: SystemTime) -> String {
    duration(moment.duration_since(now).unwrap_or(Duration::ZERO))
}

/// A time as OpenAI writes it, `6m0s`, rounded up to a second.
pub fn duration(left: Duration) -> String {
    let seconds = left
        .as_secs()
        .saturating_add(u64::from(left.subsec_nanos() > 0));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The moment of an HTTP date (RFC 9110, 5.6.7), in the one form that may be
/// sent: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, date) = text.trim().split_once(", ")?;
    let mut words = date.split(' ');
    let (day, month) = (words.next()?, words.next()?);
    let (year, time) = (words.next()?, words.next()?);
    let zone = (words.next(), words.next());
    let month = MONTHS
        .iter()
        .position(|name| *name == month)?
        .checked_add(1)?;
    if zone != (Some("GMT"), None) {
        return None;
    }
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn every_name_becomes_openais() {
        let now = at("2026-11-28T10:00:00Z");
        for (name, value, expected) in [
            (
                "x-ratelimit-remaining-tokens",
                "149984",
                Some(("x-ratelimit-remaining-tokens", "149984")),
            ),
            (
                "x-ratelimit-reset-requests",
                "2m59.56s",
                Some(("x-ratelimit-reset-requests", "2m59.56s")),
            ),
            (
                "x-ratelimit-reset",
                "1741305600000",
                Some(("x-ratelimit-reset", "1741305600000")),
            ),
            (
                "anthropic-ratelimit-requests-limit",
                "50",
                Some(("x-ratelimit-limit-requests", "50")),
            ),
            (
                "anthropic-ratelimit-input-tokens-remaining",
                " 1000 ",
                Some(("x-ratelimit-remaining-input-tokens", "1000")),
            ),
            (
                "anthropic-ratelimit-tokens-reset",
                "2026-11-28T10:06:00Z",
                Some(("x-ratelimit-reset-tokens", "6m0s")),
            ),
            (
                "anthropic-ratelimit-requests-reset",
                "2026-11-28T11:00:00.5+00:00",
                Some(("x-ratelimit-reset-requests", "1h0m1s")),
            ),
            (
                "anthropic-ratelimit-requests-reset",
                "2026-11-28T09:00:00Z",
                Some(("x-ratelimit-reset-requests", "0s")),
            ),
            ("anthropic-ratelimit-requests-reset", "6m0s", None),
            ("anthropic-ratelimit-unified-status", "allowed", None),
            ("anthropic-ratelimit-requests-limit", "many", None),
            ("x-ratelimit-limit-requests", "10; <script>", None),
            ("x-ratelimit-limit-requests", "", None),
            ("x-ratelimit-reset-tokens", "soon", None),
            ("x-ratelimit-reset-tokens", "1..5s", None),
            ("x-request-id", "1", None),
        ] {
            let found = openai(name, value, now);
            let found = found.as_ref().map(|(n, v)| (n.as_str(), v.as_str()));
            assert_eq!(found, expected, "{name}: {value}");
        }
    }

    #[test]
    fn anthropics_own_names_are_for_its_own_clients() {
        for (name, value, own) in [
            ("anthropic-ratelimit-tokens-limit", "40000", true),
            (
                "anthropic-ratelimit-tokens-reset",
                "2026-11-28T10:00:00Z",
                true,
            ),
            ("anthropic-ratelimit-tokens-reset", "later", false),
            ("anthropic-ratelimit-tokens-limit", "4e4", false),
            ("x-ratelimit-limit-tokens", "1", false),
        ] {
            assert_eq!(is_anthropic(name, value), own, "{name}: {value}");
        }
    }

    #[test]
    fn dates_of_http_are_read() {
        let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date, Some(at("1994-11-06T08:49:37Z")));
        for other in [
            "",
            "7",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "Sun, 06 Abc 1994 08:49:37 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(http_date(other), None, "{other}");
        }
    }
}
