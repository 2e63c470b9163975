//! Answers that are right, and those that only look so.

use super::super::said::{self, Asked};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn expected(come: &[Come]) -> Expected {
    Expected {
        come: come.to_vec(),
        told_in_stream: false,
        first_by: SECOND,
        all_by: SECOND * 2,
    }
}

fn met(status: u16, kind: &str, body: &str) -> Met {
    let streamed = kind == STREAM;
    Met {
        answer: Ok(Answer {
            status,
            headers: vec![("content-type".to_owned(), kind.to_owned())],
            pieces: vec![(Duration::from_millis(10), body.as_bytes().to_vec())],
            complete: true,
            took: Duration::from_millis(20),
        }),
        took: Duration::from_millis(20),
        streamed,
        calls: false,
        seen: Seen {
            primary: 1,
            fallback: 1,
        },
    }
}

const STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";
const ANY: Come = Come::Whole(By::Anyone);
const ERROR: &str = "data: {\"error\":{\"message\":\"m\",\"type\":\"api_error\",\"param\":null,\"code\":\"upstream_error\"}}\n\n";

fn asked(calls: bool) -> Asked {
    Asked {
        streamed: true,
        calls,
        usage: true,
        rest: TEXT.to_owned(),
    }
}

/// The first events of a stream, without an end.
fn part(calls: bool) -> String {
    let events = said::content(&asked(calls));
    said::role() + &events[..3].concat()
}

fn all(calls: bool) -> String {
    said::role() + &said::content(&asked(calls)).concat() + &said::finish(&asked(calls))
}

fn why(met: &Met, come: &[Come]) -> Option<String> {
    judge(met, &expected(come)).why
}

#[test]
fn a_whole_answer_is_whole() {
    let body = said::whole(&asked(false));
    assert_eq!(why(&met(200, JSON, &body), &[ANY]), None);
    let stream = met(200, STREAM, &(all(false) + said::DONE));
    assert_eq!(why(&stream, &[Come::Broken, ANY]), None);
    let verdict = judge(&stream, &expected(&[ANY]));
    assert_eq!(verdict.came, "200 by fallback, 2 attempts");
    let calls = |kind, body: &str| Met {
        calls: true,
        ..met(200, kind, body)
    };
    let body = said::whole(&asked(true));
    assert_eq!(why(&calls(JSON, &body), &[ANY]), None);
    let stream = all(true) + said::DONE;
    assert_eq!(why(&calls(STREAM, &stream), &[ANY]), None);
}

#[test]
fn who_answered_is_what_the_provider_saw() {
    let mut met = met(200, JSON, &said::whole(&asked(false)));
    assert_eq!(why(&met, &[Come::Whole(By::Fallback)]), None);
    assert!(why(&met, &[Come::Whole(By::Primary)]).is_some());
    met.seen.fallback = 0;
    assert_eq!(why(&met, &[Come::Whole(By::Primary)]), None);
    let told = why(&met, &[Come::Whole(By::Fallback)]);
    assert_eq!(
        told.as_deref(),
        Some("expected the whole answer by the fallback")
    );
}

#[test]
fn an_honest_break_has_an_error_and_no_end() {
    let honest = part(false) + ERROR;
    assert_eq!(why(&met(200, STREAM, &honest), &[Come::Broken]), None);
    let call = Met {
        calls: true,
        ..met(200, STREAM, &(part(true) + ERROR))
    };
    assert_eq!(why(&call, &[Come::Broken]), None);
    assert!(why(&met(200, STREAM, &honest), &[ANY]).is_some());
}

