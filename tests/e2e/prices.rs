//! `tollgate prices`, as an operator meets it.

use std::fs;

use crate::gateway::{Finished, directory, run};

fn show(arguments: &[&str]) -> Finished {
    run(&[&["prices", "show"], arguments].concat())
}

#[test]
fn show_tells_the_row_that_counts() {
    let ran = show(&[
        "claude-haiku-5-5",
        "--provider",
        "a",
        "--dialect",
        "anthropic",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in [
        "price           *claude-haiku-5-5#",
        "match           *claude-haiku-5-5",
        "source          https://platform.claude.com/",
        "input tokens             any    above 100000",
        "input                    0.1             0.5  usd / million",
        "cache_write_1h           0.2               1  usd / million",
        "image                      0               0  usd each",
    ] {
        let told = ran.stdout.lines().any(|told| told.starts_with(line));
        assert!(told, "{line} is not in\n{}", ran.stdout);
    }
    // All that name it: also what Bedrock asks for it.
    let ran = show(&["global.anthropic.claude-haiku-4-5-20251001-v1:0"]);
    assert_eq!(ran.stdout.matches("\nmatch ").count(), 3, "{}", ran.stdout);
    let first = ran.stdout.lines().next().unwrap();
    assert!(
        first.contains("global.anthropic.claude-haiku-4-5#"),
        "{first}"
    );
}

#[test]
fn show_tells_what_a_model_cost_at_a_time() {
    let at = |day: &str| {
        let ran = show(&["gpt-5.6-sol", "--at", day, "--format", "json"]);
        let rows: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
        rows[0].clone()
    };
    let (before, after) = (at("2026-08-20"), at("2026-08-21"));
    assert_eq!(before["rates"]["input"], "5");
    assert_eq!(before["until"], "2026-08-21T00:00:00Z");
    assert_eq!(after["rates"]["input"], "4");
    assert_eq!(after["tiers"][0]["above"], 272_000);
    assert_eq!(after["tiers"][0]["rates"]["output"], "30");
    let version = after["version"].as_str().unwrap();
    assert!(version.starts_with("gpt-5.6-sol@2026-08-21#"), "{version}");
    assert_eq!(show(&["gpt-5.6-sol", "--at", "soon"]).code, Some(2));
}

#[test]
fn the_operators_files_are_over_the_shipped_ones() {
    let directory = directory();
    let (own, config) = (directory.join("own.toml"), directory.join("tollgate.toml"));
    let rows = "[[price]]\nmatch = \"llama3\"\nproviders = [\"local\"]\ninput = 0\noutput = 0\n\
                [[price]]\nmatch = \"gpt-4o\"\ninput = 1.75\noutput = 7\n";
    fs::write(&own, rows).unwrap();
    let text = format!(
        "[prices]\nfiles = [{own:?}]\n[providers.local]\ndialect = \"openai\"\n\
         base_url = \"http://127.0.0.1:1/v1\"\n"
    );
    fs::write(&config, text).unwrap();
    let (own, config) = (own.to_str().unwrap(), config.to_str().unwrap());

    let ran = show(&["llama3", "-c", config, "--provider", "local"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = show(&[
        "gpt-4o",
        "--file",
        own,
        "--provider",
        "openai",
        "--format",
        "json",
    ]);
    let rows: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(rows[0]["rates"]["input"], "1.75");

    let none = show(&["llama3"]);
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(
        none.stderr.contains("no price is known for llama3"),
        "{none:?}"
    );
    let unknown = show(&["llama3", "-c", config, "--provider", "nobody"]);
    assert_eq!(unknown.code, Some(78), "{unknown:?}");

    fs::write(own, "[[price]]\nmatch = \"m\"\ninput = -1\noutptu = 2\n").unwrap();
    let wrong = show(&["m", "--file", own]);
    assert_eq!(wrong.code, Some(78), "{wrong:?}");
    for problem in [
        "price number 1 (m): input: ",
        "price number 1 (m): outptu: unknown",
    ] {
        assert!(wrong.stderr.contains(problem), "{problem}: {wrong:?}");
    }
}

#[test]
fn an_imported_map_is_a_file_of_prices() {
    let directory = directory();
    let (map, own) = (directory.join("map.json"), directory.join("own.toml"));
    let json = r#"{"groq/m": {"litellm_provider": "groq", "input_cost_per_token": 1.5e-07,
        "output_cost_per_token": 6e-07}, "w": {"litellm_provider": "openai", "input_cost_per_second": 1}}"#;
    fs::write(&map, json).unwrap();
    let ran = run(&["prices", "import", map.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let said =
        "left out: w: only input_cost_per_second\n1 rows; 1 entries left out, 0 not in full\n";
    assert_eq!(ran.stderr, said);
    fs::write(&own, &ran.stdout).unwrap();
    let arguments = [
        "m",
        "--file",
        own.to_str().unwrap(),
        "--provider",
        "groq",
        "--format",
        "json",
    ];
    let rows: serde_json::Value = serde_json::from_str(&show(&arguments).stdout).unwrap();
    assert_eq!(rows[0]["rates"]["output"], "0.6");

    fs::write(&map, "[]").unwrap();
    assert_eq!(
        run(&["prices", "import", map.to_str().unwrap()]).code,
        Some(1)
    );
    assert_eq!(run(&["prices", "import", "/nonexistent"]).code, Some(1));
}
