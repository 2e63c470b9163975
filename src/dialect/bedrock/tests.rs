//! Requests, answers, failures and embeddings. Requests are golden cases: what a client sends in
//! `NAME.client.json`, what the model can do in `NAME.target.json` (if it is not everything), and
//! what goes to the provider, or why it cannot, in `NAME.provider.json`; `TOLLGATE_BLESS=1`
//! writes the last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::client;
use super::*;
use crate::chat::{
    Capabilities, Choice, Content, Finish, Message, Part, Sealed, Source, Thought, Tool, ToolCall,
    ToolChoice, Turn, Usage,
};

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/bedrock")
        .join(folder)
}

fn read(path: &Path) -> Option<Value> {
    let text = std::fs::read(path).ok()?;
    Some(
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    )
}

fn no_header(_: &str) -> Option<String> {
    None
}

fn outcome(rendered: Result<Rendered, Unsupported>) -> Value {
    match rendered {
        Ok(rendered) => json!({
            "path": rendered.path,
            "dropped": rendered.dropped,
            "body": serde_json::from_slice::<Value>(&rendered.body).unwrap(),
        }),
        Err(error) => json!({"unsupported": error.param, "reason": error.reason}),
    }
}

fn render(name: &str, client: &Value, row: &Value) -> Value {
    let asked = client::conversation(client);
    let can = client::capabilities(row);
    let options = BTreeMap::new();
    let strict = row["strict"] == true;
    let target = Target {
        capabilities: &can,
        options: &options,
        strict,
    };
    let rendered = if name.starts_with("count_") {
        let counting = Bedrock.count_tokens(&asked, target);
        counting.map(|rendered| rendered.expect("it has a counter"))
    } else {
        Bedrock.chat(&asked, target)
    };
    outcome(rendered)
}

