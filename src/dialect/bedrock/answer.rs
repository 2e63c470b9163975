//! Whole answers, usage, finish reasons and failures. Streams read the same parts.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ANSWER_TOOL;
use crate::chat::{
    Answer, Choice, DecodeError, Failure, Finish, Origin, Sealed, Thought, ToolCall, Usage,
};

/// A body of Converse. What is not named here is ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    stop_reason: Option<String>,
    usage: Option<Value>,
    service_tier: Option<Value>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<Vec<Block<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    text: Option<String>,
    #[serde(borrow)]
    tool_use: Option<ToolUse<'a>>,
    reasoning_content: Option<Reasoning>,
    citations_content: Option<Cited>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse<'a> {
    tool_use_id: Option<String>,
    name: Option<String>,
    /// Kept as written: a number of many digits must not pass through a float.
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    /// Set for the provider's own tools, whose calls are not the client's.
    r#type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning {
    reasoning_text: Option<ReasoningText>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
struct ReasoningText {
    text: Option<String>,
    signature: Option<String>,
}

#[derive(Deserialize)]
struct Cited {
    content: Option<Vec<CitedText>>,
    citations: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct CitedText {
    text: Option<String>,
}

/// Reads a whole answer.
pub(super) fn answer(origin: Origin, body: &[u8]) -> Result<Answer, DecodeError> {
    let body: Body<'_> = serde_json::from_slice(body)
        .map_err(|_| DecodeError::Malformed("an answer of Converse"))?;
    let mut reading = Reading::new(origin);
    for block in body.output.message.content.unwrap_or_default() {
        reading.block(block);
    }
    let mut choice = reading.choice;
    let finish = finish(
        body.stop_reason.as_deref(),
        !choice.calls.is_empty(),
        reading.emulated,
    );
    choice.finish = Some(finish);
    if choice.text.is_none() && choice.calls.is_empty() {
        choice.text = Some(String::new());
    }
    let tier = body
        .service_tier
        .as_ref()
        .and_then(|tier| tier.get("type"))
        .and_then(Value::as_str);
    Ok(Answer {
        choices: vec![choice],
        usage: body.usage.as_ref().map(usage),
        service_tier: tier.map(str::to_owned),
        ..Answer::default()
    })
}

struct Reading {
    /// Of what the model sealed.
    origin: Origin,
    choice: Choice,
    /// In characters, of the text so far.
    length: usize,
    /// The answer came as the input of [`ANSWER_TOOL`].
    emulated: bool,
}

impl Reading {
    fn new(origin: Origin) -> Self {
        Self {
            origin,
            choice: Choice::default(),
            length: 0,
            emulated: false,
        }
    }

    fn block(&mut self, block: Block<'_>) {
        if let Some(text) = block.text {
            self.text(&text);
        }
        if let Some(cited) = block.citations_content {
            let start = self.length;
            for text in cited
                .content
                .into_iter()
                .flatten()
                .filter_map(|piece| piece.text)
            {
                self.text(&text);
            }
            let citations = cited.citations.into_iter().flatten();
            let end = self.length;
            self.choice
                .annotations
                .extend(citations.map(|citation| annotation(&citation, start, end)));
        }
        if let Some(reasoning) = block.reasoning_content {
            self.thought(reasoning);
        }
        if let Some(call) = block.tool_use.filter(|call| call.r#type.is_none()) {
            self.call(call);
        }
    }

    fn text(&mut self, text: &str) {
        self.length = self.length.saturating_add(text.chars().count());
        self.choice.text.get_or_insert_default().push_str(text);
    }

    fn thought(&mut self, reasoning: Reasoning) {
        if let Some(ReasoningText { text, signature }) = reasoning.reasoning_text {
            let signature = signature.filter(|signature| !signature.is_empty());
            self.choice.thoughts.push(Thought {
                text: text.unwrap_or_default(),
                signature: signature.map(|text| Sealed::new(self.origin, text)),
                redacted: None,
            });
        }
        if let Some(data) = reasoning.redacted_content {
            self.choice.thoughts.push(Thought {
                redacted: Some(Sealed::new(self.origin, data)),
                ..Thought::default()
            });
        }
    }

    fn call(&mut self, call: ToolUse<'_>) {
        let input = call.input.map_or("{}", RawValue::get);
        let arguments = if input == "null" {
            "{}".to_owned()
        } else {
            compact(input)
        };
        let name = call.name.unwrap_or_default();
        if name == ANSWER_TOOL {
            self.emulated = true;
            self.text(&arguments);
            return;
        }
        let id = call.tool_use_id.filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| minted_id(self.choice.calls.len()));
        self.choice.calls.push(ToolCall {
            id,
            name,
            arguments,
            signature: None,
        });
    }
}

/// The id of a call that came without one, which the API forbids.
pub(super) fn minted_id(call: usize) -> String {
    format!("call_{call}")
}

/// JSON without the white space between its tokens.
fn compact(json: &str) -> String {
    let mut within = false;
    let mut escaped = false;
    let kept = json.chars().filter(|&c| {
        if !within {
            within = c == '"';
            return !c.is_ascii_whitespace();
        }
        within = escaped || c != '"';
        escaped = !escaped && c == '\\';
        true
    });
    kept.collect()
}

