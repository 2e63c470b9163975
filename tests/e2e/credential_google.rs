//! Access tokens of Google: from an assertion that openssl finds right, from a refresh token, and from the metadata
//! server.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::gateway::{Gateway, directory, model, own_key, provider};
use crate::provider::{Provider, Request, Script, chat, silence, status};
use crate::tool::{path, run};
use crate::wait::eventually;

fn generate() -> Script {
    let body = json!({
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "authorized"}]}, "finishReason": "STOP"}],
        "modelVersion": "gemini", "responseId": "r", "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    });
    status(200, &[], &body.to_string())
}

/// Tokens `canary-token-0`, `canary-token-1`, ... that live for so many seconds.
fn tokens(life: u64) -> Script {
    let given = AtomicU64::new(0);
    Arc::new(move |_, wire| {
        let number = given.fetch_add(1, Ordering::SeqCst);
        let body = json!({"access_token": format!("canary-token-{number}"), "expires_in": life, "token_type": "Bearer"});
        wire.answer(
            200,
            &["content-type: application/json"],
            body.to_string().as_bytes(),
        )
    })
}

/// A provider `main` with one alias, and lines of its `google` table.
fn vertex(provider: &Provider, google: &str) -> String {
    format!(
        "[providers.main]\ndialect = \"vertex\"\nbase_url = \"http://{}/v1\"\noptions = {{ project = \"p\", location = \"l\" }}\n\
         [providers.main.google]\n{google}\n{}{}",
        provider.address,
        model("m", &["main/gemini"]),
        own_key(),
    )
}

fn from_metadata(server: &Provider) -> String {
    format!(
        "source = \"metadata\"\nendpoint = \"http://{}\"",
        server.address
    )
}

fn from_json(file: &Path, endpoint: &Provider) -> String {
    let file = path(file);
    format!(
        "source = \"json\"\njson = \"file:{file}\"\nendpoint = \"http://{}/token\"",
        endpoint.address
    )
}

fn user(directory: &Path, refresh_token: &str) -> std::path::PathBuf {
    let file = directory.join("user.json");
    let json = json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "canary-client", "refresh_token": refresh_token,
        "quota_project_id": "billed", "universe_domain": "googleapis.com", "account": ""
    });
    fs::write(&file, serde_json::to_string_pretty(&json).unwrap()).unwrap();
    file
}

fn token_of(request: &Request) -> String {
    request.header("authorization").unwrap_or_default()
}

/// The fields of a form. Nothing in these tests is percent-encoded but `:` and `/`.
fn form(request: &Request) -> Vec<(String, String)> {
    let kind = request.header("content-type");
    assert_eq!(kind.as_deref(), Some("application/x-www-form-urlencoded"));
    let text = String::from_utf8(request.body.clone()).unwrap();
    let text = text.replace("%3A", ":").replace("%2F", "/");
    let fields = text.split('&').map(|field| field.split_once('=').unwrap());
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn no_secret_in(gateway: &Gateway) {
    let said = gateway.stdout() + &gateway.stderr() + &gateway.admin("/config").text();
    assert!(
        !said.contains("canary") && !said.contains("PRIVATE"),
        "{said}"
    );
}

#[test]
fn a_service_account_signs_for_its_token() {
    let files = directory();
    let at = |name: &str| path(&files.join(name));
    let made = run(
        "openssl",
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            &at("key.pem"),
        ],
        b"",
    );
    assert!(made.success, "{}", made.stderr);
    assert!(
        run(
            "openssl",
            &[
                "rsa",
                "-in",
                &at("key.pem"),
                "-pubout",
                "-out",
                &at("public.pem")
            ],
            b""
        )
        .success
    );
    let account = json!({
        "type": "service_account", "project_id": "p", "private_key_id": "kid-1", "client_id": "1",
        "private_key": fs::read_to_string(files.join("key.pem")).unwrap(),
        "client_email": "gateway@p.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
    });
    let file = files.join("account.json");
    fs::write(&file, serde_json::to_string_pretty(&account).unwrap()).unwrap();
    let (main, endpoint) = (Provider::start(generate()), Provider::start(tokens(3600)));
    let gateway = Gateway::start(&vertex(&main, &from_json(&file, &endpoint)));
    for _ in 0..3 {
        assert_eq!(gateway.chat("m").content(), "authorized");
    }
    let asked = endpoint.take_one();
    assert_eq!(
        (asked.method(), asked.path()),
        ("POST".to_owned(), "/token".to_owned())
    );
    let fields = form(&asked);
    assert_eq!(fields[0].1, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (input, signature) = fields[1].1.rsplit_once('.').unwrap();
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    fs::write(files.join("signature"), decoded(signature)).unwrap();
    let verified = run(
        "openssl",
        &[
            "dgst",
            "-sha256",
            "-verify",
            &at("public.pem"),
            "-signature",
            &at("signature"),
        ],
        input.as_bytes(),
    );
    assert!(verified.success, "{}{}", verified.stdout, verified.stderr);
    let claims = input.split('.').next_back().map(decoded).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    // The audience is Google's, wherever the request for a token goes.
    assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        3600
    );
    for request in main.requests() {
        assert_eq!(token_of(&request), "Bearer canary-token-0");
        assert_eq!(request.header("x-goog-user-project"), None);
        assert_eq!(
            request.path(),
            "/v1/projects/p/locations/l/publishers/google/models/gemini:generateContent"
        );
    }
    no_secret_in(&gateway);
}

