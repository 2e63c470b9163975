//! The operator's log: one JSON line per event, on standard error.
//!
//! Our own lines come at the configured level. Every other crate is heard only
//! when it warns: Pingora's debug lines hold whole request heads. Its warnings
//! and errors can quote one too (a head that it could not parse, or a request
//! target with its query), so every line, ours included, passes [`scrub`]:
//! what looks like a credential is masked and long texts are cut. The masks
//! are a second net, not a licence to log what clients or providers sent.
//!
//! A line is written at once and by whoever logs it. A closed standard error
//! loses lines silently; there is nowhere left to say so.

use super::scrub::scrub;
use super::{json_line, timestamp};
use log::kv::{self, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::time::SystemTime;

/// The longest text, in characters, that is kept of a foreign crate's line...
const FOREIGN_CHARS: usize = 300;
/// ...and of one of ours.
const OWN_CHARS: usize = 4_000;

/// Starts logging at `level`, and sends panics to the log as well. A second
/// call only changes the level.
pub fn init(level: LevelFilter) {
    if log::set_logger(&Operator).is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
    set_level(level);
}

/// Changes the level of our own lines; other crates stay at `warn` or above.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

struct Operator;

impl Log for Operator {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        heard(metadata.target(), metadata.level(), log::max_level())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Some(line) = json_line(&Line {
            time: SystemTime::now(),
            record,
        }) {
            // In one piece, so that lines of several threads do not mix.
            let _ = io::stderr().lock().write_all(&line);
        }
    }

    fn flush(&self) {}
}

fn heard(target: &str, level: Level, most: LevelFilter) -> bool {
    level <= most && (level <= Level::Warn || is_ours(target))
}

fn is_ours(target: &str) -> bool {
    target
        .strip_prefix("tollgate")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The default hook would print the payload as it is, in lines of its own.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let thread = std::thread::current();
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    log::error!(
        target: "tollgate::panic",
        place = place.as_str(),
        thread = thread.name().unwrap_or("unnamed"),
        payload = text.unwrap_or("not a text");
        "panicked"
    );
}

struct Line<'a> {
    time: SystemTime,
    record: &'a Record<'a>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.record;
        let most = if is_ours(record.target()) {
            OWN_CHARS
        } else {
            FOREIGN_CHARS
        };
        let mut fields = Fields {
            most,
            fields: Vec::new(),
        };
        // An error is one of a value's own Display; the line goes out without it.
        let _ = record.key_values().visit(&mut fields);

        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &timestamp(self.time).to_string())?;
        map.serialize_entry("level", level_name(record.level()))?;
        map.serialize_entry("target", record.target())?;
        map.serialize_entry("message", &scrub(&record.args().to_string(), most))?;
        for (name, value) in &fields.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// The fields of a line as JSON values.
struct Fields {
    most: usize,
    fields: Vec<(String, Value)>,
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let mut name = key.as_str().to_owned();
        while ["time", "level", "target", "message"].contains(&name.as_str())
            || self.fields.iter().any(|(taken, _)| *taken == name)
        {
            name.push('_');
        }
        let value = if let Some(value) = value.to_bool() {
            value.into()
        } else if let Some(value) = value.to_u64() {
            value.into()
        } else if let Some(value) = value.to_i64() {
            value.into()
        } else if let Some(value) = value.to_f64() {
            value.into()
        } else {
            scrub(&value.to_string(), self.most).into()
        };
        self.fields.push((name, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_FIELDS: [(&str, &str); 0] = [];

    fn line(target: &str, fields: &dyn kv::Source, args: std::fmt::Arguments<'_>) -> Value {
        let record = Record::builder()
            .level(Level::Warn)
            .target(target)
            .args(args)
            .key_values(&fields)
            .build();
        let line = json_line(&Line {
            time: SystemTime::UNIX_EPOCH,
            record: &record,
        })
        .unwrap();
        assert_eq!(line.last(), Some(&b'\n'));
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn a_line_has_its_fields_beside_the_message() {
        let fields: [(&str, kv::Value<'_>); 6] = [
            ("version", 7u64.into()),
            ("delta", (-1i64).into()),
            ("ok", true.into()),
            ("file", "a\nb".into()),
            ("time", "taken".into()),
            ("file", "twice".into()),
        ];
        let fields: Vec<_> = fields.into_iter().collect();
        let line = line("tollgate::reload", &fields, format_args!("reloaded"));
        let want = serde_json::json!({
            "time": "1970-01-01T00:00:00.000Z",
            "level": "warn",
            "target": "tollgate::reload",
            "message": "reloaded",
            "version": 7,
            "delta": -1,
            "ok": true,
            "file": "a\nb",
            "time_": "taken",
            "file_": "twice",
        });
        assert_eq!(line, want);
    }

    #[test]
    fn other_crates_are_heard_only_when_they_warn() {
        let cases = [
            ("tollgate", Level::Debug, LevelFilter::Debug, true),
            ("tollgate::reload", Level::Info, LevelFilter::Info, true),
            ("tollgate::reload", Level::Debug, LevelFilter::Info, false),
            ("tollgate_other", Level::Info, LevelFilter::Debug, false),
            ("pingora_core::apps", Level::Info, LevelFilter::Trace, false),
            ("pingora_proxy", Level::Debug, LevelFilter::Debug, false),
            ("pingora_proxy", Level::Warn, LevelFilter::Debug, true),
            ("h2", Level::Warn, LevelFilter::Error, false),
            ("h2", Level::Error, LevelFilter::Error, true),
        ];
        for (target, level, most, want) in cases {
            assert_eq!(
                heard(target, level, most),
                want,
                "{target} {level} at {most}"
            );
        }
    }

    #[test]
    fn foreign_lines_are_short_and_ours_are_not_endless() {
        let long = "é".repeat(10_000);
        let foreign = line("pingora_core", &NO_FIELDS, format_args!("{long}"));
        assert_eq!(
            foreign["message"].as_str().unwrap().chars().count(),
            FOREIGN_CHARS + 1
        );
        let ours = line("tollgate", &NO_FIELDS, format_args!("{long}"));
        assert_eq!(
            ours["message"].as_str().unwrap().chars().count(),
            OWN_CHARS + 1
        );
    }

    #[test]
    fn fields_are_scrubbed_as_messages_are() {
        let fields = [("error", "buf: s3cr3t cause: b"), ("a", "key=s3cr3t")];
        let line = line("tollgate", &fields, format_args!("failed"));
        assert_eq!(line["error"], "[head withheld] cause: b");
        assert_eq!(line["a"], "key=[masked]");
    }
}
