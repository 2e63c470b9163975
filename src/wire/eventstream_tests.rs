use super::*;

fn every_type() -> Message {
    let headers = [
        ("yes", Value::Bool(true)),
        ("no", Value::Bool(false)),
        ("i8", Value::Int8(-3)),
        ("i16", Value::Int16(-300)),
        ("i32", Value::Int32(-70_000)),
        ("i64", Value::Int64(i64::MIN)),
        ("bytes", Value::Bytes(Bytes::from_static(&[0, 255]))),
        (":message-type", Value::Text("event".into())),
        ("time", Value::Timestamp(1_763_850_000_123)),
        ("uuid", Value::Uuid([7; 16])),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value));
    Message {
        headers: headers.into(),
        payload: Bytes::from_static(b"{\"p\":\"abcd\"}"),
    }
}

fn short(payload: &'static str) -> Message {
    let headers = vec![(":event-type".to_owned(), Value::Text("messageStart".into()))];
    Message {
        headers,
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

/// What comes of `stream` in pieces of `size` bytes.
fn read(stream: &[u8], size: usize, limit: usize) -> (Vec<Message>, Option<Error>, usize) {
    let mut framer = Framer::new(limit);
    let mut messages = Vec::new();
    for chunk in stream.chunks(size.max(1)) {
        framer.push(Bytes::copy_from_slice(chunk));
        loop {
            match framer.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(framer.next_message(), Err(error), "stays broken");
                    return (messages, Some(error), framer.rest());
                }
            }
        }
    }
    (messages, None, framer.rest())
}

#[track_caller]
fn check(stream: &[u8], messages: &[Message], error: Option<Error>, rest: usize) {
    for size in [stream.len(), 1, 2, 3, 7, 11, 13, 64] {
        let expected = (messages.to_vec(), error, rest);
        assert_eq!(
            read(stream, size, LONGEST_MESSAGE),
            expected,
            "pieces of {size}"
        );
    }
}

/// Both checksums set right again after an edit.
fn seal(mut frame: Vec<u8>) -> Vec<u8> {
    let prelude = crc32fast::hash(&frame[..8]).to_be_bytes();
    frame[8..12].copy_from_slice(&prelude);
    let end = frame.len() - 4;
    let all = crc32fast::hash(&frame[..end]).to_be_bytes();
    frame[end..].copy_from_slice(&all);
    frame
}

fn with_headers(headers: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_u32(u32::try_from(16 + headers.len()).unwrap());
    frame.put_u32(u32::try_from(headers.len()).unwrap());
    frame.put_u32(0);
    frame.put_slice(headers);
    frame.put_u32(0);
    seal(frame)
}

#[test]
fn every_header_type_survives() {
    let message = every_type();
    let frame = message.encode().unwrap();
    check(&frame, std::slice::from_ref(&message), None, 0);
    assert_eq!(message.text(":message-type"), Some("event"));
    assert_eq!(message.text("yes"), None);
    assert_eq!(message.header("yes"), Some(&Value::Bool(true)));
    assert_eq!(message.header("absent"), None);
}

#[test]
fn many_messages_in_any_pieces() {
    let messages = [
        short("{}"),
        every_type(),
        short(""),
        Message::default(),
        short("{\"a\":1}"),
    ];
    let stream: Vec<u8> = messages.iter().flat_map(|m| m.encode().unwrap()).collect();
    check(&stream, &messages, None, 0);
    for cut in 0..stream.len() {
        let mut framer = Framer::default();
        let mut found = Vec::new();
        for piece in [&stream[..cut], &stream[cut..]] {
            framer.push(Bytes::copy_from_slice(piece));
            while let Some(message) = framer.next_message().unwrap() {
                found.push(message);
            }
        }
        assert_eq!(found, messages, "cut at {cut}");
    }
}

#[test]
fn pushes_may_come_before_takes() {
    let frame = every_type().encode().unwrap();
    let mut framer = Framer::default();
    for piece in frame.chunks(5) {
        framer.push(Bytes::copy_from_slice(piece));
    }
    assert_eq!(framer.next_message(), Ok(Some(every_type())));
    assert_eq!(framer.next_message(), Ok(None));
}

