//! The content of a client's messages: a string, or parts.

use super::shape::{Path, each, invalid, mistyped, need, object, string, take};
use super::strays::Left;
use crate::chat::{CacheMark, Content, Origin, Part, Place, Sealed, Source, Stray, Thought};
use crate::error::GatewayError;
use serde_json::{Map, Value};

/// Who speaks: each role has its kinds of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    System,
    User,
    Assistant,
    Tool,
}

/// What a content holds. Thoughts are an assistant's only.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) parts: Vec<Part>,
    pub(super) thoughts: Vec<Thought>,
    /// What is left of each part.
    left: Vec<(usize, Left)>,
    /// Parts of other kinds, each with the number of the part after it.
    others: Vec<(usize, Value)>,
}

impl Contents {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.others.is_empty()
    }

    /// Hands over what has no form.
    pub(super) fn put_strays(&mut self, message: usize, strays: &mut Vec<Stray>) {
        for (part, left) in self.left.drain(..) {
            left.put(strays, |within| Place::Part {
                message,
                part,
                within,
            });
        }
        for (before, value) in self.others.drain(..) {
            strays.push(Stray {
                place: Place::Whole { message, before },
                name: String::new(),
                value,
            });
        }
    }
}

/// Reads `content`.
///
/// # Errors
/// When it is neither a string nor an array of parts that this role may send.
pub(super) fn contents(
    value: Value,
    path: &Path<'_>,
    speaker: Speaker,
) -> Result<Contents, GatewayError> {
    let mut found = Contents::default();
    match value {
        Value::String(text) => found.parts.push(Part::text(text)),
        Value::Array(_) => {
            each(value, path, |value, path| {
                part(value, path, speaker, &mut found)
            })?;
        }
        other => {
            return Err(mistyped(
                path,
                "a string or an array of content parts",
                &other,
            ));
        }
    }
    Ok(found)
}

fn part(
    value: Value,
    path: &Path<'_>,
    speaker: Speaker,
    found: &mut Contents,
) -> Result<(), GatewayError> {
    // Some clients mix bare strings into the array.
    if let Value::String(text) = value {
        found.parts.push(Part::text(text));
        return Ok(());
    }
    let mut map = object(value, path)?;
    let kind = need(&mut map, path, "type", string)?;
    let cache = cache_mark(&mut map, path)?;
    let bytes = matches!(speaker, Speaker::User | Speaker::Tool);
    let mut left = Left::default();
    let content = match kind.as_str() {
        "text" => Content::Text(need(&mut map, path, "text", string)?),
        "image_url" if bytes => need(&mut map, path, "image_url", |value, path| {
            image(value, path, &mut left)
        })?,
        "input_audio" if speaker == Speaker::User => {
            need(&mut map, path, "input_audio", |value, path| {
                audio(value, path, &mut left)
            })?
        }
        "file" if bytes => need(&mut map, path, "file", |value, path| {
            file(value, path, &mut left)
        })?,
        "refusal" if speaker == Speaker::Assistant => {
            Content::Refusal(need(&mut map, path, "refusal", string)?)
        }
        "thinking" | "redacted_thinking" if speaker == Speaker::Assistant => {
            found.thoughts.push(thinking(&kind, &mut map, path)?);
            return Ok(());
        }
        // A provider's own, such as Mistral's `document_url`.
        kind if speaker == Speaker::User && !KINDS.contains(&kind) => {
            map.insert("type".to_owned(), kind.into());
            found.others.push((found.parts.len(), Value::Object(map)));
            return Ok(());
        }
        _ => return Err(invalid(&path.key("type"), expected(speaker))),
    };
    left.keep(None, map);
    found.left.push((found.parts.len(), left));
    found.parts.push(Part { content, cache });
    Ok(())
}

/// OpenAI's kinds of parts, and Anthropic's thoughts.
const KINDS: [&str; 7] = [
    "text",
    "image_url",
    "input_audio",
    "file",
    "refusal",
    "thinking",
    "redacted_thinking",
];

const fn expected(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::System => "expected 'text'.",
        Speaker::User => "expected 'text', 'image_url', 'input_audio' or 'file'.",
        Speaker::Assistant => "expected 'text' or 'refusal'.",
        Speaker::Tool => "expected 'text', 'image_url' or 'file'.",
    }
}

