//! HTTP/1.1, HTTP/2 and TLS, through clients that we did not write: curl, h2load, openssl.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::client::Request;
use crate::gateway::{
    Directory, Gateway, KEY, SECRET, SECRET_VARIABLE, chat_body, free_port, model, own_key, simple,
    stream_body,
};
use crate::provider::{Provider, chat, delta, fail, silence, stream};
use crate::tool::{self, Curled, certificate, path, served_subject};
use crate::wait::eventually;

const JSON: &str = "content-type: application/json";

/// A gateway with a plain listener and one with TLS, whose address comes second.
struct Secure {
    gateway: Gateway,
    address: String,
    certificate: String,
    key: String,
    _directory: Directory,
}

fn secure(scripted: &Provider) -> Secure {
    secure_as("DNS:localhost,IP:127.0.0.1", scripted, "")
}

/// The same with a certificate for other names and with further stanzas.
fn secure_as(names: &str, scripted: &Provider, rest: &str) -> Secure {
    let directory = crate::gateway::directory();
    let (certificate, key) = certificate(&directory, "first", names);
    let (certificate, key) = (path(&certificate), path(&key));
    let address = format!("127.0.0.1:{}", free_port());
    let listener = format!(
        "[[listen]]\naddress = \"{address}\"\nhttp2 = true\ntls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n"
    );
    let gateway = Gateway::start(&format!("{listener}{}{rest}", simple(scripted)));
    Secure {
        gateway,
        address,
        certificate,
        key,
        _directory: directory,
    }
}

fn post(url: &str, more: &[&str], body: &str) -> Curled {
    let key = format!("authorization: Bearer {KEY}");
    let mut arguments = vec!["-H", &key, "-H", JSON, "--data-binary", "@-", url];
    arguments.extend(more);
    tool::curl(&arguments, body.as_bytes())
}

#[test]
fn curl_chats_over_every_version_on_one_port() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let url = format!("http://{}/v1/chat/completions", gateway.address);
    for (option, version) in [
        ("--http1.1", "1.1"),
        ("--http2-prior-knowledge", "2"),
        ("--http1.0", "1."),
    ] {
        let answer = post(&url, &[option], &chat_body("m"));
        assert_eq!(answer.status, 200, "{option}: {}", answer.body);
        assert!(
            answer.version.starts_with(version),
            "{option}: {}",
            answer.version
        );
        assert!(answer.head.contains("x-request-id"), "{}", answer.head);
    }
    // An upgrade that is offered is declined, and the request answered all the same.
    assert_eq!(post(&url, &["--http2"], &chat_body("m")).version, "1.1");
}

#[test]
fn curl_chats_over_tls_with_both_versions() {
    let provider = Provider::start(chat("ok"));
    let secure = secure(&provider);
    let url = format!("https://{}/v1/chat/completions", secure.address);
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let answer = post(
            &url,
            &[option, "--cacert", &secure.certificate],
            &chat_body("m"),
        );
        assert_eq!(
            (answer.status, answer.version.as_str()),
            (200, version),
            "{}",
            answer.body
        );
    }
    let old = tool::run(
        "curl",
        &[
            "-sS",
            "--tls-max",
            "1.1",
            "--cacert",
            &secure.certificate,
            &url,
        ],
        b"",
    );
    assert!(!old.success, "TLS 1.1 is spoken");
}

#[test]
fn http2_can_be_switched_off() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start_with("http2 = false", &simple(&provider));
    let url = format!("http://{}/v1/chat/completions", gateway.address);
    assert_eq!(post(&url, &["--http1.1"], &chat_body("m")).status, 200);
    let ran = tool::run(
        "curl",
        &["-sS", "--max-time", "20", "--http2-prior-knowledge", &url],
        b"",
    );
    assert!(!ran.success, "HTTP/2 is spoken: {}", ran.stdout);
}

