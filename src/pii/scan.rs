//! The pass over the text: from one byte that may be of something to the next.
//!
//! Most bytes are looked up once and passed. Where one may be of something, those who know are asked, and
//! say where to go on. Nobody reads further back than to the last thing found, nor further than a
//! bound, so that the work is bounded by the length of the text whatever it holds.

use super::address::{self, Address};
use super::kind::Kind;
use super::text::{Text, is_word};
use super::{coded, email, iban, number, secret};
use std::sync::LazyLock;

/// Bytes at which something may be.
const fn may_be(byte: u8) -> bool {
    matches!(
        byte,
        b'0'..=b':' | b'@' | b'%' | b'=' | b'-' | b'_' | b'K' | b'S' | b'z' | b'J' | b'G'
    )
}

/// The same, looked up.
static TRIGGERS: LazyLock<[bool; 256]> = LazyLock::new(|| {
    let mut byte = 0_u8;
    [(); 256].map(|()| {
        let is = may_be(byte);
        byte = byte.wrapping_add(1);
        is
    })
});

/// A word is looked for so far before a digit, in bytes.
const LONGEST_HEAD: usize = 24;

/// What is found goes to `found`, in order, without overlap.
pub(super) fn run(bytes: &[u8], found: &mut impl FnMut(Kind, usize, usize)) {
    let mut pass = Pass {
        text: Text(bytes),
        floor: 0,
        last: None,
        found,
    };
    let table = &*TRIGGERS;
    let mut place = 0;
    while let Some(rest) = bytes.get(place..) {
        let next = rest
            .iter()
            .position(|byte| table.get(usize::from(*byte)).copied().unwrap_or(false));
        let Some(next) = next else {
            return;
        };
        place = pass.step(place + next);
    }
}

struct Pass<'a, F> {
    text: Text<'a>,
    /// The end of the last thing found.
    floor: usize,
    /// What it was.
    last: Option<Kind>,
    found: &'a mut F,
}

