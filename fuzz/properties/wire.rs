//! Bytes without meaning: the scan and the splice beside a DOM, frames beside a plain reader of
//! their standard.

use super::draw::{Sequence, cuts};
use super::shown;
use super::strict::Distinct;
use bytes::Bytes;
use serde_json::Value;
use std::borrow::Cow;
use tollgate::chat::{Media, Operation, Rewrite, Speech, inspect};
use tollgate::wire::json::{
    Document, Edit, Known, Limits, ScanErrorKind, Span, append_members, lenient, scan, splice,
    write_string,
};
use tollgate::wire::{eventstream, multipart, percent, sigv4, sse};

const KNOWN: Known<'static> = Known {
    top: &["model", "messages"],
    nested: &[("messages", &["role", "content"])],
};

/// The scan accepts what a DOM parser accepts, but for what it refuses on purpose, and both see
/// the same; an edit by span is an edit of the value.
pub fn json(bytes: &[u8]) {
    let theirs = serde_json::from_slice::<Value>(bytes);
    let distinct = serde_json::from_slice::<Distinct>(bytes).is_ok();
    if let Ok(value) = &theirs {
        assert_eq!(lenient::<Value>(bytes).as_ref(), Some(value));
    } else {
        // Whatever is mended is still JSON, so nothing but no panic is asked.
        let _ = lenient::<Value>(bytes);
    }
    match (scan(bytes, &Limits::default(), &KNOWN), theirs) {
        (Ok(document), Ok(value)) => {
            assert!(distinct, "accepted with a name twice: {}", shown(bytes));
            same_members(bytes, &document, &value);
            edited(bytes, &document, value);
        }
        (Ok(_), Err(error)) => panic!("accepted, but {error}: {}", shown(bytes)),
        (Err(error), Ok(value)) => match error.kind {
            ScanErrorKind::DuplicateName => assert!(!distinct, "{error}: {}", shown(bytes)),
            ScanErrorKind::NotAnObject => assert!(!value.is_object(), "{error}"),
            ScanErrorKind::NameCase | ScanErrorKind::NulInName | ScanErrorKind::TooDeep => {}
            _ => assert!(
                over_a_limit(bytes),
                "refused with {error}: {}",
                shown(bytes)
            ),
        },
        (Err(error), Err(_)) => assert!(error.offset <= bytes.len(), "{error}"),
    }
    for operation in Operation::ALL {
        inspected(operation, bytes);
    }
}

/// Long enough for one of the limits on names and numbers.
fn over_a_limit(bytes: &[u8]) -> bool {
    bytes.len() > Limits::default().number_bytes
}

fn same_members(body: &[u8], document: &Document, value: &Value) {
    let object = value.as_object().expect("an object");
    assert_eq!(document.members().len(), object.len());
    for member in document.members() {
        let quoted = Span::new(member.name.start - 1, member.name.end + 1);
        let name: String = serde_json::from_slice(quoted.of(body)).expect("a name");
        assert!(member.is_named(body, &name));
        let theirs = &object[&name];
        let ours: Value = serde_json::from_slice(member.value.of(body)).expect("a value");
        assert_eq!(ours, *theirs);
        assert_eq!(member.string(body).as_deref(), theirs.as_str());
        assert_eq!(member.u64(body), theirs.as_u64());
        assert_eq!(member.bool(), theirs.as_bool());
        assert_eq!(member.elements, theirs.as_array().map_or(0, Vec::len));
    }
}

fn edited(body: &[u8], document: &Document, mut value: Value) {
    let name = odd_text(body);
    let mut with = Vec::new();
    write_string(&mut with, &name);
    assert_eq!(
        serde_json::from_slice::<String>(&with).ok().as_ref(),
        Some(&name)
    );
    let mut edits = Vec::new();
    if let Some(model) = document.member(body, "model") {
        edits.push(Edit {
            span: model.value,
            with: with.into(),
        });
        value["model"] = name.into();
    }
    if document.member(body, "user").is_none() {
        edits.push(append_members(document, &[("user", b"[1]")]));
        value["user"] = vec![1].into();
    }
    let spliced = splice(&Bytes::copy_from_slice(body), edits).expect("spans of this body");
    let read: Value = serde_json::from_slice(&spliced.into_bytes()).expect("still JSON");
    assert_eq!(read, value);
}

