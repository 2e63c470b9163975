//! What is shipped for Prometheus and Grafana: rules that promtool takes and that fire when they should, and a dashboard
//! whose every metric the gateway has.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::gateway::{Gateway, simple};
use crate::provider::{Provider, chat};
use crate::tool;

fn shipped(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn promtool_takes_the_alerts_and_they_fire_when_they_should() {
    for arguments in [
        ["check", "rules", "conf/prometheus/alerts.yml"],
        ["test", "rules", "tests/prometheus/alerts_test.yml"],
    ] {
        let [verb, what, file] = arguments;
        let ran = tool::run("promtool", &[verb, what, &shipped(file)], b"");
        assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
    }
}

/// Where metrics are declared.
fn sources(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).expect("the tree can be read");
    let text = entries.map(|entry| {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path),
            false => std::fs::read_to_string(path).expect("UTF-8"),
        }
    });
    text.collect()
}

/// Names of tollgate's metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !is_name(c));
    let ours = words.filter(|word| word.starts_with("tollgate_"));
    let base = |name: &str| {
        let suffixes = ["_bucket", "_sum", "_count"];
        let found = suffixes.iter().find_map(|end| name.strip_suffix(end));
        found.unwrap_or(name).to_owned()
    };
    ours.map(base).collect()
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let known = named(&sources(shipped("src/telemetry").as_ref()));
    let shown = named(&gateway.metrics());
    assert!(shown.is_subset(&known), "{shown:?}");
    let dashboard = std::fs::read_to_string(shipped("conf/grafana/tollgate.json")).unwrap();
    let alerts = std::fs::read_to_string(shipped("conf/prometheus/alerts.yml")).unwrap();
    for name in named(&dashboard).into_iter().chain(named(&alerts)) {
        assert!(known.contains(&name), "there is no {name}");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_loads() {
    let text = std::fs::read_to_string(shipped("conf/grafana/tollgate.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|p| p["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels {
        let place = &panel["gridPos"];
        let (x, w) = (place["x"].as_u64().unwrap(), place["w"].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        for target in panel["targets"].as_array().unwrap() {
            assert!(!target["expr"].as_str().unwrap().is_empty());
            assert_eq!(target["datasource"]["uid"], "${datasource}");
        }
    }
}