impl<F: FnMut(Kind, usize, usize)> Pass<'_, F> {
    /// Reads what is at a place, and answers where to go on.
    fn step(&mut self, place: usize) -> usize {
        let (text, floor) = (self.text, self.floor);
        let hit = match text.at(place) {
            b'0'..=b'9' => return self.digit(place),
            b'@' => email::at_sign(text, place, 1, floor),
            b'%' if text.has(place, b"%40") => email::at_sign(text, place, 3, floor),
            b':' => return self.colon(place),
            b'=' => secret::assigned(text, place, floor),
            b'-' if text.at(place + 1) == b'-' => {
                let end = text.run(place, usize::MAX, |byte| byte == b'-');
                return self.tell(secret::private_key(text, end)).unwrap_or(end);
            }
            b'-' | b'_' => secret::after_prefix(text, place, floor),
            b'K' | b'S' if text.before(place) == b'A' => secret::amazon(text, place),
            b'z' if text.before(place) == b'I' => secret::google(text, place),
            b'J' if text.before(place) == b'y' => secret::web_token(text, place),
            b'G' if text.before(place) == b'S' => secret::sendgrid(text, place),
            _ => None,
        };
        self.tell(hit).unwrap_or(place + 1)
    }

    /// Tells what was found, and answers where to go on behind it.
    fn tell(&mut self, hit: Option<(Kind, usize, usize)>) -> Option<usize> {
        let (kind, start, end) = hit?;
        if start < self.floor || end <= start {
            return None;
        }
        (self.found)(kind, start, end);
        self.floor = end;
        self.last = Some(kind);
        Some(end)
    }

    fn colon(&mut self, place: usize) -> usize {
        let text = self.text;
        let next = text.at(place + 1);
        if next.is_ascii_hexdigit() || next == b':' {
            let start = text.run_back(place, self.floor, 5, |byte| byte.is_ascii_hexdigit());
            if place - start < 5 {
                match address::v6(text, start, self.floor) {
                    Address::Public(end) => {
                        return self
                            .tell(Some((Kind::IpAddress, start, end)))
                            .unwrap_or(end);
                    }
                    Address::Nothing(end) => return end.max(place + 1),
                    Address::Other => {}
                }
            }
        }
        let hit = secret::assigned(text, place, self.floor);
        self.tell(hit).unwrap_or(place + 1)
    }

    fn digit(&mut self, place: usize) -> usize {
        let text = self.text;
        let start = text.run_back(place, self.floor, LONGEST_HEAD, is_word);
        let digits = text.run(place, usize::MAX, |byte| byte.is_ascii_digit());
        let after = text.at(digits);
        if start == place || text.starts_word(place) {
            if !is_word(after) && after != b'_' {
                return self.number(place, digits);
            }
            // "1711x22": the cluster reads it as an extension.
            let extends = matches!(after, b'x' | b'X') && text.at(digits + 1).is_ascii_digit();
            if extends && digits - place > 6 {
                return self.number(place, digits);
            }
        }
        let end = text.run(digits, usize::MAX, is_word);
        // The letter of an escape, when JSON was packed into JSON.
        let escape = text.before(start) == b'\\' && matches!(text.at(start), b'n' | b'r' | b't');
        let start = match text.starts_word(place) {
            true => place,
            false => start + usize::from(escape),
        };
        self.token(start, place, end)
    }

    /// Digits that no letter touches.
    fn number(&mut self, place: usize, end: usize) -> usize {
        let (text, floor) = (self.text, self.floor);
        let length = end - place;
        match text.at(end) {
            b'.' if length <= 3 => match address::v4(text, place, floor) {
                Address::Public(end) => {
                    return self
                        .tell(Some((Kind::IpAddress, place, end)))
                        .unwrap_or(end);
                }
                Address::Nothing(end) => return end,
                Address::Other => {}
            },
            b':' if length <= 4 => {
                if let Some(end) = self.hexadecimal(place) {
                    return end;
                }
            }
            b':' => {
                if let Some(end) = self.tell(secret::telegram(text, place, end)) {
                    return end;
                }
            }
            _ => {}
        }
        let special = match length {
            2 => coded::spaced_nino(text, place, floor),
            6 => coded::hetu(text, place),
            7 | 8 => coded::dashed_dni(text, place, floor),
            _ => None,
        };
        if let Some(end) = self.tell(special) {
            return end;
        }
        // Most numbers are short and alone.
        if length < number::FEWEST && !number::goes_on(text, end) {
            return end;
        }
        let (last, known) = (&mut self.floor, &mut self.last);
        let told = &mut self.found;
        let before = *known;
        number::read(text, place, floor, before, &mut |kind, start, end| {
            if start >= *last {
                told(kind, start, end);
                *last = end;
                *known = Some(kind);
            }
        })
    }

    /// An address of version 6, a time or a MAC, none of whose parts is anything else.
    fn hexadecimal(&mut self, start: usize) -> Option<usize> {
        match address::v6(self.text, start, self.floor) {
            Address::Public(end) => Some(
                self.tell(Some((Kind::IpAddress, start, end)))
                    .unwrap_or(end),
            ),
            Address::Nothing(end) => Some(end),
            Address::Other => None,
        }
    }

    /// A token of letters and digits, of which the first digit is given.
    fn token(&mut self, start: usize, digit: usize, end: usize) -> usize {
        let (text, floor) = (self.text, self.floor);
        let free = text.starts_word(start);
        if !free || end - start > 64 {
            return end;
        }
        if text.at(end) == b':'
            && end - start <= 4
            && text.part(start, end).iter().all(u8::is_ascii_hexdigit)
            && let Some(next) = self.hexadecimal(start)
        {
            return next;
        }
        let hangs = matches!(text.before(start), b'-' | b'.' | b'/')
            && is_word(text.before(start.wrapping_sub(1)));
        if digit == start + 2
            && !hangs
            && let Some(end) = self.tell(iban::read(text, start))
        {
            return end;
        }
        if digit == start
            && end - start >= 4
            && matches!(text.at(start + 6), b'A'..=b'F' | b'U'..=b'Y')
            && let Some(end) = self.tell(coded::hetu(text, start))
        {
            return end;
        }
        let dashed = text.at(end) == b'-' && text.at(end + 1).is_ascii_digit() && end - start >= 4;
        if end - start < 6 && !dashed {
            return end;
        }
        let hit =
            secret::by_form(text, start, end).or_else(|| coded::read(text, start, end, floor));
        self.tell(hit).unwrap_or(end)
    }
}
