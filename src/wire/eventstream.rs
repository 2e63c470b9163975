//! The binary event stream of AWS (`application/vnd.amazon.eventstream`) from chunks of any
//! size.
//!
//! A message is `total length u32 · headers length u32 · CRC-32 of these 8 bytes · headers ·
//! payload · CRC-32 of everything before`, numbers in network order. [`Framer`] gives out only
//! messages whose two checksums are right, and looks at a length only after its checksum: what
//! it holds is bounded by its limit, whatever a peer claims. A stream that was wrong once stays
//! wrong, because nothing in it says where the next message starts.
//!
//! What the headers and the payload mean is for the caller.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Lengths and their checksum.
const PRELUDE: usize = 12;
/// The checksum at a message's end.
const TRAILER: usize = 4;
/// The format's own limit for the headers of a message.
const LONGEST_HEADERS: usize = 128 * 1024;
/// The format's own limit for a message: 16 MiB of payload, and what stands around it.
pub const LONGEST_MESSAGE: usize = 16 * 1024 * 1024 + LONGEST_HEADERS + PRELUDE + TRAILER;

/// Why bytes are no event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not those that were sent.
    #[error("checksum mismatch in the {0}")]
    Checksum(&'static str),
    /// A message is longer than the limit.
    #[error("message of more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The checksums are right, but what they cover breaks the format.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// In the order of the wire; no name occurs twice.
    pub headers: Vec<(String, Value)>,
    pub payload: Bytes,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Int8(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Bytes(Bytes),
    Text(String),
    /// Milliseconds since 1970.
    Timestamp(i64),
    Uuid([u8; 16]),
}

impl Message {
    /// The header of this name.
    pub fn header(&self, name: &str) -> Option<&Value> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    /// The header of this name if it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.header(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The message as it goes over the wire.
    ///
    /// # Errors
    /// If a header's name (1 to 255 bytes), its value (up to 32767 bytes), the headers together
    /// or the message are longer than the format allows.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            encode_header(name, value, &mut headers)?;
        }
        let total = PRELUDE + headers.len() + self.payload.len() + TRAILER;
        if headers.len() > LONGEST_HEADERS || total > LONGEST_MESSAGE {
            return Err(Error::TooLong {
                limit: LONGEST_MESSAGE,
            });
        }
        let mut out = Vec::with_capacity(total);
        out.put_u32(length(total)?);
        out.put_u32(length(headers.len())?);
        out.put_u32(crc32fast::hash(&out));
        out.put_slice(&headers);
        out.put_slice(&self.payload);
        out.put_u32(crc32fast::hash(&out));
        Ok(out)
    }
}

fn length(bytes: usize) -> Result<u32, Error> {
    u32::try_from(bytes).map_err(|_| Error::TooLong {
        limit: LONGEST_MESSAGE,
    })
}

fn encode_header(name: &str, value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    let size = u8::try_from(name.len()).map_err(|_| Error::Malformed("header name"))?;
    if size == 0 {
        return Err(Error::Malformed("header name"));
    }
    out.put_u8(size);
    out.put_slice(name.as_bytes());
    match value {
        Value::Bool(true) => out.put_u8(0),
        Value::Bool(false) => out.put_u8(1),
        Value::Int8(number) => {
            out.put_u8(2);
            out.put_i8(*number);
        }
        Value::Int16(number) => {
            out.put_u8(3);
            out.put_i16(*number);
        }
        Value::Int32(number) => {
            out.put_u8(4);
            out.put_i32(*number);
        }
        Value::Int64(number) => {
            out.put_u8(5);
            out.put_i64(*number);
        }
        Value::Bytes(bytes) => encode_sized(6, bytes, out)?,
        Value::Text(text) => encode_sized(7, text.as_bytes(), out)?,
        Value::Timestamp(millis) => {
            out.put_u8(8);
            out.put_i64(*millis);
        }
        Value::Uuid(uuid) => {
            out.put_u8(9);
            out.put_slice(uuid);
        }
    }
    Ok(())
}

fn encode_sized(kind: u8, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    // The length is read as a signed number by some readers.
    let size = i16::try_from(bytes.len()).map_err(|_| Error::Malformed("header value"))?;
    out.put_u8(kind);
    out.put_i16(size);
    out.put_slice(bytes);
    Ok(())
}

/// Cuts a stream of chunks into messages.
///
/// [`push`](Self::push) a chunk, then take messages with [`next_message`](Self::next_message)
/// until there is none. A message that lies within one chunk shares its payload with it; one
/// that does not is copied once.
#[derive(Debug)]
pub struct Framer {
    /// The start of a message whose end has not come yet.
    carry: BytesMut,
    /// What follows it.
    chunk: Bytes,
    limit: usize,
    broken: Option<Error>,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(LONGEST_MESSAGE)
    }
}

impl Framer {
    /// A framer that refuses messages of more than `limit` bytes, framing included, and those
    /// that the format itself forbids.
    pub fn new(limit: usize) -> Self {
        Self {
            carry: BytesMut::new(),
            chunk: Bytes::new(),
            limit: limit.min(LONGEST_MESSAGE),
            broken: None,
        }
    }

