//! Identity numbers that are digits only.
//!
//! Those whose written form or check digits leave little to chance stand for themselves; the others
//! are in one table: how many digits, which word must stand before, which check they pass.

use super::check::number;
use super::cue::Cues;
use super::kind::Kind;
use super::national::{
    is_aadhaar, is_ahv, is_belgian, is_birth_number, is_bsn, is_cnp, is_cnpj, is_cpf, is_day_first,
    is_fodselsnummer, is_itin, is_kimlik, is_my_number, is_nhs, is_nif, is_nir, is_nir_body,
    is_personnummer, is_pesel, is_resident, is_rrn, is_sin, is_south_african, is_ssn, is_steuer,
    is_tfn,
};
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
    let fits = SAID.iter().filter(|row| row.digits == window.digits.len());
    let fits = fits.filter(|row| (row.check)(window.digits));
    fits.clone().next()?;
    let said = if window.bound {
        window.said().last
    } else {
        window.said().before
    };
    let ragged = window.groups.iter().skip(1).map(|group| group.between);
    let ragged = ragged.clone().any(|one| one == Between::Dot)
        && ragged.clone().any(|one| one == Between::Space);
    if said.is_empty() || window.groups.len() > 7 || ragged {
        return None;
    }
    let american = |kind| matches!(kind, Kind::UsSsn | Kind::UsItin);
    let written = window.groups.len() == 1 || window.lengths(&[3, 2, 4]);
    let mut fits = fits
        .filter(|row| said.any(row.cues))
        .filter(|row| written || !american(row.kind));
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
        let maths = window.said().before.any(Cues::MATHS);
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
        window.said().last
    } else {
        window.said().before
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
    let last = window.said().last;
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
