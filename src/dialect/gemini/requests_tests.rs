use super::client::{capabilities, conversation, options};
use super::*;
use serde_json::{Value, json};

/// Renders a case: `client` and, unless it does without, `flavour`,
/// `capabilities`, `options`, `strict`, `count`.
fn render(case: &Value) -> Result<Rendered, Unsupported> {
    let gemini = if case["flavour"] == "vertex" {
        VERTEX
    } else {
        AI_STUDIO
    };
    let (capabilities, options) = (
        capabilities(&case["capabilities"]),
        options(&case["options"]),
    );
    let target = Target {
        capabilities: &capabilities,
        options: &options,
        strict: case["strict"] == true,
    };
    let asked = conversation(&case["client"]);
    if case["count"] == true {
        let counting = gemini.count_tokens(&asked, target)?;
        Ok(counting.expect("it has a counter"))
    } else {
        gemini.chat(&asked, target)
    }
}

/// What a case gives, as its golden file says it.
fn told(rendered: Result<Rendered, Unsupported>) -> Value {
    match rendered {
        Ok(rendered) => {
            assert!(rendered.headers.is_empty());
            let body: Value = serde_json::from_slice(&rendered.body).unwrap();
            json!({ "path": rendered.path, "dropped": rendered.dropped, "body": body })
        }
        Err(unsupported) => json!({ "param": unsupported.param, "reason": unsupported.reason }),
    }
}

