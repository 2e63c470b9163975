use super::*;
use serde_json::{Value, json};
use std::io::Read;

const LARGE: Bounds = Bounds {
    queue: 16 << 20,
    ..BOUNDS
};

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

fn dropped(metrics: &Metrics) -> u64 {
    let text = metrics.render();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("tollgate_access_log_dropped_total "));
    line.unwrap().parse().unwrap()
}

fn numbered(n: usize) -> Record {
    Record {
        request_id: format!("req-{n}"),
        ..Record::default()
    }
}

fn parse(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn scratch(name: &str) -> PathBuf {
    let dir =
        std::env::temp_dir().join(format!("tollgate-access-log-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// A log into a pipe, and the pipe's other end.
fn piped(metrics: &Arc<Metrics>, bounds: Bounds) -> (AccessLog, io::PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let file = std::os::fd::OwnedFd::from(writer).into();
    let sink = Sink {
        file,
        path: None,
        torn: false,
    };
    (
        AccessLog::with(sink, Arc::clone(metrics), bounds).unwrap(),
        reader,
    )
}

#[test]
fn every_line_is_written_in_order_before_shutdown_returns() {
    let path = scratch("order").join("access.log");
    let metrics = metrics();
    let log = AccessLog::start(&Output::File(path.clone()), Arc::clone(&metrics)).unwrap();
    for n in 0..500 {
        log.write(&numbered(n));
    }
    log.shutdown();
    log.write(&numbered(500));
    log.shutdown();
    let lines = parse(&std::fs::read_to_string(&path).unwrap());
    assert_eq!(lines.len(), 500);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["request_id"], format!("req-{n}"));
    }
    assert_eq!(dropped(&metrics), 1, "the one after the end");
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn a_rotated_file_is_let_go() {
    let dir = scratch("rotate");
    let (path, rotated) = (dir.join("access.log"), dir.join("access.log.1"));
    std::fs::write(&path, "{\"older\":true}\n").unwrap();
    let log = AccessLog::start(&Output::File(path.clone()), metrics()).unwrap();
    log.write(&numbered(1));
    std::fs::rename(&path, &rotated).unwrap();
    log.reopen();
    log.write(&numbered(2));
    log.shutdown();
    let old = parse(&std::fs::read_to_string(&rotated).unwrap());
    let new = parse(&std::fs::read_to_string(&path).unwrap());
    assert_eq!(old[0], json!({"older": true}), "appended, not truncated");
    assert_eq!(old.len() + new.len(), 3);
    assert_eq!(new.last().unwrap()["request_id"], "req-2");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_output_that_cannot_be_opened_is_an_error_at_the_start() {
    let output = Output::File(PathBuf::from("/nonexistent/access.log"));
    let error = AccessLog::start(&output, metrics()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn off_writes_nothing() {
    let metrics = metrics();
    let log = AccessLog::start(&Output::Off, Arc::clone(&metrics)).unwrap();
    log.write(&numbered(1));
    log.reopen();
    log.shutdown();
    assert_eq!(dropped(&metrics), 0);
}

#[test]
fn a_pipe_that_nobody_reads_costs_lines_not_time() {
    let metrics = metrics();
    let bounds = Bounds {
        queue: 100_000,
        grace: Duration::from_secs(60),
        ..BOUNDS
    };
    let (log, mut reader) = piped(&metrics, bounds);
    // More than the pipe, the queue and the batch in hand can hold together.
    let sent: u64 = 2_000;
    for n in 0..sent {
        log.write(&numbered(usize::try_from(n).unwrap()));
    }
    let lost = dropped(&metrics);
    assert!(lost > 0);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    drop(log);
    let lines = parse(&reading.join().unwrap().unwrap());
    assert_eq!(u64::try_from(lines.len()).unwrap() + lost, sent);
    assert_eq!(dropped(&metrics), lost);
}

#[test]
fn a_stuck_pipe_does_not_hold_up_the_shutdown() {
    let metrics = metrics();
    let (log, reader) = piped(
        &metrics,
        Bounds {
            grace: Duration::ZERO,
            ..LARGE
        },
    );
    for n in 0..2_000 {
        log.write(&numbered(n));
    }
    log.shutdown();
    log.write(&numbered(0));
    assert!(dropped(&metrics) > 0);
    drop(reader);
}

#[test]
fn a_closed_pipe_costs_lines_and_nothing_else() {
    let metrics = metrics();
    let (log, reader) = piped(&metrics, LARGE);
    drop(reader);
    for n in 0..10 {
        log.write(&numbered(n));
    }
    log.shutdown();
    assert_eq!(dropped(&metrics), 10);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let metrics = metrics();
    let output = Output::File(PathBuf::from("/dev/full"));
    let log = AccessLog::start(&output, Arc::clone(&metrics)).unwrap();
    for n in 0..10 {
        log.write(&numbered(n));
    }
    log.shutdown();
    assert_eq!(dropped(&metrics), 10);
}

#[test]
fn after_a_torn_line_the_next_one_starts_afresh() {
    let path = scratch("torn").join("access.log");
    let mut sink = Sink::open(&Output::File(path.clone())).unwrap().unwrap();
    sink.file.write_all(b"{\"half").unwrap();
    sink.torn = true;
    assert!(sink.write(b"{}\n", || false).is_ok());
    assert!(!sink.torn);
    assert!(sink.write(b"{\"cut", || false).is_ok());
    assert!(sink.torn);
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "{\"half\n{}\n{\"cut"
    );
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}
