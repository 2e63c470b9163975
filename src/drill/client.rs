//! A client that hides nothing: HTTP/1.1 over a bare socket, one request a
//! connection, with the time at which each piece came.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest head that is read.
const LONGEST_HEAD: usize = 64 << 10;

/// Longest body: many times what a drill's answer has.
const LONGEST_BODY: usize = 4 << 20;

/// An answer as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body without its framing, each piece with the time since the
    /// request was begun.
    pub pieces: Vec<(Duration, Vec<u8>)>,
    /// The framing says that the body came to its end.
    pub complete: bool,
    /// Until the end of the body, or of the connection.
    pub took: Duration,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    pub fn body(&self) -> Vec<u8> {
        self.pieces
            .iter()
            .flat_map(|(_, piece)| piece)
            .copied()
            .collect()
    }
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// Sends a request and reads what comes, for as long as `within`.
///
/// # Errors
/// When there is no connection or no head, or when the time is over. A body
/// that breaks off is an answer that is not complete.
pub async fn call(address: SocketAddr, request: &[u8], within: Duration) -> io::Result<Answer> {
    let exchange = async {
        let started = Instant::now();
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request).await?;
        read_answer(&mut stream, started).await
    };
    tokio::time::timeout(within, exchange)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn read_answer(stream: &mut TcpStream, started: Instant) -> io::Result<Answer> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = memchr::memmem::find(&read, b"\r\n\r\n") {
            break at.saturating_add(4);
        }
        if read.len() > LONGEST_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let rest = read.split_off(end);
    let mut answer = parse_head(&read).ok_or(io::ErrorKind::InvalidData)?;
    let mut body = Body {
        framing: framing(&answer),
        left: rest,
        total: 0,
    };
    loop {
        match body.take(&mut answer, started.elapsed()) {
            Some(complete) => {
                answer.complete = complete;
                break;
            }
            None => match stream.read_buf(&mut body.left).await {
                Ok(0) => {
                    answer.complete = body.framing == Framing::Close;
                    break;
                }
                Ok(_) => {}
                Err(_) => break,
            },
        }
    }
    answer.took = started.elapsed();
    Ok(answer)
}

fn parse_head(head: &[u8]) -> Option<Answer> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Some(Answer {
        status,
        headers: headers.collect(),
        ..Answer::default()
    })
}

fn framing(answer: &Answer) -> Framing {
    if answer.header("transfer-encoding").is_some() {
        return Framing::Chunked;
    }
    let length = answer.header("content-length");
    match length.and_then(|length| length.parse().ok()) {
        Some(length) => Framing::Length(length),
        None => Framing::Close,
    }
}

/// Takes the framing off.
struct Body {
    framing: Framing,
    /// Read, but not taken yet.
    left: Vec<u8>,
    total: usize,
}

impl Body {
    /// Takes what is there; says whether the body is complete once no more is
    /// to be read.
    fn take(&mut self, answer: &mut Answer, at: Duration) -> Option<bool> {
        loop {
            let piece = match self.framing {
                Framing::Chunked => match self.chunk() {
                    Ok(Some(piece)) if piece.is_empty() => return Some(true),
                    Ok(Some(piece)) => piece,
                    Ok(None) => return None,
                    Err(()) => return Some(false),
                },
                Framing::Length(length) => {
                    let missing = length.saturating_sub(self.total);
                    let rest = self.left.split_off(missing.min(self.left.len()));
                    std::mem::replace(&mut self.left, rest)
                }
                Framing::Close => std::mem::take(&mut self.left),
            };
            self.total = self.total.saturating_add(piece.len());
            let empty = piece.is_empty();
            if !empty {
                answer.pieces.push((at, piece));
            }
            match self.framing {
                Framing::Length(length) if self.total >= length => return Some(true),
                _ if self.total > LONGEST_BODY => return Some(false),
                _ if empty => return None,
                _ => {}
            }
        }
    }

    /// The next whole chunk; an empty one is the last. An error when it is no
    /// chunk at all.
    fn chunk(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let Some(end) = memchr::memmem::find(&self.left, b"\r\n") else {
            return if self.left.len() > 64 {
                Err(())
            } else {
                Ok(None)
            };
        };
        let line = self.left.get(..end).unwrap_or_default();
        let size = std::str::from_utf8(line).map_err(|_| ())?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| ())?;
        if size > LONGEST_BODY {
            return Err(());
        }
        let start = end.saturating_add(2);
        let all = start.saturating_add(size).saturating_add(2);
        if self.left.len() < all {
            return Ok(None);
        }
        let rest = self.left.split_off(all);
        let mut chunk = std::mem::replace(&mut self.left, rest);
        chunk.truncate(start.saturating_add(size));
        Ok(Some(chunk.split_off(start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(head: &str, reads: &[&str]) -> (Vec<u8>, Option<bool>) {
        let mut answer = parse_head(head.as_bytes()).unwrap();
        let mut body = Body {
            framing: framing(&answer),
            left: Vec::new(),
            total: 0,
        };
        let mut end = None;
        for read in reads {
            body.left.extend_from_slice(read.as_bytes());
            end = body.take(&mut answer, Duration::ZERO);
        }
        (answer.body(), end)
    }

    #[test]
    fn a_head_is_read() {
        let answer = parse_head(b"HTTP/1.1 502 Bad Gateway\r\nX-A:  b \r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.header("x-a")), (502, Some("b")));
        assert_eq!(parse_head(b"nonsense"), None);
    }

    #[test]
    fn each_framing_knows_its_end() {
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(
            taken(length, &["hel", "lo"]),
            (b"hello".to_vec(), Some(true))
        );
        assert_eq!(taken(length, &["hel"]), (b"hel".to_vec(), None));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let reads = ["3\r\nh", "el\r", "\n2\r\nlo\r\n0\r\n\r\n"];
        assert_eq!(taken(chunked, &reads), (b"hello".to_vec(), Some(true)));
        assert_eq!(taken(chunked, &["3\r\nhel\r\n"]), (b"hel".to_vec(), None));
        assert_eq!(taken(chunked, &["zz\r\n"]).1, Some(false));
        let close = "HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(taken(close, &["hel", "lo"]), (b"hello".to_vec(), None));
        let empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(taken(empty, &[""]), (Vec::new(), Some(true)));
    }
}