#[test]
fn golden_requests() {
    for name in cases("requests", ".client.json") {
        let path = golden("requests").join(format!("{name}.client.json"));
        let case: Value = serde_json::from_slice(&std::fs::read(path).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = serde_json::to_string_pretty(&told(render(&case))).unwrap() + "\n";
        check(
            golden("requests").join(format!("{name}.provider.json")),
            &found,
        );
    }
}

/// A case of one user message and the client's fields `more`.
fn case(more: Value) -> Value {
    let mut client = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
    client
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({ "client": client })
}

/// Checks what a field becomes, and what is dropped on the way.
#[track_caller]
fn becomes(case: Value, pointer: &str, expected: Value, dropped: &[&str]) {
    let told = told(render(&case));
    let found = told
        .pointer(&format!("/body{pointer}"))
        .cloned()
        .unwrap_or_default();
    assert_eq!(found, expected, "{case}: {told}");
    // Which one is named first says nothing.
    let sorted = |names: &Value| {
        let mut names: Vec<_> = names.as_array().cloned().unwrap_or_default();
        names.sort_by_key(ToString::to_string);
        names
    };
    assert_eq!(sorted(&told["dropped"]), sorted(&json!(dropped)), "{case}");
}

#[track_caller]
fn refused(case: Value, param: &str) {
    let told = told(render(&case));
    assert_eq!(told["param"], param, "{case}: {told}");
}

fn with(mut case: Value, name: &str, value: Value) -> Value {
    case[name] = value;
    case
}

#[test]
fn thinking_is_told_by_a_budget_or_a_level() {
    let flash = json!({ "thinking": "budget" });
    let pro = json!({ "thinking": "budget", "thinks_always": true });
    let three = json!({ "thinking": "level" });
    let three_pro =
        json!({ "thinking": "level", "effort": ["low", "high"], "thinks_always": true });
    let budget = |n: u64| json!({ "thinkingBudget": n, "includeThoughts": true });
    let level = |l: &str| json!({ "thinkingLevel": l, "includeThoughts": true });
    let lost: &[&str] = &["reasoning_effort"];
    let rows = [
        (&flash, "none", json!({ "thinkingBudget": 0 }), &[][..]),
        (&flash, "minimal", budget(512), &[]),
        (&flash, "low", budget(1024), &[]),
        (&flash, "medium", budget(8192), &[]),
        (&flash, "high", budget(24576), &[]),
        (&flash, "xhigh", budget(24576), &[]),
        (&pro, "none", json!({ "thinkingBudget": 128 }), lost),
        (&pro, "minimal", budget(128), &[]),
        (&pro, "max", budget(32768), &[]),
        (&three, "none", json!({ "thinkingLevel": "MINIMAL" }), lost),
        (&three, "minimal", level("MINIMAL"), &[]),
        (&three, "medium", level("MEDIUM"), &[]),
        (&three, "xhigh", level("XHIGH"), &[]),
        (&three, "max", level("XHIGH"), lost),
        (&three_pro, "minimal", level("LOW"), lost),
        (&three_pro, "high", level("HIGH"), &[]),
        (&Value::Null, "high", Value::Null, lost),
        (&Value::Null, "none", Value::Null, &[]),
    ];
    for (model, effort, expected, dropped) in rows {
        let case = with(
            case(json!({ "reasoning_effort": effort })),
            "capabilities",
            model.clone(),
        );
        becomes(case, "/generationConfig/thinkingConfig", expected, dropped);
    }
    let config = "/generationConfig/thinkingConfig";
    let asked = case(json!({ "thinking_budget": 2000, "thoughts_visible": false }));
    becomes(
        with(asked.clone(), "capabilities", flash.clone()),
        config,
        json!({ "thinkingBudget": 2000 }),
        &[],
    );
    becomes(
        with(asked.clone(), "capabilities", three),
        config,
        json!({ "thinkingLevel": "MEDIUM" }),
        &[],
    );
    becomes(asked, config, Value::Null, &["thinking"]);
    let visible = case(json!({ "thoughts_visible": true }));
    becomes(
        with(visible, "capabilities", flash),
        config,
        json!({ "includeThoughts": true }),
        &[],
    );
    let unknown = case(json!({ "reasoning_effort": "a lot" }));
    refused(unknown, "reasoning_effort");
}

#[test]
fn every_choice_of_a_tool() {
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name } });
    let tools = json!([tool("a"), tool("b")]);
    let chosen = |choice: Value| case(json!({ "tools": tools, "tool_choice": choice }));
    let allowed = |mode: &str, tools: Value| json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": tools } });
    let rows = [
        (json!("auto"), json!({ "mode": "AUTO" })),
        (json!("none"), json!({ "mode": "NONE" })),
        (json!("required"), json!({ "mode": "ANY" })),
        (
            tool("b"),
            json!({ "mode": "ANY", "allowedFunctionNames": ["b"] }),
        ),
        (
            allowed("required", json!([tool("a")])),
            json!({ "mode": "ANY", "allowedFunctionNames": ["a"] }),
        ),
        (
            allowed("auto", json!([tool("a")])),
            json!({ "mode": "AUTO" }),
        ),
        (Value::Null, Value::Null),
    ];
    for (choice, config) in rows {
        becomes(
            chosen(choice),
            "/toolConfig/functionCallingConfig",
            config,
            &[],
        );
    }
    let one = chosen(allowed("auto", json!([tool("a")])));
    becomes(
        one,
        "/tools/0/functionDeclarations",
        json!([{ "name": "a" }]),
        &[],
    );
    refused(chosen(tool("c")), "tool_choice");
    refused(chosen(allowed("auto", json!([tool("c")]))), "tool_choice");
    refused(chosen(json!({ "type": "custom" })), "tool_choice");
    refused(case(json!({ "tool_choice": "required" })), "tool_choice");
    becomes(
        case(json!({ "tool_choice": "auto" })),
        "/toolConfig",
        Value::Null,
        &[],
    );
    let shy = json!({ "forced_tools": false });
    refused(
        with(chosen(json!("required")), "capabilities", shy),
        "tool_choice",
    );
    refused(
        with(
            chosen(Value::Null),
            "capabilities",
            json!({ "tools": false }),
        ),
        "tools",
    );
}

#[test]
fn strict_tools_are_validated_where_models_can() {
    let tools = json!([{ "type": "function", "function": { "name": "a", "strict": true } }]);
    let asked = |choice: &str| case(json!({ "tools": tools, "tool_choice": choice }));
    let level = json!({ "thinking": "level" });
    let mode = "/toolConfig/functionCallingConfig/mode";
    becomes(
        with(asked("auto"), "capabilities", level.clone()),
        mode,
        json!("VALIDATED"),
        &[],
    );
    becomes(
        with(asked("none"), "capabilities", level),
        mode,
        json!("NONE"),
        &[],
    );
    becomes(
        asked("auto"),
        mode,
        json!("AUTO"),
        &["tools[].function.strict"],
    );
    becomes(asked("required"), mode, json!("ANY"), &[]);
}