#[test]
fn a_users_credential_names_who_is_billed_and_is_rotated_by_a_reload() {
    let files = directory();
    let (main, endpoint) = (Provider::start(generate()), Provider::start(tokens(3600)));
    let config = vertex(&main, &from_json(&user(&files, "canary-1"), &endpoint));
    let gateway = Gateway::start(&config);
    gateway.chat("m");
    let request = main.take_one();
    assert_eq!(token_of(&request), "Bearer canary-token-0");
    assert_eq!(
        request.header("x-goog-user-project").as_deref(),
        Some("billed")
    );
    let fields = form(&endpoint.take_one());
    let value = |name: &str| {
        fields
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.clone())
    };
    assert_eq!(value("grant_type").as_deref(), Some("refresh_token"));
    assert_eq!(value("client_secret").as_deref(), Some("canary-client"));
    assert_eq!(value("refresh_token").as_deref(), Some("canary-1"));

    // The same file again: the token stays. Another one: it is fetched anew.
    gateway.reload(&format!("# again\n{config}"), "ok");
    gateway.chat("m");
    assert_eq!(
        (token_of(&main.take_one()).as_str(), endpoint.count()),
        ("Bearer canary-token-0", 0)
    );
    user(&files, "canary-2");
    gateway.reload(&config, "ok");
    gateway.chat("m");
    assert_eq!(token_of(&main.take_one()), "Bearer canary-token-1");
    assert!(
        form(&endpoint.take_one())
            .iter()
            .any(|(_, value)| value == "canary-2")
    );
    no_secret_in(&gateway);
}

#[test]
fn the_metadata_server_is_asked_once_for_all() {
    let (open, gate) = mpsc::channel::<()>();
    let (gate, give) = (Mutex::new(gate), tokens(3600));
    let metadata = Provider::start(Arc::new(move |request, wire| {
        assert_eq!(request.header("metadata-flavor").as_deref(), Some("Google"));
        assert_eq!(
            (request.method().as_str(), request.path().as_str()),
            (
                "GET",
                "/computeMetadata/v1/instance/service-accounts/default/token"
            )
        );
        let _ = gate.lock().unwrap().recv();
        give(request, wire)
    }));
    let main = Provider::start(generate());
    let gateway = Gateway::start(&vertex(&main, &from_metadata(&metadata)));
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| gateway.chat("m"))).collect();
        eventually("all wait for the token", || {
            (gateway.metric("tollgate_in_flight_requests", &[]) == 20.0).then_some(())
        });
        open.send(()).unwrap();
        for asked in asking {
            assert_eq!(asked.join().unwrap().content(), "authorized");
        }
    });
    assert_eq!((metadata.count(), main.count()), (1, 20));
    no_secret_in(&gateway);
}

#[test]
fn a_token_that_has_ended_is_not_sent() {
    // It serves whoever waited for it, and nobody after.
    let (main, metadata) = (Provider::start(generate()), Provider::start(tokens(0)));
    let gateway = Gateway::start(&vertex(&main, &from_metadata(&metadata)));
    for _ in 0..4 {
        assert_eq!(gateway.chat("m").content(), "authorized");
    }
    let mut sent: Vec<String> = main.requests().iter().map(token_of).collect();
    sent.dedup();
    assert_eq!(sent.len(), 4, "{sent:?}");
}

