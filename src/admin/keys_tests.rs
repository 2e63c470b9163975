use super::*;
use crate::config;
use crate::identity::digest;

const TOKEN: &str = "a-token-for-the-operator";

/// A directory of its own, gone with it.
struct Desk {
    keys: Arc<Keys>,
    table: Arc<ArcSwap<RoutingTable>>,
    place: std::path::PathBuf,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

fn desk(name: &str, token: Option<&str>) -> Desk {
    let name = format!("tollgate-admin-{name}-{}", std::process::id());
    let place = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).unwrap();
    let text = format!("[keys.written]\nhash = \"sha256:{}\"\n", "0".repeat(64));
    let config = config::load(&text).0.unwrap();
    let mut table = RoutingTable::compile(&config).0.unwrap();
    table.admin_token = token.map(|token| digest(token.as_bytes()));
    let runtime = Arc::clone(table.keys.runtime());
    let live = Live::new(place.join("tollgate.db"), runtime);
    let table = Arc::new(ArcSwap::from_pointee(table));
    Desk {
        keys: Keys::new(Arc::clone(&table), Some(Arc::new(live))),
        table,
        place,
    }
}

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in list.iter().map(pair) {
        let name: http::HeaderName = name;
        headers.append(name, value);
    }
    headers
}

fn body(answer: &Answer) -> (u16, Value) {
    let value = serde_json::from_slice(answer.body()).unwrap();
    (answer.status().as_u16(), value)
}

fn code(answer: &Answer) -> (u16, String) {
    let (status, value) = body(answer);
    (status, value["error"]["code"].as_str().unwrap().to_owned())
}

const BEARER: (&str, &str) = ("authorization", "Bearer a-token-for-the-operator");
const KIND: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[test]
fn only_these_paths_are_keys() {
    assert_eq!(Asked::of("/keys"), Some(Asked::All));
    let name = || "a.b-1".to_owned();
    assert_eq!(Asked::of("/keys/a.b-1/revoke"), Some(Asked::Revoke(name())));
    assert_eq!(Asked::of("/keys/a.b-1/rotate"), Some(Asked::Rotate(name())));
    for other in [
        "/key",
        "/keys/",
        "/keysx",
        "/keys/a",
        "/keys/a/",
        "/keys//revoke",
        "/keys/a%20b/revoke",
        "/keys/a/b/revoke",
        "/keys/a/delete",
    ] {
        assert_eq!(Asked::of(other), None, "{other}");
    }
}

