//! Keys, tokens and private keys.
//!
//! A key of a known provider is known by its prefix, its length and its alphabet. A value is also
//! taken for a key when the name that it is assigned to says so (`aws_secret_access_key = ...`) and it is
//! long and random. Placeholders are none: what repeats itself, counts, or says `example` or `your`.

use super::kind::Kind;
use super::text::{Text, is_token, is_word};

type Found = Option<(Kind, usize, usize)>;

/// No key is longer, in bytes; what is longer is read no further.
const LONGEST: usize = 4096;
/// A private key is looked for so far, in bytes.
const LONGEST_PEM: usize = 16 << 10;
/// A value that only its name calls a key has so many bytes at least.
const SHORTEST_VALUE: usize = 20;

/// What a provider's keys start with, up to the dash or underscore that stands out, and how long what
/// follows is at least.
const PREFIXES: [(&[u8], usize); 73] = [
    (b"sk-", 20),
    (b"xoxb-", 20),
    (b"xoxp-", 20),
    (b"xoxa-", 20),
    (b"xoxr-", 20),
    (b"xoxs-", 20),
    (b"xoxe-", 20),
    (b"xoxo-", 20),
    (b"xoxc-", 20),
    (b"xoxd-", 20),
    (b"xapp-", 20),
    (b"glpat-", 20),
    (b"gldt-", 20),
    (b"glrt-", 20),
    (b"glptt-", 20),
    (b"glcbt-", 16),
    (b"glagent-", 40),
    (b"glsoat-", 20),
    (b"pypi-", 40),
    (b"xai-", 40),
    (b"nvapi-", 40),
    (b"pplx-", 32),
    (b"tvly-", 20),
    (b"GOCSPX-", 24),
    (b"key-", 32),
    (b"xkeysib-", 48),
    (b"NRAK-", 24),
    (b"PMAK-", 40),
    (b"HRKU-", 30),
    (b"sq0atp-", 20),
    (b"sq0csp-", 40),
    (b"pul-", 40),
    (b"pat-", 30),
    (b"ghp_", 30),
    (b"gho_", 30),
    (b"ghu_", 30),
    (b"ghs_", 30),
    (b"ghr_", 30),
    (b"github_pat_", 40),
    (b"sk_live_", 16),
    (b"sk_test_", 16),
    (b"rk_live_", 16),
    (b"rk_test_", 16),
    (b"whsec_", 24),
    (b"npm_", 30),
    (b"hf_", 30),
    (b"api_org_", 30),
    (b"gsk_", 40),
    (b"r8_", 30),
    (b"sk_", 40),
    (b"dop_v1_", 40),
    (b"doo_v1_", 40),
    (b"dor_v1_", 40),
    (b"shpat_", 30),
    (b"shpss_", 30),
    (b"shpca_", 30),
    (b"shppa_", 30),
    (b"lin_api_", 30),
    (b"ntn_", 40),
    (b"secret_", 40),
    (b"figd_", 36),
    (b"glc_", 30),
    (b"glsa_", 30),
    (b"sbp_", 36),
    (b"nfp_", 30),
    (b"rubygems_", 40),
    (b"dckr_pat_", 24),
    (b"sntrys_", 40),
    (b"lsv2_pt_", 32),
    (b"lsv2_sk_", 32),
    (b"pcsk_", 40),
    (b"jina_", 40),
    (b"tgp_v1_", 30),
];

/// Bytes that stand right before the dash or underscore of a prefix.
const fn ends_prefix(byte: u8) -> bool {
    matches!(byte, b'k' | b'a'..=b'e' | b'i' | b'l' | b'm' | b'n' | b'o'..=b'u' | b'x' | b'y' | b'X' | b'K' | b'U' | b'1' | b'8' | b'f' | b'h' | b'g')
}