#[test]
fn requests() {
    let bless = std::env::var_os("TOLLGATE_BLESS").is_some();
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(golden("requests")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = file.strip_suffix(".client.json") else {
            continue;
        };
        let sibling = |kind: &str| path.with_file_name(format!("{name}.{kind}.json"));
        let row = read(&sibling("target")).unwrap_or_default();
        let sent = render(name, &read(&path).unwrap(), &row);
        let provider = sibling("provider");
        if bless {
            let text = serde_json::to_string_pretty(&sent).unwrap() + "\n";
            std::fs::write(&provider, text).unwrap();
        } else if read(&provider).as_ref() != Some(&sent) {
            wrong.push(format!("{name}: {sent:#}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 60, "{count} cases");
}

/// Against a body that was written down elsewhere, and that blessing does not touch.
#[test]
fn the_documented_request() {
    let client = read(&golden("requests/example.client.json")).unwrap();
    let sent = render("example", &client, &Value::Null);
    assert_eq!(
        Some(&sent["body"]),
        read(&golden("documented.json")).as_ref()
    );
    assert_eq!(
        sent["path"],
        "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    );
    assert_eq!(sent["dropped"], json!(["parallel_tool_calls"]));
}

#[test]
fn arguments_reach_the_provider_as_written() {
    let client = read(&golden("requests/arguments.client.json")).unwrap();
    let (can, options) = (Capabilities::default(), BTreeMap::new());
    let target = Target {
        capabilities: &can,
        options: &options,
        strict: true,
    };
    let rendered = Bedrock
        .chat(&client::conversation(&client), target)
        .unwrap();
    let body = String::from_utf8(rendered.body).unwrap();
    assert!(
        body.contains(r#""input":{"n": 12345678901234567890123.10}"#),
        "{body}"
    );
}

/// Chat clients are told so by their face; what other clients send is not asked this first.
#[test]
fn what_cannot_stand_where_it_does_is_refused() {
    let parts = |content| {
        vec![Part {
            content,
            cache: None,
        }]
    };
    let user = || Message::User {
        parts: vec![Part::text("Hi")],
        name: None,
    };
    let image = Content::Image {
        source: Source::from_url("data:image/png;base64,QUJD"),
        detail: None,
    };
    let audio = Content::Audio {
        data: "QUJD".into(),
        format: "wav".into(),
    };
    let called = Message::Assistant(Turn {
        calls: vec![call("a", "f", "{}")],
        ..Turn::default()
    });
    let result = Message::Tool {
        call_id: "a".into(),
        parts: parts(audio),
        is_error: false,
    };
    let tool = Tool {
        name: "f".into(),
        ..Tool::default()
    };
    let asked = |messages, tools, tool_choice| Conversation {
        model: "m".into(),
        messages,
        tools,
        tool_choice,
        ..Conversation::default()
    };
    let system = Message::System {
        parts: parts(image),
    };
    let missing = ToolChoice::Allowed {
        required: false,
        names: vec!["g".into()],
    };
    let tools = || vec![tool.clone()];
    let cases = [
        (
            asked(vec![system, user()], vec![], None),
            "messages[0].content[0]",
        ),
        (
            asked(vec![user(), called, result], tools(), None),
            "messages[2].content[0]",
        ),
        (
            asked(vec![user()], vec![], Some(ToolChoice::Required)),
            "tool_choice",
        ),
        (
            asked(
                vec![user()],
                tools(),
                Some(ToolChoice::Function("g".into())),
            ),
            "tool_choice",
        ),
        (asked(vec![user()], tools(), Some(missing)), "tool_choice"),
    ];
    let (can, options) = (Capabilities::default(), BTreeMap::new());
    for (asked, param) in cases {
        let target = Target {
            capabilities: &can,
            options: &options,
            strict: false,
        };
        assert_eq!(Bedrock.chat(&asked, target).unwrap_err().param, param);
    }
}

/// Of Anthropic's clients, that is: OpenAI's have no word for it.
#[test]
fn a_result_that_is_an_error_says_so() {
    use crate::dialect::Face as _;
    let call = json!({"type": "tool_use", "id": "a", "name": "f", "input": {}});
    let result =
        json!({"type": "tool_result", "tool_use_id": "a", "content": "", "is_error": true});
    let client = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]}]});
    let face = crate::dialect::messages_face::MessagesFace;
    let asked = face.parse(client.to_string().as_bytes()).unwrap();
    let (can, options) = (Capabilities::default(), BTreeMap::new());
    let target = Target {
        capabilities: &can,
        options: &options,
        strict: true,
    };
    let sent = outcome(Bedrock.chat(&asked, target));
    let result = json!({"toolResult": {"toolUseId": "a", "content": [], "status": "error"}});
    assert_eq!(sent["body"]["messages"][2]["content"], json!([result]));
}

fn answer(body: &Value) -> Answer {
    Bedrock
        .answer("amazon.nova-2-lite-v1:0", body.to_string().as_bytes())
        .unwrap()
        .unwrap()
}

fn choice(content: &Value, reason: &str) -> Choice {
    let message = json!({"role": "assistant", "content": content});
    let mut answer = answer(&json!({"output": {"message": message}, "stopReason": reason}));
    assert_eq!(answer.choices.len(), 1);
    answer.choices.remove(0)
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        signature: None,
        ..ToolCall::default()
    }
}

