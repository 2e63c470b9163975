//! Rules as tables of cases, and containment whatever the config.

use super::*;
use crate::classify;
use crate::config;
use crate::features::{Features, Pii, Said, Script, Shape};
use crate::pii::{Findings, Kind};
use crate::route::policy::Lost;
use crate::units::Moment;
use proptest::prelude::*;
use std::time::Duration;

/// The table of the field: simple questions to a budget model within 2 s and a
/// low ceiling, code to a strong one within 5 s, personal data to one's own.
const FIELD: &str = r#"
[providers.groq]
dialect = "openai"
base_url = "http://127.0.0.1:1001/v1"
[providers.openai]
dialect = "openai"
base_url = "http://127.0.0.1:1002/v1"
[providers.own]
dialect = "openai"
base_url = "http://127.0.0.1:1003/v1"
[pools.self_hosted]
targets = ["own/*"]
[quality]
strong = ["openai/gpt-5", "openai/gpt-5.4"]
medium = ["openai/gpt-5-mini"]
budget = ["openai/gpt-5-nano", "own/*"]
[models.auto]
targets = ["openai/gpt-5", "openai/gpt-5-mini", "openai/gpt-5-nano", "own/llama"]
strong_share = 0.3
[[models.auto.rules]]
name = "pii"
when = "pii.any"
pool = "self_hosted"
[[models.auto.rules]]
name = "simple"
when = 'kind == "simple_qa" && !hard'
max_quality = "budget"
max_first_token = "2s"
max_price = "0.001 usd"
prefer = "cheapest"
[[models.auto.rules]]
name = "code"
when = 'kind == "code"'
quality = "strong"
max_first_token = "5s"
on_none = "refuse"
[[models.auto.rules]]
name = "default"
prefer = "cheapest"
"#;

fn compile(text: &str) -> RoutingTable {
    let (config, problems) = config::load(text);
    assert!(problems.is_empty(), "{problems:?}");
    let (table, problems) = RoutingTable::compile(&config.unwrap());
    table.unwrap_or_else(|| panic!("{problems:?}"))
}

fn problems(text: &str) -> Vec<String> {
    let (config, problems) = config::load(text);
    assert!(problems.is_empty(), "{problems:?}");
    let (_, problems) = RoutingTable::compile(&config.unwrap());
    let told = problems.iter().filter(|p| p.path.to_string() != "keys");
    told.map(|p| format!("{}: {}", p.path, p.message)).collect()
}

/// How targets stand, by name.
#[derive(Default)]
struct Known {
    all: BTreeMap<String, Standing>,
    last: Option<Arc<str>>,
}

impl Standings for Known {
    fn of(&self, provider: &str, model: &str, _: bool) -> Standing {
        let name = format!("{provider}/{model}");
        self.all.get(&name).copied().unwrap_or_default()
    }

    fn last(&self, _: u64) -> Option<Arc<str>> {
        self.last.clone()
    }
}

fn first_token(target: &str, millis: u64) -> Known {
    let standing = Standing {
        first_token: Some(Duration::from_millis(millis)),
        ..Standing::default()
    };
    Known {
        all: BTreeMap::from([(target.to_owned(), standing)]),
        last: None,
    }
}

fn asking(kind: classify::Kind) -> Features {
    Features {
        endpoint: "chat_completions".into(),
        max_output: Some(200),
        shape: Some(Shape {
            text_bytes: 400,
            turns: 1,
            ..Shape::default()
        }),
        said: Some(Said {
            kind,
            confidence: 0.9,
            difficulty: 0.2,
            score: -5.0,
            script: Script::Latin,
        }),
        pii: Some(Pii::default()),
        ..Features::default()
    }
}

fn with_pii(features: Features) -> Features {
    let pii = Pii {
        findings: Findings::of([(Kind::Email, 1)]),
        unread: false,
    };
    Features {
        pii: Some(pii),
        ..features
    }
}

fn decide(
    table: &RoutingTable,
    model: &str,
    features: &Features,
    hard: bool,
    standings: &Known,
) -> Result<Decision, Refusal> {
    let who = Principal {
        direct: true,
        ..Principal::new("k")
    };
    let found = table.find(&who, model)?;
    let asked = Asked {
        who: &who,
        model,
        tags: &BTreeMap::new(),
        features,
        hard,
        conversation: Some(1),
        now: Moment(1_793_000_000_000_000),
        seed: 1,
        standings,
    };
    table.decide(&found, &asked)
}