/// A citation of the text from `start` to `end`, in characters: OpenAI's form for a page of the
/// web; for others, of which OpenAI has no form, the provider's own under a type of its own.
pub(super) fn annotation(citation: &Value, start: usize, end: usize) -> Value {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let url = text(citation.pointer("/location/web/url"));
    match url {
        Some(url) => {
            let title = text(citation.get("title")).unwrap_or_default();
            let cited = json!({"start_index": start, "end_index": end, "title": title, "url": url});
            json!({"type": "url_citation", "url_citation": cited})
        }
        None => {
            let cited = json!({"start_index": start, "end_index": end, "citation": citation});
            json!({"type": "document_citation", "document_citation": cited})
        }
    }
}

/// `emulated`: what the provider calls a tool call was the answer.
pub(super) fn finish(reason: Option<&str>, calls: bool, emulated: bool) -> Finish {
    if calls {
        return Finish::ToolCalls;
    }
    match reason.unwrap_or_default() {
        "tool_use" if !emulated => Finish::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "guardrail_intervened" | "content_filtered" => Finish::ContentFilter,
        _ => Finish::Stop,
    }
}

/// Tokens in OpenAI's meaning: Bedrock counts what a cache gave or took apart from the input.
pub(super) fn usage(usage: &Value) -> Usage {
    let count = |name: &str| usage.get(name).map_or(0, number);
    let cached = count("cacheReadInputTokens");
    let cache_write = count("cacheWriteInputTokens");
    Usage {
        prompt: count("inputTokens")
            .saturating_add(cached)
            .saturating_add(cache_write),
        completion: count("outputTokens"),
        cached,
        cache_write,
        ..Usage::default()
    }
}

/// A count, also if written `12.0`.
fn number(value: &Value) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and NaN is 0"
    )]
    let rounded = || value.as_f64().map(|float| float as u64);
    value.as_u64().or_else(rounded).unwrap_or_default()
}

/// Reads an answer with an error status.
pub(super) fn failure(
    status: u16,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
) -> Failure {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = header("x-amzn-errortype").or_else(|| {
        let kind = body.get("__type").or_else(|| body.get("code"));
        kind.and_then(Value::as_str).map(str::to_owned)
    });
    let retry_after = header("retry-after").and_then(|seconds| seconds.trim().parse().ok());
    Failure {
        retry_after,
        ..failed(status, kind.as_deref().unwrap_or_default(), &body)
    }
}

/// Reads an exception in a stream, where the status is that of its kind.
pub(super) fn exception(kind: &str, body: &Value) -> Failure {
    failed(status(bare(kind)), kind, body)
}

fn failed(status: u16, kind: &str, body: &Value) -> Failure {
    let texts = ["message", "Message", "originalMessage"].into_iter();
    let message = texts
        .filter_map(|name| body.get(name)?.as_str())
        .find(|text| !text.is_empty());
    let code = code(status, bare(kind), message.unwrap_or_default());
    Failure {
        status,
        message: message.map(str::to_owned),
        code: code.map(Cow::into_owned),
        ..Failure::default()
    }
}

/// `com.amazon.x#ThrottlingException:http://...` without what stands around the name.
fn bare(kind: &str) -> &str {
    let kind = kind.split(':').next().unwrap_or_default();
    kind.rsplit('#').next().unwrap_or_default().trim()
}

/// The status that an exception has outside of a stream. Event streams write its first letter
/// small.
fn status(kind: &str) -> u16 {
    const STATUS: [(&str, u16); 14] = [
        ("ValidationException", 400),
        ("ServiceQuotaExceededException", 400),
        ("AccessDeniedException", 403),
        ("UnrecognizedClientException", 403),
        ("InvalidSignatureException", 403),
        ("ExpiredTokenException", 403),
        ("ResourceNotFoundException", 404),
        ("ModelTimeoutException", 408),
        ("ModelErrorException", 424),
        ("ModelStreamErrorException", 424),
        ("ThrottlingException", 429),
        ("ModelNotReadyException", 429),
        ("InternalServerException", 500),
        ("ServiceUnavailableException", 503),
    ];
    let found = STATUS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(kind));
    found.map_or(500, |(_, status)| *status)
}

/// OpenAI's code, or the kind.
fn code<'a>(status: u16, kind: &'a str, message: &str) -> Option<Cow<'a, str>> {
    const TOO_LONG: [&str; 5] = [
        "input is too long",
        "prompt is too long",
        "too many input tokens",
        "exceed context limit",
        "maximum context length",
    ];
    let message = message.to_ascii_lowercase();
    if status == 400 && TOO_LONG.iter().any(|phrase| message.contains(phrase)) {
        return Some("context_length_exceeded".into());
    }
    let code = match kind.to_ascii_lowercase().as_str() {
        "throttlingexception" => "rate_limit_exceeded",
        "resourcenotfoundexception" => "model_not_found",
        "servicequotaexceededexception" => "insufficient_quota",
        "" => return None,
        _ => return Some(kind.into()),
    };
    Some(code.into())
}
