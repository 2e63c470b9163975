//! Programs that we did not write: curl, openssl, h2load, promtool, systemd-analyze.
//!
//! Promises: a missing program fails the test with the sentence that says how to get it, never skips it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a program printed.
pub struct Ran {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program with this on its standard input.
///
/// # Panics
/// When the program is not installed.
pub fn run(program: &str, arguments: &[&str], input: &[u8]) -> Ran {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.unwrap_or_else(|error| {
        panic!("{program} does not start ({error}); `make test` installs the programs that the tests need")
    });
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // On a thread: a program that prints before it has read everything would block both sides. A program that
    // leaves early (curl after a 413) breaks the pipe, which is its right.
    let input = input.to_vec();
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child
        .wait_with_output()
        .expect("the program cannot be waited for");
    writing.join().expect("the writing thread does not panic");
    Ran {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// An answer as curl saw it.
#[derive(Debug)]
pub struct Curled {
    pub status: u16,
    /// "1.1" or "2".
    pub version: String,
    /// The head's lines, as curl writes them.
    pub head: String,
    pub body: String,
}

/// Stands between the answer and what curl says about it.
const MARK: &str = "\n#curl ";

/// Runs curl with the arguments that say what to do; `input` is what `-T -` or `--data-binary @-` would read.
pub fn curl(arguments: &[&str], input: &[u8]) -> Curled {
    let mut all = vec![
        "-sS",
        "-i",
        "--max-time",
        "120",
        "-w",
        "\\n#curl %{http_version} %{http_code}",
    ];
    all.extend(arguments);
    let ran = run("curl", &all, input);
    parse_curled(&ran.stdout).unwrap_or_else(|| {
        panic!(
            "curl {arguments:?} got no answer: {}{}",
            ran.stderr, ran.stdout
        )
    })
}

fn parse_curled(printed: &str) -> Option<Curled> {
    let (answer, marks) = printed.rsplit_once(MARK)?;
    let (version, status) = marks.split_once(' ')?;
    // Interim heads (100 Continue) stand before the final one.
    let (mut head, mut body) = answer.split_once("\r\n\r\n")?;
    while head.split(' ').nth(1)?.starts_with('1') {
        (head, body) = body.split_once("\r\n\r\n")?;
    }
    Some(Curled {
        status: status.trim().parse().ok()?,
        version: version.to_owned(),
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// Makes a self-signed certificate with this subject, for these names; returns the certificate's and the key's path.
pub fn certificate(directory: &Path, name: &str, names: &str) -> (PathBuf, PathBuf) {
    let certificate = directory.join(format!("{name}-cert.pem"));
    let key = directory.join(format!("{name}-key.pem"));
    let (certificate_text, key_text) = (path(&certificate), path(&key));
    let subject = format!("/CN={name}");
    let mut arguments = vec![
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    arguments.extend(["-days", "2", "-subj", &subject]);
    let alternatives = format!("subjectAltName={names}");
    arguments.extend(["-addext", &alternatives]);
    // Not an authority: who trusts this certificate trusts this one server.
    arguments.extend(["-addext", "basicConstraints=critical,CA:FALSE"]);
    arguments.extend(["-out", &certificate_text, "-keyout", &key_text]);
    let ran = run("openssl", &arguments, b"");
    assert!(ran.success, "openssl makes no certificate: {}", ran.stderr);
    (certificate, key)
}

/// The subject of the certificate that is served at an address.
pub fn served_subject(address: &str) -> String {
    let hello = run(
        "openssl",
        &["s_client", "-connect", address, "-servername", "localhost"],
        b"",
    );
    let shown = run(
        "openssl",
        &["x509", "-noout", "-subject"],
        hello.stdout.as_bytes(),
    );
    assert!(
        shown.success,
        "no certificate is served at {address}: {}{}",
        hello.stderr, shown.stderr
    );
    shown.stdout.trim().to_owned()
}

pub fn path(path: &Path) -> String {
    path.to_str().expect("temporary paths are ASCII").to_owned()
}
