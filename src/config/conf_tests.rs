//! The files in conf/ say what the structs say.

use super::*;
use std::collections::BTreeSet;

const REFERENCE: &str = include_str!("../../conf/tollgate.toml");
const DEMO: &str = include_str!("../../conf/demo.toml");

/// The file with every setting turned on: "#key" is a setting, "# text" is not.
fn all_on() -> String {
    let setting = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    let lines = REFERENCE
        .lines()
        .map(|l| if setting(l) { &l[1..] } else { l });
    lines.collect::<Vec<_>>().join("\n")
}

fn loaded(text: &str) -> Config {
    let (config, found) = load(text);
    let said: Vec<_> = found
        .iter()
        .map(|diagnostic| diagnostic.render("f"))
        .collect();
    config.unwrap_or_else(|| panic!("{}", said.join("\n")))
}

/// A config in which every key is there. Every field is written out, so a new
/// one does not compile before it is here, and then not pass before it is in
/// the file.
fn everything() -> Config {
    let target = TargetName {
        provider: "p".into(),
        model: "m".into(),
        weight: 2,
    };
    let provider = Provider {
        dialect: Dialect::OpenAi,
        base_url: Some("u".into()),
        base_urls: vec![BaseUrl {
            url: "u".into(),
            weight: 1,
        }],
        credential: Reference::parse("env:A"),
        aws: Some(Aws {
            source: AwsSource::Static,
            access_key_id: Reference::parse("env:A"),
            secret_access_key: Reference::parse("env:A"),
            session_token: Reference::parse("env:A"),
            endpoint: Some("u".into()),
        }),
        google: Some(Google {
            source: GoogleSource::Json,
            json: Reference::parse("env:A"),
            endpoint: Some("u".into()),
        }),
        optional: true,
        headers: BTreeMap::from([("n".into(), HeaderSource::Literal("v".into()))]),
        balance: Balance::RoundRobin,
        http: HttpVersion::Http11,
        models: any(),
        timeouts: Timeouts::default(),
        health_check: HealthCheck::default(),
        ca: Some("c".into()),
        options: BTreeMap::from([("n".into(), "v".into())]),
        self_hosted: false,
        breaker: Breaker::default(),
        retry_budget: 0.2,
    };
    let some = Some(Duration::from_secs(1));
    let model = Model {
        targets: vec![target.clone()],
        strategy: Strategy::Ordered,
        fallbacks: vec![target.clone()],
        on_error: Some(vec![target.clone()]),
        on_rate_limit: Some(vec![target.clone()]),
        on_context_length: Some(vec![target.clone()]),
        on_content_policy: Some(vec![target]),
        policy: Policy::Lenient,
        deadline: some,
        deadline_covers: Covers::FirstToken,
        timeouts: RouteTimeouts {
            first_byte: some,
            first_token: some,
            idle: some,
            stall: some,
            min_tokens_per_second: Some(1.0),
            rate_window: some,
        },
        retries: 1,
        on_break: OnBreak::Continue,
        early_headers: false,
        keep_alive: some,
        hedge: Some(Hedge {
            after: some,
            ..Hedge::default()
        }),
        clamp_output: false,
        rules: vec![Rule {
            name: "r".into(),
            when: "true".into(),
            pool: Some("p".into()),
            quality: Some(Quality::Budget),
            max_quality: Some(Quality::Strong),
            max_first_token: some,
            max_price: Some(crate::units::MicroUsd(1)),
            prefer: Prefer::Listed,
            price_weight: 0.5,
            unknown: Some(Unknown::Match),
            on_none: OnNone::Next,
        }],
        strong_share: Some(0.5),
    };
    let allowance = "1 requests".parse().unwrap();
    let limit = Limit {
        name: "l".into(),
        allow: allowance,
        per: vec![Per::User],
        keys: any(),
        teams: any(),
        users: any(),
        routes: any(),
        endpoints: any(),
        models: any(),
        providers: any(),
        hard: Some(true),
        wait: Duration::ZERO,
        depth: 100,
    };
    let reference = Reference::parse("env:A");
    let key = Key {
        hash: Hash([0; 32]),
        team: Some("t".into()),
        models: any(),
        routes: any(),
        endpoints: any(),
        direct: false,
        explain: false,
        disabled: false,
        expires: Some(std::time::UNIX_EPOCH),
        limits: vec![allowance],
        priority: Priority::Normal,
        metadata: BTreeMap::from([("n".into(), "v".into())]),
    };
    let capability = Capability {
        models: any(),
        providers: vec!["p".into()],
        sampling: Some(capability::Sampling::Free),
        thinking: Some(capability::Thinking::None),
        effort: Some(vec!["low".into()]),
        thinks_always: Some(false),
        max_output: Some(1),
        context: Some(1),
        prefill: Some(true),
        mid_system: Some(true),
        json_schema: Some(true),
        images: Some(true),
        audio: Some(true),
        documents: Some(true),
        image_output: Some(true),
        audio_output: Some(true),
        tools: Some(true),
        forced_tools: Some(true),
        parallel_control: Some(true),
    };
    let tls = Tls {
        certificate: "c".into(),
        key: "k".into(),
    };
    Config {
        server: Server::default(),
        listen: vec![Listen {
            tls: Some(tls),
            ..Listen::default()
        }],
        admin: Admin {
            token: reference,
            ..Admin::default()
        },
        demo: Some(Demo {
            listen: Admin::default().listen,
        }),
        log: Log::default(),
        access_log: AccessLog::default(),
        limits: Limits::default(),
        times: Times::default(),
        providers: BTreeMap::from([("p".into(), provider)]),
        models: BTreeMap::from([("m".into(), model)]),
        keys: BTreeMap::from([("k".into(), key)]),
        capabilities: vec![capability],
        limit: vec![limit],
        pools: BTreeMap::from([("p".into(), Pool { targets: any() })]),
        quality: Qualities {
            strong: any(),
            medium: any(),
            budget: any(),
        },
        classifier: Classifier {
            weights: Some("w".into()),
        },
        rules: vec![Containment {
            name: "r".into(),
            when: "true".into(),
            pool: "p".into(),
            unknown: Unknown::Match,
        }],
        prices: Prices::default(),
        ledger: Ledger {
            path: Some("l".into()),
            retention: some,
            ..Ledger::default()
        },
        state: State {
            url: Some("redis://h/0".into()),
            password: Reference::parse("env:A"),
            ..State::default()
        },
        traces: Traces {
            endpoint: Some("http://h".into()),
            headers: BTreeMap::from([("n".into(), HeaderSource::Literal(Default::default()))]),
            ..Traces::default()
        },
    }
}

