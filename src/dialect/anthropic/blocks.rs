//! Parts of messages as content blocks.

use super::body::{Block, CacheControl, ResultContent, Source};
use crate::chat::{self, CacheMark, Capabilities, Content, Losses, Part, Unsupported};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// A part's place in the client's request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub message: usize,
    pub part: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "messages[{}].content[{}]", self.message, self.part)
    }
}

fn refuse<T>(place: Place, reason: impl Into<String>) -> Result<T, Unsupported> {
    Err(Unsupported::new(place.to_string(), reason))
}

/// Writes all parts of a message that a user or a tool may say. Blank texts are
/// left out: the API refuses them, and they say nothing.
pub(super) fn content<'a>(
    message: usize,
    parts: &'a [Part],
    able: &Capabilities,
    losses: &mut Losses,
) -> Result<Vec<Block<'a>>, Unsupported> {
    let mut blocks = Vec::with_capacity(parts.len());
    for (part, said) in parts.iter().enumerate() {
        let place = Place { message, part };
        blocks.extend(block(place, said, able, losses)?);
    }
    Ok(blocks)
}

/// Writes all parts of a message that can only be text.
pub(super) fn texts<'a>(
    message: usize,
    parts: &'a [Part],
    losses: &mut Losses,
) -> Result<Vec<Block<'a>>, Unsupported> {
    let mut blocks = Vec::with_capacity(parts.len());
    for (part, said) in parts.iter().enumerate() {
        blocks.extend(text(Place { message, part }, said, losses)?);
    }
    Ok(blocks)
}

/// Writes a part that can only be text.
pub(super) fn text<'a>(
    place: Place,
    part: &'a Part,
    losses: &mut Losses,
) -> Result<Option<Block<'a>>, Unsupported> {
    match &part.content {
        Content::Text(text) | Content::Refusal(text) => {
            text_block(text, part.cache.as_ref(), losses)
        }
        _ => refuse(place, "Only text is taken here by Anthropic models."),
    }
}

fn block<'a>(
    place: Place,
    part: &'a Part,
    able: &Capabilities,
    losses: &mut Losses,
) -> Result<Option<Block<'a>>, Unsupported> {
    let cache = part.cache.as_ref();
    match &part.content {
        Content::Text(text) | Content::Refusal(text) => text_block(text, cache, losses),
        Content::Image { source, detail } => {
            if !able.images {
                return refuse(place, "This model takes no images.");
            }
            if detail.as_deref().is_some_and(|detail| detail != "auto") {
                losses.drop("image_url.detail")?;
            }
            let source = image(place, source)?;
            let cache_control = mark(cache, losses)?;
            Ok(Some(Block::Image {
                source,
                cache_control,
            }))
        }
        Content::Audio { .. } => refuse(place, "Anthropic models take no audio."),
        Content::File { source, name } => {
            if !able.documents {
                return refuse(place, "This model takes no documents.");
            }
            let source = document(place, source)?;
            let title = name.as_deref().filter(|name| !name.is_empty());
            let cache_control = mark(cache, losses)?;
            Ok(Some(Block::Document {
                source,
                title,
                cache_control,
            }))
        }
    }
}

fn text_block<'a>(
    text: &'a str,
    cache: Option<&CacheMark>,
    losses: &mut Losses,
) -> Result<Option<Block<'a>>, Unsupported> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let cache_control = mark(cache, losses)?;
    Ok(Some(Block::Text {
        text,
        cache_control,
    }))
}

/// A cache mark. A lifetime that Anthropic does not have is a loss; the mark is
/// not.
pub(super) fn mark(
    cache: Option<&CacheMark>,
    losses: &mut Losses,
) -> Result<Option<CacheControl>, Unsupported> {
    let Some((control, lost)) = cache.map(CacheControl::of) else {
        return Ok(None);
    };
    if lost {
        losses.drop("cache_control.ttl")?;
    }
    Ok(Some(control))
}

