//! What a request's body is made of, without reading what it says.

use super::walk::{elements, members};
use crate::wire::json::Span;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Parts, turns and tools of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// Bytes of the body but for its images, sounds and documents.
    pub text_bytes: u64,
    /// Messages of the conversation; texts of a request that is none.
    pub turns: u32,
    pub images: u32,
    pub sounds: u32,
    pub documents: u32,
    pub tools: u32,
    /// The answer is to follow a JSON schema.
    pub schema: bool,
    /// A fenced block of code is somewhere in it.
    pub code: bool,
    /// It refers to what the provider keeps.
    pub kept: bool,
}

/// The words of a conversation, as far as they are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Where the last ones of the user stand: strings, in their order.
    pub last: Vec<Span>,
    /// A hash of its first message.
    pub opening: Option<u64>,
}

/// Bytes of a first message that tell it from others.
const OPENING: usize = 4_096;

/// Members that name what only the provider has.
const KEPT: [&[u8]; 5] = [
    b"previous_response_id",
    b"conversation",
    b"file_id",
    b"container",
    b"cached_content",
];

/// Bytes that a token of ordinary text has, by and large.
const TOKEN_BYTES: u64 = 4;

/// Tokens of an image, of a sound and of a document, by and large.
const PART_TOKENS: u64 = 1_500;

impl Shape {
    /// Looks at a JSON body that was checked before.
    pub(super) fn of(body: &[u8]) -> (Self, Words) {
        let mut walk = Walk {
            body,
            shape: Self {
                text_bytes: body.len() as u64,
                code: memmem::find(body, b"```").is_some(),
                ..Self::default()
            },
            words: Words::default(),
        };
        walk.top();
        (walk.shape, walk.words)
    }

    /// Input tokens, by and large: for choosing a model, never for money.
    pub fn tokens(&self) -> u64 {
        let parts = [self.images, self.sounds, self.documents];
        let parts: u64 = parts.into_iter().map(u64::from).sum();
        let text = self.text_bytes.div_ceil(TOKEN_BYTES);
        text.saturating_add(parts.saturating_mul(PART_TOKENS))
    }

    /// Something in it is not text, or is elsewhere: nobody here has read it.
    pub const fn is_unread(&self) -> bool {
        self.images > 0 || self.sounds > 0 || self.documents > 0 || self.kept
    }
}

struct Walk<'a> {
    body: &'a [u8],
    shape: Shape,
    words: Words,
}

impl Walk<'_> {
    fn top(&mut self) {
        let body = self.body;
        for (name, value) in members(body, Span::new(start(body), body.len())) {
            match name {
                b"messages" | b"input" | b"prompt" | b"query" => self.conversation(value),
                b"system" | b"instructions" => self.content(value, &mut Vec::new()),
                b"tools" | b"functions" => {
                    self.shape.tools = count(elements(body, value).count());
                }
                b"response_format" | b"text" | b"output_config" | b"output_format" => {
                    self.shape.schema |= memmem::find(value.of(body), b"\"json_schema\"").is_some();
                }
                _ => self.shape.kept |= KEPT.contains(&name) && value.of(body) != b"null",
            }
        }
    }

    fn conversation(&mut self, value: Span) {
        let body = self.body;
        match value.of(body).first() {
            Some(b'"') => {
                self.shape.turns = 1;
                self.words.last = vec![value];
            }
            Some(b'[') => {
                for message in elements(body, value) {
                    if self.words.opening.is_none() {
                        self.words.opening = Some(hash(message.of(body)));
                    }
                    self.message(message);
                    self.shape.turns = self.shape.turns.saturating_add(1);
                }
            }
            _ => {}
        }
    }

    fn message(&mut self, message: Span) {
        let body = self.body;
        if message.of(body).first() == Some(&b'"') {
            self.words.last = vec![message];
            return;
        }
        let (mut is_user, mut texts) = (false, Vec::new());
        for (name, value) in members(body, message) {
            match name {
                b"role" => is_user = value.of(body) == b"\"user\"",
                b"content" | b"output" => self.content(value, &mut texts),
                _ => {}
            }
        }
        // An answer of a tool's to Anthropic comes as the user's, without a text.
        if is_user && !texts.is_empty() {
            self.words.last = texts;
        }
    }

    /// A text, or parts: those that are texts are added to `texts`.
    fn content(&mut self, value: Span, texts: &mut Vec<Span>) {
        let body = self.body;
        match value.of(body).first() {
            Some(b'"') => texts.push(value),
            Some(b'[') => elements(body, value).for_each(|part| self.part(part, texts)),
            _ => {}
        }
    }

    fn part(&mut self, part: Span, texts: &mut Vec<Span>) {
        let body = self.body;
        let (mut kind, mut text, mut inner) = (&b""[..], None, None);
        for (name, value) in members(body, part) {
            match name {
                b"type" => kind = value.of(body),
                b"text" => text = Some(value),
                b"content" | b"output" => inner = Some(value),
                _ => {}
            }
        }
        let has = |word: &[u8]| memmem::find(kind, word).is_some();
        let counted = match () {
            () if has(b"image") => &mut self.shape.images,
            () if has(b"audio") => &mut self.shape.sounds,
            () if has(b"file") || has(b"document") || has(b"video") => &mut self.shape.documents,
            () => {
                texts.extend(text.filter(|text| text.of(body).first() == Some(&b'"')));
                if let Some(inner) = inner {
                    // What a tool found is nobody's words.
                    self.content(inner, &mut Vec::new());
                }
                return;
            }
        };
        *counted = counted.saturating_add(1);
        let bytes = part.of(body).len() as u64;
        self.shape.text_bytes = self.shape.text_bytes.saturating_sub(bytes);
    }
}

