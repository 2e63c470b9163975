//! What is found and what is not, kind by kind, and what holds for any text.

use super::text::WORK;
use super::{Group, Kind, Span, scan, spans};
use proptest::prelude::*;

fn found(text: &str) -> Vec<(Kind, &str)> {
    let spans = spans(text.as_bytes()).into_iter();
    spans
        .map(|Span { kind, range }| (kind, &text[range]))
        .collect()
}

/// That kind is found in each text, just what stands between the brackets `⟦⟧`, and nothing else.
fn finds(kind: Kind, texts: &[&str]) {
    for marked in texts {
        let (before, rest) = marked.split_once('⟦').expect("a mark");
        let (wanted, after) = rest.split_once('⟧').expect("a mark");
        let text = format!("{before}{wanted}{after}");
        assert_eq!(found(&text), [(kind, wanted)], "in {text:?}");
    }
}

fn passes(texts: &[&str]) {
    for text in texts {
        assert_eq!(found(text), [], "in {text:?}");
    }
}

#[test]
fn email_addresses() {
    finds(
        Kind::Email,
        &[
            "write to ⟦jane.doe+shop@mail.example.co.uk⟧.",
            "<⟦BORYS45@EXAMPLE.ORG⟧> wrote:",
            "mailto:⟦a_b@example.museum⟧?subject=hi",
            "user=⟦o'neil@example.com⟧&next=/",
            r"\n⟦foo@example.com⟧\n",
            "邮箱⟦foo@example.com⟧，谢谢",
            "⟦jürgen@müller.de⟧ ist da",
            "?login=⟦ann%40example.com⟧&x=1",
        ],
    );
    passes(&[
        "git clone git@github.com:owner/name.git hangs",
        "scp deploy@db.example.com:/var/backups/x .",
        "@app.route(\"/users\") def f(a, b): return a@b",
        "npm install @scope/name@16.17.15 lodash@4.17.21 left-pad@v1.2.3.beta",
        "const re = /^[^@]+@[^@]+\\.[^@]+$/;",
        "follow @user@mastodon.social",
        "logo@2x.png and icon@3x.png",
        "a@b, a@b.c, a@.com, @@@@, a@-x.com",
        "y = weights@inputs.reshape(3, 4)",
    ]);
}

#[test]
fn telephone_numbers_that_stand_for_themselves() {
    finds(
        Kind::Phone,
        &[
            "we are at ⟦+1 869 655 3644⟧ today",
            "we are at ⟦+49 (0)30 1234567⟧ today",
            "x ⟦+33 1 23 45 67 89⟧",
            "x ⟦+8613812345678⟧.",
            "x ⟦0044 20 7946 0958⟧",
            "x ⟦(415) 555-2671⟧",
            "x ⟦415-555-2671 x123⟧",
            "x ⟦1-415-555-2671⟧, y",
            "x ⟦(0306) 999 0742⟧",
            "x ⟦06 12 34 56 78⟧",
            "x ⟦07911 123456⟧",
        ],
    );
}

#[test]
fn telephone_numbers_by_words_in_many_languages() {
    finds(
        Kind::Phone,
        &[
            "tel: ⟦036217178⟧",
            "My number is ⟦847 928 5285⟧",
            "They answer at ⟦782 2652⟧",
            "Meine Handynummer ist ⟦0171 2345678⟧.",
            "Telefon ⟦(07676) 347140⟧ / Fax",
            "Vous pouvez me joindre au ⟦0612345678⟧",
            "Llámame al ⟦612 345 678⟧",
            "Il mio cellulare è ⟦347 1234567⟧",
            "Zadzwoń do mnie: ⟦601 234 567⟧",
            "Позвоните мне: ⟦8 (928) 775-74-47⟧",
            "我的电话是⟦13812345678⟧，谢谢",
            "電話番号は⟦03-1234-5678⟧です",
            "제 전화번호는 ⟦010-1234-5678⟧ 입니다",
            "मेरा फोन नंबर ⟦98765 43210⟧ है",
            "\u{a0}tel\u{a0}: “phone” ⟦036217178⟧",
            "{\"phoneNumber\": \"⟦5551234567⟧\"}",
            "⟦042 078 6381⟧ office",
            "tel.⟦0171 2345678⟧",
        ],
    );
}

