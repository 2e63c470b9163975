//! A `GenerateContentResponse`: whole, or one of a stream's, which has the same
//! form. A whole answer is read as a stream of one, so that both tell the same.

use super::failure;
use super::lenient::{as_count, count};
use super::stream::Reader;
use crate::chat::{Answer, DecodeError, Failure, Usage, gather};
use crate::wire::json::{lenient, mended};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Chunk {
    pub(super) candidates: Option<Vec<Candidate>>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Counts>,
    pub(super) model_version: Option<String>,
    pub(super) response_id: Option<String>,
    error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Candidate {
    #[serde(deserialize_with = "count")]
    pub(super) index: Option<u64>,
    content: Option<Content>,
    pub(super) finish_reason: Option<String>,
    pub(super) grounding_metadata: Option<Value>,
    pub(super) citation_metadata: Option<Value>,
    logprobs_result: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content {
    parts: Option<Vec<Piece>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Piece {
    pub(super) text: Option<String>,
    pub(super) thought: Option<bool>,
    pub(super) thought_signature: Option<String>,
    pub(super) function_call: Option<Call>,
    pub(super) inline_data: Option<Blob>,
    pub(super) executable_code: Option<Code>,
    pub(super) code_execution_result: Option<CodeResult>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Call {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) args: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Blob {
    pub(super) mime_type: Option<String>,
    pub(super) data: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Code {
    pub(super) language: Option<String>,
    pub(super) code: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CodeResult {
    pub(super) output: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Feedback {
    block_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Counts {
    #[serde(deserialize_with = "count")]
    prompt_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    tool_use_prompt_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    cached_content_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    candidates_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    thoughts_token_count: Option<u64>,
    prompt_tokens_details: Option<Value>,
    candidates_tokens_details: Option<Value>,
}

impl Chunk {
    /// Reads one; a list of one, as well.
    pub(super) fn read(json: &[u8]) -> Result<Result<Self, Failure>, DecodeError> {
        let chunk: Self = serde_json::from_slice(&mended(unlisted(json)))
            .map_err(|_| DecodeError::Malformed("a response of Gemini's"))?;
        match chunk.error {
            Some(error) => Ok(Err(failure::of(&error, None))),
            None => Ok(Ok(chunk)),
        }
    }

    /// Why the prompt was refused, if it was.
    pub(super) fn block_reason(&self) -> Option<String> {
        let reason = self.prompt_feedback.as_ref()?.block_reason.clone();
        reason.filter(|reason| reason != "BLOCK_REASON_UNSPECIFIED")
    }

    /// Usage, in OpenAI's meaning: Gemini counts thoughts beside the answer,
    /// and the results of its own tools beside the prompt.
    pub(super) fn usage(&self) -> Option<Usage> {
        let counts = self.usage_metadata.as_ref()?;
        let prompt = counts.prompt_token_count.unwrap_or_default();
        let answer = counts.candidates_token_count.unwrap_or_default();
        let reasoning = counts.thoughts_token_count.unwrap_or_default();
        let own_tools = counts.tool_use_prompt_token_count.unwrap_or_default();
        Some(Usage {
            prompt: prompt.saturating_add(own_tools),
            completion: answer.saturating_add(reasoning),
            cached: counts.cached_content_token_count.unwrap_or_default(),
            reasoning,
            audio_in: audio(counts.prompt_tokens_details.as_ref()),
            audio_out: audio(counts.candidates_tokens_details.as_ref()),
            ..Usage::default()
        })
    }
}

impl Candidate {
    pub(super) fn pieces(&mut self) -> Vec<Piece> {
        let content = self.content.take().unwrap_or_default();
        content.parts.unwrap_or_default()
    }

    /// OpenAI's `logprobs`. What the bytes of a token are is not known: it may
    /// be a part of a character.
    pub(super) fn logprobs(&self) -> Option<Value> {
        let result = self.logprobs_result.as_ref()?;
        let chosen = result.get("chosenCandidates")?.as_array()?;
        let top = result.get("topCandidates").and_then(Value::as_array);
        let content: Vec<Value> = chosen
            .iter()
            .enumerate()
            .map(|(at, token)| {
                let others = top.and_then(|top| top.get(at)?.get("candidates")?.as_array());
                let others: Vec<Value> = others.into_iter().flatten().map(logprob).collect();
                let mut token = logprob(token);
                if let Some(token) = token.as_object_mut() {
                    token.insert("top_logprobs".to_owned(), others.into());
                }
                token
            })
            .collect();
        (!content.is_empty()).then(|| json!({ "content": content, "refusal": null }))
    }
}

fn logprob(token: &Value) -> Value {
    json!({
        "token": token.get("token").and_then(Value::as_str).unwrap_or_default(),
        "logprob": token.get("logProbability").and_then(Value::as_f64).unwrap_or_default(),
        "bytes": null,
    })
}

/// Tokens of audio among a count's details.
fn audio(details: Option<&Value>) -> u64 {
    let details = details.and_then(Value::as_array).into_iter().flatten();
    details
        .filter(|detail| {
            detail
                .get("modality")
                .is_some_and(|modality| modality == "AUDIO")
        })
        .filter_map(|detail| as_count(detail.get("tokenCount")?))
        .fold(0, u64::saturating_add)
}

/// What a list of one item holds, or `json` itself.
fn unlisted(json: &[u8]) -> &[u8] {
    let json = json.trim_ascii();
    if !json.starts_with(b"[") {
        return json;
    }
    match serde_json::from_slice::<Vec<&RawValue>>(json).as_deref() {
        Ok([item]) => item.get().as_bytes(),
        _ => json,
    }
}

/// Reads a whole answer.
pub(super) fn read(body: &[u8]) -> Result<Result<Answer, Failure>, DecodeError> {
    let chunk = match Chunk::read(body)? {
        Ok(chunk) => chunk,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut reader = Reader::default();
    let mut events = Vec::new();
    reader.take(chunk, &mut events)?;
    reader.finish_whole(&mut events)?;
    Ok(Ok(gather(events)))
}

/// The token count of `countTokens`.
pub(super) fn counted(body: &[u8]) -> Result<u64, DecodeError> {
    let body: Option<Value> = lenient(body);
    let total = body.as_ref().and_then(|body| body.get("totalTokens"));
    total
        .and_then(as_count)
        .ok_or(DecodeError::Malformed("a count of tokens"))
}
