//! Access keys of AWS: every source, and signatures that botocore finds right on the request as it arrived.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::client::Request as Asked;
use crate::gateway::{Gateway, KEY, directory, model, own_key, provider, stream_request};
use crate::provider::{Provider, Request, Script, Wire, chat, status};
use crate::sdk::{prepared, sources};
use crate::tool::{path, run};
use crate::wait::eventually;

const SECRET: &str = "canary-secret-access-key/7aa41e0b";
const TOKEN: &str = "canary-session-token/0d5e21f7c9==";
const MODEL: &str = "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0";

/// Converse, whole: whoever streams is told by another test.
fn converse() -> Script {
    let body = json!({
        "output": {"message": {"role": "assistant", "content": [{"text": "signed"}]}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1}
    });
    status(200, &[], &body.to_string())
}

fn refusal() -> Script {
    let text = format!("The token {TOKEN} included in the request is invalid");
    let kind = "x-amzn-errortype: UnrecognizedClientException";
    status(403, &[kind], &json!({"message": text}).to_string())
}

/// A provider `main` behind a path and a port, with lines of its own before its `aws` table.
fn bedrock(provider: &Provider, lines: &str, aws: &str) -> String {
    let address = provider.address;
    format!(
        "[providers.main]\ndialect = \"bedrock\"\nbase_url = \"http://{address}/edge/proxy\"\n{lines}\n[providers.main.aws]\n{aws}\n{}{}",
        model("m", &[&MODEL.replace("bedrock/", "main/")]),
        own_key(),
    )
}

const REGION: &str = "options = { region = \"eu-central-1\" }";

/// botocore signs what arrived; both must agree.
fn judge(request: &Request, key: &str, token: Option<&str>) {
    let head = String::from_utf8_lossy(&request.head).into_owned();
    let lines = head
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    let headers: serde_json::Map<String, serde_json::Value> = lines
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let came = json!({
        "method": request.method(), "headers": headers,
        "url": format!("http://{}{}", request.header("host").unwrap(), request.path()),
        "body": String::from_utf8(request.body.clone()).unwrap(),
        "access_key": key, "secret_key": SECRET, "token": token, "region": "eu-central-1",
    });
    let python = prepared("TOLLGATE_TEST_VENV").join("bin/python");
    let script = path(&sources().join("python/sigv4.py"));
    let ran = run(
        &path(&python),
        &["-B", &script],
        came.to_string().as_bytes(),
    );
    assert!(ran.success, "{}{}\n{came:#}", ran.stdout, ran.stderr);
}

/// The access key's id that a request was signed with.
fn key_id(request: &Request) -> String {
    let authorization = request.header("authorization").expect("a signature");
    let (_, rest) = authorization
        .split_once("Credential=")
        .expect("a credential");
    rest.split('/').next().unwrap_or_default().to_owned()
}

fn seconds_from_now(seconds: u64) -> String {
    let time = SystemTime::now() + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

fn keys(id: &str, life: u64) -> String {
    json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": seconds_from_now(0), "AccessKeyId": id,
        "SecretAccessKey": SECRET, "Token": TOKEN, "Expiration": seconds_from_now(life)
    })
    .to_string()
}

fn text(wire: &mut Wire, body: &str) -> std::io::Result<()> {
    wire.answer(200, &["content-type: text/plain"], body.as_bytes())
}

/// An instance metadata service whose role has these keys, made anew for each fetch.
fn instance(keys: impl Fn(u64) -> Script + Send + Sync + 'static) -> Provider {
    let fetched = AtomicU64::new(0);
    Provider::start(Arc::new(move |request, wire| {
        let session = request.header("x-aws-ec2-metadata-token");
        match (request.method().as_str(), request.path().as_str()) {
            ("PUT", "/latest/api/token") => {
                let life = request.header("x-aws-ec2-metadata-token-ttl-seconds");
                assert!(life.is_some_and(|life| life.parse::<u32>().is_ok()));
                assert_eq!(request.header("content-length").as_deref(), Some("0"));
                text(wire, "canary-imds-session==")
            }
            ("GET", _) if session.as_deref() != Some("canary-imds-session==") => {
                wire.answer(401, &[], b"")
            }
            ("GET", "/latest/meta-data/iam/security-credentials/") => text(wire, "gateway-role"),
            ("GET", "/latest/meta-data/iam/security-credentials/gateway-role") => {
                keys(fetched.fetch_add(1, Ordering::SeqCst))(request, wire)
            }
            _ => wire.answer(404, &[], b""),
        }
    }))
}

