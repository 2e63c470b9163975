//! The mock reading requests: bytes in, progress out, no sockets.

use std::io;

use bytes::{Buf, BytesMut};

/// How much of a body's end is kept, to look for the stream flag in.
const TAIL: usize = 256;
const LONGEST_HEAD: usize = 64 << 10;

/// What the head says about the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// `None`: chunked.
    length: Option<u64>,
    close: bool,
}

/// Takes a request head off the front of `input`; `None` if it is not all there yet.
pub fn parse_head(input: &mut BytesMut) -> io::Result<Option<Head>> {
    let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") else {
        return if input.len() > LONGEST_HEAD {
            Err(malformed())
        } else {
            Ok(None)
        };
    };
    let text = String::from_utf8_lossy(&input.split_to(end + 4)).into_owned();
    let mut head = Head {
        length: Some(0),
        close: false,
    };
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.length = Some(value.parse().map_err(|_| malformed())?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.length = None;
        } else if name.eq_ignore_ascii_case("connection") {
            head.close = value.eq_ignore_ascii_case("close");
        }
    }
    Ok(Some(head))
}

#[derive(Clone, Copy)]
enum Next {
    /// So many bytes of a body with a length.
    Body(u64),
    /// A chunk's size line.
    Size,
    /// So many bytes of a chunk, its CRLF included.
    Chunk(u64),
    /// Lines until an empty one.
    Trailer,
    Nothing,
}

/// A body on its way in: counted and dropped, except for its end.
pub struct Inbound {
    next: Next,
    length: u64,
    tail: Vec<u8>,
    close: bool,
}

impl Inbound {
    pub fn new(head: Head) -> Self {
        Self {
            next: head.length.map_or(Next::Size, Next::Body),
            length: 0,
            tail: Vec::with_capacity(2 * TAIL),
            close: head.close,
        }
    }

    /// Bytes of content so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn closes(&self) -> bool {
        self.close
    }

    /// Looks at the end only, where the harness's bodies have it: a search through 1 MiB would
    /// cost more than all else the mock does.
    pub fn asks_for_stream(&self) -> bool {
        let wanted = br#""stream":true"#;
        self.tail.windows(wanted.len()).any(|w| w == wanted)
    }

    /// Takes what it can from the front of `input`; true once the body is complete.
    pub fn take(&mut self, input: &mut BytesMut) -> io::Result<bool> {
        loop {
            self.next = match self.next {
                Next::Nothing | Next::Body(0) => return Ok(true),
                _ if input.is_empty() => return Ok(false),
                Next::Body(left) => Next::Body(left - self.keep(input, left)),
                Next::Chunk(0) => Next::Size,
                Next::Chunk(left @ ..=2) => {
                    let crlf = (input.len() as u64).min(left);
                    input.advance(crlf as usize);
                    Next::Chunk(left - crlf)
                }
                Next::Chunk(left) => Next::Chunk(left - self.keep(input, left - 2)),
                Next::Size => match line(input) {
                    None => return Ok(false),
                    Some(line) => match chunk_size(&line).ok_or_else(malformed)? {
                        0 => Next::Trailer,
                        size => Next::Chunk(size + 2),
                    },
                },
                Next::Trailer => match line(input) {
                    None => return Ok(false),
                    Some(line) if line.is_empty() => Next::Nothing,
                    Some(_) => Next::Trailer,
                },
            };
        }
    }

    fn keep(&mut self, input: &mut BytesMut, most: u64) -> u64 {
        let piece = input.split_to(input.len().min(usize::try_from(most).unwrap_or(usize::MAX)));
        let skipped = piece.len().saturating_sub(TAIL);
        self.tail.extend(piece.iter().skip(skipped));
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
        self.length += piece.len() as u64;
        piece.len() as u64
    }
}

/// A whole line off the front, without its CRLF.
fn line(input: &mut BytesMut) -> Option<Vec<u8>> {
    let end = input.windows(2).position(|w| w == b"\r\n")?;
    let line = input.split_to(end);
    input.advance(2);
    Some(line.to_vec())
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(line).ok()?.split(';').next()?;
    let size = u64::from_str_radix(digits.trim(), 16).ok()?;
    (size < u64::MAX - 2).then_some(size)
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
