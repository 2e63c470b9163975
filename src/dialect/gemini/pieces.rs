//! What `contents` are made of, as they stand in JSON.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;

#[derive(Debug, Serialize)]
pub(super) struct Contents<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    pub(super) parts: Vec<Piece<'a>>,
}

/// One of Gemini's parts.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Piece<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thought: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inline_data: Option<Blob<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_data: Option<Reference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_call: Option<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thought_signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) media_resolution: Option<Resolution>,
}

impl Piece<'_> {
    /// Whether it is something that the model said or showed, and not signed.
    pub(super) const fn takes_signature(&self) -> bool {
        let shown = self.text.is_some() || self.inline_data.is_some();
        shown && self.thought.is_none() && self.thought_signature.is_none()
    }

    /// Whether it is a signature and nothing else.
    pub(super) fn is_signature(&self) -> bool {
        let silent = self.text.as_deref() == Some("") && self.inline_data.is_none();
        silent && self.thought_signature.is_some()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob<'a> {
    pub(super) mime_type: Cow<'a, str>,
    pub(super) data: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reference<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mime_type: Option<&'static str>,
    pub(super) file_uri: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct Resolution {
    pub(super) level: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) name: &'a str,
    /// As the model wrote it: numbers and the order of keys stay what they were.
    pub(super) args: Box<RawValue>,
}

#[derive(Debug, Serialize)]
pub(super) struct Response<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) response: Box<RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<Piece<'a>>,
}

pub(super) fn text_piece(text: &str) -> Piece<'_> {
    Piece {
        text: Some(Cow::Borrowed(text)),
        ..Piece::default()
    }
}

/// A call's arguments, if they are an object.
pub(super) fn arguments(text: &str) -> Option<Box<RawValue>> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    object(text)
}

/// The text, if it is a JSON object.
fn object(text: &str) -> Option<Box<RawValue>> {
    let text = text.trim();
    if !text.starts_with('{') {
        return None;
    }
    serde_json::from_str::<Map<String, Value>>(text).ok()?;
    RawValue::from_string(text.to_owned()).ok()
}

/// What a tool gave back: its object, or its text as one.
pub(super) fn outcome(text: &str, is_error: bool) -> Box<RawValue> {
    let key = match (is_error, object(text)) {
        (false, Some(object)) => return object,
        (false, None) => "result",
        (true, _) => "error",
    };
    let object = Map::from_iter([(key.to_owned(), Value::from(text))]);
    serde_json::value::to_raw_value(&object).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Whether AI Studio reads a URL by itself: of its Files API, and YouTube's.
pub(super) fn is_own(url: &str) -> bool {
    const OWN: [&str; 4] = [
        "https://generativelanguage.googleapis.com/",
        "https://www.youtube.com/watch?",
        "https://youtube.com/watch?",
        "https://youtu.be/",
    ];
    OWN.iter().any(|own| url.starts_with(own))
}

/// The media type that the ending of a name or a URL tells.
pub(super) fn media_type(name: &str) -> Option<&'static str> {
    if name.contains("youtube.com/watch?") || name.starts_with("https://youtu.be/") {
        return Some("video/mp4");
    }
    let path = name.split(['?', '#']).next()?;
    let ending = path.rsplit('/').next()?.rsplit_once('.')?.1;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" | "text" | "log" => "text/plain",
        "md" => "text/markdown",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "xml" => "text/xml",
        "wav" => "audio/wav",
        "mp3" => "audio/mp3",
        "flac" => "audio/flac",
        "ogg" => "audio/ogg",
        "aac" => "audio/aac",
        "mp4" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        "mpeg" | "mpg" => "video/mpeg",
        _ => return None,
    })
}
