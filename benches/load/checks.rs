//! What `cargo test --benches` runs: the harness's own arithmetic and parsing, and the mock on a
//! real socket. Needs neither nginx nor wrk, and takes milliseconds.

#![expect(clippy::expect_used, reason = "a check that cannot go on has failed")]

use std::net::TcpListener;
use std::time::Duration;

use bytes::BytesMut;

use crate::body::Workload;
use crate::failure::Failure;
use crate::gateway::loopback;
use crate::{cpu, inbound, measure, mock, options, probe, table, wrk};

pub fn run() -> Result<(), Failure> {
    arithmetic();
    parsing();
    bodies();
    mock_reads_in_any_pieces();
    mock_answers().map_err(Failure::Run)?;
    println!("load: checks passed (cargo bench --bench load measures)");
    Ok(())
}

fn arithmetic() {
    assert_eq!(table::median([3.0, 1.0, 2.0].into_iter()), 2.0);
    assert_eq!(table::median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    assert!(table::median(std::iter::empty()).is_nan());
    assert_eq!(table::duration(999.4), "999 us");
    assert_eq!(table::duration(1234.0), "1.23 ms");
    assert_eq!(measure::order(0, &["a", "b"]), [(0, &"a"), (1, &"b")]);
    assert_eq!(measure::order(1, &["a", "b"]), [(1, &"b"), (0, &"a")]);
    let sample = |cpu_us| measure::Sample {
        requests_per_second: 100.0,
        p50_us: 10.0,
        p99_us: 20.0,
        cpu_us,
        core: 0.5,
        foreign: 0.0,
    };
    let row = measure::Row {
        name: "1 KiB".into(),
        rounds: vec![
            vec![sample(10.0), sample(20.0)],
            vec![sample(10.0), sample(30.0)],
        ],
    };
    let text = table::render(&["a", "b"], &[row]);
    assert!(text.contains("| 1 KiB | 2.50 (2.00 to 3.00) |"), "{text}");
}

fn parsing() {
    let stat = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 1 1 1";
    let expected = cpu::Stat {
        parent: 3,
        ticks: 200,
    };
    assert_eq!(cpu::parse_stat(stat), Some(expected));
    assert_eq!(cpu::parse_stat(&stat.replace(" S ", " Z ")), None);
    assert_eq!(cpu::parse_cpu_list("\t0-2,8\n"), [0, 1, 2, 8]);
    let stat = "cpu  9 9\ncpu1 10 1 5 70 2 0 3 4 9 9\n";
    assert_eq!(cpu::parse_busy(stat, 1), Some(23));
    assert_eq!(options::parse_size("10k"), Some(10 << 10));
    assert_eq!(options::parse_size("1M"), Some(1 << 20));
    assert_eq!(options::parse_size("3m"), None);

    let summary = wrk::parse("Running 1s test\nload-summary 10 9000 1000000 52.0 99.5 1 0\n");
    let summary = summary.expect("a summary line");
    assert_eq!((summary.requests, summary.p99_us), (10, 99.5));
    assert!(measure::verdict(&summary, 900).is_err());
    let clean = wrk::Summary {
        refused: 0,
        ..summary
    };
    assert_eq!(measure::verdict(&clean, 900), Ok(()));
    assert!(measure::verdict(&clean, 901).is_err());
    assert_eq!(wrk::parse("load-summary 10 9000"), None);
}

fn bodies() {
    for size in (Workload::SMALLEST..4096).chain([100 << 10, 1 << 20]) {
        let body = Workload::completion(size).body;
        assert_eq!(body.len(), size);
        serde_json::from_str::<serde_json::Value>(&body).expect("valid JSON");
    }
    assert_eq!(Workload::stream(Duration::ZERO).body.len(), 1 << 10);
}

fn mock_reads_in_any_pieces() {
    let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
        7;x=y\r\n{\"strea\r\n8\r\nm\":true}\r\n0\r\nA: b\r\n\r\n";
    let plain = b"POST / HTTP/1.1\r\ncontent-length: 15\r\n\r\n{\"stream\":true}";
    for request in [chunked.as_slice(), plain] {
        for size in [1, 7, request.len()] {
            let mut input = BytesMut::new();
            let mut pieces = request.chunks(size);
            let mut feed = |input: &mut BytesMut| {
                input.extend_from_slice(pieces.next().expect("the request is not over"));
            };
            let head = loop {
                feed(&mut input);
                if let Some(head) = inbound::parse_head(&mut input).expect("a head") {
                    break head;
                }
            };
            let mut inbound = inbound::Inbound::new(head);
            while !inbound.take(&mut input).expect("a body") {
                feed(&mut input);
            }
            assert_eq!(inbound.length(), 15);
            assert!(inbound.asks_for_stream() && input.is_empty());
            assert!(pieces.next().is_none());
        }
    }
}

fn mock_answers() -> Result<(), String> {
    let listener = TcpListener::bind(loopback(0)).map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    std::thread::spawn(move || mock::serve(listener, Duration::ZERO));
    for workload in [
        Workload::completion(1 << 10),
        Workload::completion(1 << 20),
        Workload::stream(Duration::ZERO),
    ] {
        probe::check(port, &workload)?;
    }
    assert!(!probe::is_stream("data: [DONE]\n\n"));
    assert!(!probe::is_completion("{}", 0));
    assert_eq!(probe::unchunk(b"5\r\nhel"), None);
    Ok(())
}
