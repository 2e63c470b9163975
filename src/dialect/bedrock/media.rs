//! Images, audio and documents: their formats in Bedrock's words, and documents' names.
//!
//! Bedrock takes bytes. It takes places in S3 as well, but would read them with the rights of
//! whoever owns the credential, not with the client's: those are refused like every URL.

use std::collections::BTreeSet;

use super::body::{Block, Bytes, Document, Media};
use super::short_hash;
use crate::chat::{Capabilities, Content, Source, Unsupported};

/// The longest name of a document, in characters.
const LONGEST_NAME: usize = 200;

/// Writes one part that is no text; `param` is where it stands in the request. `names` are those
/// of the documents before it.
pub(super) fn block<'a>(
    content: &'a Content,
    can: &Capabilities,
    names: &mut BTreeSet<String>,
    param: &str,
) -> Result<Block<'a>, Unsupported> {
    match content {
        Content::Text(text) | Content::Refusal(text) => Ok(Block::Text(text)),
        Content::Image { source, .. } => {
            let (media_type, data) = inline(source, param)?;
            image(media_type, data, can, param)
        }
        Content::Audio { data, format } => audio(data, format, can, param),
        Content::File { source, name } => {
            let (media_type, data) = inline(source, param)?;
            if media_type.starts_with("image/") {
                return image(media_type, data, can, param);
            }
            document(media_type, data, name.as_deref(), can, names, param)
        }
    }
}

fn inline<'a>(source: &'a Source, param: &str) -> Result<(&'a str, &'a str), Unsupported> {
    let reason = match source {
        Source::Inline { media_type, data } => return Ok((media_type, data)),
        Source::Url(_) => {
            "This model's provider takes no URLs, and the gateway fetches none: send the content itself, as a data: URL."
        }
        Source::Id(_) => {
            "This model's provider knows no uploaded files: send the content itself, as a data: URL."
        }
    };
    Err(Unsupported::new(param, reason))
}

fn image<'a>(
    media_type: &str,
    data: &'a str,
    can: &Capabilities,
    param: &str,
) -> Result<Block<'a>, Unsupported> {
    if !can.images {
        return Err(Unsupported::new(param, "This model takes no images."));
    }
    let format = match media_type {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        _ => {
            return Err(Unsupported::new(
                param,
                "Images must be PNG, JPEG, GIF or WebP for this model.",
            ));
        }
    };
    Ok(Block::Image(Media {
        format,
        source: Bytes { bytes: data },
    }))
}

fn audio<'a>(
    data: &'a str,
    format: &str,
    can: &Capabilities,
    param: &str,
) -> Result<Block<'a>, Unsupported> {
    const FORMATS: [&str; 14] = [
        "mp3", "wav", "opus", "aac", "flac", "mp4", "ogg", "mkv", "mka", "m4a", "mpeg", "mpga",
        "pcm", "webm",
    ];
    if !can.audio {
        return Err(Unsupported::new(param, "This model takes no audio."));
    }
    let known = FORMATS
        .iter()
        .find(|known| format.eq_ignore_ascii_case(known));
    let format = known
        .ok_or_else(|| Unsupported::new(param, "This model does not take audio of this format."))?;
    Ok(Block::Audio(Media {
        format,
        source: Bytes { bytes: data },
    }))
}

fn document<'a>(
    media_type: &str,
    data: &'a str,
    name: Option<&str>,
    can: &Capabilities,
    names: &mut BTreeSet<String>,
    param: &str,
) -> Result<Block<'a>, Unsupported> {
    if !can.documents {
        return Err(Unsupported::new(param, "This model takes no documents."));
    }
    let format = document_format(media_type, name.unwrap_or_default());
    let format = format.ok_or_else(|| {
        let reason =
            "Documents must be PDF, CSV, Word, Excel, HTML, plain text or Markdown for this model.";
        Unsupported::new(param, reason)
    })?;
    let name = unique(document_name(name.unwrap_or_default(), data), names);
    Ok(Block::Document(Document {
        format,
        name,
        source: Bytes { bytes: data },
    }))
}

/// By the type; by the file name's ending where the type says nothing.
fn document_format(media_type: &str, name: &str) -> Option<&'static str> {
    Some(match media_type {
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "text/html" => "html",
        "text/markdown" | "text/x-markdown" => "md",
        "" | "application/octet-stream" | "text/plain" => {
            const ENDINGS: [&str; 9] = [
                "pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md",
            ];
            let ending = name.rsplit_once('.').map(|(_, ending)| ending);
            let known = ENDINGS
                .into_iter()
                .find(|known| ending.is_some_and(|it| it.eq_ignore_ascii_case(known)));
            // A plain text is one whatever its name ends in, but not a PDF.
            let text = media_type == "text/plain";
            return match known {
                Some(known @ ("csv" | "html" | "md")) if text => Some(known),
                _ if text => Some("txt"),
                known => known,
            };
        }
        _ => return None,
    })
}

/// A file's name in the letters that Bedrock takes, without its ending; made of the content where
/// none of it is left.
fn document_name(name: &str, data: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() || "-()[]".contains(c) {
            c
        } else {
            ' '
        }
    };
    let spaced: String = stem.chars().map(kept).collect();
    let words: Vec<&str> = spaced.split(' ').filter(|word| !word.is_empty()).collect();
    let name: String = words.join(" ").chars().take(LONGEST_NAME - 10).collect();
    if name.chars().any(|c| c.is_ascii_alphanumeric()) {
        return name.trim_end().to_owned();
    }
    format!("document-{}", short_hash(data))
}

/// The name, numbered if it was taken before.
fn unique(name: String, names: &mut BTreeSet<String>) -> String {
    let mut candidate = name.clone();
    let mut number = 1_u64;
    while !names.insert(candidate.clone()) {
        number = number.saturating_add(1);
        candidate = format!("{name} ({number})");
    }
    candidate
}
