//! The words of [`super::cue`], in the languages in which people ask most.

use super::cue::Cues;
use std::sync::LazyLock;

const SLOTS: usize = 1024;

type Word = (&'static [u8], Cues);

/// Words by a hash of their ends and length.
static TABLE: LazyLock<Vec<Vec<Word>>> = LazyLock::new(|| {
    let mut table = vec![Vec::new(); SLOTS];
    for (cues, words) in WORDS {
        for word in words.split_ascii_whitespace() {
            if let Some(slot) = table.get_mut(slot(word.as_bytes())) {
                slot.push((word.as_bytes(), *cues));
            }
        }
    }
    table
});

fn slot(word: &[u8]) -> usize {
    let ends = |byte: Option<&u8>| usize::from(byte.copied().unwrap_or(0));
    let middle = ends(word.get(word.len() / 2));
    (ends(word.first()) * 31 + ends(word.last()) * 7 + middle * 131 + word.len() * 57) % SLOTS
}

fn exactly(word: &[u8]) -> Cues {
    let words = TABLE.get(slot(word)).map(Vec::as_slice);
    let same = words.unwrap_or_default().iter().filter(|(w, _)| *w == word);
    same.fold(Cues::default(), |cues, (_, more)| cues.or(*more))
}

/// What a word of lower case means; nothing for most. The ends of compounds fall off.
pub(super) fn meaning(word: &[u8]) -> Cues {
    let cues = exactly(word);
    if !cues.is_empty() || word.len() < 4 {
        return cues;
    }
    let ends: &[&[u8]] = match word.last() {
        Some(b'r') => &[b"nummer", b"number", b"nr"],
        Some(b'n') => &[b"nummern", b"en"],
        Some(b'o') => &[b"numero", b"no"],
        Some(b't') => &[b"numret"],
        Some(b'm') => &[b"num"],
        Some(b'd') => &[b"id"],
        Some(b's') => &[b"s"],
        _ => return cues,
    };
    let stem = ends.iter().find_map(|end| word.strip_suffix(*end));
    // German joins with an s: "Versicherungsnummer".
    let stem = stem.map(|stem| stem.strip_suffix(b"s").unwrap_or(stem));
    stem.map(exactly).unwrap_or_default()
}

/// Each meaning with its words.
const WORDS: &[(Cues, &str)] = &[
    (
        Cues::PHONE,
        "phone telephone tel tele mobile mob cell cellphone cellular landline fax telefax whatsapp whats sms hotline \
         handset voicemail callback viber ph msisdn \
         telefon telefonisch handy mobil mobiltelefon rufnummer festnetz durchwahl mobilfunk rückruf \
         téléphone portable tél fixe télécopie telefono teléfono móvil movil celular tlf tfno cellulare cell \
         telefone telemóvel telemovel fone zap telefoon mobiel gsm telefonu komórka komórkowy komórki kom \
         telefonní telefonszám mobiltelefon puhelin puhelinnumero matkapuhelin telefoni cep telefonum \
         телефон телефона телефону тел моб мобильный номер номеру сотовый ватсап \
         τηλέφωνο κινητό هاتف جوال الهاتف موبايل تلفن फोन मोबाइल नंबर \
         电话 手机 手机号 號碼 电话号码 電話 手機 携帯 携帯電話 電話番号 号码 热线 座机 전화 휴대폰 전화번호 연락처 핸드폰 \
         โทร โทรศัพท์",
    ),
    (
        Cues::CALL,
        "call calls called calling caller ring dial dialed reach reached reachable contact contacts text texted texting \
         pager answering answer dispatch urgent emergency helpline \
         anrufen anruf ruf erreichen erreichbar kontakt melden appeler appelez appelle appel joindre joignable contactez \
         llamar llame llámame llama llamada contacto contactar chiamare chiama chiamami contatto contattare contattami \
         ligar ligue liga contato bel bellen bereikbaar bereiken zadzwoń dzwonić zadzwonić kontaktowy ring ringa kontakta \
         volat volejte zavolat hívjon soita arayın ara позвоните звонить звоните позвони связаться свяжитесь \
         联系 联系方式 拨打 致电 微信 打给 聯絡 連絡 連絡先 연락",
    ),
    (Cues::NUMBER, "number num nummer numéro numero número numer"),
    (
        Cues::CARD,
        "card cards cc creditcard debitcard credit debit visa mastercard amex maestro discover diners jcb unionpay \
         payment pay paid pays charge charged charges billing billed checkout cvv cvc expiry exp expires expiring pan \
         purchase refund merchant withdraw cardholder kreditkarte karte bankkarte zahlung bezahlen carte bancaire paiement \
         tarjeta crédito pago carta credito pagamento cartão cartao creditcardnummer betaling pinpas karta kartą kartę \
         kort betalkort kartı kart карта карты карту картой карте 信用卡 银行卡 卡号 支付 クレジット カード 카드",
    ),
    (
        Cues::OFFICE,
        "office home work ext extension direct büro bureau oficina ufficio kantoor biuro",
    ),
    (
        Cues::SSN,
        "ssn social socialsecurity ssns taxpayer sozialversicherungsnummer",
    ),
    (Cues::TAX, "tax taxpayer itin tin irs taxid"),
    (
        Cues::PASSPORT,
        "passport passports reisepass reisepaß passnummer passnr pasnummer passeport pasaporte passaporto passaporte paspoort paszport paszportu \
         pasu passi pasaport útlevél pașaport διαβατήριο паспорт паспорта загранпаспорт \
         护照 護照 旅券 パスポート 여권 جواز पासपोर्ट",
    ),
    (
        Cues::DRIVE,
        "driver drivers driving drive drvlic vehicle dvla dmv",
    ),
    (
        Cues::LICENCE,
        "license licence lic lisence permit licenses licences",
    ),
    (
        Cues::DRIVE.or(Cues::LICENCE),
        "dln dlno driverlicense driverslicense driverslicence drivinglicence drivinglicense führerschein fuehrerschein permis conducir \
         carnet patente rijbewijs prawo jazdy condução habilitação cnh körkort førerkort kørekort ajokortti řidičský sürücü \
         ehliyet водительское водительских права удостоверение 驾照 驾驶证 運転免許 免許証 운전면허",
    ),
    (Cues::INSURANCE, "insurance"),
    (Cues::NINO, "nino ni nin"),
    (Cues::NHS, "nhs"),
    (Cues::SECURITY, "security"),
    (Cues::IDENTITY, "identity identification identité identidad"),
    (
        Cues::STEUER,
        "steuer steuerid idnr steueridentifikationsnummer steuernummer identifikationsnummer tin steueridnr",
    ),
    (Cues::NIR, "nir insee sécu sociale securite"),
    (Cues::DNI, "dni nie nif documento identidad"),
    (
        Cues::BSN,
        "bsn burgerservicenummer burgerservice sofi sofinummer",
    ),
    (Cues::CPF, "cpf contribuinte"),
    (Cues::CNPJ, "cnpj"),
    (Cues::AADHAAR, "aadhaar aadhar adhaar uidai uid आधार"),
    (Cues::PAN, "pan permanent"),
    (Cues::SIN, "sin nas sins"),
    (Cues::TFN, "tfn"),
    (Cues::PESEL, "pesel pesel-u peselu"),
    (
        Cues::PERSONNUMMER,
        "personnummer personnr pnr samordningsnummer",
    ),
    (
        Cues::AHV,
        "ahv avs ahvnummer sozialversicherungsnummer navs13 navs",
    ),
    (Cues::HETU, "hetu henkilötunnus henkilötunnukseni"),
    (Cues::CPR, "cpr cprnummer personnummer"),
    (
        Cues::FODSEL,
        "fødselsnummer fodselsnummer personnummer fnr fødsels",
    ),
    (
        Cues::RIJKS,
        "rijksregisternummer rijksregister insz niss registre",
    ),
    (Cues::CN_ID, "身份证 身份证号 身分證"),
    (Cues::RRN, "rrn 주민등록번호 주민등록 주민번호"),
    (Cues::MY_NUMBER, "mynumber マイナンバー 個人番号"),
    (Cues::ZA_ID, "id identity said rsa"),
    (Cues::KIMLIK, "kimlik tckn tc tckimlik"),
    (Cues::CNP, "cnp"),
    (Cues::NIF, "nif contribuinte fiscal"),
    (Cues::CURP, "curp"),
    (Cues::RODNE, "rodné rodne rč číslo"),
    (
        Cues::IP,
        "ip ips ipv ipaddr ipaddress address addr host hostname server client ping ssh login logged geolocate block blocked dns whois remote traceroute inet",
    ),
    (
        Cues::VERSION,
        "version versions ver release releases upgrade upgraded build firmware patch changelog section chapter clause \
         rev revision driver package oid snmp mib sdk assemblyversion fileversion",
    ),
    (
        Cues::OTHER,
        "order orders tracking shipment parcel invoice inv ticket case sku part parts serial isbn issn ean upc asin imei barcode \
         product item model ref reference confirmation po rma article version build commit hash sha md timestamp epoch ts unix \
         uuid guid port pid line lines page pages zip postcode postal weight price amount total cost usd eur bytes size \
         offset row rows column index sequence seq bestellung bestellnummer rechnung sendung commande factura pedido ordine \
         datasheet lot batch request trace span session transaction txn id ids uid doi pmid arxiv patent vin",
    ),
    (
        Cues::MATHS,
        "compute calculate prime primes sum add multiply divide divided subtract plus minus times equals equation solve factor \
         factors factorial round convert digits digit integer integers divisible product mod modulo sequence lcm gcd \
         evaluate simplify probability",
    ),
];
