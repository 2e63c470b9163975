//! What an answer is based on, as OpenAI's `url_citation` annotations; sources
//! without an address as `document_citation`s.
//!
//! Gemini counts in bytes of UTF-8 of one part, OpenAI in characters of the
//! whole text.

use super::answer::Candidate;
use super::lenient::as_count;
use serde_json::{Value, json};

/// The citations of a candidate whose text so far is `text`.
pub(super) fn of(candidate: &Candidate, text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    if let Some(metadata) = &candidate.grounding_metadata {
        grounding(metadata, text, &mut found);
    }
    if let Some(metadata) = &candidate.citation_metadata {
        recitation(metadata, text, &mut found);
    }
    found
}

fn grounding(metadata: &Value, text: &str, found: &mut Vec<Value>) {
    let chunks = list(metadata, "groundingChunks");
    let supports = list(metadata, "groundingSupports");
    for support in supports {
        let segment = support.get("segment").unwrap_or(&Value::Null);
        let place = place(segment, text);
        for index in list(support, "groundingChunkIndices") {
            let index = as_count(index).and_then(|index| usize::try_from(index).ok());
            let chunk = index.and_then(|index| chunks.get(index));
            found.extend(chunk.map(|chunk| of_chunk(chunk, place)));
        }
    }
    if supports.is_empty() {
        // Sources of the whole, of no place in it.
        found.extend(chunks.iter().map(|chunk| of_chunk(chunk, (0, 0))));
    }
}

/// `citations` at Vertex, `citationSources` at AI Studio.
fn recitation(metadata: &Value, text: &str, found: &mut Vec<Value>) {
    for name in ["citations", "citationSources"] {
        for cited in list(metadata, name) {
            let title = cited
                .get("title")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if let Some(url) = cited.get("uri").and_then(Value::as_str) {
                found.push(citation(url, title, place(cited, text)));
            }
        }
    }
}

/// A chunk without an address keeps Google's own form.
fn of_chunk(chunk: &Value, place: (usize, usize)) -> Value {
    match source(chunk) {
        Some((url, title)) => citation(url, title, place),
        None => json!({
            "type": "document_citation",
            "document_citation": {
                "start_index": place.0, "end_index": place.1, "source": chunk,
            },
        }),
    }
}

fn citation(url: &str, title: &str, (start, end): (usize, usize)) -> Value {
    json!({
        "type": "url_citation",
        "url_citation": { "url": url, "title": title, "start_index": start, "end_index": end },
    })
}

fn source(chunk: &Value) -> Option<(&str, &str)> {
    let known = ["web", "retrievedContext", "maps"];
    let source = known.iter().find_map(|kind| chunk.get(*kind))?;
    let title = source
        .get("title")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Some((source.get("uri")?.as_str()?, title))
}

/// Where a segment starts and ends, in characters of `text`.
fn place(segment: &Value, text: &str) -> (usize, usize) {
    let offset = |name: &str| {
        let offset = segment.get(name).and_then(as_count).unwrap_or_default();
        usize::try_from(offset).unwrap_or(usize::MAX)
    };
    let (start, end) = (offset("startIndex"), offset("endIndex"));
    // Offsets are those of a part; the segment's own words say which.
    let words = segment
        .get("text")
        .and_then(Value::as_str)
        .filter(|words| !words.is_empty());
    let (start, end) = match words {
        Some(words) if text.get(start..end) != Some(words) => match text.find(words) {
            Some(at) => (at, at.saturating_add(words.len())),
            None => (start, end),
        },
        _ => (start, end),
    };
    (characters(text, start), characters(text, end))
}

/// How many characters start before a byte.
fn characters(text: &str, byte: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < byte).count()
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of.get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}
