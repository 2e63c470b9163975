//! The text, read at any place without a bound to mind, and what its bytes are.

#[cfg(test)]
thread_local! {
    /// How many bytes this thread has read, for tests of how the work grows.
    pub(super) static WORK: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts bytes that are read, in tests.
#[inline]
fn spend(bytes: usize) {
    #[cfg(test)]
    WORK.with(|work| work.set(work.get() + bytes as u64));
    let _ = bytes;
}

/// Bytes that answer NUL, which belongs to no word, outside of themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a>(pub(super) &'a [u8]);

/// A letter or digit of ASCII.
pub(super) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// What keys and tokens are written in.
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

impl<'a> Text<'a> {
    /// The byte there, or NUL.
    #[inline]
    pub(super) fn at(self, place: usize) -> u8 {
        spend(1);
        self.0.get(place).copied().unwrap_or(0)
    }

    /// The byte before a place, or NUL.
    #[inline]
    pub(super) fn before(self, place: usize) -> u8 {
        self.at(place.wrapping_sub(1))
    }

    /// What stands between two places; nothing when there is no such part.
    #[inline]
    pub(super) fn part(self, start: usize, end: usize) -> &'a [u8] {
        let part = self.0.get(start..end).unwrap_or_default();
        spend(part.len());
        part
    }

    /// Whether these bytes stand there.
    #[inline]
    pub(super) fn has(self, place: usize, what: &[u8]) -> bool {
        self.0
            .get(place..)
            .is_some_and(|rest| rest.starts_with(what))
    }

    /// The end of the run that starts there, after at most `limit` bytes.
    #[inline]
    pub(super) fn run(self, start: usize, limit: usize, of: impl Fn(u8) -> bool) -> usize {
        let rest = self.0.get(start..).unwrap_or_default();
        let count = rest.iter().take(limit).take_while(|byte| of(**byte));
        let count = count.count();
        spend(count + 1);
        start + count
    }

    /// The start of the run that ends there, over at most `limit` bytes, not before `floor`.
    #[inline]
    pub(super) fn run_back(
        self,
        end: usize,
        floor: usize,
        limit: usize,
        of: impl Fn(u8) -> bool,
    ) -> usize {
        let back = self.0.get(floor..end).unwrap_or_default();
        let count = back.iter().rev().take(limit).take_while(|byte| of(**byte));
        let count = count.count();
        spend(count + 1);
        end - count
    }

    /// Whether a word may start there: nothing of a word stands before, but the letter of an escape
    /// such as `\n`, which is left when JSON was packed into JSON.
    pub(super) fn starts_word(self, place: usize) -> bool {
        let before = self.before(place);
        if before == b'_' {
            return false;
        }
        let escape = matches!(before, b'n' | b'r' | b't');
        !is_word(before) || (escape && self.before(place.wrapping_sub(1)) == b'\\')
    }
}
