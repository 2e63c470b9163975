//! How many input tokens a request can have at most, without a tokenizer.
//!
//! Every token of a byte-level tokenizer stands for at least one byte, so the
//! bytes of a body bound the tokens of the texts in it: JSON's escapes are
//! longer than what they stand for, and its quotes and names outnumber the marks
//! that a provider puts between messages. A constant covers what providers add
//! besides (their prompts for tools).
//!
//! Bytes are no bound for three things, which are found by where they stand:
//!
//! - An image inside the body costs by its size in pixels, at most
//!   [`Price::max_image_tokens`]. Its base64 is no text. It counts as an image
//!   only where a format has its images, as one by its media type, and with
//!   base64 letters alone; anything else is text, however it looks. So no text
//!   that a model reads passes for an image.
//! - An image behind an address counts as an image; the address is text.
//! - What is opaque: documents (a page of a PDF can be smaller than its tokens),
//!   films, what the provider keeps (files, earlier answers, cached prompts), and
//!   tools that it runs by itself, whose results are input too. Nothing in the
//!   body bounds these, but the model's context window does ([`WINDOW`] where it
//!   is unknown).
//!
//! What is not covered: a tokenizer that normalises texts to something longer
//! (NFKC; no current model of the main providers is known to), and tools run by
//! the provider that are billed for several rounds of a whole window.

use super::price::{IMAGE_TOKENS, Price};
use memchr::{memchr, memchr2};
use std::borrow::Cow;

mod place;

use place::{Leaf, Place};

/// Tokens that a provider adds to what a request says: marks, and a prompt for
/// the use of tools (Anthropic's are below 700).
pub const REQUEST_TOKENS: u64 = 1_024;

/// Tokens that a provider adds for a tool that it describes itself, such as a
/// computer or a shell (Anthropic's are below 800 each).
pub const TOOL_TOKENS: u64 = 1_024;

/// The largest context window of the main providers, in tokens.
pub const WINDOW: u64 = 2_097_152;

/// What in a request's body becomes tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the body without the images that are in it.
    pub text_bytes: u64,
    /// Images in the body, or named by it.
    pub images: u64,
    /// Tools that the provider describes itself.
    pub tools: u64,
    /// Parts whose tokens nothing in the body bounds.
    pub opaque: u64,
}

impl Size {
    /// Measures a body in one pass: a kB of long texts takes a tenth of a
    /// microsecond, of images one, of nothing but escapes some. A JSON body has to be
    /// validated before (no name twice, no broken string); of a broken one, and of
    /// a body that is no JSON object, all bytes are text.
    pub fn of(body: &[u8]) -> Self {
        let whole = Self {
            text_bytes: length(body.len()),
            ..Self::default()
        };
        match body.trim_ascii_start().first() {
            Some(b'{') => Walk::new(body).run().unwrap_or(whole),
            _ => whole,
        }
    }

