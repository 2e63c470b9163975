//! An HTTP/1.1 client that hides nothing.
//!
//! Promises: a request is sent as the bytes that the test wrote, an answer is returned with its head as it came, and
//! streams are read one event at a time. Does not: follow, retry, decompress, or speak TLS and HTTP/2 (curl and h2load
//! do that in the tests that need it).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::provider::{read_chunk, read_chunks};
use crate::wait::DEADLINE;

/// A request under construction.
#[derive(Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    chunk: Option<usize>,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
            chunk: None,
        }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// The body and `content-type: application/json`.
    pub fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends the body in chunks of this many bytes instead of with a Content-Length.
    pub fn chunked(mut self, size: usize) -> Self {
        self.chunk = Some(size);
        self
    }

    pub fn head_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            head.push_str("host: 127.0.0.1\r\n");
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match (&self.body, self.chunk) {
            (Some(_), Some(_)) => head.push_str("transfer-encoding: chunked\r\n"),
            (Some(body), None) => head.push_str(&format!("content-length: {}\r\n", body.len())),
            (None, _) => {}
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut message = self.head_bytes();
        let body = self.body.as_deref().unwrap_or_default();
        match self.chunk {
            None => message.extend_from_slice(body),
            Some(size) => {
                for piece in body.chunks(size) {
                    message.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    message.extend_from_slice(piece);
                    message.extend_from_slice(b"\r\n");
                }
                message.extend_from_slice(b"0\r\n\r\n");
            }
        }
        message
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "header {name} came twice");
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    /// When the body is not JSON; the message shows it.
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!(
                "status {} with a body that is not JSON ({error}): {}",
                self.status,
                capped(&self.text())
            ),
        }
    }

    /// The text of the first choice of a completion.
    pub fn content(&self) -> String {
        self.json()["choices"][0]["message"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// A member of the `error` object, as text.
    pub fn error(&self, member: &str) -> String {
        self.json()["error"][member]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// Enough of a text to show in a failure.
pub fn capped(text: &str) -> String {
    text.chars().take(400).collect()
}

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends a request and reads the whole answer.
    pub fn call(&mut self, request: &Request) -> io::Result<Response> {
        self.send(&request.bytes())?;
        self.response()
    }

    /// Reads one final answer; interim answers (1xx) are passed over.
    pub fn response(&mut self) -> io::Result<Response> {
        loop {
            let mut response = self.head()?;
            if (100..200).contains(&response.status) {
                continue;
            }
            response.body = self.rest(&response)?;
            return Ok(response);
        }
    }

    /// Reads one head, interim answers included. The body is left on the connection.
    pub fn head(&mut self) -> io::Result<Response> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                return Ok(Response {
                    status,
                    headers,
                    body: Vec::new(),
                });
            }
            let (name, value) = line
                .trim_end()
                .split_once(':')
                .ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn rest(&mut self, response: &Response) -> io::Result<Vec<u8>> {
        if response.header("transfer-encoding").is_some() {
            return read_chunks(&mut self.reader);
        }
        let mut body = Vec::new();
        if let Some(length) = response.header("content-length") {
            body.resize(length.parse().map_err(|_| io::ErrorKind::InvalidData)?, 0);
            self.reader.read_exact(&mut body)?;
        } else if response.status != 204 && response.status != 304 {
            self.reader.read_to_end(&mut body)?;
        }
        Ok(body)
    }

    /// Everything up to the end of the connection.
    pub fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let end = self.reader.read_to_end(&mut rest);
        assert!(end.is_ok(), "no orderly end: {end:?}");
        rest
    }

    /// True when nothing comes for so long: not a byte, nor the end of the connection.
    pub fn is_quiet(&mut self, time: Duration) -> bool {
        let _ = self.reader.get_ref().set_read_timeout(Some(time));
        let came = self.reader.fill_buf().map(|_| ());
        let _ = self.reader.get_ref().set_read_timeout(Some(DEADLINE));
        came.is_err_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            )
        })
    }

    /// True when the gateway closes the connection within the deadline, with a FIN or a reset.
    pub fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
        }
    }

    /// Sends a request whose answer is a chunked event stream, and reads the head.
    pub fn stream(mut self, request: &Request) -> io::Result<Stream> {
        self.send(&request.bytes())?;
        self.into_stream()
    }

    /// The same for a request that was sent already.
    pub fn into_stream(mut self) -> io::Result<Stream> {
        let head = self.head()?;
        if head.header("transfer-encoding").is_none() {
            // A body that only the end of the connection ends cannot be told from one that broke off.
            let length = head.header("content-length").is_some();
            let body = if length {
                self.rest(&head)?
            } else {
                Vec::new()
            };
            let text = capped(&String::from_utf8_lossy(&body));
            panic!(
                "status {} and no chunked stream: {:?} {text}",
                head.status, head.headers
            );
        }
        Ok(self.stream_of(head))
    }

    /// The stream whose head was read already.
    pub fn stream_of(self, head: Response) -> Stream {
        Stream {
            client: self,
            head,
            pending: Vec::new(),
            raw: Vec::new(),
            complete: None,
        }
    }

    /// The answer whose head was read already.
    pub fn rest_of(&mut self, mut head: Response) -> io::Result<Response> {
        head.body = self.rest(&head)?;
        Ok(head)
    }
}

/// A connection that is kept as long as the gateway keeps it: an answer that says `Connection: close` is taken at its
/// word, and the next request goes over a new one. Nothing is ever sent twice.
pub struct Kept {
    address: SocketAddr,
    client: Option<Client>,
}

impl Kept {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            client: None,
        }
    }

    pub fn call(&mut self, request: &Request) -> io::Result<Response> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(self.address)?,
        };
        let response = client.call(request)?;
        let closing = response
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.client = (!closing).then_some(client);
        Ok(response)
    }
}

/// An event stream that is being read.
pub struct Stream {
    client: Client,
    pub head: Response,
    pending: Vec<u8>,
    /// Every byte of the body read so far, framing taken off.
    pub raw: Vec<u8>,
    /// Set at the end: true when the last chunk came, false when the connection just ended.
    pub complete: Option<bool>,
}

impl Stream {
    /// The data of the next event; `None` at the end.
    pub fn event(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
                let rest = self.pending.split_off(end + 2);
                let event = std::mem::replace(&mut self.pending, rest);
                let text = String::from_utf8(event).expect("an event that is not UTF-8");
                let data: Vec<&str> = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .collect();
                return Some(
                    data.iter()
                        .map(|line| line.trim_start())
                        .collect::<Vec<_>>()
                        .join("\n"),
                );
            }
            match read_chunk(&mut self.client.reader) {
                Ok(Some(chunk)) => {
                    self.raw.extend_from_slice(&chunk);
                    self.pending.extend_from_slice(&chunk);
                }
                Ok(None) => {
                    self.complete = Some(true);
                    return None;
                }
                Err(error) => {
                    let waited = matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    );
                    assert!(!waited, "the stream said nothing until the deadline");
                    self.complete = Some(false);
                    return None;
                }
            }
        }
    }

    /// The connection, for the next request.
    pub fn into_client(self) -> Client {
        self.client
    }

    /// All events to the end.
    pub fn events(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.event()).collect()
    }
}
