use super::*;
use crate::classify;
use crate::features::{Features, Pii, Said, Script, Shape};
use crate::pii;
use cel::context::VariableResolver;
use cel::{Context, Env};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn features() -> Features {
    Features {
        endpoint: "chat_completions".into(),
        stream: true,
        bytes: 900,
        max_output: Some(256),
        shape: Some(Shape {
            text_bytes: 800,
            turns: 3,
            tools: 2,
            code: true,
            ..Shape::default()
        }),
        said: Some(Said {
            kind: classify::Kind::Code,
            confidence: 0.75,
            difficulty: 0.25,
            score: 1.5,
            script: Script::Latin,
        }),
        pii: Some(Pii {
            findings: pii::Findings::of([(pii::Kind::Email, 2)]),
            unread: false,
        }),
    }
}

fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("feature".to_owned(), "search".to_owned())])
}

fn subject<'a>(features: &'a Features, tags: &'a BTreeMap<String, String>) -> Subject<'a> {
    let caller = Caller {
        key: "app",
        team: "",
        model: "auto",
        tags,
    };
    Subject {
        features,
        caller,
        hard: false,
    }
}

fn holds(text: &str, features: &Features) -> Option<bool> {
    let predicate = Predicate::compile(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    predicate.holds(&subject(features, &tags()))
}

#[test]
fn what_is_known_of_a_request_can_be_asked() {
    let cases = [
        (r#"kind == "code""#, true),
        (r#"kind in ["math", "code"] && difficulty < 0.3"#, true),
        (r#"kind != "code" || hard"#, false),
        ("pii.any && !pii.unread", true),
        (
            "pii.email == 2 && pii.contact >= 1 && pii.secret == 0 && pii.total == 2",
            true,
        ),
        ("input_tokens <= 200 && input_tokens > 199.5", true),
        ("turns in [1, 2, 3.0]", true),
        ("tools > 0 && !schema && code && images == 0", true),
        (r#"endpoint == "chat_completions" && stream == true"#, true),
        (
            r#"model.startsWith("au") && key.endsWith("pp") && model.contains("ut")"#,
            true,
        ),
        (
            r#"tags.feature == "search" && tags.nothing == "" && team == """#,
            true,
        ),
        (r#"script == "latin" ? max_output == 256 : false"#, true),
        ("-1 < turns", true),
        ("true", true),
    ];
    for (text, expected) in cases {
        assert_eq!(holds(text, &features()), Some(expected), "{text}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    let cases = [
        ("knid == 'code'", "nothing is called 'knid'"),
        ("kind == 'coed'", "nothing is called \"coed\""),
        ("kind in ['code', 'coed']", "nothing is called \"coed\""),
        ("pii.emial > 0", "nothing is called 'pii.emial'"),
        ("kind == 3", "'kind' is a text, 3 is a number"),
        ("kind", "neither true nor false"),
        ("hard > 1", "'hard' and 1 cannot be compared"),
        ("hard < stream", "no order"),
        ("kind = 'code'", "no CEL"),
        ("kind ==", "no CEL"),
        ("", "no CEL"),
        ("size(kind) > 3", "is not used here"),
        ("images + 1 > 3", "is not used here"),
        ("[1].exists(x, x == 1)", "not used here"),
        ("kind.matches('c.*')", "is not used here"),
        ("kind.contains(model)", "takes a text"),
        ("turns.contains('1')", "is no text"),
        ("kind in model", "stands a list"),
        ("'a'", "not used here"),
    ];
    for (text, said) in cases {
        let error = Predicate::compile(text).expect_err(text).to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
    let deep = format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(Predicate::compile(&deep).is_err());
    assert!(Predicate::compile(&"!".repeat(4_000)).is_err());
    assert!(Predicate::compile(&format!("true{}", " && true".repeat(1_000))).is_err());
}

#[test]
fn what_nobody_knows_makes_unknown_what_depends_on_it() {
    let blind = Features {
        said: None,
        pii: None,
        ..features()
    };
    let cases = [
        ("pii.any", None),
        ("pii.any || stream", Some(true)),
        ("stream || pii.any", Some(true)),
        ("pii.any && !stream", Some(false)),
        ("!pii.any", None),
        ("hard", None),
        ("kind == 'code' ? true : true", None),
        ("pii.any == stream", None),
    ];
    for (text, expected) in cases {
        assert_eq!(holds(text, &blind), expected, "{text}");
    }
}

#[test]
fn only_what_is_asked_is_wanted() {
    let wanted = |text: &str| Predicate::compile(text).unwrap().wanted();
    assert_eq!(wanted("stream && key == 'a'"), Wanted::default());
    let pii = wanted("stream || pii.iban > 0");
    assert!(pii.pii && !pii.judgement && !pii.shape);
    let both = wanted("kind == 'code' || turns > 3");
    assert!(both.judgement && both.shape && !both.pii);
    assert!(Predicate::compile("!hard").unwrap().asks_hard());
}

/// The crate's own interpreter, on the same facts.
struct Facts<'a>(Subject<'a>);

impl VariableResolver for Facts<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<cel::common::value::CowVal<'b, 'b>> {
        use cel::common::types::{CelBool, CelDouble, CelInt, CelString};
        use cel::common::value::CowVal;
        let path: Vec<_> = name.split('.').collect();
        Some(CowVal::Owned(
            match Variable::named(&path)?.fact(&self.0)? {
                Fact::Bool(is) => Box::new(CelBool::from(is)),
                Fact::Int(int) => Box::new(CelInt::from(int)),
                Fact::Double(double) => Box::new(CelDouble::from(double)),
                Fact::Text(text) => Box::new(CelString::from(text.to_owned())),
            },
        ))
    }
}

fn interpreted(text: &str, subject: &Subject<'_>) -> Option<bool> {
    let env = std::sync::Arc::new(Env::stdlib());
    let program = env.compile(text).unwrap();
    let facts = Facts(*subject);
    let mut context = Context::with_env(env);
    context.set_variable_resolver(&facts);
    match program.execute(&context) {
        Ok(cel::Value::Bool(is)) => Some(is),
        _ => None,
    }
}

fn number() -> impl Strategy<Value = String> {
    let variable = prop::sample::select(vec![
        "turns",
        "tools",
        "difficulty",
        "confidence",
        "pii.total",
        "bytes",
    ]);
    prop_oneof![
        variable.prop_map(str::to_owned),
        (-3_i64..1_000).prop_map(|n| n.to_string()),
        (0_u32..8).prop_map(|n| format!("{:?}", f64::from(n) / 4.0)),
    ]
}

fn relation() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="])
}

fn predicate() -> impl Strategy<Value = String> {
    let truth = vec![
        "true",
        "false",
        "stream",
        "hard",
        "code",
        "schema",
        "pii.any",
        "pii.unread",
    ];
    let leaf = prop_oneof![
        prop::sample::select(truth).prop_map(str::to_owned),
        (number(), relation(), number()).prop_map(|(a, r, b)| format!("{a} {r} {b}")),
        (number(), prop::collection::vec(number(), 0..4))
            .prop_map(|(one, all)| format!("{one} in [{}]", all.join(", "))),
        (relation(), prop::sample::select(vec!["code", "math"]))
            .prop_map(|(r, kind)| format!("kind {r} '{kind}'")),
        prop::sample::select(vec!["startsWith", "endsWith", "contains"])
            .prop_map(|test| format!("model.{test}('au')")),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) == ({b})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("(({a}) ? ({b}) : ({c}))")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_tree_says_what_the_interpreter_says(text in predicate(), hides_said: bool, hides_pii: bool) {
        let all = features();
        let features = Features {
            said: all.said.filter(|_| !hides_said),
            pii: all.pii.filter(|_| !hides_pii),
            ..all
        };
        let tags = tags();
        let subject = subject(&features, &tags);
        if let Ok(predicate) = Predicate::compile(&text) {
            prop_assert_eq!(predicate.holds(&subject), interpreted(&text, &subject), "{}", text);
        } else {
            // Two texts that are literals, or too many brackets.
            prop_assert!(text.matches(['(', '[', '-', '!']).count() > 64, "{}", text);
        }
    }

    #[test]
    fn no_text_breaks_it(text in "\\PC{0,80}") {
        let _ = Predicate::compile(&text);
    }
}
