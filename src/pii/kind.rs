//! What can be found, and what it is called.

/// One kind of personal detail or secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// An IP address, of version 4 or 6, that is not of a private or special range.
    IpAddress,
    /// The number of a payment card.
    PaymentCard,
    /// An international bank account number.
    Iban,
    /// A passport number, known by the words before it.
    Passport,
    /// A driving licence number, known by the words before it.
    DrivingLicence,
    /// A social security number of the United States.
    UsSsn,
    /// An individual taxpayer identification number of the United States.
    UsItin,
    /// A national insurance number of the United Kingdom.
    UkNino,
    /// An NHS number of England and Wales.
    UkNhs,
    /// A `Steuer-Identifikationsnummer` of Germany.
    DeSteuerId,
    /// A `numéro de sécurité sociale` (NIR) of France.
    FrNir,
    /// A DNI or NIE of Spain.
    EsDni,
    /// A `codice fiscale` of Italy.
    ItCodiceFiscale,
    /// A `burgerservicenummer` of the Netherlands.
    NlBsn,
    /// A CPF of Brazil.
    BrCpf,
    /// A CNPJ of Brazil.
    BrCnpj,
    /// An Aadhaar number of India.
    InAadhaar,
    /// A permanent account number of India.
    InPan,
    /// A social insurance number of Canada.
    CaSin,
    /// A tax file number of Australia.
    AuTfn,
    /// A PESEL of Poland.
    PlPesel,
    /// A `personnummer` of Sweden.
    SePersonnummer,
    /// An AHV (AVS) number of Switzerland.
    ChAhv,
    /// A `henkilötunnus` of Finland.
    FiHetu,
    /// A CPR number of Denmark.
    DkCpr,
    /// A `fødselsnummer` of Norway.
    NoFodselsnummer,
    /// A national register number of Belgium.
    BeNationalNumber,
    /// A resident identity number of China.
    CnResidentId,
    /// A resident registration number of Korea.
    KrRrn,
    /// An individual number (My Number) of Japan.
    JpMyNumber,
    /// An identity number of South Africa.
    ZaId,
    /// A `T.C. kimlik` number of Turkey.
    TrKimlik,
    /// A CURP of Mexico.
    MxCurp,
    /// An NRIC or FIN of Singapore.
    SgNric,
    /// A NIF of Portugal.
    PtNif,
    /// A CNP of Romania.
    RoCnp,
    /// A birth number (`rodné číslo`) of Czechia and Slovakia.
    CzBirthNumber,
    /// A key or token of a known provider, or a value that its name calls one.
    ApiKey,
    /// A signed JSON web token.
    Jwt,
    /// A private key in PEM form.
    PrivateKey,
    /// An address with a password in it: `scheme://user:password@host`.
    UrlPassword,
}

/// What a kind is about, for rules that need no finer word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// A way to reach somebody.
    Contact,
    /// An address on the network.
    Network,
    /// A card or an account.
    Financial,
    /// A number that a state gave to a person.
    Identity,
    /// What opens a door to whoever holds it.
    Secret,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 5] = [
        Self::Contact,
        Self::Network,
        Self::Financial,
        Self::Identity,
        Self::Secret,
    ];

    /// As it is written in rules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Network => "network",
            Self::Financial => "financial",
            Self::Identity => "identity",
            Self::Secret => "secret",
        }
    }

    /// The group of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

impl Kind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 43] = [
        Self::Email,
        Self::Phone,
        Self::IpAddress,
        Self::PaymentCard,
        Self::Iban,
        Self::Passport,
        Self::DrivingLicence,
        Self::UsSsn,
        Self::UsItin,
        Self::UkNino,
        Self::UkNhs,
        Self::DeSteuerId,
        Self::FrNir,
        Self::EsDni,
        Self::ItCodiceFiscale,
        Self::NlBsn,
        Self::BrCpf,
        Self::BrCnpj,
        Self::InAadhaar,
        Self::InPan,
        Self::CaSin,
        Self::AuTfn,
        Self::PlPesel,
        Self::SePersonnummer,
        Self::ChAhv,
        Self::FiHetu,
        Self::DkCpr,
        Self::NoFodselsnummer,
        Self::BeNationalNumber,
        Self::CnResidentId,
        Self::KrRrn,
        Self::JpMyNumber,
        Self::ZaId,
        Self::TrKimlik,
        Self::MxCurp,
        Self::SgNric,
        Self::PtNif,
        Self::RoCnp,
        Self::CzBirthNumber,
        Self::ApiKey,
        Self::Jwt,
        Self::PrivateKey,
        Self::UrlPassword,
    ];

    /// Its name in rules, answers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::IpAddress => "ip_address",
            Self::PaymentCard => "payment_card",
            Self::Iban => "iban",
            Self::Passport => "passport",
            Self::DrivingLicence => "driving_licence",
            Self::UsSsn => "us_ssn",
            Self::UsItin => "us_itin",
            Self::UkNino => "uk_nino",
            Self::UkNhs => "uk_nhs",
            Self::DeSteuerId => "de_steuer_id",
            Self::FrNir => "fr_nir",
            Self::EsDni => "es_dni",
            Self::ItCodiceFiscale => "it_codice_fiscale",
            Self::NlBsn => "nl_bsn",
            Self::BrCpf => "br_cpf",
            Self::BrCnpj => "br_cnpj",
            Self::InAadhaar => "in_aadhaar",
            Self::InPan => "in_pan",
            Self::CaSin => "ca_sin",
            Self::AuTfn => "au_tfn",
            Self::PlPesel => "pl_pesel",
            Self::SePersonnummer => "se_personnummer",
            Self::ChAhv => "ch_ahv",
            Self::FiHetu => "fi_hetu",
            Self::DkCpr => "dk_cpr",
            Self::NoFodselsnummer => "no_fodselsnummer",
            Self::BeNationalNumber => "be_national_number",
            Self::CnResidentId => "cn_resident_id",
            Self::KrRrn => "kr_rrn",
            Self::JpMyNumber => "jp_my_number",
            Self::ZaId => "za_id",
            Self::TrKimlik => "tr_kimlik",
            Self::MxCurp => "mx_curp",
            Self::SgNric => "sg_nric",
            Self::PtNif => "pt_nif",
            Self::RoCnp => "ro_cnp",
            Self::CzBirthNumber => "cz_birth_number",
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::PrivateKey => "private_key",
            Self::UrlPassword => "url_password",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it is about.
    #[must_use]
    pub const fn group(self) -> Group {
        match self {
            Self::Email | Self::Phone => Group::Contact,
            Self::IpAddress => Group::Network,
            Self::PaymentCard | Self::Iban => Group::Financial,
            Self::ApiKey | Self::Jwt | Self::PrivateKey | Self::UrlPassword => Group::Secret,
            _ => Group::Identity,
        }
    }
}
