//! E-mail addresses, and addresses with a password in them, both of which have an `@`.

use super::kind::Kind;
use super::text::{Text, is_word};

/// RFC 5321, 4.5.3.1.1, in bytes.
const LONGEST_LOCAL: usize = 64;
/// RFC 1035, 2.3.4, in bytes.
const LONGEST_DOMAIN: usize = 253;
/// A password in an address is looked for so far back, in bytes.
const LONGEST_AUTHORITY: usize = 96;

const fn is_local(byte: u8) -> bool {
    is_word(byte) || byte >= 0x80 || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'' | b'&')
}

const fn is_domain(byte: u8) -> bool {
    is_word(byte) || byte >= 0x80 || matches!(byte, b'.' | b'-')
}

/// What an `@` stands in; it may be written `%40`, hence its length.
pub(super) fn at_sign(
    text: Text<'_>,
    place: usize,
    length: usize,
    floor: usize,
) -> Option<(Kind, usize, usize)> {
    let after = place + length;
    // Cheap, and true of most that are none: decorators, mentions, "@ 5".
    if !is_local(text.before(place)) || !(is_word(text.at(after)) || text.at(after) >= 0x80) {
        return password(text, place, floor);
    }
    let start = local_start(text, place, floor);
    if let Some(found) = password(text, place, floor) {
        return Some(found);
    }
    let end = domain_end(text, after)?;
    let local = text.part(start, place);
    let domain = text.part(after, end);
    let is_one = !local.is_empty()
        && !matches!(text.before(start), b'@' | b'/' | b':' if is_user_info(text, start))
        && text.before(start) != b'@'
        && is_mailbox(local, domain)
        && !is_remote_path(text, local, end)
        && text.at(end) != b'(';
    is_one.then_some((Kind::Email, start, end))
}

/// Where the local part starts. A quote, a dot or a dash before it is not of it; nor is text of
/// another script that runs into it.
fn local_start(text: Text<'_>, place: usize, floor: usize) -> usize {
    let mut start = text.run_back(place, floor, LONGEST_LOCAL, is_local);
    let local = text.part(start, place);
    // "邮箱foo@example.com": what is not ASCII is a local part's only when it is of letters of two bytes.
    if let Some(wide) = local.iter().rposition(|byte| *byte >= 0xe0) {
        start += wide + 1;
        start = text.run(start, 3, |byte| (0x80..0xc0).contains(&byte));
    }
    // The letter of an escape, when JSON was packed into JSON.
    if text.before(start) == b'\\' && matches!(text.at(start), b'n' | b'r' | b't') {
        start += 1;
    }
    text.run(start, LONGEST_LOCAL, |byte| {
        matches!(byte, b'.' | b'-' | b'\'' | b'%' | b'&' | b'+') || (0x80..0xc0).contains(&byte)
    })
    .min(place)
}

/// Whether `://` stands right before a run that ends there.
fn is_user_info(text: Text<'_>, start: usize) -> bool {
    let back = text.part(start.saturating_sub(LONGEST_AUTHORITY), start);
    let word = back
        .iter()
        .rposition(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'('));
    let address = back.get(word.map_or(0, |at| at + 1)..).unwrap_or_default();
    let authority = address.windows(3).rposition(|three| three == b"://");
    authority.is_some_and(|at| {
        let user = address.get(at + 3..).unwrap_or_default();
        !user.contains(&b'/') && !user.contains(&b'?')
    })
}

/// The end of a domain of two labels or more, of which the last is of letters.
fn domain_end(text: Text<'_>, start: usize) -> Option<usize> {
    let mut end = text.run(start, LONGEST_DOMAIN, is_domain);
    // Text of another script may run on behind it.
    let domain = text.part(start, end);
    if let Some(wide) = domain.iter().position(|byte| *byte >= 0xe0) {
        end = start + wide;
    }
    end = text.run_back(end, start, LONGEST_DOMAIN, |byte| {
        matches!(byte, b'.' | b'-')
    });
    let domain = text.part(start, end);
    let dot = domain.iter().rposition(|byte| *byte == b'.')?;
    let last = domain.get(dot + 1..)?;
    let letters = last.iter().take_while(|byte| !byte.is_ascii_digit());
    let long = (2..=24).contains(&last.len());
    let puny = last.starts_with(b"xn--");
    (long && (puny || (letters.count() == last.len() && !last.contains(&b'-')))).then_some(end)
}

