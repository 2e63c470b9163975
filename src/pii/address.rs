//! IP addresses.
//!
//! What names nobody is not reported: private (RFC 1918, RFC 4193), shared (RFC 6598), loopback,
//! link-local, multicast and reserved ranges, netmasks, a network with its prefix, and four small
//! numbers without a word beside them that says address, which are a version or a section.

use super::cue::{self, Cues};
use super::text::{Text, is_word};

/// What stands at a place, and where to go on.
pub(super) enum Address {
    /// An address that ends there.
    Public(usize),
    /// None that counts; nothing of what was read is anything else.
    Nothing(usize),
    /// Something else.
    Other,
}

/// What starts with digits and a dot: four octets, or a version, or a longer chain.
pub(super) fn v4(text: Text<'_>, start: usize, floor: usize) -> Address {
    let mut octets = [0_u32; 4];
    let mut place = start;
    for (index, octet) in octets.iter_mut().enumerate() {
        let end = text.run(place, 4, |byte| byte.is_ascii_digit());
        let digits = text.part(place, end);
        let leading_zero = digits.len() > 1 && digits.starts_with(b"0");
        if digits.is_empty() || digits.len() > 3 || leading_zero {
            return Address::Other;
        }
        *octet = digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        place = end;
        if index < 3 {
            if text.at(place) != b'.' {
                return Address::Other;
            }
            place += 1;
        }
    }
    if octets.iter().any(|octet| *octet > 255) {
        return Address::Other;
    }
    if text.at(place) == b'.' && text.at(place + 1).is_ascii_digit() {
        let chain = text.run(place, 256, |byte| byte.is_ascii_digit() || byte == b'.');
        return Address::Nothing(chain);
    }
    if is_word(text.at(place)) || text.at(place) == b'_' || !stands_free(text, start) {
        return Address::Nothing(place);
    }
    match is_public(octets)
        && !is_version(text, start, octets, floor)
        && !is_network(text, place, octets)
    {
        true => Address::Public(place),
        false => Address::Nothing(place),
    }
}

/// Whether nothing before it makes it a part of a name or a requirement.
fn stands_free(text: Text<'_>, start: usize) -> bool {
    let (second, before) = (text.before(start.wrapping_sub(1)), text.before(start));
    match before {
        b'~' | b'^' | b'.' => false,
        b'=' => !matches!(second, b'=' | b'>' | b'<' | b'~' | b'!'),
        b'-' | b'/' => !is_word(second),
        _ => text.starts_word(start),
    }
}

fn is_public([a, b, c, d]: [u32; 4]) -> bool {
    let private = a == 10 || (a == 172 && (16..32).contains(&b)) || (a == 192 && b == 168);
    let local =
        a == 0 || a == 127 || (a == 169 && b == 254) || (a == 100 && (64..128).contains(&b));
    let resolver = matches!(
        [a, b, c, d],
        [8, 8, 8, 8] | [8, 8, 4, 4] | [1, 1, 1, 1] | [1, 0, 0, 1] | [9, 9, 9, 9]
    );
    !private && !local && !resolver && a < 224
}

/// Whether a word calls it a version, or nothing calls it an address and it is small.
fn is_version(text: Text<'_>, start: usize, octets: [u32; 4], floor: usize) -> bool {
    let said = cue::before(text, start, floor);
    let address = said.before.any(Cues::IP);
    if said.last.any(Cues::VERSION) || (said.near.any(Cues::VERSION) && !said.near.any(Cues::IP)) {
        return true;
    }
    !address && octets.iter().all(|octet| *octet < 50)
}

/// Whether it has a prefix and no bits of a host in the last octet.
fn is_network(text: Text<'_>, end: usize, [_, _, _, last]: [u32; 4]) -> bool {
    last == 0 && text.at(end) == b'/' && text.at(end + 1).is_ascii_digit()
}

const fn is_part(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b':'
}

/// What starts with hexadecimal digits and a colon, or with a colon: an address, a time, a MAC, a path of types.
pub(super) fn v6(text: Text<'_>, start: usize, floor: usize) -> Address {
    let end = text.run(start, 64, is_part);
    let chain = text.part(start, end);
    let colons = chain.iter().filter(|byte| **byte == b':').count();
    if colons < 2 {
        return Address::Other;
    }
    // "::ffff:203.0.113.7" is left to the four octets in it.
    if text.at(end) == b'.' && text.at(end + 1).is_ascii_digit() {
        return Address::Other;
    }
    let chain = chain
        .strip_suffix(b":")
        .filter(|rest| !rest.ends_with(b":"))
        .unwrap_or(chain);
    // A port behind it: "2001:db8:0:0:0:0:0:1:443".
    let port = chain
        .iter()
        .rposition(|byte| *byte == b':')
        .filter(|_| colons == 8);
    let port = port.filter(|last| chain.iter().skip(last + 1).all(u8::is_ascii_digit));
    let chain = port.and_then(|last| chain.get(..last)).unwrap_or(chain);
    let stop = start + chain.len();
    let free = text.starts_word(start)
        && !matches!(text.before(start), b':' | b'.')
        && !is_word(text.at(stop))
        && text.at(stop) != b'_';
    match free && is_address(text, start, chain, floor) {
        true => Address::Public(stop),
        false => Address::Nothing(end),
    }
}

fn is_address(text: Text<'_>, start: usize, chain: &[u8], floor: usize) -> bool {
    let mut groups = [0_u32; 8];
    let (mut count, mut gaps, mut pairs, mut digits) = (0, 0, 0, 0);
    let open = chain.strip_prefix(b"::").unwrap_or(chain);
    let open = open.strip_suffix(b"::").unwrap_or(open);
    gaps += usize::from(open.len() != chain.len());
    for group in open.split(|byte| *byte == b':') {
        if group.is_empty() {
            gaps += 1;
            continue;
        }
        let Some(slot) = groups.get_mut(count) else {
            return false;
        };
        if group.len() > 4 {
            return false;
        }
        pairs += usize::from(group.len() == 2);
        digits += group.iter().filter(|byte| byte.is_ascii_digit()).count();
        let written = std::str::from_utf8(group).unwrap_or_default();
        *slot = u32::from_str_radix(written, 16).unwrap_or(0);
        count += 1;
    }
    let first = groups.first().copied().unwrap_or(0);
    let special = first & 0xffc0 == 0xfe80 || first & 0xff00 == 0xff00 || first & 0xfe00 == 0xfc00;
    // A ratio has eight numbers too, but small ones.
    let written = chain.len().saturating_sub(7);
    let letters = chain.iter().any(u8::is_ascii_alphabetic);
    let whole = count == 8 && gaps == 0 && pairs < 8 && written >= if letters { 14 } else { 22 };
    let global = (0x2000..0x4000).contains(&first) && !chain.starts_with(b":");
    let said = || cue::before(text, start, floor).near.any(Cues::IP);
    let short =
        gaps == 1 && (2..8).contains(&count) && digits > 0 && (global || (count > 3 && said()));
    !special && digits > 0 && (whole || short)
}