/// A text that is hard to write, another one for each input.
pub fn odd_text(bytes: &[u8]) -> String {
    const ODD: [char; 12] = [
        'm', '"', '\\', '\0', '\n', '\u{7f}', '\u{2028}', 'é', '日', '😀', '/', '\u{ffff}',
    ];
    let mut sequence = Sequence::of(bytes);
    let length = sequence.below(9);
    (0..length)
        .map(|_| ODD[sequence.below(ODD.len())])
        .collect()
}

/// What is read for routing is what a DOM parser reads, and another model in its place changes
/// nothing else.
fn inspected(operation: Operation, bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let Ok(request) = inspect(operation, Media::Json, "", &body, 64) else {
        return;
    };
    let mut value: Value = serde_json::from_slice(bytes).expect("JSON");
    assert_eq!(value["model"], *request.model);
    assert_eq!(value["stream"] == true, request.stream);
    let named = |name: &str| value[name].as_str().filter(|name| !name.is_empty());
    let user = named("user").or(named("safety_identifier"));
    if operation.speech() != Speech::Anthropic {
        assert_eq!(user, request.user.as_deref());
    }
    let model = odd_text(bytes);
    let rewrite = Rewrite {
        model: &model,
        ..Rewrite::default()
    };
    let sent = request.rewritten(&body, &rewrite).concat();
    value["model"] = model.into();
    let read: Value = serde_json::from_slice(&sent).expect("still JSON");
    assert_eq!(read, value);
}

/// Events do not depend on how the stream is cut, are the bytes as they came, and say what a
/// plain reader of the standard reads.
pub fn sse(bytes: &[u8]) {
    for limit in [sse::LONGEST_EVENT, 16] {
        let whole = framed(vec![Bytes::copy_from_slice(bytes)], limit);
        for pieces in cuts(bytes) {
            assert_eq!(framed(pieces, limit), whole, "{}", shown(bytes));
        }
        let (events, rest) = &whole;
        let taken = events.concat();
        assert!(bytes.starts_with(&taken));
        assert!(
            events
                .iter()
                .all(|event| !event.is_empty() && event.len() <= limit)
        );
        if let Some(rest) = rest {
            assert_eq!(taken.len() + rest, bytes.len());
        }
    }
    let (events, _) = framed(vec![Bytes::copy_from_slice(bytes)], sse::LONGEST_EVENT);
    let read: Vec<Read<'_>> = events.iter().filter_map(|raw| as_read(raw)).collect();
    let plain = plain_events(bytes);
    assert!(plain.starts_with(&read), "{read:?} and {plain:?}");
    // The last one may wait for the LF after a CR.
    assert!(plain.len() <= read.len() + 1, "{read:?} and {plain:?}");
}

/// An event's name and what it says.
type Read<'a> = (Option<&'a [u8]>, Cow<'a, [u8]>);

fn as_read(raw: &[u8]) -> Option<Read<'_>> {
    let event = sse::Event::parse(raw);
    let name = event.name.map(str::as_bytes);
    event.data.map(|data| (name, data))
}

fn framed(pieces: Vec<Bytes>, limit: usize) -> (Vec<Bytes>, Option<usize>) {
    let mut framer = sse::Framer::new(limit);
    let mut events = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return (events, None),
            }
        }
        assert!(framer.rest() <= limit, "more is held than the limit allows");
    }
    (events, Some(framer.rest()))
}

