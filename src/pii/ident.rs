//! Identity numbers that are digits only.
//!
//! Those whose written form or check digits leave little to chance stand for themselves; the others
//! are in one table: how many digits, which word must stand before, which check they pass.

use super::check::{day_of_month, luhn, mod_11_10, number, remainder, verhoeff, weighted};
use super::cue::Cues;
use super::kind::Kind;
use super::number::{Between, Window};

type Found = Option<(Kind, usize, usize)>;

/// One identity number that needs a word before it.
struct Said {
    digits: usize,
    cues: Cues,
    kind: Kind,
    check: fn(&[u8]) -> bool,
}

const fn row(digits: usize, cues: Cues, kind: Kind, check: fn(&[u8]) -> bool) -> Said {
    Said {
        digits,
        cues,
        kind,
        check,
    }
}

/// In the order in which they are tried.
const SAID: [Said; 28] = [
    row(9, Cues::SSN, Kind::UsSsn, is_ssn),
    row(9, Cues::SSN.or(Cues::TAX), Kind::UsItin, is_itin),
    row(10, Cues::NHS, Kind::UkNhs, is_nhs),
    row(11, Cues::STEUER.or(Cues::TAX), Kind::DeSteuerId, is_steuer),
    row(13, Cues::NIR, Kind::FrNir, is_nir_body),
    row(15, Cues::NIR, Kind::FrNir, is_nir),
    row(9, Cues::BSN, Kind::NlBsn, is_bsn),
    row(11, Cues::CPF, Kind::BrCpf, is_cpf),
    row(14, Cues::CNPJ, Kind::BrCnpj, is_cnpj),
    row(12, Cues::AADHAAR, Kind::InAadhaar, is_aadhaar),
    row(12, Cues::MY_NUMBER, Kind::JpMyNumber, is_my_number),
    row(9, Cues::SIN.or(Cues::INSURANCE), Kind::CaSin, is_sin),
    row(9, Cues::TFN.or(Cues::TAX), Kind::AuTfn, is_tfn),
    row(11, Cues::PESEL, Kind::PlPesel, is_pesel),
    row(
        10,
        Cues::PERSONNUMMER,
        Kind::SePersonnummer,
        is_personnummer,
    ),
    row(
        12,
        Cues::PERSONNUMMER,
        Kind::SePersonnummer,
        is_personnummer,
    ),
    row(10, Cues::CPR, Kind::DkCpr, is_day_first),
    row(11, Cues::FODSEL, Kind::NoFodselsnummer, is_fodselsnummer),
    row(13, Cues::AHV, Kind::ChAhv, is_ahv),
    row(11, Cues::RIJKS, Kind::BeNationalNumber, is_belgian),
    row(13, Cues::RRN, Kind::KrRrn, is_rrn),
    row(13, Cues::ZA_ID, Kind::ZaId, is_south_african),
    row(11, Cues::KIMLIK, Kind::TrKimlik, is_kimlik),
    row(9, Cues::NIF, Kind::PtNif, is_nif),
    row(13, Cues::CNP, Kind::RoCnp, is_cnp),
    row(10, Cues::RODNE, Kind::CzBirthNumber, is_birth_number),
    row(18, Cues::CN_ID, Kind::CnResidentId, is_resident),
    row(15, Cues::IDENTITY, Kind::FrNir, is_nir),
];

/// One that needs no word beside it, or that has its word and passes its check.
pub(super) fn strict(window: &Window<'_>) -> Found {
    let found = |kind| Some((kind, window.start(), window.end));
    if let Some(kind) = by_word(window) {
        return found(kind);
    }
    if window.bound || window.in_sum() {
        return None;
    }
    let single = window.groups.len() == 1;
    let kind = match single {
        true => by_digits(window)?,
        false => by_form(window)?,
    };
    (!window.is_other()).then_some(())?;
    found(kind)
}

fn by_word(window: &Window<'_>) -> Option<Kind> {
    let said = if window.bound {
        window.said.last
    } else {
        window.said.before
    };
    let ragged = window.groups.iter().skip(1).map(|group| group.between);
    let ragged = ragged.clone().any(|one| one == Between::Dot)
        && ragged.clone().any(|one| one == Between::Space);
    if said.is_empty() || window.groups.len() > 7 || ragged {
        return None;
    }
    let rows = SAID
        .iter()
        .filter(|row| row.digits == window.digits.len() && said.any(row.cues));
    let american = |kind| matches!(kind, Kind::UsSsn | Kind::UsItin);
    let written = window.groups.len() == 1 || window.lengths(&[3, 2, 4]);
    let mut fits = rows
        .filter(|row| written || !american(row.kind))
        .filter(|row| (row.check)(window.digits));
    fits.next().map(|row| row.kind)
}

