//! Broken files, and exactly what is said about each.

use super::*;

/// All that is said about `text`, as `check` prints it.
fn said(text: &str) -> String {
    let (config, found) = load(text);
    assert_eq!(config.is_none(), found.iter().any(Diagnostic::is_error));
    let lines: Vec<_> = found
        .iter()
        .map(|diagnostic| diagnostic.render("f"))
        .collect();
    lines.join("\n")
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(said(text), expected.join("\n"), "\n{text}");
}

#[test]
fn good_files_have_nothing_to_say() {
    check("", &[]);
    check("[server]\ngrace_period = \"0s\"\n", &[]);
    check(
        "[providers.a]\ndialect = \"openai\"\n[models.\"a/*\"]\ntargets = [\"a/*\"]\n",
        &[],
    );
    check(
        "[models.m]\ntargets = [{ target = \"a/b/c:d\", weight = 3 }]\n",
        &[],
    );
}

#[test]
fn syntax_errors_stand_alone() {
    check(
        "[log]\nlevel = \nx = 1",
        &["error: f:2: not TOML: string values must be quoted, expected literal string"],
    );
    check(
        "[log]\nlevel = \"info\"\nlevel = \"warn\"\n",
        &["error: f:3: not TOML: duplicate key"],
    );
    check("[log]\n[log]\n", &["error: f:2: not TOML: duplicate key"]);
}

#[test]
fn unknown_keys() {
    check(
        "[provider.a]\ndialect = \"openai\"\n",
        &[
            "error: f:1: provider: unknown key \"provider\"",
            "  hint: did you mean providers? known keys: server, listen, admin, demo, log, access_log, limits, times, providers, models, keys, capabilities, limit, pools, quality, classifier, rules, prices, ledger, state, traces",
        ],
    );
    check(
        "[providers.a]\ndialct = \"openai\"\ndialect = \"openai\"\n",
        &[
            "error: f:2: providers.a.dialct: unknown key \"dialct\"",
            "  hint: did you mean dialect? known keys: dialect, base_url, base_urls, credential, aws, google, optional, headers, balance, http, models, timeouts, health_check, ca, options, self_hosted, breaker, retry_budget",
        ],
    );
    check(
        "[log]\n\"a\\u001B[2J`, expected `x\\n\" = 1\n",
        &[
            "error: f:2: log.\"a\\u{1b}[2J`, expected `x\\n\": unknown key \"a\\u{1b}[2J`, expected `x\\n\"",
            "  hint: known keys: level",
        ],
    );
}

#[test]
fn unknown_values() {
    check(
        "[providers.\"open ai\"]\ndialect = \"opnai\"\n",
        &[
            "error: f:1: providers.\"open ai\": expected a name of 1 to 64 letters, digits, \".\", \"_\", \"-\"",
        ],
    );
    check(
        "[providers.a]\ndialect = \"opnai\"\nhttp = \"3\"\nbalance = 1\n",
        &[
            "error: f:2: providers.a.dialect: unknown value \"opnai\"",
            "  hint: did you mean openai? known values: openai, azure, anthropic, gemini, vertex, bedrock, cohere",
            "error: f:3: providers.a.http: unknown value \"3\"",
            "  hint: did you mean 2? known values: 1.1, 2, auto",
            "error: f:4: providers.a.balance: expected a string",
        ],
    );
}

#[test]
fn missing_keys_are_named_once_each() {
    check(
        "[keys.a]\ndirect = true\n[[listen]]\nhttp2 = false\n[listen.tls]\n",
        &[
            "error: f:1: keys.a: missing key \"hash\"",
            "error: f:5: listen[0].tls: missing key \"certificate\"",
            "error: f:5: listen[0].tls: missing key \"key\"",
        ],
    );
    check(
        "[demo]\n[models.m]\nstrategy = \"weighted\"\n",
        &[
            "error: f:1: demo: missing key \"listen\"",
            "error: f:2: models.m: missing key \"targets\"",
        ],
    );
}