fn is_mailbox(local: &[u8], domain: &[u8]) -> bool {
    const FILES: [&[u8]; 24] = [
        b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"js", b"mjs", b"ts", b"tsx", b"jsx",
        b"css", b"json", b"html", b"py", b"rb", b"yml", b"yaml", b"toml", b"tgz", b"tar", b"lock",
        b"service", b"dll",
    ];
    let label = |label: &[u8]| {
        !label.is_empty()
            && label.len() <= 63
            && label.first() != Some(&b'-')
            && label.last() != Some(&b'-')
    };
    let last = domain
        .rsplit(|byte| *byte == b'.')
        .next()
        .unwrap_or_default();
    let first = domain
        .split(|byte| *byte == b'.')
        .next()
        .unwrap_or_default();
    let scaled = matches!(first, [b'1'..=b'4', b'x']);
    let version = first.strip_prefix(b"v").unwrap_or(first);
    let version =
        version.iter().all(u8::is_ascii_digit) && domain.iter().filter(|b| **b == b'.').count() > 1;
    let lower = last.to_ascii_lowercase();
    domain.split(|byte| *byte == b'.').all(label)
        && !local.windows(2).any(|two| two == b"..")
        && local.last() != Some(&b'.')
        && !scaled
        && !version
        && !FILES.contains(&lower.as_slice())
}

/// Whether it is a place on another machine, as `git` and `scp` write one: `git@host:path`.
fn is_remote_path(text: Text<'_>, local: &[u8], end: usize) -> bool {
    let path = text.at(end) == b':'
        && (is_word(text.at(end + 1)) || matches!(text.at(end + 1), b'/' | b'~' | b'.'));
    let port = path && text.at(end + 1).is_ascii_digit();
    matches!(local, b"git" | b"hg" | b"svn" | b"gitlab" | b"org-git")
        && (path || matches!(text.at(end), b'/' | b':'))
        || (path && !port)
}

const fn ends_address(byte: u8) -> bool {
    byte > b' '
        && byte < 0x7f
        && !matches!(
            byte,
            b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' | b',' | b')' | b']' | b'}'
        )
}

/// An address with a password, `scheme://user:password@host/path`, when the password looks like one that somebody chose or a machine made.
fn password(text: Text<'_>, place: usize, floor: usize) -> Option<(Kind, usize, usize)> {
    let start = text.run_back(place, floor, LONGEST_AUTHORITY, |byte| {
        byte > b' '
            && byte < 0x7f
            && !matches!(byte, b'/' | b'@' | b'"' | b'\'' | b'<' | b'>' | b'`')
    });
    if !text.part(start.saturating_sub(3), start).ends_with(b"://") {
        return None;
    }
    let authority = text.part(start, place);
    let colon = authority.iter().position(|byte| *byte == b':');
    let colon = colon.filter(|colon| *colon > 0)?;
    let secret = authority.get(colon + 1..)?;
    let has = |of: fn(&u8) -> bool| secret.iter().any(of);
    let drawn =
        has(u8::is_ascii_digit) || (has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase));
    let letters = secret
        .iter()
        .filter(|byte| byte.is_ascii_alphabetic())
        .count();
    let opens = secret
        .iter()
        .any(|byte| matches!(byte, b'{' | b'}' | b'$' | b'*' | b'[' | b'('));
    let lower = secret.to_ascii_lowercase();
    let placeholder = [
        &b"pass"[..],
        b"secret",
        b"pwd",
        b"example",
        b"xxx",
        b"changeme",
    ]
    .iter()
    .any(|word| lower.windows(word.len()).any(|part| part == *word));
    (secret.len() >= 8 && drawn && letters >= 3 && !opens && !placeholder).then_some((
        Kind::UrlPassword,
        text.run_back(start - 3, floor, 24, |byte| is_word(byte) || byte == b'+'),
        text.run(place, LONGEST_DOMAIN, ends_address),
    ))
}