#[test]
fn the_token_is_asked_before_anything_else_is() {
    let desk = desk("token", Some(TOKEN));
    let admit = |method: Method, list: &[(&'static str, &str)]| {
        let admitted = desk.keys.admit(&Asked::All, &method, &headers(list));
        admitted.map_err(|answer| code(&answer))
    };
    assert_eq!(admit(Method::GET, &[BEARER]), Ok(()));
    assert_eq!(admit(Method::POST, &[BEARER, KIND]), Ok(()));
    let refused = |status, code: &str| Err((status, code.to_owned()));
    for wrong in [
        &[][..],
        &[("authorization", "Bearer a-token-for-the-operato")],
        &[("authorization", "Bearer a-token-for-the-operators")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Basic a-token-for-the-operator")],
        &[("authorization", TOKEN)],
        &[("x-api-key", TOKEN)],
        &[BEARER, BEARER],
    ] {
        for method in [Method::GET, Method::POST] {
            let expected = refused(401, "invalid_admin_token");
            assert_eq!(admit(method, wrong), expected, "{wrong:?}");
        }
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
    ] {
        let expected = refused(415, "unsupported_media_type");
        assert_eq!(
            admit(Method::POST, &[BEARER, ("content-type", kind)]),
            expected
        );
    }
    assert_eq!(
        admit(Method::POST, &[BEARER]),
        refused(415, "unsupported_media_type")
    );
    for method in [Method::DELETE, Method::OPTIONS, Method::PUT, Method::HEAD] {
        assert_eq!(admit(method, &[BEARER]), refused(405, "method_not_allowed"));
    }
    let revoke = Asked::Revoke("a".to_owned());
    let by_link = desk.keys.admit(&revoke, &Method::GET, &headers(&[BEARER]));
    assert_eq!(code(&by_link.unwrap_err()).0, 405, "a GET changes nothing");
}

#[test]
fn without_a_token_in_the_config_nothing_can_be_done() {
    let desk = desk("none", None);
    for list in [&[][..], &[BEARER], &[("authorization", "Bearer ")]] {
        let answer = desk.keys.admit(&Asked::All, &Method::GET, &headers(list));
        let (status, value) = body(&answer.unwrap_err());
        assert_eq!(
            (status, &value["error"]["code"]),
            (403, &"no_admin_token".into())
        );
        assert!(
            value["error"]["message"]
                .as_str()
                .unwrap()
                .contains("[admin] token")
        );
    }
}

#[test]
fn a_key_is_made_shown_rotated_and_revoked() {
    let desk = desk("life", Some(TOKEN));
    let act =
        |asked: &Asked, method: Method, body: &str| desk.keys.act(asked, &method, body.as_bytes());
    let opens = |key: &Value| {
        let key = key.as_str().unwrap().as_bytes();
        let now = Moment::from(SystemTime::now());
        desk.table.load().keys.find(key, now).is_some()
    };
    let order = r#"{"name":"a","models":["fast"],"limits":["5 usd"],"expires":"90d"}"#;
    let (status, made) = body(&act(&Asked::All, Method::POST, order));
    assert_eq!((status, &made["name"]), (201, &"a".into()));
    assert!(made["expires"].is_string());
    assert!(
        opens(&made["key"]),
        "it is in force when the answer is sent"
    );
    let again = act(&Asked::All, Method::POST, order);
    assert_eq!(code(&again), (409, "name_taken".to_owned()));
    let written = act(&Asked::All, Method::POST, r#"{"name":"written"}"#);
    assert_eq!(code(&written), (409, "name_taken".to_owned()));

    let (status, all) = body(&act(&Asked::All, Method::GET, ""));
    assert_eq!(status, 200);
    assert_eq!(all["keys"].as_array().unwrap().len(), 2);
    assert_eq!(all["keys"][0]["limits"], json!(["5 usd"]));
    assert_eq!(all["keys"][1]["source"], "config");
    let key = made["key"].as_str().unwrap();
    assert!(!all.to_string().contains(key), "a key is shown once");

    let rotate = Asked::Rotate("a".to_owned());
    let (status, second) = body(&act(&rotate, Method::POST, r#"{"overlap":"1h"}"#));
    assert_eq!(status, 200);
    assert!(second["old_key_until"].is_string());
    assert!(opens(&made["key"]) && opens(&second["key"]));
    let (_, third) = body(&act(&rotate, Method::POST, ""));
    assert!(!opens(&made["key"]) && !opens(&second["key"]) && opens(&third["key"]));

    let revoke = Asked::Revoke("a".to_owned());
    assert_eq!(act(&revoke, Method::POST, "{}").status(), 200);
    assert!(!opens(&third["key"]));
    assert_eq!(
        code(&act(&rotate, Method::POST, "")),
        (409, "key_revoked".to_owned())
    );
}

#[test]
fn what_is_wrong_is_said_in_json() {
    let desk = desk("wrong", Some(TOKEN));
    let act = |asked: &Asked, body: &str| desk.keys.act(asked, &Method::POST, body.as_bytes());
    for (asked, body, expected) in [
        (Asked::All, "", 400),
        (Asked::All, r#"{"name":"a","tags":{}}"#, 400),
        (Asked::All, r#"{"name":"a b"}"#, 400),
        (Asked::Revoke("nobody".to_owned()), "", 404),
        (
            Asked::Revoke("nobody".to_owned()),
            r#"{"overlap":"1h"}"#,
            400,
        ),
        (Asked::Rotate("nobody".to_owned()), r#"{"overlap":1}"#, 400),
        (Asked::Rotate("nobody".to_owned()), "[]", 400),
    ] {
        let (status, _) = code(&act(&asked, body));
        assert_eq!(status, expected, "{asked:?} {body}");
    }
    let nowhere = Keys::new(Arc::clone(&desk.table), None);
    let made = nowhere.act(&Asked::All, &Method::POST, br#"{"name":"a"}"#);
    assert_eq!(code(&made), (503, "keys_unavailable".to_owned()));
    assert_eq!(nowhere.act(&Asked::All, &Method::GET, b"").status(), 200);
}
