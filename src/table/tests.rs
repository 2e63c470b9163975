use super::*;
use crate::config::{self, Diagnostic};
use crate::features::Features;
use crate::units::{Moment, Pattern};

fn compile(text: &str) -> (Option<RoutingTable>, Vec<Diagnostic>) {
    let (config, problems) = config::load(text);
    assert!(problems.is_empty(), "{problems:?}");
    RoutingTable::compile(&config.unwrap())
}

const TWO: &str = r#"
[providers.a]
dialect = "openai"
base_url = "http://127.0.0.1:1001/v1"
models = ["m*"]
[providers.b]
dialect = "openai"
base_url = "http://127.0.0.1:1002/v1"
[models.fast]
targets = ["a/small", "b/small"]
fallbacks = ["b/large"]
[models."a/*"]
targets = ["a/*"]
[models."a/special-*"]
targets = ["b/x-*-y"]
[models.even]
strategy = "weighted"
targets = [{ target = "a/m", weight = 3 }, "b/m"]
"#;

fn who(models: &[&str], direct: bool) -> Principal {
    Principal {
        models: models.iter().map(|m| Pattern::new(*m)).collect(),
        direct,
        ..Principal::new("k")
    }
}

/// Nothing is known of any target.
struct Nobody;

impl Standings for Nobody {
    fn of(&self, _: &str, _: &str, _: bool) -> Standing {
        Standing::default()
    }

    fn last(&self, _: u64) -> Option<Arc<str>> {
        None
    }
}

fn decided(
    table: &RoutingTable,
    who: &Principal,
    model: &str,
    seed: u64,
) -> Result<Decision, Refusal> {
    let found = table.find(who, model)?;
    let asked = Asked {
        who,
        model,
        tags: &BTreeMap::new(),
        features: &Features::default(),
        hard: false,
        conversation: None,
        now: Moment(0),
        seed,
        standings: &Nobody,
    };
    table.decide(&found, &asked)
}

fn sent(table: &RoutingTable, who: &Principal, asked: &str) -> Result<Vec<String>, Refusal> {
    let decision = decided(table, who, asked, 1)?;
    let names = decision
        .candidates
        .iter()
        .map(|c| format!("{}/{}", c.target.provider.name, c.target.model));
    Ok(names.collect())
}

#[test]
fn names_lead_to_targets() {
    let table = compile(TWO).0.unwrap();
    let all = who(&["*"], true);
    for (asked, expected) in [
        ("fast", vec!["a/small", "b/small", "b/large"]),
        ("a/anything/with:more", vec!["a/anything/with:more"]),
        ("a/special-7", vec!["b/x-7-y"]),
        ("b/direct", vec!["b/direct"]),
    ] {
        assert_eq!(sent(&table, &all, asked).unwrap(), expected, "{asked}");
    }
    assert_eq!(sent(&table, &all, "nothing"), Err(Refusal::Unknown));
    assert_eq!(sent(&table, &all, "c/m"), Err(Refusal::Unknown));
    assert_eq!(sent(&table, &all, "b/"), Err(Refusal::Unknown));
}

#[test]
fn what_is_listed_twice_is_tried_once() {
    let text = TWO.replace(
        "[models.even]",
        "[models.twice]\ntargets = [\"a/m\", \"a/m\", \"b/m\"]\nfallbacks = [\"a/m\", \"b/n\"]\n\
         [models.\"w/*\"]\ntargets = [\"a/m*\"]\nfallbacks = [\"a/m1\"]\n[models.even]",
    );
    let table = compile(&text).0.unwrap();
    let all = who(&["*"], false);
    let tried = |asked| sent(&table, &all, asked).unwrap();
    assert_eq!(tried("twice"), ["a/m", "b/m", "b/n"]);
    assert_eq!(tried("w/1"), ["a/m1"]);
    assert_eq!(tried("w/2"), ["a/m2", "a/m1"]);
}

#[test]
fn a_key_reaches_what_it_may_and_nothing_else() {
    let table = compile(TWO).0.unwrap();
    let narrow = who(&["fast"], false);
    assert!(sent(&table, &narrow, "fast").is_ok());
    assert_eq!(sent(&table, &narrow, "even"), Err(Refusal::NotAllowed));
    assert_eq!(sent(&table, &narrow, "b/m"), Err(Refusal::NotAllowed));
    assert_eq!(table.aliases(&narrow), ["fast"]);
    assert_eq!(table.aliases(&who(&["*"], false)), ["even", "fast"]);
}

