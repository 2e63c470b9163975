//! The config changes under load, for better or worse, and no request is lost.

use std::fs;
use std::sync::{Mutex, mpsc};

use crate::gateway::{Gateway, chat_request, model, own_key, provider, simple};
use crate::load::Load;
use crate::provider::{Provider, chat, delta};
use crate::wait::eventually;

/// Configs that must be refused, and what of them the operator must be told.
fn broken(good: &str) -> Vec<(String, &'static str)> {
    vec![
        (
            good[..good.len() / 2].to_owned() + "\n[providers.ma",
            "tollgate.toml:",
        ),
        (
            format!("{good}\n[server]\nno_such_key = 1\n"),
            "no_such_key",
        ),
        (
            format!("{good}\n[models.bad]\ntargets = [\"nowhere/x\"]\n"),
            "nowhere",
        ),
        (format!("{good}\n[limits]\nbody = \"many\"\n"), "body"),
        (format!("{good}\n{good}"), "duplicate key"),
    ]
}

#[test]
fn a_thousand_reloads_half_of_them_broken_lose_no_request() {
    let provider = Provider::start(chat("ok"));
    let good = simple(&provider);
    let gateway = Gateway::start(&good);
    let broken = broken(&good);
    let load = Load::start(gateway.address, 3, &chat_request("m"), |answer| {
        answer.content() == "ok"
    });
    load.pass(20);
    let (taken, refused) = (gateway.reloads("ok"), gateway.reloads("error"));
    for round in 0..500 {
        gateway.reload(&format!("# round {round}\n{good}"), "ok");
        let (bad, _) = &broken[round % broken.len()];
        gateway.reload(&format!("# round {round}\n{bad}"), "error");
    }
    load.pass(20);
    let done = load.finish();
    assert!(gateway.reloads("ok") - taken >= 500.0);
    assert!(gateway.reloads("error") - refused >= 500.0);
    println!("{done} requests during 1,000 reloads, none lost");
}

#[test]
fn the_provider_is_swapped_under_load() {
    let (old, new) = (Provider::start(chat("old")), Provider::start(chat("new")));
    let gateway = Gateway::start(&simple(&old));
    let load = Load::start(gateway.address, 4, &chat_request("m"), |answer| {
        answer.status == 200 && ["old", "new"].contains(&answer.content().as_str())
    });
    load.pass(100);
    for round in 0..20 {
        let next = if round % 2 == 0 { &new } else { &old };
        gateway.reload(&format!("# {round}\n{}", simple(next)), "ok");
        // A request that comes after the reload is served by the new table.
        next.forget();
        assert_eq!(gateway.chat("m").status, 200);
        assert!(
            next.count() > 0,
            "round {round}: the new table is not in force"
        );
        load.pass(20);
    }
    load.finish();
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let provider = Provider::start(chat("ok"));
    let good = simple(&provider);
    let gateway = Gateway::start(&good);
    // The endpoints' health, which is shown beside them, may change at any time.
    let in_force = || {
        let shown = gateway.admin("/config").json();
        ["config", "version", "loaded_at"].map(|member| shown[member].clone())
    };
    let (version, shown) = (gateway.version(), in_force());
    for (bad, hint) in broken(&good) {
        let before = gateway.stderr().len();
        gateway.reload(&bad, "error");
        assert_eq!(gateway.version(), version, "{bad}");
        assert_eq!(in_force(), shown, "{bad}");
        assert_eq!(gateway.chat("m").content(), "ok");
        assert!(gateway.is_ready());
        eventually(&format!("the log names {hint:?}"), || {
            gateway.stderr()[before..].contains(hint).then_some(())
        });
    }
    // A key in plain text is refused too, and not repeated in the log.
    gateway.reload(
        &format!("{good}\n[keys.plain]\nhash = \"tg-canary-plain-text\"\n"),
        "error",
    );
    assert!(
        !gateway.stderr().contains("tg-canary-plain-text"),
        "{}",
        gateway.stderr()
    );
    // The file may vanish for a moment, as it does under some editors.
    fs::remove_file(gateway.config_path()).unwrap();
    assert_eq!(gateway.chat("m").content(), "ok");
    gateway.reload(&format!("# back\n{good}"), "ok");
    assert!(gateway.version() > version);
}

#[test]
fn a_changed_file_is_picked_up_without_a_signal() {
    let (old, new) = (Provider::start(chat("old")), Provider::start(chat("new")));
    let gateway = Gateway::start(&simple(&old));
    assert_eq!(gateway.chat("m").content(), "old");
    gateway.replace_config(&simple(&new));
    eventually("the new file is in force", || {
        (gateway.chat("m").content() == "new").then_some(())
    });
}

#[test]
fn models_and_keys_come_and_go() {
    let provider_ = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider_));
    assert_eq!(gateway.chat("late").status, 404);
    let with = [
        provider("main", &provider_),
        model("late", &["main/x"]),
        own_key(),
    ]
    .concat();
    gateway.reload(&with, "ok");
    assert_eq!(
        (gateway.chat("late").status, gateway.chat("m").status),
        (200, 404)
    );
    let without = [
        provider("main", &provider_),
        model("late", &["main/x"]),
        crate::gateway::key("else", "tg-else", ""),
    ];
    gateway.reload(&without.concat(), "ok");
    assert_eq!(gateway.chat("late").status, 401);
}

#[test]
fn a_request_in_flight_keeps_the_table_it_started_with() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let old = Provider::start(std::sync::Arc::new(move |_, wire| {
        wire.stream_head()?;
        wire.event(&delta("before"))?;
        let _ = gate.lock().unwrap().recv();
        wire.event(&delta("after"))?;
        wire.event("[DONE]")?;
        wire.end()
    }));
    let new = Provider::start(chat("new"));
    let gateway = Gateway::start(&simple(&old));
    let mut events = gateway.stream("m");
    assert_eq!(events.event(), Some(delta("before")));
    gateway.reload(
        &[provider("other", &new), model("m", &["other/x"]), own_key()].concat(),
        "ok",
    );
    assert_eq!(gateway.chat("m").content(), "new");
    open.send(()).unwrap();
    assert_eq!(events.events(), [delta("after"), "[DONE]".to_owned()]);
}