#[test]
fn tools_that_are_no_functions() {
    let own = case(json!({ "tools": [{ "type": "google_search", "google_search": {} }] }));
    becomes(own, "/tools", json!([{ "google_search": {} }]), &[]);
    let own = case(json!({ "tools": [{ "codeExecution": {} }] }));
    becomes(own, "/tools", json!([{ "codeExecution": {} }]), &[]);
    refused(
        case(json!({ "tools": [{ "type": "custom", "custom": { "name": "x" } }] })),
        "tools[0]",
    );
    refused(
        case(json!({ "tools": [{ "type": "web_search" }] })),
        "tools[0]",
    );
    for name in ["", "1a", "a b", "-a"] {
        let tools = json!([{ "type": "function", "function": { "name": name } }]);
        refused(case(json!({ "tools": tools })), "tools[0].function.name");
    }
}

#[test]
fn the_form_of_the_answer() {
    let config = "/generationConfig";
    let json_mode = json!({ "responseMimeType": "application/json" });
    let object = case(json!({ "response_format": { "type": "json_object" } }));
    becomes(object, config, json_mode, &[]);
    let schema = json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/A" } }, "$defs": { "A": { "type": ["string", "null"] } }, "additionalProperties": false });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "strict": true, "schema": schema } });
    let asked = case(json!({ "response_format": format }));
    let expected = json!({ "responseMimeType": "application/json", "responseJsonSchema": schema });
    becomes(asked.clone(), config, expected, &[]);
    refused(
        with(asked, "capabilities", json!({ "json_schema": false })),
        "response_format",
    );
    let text = case(json!({ "response_format": { "type": "text" } }));
    becomes(text, config, Value::Null, &[]);
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "description": "An x.", "schema": { "type": "object" } } });
    let described = json!({ "type": "object", "description": "An x." });
    becomes(
        case(json!({ "response_format": format })),
        "/generationConfig/responseJsonSchema",
        described,
        &[],
    );
}

#[test]
fn numbers_of_the_generation() {
    let config = "/generationConfig";
    becomes(case(json!({ "n": 1 })), config, Value::Null, &[]);
    becomes(
        case(json!({ "n": 3 })),
        config,
        json!({ "candidateCount": 3 }),
        &[],
    );
    refused(case(json!({ "n": 9 })), "n");
    becomes(
        case(json!({ "logprobs": true })),
        config,
        json!({ "responseLogprobs": true }),
        &[],
    );
    let logprobs = json!({ "responseLogprobs": true, "logprobs": 4 });
    becomes(
        case(json!({ "logprobs": true, "top_logprobs": 4 })),
        config,
        logprobs,
        &[],
    );
    becomes(
        case(json!({ "seed": -7 })),
        config,
        json!({ "seed": -7 }),
        &[],
    );
    becomes(
        case(json!({ "seed": 3_000_000_000_u64 })),
        config,
        Value::Null,
        &["seed"],
    );
    becomes(
        case(json!({ "logit_bias": { "1": 5 } })),
        config,
        Value::Null,
        &["logit_bias"],
    );
    refused(
        case(json!({ "stop": ["1", "2", "3", "4", "5", "6"] })),
        "stop",
    );
    let heat = case(json!({ "temperature": 1.5, "top_p": 0.5, "top_k": 40 }));
    let free = json!({ "temperature": 1.5, "topP": 0.5, "topK": 40 });
    becomes(heat.clone(), config, free, &[]);
    let one = with(heat.clone(), "capabilities", json!({ "sampling": "one" }));
    becomes(
        one,
        config,
        json!({ "temperature": 1.5, "topK": 40 }),
        &["top_p"],
    );
    let none = with(heat, "capabilities", json!({ "sampling": "none" }));
    becomes(
        none,
        config,
        Value::Null,
        &["temperature", "top_p", "top_k"],
    );
    let penalties = case(json!({ "presence_penalty": 0.5, "frequency_penalty": -0.5 }));
    becomes(
        penalties,
        config,
        json!({ "presencePenalty": 0.5, "frequencyPenalty": -0.5 }),
        &[],
    );
}

