//! Choices that a property makes, drawn from its input so that the same input is always the
//! same case.

use bytes::Bytes;

/// A sequence of numbers (xorshift64).
#[derive(Debug, Clone)]
pub struct Sequence(u64);

impl Sequence {
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The sequence of these bytes (FNV-1a).
    pub fn of(bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::new(hash)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    /// Pieces of random sizes, some of them empty.
    pub fn cut(&mut self, bytes: &[u8]) -> Vec<Bytes> {
        let longest = [2, 16, 256, 4096][self.below(4)];
        let mut rest = bytes;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(self.below(longest).min(rest.len()));
            pieces.push(Bytes::copy_from_slice(piece));
            rest = after;
        }
        pieces
    }
}

/// Pieces of one size.
pub fn even(bytes: &[u8], size: usize) -> Vec<Bytes> {
    bytes.chunks(size).map(Bytes::copy_from_slice).collect()
}

/// The ways in which one stream is cut: whole, by 1, by 7, at random.
pub fn cuts(bytes: &[u8]) -> Vec<Vec<Bytes>> {
    vec![
        vec![Bytes::copy_from_slice(bytes)],
        even(bytes, 1),
        even(bytes, 7),
        Sequence::of(bytes).cut(bytes),
    ]
}
