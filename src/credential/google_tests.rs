use super::*;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// A key, made anew so that none is in the tree: scanners would find it there.
static PKCS8: LazyLock<String> = LazyLock::new(|| {
    let size = "rsa_keygen_bits:2048";
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", size], "")
});

fn openssl(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed by `make test`");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let made = child.wait_with_output().unwrap();
    assert!(made.status.success(), "{arguments:?}");
    String::from_utf8(made.stdout).unwrap()
}

fn account(private_key: &str) -> String {
    json!({
        "type": "service_account", "project_id": "p", "private_key_id": "k1",
        "private_key": private_key, "client_email": "a@p.iam.gserviceaccount.com", "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com",
    })
    .to_string()
}

const USER: &str = r#"{"type":"authorized_user","client_id":"c","client_secret":"s/1",
    "refresh_token":"1//r","quota_project_id":"billed"}"#;

fn source(quota_project: Option<&str>) -> (Source, Url) {
    let url = Url::parse("https://oauth2.example.com/token").unwrap();
    let source = Source {
        from: Origin::Endpoint(Account::parse(USER).unwrap(), url.clone()),
        quota_project: quota_project.map(str::to_owned),
    };
    (source, url)
}

fn read(status: u16, body: &str) -> Result<Lease, Problem> {
    let (source, url) = source(None);
    let body = Zeroizing::new(body.as_bytes().to_vec());
    let retry_after = None;
    let answer = Answer {
        status,
        retry_after,
        body,
    };
    source.read(&url, &answer, 100)
}

#[test]
fn an_assertion_is_header_claims_and_signature() {
    let account = Account::parse(&account(&PKCS8)).unwrap();
    let form = account.form(1000).unwrap();
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    let (input, signature) = form.strip_prefix(grant).unwrap().rsplit_once('.').unwrap();
    let (header, claims) = input.split_once('.').unwrap();
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let json = |part| serde_json::from_slice::<serde_json::Value>(&decoded(part)).unwrap();
    assert_eq!(json(header), json!({"alg":"RS256","typ":"JWT","kid":"k1"}));
    assert_eq!(
        json(claims),
        json!({
            "iss":"a@p.iam.gserviceaccount.com","sub":"a@p.iam.gserviceaccount.com",
            "scope":"https://www.googleapis.com/auth/cloud-platform",
            "aud":"https://oauth2.googleapis.com/token","iat":1000,"exp":4600
        })
    );
    let pair = key_pair(&PKCS8).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key());
    public
        .verify(input.as_bytes(), &decoded(signature))
        .unwrap();
    assert_eq!(account.token_uri(), "https://oauth2.googleapis.com/token");
}

#[test]
fn both_forms_of_a_key_sign_alike() {
    let older = openssl(&["rsa", "-traditional"], &PKCS8);
    assert!(older.contains("BEGIN RSA PRIVATE KEY"));
    assert_eq!(rs256(&PKCS8, b"text"), rs256(&older, b"text"));
}

#[test]
fn a_users_credential_is_refreshed_without_a_signature() {
    let user = Account::parse(USER).unwrap();
    assert_eq!(
        *user.form(0).unwrap(),
        "grant_type=refresh_token&client_id=c&client_secret=s%2F1&refresh_token=1%2F%2Fr"
    );
    assert_eq!(user.quota_project(), Some("billed"));
}

#[test]
fn what_is_no_account_is_refused_and_not_repeated() {
    let cut = &PKCS8[..PKCS8.len() / 2];
    for (json, why) in [
        ("{}".to_owned(), "no JSON of"),
        ("canary".to_owned(), "no JSON of"),
        (
            r#"{"type":"external_account","audience":"canary"}"#.to_owned(),
            "no JSON of",
        ),
        (account("canary"), "no RSA key"),
        (account(cut), "no RSA key"),
    ] {
        let said = Account::parse(&json).unwrap_err().to_string();
        assert!(said.contains(why) && !said.contains("canary"), "{said}");
    }
}

#[test]
fn what_is_secret_is_not_printed() {
    let account = Account::parse(&account(&PKCS8)).unwrap();
    let token = Token::new("ya29.secret".to_owned(), None);
    let lease = read(200, r#"{"access_token":"ya29.secret"}"#).unwrap();
    let printed = format!("{account:?} {token:?} {lease:?} {:?}", source(None).0);
    assert!(
        !printed.contains("PRIVATE") && !printed.contains("ya29"),
        "{printed}"
    );
    assert!(!printed.contains("1//r"), "{printed}");
}

#[test]
fn a_token_is_held_for_as_long_as_it_was_given() {
    for (answer, ends) in [
        (
            r#"{"access_token":"t","expires_in":3599,"token_type":"Bearer"}"#,
            3699,
        ),
        (r#"{"access_token":"t","expires_in":3599.7}"#, 3699),
        (r#"{"access_token":"t"}"#, 3700),
        (r#"{"access_token":"t","expires_in":-5}"#, 100),
    ] {
        let lease = read(200, answer).unwrap();
        assert_eq!((lease.ends, lease.early), (Some(ends), 225), "{answer}");
    }
}

#[test]
fn a_token_is_sent_with_the_project_that_is_billed() {
    let shown = |token: Token| {
        let headers = token.headers().unwrap();
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
        let text = |(name, value): &(HeaderName, HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        headers.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(
        shown(Token::new("t".into(), None)),
        ["authorization: Bearer t"]
    );
    assert_eq!(
        shown(Token::new("t".into(), Some("p".into()))),
        ["authorization: Bearer t", "x-goog-user-project: p"]
    );
    assert!(Token::new("a\nb".into(), None).headers().is_err());
}

#[test]
fn what_is_no_token_is_a_problem() {
    let url = || "https://oauth2.example.com/token".to_owned();
    let refused = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    let expected = Problem::Refused(url(), 400, ": invalid_grant".to_owned());
    assert_eq!(read(400, refused), Err(expected));
    // What is not a code may be anything.
    let odd = Problem::Refused(url(), 500, String::new());
    assert_eq!(read(500, r#"{"error":"Canary 7"}"#), Err(odd.clone()));
    assert_eq!(read(500, "<html>"), Err(odd));
    for body in ["{}", "<html>", r#"{"access_token":""}"#, ""] {
        assert_eq!(read(200, body), Err(Problem::NoCredential(url())), "{body}");
    }
}
