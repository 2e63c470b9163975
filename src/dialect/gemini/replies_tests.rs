use super::*;
use crate::chat::{Event, Finish, Usage};
use bytes::Bytes;
use serde_json::json;

const LIMIT: usize = 1 << 20;

fn decode(stream: &[u8], size: usize) -> (Vec<Event>, Option<DecodeError>) {
    let mut decoder = AI_STUDIO.decoder("m", LIMIT);
    let mut events = Vec::new();
    for chunk in stream.chunks(size) {
        if let Err(error) = decoder.push(Bytes::copy_from_slice(chunk), &mut events) {
            return (events, Some(error));
        }
    }
    let end = decoder.end(&mut events);
    (events, end.err())
}

/// Events, a line each, and the error that ended them.
fn told(events: &[Event], error: Option<&DecodeError>) -> String {
    let mut told = String::new();
    for event in events {
        told += &format!("{event:?}\n");
    }
    if let Some(error) = error {
        told += &format!("! {error:?}\n");
    }
    told
}

#[test]
fn golden_streams() {
    for name in cases("streams", ".sse") {
        let stream = std::fs::read(golden("streams").join(format!("{name}.sse"))).unwrap();
        let (events, error) = decode(&stream, stream.len());
        check(
            golden("streams").join(format!("{name}.events")),
            &told(&events, error.as_ref()),
        );
        for size in [1, 7] {
            assert_eq!(
                decode(&stream, size),
                (events.clone(), error.clone()),
                "{name} by {size}"
            );
        }
        // Line ends as Google sends them.
        let crlf = String::from_utf8(stream).unwrap().replace('\n', "\r\n");
        assert_eq!(
            decode(crlf.as_bytes(), 1),
            (events, error),
            "{name} with CR LF"
        );
    }
}

#[test]
fn golden_answers() {
    for name in cases("answers", ".reply.json") {
        let reply = std::fs::read(golden("answers").join(format!("{name}.reply.json"))).unwrap();
        let answer = AI_STUDIO.answer("m", &reply);
        check(
            golden("answers").join(format!("{name}.answer")),
            &format!("{answer:#?}\n"),
        );
    }
}

fn finish_of(reason: &str, parts: &serde_json::Value) -> Finish {
    let reply =
        json!({ "candidates": [{ "content": { "parts": parts }, "finishReason": reason }] });
    let answer = AI_STUDIO
        .answer("m", reply.to_string().as_bytes())
        .unwrap()
        .unwrap();
    answer.choices[0].finish.unwrap()
}

#[test]
fn every_finish_reason() {
    let filtered = "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII LANGUAGE OTHER MODEL_ARMOR ESCALATION IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION IMAGE_OTHER NO_IMAGE";
    let stopped = "STOP MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE MALFORMED_RESPONSE FINISH_REASON_UNSPECIFIED CONTINUATION FUNCTION_CALL SOMETHING_NEW";
    let text = json!([{ "text": "x" }]);
    for reason in filtered.split(' ') {
        assert_eq!(finish_of(reason, &text), Finish::ContentFilter, "{reason}");
    }
    for reason in stopped.split(' ') {
        assert_eq!(finish_of(reason, &text), Finish::Stop, "{reason}");
    }
    assert_eq!(finish_of("MAX_TOKENS", &text), Finish::Length);
    let call = json!([{ "functionCall": { "name": "f" } }]);
    assert_eq!(finish_of("STOP", &call), Finish::ToolCalls);
    // The last call may be half a call.
    assert_eq!(finish_of("MAX_TOKENS", &call), Finish::Length);
}

#[test]
fn a_stream_cut_anywhere_is_truncated() {
    let stream = std::fs::read(golden("streams").join("text.sse")).unwrap();
    let last = stream
        .windows(12)
        .position(|w| w == b"finishReason")
        .unwrap();
    for end in 0..last {
        let (_, error) = decode(&stream[..end], LIMIT);
        assert_eq!(error, Some(DecodeError::Truncated), "cut at {end}");
    }
    let whole = stream.trim_ascii_end();
    assert_eq!(
        decode(whole, LIMIT).1,
        None,
        "only the blank line is missing"
    );
    assert_eq!(
        decode(&whole[..whole.len() - 1], LIMIT).1,
        Some(DecodeError::Truncated)
    );
}

/// What breaks a stream breaks it alike however it comes, and nothing panics.
#[test]
fn damaged_streams_are_the_same_in_any_pieces() {
    for name in [
        "calls",
        "grounding",
        "logprobs",
        "error_in_a_list",
        "lone_surrogates",
    ] {
        let stream = std::fs::read(golden("streams").join(format!("{name}.sse"))).unwrap();
        for at in (0..stream.len()).step_by(3) {
            for byte in [b'"', b'\n', 0xFF] {
                let mut damaged = stream.clone();
                damaged[at] = byte;
                let whole = decode(&damaged, LIMIT);
                assert_eq!(decode(&damaged, 7), whole, "{name}: {byte} at {at}");
                let _ = AI_STUDIO.answer("m", &damaged);
                let _ = failure(400, &String::from_utf8_lossy(&damaged));
            }
        }
    }
}

