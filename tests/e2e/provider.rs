//! A provider that does exactly what a test tells it to, byte by byte.
//!
//! Promises: every request is recorded as it came, head and body; an answer is a function from that request to
//! writes on the socket, so that a test can cut, stall, gate or reset wherever it likes. One thread a connection,
//! blocking sockets, no framework: what is on the wire is what is in the script.
//! Does not: speak TLS or HTTP/2, or answer anything by itself.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::wait::{DEADLINE, eventually};

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line and the header lines, with the empty line that ends them.
    pub head: Vec<u8>,
    /// The body with its framing taken off.
    pub body: Vec<u8>,
    /// Which connection brought it, counted from 0.
    pub connection: u64,
}

impl Request {
    pub fn method(&self) -> String {
        self.line(0)
    }

    pub fn path(&self) -> String {
        self.line(1)
    }

    fn line(&self, word: usize) -> String {
        let text = String::from_utf8_lossy(&self.head).into_owned();
        text.split_ascii_whitespace()
            .nth(word)
            .unwrap_or_default()
            .to_owned()
    }

    /// The header's value; `None` when it is absent.
    ///
    /// # Panics
    /// When the header came more than once, as no header that the gateway builds may.
    pub fn header(&self, name: &str) -> Option<String> {
        let values = header_values(&self.head, name);
        assert!(
            values.len() < 2,
            "header {name} came {} times",
            values.len()
        );
        values.into_iter().next()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the provider received a body that is not JSON")
    }

    pub fn model(&self) -> String {
        self.json()["model"].as_str().unwrap_or_default().to_owned()
    }
}