/// A key whose prefix ends with the dash or underscore there.
pub(super) fn after_prefix(text: Text<'_>, place: usize, floor: usize) -> Found {
    if !ends_prefix(text.before(place)) {
        return None;
    }
    let body = place + 1;
    // Words joined by dashes and underscores are lower-case, and nothing drawn is, over so many.
    let head = text.part(body, body + 16);
    if head.len() < 16 || !head.iter().all(|byte| is_token(*byte)) || head.iter().all(is_lower) {
        return None;
    }
    let back = text.part(place.saturating_sub(12).max(floor), body);
    let (before, sign) = (text.before(place), text.at(place));
    // Its last two bytes are compared first: most prefixes differ in them.
    let (prefix, least) = PREFIXES.iter().find(|(prefix, _)| {
        let [.., last, end] = *prefix else {
            return false;
        };
        *last == before && *end == sign && back.ends_with(prefix)
    })?;
    let start = body - prefix.len();
    if !text.starts_word(start) || text.before(start) == b'-' {
        return None;
    }
    let end = text.run(body, LONGEST, is_token);
    let end = text.run_back(end, body, LONGEST, |byte| byte == b'-');
    (end - body >= *least && is_random(text.part(body, end))).then_some((Kind::ApiKey, start, end))
}

fn is_lower(byte: &u8) -> bool {
    byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_')
}

/// Whether it looks drawn, not written: digits, many symbols, nothing that a placeholder says.
fn is_random(body: &[u8]) -> bool {
    let digits = body.iter().filter(|byte| byte.is_ascii_digit()).count();
    let upper = body.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    let lower = body.iter().filter(|byte| byte.is_ascii_lowercase()).count();
    // Names turn from one case to the other at most once a word.
    let turns = upper * 5 >= body.len() && lower * 5 >= body.len();
    (digits >= 2 || turns) && symbols(body) >= 9 && !is_placeholder(body)
}

/// How many different bytes there are.
fn symbols(body: &[u8]) -> u32 {
    let seen = body
        .iter()
        .fold(0_u128, |seen, byte| seen | 1 << (byte & 0x7f));
    seen.count_ones()
}

fn is_placeholder(body: &[u8]) -> bool {
    const WORDS: [&[u8]; 12] = [
        b"xxxx",
        b"your",
        b"example",
        b"placeholder",
        b"123456789",
        b"abcdefgh",
        b"redacted",
        b"dummy",
        b"changeme",
        b"0000000",
        b"_here",
        b"-here",
    ];
    let head = body.get(..body.len().min(256)).unwrap_or_default();
    let lower = head.to_ascii_lowercase();
    WORDS
        .iter()
        .any(|word| lower.windows(word.len()).any(|part| part == *word))
}

/// `AKIA...` or `ASIA...` of Amazon, of which the second letter is given.
pub(super) fn amazon(text: Text<'_>, place: usize) -> Found {
    let start = place.checked_sub(1)?;
    let head = text.part(start, start + 4);
    if !matches!(head, b"AKIA" | b"ASIA") || !text.starts_word(start) {
        return None;
    }
    let end = text.run(start + 4, 17, is_word);
    let body = text.part(start + 4, end);
    let fits = body.len() == 16
        && body
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    (fits && symbols(body) >= 6 && !is_placeholder(body)).then_some((Kind::ApiKey, start, end))
}

/// `AIza...` of Google, of which the `z` is given.
pub(super) fn google(text: Text<'_>, place: usize) -> Found {
    let start = place.checked_sub(2)?;
    if !text.has(start, b"AIza") || !text.starts_word(start) {
        return None;
    }
    let end = text.run(start, 48, is_token);
    ((37..=42).contains(&(end - start)) && is_random(text.part(start + 4, end))).then_some((
        Kind::ApiKey,
        start,
        end,
    ))
}

