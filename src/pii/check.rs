//! Check digits. Each function takes digits as numbers from 0 to 9.

/// ISO/IEC 7812-1, annex B (Luhn): payment cards, `personnummer`, SIN.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let mut sum = 0_u32;
    for (place, digit) in digits.iter().rev().enumerate() {
        let digit = u32::from(*digit);
        sum += match place % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        };
    }
    sum.is_multiple_of(10)
}

/// The sum of each digit times its weight.
pub(super) fn weighted(digits: &[u8], weights: &[u8]) -> u32 {
    let products = digits.iter().zip(weights);
    products.map(|(d, w)| u32::from(*d) * u32::from(*w)).sum()
}

/// The remainder of the number that the digits write.
pub(super) fn remainder(digits: &[u8], modulus: u64) -> u64 {
    let append = |rest: u64, digit: &u8| (rest * 10 + u64::from(*digit)) % modulus;
    digits.iter().fold(0, append)
}

/// ISO/IEC 7064, MOD 11,10, as the German tax office uses it.
pub(super) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((check, body)) = digits.split_last() else {
        return false;
    };
    let mut product = 10_u32;
    for digit in body {
        let sum = (u32::from(*digit) + product) % 10;
        let sum = if sum == 0 { 10 } else { sum };
        product = sum * 2 % 11;
    }
    (11 - product) % 10 == u32::from(*check)
}

/// The multiplication table of the dihedral group of order ten.
fn dihedral(a: u8, b: u8) -> u8 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

/// J. Verhoeff, Error Detecting Decimal Codes (1969): Aadhaar.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    const TURN: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let turned = |digit: u8, times: usize| {
        (0..times % 8).fold(digit, |digit, _| {
            TURN.get(usize::from(digit)).copied().unwrap_or(0)
        })
    };
    let places = digits.iter().rev().enumerate();
    places.fold(0, |sum, (place, digit)| {
        dihedral(sum, turned(*digit, place))
    }) == 0
}

/// Whether a day of that month can be, in some year.
pub(super) fn day_of_month(month: u32, day: u32) -> bool {
    let last = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// The number that some of the digits write.
pub(super) fn number(digits: &[u8], from: usize, count: usize) -> u32 {
    let part = digits.get(from..from + count).unwrap_or_default();
    part.iter()
        .fold(0, |sum, digit| sum * 10 + u32::from(*digit))
}