fn header_values(head: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(head);
    text.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

/// What a provider does with a request.
pub type Script = Arc<dyn Fn(&Request, &mut Wire) -> io::Result<()> + Send + Sync>;

/// The provider's end of the connection, in the hands of a script.
pub struct Wire {
    stream: TcpStream,
    written: Arc<AtomicU64>,
    /// Set by a script that wants the connection closed when it returns.
    pub done: bool,
}

impl Wire {
    /// Writes bytes as they are, and counts them once the socket took them.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.stream.write(rest)?;
            self.written.fetch_add(taken as u64, Ordering::SeqCst);
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// A whole answer with a Content-Length. `headers` are complete lines without their line ends.
    pub fn answer(&mut self, status: u16, headers: &[&str], body: &[u8]) -> io::Result<()> {
        let mut message = format!(
            "HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n",
            body.len()
        )
        .into_bytes();
        for line in headers {
            message.extend_from_slice(line.as_bytes());
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(body);
        self.raw(&message)
    }

    /// The head of an event stream; chunks follow.
    pub fn stream_head(&mut self) -> io::Result<()> {
        self.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    }

    /// One chunk of a chunked body.
    pub fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut message = format!("{:x}\r\n", bytes.len()).into_bytes();
        message.extend_from_slice(bytes);
        message.extend_from_slice(b"\r\n");
        self.raw(&message)
    }

    /// One event in a chunk of its own.
    pub fn event(&mut self, data: &str) -> io::Result<()> {
        self.chunk(format!("data: {data}\n\n").as_bytes())
    }

    /// The last chunk.
    pub fn end(&mut self) -> io::Result<()> {
        self.raw(b"0\r\n\r\n")
    }

    /// Tears the connection down with a RST instead of a FIN.
    pub fn reset(&mut self) -> io::Result<()> {
        self.done = true;
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    /// Breaks a stream off.
    pub fn cut(&mut self, how: Cut) -> io::Result<()> {
        self.done = true;
        match how {
            Cut::Reset => self.reset(),
            Cut::Close => Ok(()),
            Cut::LastChunk => self.end(),
        }
    }

    /// Blocks until the peer has closed its side. False when it did not within the deadline.
    pub fn peer_left(&mut self) -> bool {
        let _ = self.stream.set_read_timeout(Some(DEADLINE));
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
        }
    }
}

/// The provider: an address, a script that can be changed while it runs, and what it has seen.
pub struct Provider {
    pub address: SocketAddr,
    state: Arc<State>,
    /// Keeps a dead provider's port taken, so that no one else answers there.
    grave: Mutex<Option<socket2::Socket>>,
}

struct State {
    script: Mutex<Script>,
    requests: Mutex<Vec<Request>>,
    connections: Mutex<Vec<TcpStream>>,
    opened: AtomicU64,
    closed: AtomicU64,
    written: Arc<AtomicU64>,
    dead: AtomicBool,
}

impl Provider {
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("no free port for a provider");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = Arc::new(State {
            script: Mutex::new(script),
            requests: Mutex::default(),
            connections: Mutex::default(),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            written: Arc::default(),
            dead: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self {
            address,
            state,
            grave: Mutex::new(None),
        }
    }

    /// A provider at whose address nobody listens: connecting is refused. The port stays taken all the while.
    pub fn refusing() -> Self {
        let provider = Self::start(silence());
        provider.kill();
        provider
    }

    /// From the next request on, do this instead.
    pub fn become_script(&self, script: Script) {
        *self.state.script.lock().unwrap() = script;
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Everything that came, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        self.state.requests.lock().unwrap().len()
    }

    /// The only request that came since the last call of this or of `forget`.
    pub fn take_one(&self) -> Request {
        let mut requests = self.state.requests.lock().unwrap();
        assert_eq!(
            requests.len(),
            1,
            "expected exactly one request at the provider"
        );
        requests.remove(0)
    }

    /// Forgets the requests seen so far.
    pub fn forget(&self) {
        self.state.requests.lock().unwrap().clear();
    }

    /// Bytes that the sockets took, all connections together.
    pub fn written(&self) -> u64 {
        self.state.written.load(Ordering::SeqCst)
    }

    /// Connections that were opened so far.
    pub fn opened(&self) -> u64 {
        self.state.opened.load(Ordering::SeqCst)
    }

    /// Connections that have ended, by either side.
    pub fn closed(&self) -> u64 {
        self.state.closed.load(Ordering::SeqCst)
    }

    /// Dies: no new connections, and every open one is closed.
    pub fn kill(&self) {
        self.state.dead.store(true, Ordering::SeqCst);
        // The accepting thread sleeps in accept(2); a connection of our own wakes it, and it sees that it is dead.
        let _ = TcpStream::connect(self.address);
        for connection in self.state.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        let socket = eventually("the dead provider's port can be taken back", || {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).ok()?;
            socket.set_reuse_address(true).ok()?;
            socket.bind(&self.address.into()).ok()?;
            Some(socket)
        });
        *self.grave.lock().unwrap() = Some(socket);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if !self.state.dead.swap(true, Ordering::SeqCst) {
            let _ = TcpStream::connect(self.address);
            for connection in self.state.connections.lock().unwrap().drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.dead.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let number = state.opened.fetch_add(1, Ordering::SeqCst);
        if let Ok(twin) = stream.try_clone() {
            state.connections.lock().unwrap().push(twin);
        }
        // A kill between the look above and the push would miss this connection.
        if state.dead.load(Ordering::SeqCst) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            let _ = serve(stream, number, &state);
            state.closed.fetch_add(1, Ordering::SeqCst);
        });
    }
}

fn serve(stream: TcpStream, connection: u64, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut wire = Wire {
        stream,
        written: Arc::clone(&state.written),
        done: false,
    };
    let outcome = loop {
        match read_request(&mut reader, connection) {
            Ok(Some(request)) => {
                state.requests.lock().unwrap().push(request.clone());
                let script = Arc::clone(&state.script.lock().unwrap());
                if let Err(error) = script(&request, &mut wire) {
                    break Err(error);
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if wire.done {
            break Ok(());
        }
    };
    // The list of connections holds a twin of this socket, which would keep it open after we drop ours. With
    // SO_LINGER 0 it is the last close that resets, so the twin must go in any case.
    let own = wire.stream.peer_addr();
    state
        .connections
        .lock()
        .unwrap()
        .retain(|twin| match (&own, twin.peer_addr()) {
            (Ok(own), Ok(twin)) => *own != twin,
            _ => false,
        });
    outcome
}

/// Reads one request; `None` at the end of the connection between two requests.
fn read_request(reader: &mut BufReader<TcpStream>, connection: u64) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if reader.read_until(b'\n', &mut head)? == 0 {
            return if before == 0 {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        if &head[before..] == b"\r\n" {
            break;
        }
    }
    let body = if let Some(length) = header_values(&head, "content-length").first() {
        let mut body = vec![0; length.parse().map_err(|_| io::ErrorKind::InvalidData)?];
        reader.read_exact(&mut body)?;
        body
    } else if header_values(&head, "transfer-encoding").is_empty() {
        Vec::new()
    } else {
        read_chunks(reader)?
    };
    Ok(Some(Request {
        head,
        body,
        connection,
    }))
}

/// Reads a chunked body to its end.
pub fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = read_chunk(reader)? {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads one chunk; `None` for the last one, whose trailers are read too.
pub fn read_chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let size = line.trim_end().split(';').next().unwrap_or_default();
    let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
    if size == 0 {
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 || line == "\r\n" {
                return Ok(None);
            }
        }
    }
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(size);
    Ok(Some(chunk))
}

/// The body of a chat completion that says `text`, with usage.
pub fn completion(model: &str, text: &str) -> String {
    json!({
        "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1_763_850_000, "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": null},
                     "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}
    })
    .to_string()
}

/// The data of one event of a streamed completion.
pub fn delta(text: &str) -> String {
    json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_763_850_000, "model": "scripted",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]
    })
    .to_string()
}

