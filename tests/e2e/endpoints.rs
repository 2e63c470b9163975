//! Every endpoint that carries a model: where it goes, and that only the model is changed.

use std::sync::Arc;

use crate::client::Request;
use crate::gateway::{Gateway, KEY, simple};
use crate::provider::{Provider, Script, plain};

/// Answers with the path that was asked for.
fn mirror() -> Script {
    Arc::new(|request, wire| {
        let body = format!(
            "{{\"path\":\"{}\",\"model\":\"x\",\"usage\":{{\"prompt_tokens\":1,\"total_tokens\":1}}}}",
            request.path()
        );
        wire.answer(200, &["content-type: application/json"], body.as_bytes())
    })
}

#[test]
fn json_endpoints_are_forwarded_with_the_model_replaced() {
    let provider = Provider::start(mirror());
    let gateway = Gateway::start(&simple(&provider));
    for (path, rest) in [
        (
            "/v1/chat/completions",
            r#""messages":[{"role":"user","content":"x"}]"#,
        ),
        ("/v1/completions", r#""prompt":["a","b"],"max_tokens":3"#),
        (
            "/v1/embeddings",
            r#""input":[[1,2],[3]],"encoding_format":"base64""#,
        ),
        (
            "/v1/images/generations",
            r#""prompt":"a house","size":"1024x1024""#,
        ),
        ("/v1/audio/speech", r#""input":"hello","voice":"alloy""#),
        ("/v1/moderations", r#""input":"x""#),
        ("/v1/rerank", r#""query":"q","documents":["a"],"top_n":1"#),
    ] {
        let body = |model: &str| format!("{{{rest},\n \"model\" : \"{model}\"}}");
        let request = Request::post(path).json(body("m"));
        assert_eq!(gateway.call(&request).status, 401, "{path} without a key");
        let answer = gateway.call(&request.key(KEY));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.json()["path"], path);
        assert_eq!(
            String::from_utf8(provider.take_one().body).unwrap(),
            body("upstream-m"),
            "{path}"
        );
        let answer = gateway.call(
            &Request::post(path)
                .key(KEY)
                .json("{\"model\":\"m\",\"model\":\"m\"}"),
        );
        assert_eq!(answer.status, 400, "{path} is not read strictly");
        assert_eq!(provider.count(), 0);
    }
}

/// A form with a file in it that looks like the form's own boundaries and fields.
fn form(model: &str) -> Vec<u8> {
    let file = b"RIFF\x00\xff\r\n--Xy\r\nx--XyZ\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nevil\r\n\r\n";
    let mut body = b"--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n".to_vec();
    body.extend_from_slice(file);
    body.extend_from_slice(
        format!("\r\n--XyZ\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n")
            .as_bytes(),
    );
    body.extend_from_slice(
        b"--XyZ\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nde\r\n--XyZ--\r\n",
    );
    body
}

#[test]
fn forms_are_forwarded_with_the_model_replaced() {
    let provider = Provider::start(mirror());
    let gateway = Gateway::start(&simple(&provider));
    let kind = "multipart/form-data; boundary=XyZ";
    for path in [
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/images/edits",
        "/v1/images/variations",
    ] {
        let request = Request::post(path)
            .key(KEY)
            .header("content-type", kind)
            .body(form("m"));
        let answer = gateway.call(&request);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let seen = provider.take_one();
        assert_eq!(seen.path(), path);
        assert_eq!(seen.header("content-type").as_deref(), Some(kind));
        assert_eq!(
            String::from_utf8_lossy(&seen.body),
            String::from_utf8_lossy(&form("upstream-m"))
        );
        assert_eq!(seen.body, form("upstream-m"), "{path}");
    }
}

#[test]
fn forms_that_can_be_read_in_two_ways_are_refused() {
    let provider = Provider::start(mirror());
    let gateway = Gateway::start(&simple(&provider));
    let part = |name: &str, value: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let file = part("file", "x");
    for (what, kind, body) in [
        (
            "two models",
            "multipart/form-data; boundary=B",
            part("model", "m") + &part("model", "other") + &file + "--B--\r\n",
        ),
        (
            "a line in a file that some take for a boundary",
            "multipart/form-data; boundary=B",
            part("model", "m") + &part("file", "x\r\n--BB\r\ny") + "--B--\r\n",
        ),
        (
            "no model",
            "multipart/form-data; boundary=B",
            format!("{file}--B--\r\n"),
        ),
        (
            "no end",
            "multipart/form-data; boundary=B",
            part("model", "m") + &file,
        ),
        (
            "no boundary",
            "multipart/form-data",
            part("model", "m") + "--B--\r\n",
        ),
        (
            "another boundary",
            "multipart/form-data; boundary=C",
            part("model", "m") + "--B--\r\n",
        ),
        ("empty", "multipart/form-data; boundary=B", String::new()),
    ] {
        let request = Request::post("/v1/audio/transcriptions")
            .key(KEY)
            .header("content-type", kind)
            .body(body);
        let answer = gateway.call(&request);
        assert_eq!(
            (answer.status, answer.error("type").as_str()),
            (400, "invalid_request_error"),
            "{what}"
        );
        assert_eq!(provider.count(), 0, "{what}");
    }
    let json = Request::post("/v1/audio/transcriptions")
        .key(KEY)
        .json("{\"model\":\"m\"}");
    assert_eq!(gateway.call(&json).status, 415);
}

#[test]
fn answers_that_are_not_json_are_passed_through() {
    let sound: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let provider = Provider::start(plain("audio/mpeg", &sound));
    let gateway = Gateway::start(&simple(&provider));
    let answer = gateway.call(
        &Request::post("/v1/audio/speech")
            .key(KEY)
            .json(r#"{"model":"m","input":"x"}"#),
    );
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("audio/mpeg"))
    );
    assert!(answer.body == sound, "{} bytes came", answer.body.len());
}