/// In one piece: only what few numbers pass by chance.
fn by_digits(window: &Window<'_>) -> Option<Kind> {
    let digits = window.digits;
    match digits.len() {
        18 if is_resident(digits) => Some(Kind::CnResidentId),
        15 if is_nir(digits) => Some(Kind::FrNir),
        _ => None,
    }
}

/// In the groups in which it is written.
fn by_form(window: &Window<'_>) -> Option<Kind> {
    use Between::{Dash, Dot, Slash, Space};
    let digits = window.digits;
    let between = window.between();
    let betweens = |wanted: &[Between]| {
        let all = window.groups.iter().skip(1).map(|group| group.between);
        window.groups.len() == wanted.len() + 1 && all.eq(wanted.iter().copied())
    };
    if between == Some(Dash) && window.lengths(&[3, 2, 4]) {
        let maths = window.said.before.any(Cues::MATHS);
        return (is_ssn(digits) && !maths).then_some(Kind::UsSsn);
    }
    let nir = window.lengths(&[1, 2, 2, 2, 3, 3, 2]) && matches!(between, Some(Space | Dash | Dot));
    let kind = match digits.len() {
        15 if nir && is_nir(digits) => Kind::FrNir,
        11 if betweens(&[Dot, Dot, Dash]) && window.lengths(&[3, 3, 3, 2]) && is_cpf(digits) => {
            Kind::BrCpf
        }
        14 if betweens(&[Dot, Dot, Slash, Dash]) && is_cnpj(digits) => Kind::BrCnpj,
        13 if between == Some(Dot) && window.lengths(&[3, 4, 4, 2]) && is_ahv(digits) => {
            Kind::ChAhv
        }
        11 if betweens(&[Dot, Dot, Dash, Dot]) && is_belgian(digits) => Kind::BeNationalNumber,
        10 | 12
            if between == Some(Dash)
                && (window.lengths(&[6, 4]) || window.lengths(&[8, 4]))
                && is_personnummer(digits) =>
        {
            Kind::SePersonnummer
        }
        13 if between == Some(Dash) && window.lengths(&[6, 7]) && is_rrn(digits) => Kind::KrRrn,
        10 if between == Some(Slash) && window.lengths(&[6, 4]) && is_birth_number(digits) => {
            Kind::CzBirthNumber
        }
        _ => return None,
    };
    Some(kind)
}

/// By words alone: an SSN with another separator or of a number that was never given out, a
/// passport, a driving licence.
pub(super) fn said(window: &Window<'_>) -> Found {
    let said = if window.bound {
        window.said.last
    } else {
        window.said.before
    };
    let total = window.digits.len();
    let found = |kind| Some((kind, window.start(), window.end));
    if said.any(Cues::SSN) && total == 9 && window.lengths(&[3, 2, 4]) {
        let real = number(window.digits, 5, 4) != 0 && number(window.digits, 3, 2) != 0;
        return real.then_some((Kind::UsSsn, window.start(), window.end));
    }
    if !window
        .groups
        .iter()
        .skip(1)
        .all(|group| matches!(group.between, Between::Space | Between::Dash))
    {
        return None;
    }
    let compact = window.groups.len() == 1;
    let russian = total == 10 && (window.lengths(&[2, 2, 6]) || window.lengths(&[4, 6]));
    let last = window.said.last;
    if last.any(Cues::PASSPORT.or(Cues::NUMBER).or(Cues::IDENTITY))
        && said.any(Cues::PASSPORT)
        && (russian || (compact && (7..=10).contains(&total)))
    {
        return found(Kind::Passport);
    }
    let driving = said.any(Cues::DRIVE) && said.any(Cues::LICENCE);
    if driving
        && last.any(Cues::DRIVE.or(Cues::LICENCE).or(Cues::NUMBER))
        && (7..=14).contains(&total)
        && window.groups.len() <= 4
    {
        return found(Kind::DrivingLicence);
    }
    None
}

/// Social Security Administration, POMS RM 10201.
fn is_ssn(digits: &[u8]) -> bool {
    let (area, group, serial) = (
        number(digits, 0, 3),
        number(digits, 3, 2),
        number(digits, 5, 4),
    );
    !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0
}

/// Internal Revenue Manual, 3.21.263.
fn is_itin(digits: &[u8]) -> bool {
    let group = number(digits, 3, 2);
    number(digits, 0, 1) == 9 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

fn is_nhs(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]);
    let check = (11 - sum % 11) % 11;
    check == number(digits, 9, 1) && !is_same(digits)
}

fn is_steuer(digits: &[u8]) -> bool {
    let body = digits.get(..10).unwrap_or_default();
    let times = |digit: u8| body.iter().filter(|other| **other == digit).count();
    let most = (0..10).map(times).max().unwrap_or(0);
    digits.first() != Some(&0) && (2..=3).contains(&most) && mod_11_10(digits)
}

