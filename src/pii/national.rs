//! The rules of each state for its identity numbers. Each function takes the digits as numbers from 0 to 9,
//! and as many as the number has.

use super::check::{day_of_month, luhn, mod_11_10, number, remainder, verhoeff, weighted};

/// Social Security Administration, POMS RM 10201.
pub(super) fn is_ssn(digits: &[u8]) -> bool {
    let (area, group, serial) = (
        number(digits, 0, 3),
        number(digits, 3, 2),
        number(digits, 5, 4),
    );
    !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0
}

/// Internal Revenue Manual, 3.21.263.
pub(super) fn is_itin(digits: &[u8]) -> bool {
    let group = number(digits, 3, 2);
    number(digits, 0, 1) == 9 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

pub(super) fn is_nhs(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]);
    let check = (11 - sum % 11) % 11;
    check == number(digits, 9, 1) && !is_same(digits)
}

pub(super) fn is_steuer(digits: &[u8]) -> bool {
    let body = digits.get(..10).unwrap_or_default();
    let times = |digit: u8| body.iter().filter(|other| **other == digit).count();
    let most = (0..10).map(times).max().unwrap_or(0);
    digits.first() != Some(&0) && (2..=3).contains(&most) && mod_11_10(digits)
}

pub(super) fn is_nir_body(digits: &[u8]) -> bool {
    let month = number(digits, 3, 2);
    matches!(number(digits, 0, 1), 1..=4 | 7 | 8)
        && (matches!(month, 1..=12 | 20 | 30..=42 | 50..=99))
        && number(digits, 5, 2) != 0
        && number(digits, 10, 3) != 0
}

pub(super) fn is_nir(digits: &[u8]) -> bool {
    let body = digits.get(..13).unwrap_or_default();
    let sex = number(digits, 0, 1);
    matches!(sex, 1 | 2)
        && is_nir_body(digits)
        && 97 - remainder(body, 97) == u64::from(number(digits, 13, 2))
}

pub(super) fn is_bsn(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2]);
    let last = number(digits, 8, 1);
    sum >= last && (sum - last).is_multiple_of(11) && !is_same(digits)
}

/// A check digit of Receita Federal.
fn brazilian(digits: &[u8], weights: &[u8], place: usize) -> bool {
    let rest = weighted(digits, weights) % 11;
    let check = if rest < 2 { 0 } else { 11 - rest };
    check == number(digits, place, 1)
}

pub(super) fn is_cpf(digits: &[u8]) -> bool {
    !is_same(digits)
        && brazilian(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2], 9)
        && brazilian(digits, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2], 10)
}

pub(super) fn is_cnpj(digits: &[u8]) -> bool {
    !is_same(digits)
        && brazilian(digits, &[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2], 12)
        && brazilian(digits, &[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2], 13)
}

pub(super) fn is_aadhaar(digits: &[u8]) -> bool {
    number(digits, 0, 1) >= 2 && verhoeff(digits)
}

pub(super) fn is_my_number(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest <= 1 { 0 } else { 11 - rest };
    check == number(digits, 11, 1)
}

pub(super) fn is_sin(digits: &[u8]) -> bool {
    number(digits, 0, 1) != 8 && luhn(digits)
}

pub(super) fn is_tfn(digits: &[u8]) -> bool {
    weighted(digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11) && !is_same(digits)
}

pub(super) fn is_pesel(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    day_of_month(number(digits, 2, 2) % 20, number(digits, 4, 2)) && sum.is_multiple_of(10)
}

pub(super) fn is_personnummer(digits: &[u8]) -> bool {
    let short = digits
        .get(digits.len().saturating_sub(10)..)
        .unwrap_or_default();
    let century = digits.len() == 10 || matches!(number(digits, 0, 2), 18..=20);
    let day = number(short, 4, 2);
    let day = if day > 60 { day - 60 } else { day };
    century && day_of_month(number(short, 2, 2), day) && luhn(short)
}

pub(super) fn is_day_first(digits: &[u8]) -> bool {
    day_of_month(number(digits, 2, 2), number(digits, 0, 2))
}

pub(super) fn is_fodselsnummer(digits: &[u8]) -> bool {
    let day = number(digits, 0, 2) % 40;
    let month = number(digits, 2, 2) % 40;
    day_of_month(month, day)
        && weighted(digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
        && weighted(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// EAN-13 under the prefix of Switzerland.
pub(super) fn is_ahv(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]);
    number(digits, 0, 3) == 756 && sum.is_multiple_of(10)
}

pub(super) fn is_belgian(digits: &[u8]) -> bool {
    let body = digits.get(..9).unwrap_or_default();
    let check = u64::from(number(digits, 9, 2));
    let rest = remainder(body, 97);
    // From the year 2000 on a 2 stands before the nine digits.
    let later = (2_000_000_000 % 97 + rest) % 97;
    number(digits, 2, 2) <= 12
        && number(digits, 4, 2) <= 31
        && (97 - rest == check || 97 - later == check)
}

pub(super) fn is_rrn(digits: &[u8]) -> bool {
    day_of_month(number(digits, 2, 2), number(digits, 4, 2))
        && matches!(number(digits, 6, 1), 1..=8)
}

pub(super) fn is_south_african(digits: &[u8]) -> bool {
    day_of_month(number(digits, 2, 2), number(digits, 4, 2))
        && number(digits, 10, 1) <= 2
        && luhn(digits)
}

pub(super) fn is_kimlik(digits: &[u8]) -> bool {
    let odd = weighted(digits, &[1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let even = weighted(digits, &[0, 1, 0, 1, 0, 1, 0, 1]);
    let all = weighted(digits, &[1; 10]);
    let tenth = (odd * 7 + 90 - even) % 10;
    number(digits, 0, 1) != 0 && tenth == number(digits, 9, 1) && all % 10 == number(digits, 10, 1)
}

pub(super) fn is_nif(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest < 2 { 0 } else { 11 - rest };
    check == number(digits, 8, 1) && !matches!(number(digits, 0, 1), 0 | 4)
}

pub(super) fn is_cnp(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    let check = if rest == 10 { 1 } else { rest };
    day_of_month(number(digits, 3, 2), number(digits, 5, 2)) && check == number(digits, 12, 1)
}

pub(super) fn is_birth_number(digits: &[u8]) -> bool {
    let month = match number(digits, 2, 2) {
        month @ 71..=82 => month - 70,
        month @ 51..=62 => month - 50,
        month @ 21..=32 => month - 20,
        month => month,
    };
    day_of_month(month, number(digits, 4, 2)) && remainder(digits, 11) == 0
}

/// GB 11643: a day of birth and ISO/IEC 7064, MOD 11-2, of which X is not written in digits only.
pub(super) fn is_resident(digits: &[u8]) -> bool {
    resident_body(digits) && resident_check(digits) == number(digits, 17, 1)
}

/// Region and day of birth.
pub(super) fn resident_body(digits: &[u8]) -> bool {
    matches!(number(digits, 0, 2), 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83)
        && matches!(number(digits, 6, 4), 1900..=2099)
        && day_of_month(number(digits, 10, 2), number(digits, 12, 2))
}

/// The check of its first 17 digits, of which 10 is written X.
pub(super) fn resident_check(digits: &[u8]) -> u32 {
    let sum = weighted(
        digits,
        &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2],
    );
    (12 - sum % 11) % 11
}

fn is_same(digits: &[u8]) -> bool {
    digits.windows(2).all(|two| matches!(two, [a, b] if a == b))
}
