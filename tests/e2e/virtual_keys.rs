//! Keys that come and go while the gateway runs: by the command line, beside it or before it; by the admin listener.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::client::{Client, Request, Response};
use crate::gateway::{
    Finished, Gateway, SECRET, SECRET_VARIABLE, chat_body, directory, key, model, own_key,
    provider, run, simple,
};
use crate::provider::{Provider, chat};
use crate::tool::path;
use crate::wait::eventually;

const OVER: &str = "tg-canary-key-that-is-over";
const OFF: &str = "tg-canary-key-that-is-off";

/// `tollgate keys VERB NAME -c CONFIG ...`
fn keys(gateway: &Gateway, verb: &str, name: &str, rest: &[&str]) -> Finished {
    let config = path(&gateway.config_path());
    let mut arguments = vec!["keys", verb, name, "-c", &config];
    arguments.extend(rest);
    run(&arguments)
}

/// The key that a verb made, from its JSON.
fn made(ran: &Finished) -> String {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let key = told["key"].as_str().expect("a key").to_owned();
    assert!(!ran.stderr.contains(&key), "the key is shown once");
    key
}

fn create(gateway: &Gateway, name: &str, rest: &[&str]) -> String {
    let rest = [rest, &["--format", "json"]].concat();
    made(&keys(gateway, "create", name, &rest))
}

fn call(gateway: &Gateway, path: &str, key: &str, model: &str) -> Response {
    gateway.call(&Request::post(path).key(key).json(chat_body(model)))
}

fn ask(gateway: &Gateway, key: &str) -> Response {
    call(gateway, "/v1/chat/completions", key, "m")
}

fn until(gateway: &Gateway, key: &str, status: u16, what: &str) {
    eventually(what, || (ask(gateway, key).status == status).then_some(()));
}

/// All of an answer but its date and the ids of its request.
fn lasting(answer: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let varying = ["date", "x-request-id", "traceparent"];
    let headers = answer.headers.iter().filter(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !varying.contains(&name.as_str())
    });
    (
        answer.status,
        headers.cloned().collect(),
        answer.body.clone(),
    )
}

#[test]
fn a_key_is_made_used_and_revoked_beside_a_running_gateway() {
    let provider = Provider::start(chat("ok"));
    let over = key("over", OVER, "expires = \"2020-01-01T00:00:00Z\"");
    let off = key("off", OFF, "disabled = true");
    let gateway = Gateway::start(&[simple(&provider), over, off].concat());
    let one = create(
        &gateway,
        "search",
        &["--team", "web", "--tag", "feature=search"],
    );
    until(&gateway, &one, 200, "the new key is let in");
    let id = "virtual-key-request";
    let request = Request::post("/v1/chat/completions")
        .key(&one)
        .header("x-request-id", id);
    assert_eq!(gateway.call(&request.json(chat_body("m"))).status, 200);
    let line = gateway.access_line(id);
    assert_eq!(line["key"], "search");
    assert_eq!(line["metadata"]["feature"], "search");

    let ran = keys(&gateway, "revoke", "search", &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    until(&gateway, &one, 401, "the revoked key is refused");
    let unknown = lasting(&ask(&gateway, "tg-nobodys-key"));
    assert_eq!(unknown.0, 401);
    for (key, what) in [
        (&*one, "revoked"),
        (OVER, "expired"),
        (OFF, "disabled"),
        ("", "empty"),
    ] {
        assert_eq!(lasting(&ask(&gateway, key)), unknown, "{what}");
    }
    // For ever: the name is not given again, and the key is not replaced.
    for verb in ["create", "rotate"] {
        let ran = keys(&gateway, verb, "search", &[]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
    }
}

#[test]
fn a_rotated_key_overlaps_with_the_old_one_as_long_as_was_said() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let first = create(&gateway, "search", &[]);
    until(&gateway, &first, 200, "the first key is let in");
    let rest = ["--overlap", "1h", "--format", "json"];
    let second = made(&keys(&gateway, "rotate", "search", &rest));
    until(&gateway, &second, 200, "the second key is let in");
    assert_eq!(ask(&gateway, &first).status, 200, "the overlap is an hour");
    let rest = ["--overlap", "1s", "--format", "json"];
    let third = made(&keys(&gateway, "rotate", "search", &rest));
    until(&gateway, &third, 200, "the third key is let in");
    for old in [&first, &second] {
        until(
            &gateway,
            old,
            401,
            "the old keys end with the shorter overlap",
        );
    }
    assert_eq!(ask(&gateway, &third).status, 200);
}

#[test]
fn a_key_ends_by_itself() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let brief = create(&gateway, "brief", &["--expires", "1s"]);
    let later = create(&gateway, "later", &["--expires", "1h"]);
    // Then the other one is known too, for as long as it lasts.
    until(&gateway, &later, 200, "the later key is let in");
    until(&gateway, &brief, 401, "the brief key is refused");
    assert_eq!(ask(&gateway, &later).status, 200);
}

