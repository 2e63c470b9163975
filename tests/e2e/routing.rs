//! Where requests go by what they are: the field's table, containment whatever fails, and the same told offline.

use std::fs;

use serde_json::{Value, json};

use crate::client::{Request, Response};
use crate::gateway::{Gateway, KEY, directory, key, own_key, provider, run};
use crate::provider::{Cut, Provider, chat, cut, delta, fail};
use crate::tool::path;

const EXPLAINED: &str = "tg-canary-key-that-is-told-why";

/// Four providers behind one name: two of others, one's own, and one that is no target.
struct House {
    strong: Provider,
    cheap: Provider,
    own: Provider,
    gateway: Gateway,
}

const RULES: &str = r#"
[models.auto]
targets = ["strong/large", "cheap/small", "own/llama"]
retries = 0
[[models.auto.rules]]
name = "pii"
when = "pii.any || pii.unread"
pool = "self_hosted"
[[models.auto.rules]]
name = "code"
when = 'kind == "code"'
quality = "strong"
max_first_token = "5s"
[[models.auto.rules]]
name = "simple"
when = 'kind == "simple_qa"'
max_quality = "budget"
max_first_token = "2s"
[[models.auto.rules]]
name = "default"
[pools.self_hosted]
targets = ["own/*"]
[quality]
strong = ["strong/*"]
budget = ["cheap/*"]
"#;

impl House {
    fn new(rules: &str) -> Self {
        let (strong, cheap, own) = (
            Provider::start(chat("strong")),
            Provider::start(chat("cheap")),
            Provider::start(chat("own")),
        );
        let toml = [
            provider("strong", &strong),
            provider("cheap", &cheap),
            provider("own", &own),
            rules.to_owned(),
            own_key(),
            key("told", EXPLAINED, "explain = true\ndirect = true"),
        ];
        let gateway = Gateway::start(&toml.concat());
        Self {
            strong,
            cheap,
            own,
            gateway,
        }
    }

    fn say(&self, key: &str, model: &str, text: &str) -> Response {
        let body = json!({"model": model, "messages": [{"role": "user", "content": text}]});
        let request = Request::post("/v1/chat/completions").key(key);
        self.gateway.call(&request.json(body.to_string()))
    }

    /// How many requests each has had: strong, cheap, own.
    fn counts(&self) -> [usize; 3] {
        [&self.strong, &self.cheap, &self.own].map(Provider::count)
    }
}

#[test]
fn the_table_of_the_field_is_kept() {
    let house = House::new(RULES);
    for (text, answer) in [
        ("What is the capital of France?", "cheap"),
        (
            "Write a Python function that reverses a linked list.",
            "strong",
        ),
        ("My card is 4111 1111 1111 1111, is that a Visa?", "own"),
        (
            "Write to anna.berg@firma.example.com and fix this: def f(x): return x+",
            "own",
        ),
    ] {
        let got = house.say(KEY, "auto", text);
        assert_eq!(
            (got.status, got.content().as_str()),
            (200, answer),
            "{text}"
        );
        assert_eq!(
            got.header("x-tollgate-decision"),
            None,
            "it is not for every key"
        );
    }
    let told = house.say(EXPLAINED, "auto", "What is the capital of France?");
    let decision = told.header("x-tollgate-decision").expect("a decision");
    assert!(
        decision.starts_with("rule=simple; lost=") && decision.contains("strong/large:quality"),
        "{decision}"
    );
}

#[test]
fn the_access_log_says_which_rule_it_was_and_no_text() {
    let house = House::new(RULES);
    let body = json!({"model": "auto", "messages": [{"role": "user",
        "content": "canary-text: my card is 4111 1111 1111 1111"}]});
    let request = Request::post("/v1/chat/completions")
        .key(KEY)
        .header("x-request-id", "routing-log")
        .json(body.to_string());
    assert_eq!(house.gateway.call(&request).content(), "own");
    let line = house.gateway.access_line("routing-log");
    assert_eq!(line["rule"], "pii");
    let decision = line["decision"].as_str().expect("a decision");
    assert!(decision.contains("pool=self_hosted"), "{decision}");
    let story = house.gateway.admin("/requests/routing-log").json();
    let told = &story["requests"][0]["decision"];
    assert_eq!(told["rule"], "pii", "{story}");
    let findings = &told["features"]["pii"]["findings"];
    assert_eq!(findings["payment_card"], 1, "{story}");
    assert!(!story.to_string().contains("canary-text"));
    for text in [
        house.gateway.stdout(),
        house.gateway.stderr(),
        house.gateway.metrics(),
    ] {
        assert!(!text.contains("4111") && !text.contains("canary-text"));
    }
}

