use super::*;
use serde::Deserialize;

/// A vector made with botocore's signer.
#[derive(Deserialize)]
struct Vector {
    unix: u64,
    region: String,
    service: String,
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
    canonical_request: String,
    string_to_sign: String,
    authorization: String,
    date: String,
}

fn check(vector: &Vector, name: &str) {
    let headers: Vec<(&str, &str)> = vector
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let request = Request {
        method: &vector.method,
        path: &vector.path,
        query: &vector.query,
        headers: &headers,
        body: vector.body.as_bytes(),
    };
    let credentials = Credentials {
        access_key: &vector.access_key,
        secret_key: &vector.secret_key,
        session_token: vector.session_token.as_deref(),
    };
    let time = Time::from_unix(vector.unix);
    let signed_headers = canonical_headers(&request, &credentials, &time);
    let canonical = canonical_request(&request, &signed_headers, &signed_names(&signed_headers));
    assert_eq!(canonical, vector.canonical_request, "{name}");
    let scoped = format!(
        "{}/{}/{}/aws4_request",
        time.date(),
        vector.region,
        vector.service
    );
    assert_eq!(
        string_to_sign(&canonical, &scoped, &time),
        vector.string_to_sign,
        "{name}"
    );
    let scope = Scope {
        region: &vector.region,
        service: &vector.service,
    };
    let signed = sign(&request, &credentials, scope, &time);
    assert_eq!(signed.authorization, vector.authorization, "{name}");
    assert_eq!(signed.date, vector.date, "{name}");
    assert_eq!(signed.security_token, vector.session_token, "{name}");
}

#[test]
fn signs_as_botocore_does() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/sigv4");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let vector = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        check(&vector, &path.display().to_string());
        count += 1;
    }
    assert!(count >= 10, "{count} vectors");
}

#[test]
fn dates() {
    let cases = [
        (0, "19700101T000000Z"),
        (86_399, "19700101T235959Z"),
        (951_782_399, "20000228T235959Z"),
        (951_782_400, "20000229T000000Z"),
        (951_868_800, "20000301T000000Z"),
        (1_709_164_800, "20240229T000000Z"),
        (1_735_689_599, "20241231T235959Z"),
        (1_795_419_845, "20261123T074405Z"),
        (4_107_542_400, "21000301T000000Z"),
    ];
    for (seconds, stamp) in cases {
        let time = Time::from_unix(seconds);
        assert_eq!(time.stamp(), stamp, "{seconds}");
        assert_eq!(time.date(), &stamp[..8]);
    }
}

#[test]
fn every_day_follows_the_one_before() {
    let mut last = civil(0);
    for day in 1..200_000 {
        let next = civil(day);
        assert!(next > last, "{last:?} {next:?}");
        assert!(next.2 == last.2 + 1 || next.2 == 1);
        last = next;
    }
    assert_eq!(last.0, 2517);
}

#[test]
fn far_times_do_not_panic() {
    assert!(Time::from_unix(u64::MAX).stamp().ends_with('Z'));
}

#[test]
fn secrets_are_not_printed() {
    let credentials = Credentials {
        access_key: "id-x",
        secret_key: "key-x",
        session_token: Some("token-x"),
    };
    assert!(!format!("{credentials:?}").contains("-x"));
    let request = Request {
        method: "GET",
        path: "/",
        query: "",
        headers: &[],
        body: b"",
    };
    let scope = Scope {
        region: "r",
        service: "s",
    };
    let signed = sign(&request, &credentials, scope, &Time::from_unix(0));
    assert!(!format!("{signed:?}").contains("-x"));
}