#[test]
fn what_follows_from_an_error_is_no_second_error() {
    check(
        "[keys.a]\nhash = \"tg-sesame\"\ndirect = 1\n",
        &[
            "error: f:2: keys.a.hash: expected \"sha256:\" and 64 hex digits",
            "  hint: `tollgate keys new NAME` makes a key and its hash",
            "error: f:3: keys.a.direct: expected a boolean, found the integer 1",
        ],
    );
    check(
        "[listen.tls]\ncertificate = 1\nport = 2\n",
        &[
            "error: f:1: listen: expected an array, found a table",
            "  hint: write [[listen]], with two brackets",
        ],
    );
    check(
        "[models.m]\ntargets = [\"a/b\", { weight = 2 }, \"c\", { target = \"d\", wait = 1 }]\n",
        &[
            "error: f:2: models.m.targets[1]: missing key \"target\"",
            "error: f:2: models.m.targets[2]: expected \"provider/model\", found \"c\"",
            "error: f:2: models.m.targets[3].target: expected \"provider/model\", found \"d\"",
            "error: f:2: models.m.targets[3].wait: unknown key \"wait\"",
            "  hint: known keys: target, weight",
        ],
    );
}

#[test]
fn tables_are_written_as_tables() {
    check(
        "[[server]]\nthreads = 1\n",
        &[
            "error: f:1: server: expected a table, found an array",
            "  hint: write its keys under [server]",
        ],
    );
    check(
        "log = [\"debug\"]\nkeys.a = \"tg-sesame\"\nlisten = [\"[::1]:80\"]\n",
        &[
            "error: f:1: log: expected a table, found an array",
            "  hint: write its keys under [log]",
            "error: f:2: keys.a: expected a table, found a string",
            "  hint: write its keys under [keys.a]",
            "error: f:3: listen[0]: expected a table, found a string",
        ],
    );
}

#[test]
fn units() {
    check(
        "[limits]\nbody = 1024\nresponse = \"12\"\nuri_bytes = \"0B\"\nevent = \"2 furlongs\"\n",
        &[
            "error: f:2: limits.body: expected a size with its unit, found the bare number 1024",
            "  hint: write for example \"32MiB\"",
            "error: f:3: limits.response: expected a size with its unit, found \"12\"",
            "  hint: write for example \"32MiB\"",
            "error: f:4: limits.uri_bytes: the size must be more than zero",
            "error: f:5: limits.event: expected a size with its unit, found \"2 furlongs\"",
            "  hint: write for example \"32MiB\"",
        ],
    );
    check(
        "[times]\nbody = 1.5\nheader = \"0s\"\nidle = \"0\"\nrequest = \"31days\"\n",
        &[
            "error: f:2: times.body: expected a duration with its unit, found the bare number 1.5",
            "  hint: write for example \"30s\"",
            "error: f:3: times.header: the duration must be longer than zero",
            "error: f:4: times.idle: expected a duration with its unit, found \"0\"",
            "  hint: write for example \"30s\"",
            "error: f:5: times.request: expected a duration with its unit, found \"31days\"",
            "  hint: write for example \"30s\"",
        ],
    );
    check(
        "[limits]\nin_flight = 0\nconnections = -1\njson_depth = \"64\"\nheader_fields = 99999999999999999999999999999999999999999\n",
        &[
            "error: f:2: limits.in_flight: expected a whole number from 1 to 1000000",
            "error: f:3: limits.connections: expected a whole number, 0 or more, found the integer -1",
            "error: f:4: limits.json_depth: expected a whole number, 0 or more, found a string",
            "error: f:5: limits.header_fields: integer number overflowed",
        ],
    );
}

#[test]
fn addresses_and_outputs() {
    check(
        "[admin]\nlisten = \"localhost:9090\"\n[access_log]\noutput = \"stdotu\"\n[demo]\nlisten = 8088\n",
        &[
            "error: f:2: admin.listen: expected an IP address and a port",
            "  hint: write for example \"127.0.0.1:8080\" or \"[::1]:8080\"",
            "error: f:4: access_log.output: expected \"stdout\", \"stderr\", \"off\" or the path of a file, found \"stdotu\"",
            "  hint: a path has a slash in it: \"./access.log\"",
            "error: f:6: demo.listen: expected an IP address and a port, found the integer 8088",
            "  hint: write for example \"127.0.0.1:8080\" or \"[::1]:8080\"",
        ],
    );
}