#[test]
fn a_key_takes_the_routes_that_it_may() {
    let table = compile(TWO).0.unwrap();
    let who = |routes: &[&str]| Principal {
        routes: routes.iter().map(|r| Pattern::new(*r)).collect(),
        ..who(&["*"], true)
    };
    let narrow = who(&["fast", "a/*"]);
    for (asked, expected) in [
        ("fast", None),
        ("a/x", None),
        // The route is what matched, not what was asked for.
        ("a/special-1", None),
        ("even", Some(Refusal::RouteNotAllowed)),
        ("b/m", Some(Refusal::RouteNotAllowed)),
        ("nothing", Some(Refusal::Unknown)),
    ] {
        assert_eq!(sent(&table, &narrow, asked).err(), expected, "{asked}");
    }
    assert!(sent(&table, &who(&["direct"]), "b/m").is_ok());
    assert_eq!(table.aliases(&narrow), ["fast"]);
}

#[test]
fn a_new_table_has_the_runtime_keys_of_the_old_one() {
    let text = format!("{TWO}[keys.k]\nhash = \"sha256:{}\"\n", "0".repeat(64));
    let (config, _) = config::load(&text);
    let config = config.unwrap();
    let first = RoutingTable::compile_to_serve(&config, None).0.unwrap();
    let made = |name: &str| crate::identity::RuntimeKey {
        principal: Arc::new(Principal::new(name)),
        digests: vec![(crate::identity::digest(name.as_bytes()), None)],
    };
    first.keys.runtime().replace([made("k"), made("other")]);
    let (second, problems) = RoutingTable::compile_to_serve(&config, Some(&first));
    let second = second.unwrap();
    let now = crate::units::Moment(1);
    assert_eq!(&*second.keys.find(b"other", now).unwrap().name, "other");
    assert!(second.keys.find(b"k", now).is_none());
    let told: Vec<_> = problems.iter().map(|p| p.path.to_string()).collect();
    assert_eq!(told, ["keys.k"], "{problems:?}");
}

#[test]
fn a_keys_rights_are_compiled() {
    let text = format!(
        "{TWO}[keys.k]\nhash = \"sha256:{}\"\nteam = \"t\"\nroutes = [\"fast\"]\n\
         endpoints = [\"embeddings\", \"embedings\"]\nexpires = \"1970-01-01T00:00:01Z\"\n\
         priority = \"batch\"\nlimits = [\"5 usd\"]\nmetadata = {{ a = \"b\" }}\n",
        "0".repeat(64)
    );
    let (table, problems) = compile(&text);
    let told: Vec<_> = problems.iter().map(|p| p.path.to_string()).collect();
    assert_eq!(told, ["keys.k.endpoints[1]"], "{problems:?}");
    let table = table.unwrap();
    let who = table.keys.written().next().unwrap();
    assert_eq!(who.team.as_deref(), Some("t"));
    assert_eq!(who.expires, Some(crate::units::Moment(1_000_000)));
    assert_eq!(who.priority, crate::identity::Priority::Batch);
    assert_eq!(who.limits, ["5 usd".parse().unwrap()]);
    assert!(who.may_take("fast") && !who.may_take("even"));
    assert!(who.may_call("embeddings") && !who.may_call("chat_completions"));
    assert_eq!(who.metadata["a"], "b");
}

#[test]
fn the_seed_decides_a_weighted_route() {
    let table = compile(TWO).0.unwrap();
    let all = who(&["*"], false);
    let first = |seed| {
        let decision = decided(&table, &all, "even", seed).unwrap();
        let first = decision.candidates.iter().next().unwrap();
        first.target.provider.name.to_string()
    };
    let a = (0..1000).filter(|seed| first(*seed) == "a").count();
    assert!((680..820).contains(&a), "{a}");
    assert_eq!(first(5), first(5));
}