/// The targets in their order, and the rule.
fn sent(features: &Features, hard: bool, standings: &Known) -> (Vec<String>, String) {
    let table = compile(FIELD);
    match decide(&table, "auto", features, hard, standings) {
        Ok(decision) => {
            let names = decision.candidates.iter();
            let names = names.map(|c| format!("{}/{}", c.target.provider.name, c.target.model));
            let rule = decision.reason.rule.map(|rule| rule.to_string());
            (names.collect(), rule.unwrap_or_default())
        }
        Err(Refusal::NoCandidate(reason)) => (Vec::new(), reason.short()),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_table_of_the_field_is_kept() {
    use classify::Kind::{Chat, Code, SimpleQa};
    let nobody = Known::default();
    let one = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    // Without a price, the operator's own is within no ceiling.
    let (names, rule) = sent(&asking(SimpleQa), false, &nobody);
    assert_eq!((names, &*rule), (one(&["openai/gpt-5-nano"]), "simple"));
    let (names, rule) = sent(&asking(Code), false, &nobody);
    assert_eq!((names, &*rule), (one(&["openai/gpt-5"]), "code"));
    let (names, rule) = sent(&with_pii(asking(Code)), false, &nobody);
    assert_eq!((names, &*rule), (one(&["own/llama"]), "pii"));
    let all = one(&[
        "openai/gpt-5-nano",
        "openai/gpt-5-mini",
        "openai/gpt-5",
        "own/llama",
    ]);
    for (features, hard) in [(asking(Chat), false), (asking(SimpleQa), true)] {
        let (names, rule) = sent(&features, hard, &nobody);
        assert_eq!((names, &*rule), (all.clone(), "default"));
    }
}

#[test]
fn what_is_slow_at_the_moment_loses_and_the_next_rule_is_asked() {
    let slow = first_token("openai/gpt-5-nano", 2_500);
    let (names, rule) = sent(&asking(classify::Kind::SimpleQa), false, &slow);
    assert_eq!((names.len(), &*rule), (4, "default"));
    let slow = first_token("openai/gpt-5", 6_000);
    let (names, told) = sent(&asking(classify::Kind::Code), false, &slow);
    assert!(names.is_empty(), "on_none = refuse");
    assert_eq!(
        told,
        "rule=code; lost=openai/gpt-5:deadline,openai/gpt-5-mini:quality,\
         openai/gpt-5-nano:quality,own/llama:quality"
    );
}

#[test]
fn what_cannot_be_told_is_contained() {
    let blind = Features {
        pii: None,
        ..asking(classify::Kind::Chat)
    };
    let (names, rule) = sent(&blind, false, &Known::default());
    assert_eq!((names, &*rule), (vec!["own/llama".to_owned()], "pii"));
}

#[test]
fn what_a_model_cannot_do_is_not_asked_of_it() {
    let text = format!(
        "{FIELD}\n[[capabilities]]\nmodels = [\"gpt-5*\"]\nimages = false\ncontext = 2000\n"
    );
    let table = compile(&text);
    let lost = |shape: Shape| {
        let features = Features {
            shape: Some(shape),
            ..asking(classify::Kind::Chat)
        };
        let decision = decide(&table, "auto", &features, false, &Known::default()).unwrap();
        let mut lost: Vec<_> = decision.reason.lost.iter().map(|(_, why)| *why).collect();
        lost.dedup();
        (lost, decision.candidates.len())
    };
    let images = Shape {
        images: 1,
        ..Shape::default()
    };
    assert_eq!(lost(images), (vec![Lost::Capability("images")], 1));
    let long = Shape {
        text_bytes: 40_000,
        ..Shape::default()
    };
    assert_eq!(lost(long), (vec![Lost::Context], 1));
}

#[test]
fn a_conversation_stays_where_its_beginning_is_cheaper() {
    let table = compile(FIELD);
    let mut long = asking(classify::Kind::Chat);
    long.shape = Some(Shape {
        text_bytes: 1_400_000,
        turns: 9,
        ..Shape::default()
    });
    let first = |standings: &Known| {
        let decision = decide(&table, "auto", &long, false, standings).unwrap();
        let first = decision.candidates.iter().next().unwrap();
        first.target.model.clone()
    };
    assert_eq!(first(&Known::default()), "gpt-5-nano");
    let last = Known {
        last: Some("openai/gpt-5-mini".into()),
        ..Known::default()
    };
    // What it has in its cache is cheaper than a new beginning at the cheapest; of
    // a short conversation it is not worth it.
    assert_eq!(first(&last), "gpt-5-mini");
    let short = asking(classify::Kind::Chat);
    let decision = decide(&table, "auto", &short, false, &last).unwrap();
    let first = decision.candidates.iter().next().unwrap();
    assert_eq!(first.target.model, "gpt-5-nano");
}

#[test]
fn rules_of_all_routes_hold_for_whoever_names_a_target_himself() {
    let text =
        format!("{FIELD}\n[[rules]]\nname = \"all\"\nwhen = \"pii.any\"\npool = \"self_hosted\"\n");
    let table = compile(&text);
    let nobody = Known::default();
    let told = with_pii(asking(classify::Kind::Chat));
    let Err(Refusal::NoCandidate(reason)) = decide(&table, "openai/gpt-5", &told, false, &nobody)
    else {
        panic!("it left the pool");
    };
    assert_eq!(reason.short(), "pool=self_hosted; lost=openai/gpt-5:pool");
    let kept = decide(&table, "own/llama", &told, false, &nobody).unwrap();
    assert_eq!(kept.candidates.len(), 1);
    let plain = asking(classify::Kind::Chat);
    assert!(decide(&table, "openai/gpt-5", &plain, false, &nobody).is_ok());
    // Nobody asks what no rule needs.
    let who = Principal {
        direct: true,
        ..Principal::new("k")
    };
    let found = table.find(&who, "openai/gpt-5").unwrap();
    let wanted = table.wanted(&found);
    assert!(wanted.pii && !wanted.judgement);
}

#[test]
fn fallbacks_come_last_and_serve_where_they_are_all_that_is_left() {
    let text = FIELD.replace(
        "targets = [\"openai/gpt-5\", \"openai/gpt-5-mini\", \"openai/gpt-5-nano\", \"own/llama\"]",
        "targets = [\"openai/gpt-5\"]\nfallbacks = [\"own/llama\", \"openai/gpt-5-nano\"]",
    );
    let table = compile(&text);
    let nobody = Known::default();
    let plain = decide(
        &table,
        "auto",
        &asking(classify::Kind::Chat),
        false,
        &nobody,
    )
    .unwrap();
    let order: Vec<_> = plain
        .candidates
        .iter()
        .map(|c| (&*c.target.model, c.is_target))
        .collect();
    assert_eq!(order[0], ("gpt-5", true));
    assert_eq!(order.len(), 3);
    let told = with_pii(asking(classify::Kind::Chat));
    let kept = decide(&table, "auto", &told, false, &nobody).unwrap();
    let order: Vec<_> = kept
        .candidates
        .iter()
        .map(|c| (&*c.target.model, c.is_target))
        .collect();
    assert_eq!(order, [("llama", true)]);
}

#[test]
fn preferences_order_what_will_do() {
    let order = |prefer: &str| {
        let text = FIELD.replace(
            "name = \"default\"\nprefer = \"cheapest\"",
            &format!("name = \"default\"\n{prefer}"),
        );
        let table = compile(&text);
        let stands = |millis, load, is_open| Standing {
            first_token: Some(Duration::from_millis(millis)),
            load,
            is_open,
        };
        let known = Known {
            all: BTreeMap::from([
                ("openai/gpt-5".to_owned(), stands(300, 9, false)),
                ("openai/gpt-5-mini".to_owned(), stands(200, 1, false)),
                ("openai/gpt-5-nano".to_owned(), stands(900, 5, false)),
                ("own/llama".to_owned(), stands(100, 0, true)),
            ]),
            last: None,
        };
        let chat = asking(classify::Kind::Chat);
        let decision = decide(&table, "auto", &chat, false, &known).unwrap();
        let models = decision.candidates.iter().map(|c| c.target.model.clone());
        models.collect::<Vec<_>>()
    };
    // What is left alone at the moment comes last, whatever is preferred.
    assert_eq!(
        order("prefer = \"listed\""),
        ["gpt-5", "gpt-5-mini", "gpt-5-nano", "llama"]
    );
    assert_eq!(
        order("prefer = \"fastest\""),
        ["gpt-5-mini", "gpt-5", "gpt-5-nano", "llama"]
    );
    assert_eq!(
        order("prefer = \"least_loaded\""),
        ["gpt-5-mini", "gpt-5-nano", "gpt-5", "llama"]
    );
    assert_eq!(
        order("prefer = \"balanced\"\nprice_weight = 1.0")[0],
        "gpt-5-nano"
    );
    assert_eq!(
        order("prefer = \"balanced\"\nprice_weight = 0.0")[0],
        "gpt-5-mini"
    );
}

#[test]
fn what_is_wrong_with_rules_is_told() {
    let cases = [
        (
            "when = \"pii.any\"",
            "when = \"pii.eny\"",
            "models.auto.rules[0].when: nothing is called 'pii.eny'",
        ),
        (
            "pool = \"self_hosted\"",
            "pool = \"selfhosted\"",
            "models.auto.rules[0].pool: there is no pool",
        ),
        (
            "name = \"code\"",
            "name = \"pii\"",
            "models.auto.rules[2].name: another rule has this name",
        ),
        (
            "strong_share = 0.3",
            "",
            "models.auto.rules: a rule asks for hard",
        ),
        (
            "max_quality = \"budget\"",
            "max_quality = \"budget\"\nquality = \"strong\"",
            "models.auto.rules[1].max_quality: below quality",
        ),
        (
            "targets = [\"own/*\"]",
            "targets = [\"own\"]",
            "pools.self_hosted.targets[0]: this names no target",
        ),
        (
            "targets = [\"own/*\"]",
            "targets = [\"groq/*\"]",
            "models.auto.rules[0].pool: no target of this route is in the pool",
        ),
        (
            "when = 'kind == \"code\"'",
            "when = \"true\"",
            "models.auto.rules[3]: the rule 'default' is never reached",
        ),
    ];
    for (good, bad, expected) in cases {
        assert!(FIELD.contains(good), "{good}");
        let told = problems(&FIELD.replace(good, bad));
        assert!(
            told.iter().any(|told| told.starts_with(expected)),
            "{bad}: {told:?}"
        );
    }
    assert_eq!(problems(FIELD), Vec::<String>::new());
}

/// Targets of a random route: which provider, and whether as a fallback.
fn targets() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0..4_usize, any::<bool>()), 1..8)
}