/// `SG.` of SendGrid, of which the `G` is given.
pub(super) fn sendgrid(text: Text<'_>, place: usize) -> Found {
    let start = place.checked_sub(1)?;
    if !text.has(start, b"SG.") || !text.starts_word(start) {
        return None;
    }
    let middle = text.run(start + 3, LONGEST, is_token);
    let end = text.run(middle + 1, LONGEST, is_token);
    let long = middle - start > 18 && text.at(middle) == b'.' && end - middle > 30;
    (long && is_random(text.part(start + 3, end))).then_some((Kind::ApiKey, start, end))
}

/// A JSON web token, of which the `J` of its first `eyJ` is given: RFC 7519.
pub(super) fn web_token(text: Text<'_>, place: usize) -> Found {
    let start = place.checked_sub(2)?;
    if !text.has(start, b"eyJ") || !text.starts_word(start) || text.before(start) == b'-' {
        return None;
    }
    let header = text.run(start, LONGEST, is_token);
    if header - start < 10 || !text.has(header, b".ey") {
        return None;
    }
    let claims = text.run(header + 1, 4 * LONGEST, is_token);
    let end = text.run(claims + 1, LONGEST, is_token);
    (text.at(claims) == b'.' && end - claims > 10).then_some((Kind::Jwt, start, end))
}

/// A private key in PEM, of which the end of the first dashes is given.
pub(super) fn private_key(text: Text<'_>, label: usize) -> Found {
    let start = label.checked_sub(5)?;
    if text.part(start, label) != b"-----" || !text.has(label, b"BEGIN ") {
        return None;
    }
    let closed = text.run(label, 64, |byte| byte.is_ascii_uppercase() || byte == b' ');
    let name = text.part(label, closed);
    if !(name.ends_with(b"PRIVATE KEY") || name.ends_with(b"PRIVATE KEY BLOCK"))
        || !text.has(closed, b"-----")
    {
        return None;
    }
    let body = closed + 5;
    let rest = text.0.get(body..).unwrap_or_default();
    let rest = rest.get(..rest.len().min(LONGEST_PEM)).unwrap_or_default();
    // Nothing but its end has so many dashes.
    let dashes = memchr::memmem::find(rest, b"-----").unwrap_or(rest.len());
    let last = Some(dashes).filter(|at| text.has(body + at, b"-----END"));
    let content = text.part(body, body + dashes);
    let coded = |byte: &u8| is_word(*byte) || matches!(byte, b'+' | b'/' | b'=');
    let line = content
        .split(|byte| !coded(byte))
        .map(<[u8]>::len)
        .max()
        .unwrap_or(0);
    if line < 24 {
        return None;
    }
    let end = match last {
        Some(last) => {
            let label = text.run(body + last + 5, 64, |byte| {
                byte.is_ascii_uppercase() || byte == b' '
            });
            text.run(label, 5, |byte| byte == b'-')
        }
        None => text.run(body, LONGEST_PEM, |byte| {
            coded(&byte) || matches!(byte, b'\n' | b'\r' | b'\\')
        }),
    };
    Some((Kind::PrivateKey, start, end))
}