#[test]
fn an_optional_provider_without_its_credential_takes_its_targets_along() {
    let text = r#"
[providers.here]
dialect = "openai"
base_url = "http://127.0.0.1:1001/v1"
[providers.gone]
dialect = "openai"
base_url = "http://127.0.0.1:1002/v1"
credential = "env:TOLLGATE_TEST_NO_SUCH_VARIABLE"
optional = true
[models.both]
targets = ["gone/m", "here/m"]
[models.none]
targets = ["gone/m"]
[keys.k]
hash = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
"#;
    let (table, problems) = compile(text);
    assert!(problems.is_empty(), "{problems:?}");
    let table = table.unwrap();
    let all = who(&["*"], true);
    assert_eq!(sent(&table, &all, "both").unwrap(), ["here/m"]);
    assert_eq!(sent(&table, &all, "none"), Err(Refusal::Unknown));
}

#[test]
fn a_missing_credential_warns_a_check_and_stops_a_start() {
    let text = r#"
[providers.p]
dialect = "openai"
base_url = "http://127.0.0.1:1002/v1"
credential = "env:TOLLGATE_TEST_NO_SUCH_VARIABLE"
"#;
    let (config, _) = config::load(text);
    let config = config.unwrap();
    let (table, problems) = RoutingTable::compile(&config);
    assert!(
        table.is_some() && problems.iter().all(|p| !p.is_error()),
        "{problems:?}"
    );
    let (table, problems) = RoutingTable::compile_to_serve(&config, None);
    assert!(table.is_none());
    assert!(
        problems
            .iter()
            .any(|p| p.is_error() && p.message.contains("TOLLGATE_TEST_NO_SUCH_VARIABLE"))
    );
}

#[test]
fn every_problem_is_found() {
    let text = r#"
[[listen]]
address = "127.0.0.1:9090"
[providers.p]
dialect = "openai"
base_url = "ftp://x"
[providers.q]
dialect = "openai"
[providers.r]
dialect = "openai"
base_url = "http://127.0.0.1:1/v1"
headers = { Host = "x", "Bad Name" = "y" }
health_check = { kind = "http", path = "/chat/completions" }
[models.m]
targets = ["nobody/x", "r/*"]
[models.n]
targets = []
[keys.a]
hash = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
[keys.b]
hash = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
"#;
    let (table, problems) = compile(text);
    assert!(table.is_none());
    let paths: Vec<_> = problems.iter().map(|p| p.path.to_string()).collect();
    for expected in [
        "admin.listen",
        "providers.p.base_url",
        "providers.q",
        "providers.r.headers.Host",
        "providers.r.health_check.path",
        "models.m.targets[0]",
        "models.m.targets[1]",
        "models.n.targets",
        "keys.b.hash",
    ] {
        assert!(
            paths.iter().any(|p| p == expected),
            "{expected} not in {paths:?}"
        );
    }
}

#[test]
fn what_is_said_of_models_is_checked_and_concerns_who_is_named() {
    let text =
        format!("{TWO}[[capabilities]]\nmodels = [\"small\"]\nproviders = [\"b\"]\ncontext = 7\n");
    let table = compile(&text).0.unwrap();
    let context = |name: &str| table.providers[name].capabilities("small").context;
    assert_eq!((context("a"), context("b")), (None, Some(7)));

    let text = format!("{TWO}[[capabilities]]\nmodels = []\nproviders = [\"c\"]\nmax_output = 0\n");
    let (table, problems) = compile(&text);
    assert!(table.is_none());
    let paths: Vec<_> = problems.iter().map(|p| p.path.to_string()).collect();
    for expected in [
        "capabilities[0].models",
        "capabilities[0].providers[0]",
        "capabilities[0].max_output",
    ] {
        assert!(paths.iter().any(|p| p == expected), "{expected}: {paths:?}");
    }
}

#[test]
fn a_pool_outlives_a_reload_that_does_not_touch_it() {
    let config = |b: &str| config::load(&TWO.replace("1002", b)).0.unwrap();
    let first = RoutingTable::compile_to_serve(&config("1002"), None)
        .0
        .unwrap();
    let second = RoutingTable::compile_to_serve(&config("1003"), Some(&first))
        .0
        .unwrap();
    let same = |name: &str| Arc::ptr_eq(&first.providers[name].pool, &second.providers[name].pool);
    assert!(same("a") && !same("b"));
}

