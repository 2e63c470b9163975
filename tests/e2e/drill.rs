//! `tollgate drill` on the real binary: the scorecard, its exit codes, and what it leaves behind.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::gateway::{BINARY, Directory, Finished, directory};
use crate::tool::path;

/// A tolerance that a busy machine does not use up. With the longest deadline below it is still under the 30 s after
/// which the failing provider gives in by itself, so that a deadline that is not kept is seen.
const TOLERANCE: &str = "12s";

/// Short limits, but long enough for a busy machine. The credentials are nowhere: a drill needs none.
const PROVIDERS: &str = r#"
[providers.first]
dialect = "anthropic"
base_url = "https://first.invalid"
credential = "env:TOLLGATE_E2E_NOT_SET"
timeouts = { first_byte = "2s", first_token = "2s", idle = "3s", stall = "3s" }

[providers.second]
dialect = "openai"
base_url = "https://second.invalid/v1"
credential = "env:TOLLGATE_E2E_NOT_SET"
"#;

const ROUTES: &str = r#"
[models.saved]
targets = ["first/a"]
fallbacks = ["second/b"]
deadline = "12s"

[models.alone]
targets = ["first/a"]
deadline = "8s"

[models."held/*"]
targets = ["first/*", "second/*"]
on_break = "hold"
on_content_policy = ["second/*"]
deadline = "12s"
"#;

struct Drilled {
    ran: Finished,
    /// Where the drill had its files.
    temporary: Directory,
}

fn drill(arguments: &[&str]) -> Drilled {
    let (config, temporary) = (directory(), directory());
    let file = config.join("tollgate.toml");
    fs::write(&file, format!("{PROVIDERS}{ROUTES}")).unwrap();
    let output = Command::new(BINARY)
        .args(["drill", "-c", &path(&file), "--tolerance", TOLERANCE])
        .args(arguments)
        .env("TMPDIR", &*temporary)
        .stdin(Stdio::null())
        .output()
        .expect("the binary does not start");
    Drilled {
        ran: Finished {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        },
        temporary,
    }
}

/// The scorecard's object, and every row that did not pass.
fn object(drilled: &Drilled) -> (Value, Vec<String>) {
    let object: Value = serde_json::from_str(&drilled.ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {:?}", drilled.ran));
    let rows = object["rows"].as_array().expect("rows");
    let failed = rows
        .iter()
        .filter(|row| row["ok"] != true)
        .map(|row| format!("{}: {}: {}", row["name"], row["came"], row["why"]));
    let failed: Vec<String> = failed.collect();
    assert_eq!(object["failed"], failed.len());
    assert_eq!(drilled.ran.code, Some(i32::from(!failed.is_empty())));
    (object, failed)
}

fn row<'a>(object: &'a Value, name: &str) -> &'a Value {
    let rows = object["rows"].as_array().expect("rows");
    let mut found = rows.iter().filter(|row| row["name"] == name);
    found.next().unwrap_or_else(|| panic!("no row {name}"))
}

#[test]
fn a_route_with_a_fallback_passes_every_fault() {
    let drilled = drill(&["--route", "saved"]);
    let text = &drilled.ran.stdout;
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("ok ") || line.starts_with("FAIL "))
        .collect();
    assert!(rows.len() > 40, "{:?}", drilled.ran);
    for fault in [
        "healthy",
        "refused-connection",
        "silence",
        "byte-drip",
        "429-short",
        "cut-reset-streamed",
        "stall-comments-streamed",
        "slow-tokens-streamed",
        "tool-call-cut-streamed",
    ] {
        let named = rows
            .iter()
            .any(|row| row.split_whitespace().nth(1) == Some(fault));
        assert!(named, "{fault} is not in\n{text}");
    }
    let failed: Vec<&&str> = rows.iter().filter(|row| row.starts_with("FAIL")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(text.contains("per client request"), "{text}");
    assert_eq!(drilled.ran.code, Some(0));
    let left = fs::read_dir(&*drilled.temporary).unwrap().count();
    assert_eq!(left, 0, "the drill left files behind");
}

#[test]
fn a_route_with_one_target_is_honest() {
    let drilled = drill(&["--route", "alone", "--json"]);
    let (object, failed) = object(&drilled);
    assert!(failed.is_empty(), "{failed:#?}");
    let notes = object["notes"].to_string();
    assert!(notes.contains("one target"), "{notes}");
    let attempts = |name| row(&object, name)["attempts"]["fallback"].clone();
    assert!(attempts("silence") == 0 && attempts("500-always") == 0);
}

#[test]
fn a_route_that_holds_back_gives_whole_answers_only() {
    let drilled = drill(&["--route", "held/*", "--json"]);
    let (object, failed) = object(&drilled);
    assert!(failed.is_empty(), "{failed:#?}");
    for name in ["cut-close-streamed", "stall-streamed", "content-policy"] {
        let came = row(&object, name)["came"].to_string();
        assert!(came.contains("by fallback"), "{name}: {came}");
    }
}

#[test]
fn the_object_names_each_row_and_what_was_tried() {
    let drilled = drill(&["--route", "saved", "--json", "--deadline", "10s"]);
    let (object, _) = object(&drilled);
    assert_eq!(object["route"], "saved");
    assert_eq!(object["deadline_ms"], 10_000.0);
    let rows = object["rows"].as_array().unwrap();
    assert!(rows.len() > 40, "{} rows", rows.len());
    assert_eq!(
        object["passed"].as_u64().unwrap() + object["failed"].as_u64().unwrap(),
        rows.len() as u64
    );
    // What does not depend on failover is right in any case.
    for name in ["healthy", "healthy-streamed", "no-done-streamed"] {
        let row = row(&object, name);
        assert_eq!(row["ok"], true, "{row}");
        assert_eq!(row["attempts"]["primary"], 1, "{row}");
    }
    let silence = row(&object, "silence");
    assert_eq!(silence["ok"], true, "{silence}");
    assert_eq!(silence["attempts"]["fallback"], 1, "{silence}");
}

#[test]
fn a_route_that_is_not_there_is_told_with_those_that_are() {
    let drilled = drill(&["--route", "savde"]);
    assert_eq!(drilled.ran.code, Some(78), "{:?}", drilled.ran);
    for told in ["savde", "alone", "held/*", "saved"] {
        assert!(drilled.ran.stderr.contains(told), "{:?}", drilled.ran);
    }
    assert_eq!(drilled.ran.stdout, "");
}

#[test]
fn a_config_that_is_wrong_is_not_drilled() {
    let drilled = drill(&["--route", "saved", "--deadline", "soon"]);
    assert_eq!(drilled.ran.code, Some(2), "{:?}", drilled.ran);
    let directory = directory();
    let file = directory.join("tollgate.toml");
    fs::write(&file, "[models.m]\ntargets = [\"nobody/x\"]\n").unwrap();
    let ran = crate::gateway::run(&["drill", "-c", &path(&file), "--route", "m"]);
    assert_eq!(ran.code, Some(78), "{ran:?}");
    assert!(ran.stderr.contains("nobody"), "{ran:?}");
}