#[test]
fn the_documented_answer_with_a_call() {
    let body = br#"{"output": {"message": {"role": "assistant", "content": [{"text": "Checking."}, {"toolUse": {"toolUseId": "tooluse_1", "name": "get_weather", "input": {"city": "Paris"}}}]}}, "stopReason": "tool_use", "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, "metrics": {"latencyMs": 321}}"#;
    let answer = Bedrock
        .answer("amazon.nova-2-lite-v1:0", body)
        .unwrap()
        .unwrap();
    let expected = Choice {
        text: Some("Checking.".into()),
        calls: vec![call("tooluse_1", "get_weather", r#"{"city":"Paris"}"#)],
        finish: Some(Finish::ToolCalls),
        ..Choice::default()
    };
    assert_eq!(answer.choices, [expected]);
    assert_eq!(
        answer.usage,
        Some(Usage {
            prompt: 10,
            completion: 5,
            ..Usage::default()
        })
    );
    assert_eq!(
        (answer.id, answer.model, answer.created),
        (None, None, None)
    );
}

#[test]
fn usage_counts_the_cache_as_input() {
    let usage = json!({"inputTokens": 5.0, "outputTokens": 2, "totalTokens": 1107,
        "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 100, "cacheDetails": []});
    let body = json!({"output": {"message": {"content": [{"text": "ok"}]}}, "stopReason": "end_turn",
        "usage": usage, "serviceTier": {"type": "flex"}, "new": 1});
    let answer = answer(&body);
    let expected = Usage {
        prompt: 1105,
        completion: 2,
        cached: 1000,
        cache_write: 100,
        ..Usage::default()
    };
    assert_eq!(answer.usage, Some(expected));
    assert_eq!(expected.total(), 1107);
    assert_eq!(answer.service_tier.as_deref(), Some("flex"));
}

#[test]
fn finish_reasons() {
    let cases = [
        ("end_turn", Finish::Stop),
        ("stop_sequence", Finish::Stop),
        ("max_tokens", Finish::Length),
        ("model_context_window_exceeded", Finish::Length),
        ("tool_use", Finish::Stop),
        ("guardrail_intervened", Finish::ContentFilter),
        ("content_filtered", Finish::ContentFilter),
        ("malformed_model_output", Finish::Stop),
        ("malformed_tool_use", Finish::Stop),
        ("something_new", Finish::Stop),
    ];
    let tool = json!([{"toolUse": {"toolUseId": "a", "name": "f", "input": {}}}]);
    for (reason, finish) in cases {
        assert_eq!(
            choice(&json!([{"text": "x"}]), reason).finish,
            Some(finish),
            "{reason}"
        );
        let called = match finish {
            // The last call may be half a call.
            Finish::Length | Finish::ContentFilter => finish,
            _ => Finish::ToolCalls,
        };
        assert_eq!(choice(&tool, reason).finish, Some(called), "{reason}");
    }
}

#[test]
fn every_block_of_an_answer() {
    let content = json!([
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "AAE="}},
        {"text": "Año "},
        {"citationsContent": {
            "content": [{"text": "in "}, {"text": "2026"}],
            "citations": [
                {"title": "T", "location": {"web": {"url": "https://a.example", "domain": "a.example"}}},
                {"title": "D", "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}}
            ]}},
        {"toolUse": {"toolUseId": "s", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}},
        {"toolResult": {"toolUseId": "s", "content": []}},
        {"image": {"format": "png", "source": {"bytes": ""}}},
        {"unheardOf": {}}
    ]);
    let choice = choice(&content, "end_turn");
    let thought = |text: &str, signature: Option<&str>, redacted: Option<&str>| Thought {
        text: text.into(),
        signature: signature.map(|text| Sealed::new(Origin::Nova, text)),
        redacted: redacted.map(|text| Sealed::new(Origin::Nova, text)),
    };
    assert_eq!(
        choice.thoughts,
        [
            thought("hm", Some("c2ln"), None),
            thought("", None, Some("AAE="))
        ]
    );
    assert_eq!(choice.text.as_deref(), Some("Año in 2026"));
    assert!(choice.calls.is_empty());
    let annotations = [
        json!({"type": "url_citation", "url_citation":
            {"start_index": 4, "end_index": 11, "title": "T", "url": "https://a.example"}}),
        json!({"type": "page_location", "page_location": {
            "cited_text": "", "document_index": 0, "document_title": "D",
            "start_index": 4, "end_index": 11, "start_page_number": 1, "end_page_number": 2}}),
    ];
    assert_eq!(choice.annotations, annotations);
    assert_eq!(choice.finish, Some(Finish::Stop));
}

#[test]
fn inputs_of_calls_keep_their_digits_and_texts() {
    let body = br#"{"output":{"message":{"content":[
        {"toolUse":{"toolUseId":"a","name":"f","input":{ "z" : 12345678901234567890123.10 , "t":"a \" b \\" , "u":[ 1 , 2 ] }}},
        {"toolUse":{"toolUseId":"b","name":"f","input":null}},
        {"toolUse":{"name":"f"}},
        {"toolUse":{"toolUseId":"","name":"g","input":{}}}
    ]}},"stopReason":"tool_use"}"#;
    let answer = Bedrock
        .answer("amazon.nova-2-lite-v1:0", body)
        .unwrap()
        .unwrap();
    let written = r#"{"z":12345678901234567890123.10,"t":"a \" b \\","u":[1,2]}"#;
    let calls = [
        call("a", "f", written),
        call("b", "f", "{}"),
        call("call_2", "f", "{}"),
        call("call_3", "g", "{}"),
    ];
    assert_eq!(answer.choices[0].calls, calls);
    assert_eq!(answer.choices[0].text, None);
    assert_eq!(answer.usage, None);
}