/// Where the first value begins.
fn start(body: &[u8]) -> usize {
    body.len().saturating_sub(body.trim_ascii_start().len())
}

fn hash(message: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.get(..OPENING).unwrap_or(message).hash(&mut hasher);
    hasher.finish()
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> (Shape, Vec<&str>) {
        let (shape, words) = Shape::of(body.as_bytes());
        let texts = words.last.iter().map(|span| &body[span.start..span.end]);
        (shape, texts.collect())
    }

    #[test]
    fn a_chat_has_turns_parts_and_last_words() {
        let body = r#" {"model":"m","messages":[{"role":"system","content":"be brief"},
            {"role":"user","content":"first"},{"role":"assistant","content":"yes"},
            {"content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAAAAAA"}},
             {"type":"input_audio","input_audio":{"data":"AAAA"}},{"type":"text","text":"here"}],"role":"user"}],
            "tools":[{"type":"function"},{"type":"function"}],
            "response_format":{"type":"json_schema","json_schema":{}}}"#;
        let (shape, last) = of(body);
        assert_eq!(last, ["\"look\"", "\"here\""]);
        assert_eq!(
            (shape.turns, shape.images, shape.sounds, shape.tools),
            (4, 1, 1, 2)
        );
        assert!(shape.schema && shape.is_unread() && !shape.code);
        assert!(shape.text_bytes < body.len() as u64 - 70);
    }

    #[test]
    fn messages_and_responses_are_seen_as_well() {
        let messages = r#"{"system":[{"type":"text","text":"s"}],"messages":[
            {"role":"user","content":"why?"},{"role":"assistant","content":[{"type":"tool_use","input":{}}]},
            {"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"found"},
             {"type":"image","source":{}}]}]}]}"#;
        let (shape, last) = of(messages);
        assert_eq!(last, ["\"why?\""]);
        assert_eq!((shape.turns, shape.images), (3, 1));
        let responses = r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"a"},
            {"type":"input_file","file_id":"f"}]},{"type":"function_call_output","output":"x"}],"instructions":"i"}"#;
        let (shape, last) = of(responses);
        assert_eq!((last, shape.documents), (vec!["\"a\""], 1));
        let (shape, last) = of(r#"{"input":"```rust```","previous_response_id":"r"}"#);
        assert_eq!(last, ["\"```rust```\""]);
        assert!(shape.code && shape.kept && shape.is_unread());
        assert!(!of(r#"{"input":"a","previous_response_id":null}"#).0.kept);
    }

    #[test]
    fn texts_that_are_no_conversation_are_turns_too() {
        let (shape, last) = of(r#"{"model":"m","input":["a","b"]}"#);
        assert_eq!((shape.turns, last), (2, vec!["\"b\""]));
        let (shape, last) = of(r#"{"model":"m","prompt":"p"}"#);
        assert_eq!((shape.turns, last), (1, vec!["\"p\""]));
        assert_eq!(of(r#"{"input":[1,2]}"#).1, Vec::<&str>::new());
    }

    #[test]
    fn tokens_are_by_and_large_those_of_the_text() {
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#,
            "word ".repeat(1_000)
        );
        let tokens = of(&body).0.tokens();
        assert!((1_000..2_000).contains(&tokens), "{tokens}");
    }
}