    /// Adds the bytes that arrived. Messages not taken before stay, at the price of a copy.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let left = std::mem::take(&mut self.chunk);
            self.chunk = [left, chunk].concat().into();
        }
    }

    /// The next whole message, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// If the bytes are no message, or one over the limit; from then on always the same.
    pub fn next_message(&mut self) -> Result<Option<Message>, Error> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let next = self.cut().and_then(|frame| frame.map(decode).transpose());
        if let Err(error) = next {
            self.broken = Some(error);
            self.carry = BytesMut::new();
            self.chunk = Bytes::new();
        }
        next
    }

    /// How many bytes were pushed but not given out: if not 0 when the stream ends, and there is
    /// no next message, the stream was cut off within one.
    pub fn rest(&self) -> usize {
        self.carry.len().saturating_add(self.chunk.len())
    }

    /// The bytes of the next message with the prelude checked.
    fn cut(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(prelude) = self.prelude() else {
            return Ok(None);
        };
        let total = total_length(prelude, self.limit)?;
        if self.rest() < total {
            self.keep(self.chunk.len());
            return Ok(None);
        }
        if self.carry.is_empty() {
            return Ok(Some(self.chunk.split_to(total)));
        }
        self.keep(total.saturating_sub(self.carry.len()));
        Ok(Some(self.carry.split_to(total).freeze()))
    }

    /// The first bytes of the next message, without taking them.
    fn prelude(&mut self) -> Option<[u8; PRELUDE]> {
        if !self.carry.is_empty() {
            self.keep(PRELUDE.saturating_sub(self.carry.len()));
        }
        let start = if self.carry.is_empty() {
            &self.chunk
        } else {
            &self.carry[..]
        };
        match start.first_chunk() {
            Some(prelude) => Some(*prelude),
            None => {
                self.keep(self.chunk.len());
                None
            }
        }
    }

    /// Moves up to `count` bytes of the chunk behind what is carried.
    fn keep(&mut self, count: usize) {
        let piece = self.chunk.split_to(count.min(self.chunk.len()));
        self.carry.extend_from_slice(&piece);
    }
}

/// Reads a prelude.
fn total_length(prelude: [u8; PRELUDE], limit: usize) -> Result<usize, Error> {
    let [a, b, c, d, e, f, g, h, checksum @ ..] = prelude;
    if crc32fast::hash(&[a, b, c, d, e, f, g, h]) != u32::from_be_bytes(checksum) {
        return Err(Error::Checksum("prelude"));
    }
    let too_long = Error::TooLong { limit };
    let total = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| too_long)?;
    let headers = usize::try_from(u32::from_be_bytes([e, f, g, h])).map_err(|_| too_long)?;
    if total > limit || headers > LONGEST_HEADERS {
        return Err(too_long);
    }
    if total < PRELUDE + headers + TRAILER {
        return Err(Error::Malformed("headers longer than the message"));
    }
    Ok(total)
}

/// Reads a whole frame whose prelude was found right.
fn decode(mut frame: Bytes) -> Result<Message, Error> {
    const SHORT: Error = Error::Malformed("frame too short");
    let covered = frame.len().checked_sub(TRAILER).ok_or(SHORT)?;
    let trailer = frame.split_off(covered);
    let expected = trailer.first_chunk().ok_or(SHORT)?;
    if crc32fast::hash(&frame) != u32::from_be_bytes(*expected) {
        return Err(Error::Checksum("message"));
    }
    let mut read = Reader(frame);
    read.take(4)?;
    let length = u32::from_be_bytes(read.array()?);
    read.take(4)?;
    let length = usize::try_from(length).map_err(|_| SHORT)?;
    let headers = decode_headers(Reader(read.take(length)?))?;
    Ok(Message {
        headers,
        payload: read.0,
    })
}

fn decode_headers(mut read: Reader) -> Result<Vec<(String, Value)>, Error> {
    let mut headers: Vec<(String, Value)> = Vec::new();
    while !read.0.is_empty() {
        let [size] = read.array()?;
        let name = read.text(usize::from(size))?;
        // Two values of one name would be two meanings of one message.
        if name.is_empty() || headers.iter().any(|(known, _)| *known == name) {
            return Err(Error::Malformed("header name"));
        }
        let value = read.value()?;
        headers.push((name, value));
    }
    Ok(headers)
}

/// What is left to read of the headers.
struct Reader(Bytes);

impl Reader {
    fn take(&mut self, count: usize) -> Result<Bytes, Error> {
        if count > self.0.len() {
            return Err(Error::Malformed("header cut off"));
        }
        Ok(self.0.split_to(count))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let taken = self.take(N)?;
        let array = taken.first_chunk().copied();
        array.ok_or(Error::Malformed("header cut off"))
    }

    fn text(&mut self, count: usize) -> Result<String, Error> {
        let bytes = self.take(count)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::Malformed("header not UTF-8"))?;
        Ok(text.to_owned())
    }

    fn size(&mut self) -> Result<usize, Error> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    fn value(&mut self) -> Result<Value, Error> {
        let [kind] = self.array()?;
        Ok(match kind {
            0 => Value::Bool(true),
            1 => Value::Bool(false),
            2 => Value::Int8(i8::from_be_bytes(self.array()?)),
            3 => Value::Int16(i16::from_be_bytes(self.array()?)),
            4 => Value::Int32(i32::from_be_bytes(self.array()?)),
            5 => Value::Int64(i64::from_be_bytes(self.array()?)),
            6 => {
                let size = self.size()?;
                Value::Bytes(self.take(size)?)
            }
            7 => {
                let size = self.size()?;
                Value::Text(self.text(size)?)
            }
            8 => Value::Timestamp(i64::from_be_bytes(self.array()?)),
            9 => Value::Uuid(self.array()?),
            // Without knowing the type, nothing says where the next header starts.
            _ => return Err(Error::Malformed("unknown header type")),
        })
    }
}

#[cfg(test)]
#[path = "eventstream_tests.rs"]
mod tests;
