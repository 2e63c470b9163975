use super::*;

const NOW: Moment = Moment(1_000);

fn named(name: &str) -> Principal {
    Principal::new(name)
}

fn runtime(name: &str, keys: &[(&str, Option<u64>)]) -> RuntimeKey {
    let digests = keys
        .iter()
        .map(|(key, until)| (digest(key.as_bytes()), until.map(Moment)));
    RuntimeKey {
        principal: Arc::new(named(name)),
        digests: digests.collect(),
    }
}

fn opens(ring: &KeyRing, key: &str, now: u64) -> Option<String> {
    let who = ring.find(key.as_bytes(), Moment(now))?;
    Some(who.name.to_string())
}

#[test]
fn only_the_whole_key_opens() {
    let mut ring = KeyRing::default();
    let principal = Principal {
        models: vec![Pattern::new("gpt-*")],
        ..named("a")
    };
    assert!(ring.insert(digest(b"tg-secret"), principal));
    let found = ring.find(b"tg-secret", NOW).unwrap();
    assert!(found.may_use("gpt-5") && !found.may_use("o3"));
    assert!(ring.find(b"tg-secre", NOW).is_none());
    assert!(ring.find(b"", NOW).is_none());
    assert!(!ring.insert(digest(b"tg-secret"), named("b")));
}

#[test]
fn rights_are_asked_one_by_one() {
    let who = Principal {
        routes: vec![Pattern::new("fast")],
        endpoints: vec![Pattern::new("embeddings"), Pattern::new("chat_*")],
        ..named("a")
    };
    assert!(who.may_use("anything") && who.may_take("fast") && !who.may_take("direct"));
    assert!(who.may_call("embeddings") && who.may_call("chat_completions"));
    assert!(!who.may_call("messages"));
    let nobody = Principal {
        endpoints: Vec::new(),
        ..named("a")
    };
    assert!(
        !nobody.may_call("embeddings"),
        "an empty list lets nothing in"
    );
}

#[test]
fn a_key_ends_at_its_moment_and_not_before() {
    let mut ring = KeyRing::default();
    let principal = Principal {
        expires: Some(Moment(1_000)),
        ..named("a")
    };
    ring.insert(digest(b"k"), principal);
    assert_eq!(opens(&ring, "k", 999).as_deref(), Some("a"));
    assert_eq!(opens(&ring, "k", 1_000), None);
    assert_eq!(opens(&ring, "k", 1_001), None);
}

#[test]
fn a_replaced_key_opens_until_its_own_end() {
    let ring = KeyRing::default();
    let key = runtime("a", &[("old", Some(500)), ("new", None)]);
    ring.runtime().replace([key]);
    for (key, now, open) in [
        ("old", 499, true),
        ("old", 500, false),
        ("new", 499, true),
        ("new", 9_999, true),
    ] {
        assert_eq!(opens(&ring, key, now).is_some(), open, "{key} at {now}");
    }
}

#[test]
fn all_tables_see_the_runtime_keys_of_now() {
    let shared = Arc::new(RuntimeKeys::default());
    let rings = [0, 1].map(|_| KeyRing::over(Arc::clone(&shared)));
    shared.replace([runtime("a", &[("k", None)]), runtime("b", &[("l", None)])]);
    for ring in &rings {
        assert_eq!(opens(ring, "k", 1).as_deref(), Some("a"));
        assert_eq!(opens(ring, "l", 1).as_deref(), Some("b"));
    }
    let names: Vec<_> = shared
        .everybody()
        .iter()
        .map(|p| p.name.to_string())
        .collect();
    assert_eq!(names, ["a", "b"]);
    shared.replace([runtime("b", &[("l", None)])]);
    for ring in &rings {
        assert_eq!(opens(ring, "k", 1), None);
        assert_eq!(opens(ring, "l", 1).as_deref(), Some("b"));
    }
}

#[test]
fn of_two_keys_of_one_name_the_configs_counts() {
    let mut ring = KeyRing::default();
    ring.runtime().replace([
        runtime("a", &[("runtime", None)]),
        runtime("off", &[("runtime-off", None)]),
    ]);
    assert_eq!(opens(&ring, "runtime", 1).as_deref(), Some("a"));
    ring.insert(digest(b"written"), named("a"));
    // A key that the config has switched off is not switched on by another.
    ring.claim("off");
    assert_eq!(opens(&ring, "written", 1).as_deref(), Some("a"));
    assert_eq!(opens(&ring, "runtime", 1), None);
    assert_eq!(opens(&ring, "runtime-off", 1), None);
    assert!(ring.claims("off") && !ring.claims("b"));
}

#[test]
fn priorities_are_read_as_they_are_written() {
    for one in Priority::ALL {
        assert_eq!(Priority::named(one.name()), Some(one));
    }
    assert_eq!(Priority::named("urgent"), None);
    assert!(Priority::Interactive < Priority::Normal && Priority::Normal < Priority::Batch);
}

#[test]
fn keys_are_base64url() {
    assert_eq!(key(&[0; 32]).as_str(), format!("tg-{}", "A".repeat(43)));
    assert_eq!(key(&[255; 32]).as_str(), format!("tg-{}8", "_".repeat(42)));
    let counting = std::array::from_fn(|position| position as u8);
    assert_eq!(
        key(&counting).as_str(),
        "tg-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    );
    assert_ne!(fresh_key().unwrap(), fresh_key().unwrap());
}

#[test]
fn a_text_is_told_by_its_digest() {
    let token = digest(b"a token");
    assert!(is_digest_of(&token, b"a token"));
    assert!(!is_digest_of(&token, b"a toke") && !is_digest_of(&token, b""));
}