#[test]
fn numbers_that_are_no_telephone_numbers() {
    passes(&[
        "Convert 1807517327 to a date",
        "order #27535023669, tracking number 5931147065305",
        "2023-10-05 14:23:11 and 05.10.2023 and 20231005",
        "call f(9465428409, 3252402964)",
        "pub const RING_CALL: u32 = 2148052769;",
        "0.02500 \\text{day}^{-1}, 0.02222",
        "01 02 03 04 05",
        "1e 08 00 55 00 73 00 65 00 72 06 12 34 56 78 9a",
        "pages 312-516, 206-154, 60-62",
        "2011 2012 2013 2014",
        "The population was 331449281 in 2020.",
        "iPhone 12345678",
        "-78.143914, 83.542355",
        "$1699.77 + $3,659,175.18",
        "call me at 1010 1101 1001",
    ]);
}

#[test]
fn payment_cards() {
    finds(
        Kind::PaymentCard,
        &[
            "Why is ⟦4111111111111111⟧ rejected?",
            "⟦5500 0000 0000 0004⟧",
            "cc=⟦5500-0000-0000-0004⟧&exp=09/27",
            "⟦378282246310005⟧",
            "⟦3782 822463 10005⟧",
            "JCB ⟦180001638277392⟧",
            "my card ⟦30569309025904⟧",
            "Charge my card ⟦676100000006⟧ now",
            "visa ⟦4222222222222⟧",
            "card ⟦4111 1111 1111 1111⟧ 09/27",
        ],
    );
    passes(&[
        "card 4111111111111112",
        "cc 5500 0000 0000 0005",
        "tracking number 4111111111111111",
        "Is 4111111111111111 prime?",
        "const X = 4111111111111111;",
        "code 4222222222222",
        "id 9111111111111111",
        "5520 5521 5522 5523 5524 5525",
        "0.4111111111111111",
    ]);
}

#[test]
fn bank_accounts() {
    finds(
        Kind::Iban,
        &[
            "Pay ⟦DE89370400440532013000⟧.",
            "IBAN: ⟦GB82 WEST 1234 5698 7654 32⟧",
            "my iban is ⟦gb82west12345698765432⟧",
            "⟦FR14 2004 1010 0505 0001 3M02 606⟧ please",
            "(⟦NO9386011117947⟧)",
        ],
    );
    passes(&[
        "Pay DE89370400440532013001.",
        "IBAN: GB82 WEST 1234 5698 7654 33",
        "DE8937040044053201300",
        "XX89370400440532013000",
        "d093c198-453d-434f-be85-1e8d447b3b85",
    ]);
}

#[test]
fn identity_numbers_that_stand_for_themselves() {
    finds(
        Kind::UsSsn,
        &["Taxpayer ⟦171-66-3048⟧ asks", "Here is ⟦536-32-3065⟧."],
    );
    finds(Kind::UkNino, &["NI ⟦AB 12 34 56 C⟧", "⟦AB123456C⟧"]);
    finds(
        Kind::FrNir,
        &["NIR ⟦255081416802538⟧", "⟦2 55 08 14 168 025 38⟧"],
    );
    finds(
        Kind::EsDni,
        &[
            "DNI ⟦12345678Z⟧",
            "NIE: ⟦X1234567L⟧",
            "⟦12345678-Z⟧",
            "⟦X-1234567-L⟧",
        ],
    );
    finds(
        Kind::ItCodiceFiscale,
        &["⟦RSSMRA85T10A562S⟧", "cf ⟦rssmra85t10a562s⟧"],
    );
    finds(Kind::BrCpf, &["⟦529.982.247-25⟧"]);
    finds(Kind::BrCnpj, &["⟦11.222.333/0001-81⟧"]);
    finds(Kind::InPan, &["⟦ABCPE1234F⟧"]);
    finds(Kind::SePersonnummer, &["⟦811228-9874⟧"]);
    finds(Kind::ChAhv, &["⟦756.9217.0769.85⟧"]);
    finds(Kind::FiHetu, &["⟦131052-308T⟧", "⟦010199A9001⟧"]);
    finds(Kind::BeNationalNumber, &["⟦85.07.30-033.28⟧"]);
    finds(
        Kind::CnResidentId,
        &["⟦11010519491231002X⟧", "号⟦110105199001010010⟧"],
    );
    finds(Kind::KrRrn, &["⟦850101-1234567⟧"]);
    finds(Kind::MxCurp, &["⟦HEGG560427MVZRRL04⟧"]);
    finds(Kind::SgNric, &["⟦S1234567D⟧"]);
    finds(Kind::CzBirthNumber, &["⟦736028/5163⟧"]);
}