#[test]
fn escapes_and_tool_results_are_looked_through() {
    let house = House::new(RULES);
    let bodies = [
        r#"{"model":"auto","messages":[{"role":"user","content":"card \u0034111-1111\u002d1111-1111"}]}"#.to_owned(),
        json!({"model": "auto", "messages": [
            {"role": "user", "content": "Look it up."},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function",
                "function": {"name": "find", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "IBAN DE89 3704 0044 0532 0130 00"}]})
        .to_string(),
        json!({"model": "auto", "messages": [{"role": "user", "content": [{"type": "text", "text": "What is on it?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]})
        .to_string(),
    ];
    for body in bodies {
        let request = Request::post("/v1/chat/completions")
            .key(KEY)
            .json(body.clone());
        assert_eq!(house.gateway.call(&request).content(), "own", "{body}");
    }
    assert_eq!(house.counts(), [0, 0, 3]);
}

#[test]
fn nothing_leaves_the_pool_whatever_fails() {
    let rules = RULES
        .replace("retries = 0", "retries = 0\nfallbacks = [\"strong/spare\"]\non_break = \"continue\"\nhedge = { after = \"1ms\" }");
    let house = House::new(&rules);
    let text = "My card is 4111 1111 1111 1111, please remember it.";
    house.own.become_script(fail(500));
    let got = house.say(KEY, "auto", text);
    assert_ne!(got.status, 200);
    // A stream that breaks off is gone on with by nobody else.
    house
        .own
        .become_script(cut(vec![delta("My "), delta("card")], Cut::Reset));
    let body =
        json!({"model": "auto", "stream": true, "messages": [{"role": "user", "content": text}]});
    let request = Request::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string());
    let mut events = house.gateway.connect().stream(&request).expect("a stream");
    let seen = events.events();
    assert!(!seen.iter().any(|event| event == "[DONE]"), "{seen:?}");
    house.own.kill();
    assert_ne!(house.say(KEY, "auto", text).status, 200);
    let [strong, cheap, _] = house.counts();
    assert_eq!((strong, cheap), (0, 0), "it left the pool");
    // Others go on.
    assert_eq!(
        house
            .say(KEY, "auto", "What is the capital of France?")
            .status,
        200
    );
}

#[test]
fn a_rule_of_all_routes_holds_for_whoever_names_the_provider() {
    let everywhere = format!(
        "{RULES}\n[[rules]]\nname = \"everywhere\"\nwhen = \"pii.any\"\npool = \"self_hosted\"\n"
    );
    let house = House::new(&everywhere);
    let got = house.say(EXPLAINED, "strong/large", "My card is 4111 1111 1111 1111.");
    let error = got.json();
    assert_eq!(
        (got.status, error["error"]["code"].as_str()),
        (503, Some("no_candidate"))
    );
    assert_eq!(
        house
            .say(EXPLAINED, "strong/large", "Hello there")
            .content(),
        "strong"
    );
    assert_eq!(
        house
            .say(EXPLAINED, "own/llama", "My card is 4111 1111 1111 1111.")
            .content(),
        "own"
    );
    assert_eq!(house.counts(), [1, 0, 1]);
}

#[test]
fn explain_says_offline_what_the_gateway_does() {
    let house = House::new(RULES);
    let config = path(&house.gateway.config_path());
    let scratch = directory();
    let file = scratch.join("request.json");
    for (text, target, rule) in [
        ("What is the capital of France?", "cheap/small", "simple"),
        (
            "Write a Python function that reverses a linked list.",
            "strong/large",
            "code",
        ),
        ("My card is 4111 1111 1111 1111.", "own/llama", "pii"),
    ] {
        let body = json!({"model": "auto", "messages": [{"role": "user", "content": text}]});
        fs::write(&file, body.to_string()).unwrap();
        let ran = run(&["explain", "-c", &config, &path(&file), "--format", "json"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let told: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(told["rule"], rule);
        let targets = told["targets"].as_array().expect("targets");
        let first = targets
            .iter()
            .find(|one| one["place"] == 1)
            .expect("a first choice");
        assert_eq!(first["target"], target);
        assert!(!ran.stdout.contains("4111"), "the text is not told");
        let [provider, _] = target.split('/').collect::<Vec<_>>()[..] else {
            panic!("{target}");
        };
        assert_eq!(house.say(KEY, "auto", text).content(), provider);
    }
    // As it was when the strong one was slow.
    let state = scratch.join("state.json");
    fs::write(
        &state,
        r#"{"targets": {"strong/large": {"first_token_ms": 9000}}}"#,
    )
    .unwrap();
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": "Write a Python function."}]});
    fs::write(&file, body.to_string()).unwrap();
    let ran = run(&[
        "explain",
        "-c",
        &config,
        &path(&file),
        "--at",
        &path(&state),
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("passed on    code"), "{}", ran.stdout);
}
