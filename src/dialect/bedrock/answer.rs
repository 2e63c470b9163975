//! Whole answers, usage, finish reasons and failures. Streams read the same parts.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::ANSWER_TOOL;
use crate::chat::{
    Answer, DecodeError, Event, Failure, Finish, Native, Origin, Sealed, Source, Usage, gather,
};
use crate::dialect::seconds;
use crate::wire::json;

/// A body of Converse. What is not named here is ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    stop_reason: Option<String>,
    usage: Option<Value>,
    service_tier: Option<Value>,
    additional_model_response_fields: Option<Value>,
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
    image: Option<Image>,
}

#[derive(Deserialize)]
struct Image {
    format: Option<String>,
    source: Option<ImageSource>,
}

#[derive(Deserialize)]
struct ImageSource {
    /// Base64.
    bytes: Option<String>,
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

/// Reads a whole answer, as the events that it would have been.
pub(super) fn answer(origin: Origin, body: &[u8]) -> Result<Answer, DecodeError> {
    let body = json::mended(body);
    let body: Body<'_> = serde_json::from_slice(&body)
        .map_err(|_| DecodeError::Malformed("an answer of Converse"))?;
    let mut reading = Reading::new(origin);
    for block in body.output.message.content.unwrap_or_default() {
        reading.block(block);
    }
    let matched = matched(body.additional_model_response_fields.as_ref());
    let reason = body.stop_reason.as_deref();
    let mut events = reading.events;
    events.extend(ending(reason, matched, reading.calls > 0, reading.emulated));
    let tier = body
        .service_tier
        .as_ref()
        .and_then(|tier| tier.get("type"))
        .and_then(Value::as_str);
    Ok(Answer {
        usage: body.usage.as_ref().map(usage),
        service_tier: tier.map(str::to_owned),
        ..gather(events)
    })
}

struct Reading {
    /// Of what the model sealed.
    origin: Origin,
    events: Vec<Event>,
    calls: u32,
    /// In characters, of the text so far.
    length: usize,
    /// The answer came as the input of [`ANSWER_TOOL`].
    emulated: bool,
}

impl Reading {
    const fn new(origin: Origin) -> Self {
        Self {
            origin,
            events: Vec::new(),
            calls: 0,
            length: 0,
            emulated: false,
        }
    }

    fn block(&mut self, block: Block<'_>) {
        if let Some(text) = block.text {
            self.text(text);
        }
        if let Some(Cited { content, citations }) = block.citations_content {
            let start = self.length;
            let texts = content.into_iter().flatten();
            for text in texts.filter_map(|piece| piece.text) {
                self.text(text);
            }
            let citations = citations.unwrap_or_default();
            self.events.extend(cited(&citations, start, self.length));
        }
        if let Some(reasoning) = block.reasoning_content {
            self.thought(reasoning);
        }
        if let Some(call) = block.tool_use.filter(|call| call.r#type.is_none()) {
            self.call(call);
        }
        if let Some(made) = block.image {
            let data = made.source.and_then(|source| source.bytes);
            let format = made.format.unwrap_or_default();
            self.events
                .extend(data.and_then(|data| image(&format, data)));
        }
    }

    fn text(&mut self, text: String) {
        self.length = self.length.saturating_add(text.chars().count());
        self.events.push(Event::Text { choice: 0, text });
    }

    fn thought(&mut self, reasoning: Reasoning) {
        let choice = 0;
        let seal = |text: Option<String>| {
            let text = text.filter(|text| !text.is_empty());
            text.map(|text| Sealed::new(self.origin, text))
        };
        if let Some(ReasoningText { text, signature }) = reasoning.reasoning_text {
            let text = text.filter(|text| !text.is_empty());
            self.events
                .extend(text.map(|text| Event::Thought { choice, text }));
            self.events
                .extend(seal(signature).map(|signature| Event::Signature { choice, signature }));
        }
        self.events.extend(
            seal(reasoning.redacted_content).map(|data| Event::RedactedThought { choice, data }),
        );
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
            self.text(arguments);
            return;
        }
        let number = self.calls;
        self.calls = number.saturating_add(1);
        let id = call.tool_use_id.filter(|id| !id.is_empty());
        self.events.push(Event::CallStart {
            choice: 0,
            call: number,
            id: id.unwrap_or_else(|| minted_id(number)),
            name,
            signature: None,
        });
        self.events.push(Event::CallArguments {
            choice: 0,
            call: number,
            text: arguments,
        });
    }
}

/// An image that the model made.
pub(super) fn image(format: &str, data: String) -> Option<Event> {
    let image = Source::Inline {
        media_type: format!("image/{format}"),
        data,
    };
    let there = matches!(&image, Source::Inline { data, .. } if !data.is_empty());
    there.then_some(Event::Image { choice: 0, image })
}

