use bytes::Bytes;

use super::*;
use crate::wire::json::{Edit, splice};

const FORM: &str = "--B\r\n\
    Content-Disposition: form-data; name=\"model\"\r\n\
    \r\n\
    whisper-1\r\n\
    --B\r\n\
    content-disposition: form-data; name=\"file\"; filename=\"C:\\a.mp3\"\r\n\
    Content-Type: audio/mpeg\r\n\
    \r\n\
    ID3\r\n--b\r\n-- B\r\n\r\n\
    --B--\r\n";

#[track_caller]
fn check_boundary(content_type: &str, expected: Option<&str>) {
    let found = boundary(content_type);
    assert_eq!(found.ok().as_deref(), expected, "{content_type:?}");
}

#[test]
fn boundaries_are_read_from_the_content_type() {
    check_boundary("multipart/form-data; boundary=abc", Some("abc"));
    check_boundary("Multipart/Form-Data;Boundary=\"a b\"", Some("a b"));
    check_boundary(
        "multipart/form-data; charset=utf-8; boundary=abc;",
        Some("abc"),
    );
    check_boundary(
        "multipart/form-data ; boundary=----X_1'()+,-./:=?",
        Some("----X_1'()+,-./:=?"),
    );
    let longest = "x".repeat(70);
    check_boundary(
        &format!("multipart/form-data; boundary={longest}"),
        Some(&longest),
    );
}

#[test]
fn unusable_content_types_are_refused() {
    check_boundary("multipart/form-data", None);
    check_boundary("multipart/form-data;", None);
    check_boundary("multipart/mixed; boundary=abc", None);
    check_boundary("application/json; boundary=abc", None);
    check_boundary("multipart/form-data; boundary=", None);
    check_boundary("multipart/form-data; boundary=\"\"", None);
    check_boundary("multipart/form-data; boundary=\"abc", None);
    check_boundary("multipart/form-data; boundary=\"abc \"", None);
    check_boundary("multipart/form-data; boundary=\"a\\b\"", None);
    check_boundary("multipart/form-data; boundary=a b", None);
    check_boundary("multipart/form-data; boundary=a@b", None);
    check_boundary("multipart/form-data; boundary=a; boundary=a", None);
    check_boundary("multipart/form-data; boundary =a", None);
    check_boundary(
        &format!("multipart/form-data; boundary={}", "x".repeat(71)),
        None,
    );
}