#[test]
fn no_message_holds_a_secret() {
    let text = r#"
[providers.a]
dialect = "openai"
credential = "sk-sesame"
headers = "Authorization: sk-sesame"
[providers.b]
dialect = "openai"
credential = ["sk-sesame"]
headers = { authorization = "Bearer sk-sesame", a = "env:sk sesame", b = "sk\nsesame", c = ["sk-sesame"] }
[keys.a]
hash = "sk-sesame"
[keys.b]
hash = { value = "sk-sesame" }
[traces.headers]
Authorization = "sesame"
x-tenant = "sesame"
"#;
    assert!(!said(text).contains("sesame"), "{}", said(text));
    check(
        text,
        &[
            "error: f:4: providers.a.credential: expected a reference to a secret, not the secret itself",
            "  hint: write \"env:NAME\", \"file:PATH\" or \"credential:NAME\"",
            "error: f:5: providers.a.headers: expected a table, found a string",
            "  hint: write its keys under [providers.a.headers]",
            "error: f:8: providers.b.credential: expected a string, found an array",
            "error: f:9: providers.b.headers.a: malformed reference",
            "  hint: write \"env:NAME\", \"file:PATH\" or \"credential:NAME\"",
            "error: f:9: providers.b.headers.b: expected printable ASCII without blanks at its ends",
            "error: f:9: providers.b.headers.c: expected a string, found an array",
            "error: f:9: providers.b.headers.authorization: this header carries a secret; secrets are given by reference",
            "  hint: write \"env:NAME\", \"file:PATH\" or \"credential:NAME\"",
            "error: f:11: keys.a.hash: expected \"sha256:\" and 64 hex digits",
            "  hint: `tollgate keys new NAME` makes a key and its hash",
            "error: f:13: keys.b.hash: expected a string, found a table",
            "error: f:15: traces.headers.Authorization: this header carries a secret; secrets are given by reference",
            "  hint: write \"env:NAME\", \"file:PATH\" or \"credential:NAME\"",
        ],
    );
}

#[test]
fn problems_end_at_a_hundred() {
    let text: String = (0..150)
        .map(|number| format!("unknown{number} = 1\n"))
        .collect();
    let (config, found) = load(&text);
    assert!(config.is_none());
    assert_eq!(found.len(), 101);
    assert!(
        found
            .iter()
            .any(|d| d.message == "more than 100 problems; only the first are shown")
    );
}

#[test]
fn lines_of_paths() {
    let text = "[[listen]]\n\n[[listen]]\naddress = \"[::1]:1\"\n[models]\n\n[models.\"a.b\"]\ntargets = [\n  \"a/b\",\n  \"c/d\",\n]\n";
    let line = |path: Path| locate(text, &path);
    assert_eq!(line(Path::root()), None);
    assert_eq!(line(Path::from(["listen"])), Some(1));
    assert_eq!(line(Path::from(["listen", "1"])), Some(3));
    assert_eq!(line(Path::from(["listen", "1", "address"])), Some(4));
    assert_eq!(line(Path::from(["listen", "1", "tls", "key"])), Some(3));
    assert_eq!(line(Path::from(["models", "a.b"])), Some(7));
    assert_eq!(
        line(Path::from(["models", "a.b", "targets", "1"])),
        Some(10)
    );
    assert_eq!(line(Path::from(["models", "a.b", "targets", "9"])), Some(8));
    assert_eq!(line(Path::from(["absent"])), None);

    let found = vec![
        Diagnostic::warning(["models", "a.b"], "second"),
        Diagnostic::error(["listen", "0"], "first"),
    ];
    let lines: Vec<_> = with_lines(text, found)
        .iter()
        .map(|d| d.render("f"))
        .collect();
    assert_eq!(
        lines,
        [
            "error: f:1: listen[0]: first",
            "warning: f:7: models.\"a.b\": second"
        ]
    );
}

#[test]
fn files_that_are_no_text() {
    let path = std::env::temp_dir().join(format!("tollgate-load-{}", std::process::id()));
    let said = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read(&path).map_err(|diagnostic| diagnostic.render("f"))
    };
    assert_eq!(said(b"[log]\n"), Ok("[log]\n".to_owned()));
    assert_eq!(
        said(b"a\nb\n\xff"),
        Err("error: f:3: the file is not UTF-8".to_owned())
    );
    let large = vec![b'#'; (4 << 20) + 1];
    assert_eq!(
        said(&large),
        Err("error: f: the file is larger than 4 MiB".to_owned())
    );
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        read(&path).unwrap_err().render("f"),
        "error: f: cannot read the file: No such file or directory (os error 2)",
    );
    assert!(
        read(&std::env::temp_dir())
            .unwrap_err()
            .message
            .starts_with("cannot read the file")
    );
}
