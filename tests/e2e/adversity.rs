//! What providers, clients and resolvers do when they do not behave, and what must not come of it: no request is lost
//! on a connection that still owes a body, none is sent twice, none hangs, and nothing broken passes for an answer.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, Request, Response};
use crate::gateway::{
    Gateway, KEY, chat_body, chat_request, directory, free_port, model, model_once, own_key,
    provider, simple, stream_request,
};
use crate::provider::{
    Cut, Provider, chat, completion, cut, delta, error_body, finish, status, stream,
};
use crate::tool;
use crate::wait::{DEADLINE, eventually, within};

/// A slow peer, not a wait for something.
fn dawdle(time: Duration) {
    let (_open, never) = channel::<()>();
    let _ = never.recv_timeout(time);
}

/// A provider that is scripted from a connection's first byte on, for what happens before a request is whole. Its
/// connections are counted from 0, and its system takes little in before it does.
fn listening(
    script: impl Fn(u64, BufReader<TcpStream>) -> std::io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(64).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming()) {
            let (script, stream) = (Arc::clone(&script), BufReader::new(stream.unwrap()));
            std::thread::spawn(move || script(number, stream));
        }
    });
    address
}

/// Reads a head and returns the length of the body that follows.
fn read_head(stream: &mut BufReader<TcpStream>) -> std::io::Result<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            return Ok(length);
        }
    }
}

fn answer(stream: &mut BufReader<TcpStream>, status: u16, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.get_mut().write_all((head + body).as_bytes())
}

/// `m` on a provider at this address.
fn at(address: SocketAddr, rest: &str) -> String {
    let main = format!(
        "[providers.main]\ndialect = \"openai\"\nbase_url = \"http://{address}/v1\"\n{rest}\n"
    );
    [main, model("m", &["main/up"]), own_key()].concat()
}

/// `m` on a first provider and then on a second one.
fn pair(first: &Provider, second: &Provider) -> String {
    [
        provider("first", first),
        provider("second", second),
        model_once("m", &["first/one", "second/two"]),
        own_key(),
    ]
    .concat()
}

/// A chat request of about this many bytes.
fn large_request(bytes: usize) -> Request {
    let text = "x".repeat(bytes);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    Request::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string())
}

#[test]
fn a_connection_that_still_owes_a_body_carries_no_other_request() {
    let (open, gate) = channel::<()>();
    let (tell, told) = channel();
    let ends = Mutex::new((gate, tell));
    let address = listening(move |number, mut stream| {
        let length = read_head(&mut stream)?;
        if number > 0 {
            stream.read_exact(&mut vec![0; length])?;
            return answer(&mut stream, 200, &completion("up", "fresh"));
        }
        stream.read_exact(&mut [0; 64 * 1024])?;
        answer(&mut stream, 413, &error_body("too large", "x", "y"))?;
        let ends = ends.lock().unwrap();
        let _ = ends.0.recv();
        let mut rest = Vec::new();
        // An end and a reset are the same to us: the bytes before it count.
        let _ = stream.read_to_end(&mut rest);
        let _ = ends
            .1
            .send(String::from_utf8_lossy(&rest).contains("POST /v1"));
        Ok(())
    });
    let gateway = Gateway::start(&at(address, "timeouts = { write = \"1s\" }"));
    let refused = gateway.call(&large_request(24 << 20));
    assert_eq!(refused.status, 413, "{}", refused.text());
    // From here on the provider reads again, so that a request on the old connection would go out, and be lost.
    open.send(()).unwrap();
    assert_eq!(gateway.chat("m").content(), "fresh");
    let swallowed = told.recv_timeout(DEADLINE);
    assert_eq!(swallowed, Ok(false), "sent into the rest of a body");
}