#[test]
fn fields_without_a_counterpart_are_dropped_or_refused() {
    let fields = json!({ "user": "u", "store": true, "prediction": {}, "verbosity": "low", "prompt_cache_key": "k", "safety_identifier": "s", "metadata": { "a": "b" } });
    let dropped = [
        "prediction",
        "prompt_cache_key",
        "safety_identifier",
        "store",
        "verbosity",
        "user",
        "metadata",
    ];
    becomes(
        case(fields.clone()),
        "/generationConfig",
        Value::Null,
        &dropped,
    );
    let one = json!({ "prediction": {} });
    refused(with(case(one), "strict", json!(true)), "prediction");
    refused(case(json!({ "audio": { "voice": "x" } })), "audio");
    refused(
        case(json!({ "web_search_options": {} })),
        "web_search_options",
    );
    becomes(
        case(json!({ "modalities": ["text"], "audio": null })),
        "/generationConfig",
        Value::Null,
        &[],
    );
    let tiers = [
        ("auto", Value::Null),
        ("default", json!("standard")),
        ("flex", json!("flex")),
        ("priority", json!("priority")),
    ];
    for (tier, expected) in tiers {
        becomes(
            case(json!({ "service_tier": tier })),
            "/serviceTier",
            expected,
            &[],
        );
    }
    becomes(
        case(json!({ "service_tier": "scale" })),
        "/serviceTier",
        Value::Null,
        &["service_tier"],
    );
}

#[test]
fn metadata_are_labels_at_vertex_if_they_can_be() {
    let asked = |metadata: Value| {
        let case = with(
            case(json!({ "metadata": metadata })),
            "flavour",
            json!("vertex"),
        );
        with(case, "options", json!({ "labels": "{\"owner\":\"us\"}" }))
    };
    let labels = json!({ "team": "search-1", "owner": "us" });
    becomes(
        asked(json!({ "team": "search-1", "owner": "me" })),
        "/labels",
        labels,
        &[],
    );
    let fixed = json!({ "owner": "us" });
    becomes(
        asked(json!({ "team": "Search", "x": "y" })),
        "/labels",
        fixed,
        &["metadata"],
    );
}

#[test]
fn where_a_model_lives() {
    let path = |flavour: &str, options: Value, client: Value| {
        let case = with(
            with(case(client), "flavour", json!(flavour)),
            "options",
            options,
        );
        told(render(&case))["path"].clone()
    };
    let model = json!({ "model": "models/a b/../c?d" });
    assert_eq!(
        path("", json!({}), model),
        "/models/a%20b%2F..%2Fc%3Fd:generateContent"
    );
    let stream = json!({ "stream": true });
    assert_eq!(
        path("", json!({}), stream.clone()),
        "/models/m:streamGenerateContent?alt=sse"
    );
    let place = json!({ "project": "p-1", "location": "europe-west4" });
    assert_eq!(
        path("vertex", place, stream),
        "/projects/p-1/locations/europe-west4/publishers/google/models/m:streamGenerateContent?alt=sse"
    );
    assert_eq!(
        path("vertex", json!({ "project": "p" }), json!({})),
        "/projects/p/locations/global/publishers/google/models/m:generateContent"
    );
    assert_eq!(
        path("vertex", json!({}), json!({})),
        "/publishers/google/models/m:generateContent"
    );
}

