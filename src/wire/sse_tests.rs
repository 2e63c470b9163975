use super::*;

/// The events of `stream` fed in pieces of `size` bytes, and the bytes left.
fn frames(stream: &[u8], size: usize) -> (Vec<Bytes>, usize) {
    let mut framer = Framer::default();
    let mut events = Vec::new();
    for chunk in stream.chunks(size) {
        framer.push(Bytes::copy_from_slice(chunk));
        while let Some(event) = framer.next_event().unwrap() {
            events.push(event);
        }
    }
    (events, framer.rest())
}

/// Checks the raw events of `stream`, fed whole and in pieces, and what is left.
#[track_caller]
fn check_frames(stream: &str, expected: &[&str], rest: usize) {
    for size in [stream.len().max(1), 1, 2, 3, 7] {
        let (events, left) = frames(stream.as_bytes(), size);
        assert_eq!(events, expected, "{stream:?} in pieces of {size}");
        assert_eq!(left, rest, "{stream:?} in pieces of {size}");
    }
}

#[test]
fn blank_lines_end_events_whatever_ends_the_lines() {
    check_frames("", &[], 0);
    check_frames("data: a\n\ndata: b\n\n", &["data: a\n\n", "data: b\n\n"], 0);
    check_frames(
        "data: a\r\n\r\ndata: b\r\n\r\n",
        &["data: a\r\n\r\n", "data: b\r\n\r\n"],
        0,
    );
    check_frames("data: a\r\rdata: b\r\r", &["data: a\r\r", "data: b\r\r"], 0);
    check_frames(
        "event: x\ndata: a\n\n: ping\n\n",
        &["event: x\ndata: a\n\n", ": ping\n\n"],
        0,
    );
}

#[test]
fn mixed_line_ends_give_the_same_events_in_any_pieces() {
    check_frames(
        "data: a\n\r\ndata: b\n\n",
        &["data: a\n\r\n", "data: b\n\n"],
        0,
    );
    check_frames(
        "data: a\r\n\ndata: b\n\n",
        &["data: a\r\n\n", "data: b\n\n"],
        0,
    );
    check_frames("data: a\n\rdata: b\n\n", &["data: a\n\r", "data: b\n\n"], 0);
    check_frames(
        "data: a\r\r\ndata: b\n\n",
        &["data: a\r\r", "\n", "data: b\n\n"],
        0,
    );
    check_frames("a\rb\r\nc\n\r\n", &["a\rb\r\nc\n\r\n"], 0);
}

#[test]
fn blank_lines_without_fields_are_events_of_their_own() {
    check_frames("\n\ndata: a\n\n\n", &["\n", "\n", "data: a\n\n", "\n"], 0);
    check_frames("\r\n\r\n", &["\r\n", "\r\n"], 0);
}

#[test]
fn what_the_end_cuts_off_is_left() {
    check_frames("data: a", &[], 7);
    check_frames("data: a\n", &[], 8);
    check_frames("data: a\n\ndata: b\r\n", &["data: a\n\n"], 9);
    check_frames("data: a\r\n\r", &[], 10);
}

#[test]
fn a_stream_of_bare_returns_is_not_held_back() {
    let mut framer = Framer::default();
    framer.push(Bytes::from_static(b"data: a\r\r"));
    assert_eq!(framer.next_event().unwrap().unwrap(), "data: a\r\r");
}

#[test]
fn an_event_within_a_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n");
    let mut framer = Framer::default();
    framer.push(chunk.clone());
    framer.next_event().unwrap();
    let second = framer.next_event().unwrap().unwrap();
    assert_eq!(second.as_ptr(), chunk.slice(9..).as_ptr());
}

#[test]
fn a_chunk_may_be_pushed_before_all_events_are_taken() {
    let mut framer = Framer::default();
    framer.push(Bytes::from_static(b"data: a\n\ndata: b"));
    framer.push(Bytes::from_static(b"\n\n"));
    assert_eq!(framer.next_event().unwrap().unwrap(), "data: a\n\n");
    assert_eq!(framer.next_event().unwrap().unwrap(), "data: b\n\n");
    assert_eq!(framer.next_event().unwrap(), None);
}

