use super::*;

const NOW: u64 = 1_763_900_000;
const SAID: &str =
    "This is tollgate's embedded demo provider; no model is behind it. You said: hi there";

fn post(path: &str, body: &Value) -> Result<Answer, Refusal> {
    answer(&Method::POST, path, body.to_string().as_bytes(), NOW)
}

fn whole(path: &str, body: &Value) -> Value {
    match post(path, body) {
        Ok(Answer::Json(value)) => value,
        other => panic!("{other:?}"),
    }
}

fn stream(path: &str, body: &Value) -> Vec<Value> {
    match post(path, body) {
        Ok(Answer::Stream(events)) => events,
        other => panic!("{other:?}"),
    }
}

fn refused(path: &str, body: &Value) -> (u16, String, Value) {
    let refusal = post(path, body).unwrap_err();
    let body = refusal.body();
    let error = body["error"].as_object().unwrap();
    let keys: Vec<_> = error.keys().map(String::as_str).collect();
    assert_eq!(keys, ["message", "type", "param", "code"]);
    (
        refusal.status,
        error["code"].as_str().unwrap().to_owned(),
        error["param"].clone(),
    )
}

fn with(name: &str, value: Value) -> Value {
    let mut request = hello();
    request[name] = value;
    request
}

fn hello() -> Value {
    json!({"model": "m", "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": null},
        {"role": "user", "content": [
            {"type": "text", "text": "hi"},
            {"type": "image_url", "image_url": {"url": "data:,"}},
            {"type": "text", "text": "there"},
        ]},
    ]})
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn chat_repeats_the_last_message_of_the_user() {
    let got = whole(CHAT, &hello());
    assert_eq!(got["object"], "chat.completion");
    assert_eq!(got["created"], NOW);
    assert_eq!(got["model"], "m");
    assert!(got["id"].as_str().unwrap().starts_with("chatcmpl-demo-"));
    let choice = &got["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], SAID);
    assert_eq!(choice["finish_reason"], "stop");
    // "be"," bri","ef" + "firs","t" + "hi"," the","re"
    assert_eq!(got["usage"]["prompt_tokens"], 8);
    assert_eq!(got["usage"]["completion_tokens"], tokens(SAID).count());
    assert_eq!(got["usage"]["total_tokens"], 8 + tokens(SAID).count());
    assert_eq!(got, whole(CHAT, &hello()), "the same again");
    assert_ne!(got["id"], whole(CHAT, &with("seed", json!(1)))["id"]);
}

#[test]
fn a_long_message_is_repeated_in_part_and_an_absent_one_not_at_all() {
    let ask = |content: Value| {
        let request = json!({"model": "m", "messages": [{"role": "user", "content": content}]});
        whole(CHAT, &request)["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let long = ask(json!("é".repeat(401)));
    assert!(long.ends_with(&format!("{}…", "é".repeat(400))), "{long}");
    assert!(ask(json!("")).ends_with("There was no text to answer."));
    assert!(ask(json!([])).ends_with("There was no text to answer."));
}

#[test]
fn max_tokens_cuts() {
    for name in ["max_tokens", "max_completion_tokens"] {
        let got = whole(CHAT, &with(name, json!(3)));
        assert_eq!(got["choices"][0]["message"]["content"], "This is tol");
        assert_eq!(got["choices"][0]["finish_reason"], "length");
        assert_eq!(got["usage"]["completion_tokens"], 3);
    }
    let exact = tokens(SAID).count();
    let got = whole(CHAT, &with("max_tokens", json!(exact)));
    assert_eq!(got["choices"][0]["finish_reason"], "stop");
}

#[test]
fn a_chat_stream_is_the_answer_in_pieces() {
    let events = stream(CHAT, &with("stream", json!(true)));
    assert!(
        events
            .iter()
            .all(|e| e["object"] == "chat.completion.chunk" && e["created"] == NOW)
    );
    assert!(events.iter().all(|event| event.get("usage").is_none()));
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let text = events
        .iter()
        .filter_map(|e| e["choices"][0]["delta"]["content"].as_str());
    assert_eq!(text.collect::<String>(), SAID);
    let finishes = events
        .iter()
        .map(|event| &event["choices"][0]["finish_reason"]);
    assert_eq!(
        finishes
            .filter(|finish| !finish.is_null())
            .collect::<Vec<_>>(),
        [&json!("stop")]
    );
    assert_eq!(events.last().unwrap()["choices"][0]["delta"], json!({}));
}

#[test]
fn a_stream_tells_its_usage_when_asked() {
    let mut request = with("stream", json!(true));
    request["stream_options"] = json!({"include_usage": true});
    let events = stream(CHAT, &request);
    let (last, others) = events.split_last().unwrap();
    assert!(
        others
            .iter()
            .all(|event| event["usage"].is_null() && event.get("usage").is_some())
    );
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], whole(CHAT, &hello())["usage"]);
}

#[test]
fn tools_on_offer_are_not_used() {
    let mut request = with(
        "tools",
        json!([{"type": "function", "function": {"name": "f"}}]),
    );
    request["tool_choice"] = json!("auto");
    assert_eq!(whole(CHAT, &request)["choices"][0]["finish_reason"], "stop");
}

#[test]
fn what_needs_a_model_is_refused() {
    let cases = [
        ("n", json!(2)),
        ("tool_choice", json!("required")),
        (
            "tool_choice",
            json!({"type": "function", "function": {"name": "f"}}),
        ),
        ("response_format", json!({"type": "json_object"})),
    ];
    for (name, value) in cases {
        let got = refused(CHAT, &with(name, value));
        assert_eq!(got, (400, "unsupported_value".to_owned(), json!(name)));
    }
}

#[test]
fn wrong_values_are_refused() {
    let cases = [
        ("model", json!(null)),
        ("messages", json!([])),
        ("messages", json!("hi")),
        ("messages", json!([{"content": "no role"}])),
        ("messages", json!([{"role": "user", "content": 1}])),
        ("stream", json!("yes")),
        ("n", json!(0)),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1.5)),
    ];
    for (name, value) in cases {
        let got = refused(CHAT, &with(name, value));
        assert_eq!(got, (400, "invalid_value".to_owned(), json!(name)));
    }
    let mut request = with("stream", json!(true));
    request["stream_options"] = json!({"include_usage": 1});
    assert_eq!(refused(CHAT, &request).2, "stream_options");
}

