//! Signatures of AWS, version 4 (`AWS4-HMAC-SHA256`), for services that have the canonical URI
//! encoded twice: all but S3.
//!
//! A request is signed as it is sent: path and query in their encoded form, the `host` with its
//! port, the body whole. Whoever changes any of it afterwards, or tries again later, signs
//! again. The clock is an argument; AWS takes five minutes of skew.

use std::fmt::{self, Write as _};

use super::percent;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// An access key of AWS.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a str,
    /// Comes with temporary credentials.
    pub session_token: Option<&'a str>,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// What a signature is valid for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub region: &'a str,
    /// `bedrock`, although the host says `bedrock-runtime`.
    pub service: &'a str,
}

/// A request as it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Percent-encoded, without query.
    pub path: &'a str,
    /// Percent-encoded, without `?`; empty if there is none.
    pub query: &'a str,
    /// Those to be signed; `host` must be among them, `x-amz-date` and `x-amz-security-token`
    /// must not.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// A moment, as AWS writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time {
    /// `YYYYMMDDTHHMMSSZ`.
    stamp: String,
}

impl Time {
    /// Seconds since 1970 in UTC. A year beyond 9999 has no form and gives a stamp that AWS
    /// refuses.
    pub fn from_unix(seconds: u64) -> Self {
        let (year, month, day) = civil(seconds / 86_400);
        let second = seconds % 86_400;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let stamp = format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z");
        Self { stamp }
    }

    /// `YYYYMMDDTHHMMSSZ`: the value of `x-amz-date`.
    pub fn stamp(&self) -> &str {
        &self.stamp
    }

    /// `YYYYMMDD`.
    pub fn date(&self) -> &str {
        self.stamp.split('T').next().unwrap_or_default()
    }
}

/// Year, month and day of the day that is `days` after 1970-01-01, in the Gregorian calendar.
///
/// Counted in years that start in March, so that the leap day is a year's last, from the 1st of
/// March of the year 0 on, in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days.saturating_add(719_468);
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// The headers that make a request a signed one.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    pub authorization: String,
    /// For `x-amz-date`.
    pub date: String,
    /// For `x-amz-security-token`.
    pub security_token: Option<String>,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("date", &self.date)
            .finish_non_exhaustive()
    }
}

/// Signs a request.
pub fn sign(
    request: &Request<'_>,
    credentials: &Credentials<'_>,
    scope: Scope<'_>,
    time: &Time,
) -> Signed {
    let headers = canonical_headers(request, credentials, time);
    let names = signed_names(&headers);
    let canonical = canonical_request(request, &headers, &names);
    let Scope { region, service } = scope;
    let scoped = format!("{}/{region}/{service}/aws4_request", time.date());
    let text = string_to_sign(&canonical, &scoped, time);
    let secret = Zeroizing::new(format!("AWS4{}", credentials.secret_key));
    let mut key = hmac(secret.as_bytes(), time.date());
    for part in [region, service, "aws4_request"] {
        key = hmac(&key, part);
    }
    let signature = hex(&hmac(&key, &text));
    let access_key = credentials.access_key;
    let authorization = format!(
        "{ALGORITHM} Credential={access_key}/{scoped}, SignedHeaders={names}, Signature={signature}"
    );
    let security_token = credentials.session_token.map(str::to_owned);
    Signed {
        authorization,
        date: time.stamp().to_owned(),
        security_token,
    }
}

fn string_to_sign(canonical: &str, scoped: &str, time: &Time) -> String {
    let hash = hex(&Sha256::digest(canonical.as_bytes()));
    format!("{ALGORITHM}\n{}\n{scoped}\n{hash}", time.stamp())
}

fn canonical_request(request: &Request<'_>, headers: &[(String, String)], names: &str) -> String {
    let mut out = String::new();
    for line in [
        &request.method.to_ascii_uppercase(),
        &canonical_path(request.path),
    ] {
        out.push_str(line);
        out.push('\n');
    }
    out.push_str(&canonical_query(request.query));
    out.push('\n');
    for (name, value) in headers {
        out.extend([name, ":", value, "\n"]);
    }
    out.extend(["\n", names, "\n", &hex(&Sha256::digest(request.body))]);
    out
}

/// The path without dot segments and empty ones, encoded once more: a `%3A` that is sent is
/// `%253A` here, a `:` that is sent is `%3A`.
fn canonical_path(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        percent::encode(segment, &mut out);
    }
    if kept.is_empty() || path.ends_with('/') {
        out.push('/');
    }
    out
}

/// The query sorted by name and value. It is encoded already, and only once here.
fn canonical_query(query: &str) -> String {
    if query.is_empty() {
        return String::new();
    }
    let pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut pairs: Vec<(&str, &str)> = pairs.collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Names in lower case and sorted, values with single spaces, equal names joined.
fn canonical_headers(
    request: &Request<'_>,
    credentials: &Credentials<'_>,
    time: &Time,
) -> Vec<(String, String)> {
    let own = [
        ("x-amz-date", Some(time.stamp())),
        ("x-amz-security-token", credentials.session_token),
    ];
    let own = own
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let all = request.headers.iter().copied().chain(own);
    let all = all.map(|(name, value)| (name.to_ascii_lowercase(), single_spaced(value)));
    let mut headers: Vec<(String, String)> = all.collect();
    // Stable: equal names keep the order in which they are sent.
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    headers.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1.extend([",", &later.1]);
        }
        same
    });
    headers
}

fn single_spaced(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn signed_names(headers: &[(String, String)]) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    names.join(";")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