#[test]
fn a_token_is_renewed_in_the_background_and_kept_while_that_fails() {
    let (main, metadata) = (Provider::start(generate()), Provider::start(tokens(120)));
    let gateway = Gateway::start(&vertex(&main, &from_metadata(&metadata)));
    let used = || {
        main.forget();
        assert_eq!(gateway.chat("m").content(), "authorized");
        token_of(&main.take_one())
    };
    let first = used();
    eventually("a renewal", || (used() != first).then_some(()));
    metadata.become_script(status(503, &[], "canary"));
    eventually("a renewal that fails", || {
        gateway
            .stderr()
            .contains("credential not fetched")
            .then_some(())
    });
    let kept = used();
    assert_eq!(used(), kept);
    metadata.become_script(silence());
    assert_eq!(used(), kept);
    no_secret_in(&gateway);
}

#[test]
fn a_refused_token_is_given_up() {
    let (main, metadata) = (Provider::start(generate()), Provider::start(tokens(3600)));
    let gateway = Gateway::start(&vertex(&main, &from_metadata(&metadata)));
    gateway.chat("m");
    let refusal = json!({"error": {"code": 401, "message": "canary-token-0 is no token", "status": "UNAUTHENTICATED"}});
    main.become_script(status(401, &[], &refusal.to_string()));
    let refused = gateway.chat("m");
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].as_str()),
        (502, Some("upstream_auth"))
    );
    assert!(!refused.text().contains("canary"));
    main.become_script(generate());
    main.forget();
    assert_eq!(gateway.chat("m").content(), "authorized");
    assert_eq!(token_of(&main.take_one()), "Bearer canary-token-1");
    assert_eq!(
        gateway.metric("tollgate_provider_alarms_total", &[("provider", "main")]),
        1.0
    );
    // A provider that quotes a token of ours, this one or the one before, is not quoted.
    let quoting = json!({"error": {"code": 400, "message": "canary-token-1 canary-token-0 bad", "status": "INVALID_ARGUMENT"}});
    main.become_script(status(400, &[], &quoting.to_string()));
    let told = gateway.chat("m");
    assert_eq!(told.status, 400);
    assert!(
        told.text().contains("[redacted] [redacted] bad"),
        "{}",
        told.text()
    );
    no_secret_in(&gateway);
}

#[test]
fn an_endpoint_that_refuses_is_failed_over_and_told() {
    let files = directory();
    let refusal = json!({"error": "invalid_grant", "error_description": "canary"}).to_string();
    let (main, other) = (
        Provider::start(generate()),
        Provider::start(chat("from the other")),
    );
    let endpoint = Provider::start(status(400, &[], &refusal));
    let config = [
        vertex(&main, &from_json(&user(&files, "canary-1"), &endpoint)),
        provider("other", &other),
        model("both", &["main/x", "other/y"]),
    ];
    let gateway = Gateway::start(&config.concat());
    assert_eq!(gateway.chat("both").content(), "from the other");
    let alone = gateway.chat("m");
    assert_eq!(
        (alone.status, alone.json()["error"]["code"].as_str()),
        (502, Some("upstream_auth"))
    );
    assert_eq!(main.count(), 0);
    assert_eq!(
        gateway.metric("tollgate_provider_alarms_total", &[("provider", "main")]),
        2.0
    );
    eventually("the log says why", || {
        gateway
            .stderr()
            .contains("status 400: invalid_grant")
            .then_some(())
    });
    no_secret_in(&gateway);
}

#[test]
fn waiting_for_a_token_counts_against_the_requests_time() {
    let (main, metadata) = (Provider::start(generate()), Provider::start(silence()));
    let config = vertex(&main, &from_metadata(&metadata)) + "[times]\nrequest = \"700ms\"\n";
    let gateway = Gateway::start(&config);
    let late = gateway.chat("m");
    assert_eq!(
        (late.status, late.json()["error"]["code"].as_str()),
        (504, Some("timeout"))
    );
    assert_eq!(main.count(), 0);
}