#[test]
fn events_are_bounded_and_chunks_are_not() {
    for size in [1, 7, 100] {
        let mut framer = Framer::new(12);
        let mut taken = 0;
        let stream = b"data: 6789\n\ndata: 6789\n\ndata: 67890\n\n";
        let mut failed = false;
        for chunk in stream.chunks(size) {
            framer.push(Bytes::copy_from_slice(chunk));
            loop {
                match framer.next_event() {
                    Ok(Some(_)) => taken += 1,
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(error, EventTooLong { limit: 12 });
                        failed = true;
                        break;
                    }
                }
            }
            if failed {
                break;
            }
        }
        assert!(failed, "pieces of {size}");
        assert_eq!(taken, 2, "pieces of {size}");
    }
}

#[test]
fn random_streams_are_cut_the_same_in_any_pieces() {
    const PIECES: [&str; 10] = [
        "\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "data: x", "event: y", ":", "\u{feff}", "é",
    ];
    let mut state = 7_u64;
    let mut below = |end: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % end
    };
    for _ in 0..2_000 {
        let stream: String = (0..below(30))
            .map(|_| PIECES[below(PIECES.len())])
            .collect();
        let whole = frames(stream.as_bytes(), stream.len().max(1));
        let joined = whole.0.concat();
        assert!(stream.as_bytes().starts_with(&joined));
        assert_eq!(joined.len() + whole.1, stream.len());
        for size in [1, 2, 7] {
            assert_eq!(
                frames(stream.as_bytes(), size),
                whole,
                "{stream:?} by {size}"
            );
        }
    }
}

#[track_caller]
fn check_event(raw: &str, name: Option<&str>, data: Option<&str>, comment_only: bool) {
    let event = Event::parse(raw.as_bytes());
    assert_eq!(event.name, name, "{raw:?}");
    let text = event
        .data
        .as_deref()
        .map(|data| std::str::from_utf8(data).unwrap());
    assert_eq!(text, data, "{raw:?}");
    assert_eq!(event.is_comment_only(), comment_only, "{raw:?}");
}

#[test]
fn fields_are_read() {
    check_event("data: a\n\n", None, Some("a"), false);
    check_event("data:a\n\n", None, Some("a"), false);
    check_event("data:  a\n\n", None, Some(" a"), false);
    check_event("data: a: b\n\n", None, Some("a: b"), false);
    check_event("data\n\n", None, Some(""), false);
    check_event("data:\ndata:\n\n", None, Some("\n"), false);
    check_event("data: a\r\ndata: b\r\n\r\n", None, Some("a\nb"), false);
    check_event("event: ping\ndata: {}\n\n", Some("ping"), Some("{}"), false);
    check_event("event: a\nevent: b\n\n", Some("b"), None, false);
    check_event("event: a\nevent:\n\n", None, None, false);
    check_event("id: 1\nretry: 10\ndata: a\r\r", None, Some("a"), false);
    check_event("Data: a\n data: b\ndatax: c\n\n", None, None, false);
}

#[test]
fn comments_and_blank_lines_are_not_events() {
    check_event(": ping\n\n", None, None, true);
    check_event(":\r\n:\r\n\r\n", None, None, true);
    check_event(": ping\ndata: a\n\n", None, Some("a"), false);
    check_event("\n", None, None, false);
}

#[test]
fn a_byte_order_mark_at_the_start_is_skipped() {
    check_event("\u{feff}data: a\n\n", None, Some("a"), false);
    check_event("\u{feff}\ndata: a\n\n", None, Some("a"), false);
    check_event("\u{feff}\u{feff}data: a\n\n", None, None, false);
}

#[test]
fn one_data_field_is_borrowed_and_names_need_not_be_text() {
    assert!(matches!(
        Event::parse(b"data: a\n\n").data,
        Some(Cow::Borrowed(b"a"))
    ));
    assert_eq!(Event::parse(b"event: \xff\n\n").name, Some("\u{fffd}"));
    let odd = Event::parse(b"data: \xff\n\n").data;
    assert_eq!(odd.as_deref(), Some(b"\xff".as_slice()));
}
