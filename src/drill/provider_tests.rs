//! The provider, asked by a bare client: a broken instrument must not look
//! like a broken gateway.

use super::super::client::{Answer, call};
use super::super::fault::Cut;
use super::super::said::{self, TEXT};
use super::*;

/// No test waits for this: it only ends one that hangs.
const HANGS: Duration = Duration::from_secs(60);

async fn ask(provider: &Provider, path: &str, streamed: bool) -> io::Result<Answer> {
    let body = said::request("m", streamed, false);
    let request = format!(
        "POST {path}/v1/chat/completions HTTP/1.1\r\nhost: x\r\nContent-Length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    // The provider keeps connections; only a whole answer ends the reading.
    call(provider.address, request.as_bytes(), HANGS).await
}

async fn provider(fault: Fault) -> Provider {
    let faults = HashMap::from([("x".to_owned(), fault)]);
    Provider::start(faults).await.unwrap()
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body()).unwrap()
}

#[tokio::test]
async fn a_healthy_answer_is_whole_both_ways() {
    let provider = provider(Fault::Healthy).await;
    let answer = ask(&provider, "/primary/x", false).await.unwrap();
    assert_eq!((answer.status, answer.complete), (200, true));
    assert!(text(&answer).contains("lit until the last boat"));
    let answer = ask(&provider, "/fallback/x", true).await.unwrap();
    assert!(answer.complete && text(&answer).ends_with("data: [DONE]\n\n"));
    let seen = Seen {
        primary: 1,
        fallback: 1,
    };
    assert_eq!(provider.seen("x"), seen);
    assert_eq!(provider.seen("y"), Seen::default());
}

#[tokio::test]
async fn a_fault_of_the_primary_is_none_of_the_fallback() {
    let provider = provider(Fault::ErrorAlways).await;
    for _ in 0..2 {
        let answer = ask(&provider, "/primary/x", false).await.unwrap();
        assert_eq!(answer.status, 500);
    }
    let answer = ask(&provider, "/fallback/x", false).await.unwrap();
    assert_eq!(answer.status, 200);
    let answer = ask(&provider, "/nowhere/x", false).await.unwrap();
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn what_fails_once_is_served_the_second_time() {
    for (fault, status) in [
        (Fault::ErrorOnce, 500),
        (Fault::ConflictOnce, 409),
        (Fault::RateLimit, 429),
        (Fault::Unavailable, 503),
    ] {
        let provider = provider(fault).await;
        let first = ask(&provider, "/primary/x", false).await.unwrap();
        let waits = first.header("retry-after").is_some();
        assert_eq!((first.status, waits), (status, fault.asks_to_wait()));
        let second = ask(&provider, "/primary/x", false).await.unwrap();
        assert_eq!(second.status, 200, "{fault:?}");
    }
}

#[tokio::test]
async fn connections_are_refused_and_reset() {
    let provider = provider(Fault::ResetBeforeHead).await;
    let error = ask(&provider, "/primary/x", false).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let error = call(provider.closed, b"", HANGS).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_stream_is_cut_after_some_tokens() {
    for (how, complete) in [
        (Cut::Reset, false),
        (Cut::Close, false),
        (Cut::LastChunk, true),
    ] {
        let provider = provider(Fault::Cut(how)).await;
        let answer = ask(&provider, "/primary/x", true).await.unwrap();
        let text = text(&answer);
        assert_eq!(answer.complete, complete, "{how:?}");
        assert!(
            !text.contains("\"stop\"") && !text.contains("[DONE]"),
            "{text}"
        );
        // A reset may overtake what was sent before it.
        assert!(text.contains("café") || how == Cut::Reset, "{text}");
    }
}

#[tokio::test]
async fn half_a_body_is_not_complete() {
    let provider = provider(Fault::TruncatedBody).await;
    let answer = ask(&provider, "/primary/x", false).await.unwrap();
    assert_eq!((answer.status, answer.complete), (200, false));
    assert!(!text(&answer).contains("finish_reason"));
}

#[tokio::test(start_paused = true)]
async fn no_fault_outlasts_the_longest() {
    for fault in [
        Fault::Silence,
        Fault::HeadThenSilence,
        Fault::CommentsOnly,
        Fault::RoleThenSilence,
        Fault::ByteDrip,
        Fault::SlowTokens(Duration::from_secs(5)),
        Fault::Stall { comments: false },
        Fault::Stall { comments: true },
    ] {
        let provider = provider(fault).await;
        // A clock of the test's own runs: the end comes without waiting for it.
        let answer = ask(&provider, "/primary/x", true).await;
        match answer {
            Ok(answer) => assert!(!answer.complete, "{fault:?}"),
            Err(error) => assert_ne!(error.kind(), io::ErrorKind::TimedOut, "{fault:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_said_is_gone_on_with() {
    let provider = provider(Fault::Healthy).await;
    let (said, rest) = TEXT.split_at(40);
    let body = serde_json::json!({"model": "m", "messages": [
        {"role": "user", "content": "Tell."}, {"role": "assistant", "content": said}]});
    let body = body.to_string();
    let head = format!(
        "POST /fallback/x/v1/chat/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = head + &body;
    let answer = call(provider.address, request.as_bytes(), HANGS).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.unwrap().body()).unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], rest);
}