#[test]
fn bodies_that_are_no_json_object_are_refused() {
    for body in ["", "{", "[]", "1", "{} {}", "\u{feff}{}"] {
        let refusal = answer(&Method::POST, CHAT, body.as_bytes(), NOW).unwrap_err();
        assert_eq!(
            (refusal.status, refusal.code),
            (400, "invalid_json"),
            "{body}"
        );
    }
    assert_eq!(
        answer(&Method::POST, CHAT, b"\xff", NOW).unwrap_err().code,
        "invalid_json"
    );
}

#[test]
fn completions_answer_each_prompt() {
    let path = "/v1/completions";
    let one = whole(path, &json!({"model": "m", "prompt": "hi there"}));
    assert_eq!(one["object"], "text_completion");
    assert_eq!(one["choices"][0]["text"], SAID);
    let request = json!({"model": "m", "prompt": ["hi there", "x"], "max_tokens": 4});
    let two = whole(path, &request);
    assert_eq!(two["choices"].as_array().unwrap().len(), 2);
    assert_eq!(two["choices"][1]["finish_reason"], "length");
    assert_eq!(
        two["usage"],
        json!({"prompt_tokens": 4, "completion_tokens": 8, "total_tokens": 12})
    );
    let mut request = request;
    request["stream"] = json!(true);
    let events = stream(path, &request);
    assert_eq!(events.len(), 10);
    let second = events.iter().filter(|e| e["choices"][0]["index"] == 1);
    let text: String = second
        .filter_map(|e| e["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(text, two["choices"][1]["text"].as_str().unwrap());
    for prompt in [json!(null), json!([]), json!([1, 2]), json!(vec!["x"; 21])] {
        let got = refused(path, &json!({"model": "m", "prompt": prompt}));
        assert_eq!(got, (400, "invalid_value".to_owned(), json!("prompt")));
    }
}

#[test]
fn embeddings_come_as_floats_or_base64() {
    let path = "/v1/embeddings";
    let ask = |format: &str| {
        whole(
            path,
            &json!({"model": "m", "input": ["a b", "c"], "encoding_format": format}),
        )
    };
    let floats = ask("float");
    assert_eq!(floats["object"], "list");
    assert_eq!(
        floats["usage"],
        json!({"prompt_tokens": 3, "total_tokens": 3})
    );
    assert_eq!(floats["data"][1]["index"], 1);
    let vector: Vec<f32> = serde_json::from_value(floats["data"][0]["embedding"].clone()).unwrap();
    assert_eq!(vector.len(), 64);
    let coded = ask("base64")["data"][0]["embedding"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(coded.len(), (64 * 4_usize).div_ceil(3) * 4);
    let small = whole(path, &json!({"model": "m", "input": "x", "dimensions": 3}));
    assert_eq!(small["data"][0]["embedding"].as_array().unwrap().len(), 3);
}

#[test]
fn embeddings_take_token_ids() {
    let count = |input: Value| {
        let got = whole("/v1/embeddings", &json!({"model": "m", "input": input}));
        (
            got["data"].as_array().unwrap().len(),
            got["usage"]["total_tokens"].clone(),
        )
    };
    assert_eq!(count(json!([1, 2, 3])), (1, json!(3)));
    assert_eq!(count(json!([[1, 2], [3]])), (2, json!(3)));
}

#[test]
fn embeddings_refuse_what_they_cannot_embed() {
    for input in [
        json!(null),
        json!(""),
        json!([]),
        json!([""]),
        json!([1, "a"]),
        json!([[-1]]),
    ] {
        let got = refused("/v1/embeddings", &json!({"model": "m", "input": input}));
        assert_eq!(got, (400, "invalid_value".to_owned(), json!("input")));
    }
    for (name, value) in [
        ("dimensions", json!(0)),
        ("dimensions", json!(5000)),
        ("encoding_format", json!("hex")),
        ("encoding_format", json!(1)),
    ] {
        let mut request = json!({"model": "m", "input": "x"});
        request[name] = value;
        assert_eq!(refused("/v1/embeddings", &request).2, name);
    }
}

#[test]
fn lists_its_models() {
    let get = |path: &str| answer(&Method::GET, path, b"", NOW);
    let Ok(Answer::Json(list)) = get("/v1/models") else {
        panic!("no list")
    };
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "demo");
    let Ok(Answer::Json(one)) = get("/v1/models/demo") else {
        panic!("no model")
    };
    assert_eq!(one, list["data"][0]);
    assert_eq!(get("/v1/models/other").unwrap_err().code, "model_not_found");
    assert_eq!(get("/v1/modelsx").unwrap_err().code, "unknown_url");
    assert_eq!(get("/").unwrap_err().status, 404);
    let refusal = get(CHAT).unwrap_err();
    assert_eq!((refusal.status, refusal.allow), (405, Some("POST")));
    assert_eq!(post("/v1/models", &json!({})).unwrap_err().status, 405);
}

#[test]
fn tokens_cover_the_text() {
    let cases: [(&str, &[&str]); 6] = [
        ("", &[]),
        ("hi", &["hi"]),
        ("tollgate is", &["toll", "gate", " is"]),
        ("a  b", &["a", "  b"]),
        ("      x", &["    ", "  x"]),
        ("äöüßé", &["äöüß", "é"]),
    ];
    for (text, want) in cases {
        assert_eq!(tokens(text).collect::<Vec<_>>(), want, "{text}");
        assert_eq!(tokens(text).collect::<String>(), text);
    }
}
