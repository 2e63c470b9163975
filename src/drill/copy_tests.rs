//! The copy is a config that the gateway takes, with the route's policy in it
//! and nothing of the operator's secrets.

use super::super::catalogue::rows;
use super::super::policy::Policy;
use super::*;
use crate::config::{self, OnBreak};
use crate::table::RoutingTable;

const WRITTEN: &str = r#"
[times]
request = "77s"

[limits]
in_flight = 3
event = "65KiB"

[providers.main]
dialect = "anthropic"
base_urls = [{ url = "https://one.example" }, { url = "https://two.example" }]
credential = "env:CANARY_CREDENTIAL"
headers = { x-canary = "canary-header" }
self_hosted = true
retry_budget = 0.1
[providers.main.timeouts]
first_byte = "1s 500ms"
[providers.main.breaker]
consecutive_failures = 3

[providers.other]
dialect = "openai"
base_url = "https://canary.example/v1"
retry_budget = 0.4

[models."big/*"]
targets = [{ target = "main/*", weight = 5 }, "other/*"]
strategy = "weighted"
fallbacks = ["other/small", "other/*"]
on_rate_limit = ["main/*", "other/small"]
on_content_policy = ["other/a", "other/b"]
on_context_length = []
policy = "strict"
deadline = "9s"
deadline_covers = "answer"
retries = 2
on_break = "hold"
early_headers = true
keep_alive = "1s"
timeouts = { stall = "700ms", min_tokens_per_second = 2.5 }
hedge = { after = "250ms", share = 0.5 }

[models.one]
targets = ["main/x"]

[keys.someone]
hash = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
"#;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn copied(route: &str) -> (Config, Config) {
    let (original, found) = config::load(WRITTEN);
    assert_eq!(found, []);
    let original = original.unwrap();
    let policy = Policy::of(&original, route, Duration::from_secs(30)).unwrap();
    let places = Places {
        listen: address(1001),
        admin: address(1002),
        provider: address(1003),
        closed: address(1004),
    };
    let text = copy(&original, route, &rows(&policy), places, Hash([7; 32])).unwrap();
    for canary in ["canary", "CANARY", "example", "someone"] {
        assert!(!text.contains(canary), "{canary} is in\n{text}");
    }
    let (copied, found) = config::load(&text);
    assert_eq!(found, [], "{text}");
    let copied = copied.unwrap();
    let (table, problems) = RoutingTable::compile(&copied);
    let errors: Vec<_> = problems.iter().filter(|p| p.is_error()).collect();
    assert!(table.is_some() && errors.is_empty(), "{errors:?}");
    (original, copied)
}

fn names(list: &[TargetName]) -> Vec<String> {
    list.iter().map(TargetName::to_string).collect()
}

#[test]
fn the_policy_is_the_routes_own() {
    let (original, copied) = copied("big/*");
    let theirs = &original.models["big/*"];
    let ours = &copied.models["drill-silence"];
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|n| TargetName::parse(n).unwrap())
            .collect()
    };
    let expected = Model {
        strategy: Strategy::Ordered,
        targets: list(&["primary-silence/drill-a", "fallback-silence/drill-b"]),
        fallbacks: Vec::new(),
        on_rate_limit: Some(Vec::new()),
        on_content_policy: Some(list(&["fallback-silence/drill-b"])),
        ..theirs.clone()
    };
    assert_eq!(*ours, expected);
    assert_eq!((ours.retries, ours.on_break), (2, OnBreak::Hold));
    assert_eq!(copied.times.request, original.times.request);
    assert_eq!(copied.limits.event, original.limits.event);
    // All rows run at once, whatever the operator allows.
    assert!(copied.limits.in_flight > copied.models.len());
    assert_eq!(copied.keys["drill"].hash, Hash([7; 32]));
}

#[test]
fn providers_keep_their_limits_and_nothing_else() {
    let (original, copied) = copied("big/*");
    for (side, name, url) in [
        ("primary", "main", "http://127.0.0.1:1003/primary/401/v1"),
        ("fallback", "other", "http://127.0.0.1:1003/fallback/401/v1"),
    ] {
        let ours = &copied.providers[&format!("{side}-401")];
        let theirs = &original.providers[name];
        assert_eq!(ours.timeouts, theirs.timeouts);
        assert_eq!(ours.breaker, theirs.breaker);
        assert!((ours.retry_budget - theirs.retry_budget).abs() < 1e-9);
        assert_eq!(ours.base_url.as_deref(), Some(url));
        assert_eq!((ours.dialect, ours.self_hosted), (Dialect::OpenAi, false));
        assert!(ours.credential.is_none() && ours.headers.is_empty());
    }
    let refused = &copied.providers["primary-refused-connection"].base_url;
    assert!(refused.as_ref().unwrap().contains(":1004/"), "{refused:?}");
    assert_eq!(copied.providers.len(), 2 * copied.models.len());
}

#[test]
fn a_route_with_one_target_gets_one_provider() {
    let (_, copied) = copied("one");
    assert!(
        copied
            .providers
            .keys()
            .all(|name| name.starts_with("primary-"))
    );
    let route = &copied.models["drill-healthy"];
    assert_eq!(names(&route.targets), ["primary-healthy/drill-a"]);
    assert_eq!((route.fallbacks.len(), &route.on_error), (0, &None));
}

#[test]
fn a_route_that_is_not_there_has_no_copy() {
    let config = config::load(WRITTEN).0.unwrap();
    let places = Places {
        listen: address(1),
        admin: address(2),
        provider: address(3),
        closed: address(4),
    };
    assert_eq!(copy(&config, "big/x", &[], places, Hash([0; 32])), None);
}