/// How often the role's keys were fetched.
fn fetches(instance: &Provider) -> usize {
    let role = |request: &&Request| request.path().ends_with("/gateway-role");
    instance.requests().iter().filter(role).count()
}

fn from_instance(instance: &Provider) -> String {
    format!(
        "source = \"instance\"\nendpoint = \"http://{}\"",
        instance.address
    )
}

fn no_secret_in(gateway: &Gateway) {
    let said = gateway.stdout() + &gateway.stderr() + &gateway.admin("/config").text();
    assert!(
        !said.contains("canary-s") && !said.contains("canary-imds"),
        "{said}"
    );
}

#[test]
fn static_keys_sign_every_attempt_as_it_is_sent() {
    let files = directory();
    for (name, text) in [("id", "AKIASTATIC"), ("secret", SECRET), ("token", TOKEN)] {
        fs::write(files.join(name), text).unwrap();
    }
    let reference = |name: &str| format!("\"file:{}\"", path(&files.join(name)));
    let (first, second) = (
        Provider::start(status(500, &[], "{}")),
        Provider::start(converse()),
    );
    let urls = format!(
        "[{{ url = \"http://{}/a\" }}, {{ url = \"http://{}/b%20c\" }}]",
        first.address, second.address
    );
    for token in [None, Some(TOKEN)] {
        let session = token.map(|_| format!("session_token = {}\n", reference("token")));
        let config = format!(
            "[providers.main]\ndialect = \"bedrock\"\nbase_urls = {urls}\n{REGION}\n\
             headers = {{ x-amz-custom = \"a   b\", x-plain = \"c\" }}\n\
             [providers.main.aws]\nsource = \"static\"\naccess_key_id = {}\nsecret_access_key = {}\n{}{}{}",
            reference("id"),
            reference("secret"),
            session.unwrap_or_default(),
            model("m", &[&MODEL.replace("bedrock/", "main/")]),
            own_key(),
        );
        let gateway = Gateway::start(&config);
        eventually("both addresses were tried for one request", || {
            first.forget();
            second.forget();
            assert_eq!(gateway.chat("m").content(), "signed");
            (first.count() == 1 && second.count() == 1).then_some(())
        });
        for (provider, at) in [(&first, "/a/model/"), (&second, "/b%20c/model/")] {
            let request = provider.take_one();
            assert_eq!(
                request.path(),
                format!("{at}us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse")
            );
            judge(&request, "AKIASTATIC", token);
        }
        no_secret_in(&gateway);
    }
}

#[test]
fn a_stream_and_text_beyond_ascii_are_signed_too() {
    let main = Provider::start(converse());
    let aws = [
        ("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", TOKEN),
    ];
    let config = bedrock(&main, REGION, "source = \"environment\"");
    let gateway = Gateway::start_in(&aws, &config);
    gateway.call(&stream_request("m"));
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": "grüße 🦀 \u{0} \"x\""}]});
    let asked = Asked::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string());
    assert_eq!(gateway.call(&asked).content(), "signed");
    let requests = main.requests();
    assert!(requests[0].path().ends_with("/converse-stream"));
    assert!(requests.len() >= 2);
    for request in &requests {
        judge(request, "AKIAENVIRONMENT", Some(TOKEN));
    }
    // Without a session token in the environment, none is sent.
    let gateway = Gateway::start_in(&aws[..2], &config);
    main.forget();
    gateway.chat("m");
    judge(&main.take_one(), "AKIAENVIRONMENT", None);
    no_secret_in(&gateway);
}