pub(super) fn image(
    value: Value,
    path: &Path<'_>,
    left: &mut Left,
) -> Result<Content, GatewayError> {
    let (url, detail) = match value {
        // Mistral's shorter form.
        Value::String(url) => (url, None),
        other => {
            let mut map = object(other, path)?;
            let read = (
                need(&mut map, path, "url", string)?,
                take(&mut map, path, "detail", string)?,
            );
            left.keep(Some("image_url"), map);
            read
        }
    };
    let source = source(&url, &path.key("url"))?;
    Ok(Content::Image { source, detail })
}

/// A URL; one that carries its bytes must do so in base64.
fn source(url: &str, path: &Path<'_>) -> Result<Source, GatewayError> {
    if url.is_empty() {
        return Err(invalid(path, "it is empty."));
    }
    match Source::from_url(url) {
        Source::Url(_) if starts_with_data(url) => {
            Err(invalid(path, "expected 'data:<media type>;base64,<data>'."))
        }
        Source::Inline { media_type, .. } if media_type.is_empty() => {
            Err(invalid(path, "the data URL has no media type."))
        }
        source => Ok(source),
    }
}

fn starts_with_data(url: &str) -> bool {
    url.get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

fn audio(value: Value, path: &Path<'_>, left: &mut Left) -> Result<Content, GatewayError> {
    let mut map = object(value, path)?;
    let content = Content::Audio {
        data: need(&mut map, path, "data", string)?,
        format: need(&mut map, path, "format", string)?,
    };
    left.keep(Some("input_audio"), map);
    Ok(content)
}

fn file(value: Value, path: &Path<'_>, left: &mut Left) -> Result<Content, GatewayError> {
    let mut map = object(value, path)?;
    let name = take(&mut map, path, "filename", string)?;
    let id = take(&mut map, path, "file_id", string)?;
    let source = match (take(&mut map, path, "file_data", string)?, id) {
        (Some(text), _) => file_source(text, name.as_deref(), &path.key("file_data"))?,
        // A URL in an id's place is a common way to name what a provider stores.
        (None, Some(id)) if id.contains("://") => Source::Url(id),
        (None, Some(id)) => Source::Id(id),
        (None, None) => return Err(super::shape::missing(&path.key("file_data"))),
    };
    left.keep(Some("file"), map);
    Ok(Content::File { source, name })
}

/// A data URL, or (as OpenAI also takes it) bare base64 of a PDF.
fn file_source(text: String, name: Option<&str>, path: &Path<'_>) -> Result<Source, GatewayError> {
    /// Base64 of `%PDF-`.
    const PDF: &str = "JVBERi0";
    if starts_with_data(&text) || text.contains("://") {
        return source(&text, path);
    }
    let named = name.is_some_and(|name| name.to_ascii_lowercase().ends_with(".pdf"));
    if named || text.starts_with(PDF) {
        return Ok(Source::Inline {
            media_type: "application/pdf".to_owned(),
            data: text,
        });
    }
    Err(invalid(path, "expected 'data:<media type>;base64,<data>'."))
}

/// A thought: Anthropic's blocks, where Claude's signatures are bare, or Mistral's, whose `thinking` is a list of
/// text parts.
///
/// # Errors
/// When a block has not the fields of its kind.
pub(super) fn thinking(
    kind: &str,
    map: &mut Map<String, Value>,
    path: &Path<'_>,
) -> Result<Thought, GatewayError> {
    if kind == "redacted_thinking" {
        let data = need(map, path, "data", string)?;
        return Ok(Thought {
            redacted: Some(Sealed::returned(data, Origin::Claude)),
            ..Thought::default()
        });
    }
    let text = take(map, path, "thinking", |value, path| match value {
        Value::Array(_) => Ok(contents(value, path, Speaker::System)?
            .parts
            .iter()
            .filter_map(Part::as_text)
            .collect()),
        other => string(other, path),
    })?;
    let signature = take(map, path, "signature", string)?.filter(|signature| !signature.is_empty());
    Ok(Thought {
        text: text.unwrap_or_default(),
        signature: signature.map(|text| Sealed::returned(text, Origin::Claude)),
        redacted: None,
    })
}

/// Takes out `cache_control` or `prompt_cache_breakpoint`.
///
/// # Errors
/// When it is not an object.
pub(super) fn cache_mark(
    map: &mut Map<String, Value>,
    path: &Path<'_>,
) -> Result<Option<CacheMark>, GatewayError> {
    let point = take(map, path, "prompt_cache_breakpoint", object)?;
    let control = take(map, path, "cache_control", |value, path| {
        let mut control = object(value, path)?;
        take(&mut control, path, "ttl", string)
    })?;
    let mark = |ttl| CacheMark { ttl };
    Ok(control.map(mark).or_else(|| point.map(|_| mark(None))))
}
