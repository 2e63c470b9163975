//! What `check` says about credentials, and what a reload keeps of them.

use super::*;
use crate::config::{self, Diagnostic};

const BEDROCK: &str = "[providers.p]\ndialect = \"bedrock\"\nbase_url = \"https://bedrock-runtime.us-east-1.amazonaws.com\"\n";
const VERTEX: &str =
    "[providers.p]\ndialect = \"vertex\"\nbase_url = \"https://aiplatform.googleapis.com/v1\"\n";
const USER: &str = r#"{"type":"authorized_user","client_id":"c","client_secret":"canary","refresh_token":"canary"}"#;

/// A file that is removed when the value is dropped.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("tollgate-credential-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn reference(&self) -> String {
        format!("\"file:{}\"", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn config(text: &str) -> config::Config {
    let (config, problems) = config::load(text);
    assert!(problems.is_empty(), "{problems:?}");
    config.unwrap()
}

fn served(text: &str, previous: Option<&RoutingTable>) -> RoutingTable {
    let (table, problems) = RoutingTable::compile_to_serve(&config(text), previous);
    table.unwrap_or_else(|| panic!("{problems:?}"))
}

/// The errors about credentials, each with its place.
fn errors(text: &str) -> Vec<String> {
    let (_, problems) = RoutingTable::compile_to_serve(&config(text), None);
    let errors = problems.iter().filter(|p| p.is_error());
    errors
        .map(|p| format!("{}: {}", p.path, p.message))
        .collect()
}

fn says(text: &str, expected: &[&str]) {
    let said = errors(text);
    let all = expected
        .iter()
        .all(|e| said.iter().any(|s| s.starts_with(e)));
    assert!(all && said.len() == expected.len(), "{said:#?}");
    assert!(!format!("{said:?}").contains("canary"));
}

#[test]
fn there_is_one_way_and_it_fits_the_dialect() {
    let key = File::new("one-way", "canary");
    let key = key.reference();
    let instance = "[providers.p.aws]\nsource = \"instance\"\n";
    let metadata = "[providers.p.google]\nsource = \"metadata\"\n";
    says(&format!("{BEDROCK}{instance}"), &[]);
    says(&format!("{VERTEX}{metadata}"), &[]);
    says(&format!("{BEDROCK}credential = {key}\n"), &[]);
    says(
        &format!("{BEDROCK}credential = {key}\n{instance}"),
        &["providers.p.aws: credential and aws are both given"],
    );
    says(
        &format!("{BEDROCK}{instance}{metadata}"),
        &[
            "providers.p.google: aws and google are both given",
            "providers.p.google: only providers of the dialect vertex",
        ],
    );
    says(
        &format!(
            "{}options = {{ region = \"us-east-1\" }}\n{instance}",
            VERTEX
        ),
        &[
            "providers.p.options.region: unknown option region",
            "providers.p.aws: only providers of the dialect bedrock",
        ],
    );
    says(
        &format!("{BEDROCK}headers = {{ Authorization = {key}, X-Amz-Date = \"1\" }}\n{instance}"),
        &[
            "providers.p.headers.Authorization: this header belongs to the credential",
            "providers.p.headers.X-Amz-Date: this header belongs to the credential",
        ],
    );
}

#[test]
fn a_source_has_what_it_needs_and_nothing_else() {
    let key = File::new("source", "canary");
    let key = key.reference();
    let aws = |lines: &str| format!("{BEDROCK}[providers.p.aws]\n{lines}\n");
    let google = |lines: &str| format!("{VERTEX}[providers.p.google]\n{lines}\n");
    says(
        &aws("source = \"static\""),
        &[
            "providers.p.aws: this source needs access_key_id",
            "providers.p.aws: this source needs secret_access_key",
        ],
    );
    says(
        &aws(&format!(
            "source = \"static\"\naccess_key_id = {key}\nsecret_access_key = {key}\nendpoint = \"http://x\""
        )),
        &["providers.p.aws.endpoint: endpoint means nothing here"],
    );
    for source in ["instance", "container"] {
        says(
            &aws(&format!(
                "source = \"{source}\"\naccess_key_id = {key}\nsession_token = {key}\nendpoint = \"x\""
            )),
            &[
                "providers.p.aws.access_key_id: access_key_id means nothing here",
                "providers.p.aws.session_token: session_token means nothing here",
                "providers.p.aws.endpoint: it starts with http:// or https://",
            ],
        );
    }
    says(
        &google("source = \"json\""),
        &["providers.p.google: this source needs json"],
    );
    says(
        &google(&format!("source = \"metadata\"\njson = {key}")),
        &["providers.p.google.json: json means nothing here"],
    );
}

#[test]
fn a_key_file_is_of_many_lines_and_is_proved() {
    let google = |json: &File, rest: &str| {
        let json = json.reference();
        format!("{VERTEX}[providers.p.google]\nsource = \"json\"\njson = {json}\n{rest}")
    };
    let pretty = USER.replace(',', ",\n  ");
    says(&google(&File::new("user", &pretty), ""), &[]);
    let none = "providers.p.google.json: file:";
    says(&google(&File::new("none", "canary"), ""), &[none]);
    let account = r#"{"type":"service_account","client_email":"e","private_key":"canary"}"#;
    says(&google(&File::new("account", account), ""), &[none]);
    says(
        &google(&File::new("endpoint", USER), "endpoint = \"oauth2\"\n"),
        &["providers.p.google.endpoint: it starts with http:// or https://"],
    );
}

#[test]
fn the_region_is_the_hosts_or_the_options() {
    let aws = "[providers.p.aws]\nsource = \"instance\"\n";
    let own = BEDROCK.replace(
        "bedrock-runtime.us-east-1.amazonaws.com",
        "bedrock.internal:8443",
    );
    says(
        &format!("{own}{aws}"),
        &["providers.p.options.region: the host \"bedrock.internal\" names no region"],
    );
    says(
        &format!("{own}options = {{ region = \"eu-west-1\" }}\n{aws}"),
        &[],
    );
    says(
        &format!("{own}options = {{ region = \"Ireland\" }}\n{aws}"),
        &["providers.p.options.region: not a region of AWS"],
    );
}

#[test]
fn what_is_not_on_this_machine_is_told_or_leaves_the_provider_out() {
    let lines = "[providers.p.aws]\nsource = \"static\"\naccess_key_id = \"env:TOLLGATE_TEST_NO_SUCH_VARIABLE\"\n\
                 secret_access_key = \"file:/nonexistent/key\"\n";
    says(
        &format!("{BEDROCK}{lines}"),
        &[
            "providers.p.aws.access_key_id: environment variable TOLLGATE_TEST_NO_SUCH_VARIABLE",
            "providers.p.aws.secret_access_key: cannot read /nonexistent/key",
        ],
    );
    let text = format!("{BEDROCK}{lines}");
    let (table, problems) = RoutingTable::compile(&config(&text));
    assert!(
        table.is_some() && problems.iter().all(|p| !p.is_error()),
        "{problems:?}"
    );
    let json = "[providers.p.google]\nsource = \"json\"\njson = \"file:/nonexistent/key\"\n";
    for text in [
        format!("{BEDROCK}optional = true\n{lines}"),
        format!("{VERTEX}optional = true\n{json}"),
    ] {
        let with_target = format!("{text}[models.m]\ntargets = [\"p/x\"]\n");
        assert!(served(&with_target, None).providers.is_empty());
    }
}

#[test]
fn a_credential_outlives_a_reload_that_does_not_touch_it() {
    let credential = |table: &RoutingTable| table.providers["p"].credential.clone().unwrap();
    let kept = |first: &RoutingTable, second: &RoutingTable| {
        Arc::ptr_eq(&credential(first), &credential(second))
    };
    let (id, secret) = (File::new("id", "AKIA"), File::new("secret", "one"));
    let aws = format!(
        "{BEDROCK}[providers.p.aws]\nsource = \"static\"\naccess_key_id = {}\nsecret_access_key = {}\n",
        id.reference(),
        secret.reference(),
    );
    let first = served(&aws, None);
    assert!(kept(
        &first,
        &served(&format!("{aws}\n[log]\nlevel = \"debug\"\n"), Some(&first))
    ));
    // The same reference, but another secret behind it.
    std::fs::write(&secret.0, "two").unwrap();
    assert!(!kept(&first, &served(&aws, Some(&first))));

    let json = File::new("json", USER);
    let reference = json.reference();
    let google = format!("{VERTEX}[providers.p.google]\nsource = \"json\"\njson = {reference}\n");
    let first = served(&google, None);
    assert!(kept(&first, &served(&google, Some(&first))));
    std::fs::write(&json.0, USER.replace("\"c\"", "\"d\"")).unwrap();
    assert!(!kept(&first, &served(&google, Some(&first))));
    let billed = format!("{google}[providers.p.headers]\nx-goog-user-project = \"b\"\n");
    served(&billed, Some(&first));
    assert!(!format!("{first:?} {}", first.redacted).contains("canary"));
}

#[test]
fn problems_have_hints() {
    let text =
        format!("{BEDROCK}[providers.p.aws]\nsource = \"static\"\nendpoint = \"http://x\"\n");
    let (_, problems): (_, Vec<Diagnostic>) = RoutingTable::compile(&config(&text));
    let about = problems
        .iter()
        .filter(|p| p.path.to_string().starts_with("providers.p"));
    let rendered: Vec<_> = about.map(|p| p.render("f")).collect();
    assert_eq!(rendered.len(), 3, "{rendered:?}");
    assert!(
        rendered
            .iter()
            .all(|text| text.contains("hint") || text.lines().count() > 1),
        "{rendered:?}"
    );
}