#[test]
fn an_emulated_form_comes_back_as_text() {
    let content = json!([{"toolUse": {"toolUseId": "a", "name": ANSWER_TOOL, "input": {"n": 1}}}]);
    let choice = choice(&content, "tool_use");
    assert_eq!(choice.text.as_deref(), Some(r#"{"n":1}"#));
    assert_eq!((choice.calls.len(), choice.finish), (0, Some(Finish::Stop)));
}

#[test]
fn what_is_no_answer() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"output":{}}"#,
        r#"{"message":"x"}"#,
        "<html>",
    ] {
        assert!(
            matches!(
                Bedrock.answer("amazon.nova-2-lite-v1:0", body.as_bytes()),
                Err(DecodeError::Malformed(_))
            ),
            "{body}"
        );
    }
    let empty = choice(&Value::Null, "end_turn");
    assert_eq!(empty.text.as_deref(), Some(""));
}

#[test]
fn failures() {
    /// Status, kind, body; then message and code.
    type Case = (
        u16,
        Option<&'static str>,
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
    );
    let cases: [Case; 14] = [
        (
            429,
            Some("ThrottlingException:http://internal.amazon.com/coral/"),
            r#"{"message":"slow"}"#,
            Some("slow"),
            Some("rate_limit_exceeded"),
        ),
        (
            429,
            None,
            r#"{"__type":"com.amazon.coral#ThrottlingException","Message":"slow"}"#,
            Some("slow"),
            Some("rate_limit_exceeded"),
        ),
        (
            400,
            Some("ValidationException"),
            r#"{"message":"Input is too long for requested model."}"#,
            Some("Input is too long for requested model."),
            Some("context_length_exceeded"),
        ),
        (
            400,
            Some("ValidationException"),
            r#"{"message":"prompt is too long: 9 > 8"}"#,
            Some("prompt is too long: 9 > 8"),
            Some("context_length_exceeded"),
        ),
        (
            400,
            Some("ValidationException"),
            r#"{"message":"bad"}"#,
            Some("bad"),
            Some("ValidationException"),
        ),
        (
            400,
            Some("ServiceQuotaExceededException"),
            "{}",
            None,
            Some("insufficient_quota"),
        ),
        (
            403,
            Some("AccessDeniedException"),
            r#"{"Message":"no"}"#,
            Some("no"),
            Some("AccessDeniedException"),
        ),
        (
            403,
            Some("ExpiredTokenException"),
            "{}",
            None,
            Some("ExpiredTokenException"),
        ),
        (
            404,
            Some("ResourceNotFoundException"),
            "{}",
            None,
            Some("model_not_found"),
        ),
        (
            408,
            Some("ModelTimeoutException"),
            "{}",
            None,
            Some("ModelTimeoutException"),
        ),
        (
            424,
            Some("ModelErrorException"),
            r#"{"message":"m","originalStatusCode":500}"#,
            Some("m"),
            Some("ModelErrorException"),
        ),
        (
            500,
            Some("InternalServerException"),
            "{}",
            None,
            Some("InternalServerException"),
        ),
        (
            503,
            Some("ServiceUnavailableException"),
            "{}",
            None,
            Some("ServiceUnavailableException"),
        ),
        (502, None, "<html>bad gateway</html>", None, None),
    ];
    for (status, kind, body, message, code) in cases {
        let header = |name: &str| {
            kind.filter(|_| name == "x-amzn-errortype")
                .map(str::to_owned)
        };
        let failure = Bedrock.failure(status, &header, body.as_bytes());
        let found = (
            failure.status,
            failure.message.as_deref(),
            failure.code.as_deref(),
        );
        assert_eq!(found, (status, message, code), "{body}");
        assert_eq!((failure.param, failure.retry_after), (None, None));
    }
    let wait = |name: &str| (name == "retry-after").then(|| "7".to_owned());
    assert_eq!(Bedrock.failure(429, &wait, b"{}").retry_after, Some(7));
}

fn embed(asked: &Embeddings, strict: bool) -> Value {
    let can = Capabilities::default();
    let options = BTreeMap::new();
    outcome(Bedrock.embeddings(
        asked,
        Target {
            capabilities: &can,
            options: &options,
            strict,
        },
    ))
}

fn embeddings(model: &str, texts: &[&str], dimensions: Option<u64>, other: Value) -> Embeddings {
    Embeddings {
        model: model.into(),
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        dimensions,
        other: other.as_object().cloned().unwrap_or_default(),
        ..Embeddings::default()
    }
}

const TITAN: &str = "amazon.titan-embed-text-v2:0";
const COHERE: &str = "cohere.embed-multilingual-v3";