#[test]
fn identity_numbers_by_words() {
    finds(Kind::UsSsn, &["ssn ⟦858 95 7426⟧", "SSN: ⟦536323065⟧"]);
    finds(Kind::UsItin, &["ITIN ⟦912-70-1234⟧"]);
    finds(Kind::UkNhs, &["NHS number ⟦943 476 5919⟧"]);
    finds(Kind::DeSteuerId, &["Steuer-ID ⟦86095742719⟧"]);
    finds(Kind::NlBsn, &["BSN ⟦111222333⟧"]);
    finds(Kind::BrCpf, &["CPF ⟦52998224725⟧"]);
    finds(Kind::InAadhaar, &["Aadhaar ⟦2341 2341 2346⟧"]);
    finds(Kind::CaSin, &["SIN ⟦130 692 544⟧"]);
    finds(Kind::AuTfn, &["TFN ⟦123 456 782⟧"]);
    finds(Kind::PlPesel, &["PESEL ⟦44051401359⟧"]);
    finds(Kind::DkCpr, &["CPR ⟦070761-4285⟧"]);
    finds(Kind::NoFodselsnummer, &["fødselsnummer ⟦01010750160⟧"]);
    finds(Kind::JpMyNumber, &["マイナンバー⟦123456789018⟧"]);
    finds(Kind::ZaId, &["ID number ⟦8001015009087⟧"]);
    finds(Kind::TrKimlik, &["TC kimlik ⟦10000000146⟧"]);
    finds(Kind::PtNif, &["NIF ⟦123456789⟧"]);
    finds(Kind::RoCnp, &["CNP ⟦1800101221144⟧"]);
}

#[test]
fn numbers_that_identify_nobody() {
    passes(&[
        "SKU 000-14-6814, SKU 666-28-7905, SKU 934-85-0440",
        "Compute 245-28-0155 + 72649",
        "part 123-45-6789",
        "Weather in 37646-2529?",
        "529.982.247-26 and 11.222.333/0001-82",
        "756.9217.0769.86",
        "AB123456E BG123456A",
        "12345678A X1234567M RSSMRA85T10A562T",
        "111222333 943 476 5918 86095742719",
        "BSN 111222334, PESEL 44051401358, Aadhaar 2341 2341 2345",
        "ISBN 978-4-8940-7336-4",
        "request id 316db0c2-63ac-4c3d-a85b-2c102e001c9c",
        "git revert eb30db29b4ae39b5a9af2b00392c77a49ef89427",
        "2021-01-01 to 2021-12-31, RFC-3986, ABC1234D5E",
    ]);
}

#[test]
fn passports_and_licences_by_words() {
    finds(
        Kind::Passport,
        &[
            "Passport No: ⟦692847143⟧, expiry 2031",
            "passport ⟦R47974261⟧",
            "Reisepass ⟦C01X00T47⟧",
            "numéro de passeport : ⟦12AB34567⟧",
            "паспорт ⟦4510 123456⟧",
            "护照号⟦E12345678⟧",
        ],
    );
    finds(
        Kind::DrivingLicence,
        &[
            "my driver's license number is ⟦A56319335⟧",
            "driving licence ⟦MORGA657054SM9IJ⟧",
            "Führerschein Nr. ⟦B072RRE2I55⟧",
        ],
    );
    passes(&[
        "C01X00T47 R47974261 A56319335",
        "license key A56319335",
        "GL_PASS_THROUGH_TOKEN: u32 = 1792u32",
        "passport.js 0.6.0",
    ]);
}