#[test]
fn an_upload_that_moves_on_is_not_cut_however_long_it_takes() {
    // 64 KiB each 20 ms until a time well past the timeout, then all the rest: a piece of what the gateway writes
    // needs a fraction of the timeout, and all of them together more than it, on any machine.
    let address = listening(|_, mut stream| {
        let length = read_head(&mut stream)?;
        let (began, mut left) = (Instant::now(), vec![0; length]);
        let mut read = 0;
        while read < length {
            let end = length.min(read + 64 * 1024);
            stream.read_exact(&mut left[read..end])?;
            read = end;
            if began.elapsed() < Duration::from_secs(5) {
                dawdle(Duration::from_millis(20));
            }
        }
        answer(&mut stream, 200, &completion("up", "all there"))
    });
    let gateway = Gateway::start(&at(address, "timeouts = { write = \"4s\" }"));
    let answer = gateway.call(&large_request(30 << 20));
    assert_eq!(
        (answer.status, answer.text().contains("all there")),
        (200, true)
    );
}

#[test]
fn a_client_that_never_reads_is_cut_in_mid_head() {
    const REQUESTS: usize = 250;
    // Heads so much larger than bodies that it is a head for which there is no room.
    let mut head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n".to_owned();
    for number in 0..40 {
        head.push_str(&format!("x-ratelimit-{number}: {}\r\n", "9".repeat(1000)));
    }
    let text = format!("data: {}\n\ndata: [DONE]\n\n", finish());
    head.push_str(&format!("content-length: {}\r\n\r\n{text}", text.len()));
    let provider = Provider::start(Arc::new(move |_, wire| wire.raw(head.as_bytes())));
    let times = "[times]\nclient_stall = \"1s\"\n";
    let gateway = Gateway::start(&format!("{times}{}", simple(&provider)));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&gateway.address.into()).unwrap();
    let mut client = TcpStream::from(socket);
    client.set_write_timeout(Some(DEADLINE)).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    // Where they do not all fit, the gateway's cut ends the writing.
    let _ = client.write_all(&stream_request("m").bytes().repeat(REQUESTS));
    eventually("a request is given up", || {
        let given_up = gateway.stdout().contains("\"outcome\":\"canceled\"");
        given_up.then_some(())
    });
    assert!(provider.count() < REQUESTS, "the buffers held all answers");
    eventually("nothing is in flight", || {
        (gateway.metric("tollgate_in_flight_requests", &[]) == 0.0).then_some(())
    });
    let end = client.read_to_end(&mut Vec::new()).map_err(|e| e.kind());
    let waited = matches!(end, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(!waited, "the connection is still open");
}