proptest! {
    #[test]
    fn nothing_leaves_a_pool_whatever_the_config(
        targets in targets(),
        inside in prop::collection::vec(any::<bool>(), 4),
        prefer in prop::sample::select(vec!["listed", "cheapest", "fastest", "balanced", "least_loaded"]),
        everywhere: bool,
        is_open: bool,
        seed: u64,
    ) {
        let mut text = String::new();
        for n in 0..4 {
            text += &format!("[providers.p{n}]\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:{}/v1\"\n", 1_000 + n);
        }
        let list = |fallbacks: bool| {
            let all = targets.iter().enumerate().filter(|(_, (_, is))| *is == fallbacks);
            all.map(|(i, (n, _))| format!("\"p{n}/m{i}\"")).collect::<Vec<_>>().join(", ")
        };
        prop_assume!(!list(false).is_empty());
        let pool: Vec<_> = (0..4).filter(|n| inside[*n]).map(|n| format!("\"p{n}/*\"")).collect();
        prop_assume!(!pool.is_empty());
        text += &format!("[pools.in]\ntargets = [{}]\n", pool.join(", "));
        text += &format!("[models.m]\ntargets = [{}]\nfallbacks = [{}]\nstrategy = \"weighted\"\n", list(false), list(true));
        text += &match everywhere {
            true => "[[rules]]\nname = \"r\"\nwhen = \"pii.any\"\npool = \"in\"\n".to_owned(),
            false => format!("[[models.m.rules]]\nname = \"r\"\nwhen = \"pii.any\"\npool = \"in\"\nprefer = \"{prefer}\"\n"),
        };
        let table = compile(&text);
        let standing = Standing { is_open, ..Standing::default() };
        let all = targets.iter().enumerate().map(|(i, (n, _))| (format!("p{n}/m{i}"), standing));
        let known = Known { all: all.collect(), last: Some("p0/m0".into()) };
        let told = with_pii(asking(classify::Kind::Chat));
        let who = Principal::new("k");
        let found = table.find(&who, "m").unwrap();
        let asked = Asked {
            who: &who, model: "m", tags: &BTreeMap::new(), features: &told, hard: false,
            conversation: Some(1), now: Moment(0), seed, standings: &known,
        };
        match table.decide(&found, &asked) {
            Ok(decision) => {
                prop_assert!(decision.candidates.iter().any(|c| c.is_target));
                for candidate in decision.candidates.iter() {
                    let n: usize = candidate.target.provider.name[1..].parse().unwrap();
                    prop_assert!(inside[n], "{:?}", decision.reason);
                }
            }
            Err(Refusal::NoCandidate(_)) => {
                prop_assert!(targets.iter().all(|(n, _)| !inside[*n]));
            }
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
}