#[test]
fn streams_and_errors_are_the_same_over_http2() {
    let provider = Provider::start(stream(vec![delta("a"), delta("b")]));
    let secure = secure(&provider);
    let url = format!("https://{}/v1/chat/completions", secure.address);
    let options = ["--http2", "--cacert", &secure.certificate];
    let answer = post(&url, &options, &stream_body("m"));
    let expected = format!(
        "data: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
        delta("a"),
        delta("b")
    );
    assert_eq!(
        (answer.status, answer.version.as_str(), answer.body),
        (200, "2", expected)
    );
    assert!(
        !answer.head.contains("transfer-encoding") && !answer.head.contains("connection:"),
        "{}",
        answer.head
    );
    provider.become_script(fail(500));
    assert_eq!(post(&url, &options, &stream_body("m")).status, 502);
    assert_eq!(post(&url, &options, "{").status, 400);
    let refused = tool::curl(&[&options[..], &[&url]].concat(), b"");
    assert_eq!(refused.status, 405);
    assert!(
        refused.head.to_lowercase().contains("allow: post"),
        "{}",
        refused.head
    );
}

#[test]
fn a_new_certificate_is_served_after_a_reload_and_a_bad_one_never() {
    let provider = Provider::start(chat("ok"));
    let secure = secure(&provider);
    let gateway = &secure.gateway;
    assert!(served_subject(&secure.address).contains("first"));
    let (next, next_key) = certificate(&gateway.directory, "second", "DNS:localhost,IP:127.0.0.1");
    // A certificate without its key, as between the two steps of a renewal: the old pair stays.
    fs::copy(&next, &secure.certificate).unwrap();
    let failed = gateway.reloads("error");
    gateway.signal("HUP");
    eventually("the pair that does not match is refused", || {
        (gateway.reloads("error") > failed).then_some(())
    });
    assert!(served_subject(&secure.address).contains("first"));
    fs::copy(&next_key, &secure.key).unwrap();
    gateway.signal("HUP");
    eventually("the new certificate is served", || {
        served_subject(&secure.address)
            .contains("second")
            .then_some(())
    });
    fs::write(&secure.certificate, "garbage").unwrap();
    let failed = gateway.reloads("error");
    gateway.signal("HUP");
    eventually("garbage is refused", || {
        (gateway.reloads("error") > failed).then_some(())
    });
    assert!(served_subject(&secure.address).contains("second"));
}

