//! Somebody sets the machine's clock. No budget is open again for that, and the operator is told.
//!
//! libfaketime stands between the gateway and the wall clock; the monotonic clock is the machine's own.

use std::fs;
use std::path::PathBuf;

use crate::accounts::{Ledger, chat_of, limit, price, prices, rest, spends};
use crate::gateway::{Gateway, directory, model, own_key, provider};
use crate::provider::Provider;
use crate::wait::eventually;

const DAY: f64 = 86_400.0;

/// The library that lies about the time, beside the program of the same package.
fn library() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find_map(|place| {
        let libraries = fs::read_dir(place.parent()?.join("lib")).ok()?;
        let place = place.join("faketime").exists().then_some(libraries)?;
        place
            .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
            .find(|library| library.exists())
    });
    found.unwrap_or_else(|| {
        panic!("no libfaketime; `make test` installs the programs that the tests need")
    })
}

#[test]
fn a_day_forward_or_back_opens_no_budget() {
    let scripted = Provider::start(spends(0));
    let (_file, prices) = prices(&price("main", 0.0, 1.0));
    let directory = directory();
    let (time, ledger) = (directory.join("time"), directory.join("ledger.db"));
    let set = |offset: &str| {
        let next = directory.join("next");
        fs::write(&next, format!("{offset}\n")).unwrap();
        fs::rename(next, &time).unwrap();
    };
    let config = [
        prices,
        format!("[ledger]\npath = {ledger:?}\n"),
        limit("calendar", "0.001 usd / day", "per = [\"user\"]"),
        limit("rolling", "0.001 usd / 1d", "per = [\"user\"]"),
        limit("requests", "100 requests / 1h", ""),
        provider("main", &scripted),
        model("m", &["main/upstream-m"]),
        own_key(),
    ]
    .concat();
    let library = library();
    let environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", time.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    set("+0d");
    let gateway = Gateway::start_in(&environment, &config);
    let offset = || gateway.metric("tollgate_clock_offset_seconds", &[]);
    let ask = |user: &str, most| gateway.call(&chat_of(user, most)).status;
    assert!(offset().abs() < 60.0, "{}", offset());
    assert_eq!(
        [ask("a", 1_000), ask("a", 1), ask("b", 600)],
        [200, 402, 200]
    );
    for (jump, ahead) in [("+1d", -DAY), ("-1d", DAY), ("+0d", 0.0)] {
        set(jump);
        // The clock of budgets follows at its own pace, not at once: in a test's time, not by an hour.
        eventually(&format!("a jump of {jump} is told"), || {
            ((offset() - ahead).abs() < DAY / 24.0).then_some(())
        });
        assert_eq!([ask("a", 1), ask("b", 401)], [402, 402], "{jump}");
        assert!(
            (offset() - ahead).abs() < DAY / 24.0,
            "{jump}: {}",
            offset()
        );
    }
    // What was left is left.
    assert_eq!([ask("b", 400), ask("b", 1)], [200, 402]);
    // Put back while the gateway is down: the ledger knows a later time.
    rest(&gateway, &Ledger::at(&ledger));
    gateway.signal("KILL");
    drop(gateway);
    set("-1d");
    let gateway = Gateway::start_in(&environment, &config);
    let offset = gateway.metric("tollgate_clock_offset_seconds", &[]);
    assert!((offset - DAY).abs() < DAY / 24.0, "{offset}");
    for user in ["a", "b"] {
        assert_eq!(gateway.call(&chat_of(user, 1)).status, 402, "{user}");
    }
}