#[test]
fn a_request_that_was_worked_on_is_not_sent_again() {
    let (open, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let seen = AtomicUsize::new(0);
    let provider = Provider::start(Arc::new(move |request, wire| {
        if seen.fetch_add(1, Ordering::SeqCst) == 0 {
            return chat("warm")(request, wire);
        }
        wire.done = true;
        let _ = gate.lock().unwrap().recv();
        Ok(())
    }));
    let config = [
        crate::gateway::provider("main", &provider),
        model_once("m", &["main/x"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    assert_eq!(gateway.chat("m").content(), "warm");
    let address = gateway.address;
    let calling = std::thread::spawn(move || {
        let mut client = Client::connect(address)?;
        client.call(&chat_request("m"))
    });
    eventually("the request is there", || {
        (provider.count() == 2).then_some(())
    });
    // Twice as long as a connection that had been closed before would take to show it.
    dawdle(Duration::from_secs(1));
    drop(open);
    let answer = calling.join().unwrap().expect("no answer");
    assert_eq!(answer.status, 502, "{}", answer.text());
    let connections: Vec<u64> = provider.requests().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [0, 0], "sent again, or not on the warm one");
}

#[test]
fn a_connection_closed_between_requests_is_nobodys_trouble() {
    let provider = Provider::start(Arc::new(|request, wire| {
        wire.done = true;
        chat("ok")(request, wire)
    }));
    let gateway = Gateway::start(&simple(&provider));
    let mut client = gateway.connect();
    for number in 0..20 {
        let answer = client.call(&chat_request("m")).unwrap();
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
    }
    assert_eq!(provider.count(), 20);
}

#[test]
fn least_latency_avoids_an_endpoint_that_refuses() {
    const REQUESTS: u32 = 400;
    let (live, dead) = (Provider::start(chat("live")), Provider::refusing());
    let config = format!(
        "[providers.main]\ndialect = \"openai\"\nbalance = \"least_latency\"\n\
         base_urls = [{{ url = \"{}\" }}, {{ url = \"{}\" }}]\n",
        dead.base_url(),
        live.base_url()
    );
    let gateway = Gateway::start(&[config, model("m", &["main/x"]), own_key()].concat());
    let failed = || {
        let labels = [("provider", "main"), ("outcome", "connect_failed")];
        gateway.metric("tollgate_attempts_total", &labels)
    };
    let mut client = gateway.connect();
    let mut call = || client.call(&chat_request("m")).unwrap().content();
    eventually("both were tried", || {
        assert_eq!(call(), "live");
        (failed() > 0.0).then_some(())
    });
    let before = failed();
    for _ in 0..REQUESTS {
        assert_eq!(call(), "live");
    }
    let share = (failed() - before) / f64::from(REQUESTS);
    println!("{share} of the requests went to the dead endpoint first");
    // Of two different ones the better is taken, but for one pick in 32; three quarters would go to the dead one if it
    // were preferred.
    assert!(share < 0.2, "{share} of the requests");
}

#[test]
fn a_client_of_http_1_0_gets_a_stream_without_chunks() {
    let provider = Provider::start(stream(vec![delta("a")]));
    let gateway = Gateway::start(&simple(&provider));
    let request = String::from_utf8(stream_request("m").bytes()).unwrap();
    let answer = gateway.send(request.replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes());
    assert_eq!(answer.status, 200);
    for name in ["transfer-encoding", "content-length"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let expected = format!("data: {}\n\ndata: [DONE]\n\n", delta("a"));
    assert_eq!(answer.text(), expected);
}

#[test]
fn what_only_looks_like_an_answer_is_a_failure() {
    let body = completion("one", "broken");
    let half = &body[..body.len() / 2];
    let sized = |lines: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{lines}\r\n\r\n{body}")
    };
    let json = "content-type: application/json";
    let broken = [
        (
            "compressed",
            sized(&format!("{json}\r\ncontent-encoding: gzip"), &body),
        ),
        ("empty", sized(json, "")),
        ("blank", sized(json, " \r\n")),
        (
            "cut off",
            format!("HTTP/1.1 200 OK\r\n{json}\r\n\r\n{half}"),
        ),
        (
            "unknown transfer encoding",
            format!("HTTP/1.1 200 OK\r\n{json}\r\ntransfer-encoding: xchunked\r\n\r\n{body}"),
        ),
    ];
    assert_eq!(taken_for_answers(&broken), [""; 0]);
}

/// Which of these messages of a first provider the client got, instead of a second one's answer.
fn taken_for_answers<'a>(messages: &[(&'a str, String)]) -> Vec<&'a str> {
    let (first, second) = (Provider::start(chat("")), Provider::start(chat("saved")));
    let gateway = Gateway::start(&pair(&first, &second));
    let mut taken = Vec::new();
    for (what, message) in messages {
        let message = message.clone();
        first.become_script(Arc::new(move |_, wire| {
            wire.done = true;
            wire.raw(message.as_bytes())
        }));
        let answer = gateway.chat("m");
        assert_eq!(first.take_one().model(), "one", "{what}");
        if answer.header("x-tollgate-provider") != Some("second") {
            taken.push(*what);
            continue;
        }
        let seen = (answer.status, answer.content());
        assert_eq!(seen, (200, "saved".to_owned()), "{what}");
    }
    taken
}

#[test]
fn two_content_types_are_none() {
    let body = completion("one", "broken");
    let both = "content-type: application/json\r\ncontent-type: text/plain";
    let length = body.len();
    let message = format!("HTTP/1.1 200 OK\r\n{both}\r\ncontent-length: {length}\r\n\r\n{body}");
    assert_eq!(taken_for_answers(&[("both", message)]), [""; 0]);
}

#[test]
fn an_error_that_is_null_is_none() {
    let odd = r#"{"error":null,"choices":[{"index":0,"delta":{"content":"a"}}]}"#.to_owned();
    let provider = Provider::start(stream(vec![odd.clone(), finish()]));
    let gateway = Gateway::start(&simple(&provider));
    let events = gateway.stream("m").events();
    assert_eq!(events, [odd, finish(), "[DONE]".to_owned()]);
}