#[test]
fn parts_are_listed_with_their_spans() {
    let parts = parts(FORM.as_bytes(), "B").unwrap();
    let seen: Vec<_> = parts
        .iter()
        .map(|part| {
            (
                part.name.as_str(),
                part.is_file,
                part.content.of(FORM.as_bytes()),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("model", false, b"whisper-1".as_slice()),
            ("file", true, b"ID3\r\n--b\r\n-- B\r\n".as_slice()),
        ]
    );
}

#[test]
fn a_part_is_replaced_by_splicing() {
    let body = Bytes::from(FORM);
    let model = parts(&body, "B").unwrap().remove(0);
    let edit = Edit {
        span: model.content,
        with: Bytes::from_static(b"large-v3"),
    };
    let spliced = splice(&body, vec![edit]).unwrap().into_bytes();
    assert_eq!(spliced, FORM.replace("whisper-1", "large-v3"));
    let names = parts(&spliced, "B")
        .unwrap()
        .into_iter()
        .map(|part| part.name);
    assert!(names.eq(["model", "file"]));
}

#[test]
fn contents_may_be_empty_large_and_full_of_dashes() {
    for content in ["", "\r\n", "-", "x--B", "--Bx no, -B", "\r\n-", "--------"] {
        // After text, so that the dashes do not begin a line; and so long that blocks are skipped.
        for filling in [0, 1, 61, 62, 63, 64, 65, 127, 5_000] {
            let filling = "f".repeat(filling + 1);
            let content = format!("{filling}{content}{filling}");
            let body =
                format!("--B\r\nContent-Disposition: form-data; name=a\r\n\r\n{content}\r\n--B--");
            let parts = parts(body.as_bytes(), "B").unwrap();
            assert_eq!(parts[0].content.of(body.as_bytes()), content.as_bytes());
        }
    }
    let empty = "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--B--";
    assert!(parts(empty.as_bytes(), "B").unwrap()[0].content.is_empty());
    assert_eq!(parts(b"--B--\r\n", "B").unwrap(), []);
}

#[test]
fn a_field_may_occur_twice_for_the_caller_to_judge() {
    let part = "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nx\r\n";
    let body = format!("{part}{part}--B--\r\n");
    assert_eq!(parts(body.as_bytes(), "B").unwrap().len(), 2);
}

#[track_caller]
fn check_refused(body: &str, kind: FormErrorKind, offset: usize) {
    let error = parts(body.as_bytes(), "B").unwrap_err();
    assert_eq!(error, FormError { kind, offset }, "{body:?}");
}

#[test]
fn malformed_forms_are_refused() {
    use FormErrorKind::*;
    let head = "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n";
    let end = head.len();
    check_refused("", Start, 0);
    check_refused("\r\n--B--", Start, 0);
    check_refused("preamble\r\n--B--", Start, 0);
    check_refused("--b--", Start, 0);
    check_refused("--B", Delimiter, 3);
    check_refused("--B \r\n", Delimiter, 3);
    check_refused("--Bx\r\n", Delimiter, 3);
    check_refused("--B\n", Delimiter, 3);
    check_refused("--B--\r\nepilogue", TrailingData, 5);
    check_refused("--B-- ", TrailingData, 5);
    check_refused("--B\r\n", Unterminated, 5);
    check_refused(head, Unterminated, end);
    check_refused(&format!("{head}x\r\n"), Unterminated, end + 3);
    check_refused(&format!("{head}x\r\n--B"), Delimiter, end + 6);
    check_refused(&format!("{head}x\r\n--B-"), Delimiter, end + 6);
    check_refused(&format!("{head}x\r\n--Bx\r\n--B--"), Delimiter, end + 6);
    check_refused(&format!("{head}x\n--B--"), Delimiter, end + 2);
    check_refused(&format!("{head}x\r--B--"), Delimiter, end + 2);
    check_refused(&format!("{head}--B--"), Delimiter, end);
}

#[track_caller]
fn check_head(head: &str, expected: Result<(&str, bool), FormErrorKind>) {
    let body = format!("--B\r\n{head}\r\nx\r\n--B--\r\n");
    let found = parts(body.as_bytes(), "B").map_err(|error| error.kind);
    let found = found.map(|mut parts| parts.remove(0));
    let expected = expected.map(|(name, is_file)| (name.to_owned(), is_file));
    assert_eq!(
        found.map(|part| (part.name, part.is_file)),
        expected,
        "{head:?}"
    );
}

#[test]
fn part_headers_are_read_strictly() {
    use FormErrorKind::*;
    let plain = "Content-Disposition: form-data; name=\"a\"\r\n";
    check_head(plain, Ok(("a", false)));
    check_head(
        "Content-Disposition:form-data;name=a;filename=b\r\n",
        Ok(("a", true)),
    );
    check_head(
        "Content-Disposition: form-data; filename=\"\"; name=\"é;=\"\r\n",
        Ok(("é;=", true)),
    );
    check_head(
        "Content-Disposition: form-data; name=a; filename*=UTF-8''b\r\n",
        Ok(("a", true)),
    );
    check_head(
        &format!("{plain}Content-Transfer-Encoding: Binary\r\n"),
        Ok(("a", false)),
    );
    check_head(
        &format!("{plain}Content-Transfer-Encoding: base64\r\n"),
        Err(Header),
    );
}

#[test]
fn parts_without_one_clear_name_are_refused() {
    use FormErrorKind::*;
    let plain = "Content-Disposition: form-data; name=\"a\"\r\n";
    check_head("", Err(Disposition));
    check_head("Content-Type: text/plain\r\n", Err(Disposition));
    check_head(&format!("{plain}{plain}"), Err(Disposition));
    check_head("Content-Disposition: form-data\r\n", Err(Disposition));
    check_head(
        "Content-Disposition: attachment; name=a\r\n",
        Err(Disposition),
    );
    check_head(
        "Content-Disposition: form-data; name=a; Name=b\r\n",
        Err(Disposition),
    );
    check_head(
        "Content-Disposition: form-data; name*=UTF-8''a\r\n",
        Err(Disposition),
    );
    check_head(
        "Content-Disposition: form-data; name=\"a\\b\"\r\n",
        Err(Disposition),
    );
    check_head(
        "Content-Disposition: form-data; name=\"a\r\n",
        Err(Disposition),
    );
    check_head(
        "Content-Disposition: form-data; name=\"a\"b\r\n",
        Err(Disposition),
    );
    check_head(
        "Content-Disposition: form-data; name=a; filename=\"\\\"; name=b; c=\\\"\"\r\n",
        Err(Disposition),
    );
    check_head("Content-Disposition : form-data; name=a\r\n", Err(Header));
    check_head(
        "Content-Disposition: form-data;\r\n name=a\r\n",
        Err(Disposition),
    );
    check_head(&format!("{plain} folded: x\r\n"), Err(Header));
    check_head(&format!("{plain}no colon\r\n"), Err(Header));
    check_head("Content-Disposition: form-data; name=a\n", Err(Header));
    check_head("Content-Disposition: form-data; name=a\0b\r\n", Err(Header));
}

#[test]
fn parts_and_heads_are_bounded() {
    let part = "--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n";
    let most = part.repeat(MOST_PARTS);
    assert_eq!(
        parts(format!("{most}--B--").as_bytes(), "B").unwrap().len(),
        MOST_PARTS
    );
    let error = parts(format!("{most}{part}--B--").as_bytes(), "B").unwrap_err();
    assert_eq!(error, fault(FormErrorKind::TooManyParts, most.len() + 3));
    let plain = "Content-Disposition: form-data; name=a\r\n";
    let filling = LONGEST_HEAD - plain.len() - "X: \r\n".len() - 2;
    check_head(
        &format!("{plain}X: {}\r\n", "x".repeat(filling)),
        Ok(("a", false)),
    );
    check_head(
        &format!("{plain}X: {}\r\n", "x".repeat(filling + 2)),
        Err(FormErrorKind::HeadTooLong),
    );
}