#[test]
fn an_http2_client_that_leaves_cancels_the_provider() {
    let provider = Provider::start(Arc::new(|request, wire| {
        wire.stream_head()?;
        wire.event(&delta("first"))?;
        silence()(request, wire)
    }));
    let gateway = Gateway::start(&simple(&provider));
    let (url, key) = (
        format!("http://{}/v1/chat/completions", gateway.address),
        format!("authorization: Bearer {KEY}"),
    );
    let body = stream_body("m");
    let mut curl = Command::new("curl")
        .args([
            "-sSN",
            "--http2-prior-knowledge",
            "-H",
            &key,
            "-H",
            JSON,
            "-d",
            &body,
            &url,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl does not start");
    let mut first = [0; 5];
    curl.stdout
        .as_mut()
        .expect("stdout is piped")
        .read_exact(&mut first)
        .expect("curl received nothing");
    assert_eq!(&first, b"data:");
    curl.kill().unwrap();
    curl.wait().unwrap();
    eventually("the provider is left", || {
        (provider.closed() == 1).then_some(())
    });
}

fn h2load(directory: &Path, url: &str, more: &[&str]) {
    let body = directory.join("body.json");
    fs::write(&body, chat_body("m")).unwrap();
    let (body, key) = (path(&body), format!("authorization: Bearer {KEY}"));
    let mut arguments = vec!["-n", "2000", "-c", "4", "-d", &body, "-H", &key, "-H", JSON];
    arguments.extend(more);
    arguments.push(url);
    let ran = tool::run("h2load", &arguments, b"");
    assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
    let all = "requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(ran.stdout.contains(all), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("status codes: 2000 2xx"),
        "{}",
        ran.stdout
    );
}

#[test]
fn h2load_has_no_failed_request() {
    let provider = Provider::start(chat("ok"));
    let secure = secure(&provider);
    let directory = &secure.gateway.directory;
    let plain = format!("http://{}/v1/chat/completions", secure.gateway.address);
    let tls = format!("https://{}/v1/chat/completions", secure.address);
    h2load(directory, &plain, &["-m", "20"]);
    h2load(directory, &plain, &["--h1"]);
    h2load(directory, &tls, &["-m", "20"]);
    assert_eq!(provider.count(), 6000);
}

/// A gateway whose only provider is another gateway, so that our own servers try our own clients.
fn before(url: &str, http: &str, rest: &str) -> Gateway {
    let provider = format!(
        "[providers.inner]\ndialect = \"openai\"\nbase_url = \"{url}/v1\"\nhttp = \"{http}\"\n\
         credential = \"env:{SECRET_VARIABLE}\"\n{rest}\n"
    );
    Gateway::start(&[provider, model("outer", &["inner/m"]), own_key()].concat())
}

/// Chats through both gateways, with bodies that are larger than any buffer and with a stream.
fn chats_through(outer: &Gateway, provider: &Provider) {
    for size in [1, 64 * 1024, 1024 * 1024] {
        provider.become_script(chat("inner"));
        provider.forget();
        let text = "x".repeat(size);
        let body = format!(
            "{{\"model\":\"outer\",\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}"
        );
        let request = Request::post("/v1/chat/completions").key(KEY).json(body);
        let answer = outer.call(&request);
        assert_eq!(
            (answer.status, answer.content().as_str()),
            (200, "inner"),
            "{size}: {}",
            answer.text()
        );
        assert_eq!(
            provider.take_one().json()["messages"][0]["content"],
            text,
            "{size}"
        );
    }
    provider.become_script(stream(vec![delta("a"), delta("b")]));
    assert_eq!(
        outer.stream("outer").events(),
        [delta("a"), delta("b"), "[DONE]".to_owned()]
    );
    provider.become_script(fail(500));
    assert_eq!(outer.chat("outer").status, 502);
}

fn inner_key() -> String {
    crate::gateway::key("outer-gateway", SECRET, "models = [\"*\"]")
}

#[test]
fn providers_are_spoken_to_in_http2_without_tls() {
    let provider = Provider::start(chat("ok"));
    let inner = Gateway::start(&[simple(&provider), inner_key()].concat());
    let outer = before(&format!("http://{}", inner.address), "2", "");
    chats_through(&outer, &provider);
    eventually("the inner gateway's log tells the protocol", || {
        inner.stdout().contains("HTTP/2").then_some(())
    });
    assert!(!inner.stdout().contains("HTTP/1"), "{}", inner.stdout());
}

#[test]
fn providers_are_spoken_to_over_tls_and_their_certificate_is_checked() {
    let provider = Provider::start(chat("ok"));
    let secure = secure_as("DNS:localhost", &provider, &inner_key());
    let url = format!(
        "https://{}",
        secure.address.replace("127.0.0.1", "localhost")
    );
    let ca = format!("ca = \"{}\"", secure.certificate);
    for (http, protocol) in [("1.1", "HTTP/1.1"), ("2", "HTTP/2"), ("auto", "HTTP/2")] {
        let printed = secure.gateway.stdout().len();
        chats_through(&before(&url, http, &ca), &provider);
        eventually(&format!("http = {http} is {protocol}"), || {
            secure.gateway.stdout()[printed..]
                .contains(protocol)
                .then_some(())
        });
    }
    // Without that authority, and with a certificate for another name, there is no trust.
    let elsewhere = secure_as("DNS:elsewhere.test", &provider, &inner_key());
    let other_url = format!(
        "https://{}",
        elsewhere.address.replace("127.0.0.1", "localhost")
    );
    let other_ca = format!("ca = \"{}\"", elsewhere.certificate);
    provider.become_script(chat("ok"));
    provider.forget();
    for outer in [
        before(&url, "1.1", ""),
        before(&other_url, "1.1", &other_ca),
    ] {
        let answer = outer.chat("outer");
        let seen = (answer.status, answer.error("code"));
        assert_eq!(
            seen,
            (502, "upstream_error".to_owned()),
            "{}",
            answer.text()
        );
    }
    assert_eq!(provider.count(), 0);
}