#[test]
fn no_lie_passes_whatever_is_expected() {
    let everything = [ANY, Come::Broken, Come::Refused(&[200, 500, 502])];
    let finish = said::finish(&asked(false));
    let bad_error = "data: {\"error\":{\"message\":\"m\"}}\n\n";
    for (lie, body) in [
        (
            "a part that looks finished",
            part(false) + &finish + said::DONE,
        ),
        ("a part with a farewell", part(false) + said::DONE),
        ("a part and nothing more", part(false)),
        ("nothing", String::new()),
        ("no farewell", all(false)),
        (
            "no finish reason",
            all(false).replace("\"stop\"", "null") + said::DONE,
        ),
        (
            "a farewell after the error",
            part(false) + ERROR + said::DONE,
        ),
        ("an error after the end", all(false) + ERROR),
        ("an error without a code", part(false) + bad_error),
        (
            "an event that is no JSON",
            part(false) + "data: {\n\n" + ERROR,
        ),
        ("half an event", part(false) + ERROR + "data: {"),
        ("another text", part(false).replace("café", "cafe") + ERROR),
        ("twice the text", all(false) + &part(false) + said::DONE),
    ] {
        assert!(
            why(&met(200, STREAM, &body), &everything).is_some(),
            "{lie}"
        );
    }
    let whole = said::whole(&asked(false));
    for (lie, status, body) in [
        ("half a text", 200, whole.replace("thin but certain", "")),
        ("no finish reason", 200, whole.replace("\"stop\"", "null")),
        (
            "an error under 200",
            200,
            said::error("m", "api_error", Some("c")),
        ),
        ("no answer", 200, "{}".to_owned()),
        ("no JSON", 502, "<html>".to_owned()),
        ("no shape", 502, "{\"error\":\"m\"}".to_owned()),
        (
            "a code that is not there",
            502,
            said::error("m", "api_error", None),
        ),
        ("a redirect", 302, said::error("m", "api_error", Some("c"))),
    ] {
        assert!(
            why(&met(status, JSON, &body), &everything).is_some(),
            "{lie}"
        );
    }
    let in_place = met(200, "text/html", "<html>");
    let page = Met {
        streamed: true,
        ..in_place
    };
    assert!(why(&page, &everything).is_some());
}

#[test]
fn a_broken_connection_is_no_end() {
    for (kind, body) in [
        (JSON, said::whole(&asked(false))),
        (STREAM, all(false) + said::DONE),
        (STREAM, part(false) + ERROR),
    ] {
        let mut met = met(200, kind, &body);
        let answer = met.answer.as_mut().unwrap();
        answer.complete = false;
        assert!(why(&met, &[ANY, Come::Broken]).is_some(), "{body}");
    }
    let nothing = Met {
        answer: Err("no head came".to_owned()),
        ..met(200, JSON, "")
    };
    assert_eq!(why(&nothing, &[ANY]).as_deref(), Some("no head came"));
}

#[test]
fn an_error_has_a_status_among_those() {
    let body = said::error("m", "api_error", Some("timeout"));
    let answer = met(504, JSON, &body);
    assert_eq!(why(&answer, &[Come::Refused(&[502, 504])]), None);
    assert_eq!(
        judge(&answer, &expected(&[ANY])).came,
        "504 timeout, 2 attempts"
    );
    let told = why(&answer, &[ANY, Come::Refused(&[502, 503])]);
    let words = "expected the whole answer, or an error 502/503";
    assert_eq!(told.as_deref(), Some(words));
}

#[test]
fn an_error_event_in_place_of_a_status_only_where_the_head_is_out() {
    let answer = met(200, STREAM, &(": wait\n\n".to_owned() + ERROR));
    let mut expected = expected(&[Come::Refused(&[504])]);
    assert!(judge(&answer, &expected).why.is_some());
    expected.told_in_stream = true;
    assert_eq!(judge(&answer, &expected).why, None);
}

#[test]
fn late_is_wrong() {
    let body = all(false) + said::DONE;
    let mut late = met(200, STREAM, &body);
    late.took = SECOND * 2;
    assert_eq!(why(&late, &[ANY]), None);
    late.took += Duration::from_millis(1);
    let told = why(&late, &[ANY]).unwrap();
    assert_eq!(told, "its end after 2001 ms, due by 2000 ms");
    let mut late = met(200, STREAM, &body);
    let answer = late.answer.as_mut().unwrap();
    answer.pieces[0].0 = Duration::from_millis(1001);
    let told = why(&late, &[ANY]).unwrap();
    assert_eq!(told, "first content after 1001 ms, due by 1000 ms");
}