    /// The most input tokens that it can be: by the price's own bounds, or by the
    /// common ones. At least [`WINDOW`] if any part is opaque: whoever knows the
    /// model's context window takes the smaller of both.
    pub fn tokens(&self, price: Option<&Price>) -> u64 {
        let (bytes, image) = price.map_or((1, IMAGE_TOKENS), |price| {
            (price.bytes_per_token.max(1), price.max_image_tokens)
        });
        let tokens = self
            .text_bytes
            .div_ceil(bytes)
            .saturating_add(self.images.saturating_mul(image))
            .saturating_add(self.tools.saturating_mul(TOOL_TOKENS))
            .saturating_add(REQUEST_TOKENS);
        match self.opaque {
            0 => tokens,
            _ => tokens.max(WINDOW),
        }
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// An open object or array. What an object says of itself may stand after what
/// it holds, so that both are kept until it closes.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    place: Place,
    /// Base64 in it, which is an image's if the object says that it is.
    held: usize,
    says_image: bool,
    says_document: bool,
    /// It names something by an address.
    remote: bool,
}

struct Walk<'a> {
    body: &'a [u8],
    at: usize,
    frames: Vec<Frame>,
    /// Where the value stands whose name was just read.
    named: Option<(Place, Cow<'a, [u8]>)>,
    image_bytes: usize,
    images: u64,
    tools: u64,
    opaque: u64,
}

impl<'a> Walk<'a> {
    fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            at: 0,
            frames: Vec::with_capacity(16),
            named: None,
            image_bytes: 0,
            images: 0,
            tools: 0,
            opaque: 0,
        }
    }

    /// `None` if the body is not what was promised.
    fn run(mut self) -> Option<Size> {
        while let Some(byte) = self.body.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => self.string()?,
                b'{' | b'[' => self.open(*byte == b'{'),
                b'}' | b']' => self.close()?,
                b',' => self.named = None,
                _ => {}
            }
        }
        let text = self.body.len().checked_sub(self.image_bytes)?;
        self.frames.is_empty().then_some(Size {
            text_bytes: length(text),
            images: self.images,
            tools: self.tools,
            opaque: self.opaque,
        })
    }

    fn here(&self) -> Place {
        self.frames.last().map_or(Place::Top, |frame| frame.place)
    }

    fn open(&mut self, object: bool) {
        let place = match self.named.take() {
            Some((place, name)) => {
                if object && place.is_opaque_object(&name) {
                    self.opaque = self.opaque.saturating_add(1);
                }
                place.inside(&name)
            }
            // An element is where its array is.
            None => self.here(),
        };
        if object && place == Place::Servers {
            self.opaque = self.opaque.saturating_add(1);
        }
        let frame = Frame {
            place,
            ..Frame::default()
        };
        self.frames.push(frame);
    }

    fn close(&mut self) -> Option<()> {
        let frame = self.frames.pop()?;
        self.named = None;
        if frame.says_image && frame.held > 0 {
            self.image(frame.held);
        }
        let document = frame.says_document && frame.remote;
        if document {
            self.opaque = self.opaque.saturating_add(1);
        }
        if let Some(above) = self.frames.last_mut() {
            above.remote |= frame.remote && !document;
        }
        Some(())
    }

    /// Reads a string whose opening quote was just passed.
    fn string(&mut self) -> Option<()> {
        let start = self.at;
        let end = self.end_of_string()?;
        let text = self.body.get(start..end)?;
        self.at = end.checked_add(1)?;
        let after = self.body.get(self.at..)?.trim_ascii_start();
        if after.first() == Some(&b':') {
            self.named = Some((self.here(), plain(text)));
        } else if let Some((place, name)) = self.named.take() {
            self.value(place.leaf(&name), text);
        } else {
            self.value(self.here().element(), text);
        }
        Some(())
    }

    fn end_of_string(&self) -> Option<usize> {
        let mut at = self.at;
        loop {
            at = at.checked_add(stop(self.body.get(at..)?)?)?;
            match self.body.get(at) {
                Some(b'"') => return Some(at),
                _ => at = at.checked_add(2)?,
            }
        }
    }

    fn value(&mut self, leaf: Leaf, text: &[u8]) {
        let opaque = match leaf {
            Leaf::Text => false,
            Leaf::ImageUrl => {
                self.image(inline_image(text).unwrap_or_default());
                false
            }
            Leaf::ImageBytes => {
                if is_base64(text) {
                    self.image(text.len());
                }
                false
            }
            Leaf::Held => {
                self.frame(|frame| frame.held = if is_base64(text) { text.len() } else { 0 });
                false
            }
            Leaf::MediaType => {
                let text = plain(text);
                let image = text.starts_with(b"image/");
                self.frame(|frame| frame.says_image = image);
                let sized = [&b"image/"[..], b"text/", b"audio/"];
                !sized.iter().any(|kind| text.starts_with(kind))
            }
            Leaf::Address => {
                self.image(0);
                self.frame(|frame| frame.remote = true);
                false
            }
            Leaf::Kind => {
                let text = plain(text);
                let document = *text == *b"document";
                self.frame(|frame| frame.says_document |= document);
                matches!(&*text, b"file" | b"container_upload" | b"item_reference")
            }
            Leaf::Tool => {
                let text = plain(text);
                let own = !matches!(&*text, b"function" | b"custom");
                self.tools = self.tools.saturating_add(u64::from(own));
                place::runs_by_itself(&text)
            }
            Leaf::Opaque => true,
        };
        self.opaque = self.opaque.saturating_add(u64::from(opaque));
    }

    fn image(&mut self, bytes: usize) {
        self.images = self.images.saturating_add(1);
        self.image_bytes = self.image_bytes.saturating_add(bytes);
    }

    fn frame(&mut self, change: impl FnOnce(&mut Frame)) {
        if let Some(frame) = self.frames.last_mut() {
            change(frame);
        }
    }
}

/// What a name, or the name of a kind, says: whoever writes it with escapes means
/// the same. One that cannot be read is left as it is.
fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let quoted = [&b"\""[..], text, b"\""].concat();
    let read = serde_json::from_slice::<String>(&quoted);
    read.map_or(Cow::Borrowed(text), |read| Cow::Owned(read.into_bytes()))
}

/// The length of the base64 in a `data:` URL of an image.
fn inline_image(url: &[u8]) -> Option<usize> {
    let rest = url.strip_prefix(b"data:image")?;
    let rest = rest.strip_prefix(b"\\").unwrap_or(rest);
    let rest = rest.strip_prefix(b"/")?;
    let comma = memchr(b',', rest.get(..rest.len().min(64))?)?;
    let (kind, data) = rest.split_at(comma);
    let data = data.strip_prefix(b",")?;
    (kind.ends_with(b";base64") && is_base64(data)).then_some(data.len())
}

/// The next quote or backslash. Most are near, and nearer than a search for long
/// texts pays.
fn stop(text: &[u8]) -> Option<usize> {
    const NEAR: usize = 16;
    let (near, far) = text.split_at(text.len().min(NEAR));
    let found = near.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    found.or_else(|| memchr2(b'"', b'\\', far)?.checked_add(NEAR))
}

/// Only letters of base64, of either alphabet; a slash may be escaped, as some
/// encoders of JSON do.
fn is_base64(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = memchr(b'\\', rest) {
        let Some((piece, escape)) = rest.split_at_checked(at) else {
            return false;
        };
        rest = match escape.strip_prefix(b"\\/") {
            Some(after) if are_letters(piece) => after,
            _ => return false,
        };
    }
    are_letters(rest)
}

/// Without a way out, so that many bytes are looked at in one step.
fn are_letters(text: &[u8]) -> bool {
    text.iter().fold(true, |all, byte| {
        all & (byte.is_ascii_alphanumeric() | matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_'))
    })
}

#[cfg(test)]
#[path = "bound_tests.rs"]
mod tests;