#[test]
fn what_is_no_stream_is_an_error() {
    assert_eq!(
        decode(b"data: {\n\n", LIMIT).1,
        Some(DecodeError::Malformed("a response of Gemini's"))
    );
    assert_eq!(
        decode(b"<html>busy</html>", 7).1,
        Some(DecodeError::Truncated)
    );
    assert_eq!(decode(b"", 7).1, Some(DecodeError::Truncated));
    let mut decoder = AI_STUDIO.decoder("m", 16);
    let long = Bytes::from_static(b"data: {\"candidates\":[]}\n\n");
    assert_eq!(
        decoder.push(long, &mut Vec::new()),
        Err(DecodeError::TooLong)
    );
    let mut decoder = AI_STUDIO.decoder("m", 16);
    let long = Bytes::from_static(b"[{\"candidates\":[]}]");
    assert_eq!(
        decoder.push(long, &mut Vec::new()),
        Err(DecodeError::TooLong)
    );
}

#[test]
fn an_error_without_events_is_read_too() {
    let body = b"[{\n  \"error\": {\"code\": 503, \"message\": \"busy\", \"status\": \"UNAVAILABLE\"}\n}]\n";
    for size in [1, 7, 200] {
        let (events, error) = decode(body, size);
        let [Event::Failed(failure)] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!(
            (failure.status, failure.message.as_deref()),
            (503, Some("busy"))
        );
        assert_eq!(error, None);
    }
    let inside = AI_STUDIO.answer("m", body).unwrap().unwrap_err();
    assert_eq!(inside.code.as_deref(), Some("UNAVAILABLE"));
}

#[test]
fn minted_ids_are_the_same_in_a_stream_and_whole_and_differ_otherwise() {
    let call = |name: &str| json!({ "functionCall": { "name": name, "args": { "a": 1 } } });
    let reply = |id: &str| {
        let parts = json!([call("f"), call("f"), call("g")]);
        json!({ "responseId": id, "candidates": [
            { "content": { "parts": parts }, "finishReason": "STOP" },
            { "index": 1, "content": { "parts": [call("f")] }, "finishReason": "STOP" },
        ]})
        .to_string()
    };
    let whole = |id: &str| -> Vec<String> {
        let answer = AI_STUDIO
            .answer("m", reply(id).as_bytes())
            .unwrap()
            .unwrap();
        answer
            .choices
            .into_iter()
            .flat_map(|c| c.calls)
            .map(|c| c.id)
            .collect()
    };
    let (events, _) = decode(format!("data: {}\n\n", reply("r1")).as_bytes(), 7);
    let streamed: Vec<String> = events
        .into_iter()
        .filter_map(|event| match event {
            Event::CallStart { id, .. } => Some(id),
            _ => None,
        })
        .collect();
    assert_eq!(streamed, whole("r1"));
    let mut all = [whole("r1"), whole("r2")].concat();
    assert!(
        all.iter().all(|id| stream::is_minted(id) && id.len() <= 40),
        "{all:?}"
    );
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 8);
}

/// What a body with a status says.
fn failure(status: u16, body: &str) -> Failure {
    AI_STUDIO.failure(status, &|_| None, body.as_bytes())
}

#[track_caller]
fn fails(status: u16, body: &str, expected: (u16, Option<&str>, Option<u64>)) {
    let failure = failure(status, body);
    let found = (failure.status, failure.code.as_deref(), failure.retry_after);
    assert_eq!(found, expected, "{status} {body}");
}

