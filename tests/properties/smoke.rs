//! The properties of the fuzz targets over their seeds, the golden files, and damage of both.

use super::cases;
use super::properties::damage::damage;
use super::properties::draw::Sequence;
use super::properties::{ALL, Property, shown};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Damaged inputs of one property in a usual run.
const ROUNDS: usize = 400;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The folder of golden files for a target's format, and how their names end.
fn golden(name: &str) -> (&'static str, &'static str) {
    match name {
        "wire_json" => ("", ".client.json"),
        "wire_sse" => ("", ".sse"),
        "request_chat" => ("", ".client.json"),
        "request_messages" => ("messages", ".client.json"),
        "request_responses" => ("responses_face", ".client.json"),
        "answer_anthropic" => ("anthropic/answer", ".json"),
        "answer_compatible" => ("openai_chat", ".answer.json"),
        "answer_cohere" => ("cohere", ".json"),
        "answer_gemini" => ("gemini/answers", ".json"),
        "stream_anthropic" => ("anthropic", ".sse"),
        "stream_cohere" => ("cohere", ".sse"),
        "stream_compatible" => ("openai_chat", ".sse"),
        "stream_gemini" => ("gemini", ".sse"),
        _ => ("none", ""),
    }
}

/// What the property is tried with first. Largest last, so that little is done before a fault.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let (folder, ending) = golden(name);
    let mut paths = files(&root().join("fuzz/seeds").join(name));
    let known = files(&root().join("tests/golden").join(folder));
    paths.extend(
        known
            .into_iter()
            .filter(|path| path.to_string_lossy().ends_with(ending)),
    );
    let mut seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    seeds.retain(|seed| seed.len() < 64 * 1024);
    seeds.sort_by_key(Vec::len);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds
}

/// Runs a property; where it does not hold, leaves the input behind for `cargo fuzz run`.
fn holds(name: &str, property: Property, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| property(input))).is_err() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.input"));
        fs::write(&path, input).unwrap();
        let start = shown(input.get(..2000).unwrap_or(input));
        panic!("{name} does not hold for {}:\n{start}", path.display());
    }
}

fn run(name: &str) {
    let property = ALL.iter().find(|(known, _)| *known == name).unwrap().1;
    let seeds = seeds(name);
    for seed in &seeds {
        holds(name, property, seed);
    }
    let mut sequence = Sequence::of(name.as_bytes());
    for _ in 0..cases(ROUNDS) {
        let mut input = seeds[sequence.below(seeds.len())].clone();
        for _ in 0..=sequence.below(3) {
            let other = &seeds[sequence.below(seeds.len())];
            damage(&mut input, other, &mut sequence);
        }
        holds(name, property, &input);
    }
}

macro_rules! each {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_property_is_tried() {
            assert_eq!([$(stringify!($name)),*], ALL.map(|(name, _)| name));
        }
    };
}

each! {
    wire_json
    wire_sse
    wire_event_stream
    wire_multipart
    wire_sigv4
    request_chat
    request_completions
    request_messages
    request_responses
    request_embeddings
    answer_anthropic
    answer_bedrock
    answer_cohere
    answer_compatible
    answer_gemini
    stream_anthropic
    stream_bedrock
    stream_cohere
    stream_compatible
    stream_gemini
    stream_encoders
}

#[test]
fn every_property_has_its_fuzz_target() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for (name, _) in ALL {
        let target = root().join(format!("fuzz/fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(&target).unwrap_or_default();
        assert!(
            text.contains(&name.replacen('_', "::", 1)),
            "{name}: {text}"
        );
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
