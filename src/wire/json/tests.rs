use bytes::Bytes;

use super::*;
use ScanErrorKind::*;

const KNOWN: Known<'static> = Known {
    top: &["model", "messages", "stream", "max_tokens", "task"],
    nested: &[("messages", &["role", "content"])],
};

fn read(body: &str) -> Result<Document, ScanError> {
    scan(body.as_bytes(), &Limits::default(), &KNOWN)
}

#[track_caller]
fn accept(body: &str) -> Document {
    read(body).unwrap_or_else(|error| panic!("{body:?}: {error}"))
}

#[track_caller]
fn refuse(body: impl AsRef<[u8]>, kind: ScanErrorKind, offset: usize, path: &str) {
    let body = body.as_ref();
    let text = String::from_utf8_lossy(body);
    let error = scan(body, &Limits::default(), &KNOWN).expect_err(&text);
    let found = (
        error.kind,
        error.offset,
        error.path.as_deref().unwrap_or(""),
    );
    assert_eq!(found, (kind, offset, path), "{text:?}");
}

#[test]
fn members_are_found_where_they_are() {
    let body = r#" {"model" : "gpt" ,"stream":true,"messages":[ {"role":"user"}, 1 ],"n":-1.5e3,"x":{} } "#;
    let document = accept(body);
    let seen: Vec<_> = document
        .members()
        .iter()
        .map(|m| {
            let (name, value) = (m.name.of(body.as_bytes()), m.value.of(body.as_bytes()));
            let text = |bytes| std::str::from_utf8(bytes).unwrap();
            (text(name), text(value), m.kind, m.elements)
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("model", r#""gpt""#, Kind::String, 0),
            ("stream", "true", Kind::True, 0),
            ("messages", r#"[ {"role":"user"}, 1 ]"#, Kind::Array, 2),
            ("n", "-1.5e3", Kind::Number, 0),
            ("x", "{}", Kind::Object, 0),
        ]
    );
    assert_eq!(document.depth(), 3);
}

#[test]
fn names_and_values_are_unescaped_on_demand() {
    let body = r#"{"\u006dodel":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z","max_tokens":7,"user":"é"}"#;
    let document = accept(body);
    let body = body.as_bytes();
    let model = document.member(body, "model").unwrap();
    assert!(model.name_escaped && model.value_escaped);
    assert_eq!(model.string(body).unwrap(), "a\"\\/\u{8}\u{c}\n\r\té😀z");
    let user = document.member(body, "user").unwrap();
    assert!(matches!(user.string(body), Some(Cow::Borrowed("é"))));
    assert_eq!(
        document.member(body, "max_tokens").unwrap().string(body),
        None
    );
    assert_eq!(document.member(body, r"\u006dodel"), None);
    assert_eq!(document.member(body, "missing"), None);
}

#[track_caller]
fn check_number(text: &str, integer: Option<u64>, float: f64) {
    let body = format!(r#"{{"n":{text}}}"#);
    let member = accept(&body).members()[0];
    assert_eq!(member.u64(body.as_bytes()), integer, "{text}");
    assert_eq!(member.f64(body.as_bytes()), Some(float), "{text}");
}

#[test]
fn numbers_and_booleans_are_read() {
    check_number("0", Some(0), 0.0);
    check_number("-0", None, 0.0);
    check_number(
        "18446744073709551615",
        Some(u64::MAX),
        18446744073709551615.0,
    );
    check_number("18446744073709551616", None, 18446744073709551616.0);
    check_number("1.0", None, 1.0);
    check_number("-12.5E+1", None, -125.0);
    check_number("1e-400", None, 0.0);
    check_number("1.7976931348623157e308", None, f64::MAX);
    check_number(&format!("{}e-399", "9".repeat(395)), None, 1e-4);
    let body = br#"{"a":true,"b":false,"c":null}"#;
    let document = scan(body, &Limits::default(), &KNOWN).unwrap();
    let values = document.members().iter().map(|m| (m.bool(), m.u64(body)));
    assert!(values.eq([(Some(true), None), (Some(false), None), (None, None)]));
}

#[test]
fn odd_but_valid_texts_are_accepted() {
    for body in [
        "{}",
        "\t\r\n {\n}\r\n",
        r#"{"":1}"#,
        r#"{"":{"":[[],{}]}}"#,
        r#"{"a":"\u0000\u001f\u007f"}"#,
        "{\"a\":\"\u{7f}\u{85}\u{2028}\u{feff}\u{10ffff}\"}",
        r#"{"a":1,"A":2,"b":{"a":1,"A":2}}"#,
        r#"{"x":{"Role":1,"Model":2},"messages":{"Role":1}}"#,
        r#"{"messages":[{"content":[{"Role":1}]},[{"Role":1}]]}"#,
        r#"{"a":"\uD83D\uDE00\uFFFF"}"#,
    ] {
        accept(body);
    }
}

#[test]
fn what_is_not_one_object_is_refused() {
    refuse("", UnexpectedEnd, 0, "");
    refuse(" \n", UnexpectedEnd, 2, "");
    for body in [
        "[]", "1", "\"{}\"", "null", "\0{}", "\u{b}{}", "\u{a0}{}", "//\n{}",
    ] {
        refuse(body, NotAnObject, 0, "");
    }
    refuse("{} {}", TrailingData, 3, "");
    refuse("{}\0", TrailingData, 2, "");
    refuse("{}}", TrailingData, 2, "");
    refuse("{},", TrailingData, 2, "");
    refuse(r#"{"a":1}x"#, TrailingData, 7, "");
}

#[test]
fn other_encodings_are_refused() {
    refuse("\u{feff}{}", ByteOrderMark, 0, "");
    refuse(b"\xff\xfe{\0}\0", InvalidUtf8, 0, "");
    refuse(b"\0{\0}", NotAnObject, 0, "");
    refuse(b"{\"a\":\"\xff\"}", InvalidUtf8, 6, "");
    // Overlong, a surrogate, beyond the last code point, cut off.
    refuse(b"{\"a\":\"\xc0\xaf\"}", InvalidUtf8, 6, "");
    refuse(b"{\"a\":\"\xed\xa0\x80\"}", InvalidUtf8, 6, "");
    refuse(b"{\"a\":\"\xf4\x90\x80\x80\"}", InvalidUtf8, 6, "");
    refuse(b"{\"a\":\"\xe2\x82\"}", InvalidUtf8, 6, "");
    refuse(b"{}\xe2", InvalidUtf8, 2, "");
}

#[test]
fn malformed_structure_is_refused() {
    refuse("{", UnexpectedEnd, 1, "");
    refuse("{,}", ExpectedName, 1, "");
    refuse("{a:1}", ExpectedName, 1, "");
    refuse("{'a':1}", ExpectedName, 1, "");
    refuse(r#"{"a"}"#, ExpectedColon, 4, "a");
    refuse(r#"{"a" 1}"#, ExpectedColon, 5, "a");
    refuse(r#"{"a""#, UnexpectedEnd, 4, "a");
    refuse(r#"{"a":"#, UnexpectedEnd, 5, "a");
    refuse(r#"{"a":}"#, ExpectedValue, 5, "a");
    refuse(r#"{"a":1"#, UnexpectedEnd, 6, "a");
    refuse(r#"{"a":1,}"#, TrailingComma, 7, "");
    refuse(r#"{"a":1,,"b":2}"#, ExpectedName, 7, "");
    refuse(r#"{"a":1 "b":2}"#, ExpectedComma, 7, "a");
    refuse(r#"{"a":1]"#, ExpectedComma, 6, "a");
    refuse(r#"{"a":[1}"#, ExpectedComma, 7, "a[0]");
    refuse(r#"{"a":[1,]}"#, TrailingComma, 8, "a[0]");
    refuse(r#"{"a":[1 2]}"#, ExpectedComma, 8, "a[0]");
    refuse(r#"{"a":[,1]}"#, ExpectedValue, 6, "a[0]");
    refuse(r#"{"a":["#, UnexpectedEnd, 6, "a[0]");
    for word in [
        "nul",
        "True",
        "tru",
        "NaN",
        "Infinity",
        "undefined",
        "fals",
        ".5",
        "'a'",
        "\u{0}",
    ] {
        refuse(format!(r#"{{"a":{word}}}"#), ExpectedValue, 5, "a");
    }
    refuse(r#"{"a":truex}"#, ExpectedComma, 9, "a");
    refuse(r#"{"a":1/**/}"#, ExpectedComma, 6, "a");
}

#[test]
fn malformed_strings_are_refused() {
    for control in 0..0x20_u8 {
        let body = [b"{\"a\":\"x", [control].as_slice(), b"\"}"].concat();
        refuse(body, ControlCharacter, 7, "a");
    }
    refuse("{\"a\nb\":1}", ControlCharacter, 3, "");
    refuse(r#"{"a":"x"#, UnexpectedEnd, 7, "a");
    refuse(r#"{"a":"x\"#, UnexpectedEnd, 8, "a");
    refuse(r#"{"a":"x\"}"#, UnexpectedEnd, 10, "a");
    for escape in [
        r"\a", r"\'", r"\0", r"\x41", r"\U0041", r"\u12", r"\u12g4", r"\u+123", r"\é",
    ] {
        refuse(format!(r#"{{"a":"x{escape}"}}"#), BadEscape, 7, "a");
    }
    for escape in [
        r"\ud800",
        r"\udc00",
        r"\ud800\ud800",
        r"\ud800x\udc00",
        r"\ud800\n",
        r"\ud83d\u00e9",
        r"\udbff\u",
        r"\ude00\ud83d",
    ] {
        refuse(format!(r#"{{"a":"x{escape}"}}"#), LoneSurrogate, 7, "a");
    }
    refuse(r#"{"a\u0000":1}"#, NulInName, 1, "");
}

#[test]
fn malformed_numbers_are_refused() {
    for (number, at) in [
        ("-", 1),
        ("--1", 1),
        ("01", 0),
        ("-01", 1),
        ("00", 0),
        ("1.", 2),
        ("1.e1", 2),
        ("1e", 2),
        ("1e+", 3),
        ("-a", 1),
        ("1.x", 2),
        ("-Infinity", 1),
    ] {
        refuse(format!(r#"{{"a":{number}}}"#), BadNumber, 5 + at, "a");
    }
    refuse(r#"{"a":+1}"#, ExpectedValue, 5, "a");
    refuse(r#"{"a":0x10}"#, ExpectedComma, 6, "a");
    refuse(r#"{"a":1_000}"#, ExpectedComma, 6, "a");
    refuse(r#"{"a":1e309}"#, NumberOutOfRange, 5, "a");
    refuse(r#"{"a":-1e99999}"#, NumberOutOfRange, 5, "a");
    refuse(
        format!(r#"{{"a":{}}}"#, "9".repeat(310)),
        NumberOutOfRange,
        5,
        "a",
    );
    accept(&format!(r#"{{"a":0.{}}}"#, "1".repeat(398)));
    refuse(
        format!(r#"{{"a":0.{}}}"#, "1".repeat(399)),
        NumberTooLong,
        5,
        "a",
    );
    refuse(
        format!(r#"{{"a":{}}}"#, "1".repeat(100_000)),
        NumberTooLong,
        5,
        "a",
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize, open: &str, close: &str| {
        format!(r#"{{"a":{}{}}}"#, open.repeat(depth), close.repeat(depth))
    };
    assert_eq!(accept(&nested(63, "[", "]")).depth(), 64);
    refuse(nested(64, "[", "]"), TooDeep, 5 + 63, "a[0][0][0][0][0]...");
    refuse(
        nested(1_000_000, "[", ""),
        TooDeep,
        5 + 63,
        "a[0][0][0][0][0]...",
    );
    let objects = format!(r#"{{"a":{}1{}}}"#, r#"{"b":"#.repeat(64), "}".repeat(64));
    refuse(objects, TooDeep, 5 + 63 * 5, "a.b.b.b.b.b...");
}

#[test]
fn duplicate_names_are_refused_at_every_level() {
    refuse(r#"{"model":1,"model":2}"#, DuplicateName, 11, "model");
    refuse(
        r#"{"model":1,"\u006dodel":2}"#,
        DuplicateName,
        11,
        r"\u006dodel",
    );
    refuse(
        r#"{"\u006dodel":1,"mode\u006C":2}"#,
        DuplicateName,
        16,
        r"mode\u006C",
    );
    refuse(r#"{"":1,"":2}"#, DuplicateName, 6, "*");
    refuse(r#"{"é":1,"\u00e9":2}"#, DuplicateName, 8, r"\u00e9");
    refuse(r#"{"\/":1,"/":2}"#, DuplicateName, 8, "/");
    refuse(
        r#"{"a":{"b":[{"c":1,"d":2,"c":3}]}}"#,
        DuplicateName,
        24,
        "a.b[0].c",
    );
    refuse(
        r#"{"messages":[{"role":"a"},{"role":"a","x":{},"role":"b"}]}"#,
        DuplicateName,
        45,
        "messages[1].role",
    );
    accept(r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#);
}

#[test]
fn duplicates_are_found_among_many_names() {
    for count in [15, 16, 17, 18, 40, 9_000] {
        let names: Vec<_> = (0..count)
            .map(|i| format!(r#""n\u00{}{i}":{{"x":1}}"#, 41 + i % 9))
            .collect();
        let distinct = format!(r#"{{"o":{{{}}}}}"#, names.join(","));
        accept(&distinct.replace(r#"{"x":1}"#, "1"));
        for duplicate in [0, 7, count - 1] {
            // The same name, the escape written out.
            let plain = format!(
                r#""n{}{duplicate}":1"#,
                char::from(0x41 + (duplicate % 9) as u8)
            );
            let body = format!(r#"{{"o":{{{},{plain}}}}}"#, names.join(","));
            let body = body.replace(r#"{"x":1}"#, "1");
            let offset = body.len() - plain.len() - 2;
            let path = format!("o.{}", plain.split('"').nth(1).unwrap());
            refuse(&body, DuplicateName, offset, &path);
        }
    }
    // Objects with many names inside and beside each other.
    let many: Vec<_> = (0..20).map(|i| format!(r#""n{i}":1"#)).collect();
    let many = many.join(",");
    accept(&format!(
        r#"{{{many},"a":{{{many},"b":{{{many}}},"c":1}},"d":[{{{many}}},{{{many}}}],"e":1}}"#
    ));
    let body = format!(r#"{{{many},"a":{{{many}}},"n3":1}}"#);
    refuse(&body, DuplicateName, body.len() - 7, "n3");
}

#[test]
fn names_are_bounded() {
    let names = |count: usize| {
        let names: Vec<_> = (0..count).map(|i| format!(r#"{{"n{i}":1}}"#)).collect();
        format!(r#"{{"a":[{}]}}"#, names.join(","))
    };
    accept(&names(99_999));
    let error = read(&names(100_000)).unwrap_err();
    assert_eq!(error.kind, TooManyNames);
    accept(&format!(r#"{{"{}":1}}"#, "x".repeat(1024)));
    refuse(
        format!(r#"{{"{}":1}}"#, "x".repeat(1025)),
        NameTooLong,
        1,
        "",
    );
}

#[test]
fn names_that_differ_from_known_ones_in_case_are_refused() {
    refuse(r#"{"Model":1}"#, NameCase, 1, "Model");
    refuse(r#"{"model":1,"MODEL":1}"#, NameCase, 11, "MODEL");
    refuse(r#"{"\u004dodel":1}"#, NameCase, 1, r"\u004dodel");
    refuse("{\"tas\u{212a}\":1}", NameCase, 1, "*");
    refuse("{\"\u{17f}tream\":1}", NameCase, 1, "*");
    refuse(r#"{"max_token\u017F":1}"#, NameCase, 1, r"max_token\u017F");
    refuse(
        r#"{"messages":[{"Role":1}]}"#,
        NameCase,
        14,
        "messages[0].Role",
    );
    refuse(
        r#"{"\u006dessages":[1,{"conTent":1}]}"#,
        NameCase,
        21,
        r"\u006dessages[1].conTent",
    );
    accept("{\"m\u{f6}del\":1,\"models\":1,\"x\":{\"Model\":1}}");
}

#[test]
fn errors_never_quote_what_is_not_a_short_printable_name() {
    let error = read(r#"{"model":"secret\q"}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid escape in a string at byte 16 (in model)"
    );
    let error = read("[").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the body must be a JSON object at byte 0"
    );
    refuse("{\"a b\":x}", ExpectedValue, 7, "*");
    refuse(
        format!(r#"{{"{}":x}}"#, "n".repeat(64)),
        ExpectedValue,
        68,
        &"n".repeat(64),
    );
    refuse(
        format!(r#"{{"{}":x}}"#, "n".repeat(65)),
        ExpectedValue,
        69,
        "*",
    );
    refuse("{\"\u{202e}\":x}", ExpectedValue, 7, "*");
}

#[test]
fn every_position_in_a_block_is_looked_at() {
    for padding in 0..200 {
        let body = format!(
            r#"{{"a":"{}\n","b":"{}"}}"#,
            "x".repeat(padding),
            "y".repeat(padding)
        );
        let document = accept(&body);
        let (a, b) = (document.members()[0], document.members()[1]);
        assert_eq!(
            a.string(body.as_bytes()).unwrap(),
            format!("{}\n", "x".repeat(padding))
        );
        assert_eq!(b.value.len(), padding + 2);
        let broken = body.replace(r"\n", "\n");
        refuse(broken, ControlCharacter, 6 + padding, "a");
        let cut = body.get(..6 + padding).unwrap();
        refuse(cut, UnexpectedEnd, cut.len(), "a");
    }
}

#[test]
fn spans_outside_the_body_are_empty_not_a_panic() {
    let document = accept(r#"{"model":"gpt","n":1}"#);
    let (model, n) = (document.members()[0], document.members()[1]);
    assert_eq!(model.value.of(b"{}"), b"");
    assert_eq!(model.string(b"{}"), None);
    assert_eq!(n.u64(b""), None);
    assert_eq!(Span::new(3, 1).of(b"abc"), b"");
    assert!(Span::new(3, 1).is_empty());
}

fn edit(start: usize, end: usize, with: &'static str) -> Edit {
    Edit {
        span: Span::new(start, end),
        with: Bytes::from_static(with.as_bytes()),
    }
}

#[track_caller]
fn check_splice(body: &str, edits: Vec<Edit>, expected: &str) {
    let spliced = splice(&Bytes::copy_from_slice(body.as_bytes()), edits).unwrap();
    assert_eq!(spliced.len(), expected.len());
    assert_eq!(spliced.is_empty(), expected.is_empty());
    assert_eq!(spliced.into_bytes(), expected);
}

#[test]
fn edits_replace_insert_and_remove() {
    check_splice("abcdef", vec![], "abcdef");
    check_splice("abcdef", vec![edit(1, 3, "XYZ")], "aXYZdef");
    check_splice("abcdef", vec![edit(0, 6, "")], "");
    check_splice("abcdef", vec![edit(6, 6, "!"), edit(0, 0, "<")], "<abcdef!");
    check_splice("abcdef", vec![edit(4, 6, "2"), edit(0, 4, "1")], "12");
    check_splice(
        "abcdef",
        vec![edit(3, 3, "1"), edit(3, 3, "2"), edit(3, 4, "")],
        "abc12ef",
    );
    check_splice("", vec![edit(0, 0, "x")], "x");
}

#[test]
fn contradictory_edits_are_refused() {
    let body = Bytes::from_static(b"abcdef");
    let refused = |edits| splice(&body, edits).unwrap_err();
    assert_eq!(
        refused(vec![edit(0, 3, ""), edit(2, 4, "")]),
        SpliceError::Overlap(2)
    );
    assert_eq!(
        refused(vec![edit(2, 4, ""), edit(2, 4, "")]),
        SpliceError::Overlap(2)
    );
    assert_eq!(refused(vec![edit(5, 7, "")]), SpliceError::OutOfRange(5));
    assert_eq!(refused(vec![edit(4, 3, "")]), SpliceError::OutOfRange(4));
}

#[test]
fn large_bodies_are_shared_and_small_ones_joined() {
    let small = Bytes::from(vec![b'x'; 1_000]);
    assert_eq!(
        splice(&small, vec![edit(5, 6, "yy")])
            .unwrap()
            .pieces()
            .len(),
        1
    );
    let large = Bytes::from(vec![b'x'; 100_000]);
    let spliced = splice(&large, vec![edit(5, 6, "yy")]).unwrap();
    assert_eq!(spliced.len(), 100_001);
    let pieces: Vec<_> = spliced.into_iter().collect();
    assert_eq!(
        pieces.iter().map(Bytes::len).collect::<Vec<_>>(),
        [5, 2, 99_994]
    );
    assert_eq!(pieces[0].as_ptr(), large.as_ptr());
    assert_eq!(pieces[2].as_ptr(), large.slice(6..).as_ptr());
}

#[test]
fn members_are_appended() {
    let options: (&str, &[u8]) = ("stream_options", br#"{"include_usage":true}"#);
    for (body, expected) in [
        ("{}", r#"{"stream_options":{"include_usage":true}}"#),
        (" { } ", r#" {"stream_options":{"include_usage":true} } "#),
        (
            r#"{"a":1 } "#,
            r#"{"a":1,"stream_options":{"include_usage":true} } "#,
        ),
    ] {
        check_splice(
            body,
            vec![append_members(&accept(body), &[options])],
            expected,
        );
    }
    let two = append_members(&accept("{}"), &[("a\"", b"1"), ("b", b"2")]);
    check_splice("{}", vec![two], r#"{"a\"":1,"b":2}"#);
    let none = append_members(&accept("{}"), &[]);
    check_splice("{}", vec![none], "{}");
}

#[test]
fn strings_are_written_as_json() {
    let text: String = (0..0x80_u8)
        .map(char::from)
        .chain("é\u{2028}😀".chars())
        .collect();
    let mut written = Vec::new();
    write_string(&mut written, &text);
    assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
    let body = [b"{\"a\":", written.as_slice(), b"}"].concat();
    let document = scan(&body, &Limits::default(), &KNOWN).unwrap();
    assert_eq!(document.members()[0].string(&body).unwrap(), text);
}
