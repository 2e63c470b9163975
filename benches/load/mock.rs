//! The provider behind both gateways: HTTP/1.1 with keep-alive on one thread, as cheap as it can
//! be, because it shares its CPU with wrk.
//!
//! It reads every body to its end (Content-Length or chunked) and answers with a completion of
//! about 1 KB, or with a stream if the end of the body asks for one. It does not validate
//! anything; the completion reports the length of the body as `prompt_tokens`, which is what the
//! probe checks.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::body::{EVENTS, UPSTREAM_MODEL};
use crate::failure::Failure;
use crate::gateway::loopback;
use crate::inbound::{Inbound, parse_head};
use crate::options::MOCK_FLAG;
use crate::process::{Running, log_to, pinned};
use crate::scratch::Scratch;

const READ: usize = 64 << 10;

/// Starts this same program as the mock, in a process of its own so that it can be pinned.
pub fn start(port: u16, gap: Duration, cpu: usize, scratch: &Scratch) -> Result<Running, Failure> {
    let program = std::env::current_exe().map_err(Failure::during("finding this program"))?;
    let mut command = pinned(cpu, &program);
    command.args([MOCK_FLAG, &port.to_string(), &gap.as_millis().to_string()]);
    log_to(&mut command, &scratch.path("mock.log"))?;
    Running::start("mock", &mut command)
}

/// What that process does, until it is ended.
pub fn run(port: u16, gap: Duration) -> Result<(), Failure> {
    TcpListener::bind(loopback(port))
        .and_then(|listener| serve(listener, gap))
        .map_err(Failure::during("mock"))
}

/// Serves until accepting fails.
pub fn serve(listener: TcpListener, gap: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let answers = Arc::new(Answers::new(gap));
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let answers = Arc::clone(&answers);
            // A peer that leaves in mid-answer is how every wrk run ends.
            tokio::spawn(async move { converse(socket, &answers).await.ok() });
        }
    })
}

async fn converse(mut socket: TcpStream, answers: &Answers) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(READ);
    loop {
        let mut inbound = loop {
            if let Some(framing) = parse_head(&mut input)? {
                break Inbound::new(framing);
            }
            if fill(&mut socket, &mut input).await? == 0 {
                return Ok(());
            }
        };
        while !inbound.take(&mut input)? {
            if fill(&mut socket, &mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if inbound.asks_for_stream() {
            answers.stream(&mut socket).await?;
        } else {
            let answer = completion(&answers.content, inbound.length());
            socket.write_all(&answer).await?;
        }
        if inbound.closes() {
            return Ok(());
        }
    }
}

async fn fill(socket: &mut TcpStream, input: &mut BytesMut) -> io::Result<usize> {
    input.reserve(READ);
    socket.read_buf(input).await
}

/// What every connection answers with, made once.
struct Answers {
    content: String,
    head: &'static [u8],
    events: Vec<Bytes>,
    end: Bytes,
    gap: Duration,
}

impl Answers {
    fn new(gap: Duration) -> Self {
        Self {
            content: content(),
            // nginx would hold events back in its buffers without the last header.
            head: b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\nX-Accel-Buffering: no\r\n\r\n",
            events: (0..EVENTS).map(|index| chunk(&event(index))).collect(),
            end: [chunk("data: [DONE]\n\n"), Bytes::from_static(b"0\r\n\r\n")]
                .concat()
                .into(),
            gap,
        }
    }

    /// One write per event, `gap` apart: unpaced events would be merged on their way, the more of
    /// them the slower the gateway, and it would be flattered for that.
    async fn stream(&self, socket: &mut TcpStream) -> io::Result<()> {
        socket.write_all(self.head).await?;
        let mut due = tokio::time::Instant::now();
        for event in &self.events {
            socket.write_all(event).await?;
            // Due times are absolute: the timer rounds each sleep up to a millisecond.
            due += self.gap;
            if self.gap.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep_until(due).await;
            }
        }
        socket.write_all(&self.end).await
    }
}

fn chunk(content: &str) -> Bytes {
    format!("{:x}\r\n{content}\r\n", content.len()).into()
}

fn event(index: usize) -> String {
    let finish = if index + 1 == EVENTS {
        r#""stop""#
    } else {
        "null"
    };
    format!(
        "data: {{\"id\":\"chatcmpl-load\",\"object\":\"chat.completion.chunk\",\
         \"created\":1700000000,\"model\":\"{UPSTREAM_MODEL}\",\"choices\":[{{\"index\":0,\
         \"delta\":{{\"content\":\"{}\"}},\"finish_reason\":{finish}}}]}}\n\n",
        word(index)
    )
}

/// The text of one event.
pub fn word(index: usize) -> String {
    format!(" word{index}")
}

/// The text of a completion.
pub fn content() -> String {
    "The valve was replaced, watch the second flange, call the day engineer. ".repeat(10)
}

/// The whole response to a body of `prompt` bytes.
fn completion(content: &str, prompt: u64) -> Vec<u8> {
    let total = prompt + 140;
    let body = format!(
        r#"{{"id":"chatcmpl-load","object":"chat.completion","created":1700000000,"model":"{UPSTREAM_MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{prompt},"completion_tokens":140,"total_tokens":{total}}}}}"#
    );
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
