//! Server-sent events (section 9.2 of the HTML standard) from chunks of any size.
//!
//! [`Framer`] cuts a byte stream into whole events and keeps their bytes as they came, so that
//! a relay forwards what it received and never half an event. [`Event`] reads one of them.
//! Where the stream was cut into chunks changes nothing in either.
//!
//! An event ends with a blank line. One that the end of the stream cuts off is incomplete, as
//! the standard has it, and stays in the framer. `id` and `retry` fields are kept in the bytes
//! but not interpreted: nothing here reconnects.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// The longest event accepted by default, in bytes.
pub const LONGEST_EVENT: usize = 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event grew past the limit before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event of more than {limit} bytes")]
pub struct EventTooLong {
    /// The limit in bytes.
    pub limit: usize,
}

/// Cuts a stream of chunks into whole events.
///
/// [`push`](Self::push) a chunk, then take events with [`next_event`](Self::next_event) until
/// there is none. The events taken, one after the other, are the bytes pushed, up to
/// [`rest`](Self::rest) bytes at the end. An event that lies within one chunk is a slice of that
/// chunk; one that does not is copied once.
#[derive(Debug)]
pub struct Framer {
    /// The start of an event whose end has not come yet.
    carry: BytesMut,
    /// What follows it.
    chunk: Bytes,
    lines: Lines,
    limit: usize,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(LONGEST_EVENT)
    }
}

impl Framer {
    /// A framer that refuses events of more than `limit` bytes, terminator included.
    pub fn new(limit: usize) -> Self {
        Self {
            carry: BytesMut::new(),
            chunk: Bytes::new(),
            lines: Lines::default(),
            limit,
        }
    }

    /// Adds the bytes that arrived. Events not taken before stay, at the price of a copy.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let left = std::mem::take(&mut self.chunk);
            self.chunk = [left, chunk].concat().into();
        }
    }

    /// The next whole event with its terminator, or `None` until more bytes are pushed.
    ///
    /// A blank line that ends nothing is an event of its own, without fields.
    ///
    /// # Errors
    /// If the event is longer than the limit. The stream cannot be read on after that.
    pub fn next_event(&mut self) -> Result<Option<Bytes>, EventTooLong> {
        let end = self.lines.event_end(&self.chunk);
        let arrived = end.unwrap_or(self.chunk.len());
        if self.carry.len().saturating_add(arrived) > self.limit {
            return Err(EventTooLong { limit: self.limit });
        }
        let piece = self.chunk.split_to(arrived);
        if end.is_some() && self.carry.is_empty() {
            return Ok(Some(piece));
        }
        self.carry.extend_from_slice(&piece);
        Ok(end.map(|_| self.carry.split().freeze()))
    }

    /// How many bytes were pushed but not given out: if not 0 when the stream ends, and there is
    /// no next event, the stream was cut off within an event.
    pub fn rest(&self) -> usize {
        self.carry.len().saturating_add(self.chunk.len())
    }
}

/// Where in a line the stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    LineStart,
    WithinLine,
    /// After a CR, which ended a line; a LF that follows belongs to it.
    AfterReturn {
        /// Whether that line was blank.
        blank: bool,
    },
}

/// Finds the blank lines, whatever ends a line: LF, CR LF or CR.
#[derive(Debug, Default)]
struct Lines {
    place: Place,
    /// Whether the last line ended with a CR alone.
    ///
    /// Only then is the CR of a blank line known to be all of its end; otherwise a LF may
    /// follow. To give the event out at the CR would leave the LF for the next event or not,
    /// depending on where the chunk ends; to wait in a stream of CRs would hold each event
    /// back until the next one comes.
    bare_return: bool,
}

impl Lines {
    /// Reads `chunk` up to the end of an event and returns its position, or reads all of it.
    fn event_end(&mut self, chunk: &[u8]) -> Option<usize> {
        for (at, &byte) in chunk.iter().enumerate() {
            if let Place::AfterReturn { blank } = self.place {
                self.place = Place::LineStart;
                self.bare_return = byte != b'\n';
                match (self.bare_return, blank) {
                    (true, true) => return Some(at),
                    (true, false) => {}
                    (false, true) => return Some(at + 1),
                    (false, false) => continue,
                }
            }
            let blank = self.place == Place::LineStart;
            match byte {
                b'\n' => {
                    self.place = Place::LineStart;
                    self.bare_return = false;
                    if blank {
                        return Some(at + 1);
                    }
                }
                b'\r' if blank && self.bare_return => return Some(at + 1),
                b'\r' => self.place = Place::AfterReturn { blank },
                _ => self.place = Place::WithinLine,
            }
        }
        None
    }
}

/// One event, as its fields say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// The value of the last `event` field, unless it is empty. U+FFFD if it is not UTF-8.
    pub name: Option<&'a str>,
    /// The values of the `data` fields, joined by LF; `None` if there is none, in which case
    /// the event is not one that a reader sees. Borrowed if there is one field.
    pub data: Option<Cow<'a, [u8]>>,
    comments: bool,
    fields: bool,
}

impl<'a> Event<'a> {
    /// Reads the bytes of one event, as [`Framer::next_event`] gives them.
    ///
    /// Fields with other names are ignored, and so is a byte order mark at the start.
    pub fn parse(raw: &'a [u8]) -> Self {
        let mut event = Self::default();
        let raw = raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(raw);
        for line in raw.split(|byte| matches!(byte, b'\n' | b'\r')) {
            event.read_line(line);
        }
        event
    }

    /// Whether there are comments and no fields: a sign of life from the other side.
    pub fn is_comment_only(&self) -> bool {
        self.comments && !self.fields
    }

    fn read_line(&mut self, line: &'a [u8]) {
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (
                line.get(..colon).unwrap_or_default(),
                line.get(colon + 1..).unwrap_or_default(),
            ),
            None => (line, <&[u8]>::default()),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            // Also between the CR and the LF of a line's end.
            b"" if line.is_empty() => return,
            b"" => {
                self.comments = true;
                return;
            }
            b"data" => self.append(value),
            b"event" => {
                let name = std::str::from_utf8(value).unwrap_or("\u{fffd}");
                self.name = (!name.is_empty()).then_some(name);
            }
            _ => {}
        }
        self.fields = true;
    }

    fn append(&mut self, value: &'a [u8]) {
        match &mut self.data {
            None => self.data = Some(Cow::Borrowed(value)),
            Some(data) => {
                let data = data.to_mut();
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        }
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