#[test]
fn network_addresses() {
    finds(
        Kind::IpAddress,
        &[
            "from ⟦129.35.115.32⟧:443",
            "http://⟦194.231.116.140⟧/x",
            "root@⟦65.217.230.142⟧",
            "ip ⟦6.27.75.3⟧.",
            "at ⟦40c2:f12f:9acb:5253:7df8:30df:7df0:1dd7⟧.",
            "[⟦2001:db8::8a2e:370:7334⟧]:443",
            "::ffff:⟦129.35.115.32⟧",
        ],
    );
    passes(&[
        "10.1.2.3 172.16.0.9 192.168.1.1 127.0.0.1 169.254.1.1 0.0.0.0 255.255.255.0 224.0.0.1 100.64.1.1",
        "::1 fe80::1 fd12:3456::1 ff02::1",
        "version 38.121.140.11, v1.2.3.4, x==101.2.3.4, Chrome/120.1.2.3",
        "1.3.6.1.2.1.3.1.2.2 and 1.2.3.4 and 999.1.1.1 and 1.2.3",
        "86.63.2.0/24",
        "12:34:56 and fc:62:4d:1e:12:b5 and 00:11:22:33:44:55:66:77",
        "std::string dead::beef fe::add a::b",
        "ratio 1:8:28:70:56:28:8:1",
    ]);
}

/// Bytes that look drawn, of some alphabet.
fn drawn(alphabet: &str, length: usize) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let mut state = 12345_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        letters[(state >> 33) as usize % letters.len()]
    };
    (0..length).map(|_| next()).collect()
}

const ALL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &str = "0123456789abcdef";

#[test]
fn keys_of_providers() {
    let upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let keys = [
        format!("sk-{}", drawn(ALL, 48)),
        format!("sk-proj-{}_{}", drawn(ALL, 40), drawn(ALL, 30)),
        format!("sk-ant-api03-{}-{}AA", drawn(ALL, 40), drawn(ALL, 40)),
        format!("AKIA{}", drawn(upper, 16)),
        format!("AIza{}", drawn(ALL, 35)),
        format!("ghp_{}", drawn(ALL, 36)),
        format!("github_pat_{}_{}", drawn(ALL, 22), drawn(ALL, 59)),
        format!("glpat-{}", drawn(ALL, 20)),
        format!("xoxb-81108420572-650245938135-{}", drawn(ALL, 24)),
        format!("sk_live_{}", drawn(ALL, 24)),
        format!("SK{}", drawn(HEX, 32)),
        format!("SG.{}.{}", drawn(ALL, 22), drawn(ALL, 43)),
        format!("npm_{}", drawn(ALL, 36)),
        format!("pypi-AgEIcHlwaS5vcmc{}", drawn(ALL, 60)),
        format!("hf_{}", drawn(&ALL[..52], 34)),
        format!("dapi{}", drawn(HEX, 32)),
        format!("123456789:AA{}", drawn(ALL, 33)),
    ];
    for key in keys {
        for around in ["key is ⟦⟧ now", "TOKEN=⟦⟧\n", "(\"⟦⟧\")", "\\n⟦⟧\\n"] {
            let text = around.replace("⟦⟧", &key);
            assert_eq!(found(&text), [(Kind::ApiKey, key.as_str())], "in {text:?}");
        }
    }
}