/// All keys of `value`, with `*` for the names that operators choose.
fn keys_of(value: &toml::Value, path: &str, keys: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            let named = ["providers", "models", "keys", "pools"].contains(&path)
                || path.ends_with(".headers")
                || path.ends_with(".options")
                || path.ends_with(".metadata");
            for (key, value) in table {
                let key = if named { "*" } else { key };
                let path = if path.is_empty() {
                    key.to_owned()
                } else {
                    format!("{path}.{key}")
                };
                keys_of(value, &path, keys);
                keys.insert(path);
            }
        }
        toml::Value::Array(array) => array.iter().for_each(|value| keys_of(value, path, keys)),
        _ => {}
    }
}

#[test]
fn the_reference_names_every_key() {
    let (mut written, mut known) = (BTreeSet::new(), BTreeSet::new());
    keys_of(&toml::from_str(&all_on()).unwrap(), "", &mut written);
    keys_of(
        &toml::Value::try_from(everything()).unwrap(),
        "",
        &mut known,
    );
    // Targets may be tables or strings; a fallback's weight means nothing.
    known.retain(|key| !key.starts_with("models.*.fallbacks.") && !key.contains(".on_"));
    written.retain(|key| !key.contains(".on_"));
    for list in ["error", "rate_limit", "context_length", "content_policy"] {
        assert!(all_on().contains(&format!("\non_{list} = ")), "{list}");
    }
    assert!(all_on().contains("\non_break = "));
    assert_eq!(written, known);
}

#[test]
fn the_reference_states_the_defaults() {
    for text in [REFERENCE, &all_on()] {
        let config = loaded(text);
        assert_eq!(config.server, Server::default());
        assert_eq!(config.listen.len(), 1);
        assert_eq!(
            Listen {
                tls: None,
                ..config.listen[0].clone()
            },
            Listen::default()
        );
        assert_eq!(config.admin.listen, Admin::default().listen);
        assert_eq!(config.log, Log::default());
        assert_eq!(config.access_log, AccessLog::default());
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.times, Times::default());
        assert_eq!(config.prices, Prices::default());
        let mut ledger = config.ledger.clone();
        (ledger.path, ledger.retention) = (None, None);
        assert_eq!(ledger, Ledger::default());
        let state = State {
            url: None,
            password: None,
            ..config.state.clone()
        };
        assert_eq!(state, State::default());
        assert!((config.traces.sample - 1.0).abs() < f64::EPSILON);
        let provider = &config.providers["openai"];
        assert_eq!(provider.balance, Balance::default());
        assert_eq!(provider.http, HttpVersion::default());
        assert_eq!(provider.models, any());
        assert_eq!(provider.timeouts, Timeouts::default());
        assert_eq!(provider.health_check, HealthCheck::default());
        assert_eq!(provider.breaker, Breaker::default());
        assert!(!provider.self_hosted);
        assert!((provider.retry_budget - retry_budget()).abs() < f64::EPSILON);
        let model = &config.models["openai/*"];
        assert_eq!(model.strategy, Strategy::default());
        assert_eq!(model.deadline_covers, Covers::default());
        assert_eq!(model.on_break, OnBreak::default());
        assert_eq!((model.retries, model.early_headers), (1, false));
    }
    let key = &loaded(&all_on()).keys["search"];
    assert_eq!(
        (&key.models, key.direct, key.disabled),
        (&any(), false, false)
    );
}

#[test]
fn the_demo_stays_on_loopback() {
    let config = loaded(DEMO);
    let listeners = config.listen.iter().map(|listen| listen.address);
    let demo = config.demo.as_ref().unwrap().listen;
    assert!(
        listeners
            .chain([config.admin.listen, demo])
            .all(|address| address.ip().is_loopback())
    );
    assert_eq!(
        config.providers["demo"].base_url,
        Some(format!("http://{demo}/v1"))
    );
}

/// What /config of the admin listener shows.
#[test]
fn the_written_config_is_redacted() {
    let text = toml::to_string(&everything()).unwrap();
    assert!(text.contains("n = \"<redacted>\""), "{text}");
    assert!(text.contains("hash = \"sha256:0000…\""), "{text}");
    assert!(text.contains("credential = \"env:A\""), "{text}");
}