#[test]
fn secrets_are_scrubbed_and_not_shown() {
    let dir = std::env::temp_dir().join(format!("tollgate-table-test-{}", std::process::id()));
    std::fs::write(&dir, "sk-canary-123\n").unwrap();
    let text = format!(
        "[providers.p]\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\ncredential = \"file:{}\"\n",
        dir.display()
    );
    let table = compile(&text).0.unwrap();
    std::fs::remove_file(&dir).unwrap();
    let provider = &table.providers["p"];
    assert_eq!(
        provider.scrub("key sk-canary-123 is wrong"),
        "key [redacted] is wrong"
    );
    assert!(!format!("{table:?} {}", table.redacted).contains("canary"));
}

#[test]
fn options_are_checked_with_their_dialect() {
    let check = |dialect: &str, options: &str| {
        let text = format!(
            "[providers.a]\ndialect = \"{dialect}\"\nbase_url = \"http://127.0.0.1:1/v1\"\n[providers.a.options]\n{options}\n"
        );
        let said = compile(&text).1;
        let errors = said
            .iter()
            .filter(|d| d.severity == config::Severity::Error);
        let said: Vec<String> = errors.map(|d| d.render("f")).collect();
        said.join("\n")
    };
    for (dialect, good) in [
        (
            "openai",
            "temperature_min = \"0.01\"\nextra = '{\"a\":1}'\ndrop = \"a,b\"",
        ),
        ("azure", "api_version = \"2024-10-21\""),
        ("anthropic", "anthropic_version = \"2023-06-01\""),
        ("vertex", "project = \"p\"\nlabels = '{\"a\":\"b\"}'"),
    ] {
        assert_eq!(check(dialect, good), "", "{dialect}");
    }
    for (dialect, bad, expected) in [
        (
            "openai",
            "temprature_min = \"1\"",
            "did you mean temperature_min?",
        ),
        ("openai", "temperature_min = \"warm\"", "expected a number"),
        ("openai", "extra = \"[1]\"", "expected a JSON object"),
        (
            "openai",
            "top_k = \"yes\"",
            "expected \"true\" or \"false\"",
        ),
        ("openai", "reasoning = \"much\"", "one of effort, thinking"),
        ("openai", "project = \"p\"", "unknown option project"),
        ("gemini", "project = \"p\"", "unknown option project"),
        ("vertex", "labels = \"[]\"", "expected a JSON object"),
        ("cohere", "x = \"y\"", "unknown option x"),
    ] {
        let said = check(dialect, bad);
        assert!(said.contains(expected), "{dialect} {bad}: {said}");
        assert!(said.contains("providers.a.options"), "{said}");
    }
}

#[test]
fn an_admin_token_is_long_and_nobodys_key() {
    let place = std::env::temp_dir().join(format!("tollgate-token-{}", std::process::id()));
    let token = "a-token-for-the-operator";
    let hash: String = crate::identity::digest(token.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let config = format!("[admin]\ntoken = \"file:{}\"\n", place.display());
    let its_key =
        format!("{config}[keys.k]\nhash = \"sha256:{hash}\"\nexpires = \"1971-01-01T00:00:00Z\"\n");
    for (written, text, expected) in [
        (token, &config, None),
        ("tiny-one", &config, Some("shorter than 16")),
        (token, &its_key, Some("a client's key")),
        ("", &config, Some("is empty")),
    ] {
        std::fs::write(&place, written).unwrap();
        let loaded = config::load(text).0.unwrap();
        let (table, problems) = RoutingTable::compile_to_serve(&loaded, None);
        let told: Vec<_> = problems
            .iter()
            .filter(|p| p.path.to_string() == "admin.token")
            .collect();
        match expected {
            None => {
                assert!(told.is_empty(), "{told:?}");
                let digest = table.unwrap().admin_token.unwrap();
                assert!(crate::identity::is_digest_of(&digest, token.as_bytes()));
            }
            Some(why) => {
                assert!(table.is_none(), "{why}");
                assert!(told[0].message.contains(why), "{told:?}");
                assert!(!format!("{problems:?}").contains(written) || written.is_empty());
            }
        }
    }
    std::fs::remove_file(&place).unwrap();
}
