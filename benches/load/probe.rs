//! One request before the load: the right answer, or no measurement.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::body::{EVENTS, Kind, PATH, Workload};
use crate::gateway::loopback;
use crate::mock;
use crate::tollgate::KEY;

const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Sends the workload once and checks status and content; gives the length of the answer's body.
pub fn check(port: u16, workload: &Workload) -> Result<u64, String> {
    let answer = ask(port, &request(&workload.body))?;
    let text = String::from_utf8_lossy(&answer.body);
    if answer.status != 200 {
        return Err(format!(
            "{}: status {}: {text}",
            workload.name, answer.status
        ));
    }
    let right = match workload.kind {
        Kind::Completion => is_completion(&text, workload.body.len()),
        Kind::Stream => is_stream(&text),
    };
    if right {
        Ok(answer.body.len() as u64)
    } else {
        Err(format!("{}: not the mock's answer: {text}", workload.name))
    }
}

fn request(body: &str) -> Vec<u8> {
    format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends `request`, which must ask for the connection to be closed, and reads the answer.
pub fn ask(port: u16, request: &[u8]) -> Result<Answer, String> {
    let exchange = || {
        let mut socket = TcpStream::connect_timeout(&loopback(port), LIMIT)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.set_write_timeout(Some(LIMIT))?;
        socket.write_all(request)?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let raw = exchange().map_err(|error| format!("the probe request: {error}"))?;
    parse(&raw).ok_or_else(|| format!("not HTTP: {}", String::from_utf8_lossy(&raw)))
}

fn parse(raw: &[u8]) -> Option<Answer> {
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n")?;
    let (head, body) = (raw.get(..end)?, raw.get(end + 4..)?);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = if head.contains("transfer-encoding: chunked") {
        unchunk(body)?
    } else {
        body.to_vec()
    };
    Some(Answer { status, body })
}

/// The content of a chunked body, or `None` if it is not whole.
pub fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..line)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(content);
        }
        let start = line + 2;
        content.extend_from_slice(rest.get(start..start + size)?);
        rest = rest.get(start + size + 2..)?;
    }
}

/// The mock's completion, with the length of the body that reached it.
pub fn is_completion(text: &str, sent: usize) -> bool {
    let Ok(answer) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let text = answer.pointer("/choices/0/message/content");
    let prompt = answer.pointer("/usage/prompt_tokens");
    text.is_some_and(|t| *t == mock::content()) && prompt.is_some_and(|p| *p == sent)
}

/// The mock's events, all of them, in order, and the end marker.
pub fn is_stream(text: &str) -> bool {
    let events: Vec<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("data: "))
        .collect();
    let Some((&"[DONE]", events)) = events.split_last() else {
        return false;
    };
    let words = events.iter().filter_map(|event| {
        let event: Value = serde_json::from_str(event).ok()?;
        let text = event.pointer("/choices/0/delta/content")?;
        Some(text.as_str()?.to_owned())
    });
    words.eq((0..EVENTS).map(mock::word))
}