#[test]
fn the_roles_keys_of_an_instance_are_fetched_once_for_all() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let gated: Script = Arc::new(move |_, wire| {
        let _ = gate.lock().unwrap().recv();
        text(wire, &keys("ASIAINSTANCE", 3600))
    });
    let imds = instance(move |_| Arc::clone(&gated));
    let main = Provider::start(converse());
    let gateway = Gateway::start(&bedrock(&main, REGION, &from_instance(&imds)));
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| gateway.chat("m"))).collect();
        eventually("all wait for the keys", || {
            (gateway.metric("tollgate_in_flight_requests", &[]) == 20.0).then_some(())
        });
        assert_eq!(main.count(), 0);
        open.send(()).unwrap();
        for asked in asking {
            assert_eq!(asked.join().unwrap().content(), "signed");
        }
    });
    assert_eq!(fetches(&imds), 1);
    judge(&main.requests()[0], "ASIAINSTANCE", Some(TOKEN));
    // A reload that does not touch the credential keeps it.
    let more = "[models.other]\ntargets = [\"main/x\"]\n";
    gateway.reload(
        &(bedrock(&main, REGION, &from_instance(&imds)) + more),
        "ok",
    );
    assert_eq!(gateway.chat("other").content(), "signed");
    assert_eq!(fetches(&imds), 1);
    no_secret_in(&gateway);
}

#[test]
fn keys_are_renewed_before_their_end_and_kept_while_that_fails() {
    // Both ends are so near that the keys are due at once.
    let failing = Arc::new(Mutex::new(false));
    let fails = Arc::clone(&failing);
    let imds = instance(move |number| match *fails.lock().unwrap() {
        true => status(500, &[], "canary-secret"),
        false => Arc::new(move |_, wire| text(wire, &keys(&format!("ASIA{number}"), 300))),
    });
    let main = Provider::start(converse());
    let gateway = Gateway::start(&bedrock(&main, REGION, &from_instance(&imds)));
    let used = || {
        main.forget();
        assert_eq!(gateway.chat("m").content(), "signed");
        key_id(&main.take_one())
    };
    let first = used();
    eventually("a renewal in the background", || {
        (used() != first).then_some(())
    });
    *failing.lock().unwrap() = true;
    eventually("a renewal that fails", || {
        gateway
            .stderr()
            .contains("credential not fetched")
            .then_some(())
    });
    let (kept, fetched) = (used(), fetches(&imds));
    assert_eq!(used(), kept);
    *failing.lock().unwrap() = false;
    eventually("a renewal after the failure", || {
        (used() != kept).then_some(())
    });
    assert!(fetches(&imds) > fetched);
    assert_eq!(gateway.metric("tollgate_provider_alarms_total", &[]), 0.0);
    no_secret_in(&gateway);
}

#[test]
fn a_containers_endpoint_is_asked_with_its_rotated_token() {
    let files = directory();
    let token = files.join("token");
    fs::write(&token, "first-pass\n").unwrap();
    let agent = Provider::start(Arc::new(|request, wire| {
        assert_eq!(
            (request.method().as_str(), request.path().as_str()),
            ("GET", "/v1/credentials?a=b")
        );
        let pass = request.header("authorization").unwrap_or_default();
        text(wire, &keys(&format!("ASIA-{pass}"), 3600))
    }));
    let main = Provider::start(converse());
    let full = format!("http://{}/v1/credentials?a=b", agent.address);
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &path(&token)),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this one"),
    ];
    let config = bedrock(&main, REGION, "source = \"container\"");
    let gateway = Gateway::start_in(&environment, &config);
    assert_eq!(gateway.chat("m").content(), "signed");
    judge(&main.take_one(), "ASIA-first-pass", Some(TOKEN));

    // Refused keys are given up: the next request fetches anew, with the token as it is now.
    fs::write(&token, "second-pass").unwrap();
    main.become_script(refusal());
    let refused = gateway.chat("m");
    assert_eq!(refused.status, 502);
    assert_eq!(refused.json()["error"]["code"], "upstream_auth");
    assert!(!refused.text().contains("canary"));
    main.become_script(converse());
    main.forget();
    assert_eq!(gateway.chat("m").content(), "signed");
    judge(&main.take_one(), "ASIA-second-pass", Some(TOKEN));
    assert_eq!(agent.count(), 2);
    no_secret_in(&gateway);

    // The other variable, for an agent that wants a fixed text.
    let gateway = Gateway::start_in(
        &[
            environment[0],
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "fixed"),
        ],
        &config,
    );
    main.forget();
    gateway.chat("m");
    judge(&main.take_one(), "ASIA-fixed", Some(TOKEN));
}