fn is_nir_body(digits: &[u8]) -> bool {
    let month = number(digits, 3, 2);
    matches!(number(digits, 0, 1), 1..=4 | 7 | 8)
        && (matches!(month, 1..=12 | 20 | 30..=42 | 50..=99))
        && number(digits, 5, 2) != 0
        && number(digits, 10, 3) != 0
}

fn is_nir(digits: &[u8]) -> bool {
    let body = digits.get(..13).unwrap_or_default();
    let sex = number(digits, 0, 1);
    matches!(sex, 1 | 2)
        && is_nir_body(digits)
        && 97 - remainder(body, 97) == u64::from(number(digits, 13, 2))
}

fn is_bsn(digits: &[u8]) -> bool {
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

fn is_cpf(digits: &[u8]) -> bool {
    !is_same(digits)
        && brazilian(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2], 9)
        && brazilian(digits, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2], 10)
}

fn is_cnpj(digits: &[u8]) -> bool {
    !is_same(digits)
        && brazilian(digits, &[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2], 12)
        && brazilian(digits, &[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2], 13)
}

fn is_aadhaar(digits: &[u8]) -> bool {
    number(digits, 0, 1) >= 2 && verhoeff(digits)
}

fn is_my_number(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest <= 1 { 0 } else { 11 - rest };
    check == number(digits, 11, 1)
}

fn is_sin(digits: &[u8]) -> bool {
    !matches!(number(digits, 0, 1), 0 | 8) && luhn(digits)
}

fn is_tfn(digits: &[u8]) -> bool {
    weighted(digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11) && !is_same(digits)
}

fn is_pesel(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    day_of_month(number(digits, 2, 2) % 20, number(digits, 4, 2)) && sum.is_multiple_of(10)
}

fn is_personnummer(digits: &[u8]) -> bool {
    let short = digits
        .get(digits.len().saturating_sub(10)..)
        .unwrap_or_default();
    let century = digits.len() == 10 || matches!(number(digits, 0, 2), 18..=20);
    let day = number(short, 4, 2);
    let day = if day > 60 { day - 60 } else { day };
    century && day_of_month(number(short, 2, 2), day) && luhn(short)
}

fn is_day_first(digits: &[u8]) -> bool {
    day_of_month(number(digits, 2, 2), number(digits, 0, 2))
}

fn is_fodselsnummer(digits: &[u8]) -> bool {
    let day = number(digits, 0, 2) % 40;
    let month = number(digits, 2, 2) % 40;
    day_of_month(month, day)
        && weighted(digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
        && weighted(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// EAN-13 under the prefix of Switzerland.
fn is_ahv(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]);
    number(digits, 0, 3) == 756 && sum.is_multiple_of(10)
}

fn is_belgian(digits: &[u8]) -> bool {
    let body = digits.get(..9).unwrap_or_default();
    let check = u64::from(number(digits, 9, 2));
    let rest = remainder(body, 97);
    // From the year 2000 on a 2 stands before the nine digits.
    let later = (2_000_000_000 % 97 + rest) % 97;
    number(digits, 2, 2) <= 12
        && number(digits, 4, 2) <= 31
        && (97 - rest == check || 97 - later == check)
}

fn is_rrn(digits: &[u8]) -> bool {
    day_of_month(number(digits, 2, 2), number(digits, 4, 2))
        && matches!(number(digits, 6, 1), 1..=8)
}

fn is_south_african(digits: &[u8]) -> bool {
    day_of_month(number(digits, 2, 2), number(digits, 4, 2))
        && number(digits, 10, 1) <= 2
        && luhn(digits)
}

fn is_kimlik(digits: &[u8]) -> bool {
    let odd = weighted(digits, &[1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let even = weighted(digits, &[0, 1, 0, 1, 0, 1, 0, 1]);
    let all = weighted(digits, &[1; 10]);
    let tenth = (odd * 7 + 90 - even) % 10;
    number(digits, 0, 1) != 0 && tenth == number(digits, 9, 1) && all % 10 == number(digits, 10, 1)
}

fn is_nif(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest < 2 { 0 } else { 11 - rest };
    check == number(digits, 8, 1) && !matches!(number(digits, 0, 1), 0 | 4)
}

fn is_cnp(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    let check = if rest == 10 { 1 } else { rest };
    day_of_month(number(digits, 3, 2), number(digits, 5, 2)) && check == number(digits, 12, 1)
}

fn is_birth_number(digits: &[u8]) -> bool {
    let month = match number(digits, 2, 2) {
        month @ 71..=82 => month - 70,
        month @ 51..=62 => month - 50,
        month @ 21..=32 => month - 20,
        month => month,
    };
    day_of_month(month, number(digits, 4, 2)) && remainder(digits, 11) == 0
}

/// GB 11643: a day of birth and ISO/IEC 7064, MOD 11-2, of which X is not written in digits only.
fn is_resident(digits: &[u8]) -> bool {
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
