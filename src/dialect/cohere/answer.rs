//! Whole answers and errors of Cohere.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::chat::{Answer, Choice, DecodeError, Failure, Finish, Native, Thought, ToolCall, Usage};
use crate::dialect::seconds;
use crate::wire::json;

/// Most of an error body that is no JSON: pages of proxies.
const PLAIN_ERROR: usize = 500;

pub(super) fn read(body: &[u8]) -> Result<Result<Answer, Failure>, DecodeError> {
    let body: Value = json::lenient(body).ok_or(DecodeError::Malformed("an answer"))?;
    let reason = body.get("finish_reason").and_then(Value::as_str);
    if let Some(failure) = broken(reason, text_of(body.get("error"))) {
        return Ok(Err(failure));
    }
    let message = match body.get("message") {
        Some(message @ Value::Object(_)) => message,
        // An error's body under a status of success.
        Some(Value::String(text)) => return Ok(Err(failed(502, Some(text.clone()), None))),
        _ => return Err(DecodeError::Malformed("an answer without a message")),
    };
    let id = body.get("id").and_then(Value::as_str).map(str::to_owned);
    let calls = calls(message, id.as_deref().unwrap_or_default());
    let choice = Choice {
        thoughts: thoughts(message),
        text: text(message, !calls.is_empty()),
        finish: finish(reason, !calls.is_empty()),
        calls,
        annotations: annotations(message.get("citations")),
        logprobs: logprobs(body.get("logprobs")),
        native: native(reason),
        ..Choice::default()
    };
    Ok(Ok(Answer {
        id,
        choices: vec![choice],
        usage: usage(body.get("usage")),
        ..Answer::default()
    }))
}

fn content(message: &Value) -> impl Iterator<Item = &Value> {
    message
        .get("content")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// What was thought, then what was planned before the calls.
fn thoughts(message: &Value) -> Vec<Thought> {
    let thought = content(message).filter_map(|part| part.get("thinking")?.as_str());
    let plan = message.get("tool_plan").and_then(Value::as_str);
    thought
        .chain(plan)
        .filter(|text| !text.is_empty())
        .map(|text| Thought {
            text: text.to_owned(),
            ..Thought::default()
        })
        .collect()
}

fn text(message: &Value, calls: bool) -> Option<String> {
    let text: String = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        _ => content(message)
            .filter_map(|part| part.get("text")?.as_str())
            .collect(),
    };
    (!text.is_empty() || !calls).then_some(text)
}

fn calls(message: &Value, answer: &str) -> Vec<ToolCall> {
    let list = message.get("tool_calls").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .enumerate()
        .map(|(at, call)| {
            let arguments = arguments(call.pointer("/function/arguments"));
            ToolCall {
                id: call_id(call.get("id"), answer, at),
                name: name(call),
                arguments: if arguments.is_empty() {
                    "{}".to_owned()
                } else {
                    arguments
                },
                ..ToolCall::default()
            }
        })
        .collect()
}

pub(super) fn name(call: &Value) -> String {
    let name = call.pointer("/function/name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

/// A call's arguments are JSON text; a server that forgets so sends an object.
pub(super) fn arguments(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The provider's id of a call. Where it gave none, one made of the answer's
/// id, so that the same bytes give the same id however often they are read.
pub(super) fn call_id(given: Option<&Value>, answer: &str, at: usize) -> String {
    match given.and_then(Value::as_str).filter(|id| !id.is_empty()) {
        Some(id) => id.to_owned(),
        None => {
            let digest = Sha256::digest(answer.as_bytes());
            let short = digest.as_slice().get(..9).unwrap_or_default();
            format!("call_{}_{at}", URL_SAFE_NO_PAD.encode(short))
        }
    }
}

pub(super) fn finish(reason: Option<&str>, calls: bool) -> Option<Finish> {
    let told = match reason {
        Some("MAX_TOKENS") => Finish::Length,
        Some("TOOL_CALL") => Finish::ToolCalls,
        Some(_) => Finish::Stop,
        None if calls => Finish::ToolCalls,
        None => return None,
    };
    Some(told.settled(calls))
}

pub(super) fn native(reason: Option<&str>) -> Option<Native> {
    Native::of(reason?)
}

/// A generation that Cohere gave up is none, whatever it wrote until then.
pub(super) fn broken(reason: Option<&str>, message: Option<String>) -> Option<Failure> {
    let status = match reason? {
        "ERROR" => 502,
        "TIMEOUT" => 504,
        _ => return None,
    };
    let told = message.unwrap_or_else(|| "The provider could not complete the answer.".to_owned());
    Some(failed(status, Some(told), None))
}

pub(super) fn failed(status: u16, message: Option<String>, retry_after: Option<u64>) -> Failure {
    let code = message.as_deref().and_then(|text| code(status, text));
    Failure {
        status,
        code: code.map(str::to_owned),
        message,
        param: None,
        retry_after,
    }
}

/// Cohere has no codes, only sentences.
fn code(status: u16, message: &str) -> Option<&'static str> {
    let message = message.to_ascii_lowercase();
    let says = |words: &str| message.contains(words);
    match status {
        400 | 422 if says("too many tokens") || says("context length") => {
            Some("context_length_exceeded")
        }
        402 => Some("insufficient_quota"),
        // Trial keys: no use in waiting.
        429 if says("month") || says("trial key") && !says("minute") => Some("insufficient_quota"),
        _ => None,
    }
}

pub(super) fn failure(
    status: u16,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
) -> Failure {
    let message = match json::lenient::<Value>(body) {
        Some(body) => ["message", "data", "error", "detail"]
            .into_iter()
            .find_map(|field| text_of(body.get(field))),
        None => plain(body),
    };
    let retry_after = header("retry-after").and_then(|value| seconds(&value));
    // 498 is Cohere's word for a token that is no longer valid.
    failed(
        if status == 498 { 401 } else { status },
        message,
        retry_after,
    )
}

pub(super) fn text_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Object(inner) => text_of(inner.get("message")),
        _ => None,
    }
}