/// A token of letters and digits that is a key by its form: of Twilio, Databricks, Telegram.
pub(super) fn by_form(text: Text<'_>, start: usize, end: usize) -> Found {
    let token = text.part(start, end);
    let hex = |from: usize| {
        token.get(from..).is_some_and(|rest| {
            rest.iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let known = (token.len() == 34 && token.starts_with(b"SK") && hex(2))
        || ((36..=38).contains(&token.len()) && token.starts_with(b"dapi") && hex(4));
    // A web hook of Slack: "hooks.slack.com/services/T.../B.../...".
    if token.starts_with(b"T") && text.part(start.saturating_sub(9), start) == b"services/" {
        let stop = text.run(start, 96, |byte| is_word(byte) || byte == b'/');
        return (stop - start >= 40).then_some((Kind::ApiKey, start, stop));
    }
    (known && symbols(token) >= 9).then_some((Kind::ApiKey, start, end))
}

/// The token of a bot of Telegram, of which the colon is given.
pub(super) fn telegram(text: Text<'_>, start: usize, colon: usize) -> Found {
    let end = text.run(colon + 1, 40, is_token);
    let fits =
        (8..=10).contains(&(colon - start)) && end - colon == 36 && text.has(colon + 1, b"AA");
    (fits && is_random(text.part(colon + 1, end))).then_some((Kind::ApiKey, start, end))
}

/// A long random value after a `=` or `:`, when the name before says that it is a key.
pub(super) fn assigned(text: Text<'_>, place: usize, floor: usize) -> Found {
    let mut start = text.run(place + 1, 3, |byte| {
        matches!(byte, b' ' | b'"' | b'\'' | b'\\' | b'`')
    });
    if matches!(text.at(start), b'B' | b'b') {
        for scheme in [&b"Bearer "[..], b"bearer ", b"Basic "] {
            if text.has(start, scheme) {
                start += scheme.len();
            }
        }
    }
    let is_value = |byte| is_token(byte) || matches!(byte, b'+' | b'/' | b'~');
    if text.run(start, SHORTEST_VALUE, is_value) < start + SHORTEST_VALUE {
        return None;
    }
    if !is_secret_name(name_before(text, place, floor)) {
        return None;
    }
    let end = text.run(start, 512, is_value);
    let value = text.part(start, end);
    let end = text.run(end, 2, |byte| byte == b'=');
    (!matches!(text.at(end), b'(' | b'.' | b'[') && is_drawn(value)).then_some((
        Kind::ApiKey,
        start,
        end,
    ))
}

/// The name before a `=` or `:`, behind quotes and spaces.
fn name_before(text: Text<'_>, place: usize, floor: usize) -> &[u8] {
    let end = text.run_back(place, floor, 3, |byte| {
        matches!(byte, b' ' | b'"' | b'\'' | b']' | b'\\' | b':')
    });
    let start = text.run_back(end, floor, 48, is_token);
    text.part(start, end)
}

fn is_secret_name(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 14] = [
        b"secret",
        b"apikey",
        b"token",
        b"password",
        b"passwd",
        b"accesskey",
        b"accountkey",
        b"privatekey",
        b"authkey",
        b"authorization",
        b"credential",
        b"passphrase",
        b"encryptionkey",
        b"sharedaccesskey",
    ];
    if name.len() < 3 {
        return false;
    }
    let name: Vec<u8> = name
        .iter()
        .filter(|byte| is_word(**byte))
        .map(u8::to_ascii_lowercase)
        .collect();
    NAMES
        .iter()
        .any(|known| name.windows(known.len()).any(|part| part == *known))
}

/// Whether a value of no known form is random: three classes of symbols, or a long one of hexadecimal digits.
fn is_drawn(value: &[u8]) -> bool {
    let count = |of: fn(&u8) -> bool| value.iter().filter(|byte| of(byte)).count();
    let (upper, lower, digits) = (
        count(u8::is_ascii_uppercase),
        count(u8::is_ascii_lowercase),
        count(u8::is_ascii_digit),
    );
    let turns = value.windows(2).filter(|two| {
        let digits = two.iter().filter(|byte| byte.is_ascii_digit());
        digits.count() == 1
    });
    let mixed =
        upper >= 2 && lower >= 2 && digits >= 3 && turns.count() >= 4 && symbols(value) >= 14;
    // What is written in base 64 may have few digits.
    let sign = |byte: &u8| matches!(byte, b'/' | b'+');
    let coded = value.len() == 40 && value.iter().any(sign) && upper >= 8 && lower >= 8;
    let hex = value.len() >= 32
        && value.iter().all(u8::is_ascii_hexdigit)
        && digits >= 6
        && symbols(value) >= 10;
    (mixed || coded || hex) && !is_placeholder(value)
}