/// The id of a call that came without one, which the API forbids.
pub(super) fn minted_id(call: u32) -> String {
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
/// web; Anthropic's type and fields for a place in a document; for others, of which neither has
/// a form, the provider's own.
pub(super) fn annotation(citation: &Value, start: usize, end: usize) -> Value {
    let title = citation.get("title").cloned().unwrap_or_default();
    if let Some(url) = citation
        .pointer("/location/web/url")
        .and_then(Value::as_str)
    {
        let title = title.as_str().unwrap_or_default();
        let cited = json!({"start_index": start, "end_index": end, "title": title, "url": url});
        return json!({"type": "url_citation", "url_citation": cited});
    }
    let Some((kind, from, to, place)) = PLACES
        .iter()
        .find_map(|(name, kind, from, to)| Some((kind, from, to, place(citation, name)?)))
    else {
        let cited = json!({"start_index": start, "end_index": end, "citation": citation});
        return json!({"type": "document_citation", "document_citation": cited});
    };
    let texts = citation.get("sourceContent").and_then(Value::as_array);
    let texts = texts.into_iter().flatten();
    let text: String = texts
        .filter_map(|piece| piece.get("text")?.as_str())
        .collect();
    let mut cited = json!({
        "cited_text": text,
        "document_index": place.get("documentIndex").cloned().unwrap_or_else(|| 0.into()),
        "document_title": title,
        "start_index": start,
        "end_index": end,
    });
    if let Some(cited) = cited.as_object_mut() {
        for (ours, theirs) in [(from, "start"), (to, "end")] {
            cited.insert(
                (*ours).to_owned(),
                place.get(theirs).cloned().unwrap_or_default(),
            );
        }
    }
    let mut annotation = Map::new();
    annotation.insert("type".to_owned(), (*kind).into());
    annotation.insert((*kind).to_owned(), cited);
    Value::Object(annotation)
}

/// Bedrock's kinds of places in documents, with Anthropic's types and names.
const PLACES: [(&str, &str, &str, &str); 3] = [
    (
        "documentChar",
        "char_location",
        "start_char_index",
        "end_char_index",
    ),
    (
        "documentPage",
        "page_location",
        "start_page_number",
        "end_page_number",
    ),
    (
        "documentChunk",
        "content_block_location",
        "start_block_index",
        "end_block_index",
    ),
];

fn place<'a>(citation: &'a Value, kind: &str) -> Option<&'a Value> {
    citation
        .get("location")?
        .get(kind)
        .filter(|place| place.is_object())
}

/// Citations of the text from `start` to `end`, if there are any.
pub(super) fn cited(citations: &[Value], start: usize, end: usize) -> Option<Event> {
    let annotations = citations
        .iter()
        .map(|citation| annotation(citation, start, end));
    (!citations.is_empty()).then(|| Event::Annotations {
        choice: 0,
        annotations: annotations.collect(),
    })
}

/// The stop text that the model wrote, where the request asked Bedrock to tell it.
pub(super) fn matched(fields: Option<&Value>) -> Option<String> {
    let matched = fields?.get("stop_sequence")?.as_str()?;
    Some(matched.to_owned())
}

/// Why the model stopped. `emulated`: what the provider calls a tool call was the answer.
pub(super) fn ending(
    reason: Option<&str>,
    matched: Option<String>,
    calls: bool,
    emulated: bool,
) -> impl Iterator<Item = Event> {
    let reason = reason.unwrap_or_default();
    let told = match reason {
        "tool_use" if !emulated => Finish::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "guardrail_intervened" | "content_filtered" => Finish::ContentFilter,
        _ => Finish::Stop,
    };
    let native = Native::of(reason).map(|native| Native { matched, ..native });
    let native = native.map(|native| Event::Native { choice: 0, native });
    let finish = told.settled(calls);
    native
        .into_iter()
        .chain([Event::Finish { choice: 0, finish }])
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
    let body: Value = json::lenient(body).unwrap_or_default();
    let kind = header("x-amzn-errortype").or_else(|| {
        let kind = body.get("__type").or_else(|| body.get("code"));
        kind.and_then(Value::as_str).map(str::to_owned)
    });
    let retry_after = header("retry-after").and_then(|value| seconds(&value));
    Failure {
        retry_after,
        ..failed(status, kind.as_deref().unwrap_or_default(), &body)
    }
}

/// Reads an exception in a stream, where the status is that of its kind.
pub(super) fn exception(kind: &str, body: &Value) -> Failure {
    let (kind, status) = known(bare(kind));
    failed(status, kind, body)
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

/// The name and the status that an exception has outside of a stream. Event streams write its
/// first letter small.
fn known(kind: &str) -> (&str, u16) {
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
    let mut known = STATUS.into_iter();
    let found = known.find(|(name, _)| name.eq_ignore_ascii_case(kind));
    found.unwrap_or((kind, 500))
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