/// Section 9.2.6 of the HTML standard, word by word.
fn plain_events(bytes: &[u8]) -> Vec<Read<'_>> {
    let mut events = Vec::new();
    let (mut name, mut data, mut first): (Option<&[u8]>, Option<Vec<u8>>, bool) =
        (None, None, true);
    for line in lines(bytes) {
        // A mark stands at the start of the stream only; here it may at that of any event.
        let line = if first {
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        } else {
            line
        };
        if line.is_empty() {
            if let Some(data) = data.take() {
                events.push((name, Cow::Owned(data)));
            }
            (name, first) = (None, true);
            continue;
        }
        first = false;
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = colon.map_or((line, &b""[..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => match &mut data {
                None => data = Some(value.to_vec()),
                Some(data) => data.extend([b"\n", value].concat()),
            },
            b"event" => {
                let valid = std::str::from_utf8(value).map_or("\u{fffd}".as_bytes(), str::as_bytes);
                name = Some(valid).filter(|name| !name.is_empty());
            }
            _ => {}
        }
    }
    events
}

/// The lines that ended, whatever ended them.
fn lines(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        lines.push(&bytes[..end]);
        let pair = bytes[end..].starts_with(b"\r\n");
        bytes = &bytes[end + 1 + usize::from(pair)..];
    }
    lines
}

/// The same for frames of AWS, as they are and with the checksums put right; a message that was
/// read is written as it came.
pub fn event_stream(bytes: &[u8]) {
    frames_are_whole(bytes);
    let headers = bytes
        .first()
        .map_or(0, |byte| usize::from(*byte))
        .min(bytes.len());
    let (head, payload) = bytes.split_at(headers);
    let mut stream = frame(head, payload);
    stream.extend(frame(b"", bytes));
    frames_are_whole(&stream);
}

/// A frame whose checksums are right, whatever is in it.
pub fn frame(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let word = |size: usize| u32::try_from(size).expect("a short input").to_be_bytes();
    let mut out = word(headers.len() + payload.len() + 16).to_vec();
    out.extend(word(headers.len()));
    out.extend(crc32(&out).to_be_bytes());
    out.extend([headers, payload].concat());
    out.extend(crc32(&out).to_be_bytes());
    out
}

/// CRC-32 (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

fn frames_are_whole(bytes: &[u8]) {
    let whole = messages(vec![Bytes::copy_from_slice(bytes)]);
    for pieces in cuts(bytes) {
        assert_eq!(messages(pieces), whole);
    }
    let mut at = 0;
    for message in &whole.0 {
        let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
            panic!("more messages than bytes")
        };
        let end = at + u32::from_be_bytes(*length) as usize;
        // Values of more than 32767 bytes are read but not written.
        if let Ok(written) = message.encode() {
            assert_eq!(written, bytes[at..end]);
        }
        at = end;
    }
}

type Messages = (Vec<eventstream::Message>, Result<usize, eventstream::Error>);

fn messages(pieces: Vec<Bytes>) -> Messages {
    let mut framer = eventstream::Framer::new(1 << 20);
    let mut all = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_message() {
                Ok(Some(message)) => all.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(
                        framer.next_message(),
                        Err(error),
                        "wrong once, wrong always"
                    );
                    return (all, Err(error));
                }
            }
        }
    }
    (all, Ok(framer.rest()))
}

/// The first line is the content type, the rest the form: its parts lie in order and are what is
/// between the delimiters; another content in the place of one changes no other.
pub fn multipart(bytes: &[u8]) {
    let line = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let body = bytes.get(line + 1..).unwrap_or_default();
    let _ = multipart::boundary(&shown(&bytes[..line]));
    // A form that begins with its boundary says which it is.
    let first = lines(body).first().copied().unwrap_or_default();
    let Some(boundary) = first
        .strip_prefix(b"--")
        .and_then(|b| std::str::from_utf8(b).ok())
    else {
        return;
    };
    let quoted = format!("multipart/form-data; boundary=\"{boundary}\"");
    if multipart::boundary(&quoted).as_deref() != Ok(boundary) {
        return;
    }
    let Ok(parts) = multipart::parts(body, boundary) else {
        return;
    };
    assert!(parts.len() <= multipart::MOST_PARTS);
    let delimiter = format!("\r\n--{boundary}");
    let mut end = 0;
    for part in &parts {
        assert!(part.content.start >= end && part.content.end >= part.content.start);
        end = part.content.end;
        assert!(body[end..].starts_with(delimiter.as_bytes()));
        let content = part.content.of(body);
        assert!(
            !content
                .windows(delimiter.len())
                .any(|at| at == delimiter.as_bytes())
        );
    }
    replaced(body, boundary, &parts, &quoted);
}