#[test]
fn a_stream_of_several_choices_is_not_finished_by_one() {
    let provider = Provider::start(cut(vec![delta("a"), finish()], Cut::LastChunk));
    let gateway = Gateway::start(&simple(&provider));
    let ask = |n: u32| {
        let body = json!({"model": "m", "stream": true, "n": n, "messages": []});
        let request = Request::post("/v1/chat/completions")
            .key(KEY)
            .json(body.to_string());
        gateway.connect().stream(&request).unwrap().events()
    };
    let one = ask(1);
    assert_eq!(one.last().map(String::as_str), Some("[DONE]"), "{one:?}");
    let two = ask(2);
    assert_eq!(two[..2], [delta("a"), finish()]);
    assert!(two.len() == 3 && two[2].contains("\"error\""), "{two:?}");
}

#[test]
fn an_expected_continue_keeps_the_connection() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let mut client = gateway.connect();
    for _ in 0..3 {
        let request = chat_request("m").header("expect", "100-continue");
        client.send(&request.head_bytes()).unwrap();
        assert_eq!(client.head().unwrap().status, 100);
        client.send(chat_body("m").as_bytes()).unwrap();
        let answer = client.response().unwrap();
        assert_eq!((answer.status, answer.content().as_str()), (200, "ok"));
    }
}

#[test]
fn a_body_with_broken_chunks_is_refused_with_a_reason() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let head = Request::post("/v1/chat/completions")
        .key(KEY)
        .json("")
        .chunked(1);
    for body in ["zz\r\n{}\r\n0\r\n\r\n", "2\r\n{}{}\r\n0\r\n\r\n"] {
        let answer = gateway.send(&[&head.head_bytes(), body.as_bytes()].concat());
        assert_eq!(answer.status, 400, "{body:?}");
        let mut members: Vec<String> = answer.json()["error"]
            .as_object()
            .map(|error| error.keys().cloned().collect())
            .unwrap_or_default();
        members.sort();
        assert_eq!(members, ["code", "message", "param", "type"], "{body:?}");
        assert_eq!(answer.error("type"), "invalid_request_error", "{body:?}");
    }
    assert_eq!(provider.count(), 0);
}

#[test]
fn head_over_http2_ends_cleanly() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let url = format!("http://{}/v1/models", gateway.address);
    let options = ["-sS", "-I", "--max-time", "60", "--http2-prior-knowledge"];
    let ran = tool::run("curl", &[&options[..], &[&url]].concat(), b"");
    assert!(ran.success, "{}{}", ran.stderr, ran.stdout);
    assert!(ran.stdout.starts_with("HTTP/2 405"), "{}", ran.stdout);
}

/// Two answers of a provider without content, over one connection.
fn without_content() -> Vec<Response> {
    let provider = Provider::start(Arc::new(|_, wire| {
        wire.raw(b"HTTP/1.1 204 No Content\r\n\r\n")
    }));
    let gateway = Gateway::start(&simple(&provider));
    let mut client = gateway.connect();
    let mut call = || client.call(&chat_request("m")).unwrap();
    vec![call(), call()]
}

#[test]
fn no_content_is_passed_on_without_chunks() {
    for answer in without_content() {
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("transfer-encoding"), None);
    }
}

#[test]
fn no_content_is_passed_on_without_a_length() {
    // Not even a length of 0 (RFC 9110, 8.6).
    for answer in without_content() {
        assert_eq!(answer.header("content-length"), None);
    }
}