#[test]
fn failures_by_status() {
    let body = |code: u16, status: &str| {
        format!(r#"{{"error":{{"code":{code},"message":"m","status":"{status}"}}}}"#)
    };
    for (code, status) in [
        (400, "INVALID_ARGUMENT"),
        (400, "FAILED_PRECONDITION"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (499, "CANCELLED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ] {
        fails(code, &body(code, status), (code, Some(status), None));
        let wrapped = format!("[{}]", body(code, status));
        fails(code, &wrapped, (code, Some(status), None));
    }
    fails(
        404,
        &body(404, "NOT_FOUND"),
        (404, Some("model_not_found"), None),
    );
    fails(404, "<html>", (404, Some("model_not_found"), None));
    fails(502, "", (502, None, None));
    assert_eq!(
        failure(500, &body(500, "INTERNAL")).message.as_deref(),
        Some("m")
    );
    fails(
        429,
        r#"{"error":"slow down"}"#,
        (429, Some("rate_limit_exceeded"), None),
    );
}

#[test]
fn a_bad_key_is_a_401() {
    let reason = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#;
    fails(400, reason, (401, Some("invalid_api_key"), None));
    let text = r#"{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}"#;
    fails(400, text, (401, Some("invalid_api_key"), None));
}

#[test]
fn what_is_too_long() {
    for message in [
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).",
        "Unable to submit request because the input token count is 40000 but model only supports up to 32768. Reduce the input token count and try again.",
    ] {
        let body =
            json!({ "error": { "code": 400, "message": message, "status": "INVALID_ARGUMENT" } });
        fails(
            400,
            &body.to_string(),
            (400, Some("context_length_exceeded"), None),
        );
    }
    let body = r#"{"error":{"code":400,"message":"Request payload size exceeds the limit: 20971520 bytes.","status":"INVALID_ARGUMENT"}}"#;
    fails(400, body, (413, Some("request_too_large"), None));
}

#[test]
fn when_to_come_back() {
    let body = |delay: &str, quota: &str| {
        json!({ "error": { "code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": [
            { "@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{ "quotaId": quota }] },
            { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay },
        ]}}).to_string()
    };
    let minute = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier";
    for (delay, seconds) in [
        ("13s", Some(13)),
        ("13.2s", Some(14)),
        ("0.5s", Some(1)),
        ("7.000s", Some(7)),
        ("soon", None),
    ] {
        fails(
            429,
            &body(delay, minute),
            (429, Some("rate_limit_exceeded"), seconds),
        );
    }
    let day = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";
    fails(
        429,
        &body("13s", day),
        (429, Some("insufficient_quota"), None),
    );
    let header = |name: &str| (name == "retry-after").then(|| "9".to_owned());
    let failure = |body: &str| AI_STUDIO.failure(429, &header, body.as_bytes()).retry_after;
    assert_eq!(failure(""), Some(9));
    assert_eq!(failure(&body("13s", minute)), Some(13));
    assert_eq!(failure(&body("13s", day)), None);
}

#[test]
fn usage_is_openais() {
    let reply = json!({ "candidates": [{ "content": {}, "finishReason": "STOP" }], "usageMetadata": {
        "promptTokenCount": 100.0, "toolUsePromptTokenCount": 5, "cachedContentTokenCount": "60",
        "candidatesTokenCount": 7, "thoughtsTokenCount": 30, "totalTokenCount": 142,
        "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": 90 }, { "modality": "AUDIO", "tokenCount": 10 }],
        "candidatesTokensDetails": [{ "modality": "AUDIO", "tokenCount": 2 }],
    }});
    let answer = AI_STUDIO
        .answer("m", reply.to_string().as_bytes())
        .unwrap()
        .unwrap();
    let expected = Usage {
        prompt: 105,
        completion: 37,
        cached: 60,
        reasoning: 30,
        audio_in: 10,
        audio_out: 2,
        ..Usage::default()
    };
    assert_eq!(answer.usage, Some(expected));
    assert_eq!(expected.total(), 142);
}

#[test]
fn vectors_of_three_forms() {
    let read = |body: &str| AI_STUDIO.embedded(&|_| None, body.as_bytes());
    let batch = read(r#"{"embeddings":[{"values":[0.5,-1]},{"values":[2e0,0]}]}"#).unwrap();
    assert_eq!(
        batch,
        Vectors {
            vectors: vec![vec![0.5, -1.0], vec![2.0, 0.0]],
            tokens: None
        }
    );
    let single =
        read(r#"{"embedding":{"values":[1]},"usageMetadata":{"promptTokenCount":3}}"#).unwrap();
    assert_eq!(
        single,
        Vectors {
            vectors: vec![vec![1.0]],
            tokens: Some(3)
        }
    );
    let predicted = read(r#"{"predictions":[{"embeddings":{"values":[1],"statistics":{"token_count":2.0,"truncated":false}}},{"embeddings":{"values":[0],"statistics":{"token_count":4}}}]}"#).unwrap();
    assert_eq!(
        predicted,
        Vectors {
            vectors: vec![vec![1.0], vec![0.0]],
            tokens: Some(6)
        }
    );
    for body in [
        "",
        "{}",
        r#"{"embeddings":[{}]}"#,
        r#"{"predictions":[{}]}"#,
        r#"{"embedding":{"values":["x"]}}"#,
    ] {
        assert!(read(body).is_err(), "{body}");
    }
}

#[test]
fn tokens_counted() {
    assert_eq!(
        AI_STUDIO.counted(br#"{"totalTokens":31,"promptTokensDetails":[]}"#),
        Ok(31)
    );
    assert!(AI_STUDIO.counted(b"{}").is_err());
}