#[test]
fn a_key_reaches_its_endpoints_and_routes_only() {
    let provider_ = Provider::start(chat("ok"));
    let config = [
        provider("main", &provider_),
        model("m", &["main/x"]),
        model("other", &["main/y"]),
        own_key(),
        key(
            "narrow",
            OVER,
            "endpoints = [\"embeddings\"]\nroutes = [\"m\"]",
        ),
    ];
    let gateway = Gateway::start(&config.concat());
    let runtime = create(
        &gateway,
        "runtime",
        &["--endpoints", "chat_completions", "--routes", "m"],
    );
    until(&gateway, &runtime, 200, "the new key is let in");
    let refused = |answer: Response| (answer.status, answer.error("code"));
    let chats = "/v1/chat/completions";
    let endpoint = (403, "endpoint_not_allowed".into());
    let route = (403, "route_not_allowed".into());
    assert_eq!(refused(call(&gateway, chats, OVER, "m")), endpoint);
    assert_eq!(
        refused(call(&gateway, "/v1/embeddings", &runtime, "m")),
        endpoint
    );
    assert_eq!(
        refused(call(&gateway, "/v1/messages", &runtime, "m")).0,
        403
    );
    assert_eq!(refused(call(&gateway, chats, &runtime, "other")), route);
    let embed = |model: &str| {
        let text = format!("{{\"model\":\"{model}\",\"input\":\"hello\"}}");
        gateway.call(&Request::post("/v1/embeddings").key(OVER).json(text))
    };
    assert_eq!(refused(embed("other")), route);
    assert_eq!(embed("m").status, 200);
    let listed = gateway
        .call(&Request::get("/v1/models").key(&runtime))
        .json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
    // An unknown model is told apart from one that may not be had, as before.
    assert_eq!(call(&gateway, chats, &runtime, "nothing").status, 404);
}