fn replaced(body: &[u8], boundary: &str, parts: &[multipart::Part], content_type: &str) {
    let body = Bytes::copy_from_slice(body);
    for (at, part) in parts.iter().enumerate() {
        let edit = Edit {
            span: part.content,
            with: Bytes::from_static(b"other"),
        };
        let sent = splice(&body, vec![edit])
            .expect("a span of this body")
            .into_bytes();
        let read = multipart::parts(&sent, boundary).expect("still a form");
        assert_eq!(read.len(), parts.len());
        for (other, (before, after)) in parts.iter().zip(&read).enumerate() {
            assert_eq!((&before.name, before.is_file), (&after.name, after.is_file));
            let expected = if other == at {
                b"other"
            } else {
                before.content.of(&body)
            };
            assert_eq!(after.content.of(&sent), expected);
        }
    }
    if let Ok(request) = inspect(
        Operation::Transcriptions,
        Media::Multipart,
        content_type,
        &body,
        64,
    ) {
        let named = |part: &&multipart::Part| part.name == "model";
        let model = parts.iter().find(named).expect("a model").content;
        assert_eq!(model.of(&body), request.model.as_bytes());
    }
}

/// Path, query, a header's name, its value and the body, a line each: a signature does not
/// depend on the order of headers and parameters nor on blanks around a value, and covers every
/// part of a request.
pub fn sigv4(bytes: &[u8]) {
    let text = shown(bytes);
    let mut encoded = String::new();
    percent::encode(&text, &mut encoded);
    assert_eq!(decoded(&encoded), text.as_bytes());
    let mut lines = text.splitn(5, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (path, query, name, value, body) = (line(), line(), line(), line(), line());
    let headers = [("host", "example.com"), (name, value)];
    let base = signed(path, query, &headers, body);
    assert!(base.contains("SignedHeaders=") && !base.contains("secret"));
    if !name.eq_ignore_ascii_case("host") {
        let swapped = [headers[1], headers[0]];
        assert_eq!(signed(path, query, &swapped, body), base);
    }
    let blanks = format!("  {value}\t");
    assert_eq!(
        signed(path, query, &[headers[0], (name, &blanks)], body),
        base
    );
    let reversed: Vec<&str> = query.split('&').rev().collect();
    assert_eq!(signed(path, &reversed.join("&"), &headers, body), base);
    assert_ne!(signed(path, query, &headers, &format!("{body}.")), base);
    assert_ne!(signed(&format!("{path}x"), query, &headers, body), base);
    assert_ne!(
        signed(
            path,
            query,
            &[headers[0], (name, &format!("{value}x"))],
            body
        ),
        base
    );
}

fn signed(path: &str, query: &str, headers: &[(&str, &str)], body: &str) -> String {
    let request = sigv4::Request {
        method: "POST",
        path,
        query,
        headers,
        body: body.as_bytes(),
    };
    let credentials = sigv4::Credentials {
        access_key: "AKID",
        secret_key: "secret",
        session_token: None,
    };
    let scope = sigv4::Scope {
        region: "eu-west-1",
        service: "bedrock",
    };
    let time = sigv4::Time::from_unix(1_700_000_000);
    sigv4::sign(&request, &credentials, scope, &time).authorization
}

fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let (true, [high, low, after @ ..]) = (*first == b'%', after) else {
            assert!(first.is_ascii_alphanumeric() || b"-._~".contains(first));
            out.push(*first);
            continue;
        };
        let digits = shown(&[*high, *low]);
        assert_eq!(digits, digits.to_ascii_uppercase());
        out.push(u8::from_str_radix(&digits, 16).expect("two digits"));
        rest = after;
    }
    out
}