#[test]
fn values_that_their_names_call_keys() {
    let (secret, azure) = (drawn(&format!("{ALL}+/"), 40), drawn(ALL, 86));
    finds(
        Kind::ApiKey,
        &[
            &format!("aws_secret_access_key = \"⟦{secret}⟧\""),
            &format!("AccountName=x;AccountKey=⟦{azure}==⟧;"),
            &format!("{{\"api_key\": \"⟦{}⟧\"}}", drawn(HEX, 32)),
            &format!("Authorization: Bearer ⟦{}⟧", drawn(ALL, 40)),
        ],
    );
    passes(&[
        &format!("sha1 = \"{secret}\""),
        &format!("etag: {}", drawn(HEX, 32)),
        "const PrivateKeyFlag: X509CertificateTemplatePrivateKeyFlag = 64;",
        "password = get_password_from_environment_or_file(1234)",
    ]);
}

#[test]
fn tokens_private_keys_and_passwords() {
    let part = |length| drawn(ALL, length);
    finds(
        Kind::Jwt,
        &[&format!(
            "Bearer ⟦eyJ{}.eyJ{}.{}⟧",
            part(20),
            part(60),
            part(43)
        )],
    );
    finds(
        Kind::PrivateKey,
        &[
            &format!(
                "⟦-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----⟧\n",
                part(64)
            ),
            &format!(
                "\"⟦-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----⟧\"",
                part(64)
            ),
            &format!("⟦-----BEGIN OPENSSH PRIVATE KEY-----\n{}⟧", part(64)),
        ],
    );
    finds(
        Kind::UrlPassword,
        &["use ⟦postgres://admin:CYOsH5b7hrIZcM@db.internal:5432/prod⟧ now"],
    );
    passes(&[
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        &format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----",
            part(64)
        ),
        "postgres://user:password@localhost:5432/db and redis://:${SECRET_1}@h/0",
        "eyJhbGciOiJIUzI1NiJ9",
    ]);
}

#[test]
fn placeholders_and_names_are_no_keys() {
    passes(&[
        "sk-xxxxxxxxxxxxxxxxxxxxxxxx sk-your-api-key-goes-here-1234",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        "sk-container-id-1 sk-estimator-doc-link-rendered-1",
        "task-1234abcd5678efgh9012ijkl",
        "npm_config_registry_mirror_url hf_hub_download_and_cache_files",
        "key-value-store-with-long-name-1234567",
        "OPENAI_API_KEY=YOUR_API_KEY",
    ]);
}

#[test]
fn disguises_are_seen_through() {
    finds(
        Kind::PaymentCard,
        &[
            "x ⟦４１１１１１１１１１１１１１１１⟧ y",
            "x ⟦4111\u{200b}1111\u{200b}1111\u{200b}1111⟧\u{200b} y",
            "x ⟦4111\u{a0}1111\u{a0}1111\u{a0}1111⟧ y",
            "x ⟦4111\u{2011}1111\u{2011}1111\u{2011}1111⟧ y",
        ],
    );
    finds(
        Kind::Email,
        &[
            "x ⟦jane＠example.com⟧ y",
            "x ⟦ja\u{ad}ne@exam\u{200d}ple.com⟧.",
        ],
    );
    finds(Kind::Phone, &["هاتف ⟦٠٥٠١٢٣٤٥٦٧⟧", "फोन ⟦९८७६५४३२१०⟧"]);
}

#[test]
fn kinds_have_names_and_numbers() {
    for (number, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, number);
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
    assert_eq!(Kind::from_name("name"), None);
}

#[test]
fn findings_count_and_add_up() {
    let mut findings = scan(b"a@example.com, b@example.com, 4111111111111111");
    assert_eq!(findings.count(Kind::Email), 2);
    assert_eq!(findings.of_group(Group::Financial), 1);
    findings.merge(&scan(b"c@example.com"));
    let all: Vec<_> = findings.iter().collect();
    assert_eq!(all, [(Kind::Email, 3), (Kind::PaymentCard, 1)]);
    assert_eq!(findings.total(), 4);
    assert!(scan(b"nothing").is_empty());
}

/// How many bytes are read for a text.
fn work(text: &str) -> u64 {
    WORK.with(|work| work.set(0));
    let _ = scan(text.as_bytes());
    WORK.with(std::cell::Cell::get)
}