#[test]
fn embeddings_of_titan() {
    let one = embed(&embeddings(TITAN, &["a"], None, Value::Null), true);
    let path = "/model/amazon.titan-embed-text-v2%3A0/invoke";
    assert_eq!(
        one,
        json!({"path": path, "dropped": [], "body": {"inputText": "a"}})
    );
    let other = json!({"normalize": false, "input_type": "search_query", "x": null});
    let mut asked = embeddings(TITAN, &["a"], Some(256), other);
    asked.user = Some("u".into());
    let body = json!({"inputText": "a", "dimensions": 256, "normalize": false});
    assert_eq!(
        embed(&asked, false),
        json!({"path": path, "dropped": ["user", "input_type"], "body": body})
    );
    assert_eq!(embed(&asked, true)["unsupported"], "user");
    for texts in [&[][..], &["a", "b"]] {
        let refused = embed(&embeddings(TITAN, texts, None, Value::Null), false);
        assert_eq!(
            refused,
            json!({"unsupported": "input", "reason": "This model embeds one text per request."})
        );
    }
    let first = embeddings("amazon.titan-embed-text-v1", &["a"], Some(256), Value::Null);
    assert_eq!(embed(&first, false)["unsupported"], "dimensions");
}

#[test]
fn embeddings_of_cohere() {
    let two = embed(&embeddings(COHERE, &["a", "b"], None, Value::Null), false);
    let body =
        json!({"texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"]});
    assert_eq!(
        two,
        json!({"path": "/model/cohere.embed-multilingual-v3/invoke", "dropped": [], "body": body})
    );
    let other = json!({"input_type": "search_query", "truncate": "END"});
    let query = embed(&embeddings(COHERE, &["a"], None, other), true);
    let body = json!({"texts": ["a"], "input_type": "search_query", "embedding_types": ["float"], "truncate": "END"});
    assert_eq!(query["body"], body);
    assert_eq!(
        embed(&embeddings(COHERE, &["a"], Some(256), Value::Null), false)["unsupported"],
        "dimensions"
    );
    let fourth = embed(
        &embeddings("us.cohere.embed-v4:0", &["a"], Some(256), Value::Null),
        false,
    );
    assert_eq!(fourth["body"]["output_dimension"], 256);
    let number = embed(
        &embeddings(COHERE, &["a"], None, json!({"input_type": 1})),
        false,
    );
    assert_eq!(number["unsupported"], "input_type");
    let unknown = embed(
        &embeddings("anthropic.claude-opus-4-5", &["a"], None, Value::Null),
        false,
    );
    assert_eq!(unknown["unsupported"], "model");
}

#[test]
fn embedded() {
    let count = |name: &str| (name == "x-amzn-bedrock-input-token-count").then(|| "4".to_owned());
    let two = vec![vec![0.5, -1.0], vec![0.25, 2.0]];
    let cases = [
        (
            r#"{"embedding":[0.5,-1],"inputTextTokenCount":3,"embeddingsByType":{}}"#,
            vec![vec![0.5, -1.0]],
            3,
        ),
        (
            r#"{"embeddings":{"float":[[0.5,-1.0],[0.25,2]]},"response_type":"embeddings_by_type"}"#,
            two.clone(),
            4,
        ),
        (
            r#"{"embeddings":[[0.5,-1.0],[0.25,2]],"response_type":"embeddings_floats"}"#,
            two,
            4,
        ),
    ];
    for (body, vectors, tokens) in cases {
        let found = Bedrock.embedded(&count, body.as_bytes()).unwrap();
        assert_eq!(
            found,
            Vectors {
                vectors,
                tokens: Some(tokens)
            },
            "{body}"
        );
    }
    let uncounted = Bedrock
        .embedded(&no_header, br#"{"embeddings":[]}"#)
        .unwrap();
    assert_eq!(uncounted, Vectors::default());
    for body in [
        "",
        "{}",
        r#"{"embedding":["a"]}"#,
        r#"{"embeddings":{"int8":[[1]]}}"#,
    ] {
        assert!(
            Bedrock.embedded(&no_header, body.as_bytes()).is_err(),
            "{body}"
        );
    }
}

#[test]
fn counted() {
    assert_eq!(Bedrock.counted(br#"{"inputTokens":42}"#), Ok(42));
    assert!(Bedrock.counted(b"{}").is_err());
}
