//! What is installed: the systemd unit. The package itself is built and looked into by `make package`.

use std::fs;
use std::path::Path;

use crate::gateway::{BINARY, directory};
use crate::tool::{path, run};

fn unit() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/tollgate.service");
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let directory = directory();
    let file = directory.join("tollgate.service");
    // Only an installed binary can be verified; this one stands in for it.
    let text = unit().replace("/usr/bin/tollgate", BINARY);
    assert!(
        text.contains(BINARY),
        "the unit does not start /usr/bin/tollgate"
    );
    fs::write(&file, text).unwrap();
    let ran = run(
        "systemd-analyze",
        &["verify", "--man=no", &path(&file)],
        b"",
    );
    let about_us: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.contains("tollgate"))
        .collect();
    assert!(
        ran.success && about_us.is_empty(),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
}

#[test]
fn the_unit_is_hardened() {
    let directory = directory();
    let file = directory.join("tollgate.service");
    fs::write(&file, unit()).unwrap();
    // The threshold is in tenths: an exposure above 2.0 makes the command fail.
    let ran = run(
        "systemd-analyze",
        &[
            "security",
            "--offline=true",
            "--no-pager",
            "--threshold=20",
            &path(&file),
        ],
        b"",
    );
    assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn the_drop_in_for_cloud_machines_opens_what_the_unit_closes_and_no_more() {
    let values = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.map(str::to_owned)
            .unwrap_or_else(|| panic!("no {key}"))
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/cloud.conf");
    let cloud = fs::read_to_string(file).unwrap();
    assert_eq!(
        values(&cloud, "IPAddressAllow="),
        values(&unit(), "IPAddressDeny=")
    );
    let settings = cloud
        .lines()
        .filter(|line| line.contains('=') && !line.starts_with('#'));
    assert_eq!(settings.count(), 1);
}

#[test]
fn the_unit_can_be_reloaded_and_gets_its_secrets_from_systemd() {
    let text = unit();
    for wanted in [
        "ExecReload=",
        "LoadCredential=",
        "DynamicUser=yes",
        "LimitCORE=0",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(wanted)),
            "{wanted} is missing"
        );
    }
    let kind = text.lines().find_map(|line| line.strip_prefix("Type="));
    assert!(
        kind.is_some_and(|kind| kind.starts_with("notify")),
        "Type is {kind:?}"
    );
}
