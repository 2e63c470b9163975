use super::*;

fn read(body: &str) -> Result<Request, InspectError> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    inspect(
        Operation::ChatCompletions,
        Media::Json,
        "application/json",
        &body,
        64,
    )
}

fn param(body: &str) -> Option<String> {
    read(body).unwrap_err().param().map(str::to_owned)
}

#[test]
fn reads_what_routing_needs() {
    let r = read(r#"{"model":"gpt-5","messages":[],"stream":true,"user":"8473"}"#).unwrap();
    assert_eq!(
        (&*r.model, r.stream, r.user.as_deref()),
        ("gpt-5", true, Some("8473"))
    );
}

#[test]
fn what_costs_more_than_the_list_price_is_seen() {
    let surcharge = |fields: &str| {
        let text = format!(r#"{{"model":"m","messages":[],{fields}}}"#);
        read(&text).unwrap().surcharge
    };
    assert_eq!(
        surcharge(r#""service_tier":"priority""#),
        Some("service_tier")
    );
    assert_eq!(surcharge(r#""service_tier":"fl\u0065x""#), None);
    assert_eq!(surcharge(r#""service_tier":null"#), None);
    assert_eq!(surcharge(r#""speed":"fast""#), Some("speed"));
    assert_eq!(surcharge(r#""inference_geo":"us""#), Some("inference_geo"));
}

#[test]
fn the_end_user_has_several_places() {
    let user = |operation, fields: &str| {
        let text = format!(r#"{{"model":"m","messages":[],{fields}}}"#);
        let body = Bytes::copy_from_slice(text.as_bytes());
        let read = inspect(operation, Media::Json, "application/json", &body, 64);
        read.unwrap().user
    };
    let chat = |fields: &str| user(Operation::ChatCompletions, fields);
    assert_eq!(chat(r#""safety_identifier":"s","user":"u""#).unwrap(), "u");
    assert_eq!(chat(r#""safety_identifier":"s","user":"""#).unwrap(), "s");
    let anthropic = r#""metadata":{"user_id":"a\u0062"}"#;
    assert_eq!(user(Operation::Messages, anthropic).unwrap(), "ab");
    assert_eq!(chat(anthropic), None);
    let number = r#""metadata":{"user_id":7}"#;
    assert_eq!(user(Operation::Messages, number), None);
}

#[test]
fn wrong_types_name_their_field() {
    for (field, value) in [
        ("model", "5"),
        ("model", "null"),
        ("messages", "{}"),
        ("stream", "\"true\""),
        ("max_tokens", "\"10\""),
        ("max_tokens", "-1"),
        ("max_tokens", "1.5"),
        ("temperature", "\"hot\""),
        ("user", "1"),
        ("tools", "{}"),
        ("response_format", "\"json\""),
    ] {
        let mut parts = vec![format!("\"{field}\":{value}")];
        for (name, good) in [("model", "\"m\""), ("messages", "[]")] {
            if name != field {
                parts.push(format!("\"{name}\":{good}"));
            }
        }
        assert_eq!(
            param(&format!("{{{}}}", parts.join(","))).as_deref(),
            Some(field),
            "{value}"
        );
    }
}

#[test]
fn missing_fields_are_named() {
    assert_eq!(param(r#"{"messages":[]}"#).as_deref(), Some("model"));
    assert_eq!(param(r#"{"model":"m"}"#).as_deref(), Some("messages"));
    assert_eq!(
        param(r#"{"model":"","messages":[]}"#).as_deref(),
        Some("model")
    );
}

#[test]
fn null_is_absent_for_optional_fields() {
    assert!(
        read(r#"{"model":"m","messages":[],"stream":null,"max_tokens":null,"user":null}"#).is_ok()
    );
}

#[test]
fn a_twin_of_a_known_name_is_refused() {
    for twin in [r#""Model":"x""#, r#""\u006dodel":"x""#, r#""STREAM":true"#] {
        let body = format!(r#"{{"model":"m","messages":[],{twin}}}"#);
        assert!(matches!(read(&body), Err(InspectError::Json(_))), "{twin}");
    }
}

#[test]
fn a_form_gives_its_model() {
    let text = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
                --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nRIFF\r\n--b--\r\n";
    let body = Bytes::from_static(text.as_bytes());
    let r = inspect(
        Operation::Transcriptions,
        Media::Multipart,
        "multipart/form-data; boundary=b",
        &body,
        64,
    )
    .unwrap();
    assert_eq!(r.model, "whisper-1");
    let rewrite = super::super::Rewrite {
        model: "other",
        ..Default::default()
    };
    let out = r.rewritten(&body, &rewrite).concat();
    assert_eq!(out, text.replace("whisper-1", "other").as_bytes());
}

fn of(operation: Operation, body: &str) -> Request {
    let body = Bytes::copy_from_slice(body.as_bytes());
    inspect(operation, Media::Json, "application/json", &body, 64).unwrap()
}

#[test]
fn all_answers_that_are_generated_are_counted() {
    for (fields, choices, generated) in [
        (r#""prompt":"a""#, 1, 1),
        (r#""prompt":"a","n":2"#, 2, 2),
        (r#""prompt":"a","n":2,"best_of":5"#, 2, 5),
        (r#""prompt":["a","b",""]"#, 3, 3),
        (r#""prompt":["a","b"],"best_of":10"#, 2, 20),
        (r#""prompt":[1,2,3]"#, 1, 1),
        (r#""prompt":[[1,2],[3]],"n":4"#, 8, 8),
        (r#""prompt":[]"#, 1, 1),
    ] {
        let body = format!(r#"{{"model":"m",{fields}}}"#);
        let read = of(Operation::Completions, &body);
        assert_eq!(
            (read.choices, read.generated),
            (choices, generated),
            "{fields}"
        );
    }
}

#[test]
fn a_limit_of_another_api_limits_nothing() {
    let all = r#"{"model":"m","messages":[],"prompt":"","max_tokens":1,"max_completion_tokens":2,"max_output_tokens":3}"#;
    for (operation, expected) in [
        (Operation::ChatCompletions, 2),
        (Operation::Completions, 1),
        (Operation::Messages, 1),
        (Operation::Responses, 3),
    ] {
        assert_eq!(
            of(operation, all).max_output,
            Some(expected),
            "{operation:?}"
        );
    }
    let wrong = r#"{"model":"m","messages":[],"max_output_tokens":1}"#;
    assert_eq!(of(Operation::ChatCompletions, wrong).max_output, None);
}

#[test]
fn a_form_says_how_many_images_it_wants() {
    let form = |n: &str| {
        let text = format!(
            "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n\
             --x\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n{n}\r\n--x--\r\n"
        );
        let body = Bytes::from(text);
        let kind = "multipart/form-data; boundary=x";
        inspect(Operation::ImageEdits, Media::Multipart, kind, &body, 64)
    };
    let read = form("10").unwrap();
    assert_eq!((read.choices, read.generated), (10, 10));
    assert_eq!(form("many").unwrap_err().param(), Some("n"));
}