#[test]
fn work_grows_with_the_length_and_no_faster() {
    let hostile = [
        "1",
        "1 ",
        "1-",
        "12 ",
        "1234567 ",
        "123.",
        "1.",
        "1:",
        "a:",
        ":",
        "@",
        "a@",
        "a.@",
        "a@b.",
        "%40",
        "x%40",
        "-",
        "_",
        "sk-",
        "-sk-a1B2",
        "sk-a1B2",
        "eyJ",
        "-eyJ",
        "eyJ.",
        "eyJaaaaaaaaaa.",
        "-----BEGIN PRIVATE KEY-----",
        "SG.",
        "-SG.",
        "AKIA",
        "DE89",
        "DE89 ",
        "A1",
        "a1-",
        "+1",
        "(1)",
        "1x1",
        "1(",
        "token=",
        "token:a1B2",
        "://a:b@",
        "é1",
        "１",
        "1\u{200b}",
        "\u{200b}",
        "call 1234567 ",
        "card 4111 ",
        "0123456789abcdef",
        "-----",
    ];
    for piece in hostile {
        let short = work(&piece.repeat(40_000 / piece.len()));
        let long = work(&piece.repeat(160_000 / piece.len()));
        assert!(
            long <= short * 5,
            "{piece:?}: {short} bytes read, then {long}"
        );
        assert!(long < 160_000 * 400, "{piece:?}: {long} bytes read");
    }
}

/// Texts of what the scanner reacts to.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("4111 1111 1111 1111".to_owned()),
        Just("jane@example.com".to_owned()),
        Just("tel. 0171 2345678".to_owned()),
        Just("DE89370400440532013000".to_owned()),
        Just("129.35.115.32".to_owned()),
        Just("passport 692847143".to_owned()),
        "[0-9 .()/-]{1,24}",
        "[a-zA-Z0-9@:._%+-]{1,16}",
        "[ \n,;]{1,2}",
        "[１２３＠é中\u{200b}\u{a0}\u{ad}]{1,3}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn spans_are_in_order_apart_and_between_characters(text in texts()) {
        let mut floor = 0;
        for Span { kind, range } in spans(text.as_bytes()) {
            prop_assert!(range.start >= floor && range.end > range.start, "{:?} {:?}", kind, range);
            prop_assert!(text.get(range.clone()).is_some(), "{:?} {:?}", kind, range);
            floor = range.end;
        }
    }

    #[test]
    fn scan_counts_what_spans_tells(text in texts()) {
        let spans = spans(text.as_bytes());
        let findings = scan(text.as_bytes());
        for kind in Kind::ALL {
            let count = spans.iter().filter(|span| span.kind == kind).count();
            prop_assert_eq!(findings.count(kind) as usize, count);
        }
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        for Span { range, .. } in spans(&bytes) {
            prop_assert!(range.end <= bytes.len());
        }
    }

    #[test]
    fn what_stands_alone_is_found_wherever_it_stands(before in "[bfg ,\n]{0,80}", after in "[bfg ,\n]{0,80}") {
        let text = format!("{before} jane@example.com, {after}\nDE89370400440532013000\n{before}\n129.35.115.32 {after}");
        let kinds: Vec<Kind> = spans(text.as_bytes()).into_iter().map(|span| span.kind).collect();
        prop_assert_eq!(kinds, vec![Kind::Email, Kind::Iban, Kind::IpAddress]);
    }

    #[test]
    fn texts_apart_by_a_paragraph_are_read_apart(mut one in texts(), mut other in texts()) {
        // Whether disguises are looked for is decided for a text as a whole.
        one.retain(|letter| letter.is_ascii());
        other.retain(|letter| letter.is_ascii());
        // Words reach 64 bytes ahead, so that the gap is longer.
        let gap = format!("\n{}\n", "~ ".repeat(60));
        let mut apart = scan(one.as_bytes());
        apart.merge(&scan(other.as_bytes()));
        let together = scan(format!("{one}{gap}{other}").as_bytes());
        prop_assert_eq!(together, apart);
    }
}