/// The data of the event that ends the answer's text.
pub fn finish() -> String {
    json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_763_850_000, "model": "scripted",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    })
    .to_string()
}

/// An error body in OpenAI's shape.
pub fn error_body(message: &str, kind: &str, code: &str) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

/// Answers every request with a completion.
pub fn chat(text: &str) -> Script {
    let text = text.to_owned();
    Arc::new(move |request, wire| {
        let body = completion(&request.model(), &text);
        wire.answer(200, &["content-type: application/json"], body.as_bytes())
    })
}

/// Answers 200 without looking at the request, for bodies that are not JSON.
pub fn plain(content_type: &str, body: &[u8]) -> Script {
    let (line, body) = (format!("content-type: {content_type}"), body.to_vec());
    Arc::new(move |_, wire| wire.answer(200, &[&line], &body))
}

/// Answers with a status, header lines and a body.
pub fn status(code: u16, headers: &[&str], body: &str) -> Script {
    let headers: Vec<String> = headers.iter().map(|line| (*line).to_owned()).collect();
    let body = body.to_owned();
    Arc::new(move |_, wire| {
        let mut lines = vec!["content-type: application/json"];
        lines.extend(headers.iter().map(String::as_str));
        wire.answer(code, &lines, body.as_bytes())
    })
}

/// Fails with a status and an error body in OpenAI's shape.
pub fn fail(code: u16) -> Script {
    status(
        code,
        &[],
        &error_body("the scripted provider fails", "server_error", "scripted"),
    )
}

/// Streams these events, then `[DONE]`.
pub fn stream(events: Vec<String>) -> Script {
    Arc::new(move |_, wire| {
        wire.stream_head()?;
        for event in &events {
            wire.event(event)?;
        }
        wire.event("[DONE]")?;
        wire.end()
    })
}

/// Streams `events` and then breaks off: by a reset, or by an orderly end without a finish or `[DONE]`.
pub fn cut(events: Vec<String>, how: Cut) -> Script {
    Arc::new(move |_, wire| {
        wire.stream_head()?;
        for event in &events {
            wire.event(event)?;
        }
        wire.cut(how)
    })
}

/// How a stream breaks off.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// TCP reset.
    Reset,
    /// FIN without the last chunk.
    Close,
    /// The last chunk, as if all were well, but no `[DONE]`.
    LastChunk,
}

/// Resets the connection once the request is there.
pub fn reset() -> Script {
    Arc::new(|_, wire| wire.reset())
}

/// Closes the connection once the request is there.
pub fn hang_up() -> Script {
    Arc::new(|_, wire| {
        wire.done = true;
        Ok(())
    })
}

/// Says nothing until the peer leaves.
pub fn silence() -> Script {
    Arc::new(|_, wire| {
        wire.done = true;
        wire.peer_left();
        Ok(())
    })
}

/// One script a request, in order; the last one stays.
pub fn in_turn(scripts: Vec<Script>) -> Script {
    let next = AtomicU64::new(0);
    Arc::new(move |request, wire| {
        let turn = next.fetch_add(1, Ordering::SeqCst) as usize;
        scripts[turn.min(scripts.len() - 1)](request, wire)
    })
}