#[test]
fn a_source_that_fails_is_failed_over_and_told() {
    let imds = Provider::refusing();
    let (main, other) = (
        Provider::start(converse()),
        Provider::start(chat("from the other")),
    );
    let config = [
        bedrock(&main, REGION, &from_instance(&imds)),
        provider("other", &other),
        model("both", &["main/x", "other/y"]),
    ];
    let gateway = Gateway::start(&config.concat());
    assert_eq!(gateway.chat("both").content(), "from the other");
    let alone = gateway.chat("m");
    assert_eq!(alone.status, 502);
    let error = &alone.json()["error"];
    assert_eq!(
        (error["type"].as_str(), error["code"].as_str()),
        (Some("api_error"), Some("upstream_auth"))
    );
    assert!(
        !alone.text().contains(&imds.address.to_string()),
        "{}",
        alone.text()
    );
    assert_eq!(main.count(), 0);
    let failures = [("provider", "main")];
    assert_eq!(
        gateway.metric("tollgate_provider_alarms_total", &failures),
        2.0
    );
    eventually("the log says what cannot be reached", || {
        let log = gateway.stderr();
        let line = log
            .lines()
            .find(|line| line.contains("credential not fetched"))?;
        (line.contains(&imds.address.to_string()) && line.contains("main")).then_some(())
    });
    // What is refused again and again is not fetched each time.
    let imds = instance(|_| Arc::new(|_, wire| text(wire, &keys("ASIA", 3600))));
    main.become_script(refusal());
    let gateway = Gateway::start(&bedrock(&main, REGION, &from_instance(&imds)));
    for _ in 0..10 {
        assert_eq!(gateway.chat("m").status, 502);
    }
    assert!(fetches(&imds) <= 3, "{} fetches", fetches(&imds));
}

#[test]
fn keys_are_rotated_by_a_reload() {
    let files = directory();
    let (id, secret) = (files.join("id"), files.join("secret"));
    fs::write(&id, "AKIAOLD").unwrap();
    fs::write(&secret, "old").unwrap();
    let aws = format!(
        "source = \"static\"\naccess_key_id = \"file:{}\"\nsecret_access_key = \"file:{}\"",
        path(&id),
        path(&secret)
    );
    let main = Provider::start(converse());
    let config = bedrock(&main, REGION, &aws);
    let gateway = Gateway::start(&config);
    gateway.chat("m");
    assert_eq!(key_id(&main.take_one()), "AKIAOLD");
    fs::write(&id, "AKIANEW").unwrap();
    fs::write(&secret, SECRET).unwrap();
    gateway.reload(&config, "ok");
    gateway.chat("m");
    judge(&main.take_one(), "AKIANEW", None);
}

#[test]
fn an_api_key_is_still_a_bearer() {
    let main = Provider::start(converse());
    let files = directory();
    fs::write(files.join("key"), "bedrock-api-key").unwrap();
    let config = format!(
        "[providers.main]\ndialect = \"bedrock\"\nbase_url = \"http://{}\"\ncredential = \"file:{}\"\n{}{}",
        main.address,
        path(&files.join("key")),
        model("m", &["main/x"]),
        own_key(),
    );
    let gateway = Gateway::start(&config);
    assert_eq!(gateway.chat("m").content(), "signed");
    let request = main.take_one();
    assert_eq!(
        request.header("authorization").as_deref(),
        Some("Bearer bedrock-api-key")
    );
    assert_eq!(request.header("x-amz-date"), None);
}