fn plain(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(PLAIN_ERROR).collect())
}

/// Tokens of the model, not those of the bill; the bill's where nothing else is.
pub(super) fn usage(usage: Option<&Value>) -> Option<Usage> {
    let usage = usage?;
    let tokens = usage
        .get("tokens")
        .filter(|tokens| tokens.is_object())
        .or_else(|| usage.get("billed_units").filter(|units| units.is_object()))?;
    Some(Usage {
        prompt: count(tokens.get("input_tokens")).unwrap_or_default(),
        completion: count(tokens.get("output_tokens")).unwrap_or_default(),
        cached: count(usage.get("cached_tokens")).unwrap_or_default(),
        ..Usage::default()
    })
}

/// A count that may be written as a float.
pub(super) fn count(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and what is negative or not finite was sorted out"
    )]
    let whole = |float: f64| (float.is_finite() && float >= 0.0).then_some(float as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(whole))
}

/// Citations: of pages as OpenAI has them, of other documents and of what tools
/// gave back as Cohere does. One without a source tells at least its place.
pub(super) fn annotations(citations: Option<&Value>) -> Vec<Value> {
    let list: &[Value] = match citations {
        Some(Value::Array(list)) => list,
        Some(single @ Value::Object(_)) => std::slice::from_ref(single),
        _ => &[],
    };
    list.iter().flat_map(cited).collect()
}

fn cited(citation: &Value) -> Vec<Value> {
    let sources = citation.get("sources").and_then(Value::as_array);
    match sources.map_or(&[][..], Vec::as_slice) {
        [] => vec![annotation(citation, &Value::Null)],
        sources => sources
            .iter()
            .map(|source| annotation(citation, source))
            .collect(),
    }
}

fn annotation(citation: &Value, source: &Value) -> Value {
    let position = |name: &str| count(citation.get(name)).unwrap_or_default();
    let (start, end) = (position("start"), position("end"));
    let page = source.get("document").or_else(|| source.get("tool_output"));
    let text = |name: &str| page.and_then(|page| page.get(name)?.as_str());
    match text("url") {
        Some(url) => json!({
            "type": "url_citation",
            "url_citation": {
                "start_index": start,
                "end_index": end,
                "title": text("title").unwrap_or(url),
                "url": url,
            },
        }),
        None => json!({
            "type": "document_citation",
            "document_citation": {
                "start_index": start,
                "end_index": end,
                "cited_text": citation.get("text"),
                "source": source,
            },
        }),
    }
}

/// OpenAI's form of Cohere's list. An entry may hold a chunk of several
/// tokens; its log probability is then the sum of theirs.
pub(super) fn logprobs(value: Option<&Value>) -> Option<Value> {
    let list: &[Value] = match value? {
        Value::Array(list) => list,
        single @ Value::Object(_) => std::slice::from_ref(single),
        _ => return None,
    };
    let content: Vec<Value> = list.iter().filter_map(logprob).collect();
    let mut out = Map::new();
    out.insert("content".into(), Value::Array(content));
    out.insert("refusal".into(), Value::Null);
    Some(Value::Object(out))
}

fn logprob(entry: &Value) -> Option<Value> {
    let text = entry.get("text")?.as_str()?;
    let each = entry.get("logprobs")?.as_array()?;
    let sum: f64 = each.iter().filter_map(Value::as_f64).sum();
    Some(json!({"token": text, "logprob": sum, "bytes": text.as_bytes(), "top_logprobs": []}))
}