#[test]
fn arguments_and_results_keep_their_text() {
    let client = json!({ "model": "m", "messages": [
        { "role": "user", "content": "x" },
        { "role": "assistant", "tool_calls": [{ "id": "1", "function": { "name": "f", "arguments": "{\"z\":12345678901234567890123, \"a\":1.10}" } }] },
        { "role": "tool", "tool_call_id": "1", "content": " {\"z\":1e400,\"a\":2} " },
    ]});
    let unreadable = json!({ "client": client });
    let body = String::from_utf8(render(&unreadable).unwrap().body).unwrap();
    assert!(
        body.contains(r#""args":{"z":12345678901234567890123, "a":1.10}"#),
        "{body}"
    );
    // No number that a reader could take: then it is a text.
    assert!(
        body.contains(r#""response":{"result":" {\"z\":1e400,\"a\":2} "}"#),
        "{body}"
    );
}

#[test]
fn options_are_checked_beforehand() {
    let problems = |gemini: Gemini, json: Value| gemini.problems(&options(&json)).len();
    let good = json!({ "project": "p", "location": "l", "safety_settings": "[]", "labels": "{}" });
    assert_eq!(problems(VERTEX, good), 0);
    assert_eq!(
        problems(AI_STUDIO, json!({ "project": "p", "safety_settings": "{" })),
        2
    );
    assert_eq!(
        problems(VERTEX, json!({ "labels": "[]", "colour": "red" })),
        2
    );
    let asked = with(
        case(json!({})),
        "options",
        json!({ "safety_settings": "no" }),
    );
    refused(asked, "safety_settings");
}

fn embed(
    gemini: Gemini,
    asked: &Embeddings,
    from: Value,
) -> Result<(String, Value, Vec<String>), Unsupported> {
    let (capabilities, options) = (capabilities(&Value::Null), options(&from));
    let target = Target {
        capabilities: &capabilities,
        options: &options,
        strict: false,
    };
    let rendered = gemini.embeddings(asked, target)?;
    Ok((
        rendered.path,
        serde_json::from_slice(&rendered.body).unwrap(),
        rendered.dropped,
    ))
}

#[test]
fn embeddings_of_three_forms() {
    let mut asked = Embeddings {
        model: "gemini-embedding-001".to_owned(),
        texts: vec!["a".to_owned(), "b".to_owned()],
        dimensions: Some(256),
        user: Some("u".to_owned()),
        ..Embeddings::default()
    };
    asked
        .other
        .insert("input_type".to_owned(), "search_query".into());
    asked.other.insert("truncate".to_owned(), "END".into());
    let (path, body, dropped) = embed(AI_STUDIO, &asked, Value::Null).unwrap();
    assert_eq!(path, "/models/gemini-embedding-001:batchEmbedContents");
    let of = |text: &str| json!({ "model": "models/gemini-embedding-001", "content": { "parts": [{ "text": text }] }, "outputDimensionality": 256, "taskType": "RETRIEVAL_QUERY" });
    assert_eq!(body, json!({ "requests": [of("a"), of("b")] }));
    assert_eq!(dropped, ["user", "truncate"]);
    let (path, body, _) =
        embed(VERTEX, &asked, json!({ "project": "p", "location": "l" })).unwrap();
    assert_eq!(
        path,
        "/projects/p/locations/l/publishers/google/models/gemini-embedding-001:predict"
    );
    let of = |text: &str| json!({ "content": text, "task_type": "RETRIEVAL_QUERY" });
    assert_eq!(
        body,
        json!({ "instances": [of("a"), of("b")], "parameters": { "outputDimensionality": 256 } })
    );
    let newer = json!({ "embedding_method": "embedContent" });
    assert_eq!(
        embed(VERTEX, &asked, newer.clone()).unwrap_err().param,
        "input"
    );
    asked.texts.pop();
    let (path, body, _) = embed(VERTEX, &asked, newer).unwrap();
    assert_eq!(
        path,
        "/publishers/google/models/gemini-embedding-001:embedContent"
    );
    assert_eq!(
        body,
        json!({ "content": { "parts": [{ "text": "a" }] }, "outputDimensionality": 256, "taskType": "RETRIEVAL_QUERY" })
    );
}

#[test]
fn what_the_answer_may_hold_is_asked_of_models_that_can() {
    let config = "/generationConfig";
    let images = json!({ "modalities": ["text", "image"] });
    let asked = json!({ "responseModalities": ["TEXT", "IMAGE"] });
    becomes(case(images.clone()), config, asked, &[]);
    let voice = json!({ "modalities": ["audio"], "audio": { "voice": "Kore", "format": "wav" } });
    let spoken = json!({
        "responseModalities": ["AUDIO"],
        "speechConfig": { "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": "Kore" } } },
    });
    becomes(case(voice.clone()), config, spoken, &["audio.format"]);
    let cannot = json!({ "image_output": false, "audio_output": false });
    for fields in [images, voice] {
        let case = with(case(fields), "capabilities", cannot.clone());
        refused(case, "modalities");
    }
    refused(case(json!({ "modalities": ["video"] })), "modalities");
}