#[test]
fn a_message_in_one_chunk_is_not_copied() {
    let frame = Bytes::from(short("{\"a\":1}").encode().unwrap());
    let mut framer = Framer::default();
    framer.push(frame.clone());
    let message = framer.next_message().unwrap().unwrap();
    assert!(frame.as_ptr_range().contains(&message.payload.as_ptr()));
}

#[test]
fn a_cut_leaves_a_rest() {
    let frame = every_type().encode().unwrap();
    for cut in 1..frame.len() {
        check(&frame[..cut], &[], None, cut);
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let frame = short("{}").encode().unwrap();
    for bit in 0..frame.len() * 8 {
        let mut wrong = frame.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let part = if bit / 8 < 12 { "prelude" } else { "message" };
        check(&wrong, &[], Some(Error::Checksum(part)), 0);
    }
}

#[test]
fn what_came_before_a_fault_is_given_out() {
    let mut stream = short("{}").encode().unwrap();
    let mut wrong = short("{}").encode().unwrap();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    stream.extend(wrong);
    check(&stream, &[short("{}")], Some(Error::Checksum("message")), 0);
}

#[test]
fn lengths_are_bounded_before_bytes_are_kept() {
    let frame = short("{}").encode().unwrap();
    let limit = frame.len() - 1;
    let too_long = Some(Error::TooLong { limit });
    assert_eq!(read(&frame, 1, limit), (vec![], too_long, 0));
    assert_eq!(read(&frame, 1, frame.len()).1, None);

    let mut huge = Message::default().encode().unwrap();
    huge[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    check(
        &seal(huge),
        &[],
        Some(Error::TooLong {
            limit: LONGEST_MESSAGE,
        }),
        0,
    );

    let mut headers = Message::default().encode().unwrap();
    headers[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    check(
        &seal(headers),
        &[],
        Some(Error::TooLong {
            limit: LONGEST_MESSAGE,
        }),
        0,
    );
}

#[test]
fn right_checksums_do_not_excuse_wrong_contents() {
    let mut small = Message::default().encode().unwrap();
    small[..4].copy_from_slice(&15_u32.to_be_bytes());
    let longer = Error::Malformed("headers longer than the message");
    check(&seal(small), &[], Some(longer), 0);
    let cases: [(&[u8], &str); 9] = [
        (&[1, b'a', 10], "unknown header type"),
        (&[1, b'a'], "header cut off"),
        (&[5, b'a'], "header cut off"),
        (&[1, b'a', 7, 0, 9, b'x'], "header cut off"),
        (&[1, b'a', 9, 0], "header cut off"),
        (&[1, b'a', 7, 0, 1, 0xff], "header not UTF-8"),
        (&[1, 0xff, 0], "header not UTF-8"),
        (&[0, 0], "header name"),
        (&[1, b'a', 0, 1, b'a', 1], "header name"),
    ];
    for (headers, reason) in cases {
        check(
            &with_headers(headers),
            &[],
            Some(Error::Malformed(reason)),
            0,
        );
    }
}

#[test]
fn the_encoder_keeps_to_the_format() {
    let header = |name: String, value| Message {
        headers: vec![(name, value)],
        ..Message::default()
    };
    let long = Value::Text("x".repeat(32_768));
    assert_eq!(
        header("a".into(), long).encode(),
        Err(Error::Malformed("header value"))
    );
    let name = Err(Error::Malformed("header name"));
    assert_eq!(header(String::new(), Value::Bool(true)).encode(), name);
    assert_eq!(header("n".repeat(256), Value::Bool(true)).encode(), name);
    let payload = Bytes::from(vec![0; LONGEST_MESSAGE]);
    let message = Message {
        headers: Vec::new(),
        payload,
    };
    assert_eq!(
        message.encode(),
        Err(Error::TooLong {
            limit: LONGEST_MESSAGE
        })
    );
}