fn image(place: Place, source: &chat::Source) -> Result<Source<'_>, Unsupported> {
    let chat::Source::Inline { media_type, data } = source else {
        return elsewhere(place, source);
    };
    let media_type = match media_type.as_str() {
        "image/jpg" | "image/jpeg" => "image/jpeg",
        known @ ("image/png" | "image/gif" | "image/webp") => known,
        _ => {
            return refuse(
                place,
                "Anthropic models take images as JPEG, PNG, GIF or WebP.",
            );
        }
    };
    Ok(Source::Base64 { media_type, data })
}

fn document(place: Place, source: &chat::Source) -> Result<Source<'_>, Unsupported> {
    const TEXT: &str = "text/plain";
    let chat::Source::Inline { media_type, data } = source else {
        return elsewhere(place, source);
    };
    match media_type.as_str() {
        "application/pdf" => Ok(Source::Base64 { media_type, data }),
        TEXT => {
            let text = STANDARD
                .decode(data)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            match text {
                Some(data) => Ok(Source::Text {
                    media_type: TEXT,
                    data,
                }),
                None => refuse(place, "The file is not base64 of UTF-8 text."),
            }
        }
        _ => refuse(
            place,
            "Anthropic models take files as application/pdf or text/plain.",
        ),
    }
}

/// What is not in the request itself: Anthropic fetches https, and knows the
/// files that were uploaded to it.
fn elsewhere(place: Place, source: &chat::Source) -> Result<Source<'_>, Unsupported> {
    match source {
        chat::Source::Url(url) if starts_with_https(url) => Ok(Source::Url { url }),
        chat::Source::Url(_) => refuse(
            place,
            "Anthropic fetches https: URLs only, and the gateway fetches none: send the data as a data: URL.",
        ),
        chat::Source::Id(id) if id.starts_with("file_") => Ok(Source::File { file_id: id }),
        chat::Source::Id(_) => refuse(
            place,
            "This is not the id of a file at Anthropic: send the data itself.",
        ),
        chat::Source::Inline { .. } => refuse(place, "This source is not supported."),
    }
}

fn starts_with_https(url: &str) -> bool {
    const SCHEME: &str = "https://";
    url.get(..SCHEME.len())
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

/// A tool's result. One text goes as a string. A mark on any part moves to the
/// result, since the blocks inside cannot have one.
pub(super) fn result<'a>(
    call_id: &'a str,
    mut blocks: Vec<Block<'a>>,
    is_error: bool,
) -> Block<'a> {
    let marks = blocks.iter_mut().filter_map(Block::mark);
    let cache_control = marks.filter_map(Option::take).last();
    let content = match blocks.as_slice() {
        [Block::Text { text, .. }] => ResultContent::Text(text),
        _ => ResultContent::Blocks(blocks),
    };
    Block::ToolResult {
        tool_use_id: call_id_of(call_id),
        content,
        is_error,
        cache_control,
    }
}

/// A tool call of the history.
pub(super) fn call<'a>(
    message: usize,
    index: usize,
    call: &'a chat::ToolCall,
    losses: &mut Losses,
) -> Result<Block<'a>, Unsupported> {
    let arguments = call.arguments.trim();
    let arguments = if arguments.is_empty() {
        "{}"
    } else {
        arguments
    };
    let input = serde_json::from_str::<&RawValue>(arguments).ok();
    let Some(input) = input.filter(|input| input.get().starts_with('{')) else {
        return Err(Unsupported::new(
            format!("messages[{message}].tool_calls[{index}].function.arguments"),
            "Anthropic needs a tool call's arguments as a JSON object; these are none.",
        ));
    };
    Ok(Block::ToolUse {
        id: call_id_of(&call.id),
        name: &call.name,
        input,
        cache_control: mark(call.cache.as_ref(), losses)?,
    })
}

/// The id of a call as Anthropic takes it: `^[a-zA-Z0-9_-]+$`. Another is
/// replaced, always by the same one, so that a call and its result still match.
fn call_id_of(id: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !id.is_empty() && id.chars().all(fits) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(minted(id))
}

/// An id made of a seed: the same one for the same seed.
pub(super) fn minted(seed: &str) -> String {
    let mut id = String::from("call_");
    for byte in Sha256::digest(seed.as_bytes()).iter().take(12) {
        let _ = write!(id, "{byte:02x}");
    }
    id
}