#[test]
fn requests_do_not_queue_for_a_name_that_does_not_resolve() {
    let second = Provider::start(chat("saved"));
    let first = "[providers.first]\ndialect = \"openai\"\nbase_url = \"http://no-such-host.invalid/v1\"\n\
                 timeouts = { connect = \"5s\" }\n";
    let config = [
        first.to_owned(),
        provider("second", &second),
        model("m", &["first/a", "second/b"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    let (began, address) = (Instant::now(), gateway.address);
    let calls: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(move || Client::connect(address)?.call(&chat_request("m"))))
        .collect();
    for call in calls {
        let answer = call.join().unwrap().expect("no answer");
        assert_eq!(answer.content(), "saved");
        let line = gateway.access_line(answer.header("x-request-id").unwrap());
        let attempt = &line["attempts"][0];
        assert_eq!(attempt["provider"], "first", "{line}");
        assert_eq!(attempt["outcome"], "connect_failed", "{line}");
    }
    // One after another they could take eight times the timeout.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "took {took:?}");
}

#[test]
fn a_form_with_a_model_that_could_be_read_in_two_ways_is_refused() {
    let provider = Provider::start(status(200, &[], "{\"text\":\"ok\"}"));
    let gateway = Gateway::start(&simple(&provider));
    let send = |names: &[&str]| {
        let mut body = String::new();
        for name in names {
            let line = format!("content-disposition: form-data; name={name}");
            body.push_str(&format!("--b\r\n{line}\r\n\r\nm\r\n"));
        }
        let request = Request::post("/v1/audio/transcriptions")
            .key(KEY)
            .header("content-type", "multipart/form-data; boundary=b")
            .body(body + "--b--\r\n");
        gateway.call(&request)
    };
    let sound = send(&["\"file\"; filename=\"a.wav\"", "\"model\""]);
    assert_eq!(sound.status, 200, "{}", sound.text());
    for names in [
        &["\"model\"", "\"Model\""][..],
        &["\"MODEL\"", "\"model\""],
        &["\"model\"; filename=\"x\""],
        &["\"model\"", "\"model\"; filename=\"x\""],
    ] {
        let answer = send(names);
        let seen = (answer.status, answer.error("type"));
        let expected = (400, "invalid_request_error".to_owned());
        assert_eq!(seen, expected, "{names:?}");
    }
    assert_eq!(provider.count(), 1);
}

#[test]
fn a_client_that_agrees_on_http2_and_says_nothing_is_closed() {
    let (provider, directory) = (Provider::start(chat("ok")), directory());
    let (certificate, key) = tool::certificate(&directory, "quiet", "DNS:localhost");
    let address = format!("127.0.0.1:{}", free_port());
    let listener = format!(
        "[[listen]]\naddress = \"{address}\"\ntls = {{ certificate = {certificate:?}, key = {key:?} }}\n"
    );
    let times = "[times]\nheader = \"1s\"\nidle = \"1s\"\n";
    let _gateway = Gateway::start(&format!("{listener}{times}{}", simple(&provider)));
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-alpn", "h2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl does not start");
    let ended = within(DEADLINE, || client.try_wait().ok().flatten());
    let _ = client.kill();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ALPN protocol: h2"), "{said}");
    assert!(ended.is_some(), "the connection was kept");
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn a_client_may_open_http2_ahead_of_its_first_request() {
    let provider = Provider::start(chat("ok"));
    let times = "[times]\nheader = \"1s\"\nidle = \"60s\"\n";
    let gateway = Gateway::start(&format!("{times}{}", simple(&provider)));
    let mut client = TcpStream::connect(gateway.address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let settings = frame(4, 0, 0, b"");
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat();
    client.write_all(&preface).unwrap();
    // Longer than a head may take, and much shorter than a connection may be idle.
    dawdle(Duration::from_secs(3));
    // GET, http, then :path, :authority and authorization as plain literals (RFC 7541, appendix A).
    let mut fields = vec![0x82, 0x86];
    let key = format!("Bearer {KEY}");
    for (name, value) in [
        (&[4][..], "/v1/models"),
        (&[1], "localhost"),
        (&[15, 8], &key),
    ] {
        fields.extend_from_slice(name);
        fields.push(u8::try_from(value.len()).unwrap());
        fields.extend_from_slice(value.as_bytes());
    }
    client.write_all(&frame(1, 5, 1, &fields)).unwrap();
    let body = loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).expect("no answer");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        client.read_exact(&mut payload).expect("half a frame");
        if head[3] == 0 {
            break payload;
        }
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(body.contains("\"object\":\"list\""), "{body}");
}