#[test]
fn keys_are_made_without_a_gateway_and_read_at_its_start() {
    let directory = directory();
    let file = path(&directory.join("keys.db"));
    let at = ["--ledger", &file, "--format", "json"];
    let one = made(&run(&[&["keys", "create", "one"][..], &at].concat()));
    let same = made(&run(&[&["keys", "create", "tester"][..], &at].concat()));
    let provider = Provider::start(chat("ok"));
    let config = format!("{}[ledger]\npath = \"{file}\"\n", simple(&provider));
    let gateway = Gateway::start(&config);
    // Ready means that the keys are there.
    assert_eq!(ask(&gateway, &one).status, 200);
    // Of two keys of one name the config's counts, and that is said.
    assert_eq!(ask(&gateway, &same).status, 401);
    assert_eq!(gateway.chat("m").status, 200);
    assert!(gateway.stderr().contains("the name of one in the config"));
    let ran = keys(&gateway, "create", "tester", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    // A reload keeps them.
    gateway.reload(&format!("# again\n{config}"), "ok");
    assert_eq!(ask(&gateway, &one).status, 200);
    let config_path = path(&gateway.config_path());
    let listed = run(&["keys", "list", "-c", &config_path, "--format", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let told: Vec<_> = listed["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| ["name", "source", "state"].map(|member| key[member].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ["one", "runtime", "active"],
            ["tester", "config", "active"],
            ["tester", "runtime", "shadowed"],
        ]
    );
    let table = run(&["keys", "list", "--ledger", &file]).stdout;
    assert!(
        table.starts_with("NAME") && table.lines().count() == 3,
        "{table}"
    );
}

#[test]
fn the_keys_stay_while_the_file_is_broken_and_it_is_said_once() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let one = create(&gateway, "one", &[]);
    until(&gateway, &one, 200, "the key is let in");
    let file = gateway.directory.join("tollgate.db");
    let aside = gateway.directory.join("aside.db");
    fs::rename(&file, &aside).unwrap();
    let complaint = "runtime keys cannot be read";
    eventually("it is said", || {
        gateway.stderr().contains(complaint).then_some(())
    });
    assert_eq!(ask(&gateway, &one).status, 200);
    fs::rename(&aside, &file).unwrap();
    eventually("it is said", || {
        gateway.stderr().contains("can be read again").then_some(())
    });
    assert_eq!(gateway.stderr().matches(complaint).count(), 1);
    let ran = keys(&gateway, "revoke", "one", &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    until(&gateway, &one, 401, "the revoked key is refused");
}

/// No byte of a file in the directory is of that key; its files are named.
fn is_nowhere(directory: &Path, key: &str) {
    let secret = key.trim_start_matches("tg-").as_bytes();
    let mut databases = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = fs::read(&path) else { continue };
        let found = bytes.windows(secret.len()).any(|part| part == secret);
        assert!(!found, "the key is in {}", path.display());
        databases += usize::from(path.to_string_lossy().contains("tollgate.db"));
    }
    assert!(databases > 0, "there is no database");
}

#[test]
fn a_key_is_in_no_file_and_no_log() {
    let provider = Provider::start(chat("ok"));
    let gateway = with_token(&provider);
    let first = create(&gateway, "first", &[]);
    let second = made(&keys(&gateway, "rotate", "first", &["--format", "json"]));
    let third = admin(
        &gateway,
        "POST",
        "/keys",
        Some(r#"{"name":"third"}"#),
        Some(SECRET),
    );
    let third = third.json()["key"].as_str().expect("a key").to_owned();
    until(&gateway, &second, 200, "the key is let in");
    assert_eq!(ask(&gateway, &third).status, 200);
    assert_eq!(ask(&gateway, &first).status, 401);
    let shown = run(&[
        "keys",
        "list",
        "-c",
        &path(&gateway.config_path()),
        "--format",
        "json",
    ]);
    let all = admin(&gateway, "GET", "/keys", None, Some(SECRET)).text();
    for key in [&first, &second, &third] {
        is_nowhere(&gateway.directory, key);
        for text in [
            gateway.stdout(),
            gateway.stderr(),
            shown.stdout.clone(),
            all.clone(),
        ] {
            assert!(!text.contains(&**key), "{text}");
        }
    }
}

/// A gateway whose admin token is what the variable of its secret holds.
fn with_token(scripted: &Provider) -> Gateway {
    let rest = simple(scripted);
    Gateway::start_from(|address, admin| {
        format!(
            "[[listen]]\naddress = \"{address}\"\n[admin]\nlisten = \"{admin}\"\n\
             token = \"env:{SECRET_VARIABLE}\"\n{rest}"
        )
    })
}

fn admin(
    gateway: &Gateway,
    method: &str,
    path: &str,
    body: Option<&str>,
    token: Option<&str>,
) -> Response {
    let mut request = Request::new(method, path);
    if let Some(token) = token {
        request = request.key(token);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let mut client = Client::connect(gateway.admin).expect("the admin listener is there");
    client.call(&request).expect("the admin listener answers")
}

#[test]
fn the_admin_listener_makes_rotates_and_revokes_keys() {
    let provider = Provider::start(chat("ok"));
    let gateway = with_token(&provider);
    let call = |method: &str, path: &str, body: Option<&str>| {
        let answer = admin(&gateway, method, path, body, Some(SECRET));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        (answer.status, answer.json())
    };
    let (status, first) = call("POST", "/keys", Some(r#"{"name":"app","models":["m"]}"#));
    assert_eq!(status, 201, "{first}");
    let first = first["key"].as_str().unwrap();
    // No waiting: it is in force when the answer comes.
    assert_eq!(ask(&gateway, first).status, 200);
    let (status, second) = call("POST", "/keys/app/rotate", Some(r#"{"overlap":"1h"}"#));
    assert_eq!(status, 200, "{second}");
    let second = second["key"].as_str().unwrap();
    assert_eq!(
        (ask(&gateway, first).status, ask(&gateway, second).status),
        (200, 200)
    );
    let (status, all) = call("GET", "/keys", None);
    assert_eq!(status, 200);
    assert_eq!(all["keys"][0]["name"], "app");
    assert_eq!(call("POST", "/keys/app/revoke", Some("{}")).0, 200);
    assert_eq!(
        (ask(&gateway, first).status, ask(&gateway, second).status),
        (401, 401)
    );
    for (path, body, expected) in [
        ("/keys", "{\"name\":\"app\"}", 409),
        ("/keys", "{", 400),
        ("/keys/nobody/revoke", "{}", 404),
        ("/keys/app/rotate", "{}", 409),
    ] {
        let (status, told) = call("POST", path, Some(body));
        assert_eq!(status, expected, "{told}");
        assert!(told["error"]["message"].is_string(), "{told}");
    }
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(call("POST", "/keys", Some(&large)).0, 413);
}

#[test]
fn the_admin_token_is_needed_and_opens_nothing_else() {
    let provider = Provider::start(chat("ok"));
    let gateway = with_token(&provider);
    let order = Some(r#"{"name":"app"}"#);
    for token in [None, Some("tg-wrong"), Some(&SECRET[1..])] {
        let answer = admin(&gateway, "POST", "/keys", order, token);
        assert_eq!(
            (answer.status, answer.error("code")),
            (401, "invalid_admin_token".into())
        );
        assert_eq!(admin(&gateway, "GET", "/keys", None, token).status, 401);
    }
    assert_eq!(ask(&gateway, SECRET).status, 401, "it is no client's key");
    let gets = admin(&gateway, "GET", "/keys/app/revoke", None, Some(SECRET));
    assert_eq!(gets.status, 405);
    let rebound = Request::post("/keys")
        .key(SECRET)
        .header("host", "evil.test")
        .json("{}");
    let answer = Client::connect(gateway.admin)
        .unwrap()
        .call(&rebound)
        .unwrap();
    assert!([400, 421].contains(&answer.status), "{}", answer.status);
    let all = admin(&gateway, "GET", "/keys", None, Some(SECRET));
    assert!(!all.text().contains("runtime"), "{}", all.text());

    let without = Gateway::start(&simple(&provider));
    for (method, body) in [("GET", None), ("POST", order)] {
        let answer = admin(&without, method, "/keys", body, Some(SECRET));
        assert_eq!(
            (answer.status, answer.error("code")),
            (403, "no_admin_token".into())
        );
        assert!(answer.text().contains("[admin] token"), "{}", answer.text());
    }
}
