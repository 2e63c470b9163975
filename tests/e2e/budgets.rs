//! Budgets are never overspent: however many requests race, whoever is asked in what order, whatever fails.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::accounts::{ESTIMATED, TOLD, at_rest, chat_of, limit, price, prices, spends, told};
use crate::client::{Kept, Request};
use crate::gate::{Gate, STURDY, behind};
use crate::gateway::{
    Gateway, KEY, SECRET_VARIABLE, key, model, model_once, own_key, provider, provider_with,
};
use crate::provider::{Cut, Provider, Script, chat, delta, fail, finish, hang_up, silence};
use crate::wait::eventually;

const RACERS: usize = 200;
const ROUNDS: usize = 50;
/// What a budget covers, in requests of the size that race.
const COVERED: usize = 10;

/// One provider of this price under a budget.
fn gateway_with(scripted: &Provider, prices: &str, route: &str, limits: &str) -> Gateway {
    let config = [
        prices,
        limits,
        &provider("main", scripted),
        &model_once("m", &["main/upstream-m"]),
        route,
        &own_key(),
    ];
    Gateway::start(&config.join("\n"))
}

#[test]
fn two_hundred_racing_requests_get_what_the_budget_covers_and_not_one_more() {
    // Each may cost 100 and costs 99, so that an eleventh never fits beside ten, run they or not.
    let scripted = Provider::start(spends(1));
    let (_file, prices) = prices(&price("main", 0.0, 1.0));
    let budgets = [
        limit("each", "0.001 usd", "per = [\"user\"]"),
        limit("all", "1 usd", ""),
    ];
    let gateway = gateway_with(&scripted, &prices, "", &budgets.concat());
    let (start, end) = (Barrier::new(RACERS), Barrier::new(RACERS + 1));
    let admitted: Vec<AtomicUsize> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    let other = Mutex::new(Vec::new());
    let race = || {
        let mut client = Kept::new(gateway.address);
        for (round, admitted) in admitted.iter().enumerate() {
            start.wait();
            // Nothing here may panic: the others would wait for ever.
            match client.call(&chat_of(&format!("user-{round}"), 100)) {
                Ok(answer) if answer.status == 200 => drop(admitted.fetch_add(1, Ordering::SeqCst)),
                Ok(answer) if answer.status == 402 => {}
                odd => other.lock().unwrap().push(format!("{odd:?}")),
            }
            end.wait();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..RACERS {
            scope.spawn(race);
        }
        for _ in &admitted {
            end.wait();
        }
    });
    assert_eq!(*other.lock().unwrap(), Vec::<String>::new());
    for (round, admitted) in admitted.iter().enumerate() {
        let admitted = admitted.load(Ordering::SeqCst);
        assert_eq!(admitted, COVERED, "round {round}");
    }
    assert_eq!(scripted.count(), ROUNDS * COVERED);

    // Nothing is reserved any more: what is left is had to the last micro-dollar.
    at_rest(&gateway);
    scripted.become_script(spends(0));
    for round in 0..ROUNDS {
        let ask = |most| {
            gateway
                .call(&chat_of(&format!("user-{round}"), most))
                .status
        };
        assert_eq!([ask(11), ask(10), ask(1)], [402, 200, 402], "round {round}");
    }
    let ledger = at_rest(&gateway);
    for (user, all) in ledger.by_user() {
        let spent: u64 = all.iter().map(|one| one.cost).sum();
        assert_eq!((all.len(), spent), (COVERED + 1, 1_000), "{user}");
        assert!(all.iter().all(|one| one.source == TOLD), "{user}: {all:?}");
    }
    let spent = ledger.spent();
    assert_eq!(spent, ROUNDS as u64 * 1_000);
    let metric = |name, labels: &[_]| gateway.metric(name, labels);
    assert_eq!(
        metric("tollgate_cost_microdollars_total", &[]),
        spent as f64
    );
    let left = metric("tollgate_limit_remaining", &[("limit", "all")]);
    assert_eq!(left, (1_000_000 - spent) as f64);
    let refusals = metric("tollgate_limit_refusals_total", &[("limit", "each")]);
    assert_eq!(refusals, (ROUNDS * (RACERS - COVERED + 2)) as f64);
}

#[test]
fn an_answer_is_cut_to_what_the_budget_covers_where_the_route_allows_it() {
    let scripted = Provider::start(spends(0));
    let (_file, prices) = prices(&price("main", 0.0, 1.0));
    let each = limit("each", "0.001 usd", "per = [\"user\"]");
    let gateway = gateway_with(&scripted, &prices, "clamp_output = true", "");
    gateway.reload(
        &[
            &*prices,
            &each,
            &provider("main", &scripted),
            "[models.m]\ntargets = [\"main/upstream-m\"]\nclamp_output = true\n",
            "[models.strict]\ntargets = [\"main/upstream-m\"]\n",
            &own_key(),
        ]
        .join("\n"),
        "ok",
    );
    let asked = || {
        let seen = scripted.take_one().json();
        (
            seen["max_tokens"].as_u64(),
            seen["max_completion_tokens"].as_u64(),
        )
    };
    // More than there is: all there is. Less than there is: as asked.
    assert_eq!(gateway.call(&chat_of("a", 5_000)).status, 200);
    assert_eq!(asked().0, Some(1_000));
    assert_eq!(gateway.call(&chat_of("b", 700)).status, 200);
    assert_eq!(asked().0, Some(700));
    at_rest(&gateway);
    assert_eq!(gateway.call(&chat_of("b", 700)).status, 200);
    assert_eq!(asked().0, Some(300));
    at_rest(&gateway);
    assert_eq!(gateway.call(&chat_of("b", 700)).status, 402);
    // Without the route's leave nothing is cut.
    let body = json!({"model": "strict", "user": "c", "max_tokens": 5_000, "messages": [{"role": "user", "content": "x"}]});
    let strict = Request::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string());
    assert_eq!(gateway.call(&strict).status, 402);
    assert_eq!(scripted.count(), 0);
    // A client that names no limit is given one, under the name that its format has for it.
    scripted.become_script(Arc::new(|_, wire| {
        wire.answer(
            200,
            &["content-type: application/json"],
            told(json!("x"), 8, 1).as_bytes(),
        )
    }));
    let body = json!({"model": "m", "user": "d", "messages": [{"role": "user", "content": "x"}]});
    let open = Request::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string());
    assert_eq!(gateway.call(&open).status, 200);
    let given = asked();
    assert_eq!(given.0.or(given.1), Some(1_000), "{given:?}");
    // Several answers share what there is.
    let body = json!({"model": "m", "user": "e", "n": 4, "max_tokens": 900, "messages": [{"role": "user", "content": "x"}]});
    let several = Request::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string());
    assert_eq!(gateway.call(&several).status, 200);
    assert_eq!(asked().0, Some(250));
}

#[test]
fn a_translated_answer_is_cut_as_one_that_passes() {
    let whole = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#;
    let script: Script =
        Arc::new(|_, wire| wire.answer(200, &["content-type: application/json"], whole.as_bytes()));
    let scripted = Provider::start(script);
    let (_file, prices) = prices(&price("main", 0.0, 1.0));
    let config = [
        prices,
        limit("each", "0.001 usd", "per = [\"user\"]"),
        format!(
            "[providers.main]\ndialect = \"anthropic\"\nbase_url = \"{}\"\ncredential = \"env:{SECRET_VARIABLE}\"\n",
            scripted.base_url()
        ),
        model("m", &["main/claude-x"]) + "clamp_output = true\n",
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    for (user, asked, given) in [("a", 5_000, 1_000), ("b", 70, 70)] {
        assert_eq!(gateway.call(&chat_of(user, asked)).status, 200);
        assert_eq!(scripted.take_one().json()["max_tokens"], given);
    }
    for path in ["/v1/messages", "/v1/responses"] {
        let body = match path {
            "/v1/messages" => {
                json!({"model": "m", "max_tokens": 5_000, "metadata": {"user_id": path}, "messages": [{"role": "user", "content": "x"}]})
            }
            _ => json!({"model": "m", "max_output_tokens": 5_000, "user": path, "input": "x"}),
        };
        let answer = gateway.call(&Request::post(path).key(KEY).json(body.to_string()));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(scripted.take_one().json()["max_tokens"], 1_000, "{path}");
    }
    let ledger = at_rest(&gateway);
    assert!(
        ledger
            .settled()
            .iter()
            .all(|one| (one.prompt, one.completion, one.cost) == (5, 2, 2))
    );
}

#[test]
fn a_hard_budget_asks_nobody_whose_price_is_unknown() {
    let (unpriced, priced) = (Provider::start(chat("no")), Provider::start(chat("yes")));
    let (_file, prices) = prices(&price("priced", 1.0, 1.0));
    let config = |limits: &str| {
        [
            &*prices,
            limits,
            &provider("unpriced", &unpriced),
            &provider("priced", &priced),
            &model("m", &["unpriced/upstream-x", "priced/y"]),
            &model("only", &["unpriced/upstream-x"]),
            &own_key(),
        ]
        .join("\n")
    };
    let gateway = Gateway::start(&config(&limit("all", "1 usd / day", "")));
    let ask = |name: &str| {
        let body = json!({"model": name, "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]});
        gateway.call(
            &Request::post("/v1/chat/completions")
                .key(KEY)
                .json(body.to_string()),
        )
    };
    let answer = ask("m");
    assert_eq!((answer.status, answer.content()), (200, "yes".to_owned()));
    let refused = ask("only");
    assert_eq!(
        (refused.status, refused.error("code").as_str()),
        (503, "price_unknown")
    );
    assert_eq!(unpriced.count(), 0);
    // A budget that is not hard only counts what it can.
    gateway.reload(&config(&limit("all", "1 usd / day", "hard = false")), "ok");
    assert_eq!(ask("m").content(), "no");
    assert_eq!(ask("only").status, 200);
    at_rest(&gateway);
    assert_eq!(gateway.metric("tollgate_unpriced_requests_total", &[]), 2.0);
}

/// `m` on `a` and then `b`, both of the same price for what goes in and out.
fn pair(a: &Provider, b: &Provider, prices: &str, budget: u64, route: &str) -> Gateway {
    let config = [
        prices,
        &limit("all", &format!("{} usd", budget as f64 / 1e6), ""),
        &provider_with("a", a, STURDY),
        &provider_with("b", b, STURDY),
        &model_once("m", &["a/one", "b/two"]),
        route,
        &own_key(),
    ];
    Gateway::start(&config.join("\n"))
}

/// What `chat_of("u", 100)` may cost at a dollar for a million tokens either way: a token for each byte of its
/// body, and what providers add.
fn bound() -> (u64, u64) {
    let body = json!({
        "model": "m", "user": "u", "max_tokens": 100,
        "messages": [{"role": "user", "content": "hello"}],
    });
    let input = body.to_string().len() as u64 + 1_024;
    (input, input + 100)
}

#[test]
fn two_attempts_never_cost_more_than_the_budget() {
    let (_file, prices) = prices(&(price("a", 1.0, 1.0) + &price("b", 1.0, 1.0)));
    let (input, all) = bound();
    // The first takes the request and never answers: what went in is paid.
    let slow = "timeouts = { first_byte = \"300ms\" }";
    for (budget, asked) in [(all + input, 1), (all + input - 1, 0)] {
        let (a, b) = (Provider::start(silence()), Provider::start(spends(0)));
        let gateway = pair(&a, &b, &prices, budget, slow);
        let answer = gateway.call(&chat_of("u", 100));
        assert_eq!(
            (a.count(), b.count()),
            (1, asked),
            "{budget}: {}",
            answer.text()
        );
        assert_eq!(
            answer.status,
            [504, 200][asked],
            "{budget}: {}",
            answer.text()
        );
        let ledger = at_rest(&gateway);
        let id = answer.header("x-request-id").unwrap();
        let attempts = ledger.attempts(id);
        assert_eq!(attempts.len(), 1 + asked, "{attempts:?}");
        assert_eq!((attempts[0].completion, attempts[0].source), (0, ESTIMATED));
        assert!((1..30).contains(&attempts[0].prompt), "{attempts:?}");
        let spent = ledger.spent();
        assert!(spent <= budget && spent > 0, "{spent} of {budget}");
        assert_eq!(spent, attempts.iter().map(|one| one.cost).sum::<u64>());
        let left = gateway.metric("tollgate_limit_remaining", &[("limit", "all")]);
        assert_eq!(left, (budget - spent) as f64);
    }
    // One that refuses, or hangs up before it says anything, costs nothing: the second has all of it.
    for script in [fail(500), hang_up()] {
        let (a, b) = (Provider::start(script), Provider::start(spends(0)));
        let gateway = pair(&a, &b, &prices, all, "");
        assert_eq!(gateway.call(&chat_of("u", 100)).status, 200);
        let ledger = at_rest(&gateway);
        assert_eq!(ledger.spent(), 108);
    }
}

#[test]
fn a_hedge_is_made_where_the_budget_covers_both_and_the_loser_is_paid_what_went_in() {
    let (_file, prices) = prices(&(price("a", 1.0, 1.0) + &price("b", 1.0, 1.0)));
    let (_, all) = bound();
    let hedge = "hedge = { after = \"100ms\", share = 1.0, per_hour = 1000 }";
    // Enough for both.
    let (a, b) = (Provider::start(silence()), Provider::start(spends(0)));
    let gateway = pair(&a, &b, &prices, 2 * all, hedge);
    let answer = gateway.call(&chat_of("u", 100));
    assert_eq!((answer.status, a.count(), b.count()), (200, 1, 1));
    let ledger = at_rest(&gateway);
    let attempts = ledger.attempts(answer.header("x-request-id").unwrap());
    let loser = attempts.iter().find(|one| one.provider == "a").unwrap();
    assert_eq!(
        (&*loser.outcome, loser.completion, loser.source),
        ("canceled", 0, ESTIMATED)
    );
    assert!((1..30).contains(&loser.prompt), "{loser:?}");
    let winner = attempts.iter().find(|one| one.provider == "b").unwrap();
    assert_eq!(
        (&*winner.role, winner.source, winner.cost),
        ("hedge", TOLD, 108)
    );
    assert_eq!(ledger.spent(), 108 + loser.cost);
    assert_eq!(
        gateway.metric("tollgate_limit_remaining", &[]),
        (2 * all - ledger.spent()) as f64
    );
    drop(gateway);
    // One micro-dollar less: the first is waited for alone.
    let gate = Gate::default();
    let (a, b) = (
        Provider::start(behind(&gate, spends(0))),
        Provider::start(spends(0)),
    );
    let gateway = pair(&a, &b, &prices, 2 * all - 1, hedge);
    let mut client = gateway.connect();
    client.send(&chat_of("u", 100).bytes()).unwrap();
    eventually("the budget refuses the hedge", || {
        let refused = gateway.metric("tollgate_limit_refusals_total", &[("limit", "all")]);
        (refused == 1.0).then_some(())
    });
    assert!(client.is_quiet(Duration::from_millis(100)));
    gate.open();
    assert_eq!(client.response().unwrap().status, 200);
    assert_eq!(b.count(), 0);
    assert_eq!(at_rest(&gateway).spent(), 108);
}

#[test]
fn budgets_of_a_key_and_of_a_provider_hold_beside_each_other() {
    let (a, b) = (Provider::start(spends(0)), Provider::start(spends(0)));
    let (_file, prices) = prices(&(price("a", 0.0, 1.0) + &price("b", 0.0, 1.0)));
    let config = [
        prices,
        limit("of-a", "0.00025 usd", "providers = [\"a\"]"),
        provider("a", &a),
        provider("b", &b),
        model("m", &["a/one", "b/two"]),
        key("tester", KEY, "limits = [\"0.0005 usd / month\"]"),
    ];
    let gateway = Gateway::start(&config.concat());
    // Two at a, then b, which has no budget of its own, until the key's is spent.
    let statuses: Vec<u16> = (0..7)
        .map(|_| gateway.call(&chat_of("u", 100)).status)
        .collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 402, 402]);
    assert_eq!((a.count(), b.count()), (2, 3));
    let ledger = at_rest(&gateway);
    assert_eq!(ledger.spent(), 500);
    assert_eq!(
        gateway.metric("tollgate_limit_remaining", &[("limit", "of-a")]),
        50.0
    );
}

/// SplitMix64 of a counter.
fn chance(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Answers whole or as a stream, or does one of many wrong things.
fn fickle(seed: u64) -> Script {
    let asked = AtomicU64::new(seed << 32);
    Arc::new(move |request, wire| {
        let body = request.json();
        let streams = body["stream"] == true;
        match chance(asked.fetch_add(1, Ordering::SeqCst)) % 12 {
            0 => return wire.reset(),
            1 => return fail(500)(request, wire),
            2 => return fail(429)(request, wire),
            3 => {
                wire.done = true;
                wire.peer_left();
                return Ok(());
            }
            4 if streams => {
                wire.stream_head()?;
                wire.event(&delta("some words that are cut"))?;
                return wire.cut(Cut::Close);
            }
            5 if streams => {
                wire.stream_head()?;
                wire.event(&delta("nobody says how many tokens these are"))?;
                wire.event(&finish())?;
                wire.event("[DONE]")?;
                return wire.end();
            }
            _ => {}
        }
        if !streams {
            return spends(7)(request, wire);
        }
        wire.stream_head()?;
        for word in ["one", " two", " three"] {
            wire.event(&delta(word))?;
        }
        wire.event(&finish())?;
        let usage = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "x", "choices": [],
                           "usage": {"prompt_tokens": 9, "completion_tokens": 3}});
        wire.event(&usage.to_string())?;
        wire.event("[DONE]")?;
        wire.end()
    })
}

/// Asks once; every fifth client leaves at some time.
fn ask_and_perhaps_leave(gateway: &Gateway, n: u64) {
    let drawn = chance(n ^ 0xabcd);
    let body = json!({
        "model": "m", "user": format!("u{}", n % 7), "max_tokens": 50 + drawn % 100, "stream": drawn.is_multiple_of(2),
        "messages": [{"role": "user", "content": "hello"}],
    });
    let request = Request::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string());
    let mut client = gateway.connect();
    client.send(&request.bytes()).unwrap();
    match drawn % 10 {
        // At once, or as soon as there is something.
        0 => {}
        1 => drop(client.head()),
        _ => {
            let head = client.head().expect("a head");
            match head.header("content-type") {
                Some("text/event-stream") => drop(client.stream_of(head).events()),
                _ => drop(client.rest_of(head)),
            }
        }
    }
}

#[test]
fn in_a_storm_every_micro_dollar_is_in_the_ledger_and_in_the_budgets() {
    const REQUESTS: u64 = 1_500;
    const CLIENTS: u64 = 12;
    let (a, b) = (Provider::start(fickle(1)), Provider::start(fickle(2)));
    let (_file, prices) = prices(&(price("a", 1.0, 2.0) + &price("b", 3.0, 1.0)));
    // The first is never spent, the second soon, the third for some.
    let limits = [
        ("all", 100_000_000, ""),
        ("of-b", 60_000, "providers = [\"b\"]"),
        ("each", 40_000, "per = [\"user\"]"),
    ];
    let limits: String = limits
        .iter()
        .map(|(name, amount, rest)| limit(name, &format!("{} usd", f64::from(*amount) / 1e6), rest))
        .collect();
    let config = [
        prices,
        limits,
        provider_with("a", &a, STURDY),
        provider_with("b", &b, STURDY),
        "[models.m]\ntargets = [\"a/one\", \"b/two\"]\nretries = 1\nclamp_output = true\non_break = \"continue\"\n\
         hedge = { after = \"30ms\", share = 1.0, per_hour = 100000 }\ntimeouts = { first_byte = \"400ms\", first_token = \"400ms\" }\n"
            .to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.join("\n"));
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::SeqCst) {
                        n if n < REQUESTS => ask_and_perhaps_leave(&gateway, n),
                        _ => break,
                    }
                }
            });
        }
    });
    let ledger = at_rest(&gateway);
    let spent = ledger.spent();
    let metric = |name, labels: &[_]| gateway.metric(name, labels);
    assert_eq!(
        metric("tollgate_cost_microdollars_total", &[]),
        spent as f64
    );
    let left = |name| metric("tollgate_limit_remaining", &[("limit", name)]);
    assert_eq!(left("all"), 100e6 - spent as f64);
    let of_b = ledger.number(
        "SELECT sum(a.cost) FROM attempts a JOIN names n ON n.id = a.provider WHERE n.name = 'b'",
    );
    assert!(of_b <= 60_000, "{of_b}");
    assert_eq!(left("of-b"), 60_000.0 - of_b as f64);
    let by_user = ledger.number(
        "SELECT max(spent) FROM (SELECT sum(a.cost) AS spent FROM attempts a JOIN intents i USING (id) GROUP BY i.user)",
    );
    assert!(by_user <= 40_000, "{by_user}");
    let outcomes = |outcome: &str| {
        ledger
            .settled()
            .iter()
            .filter(|one| one.outcome == outcome)
            .count()
    };
    // The storm was one: some were served, some left, some failed.
    for outcome in ["ok", "canceled"] {
        assert!(outcomes(outcome) > 20, "{outcome}");
    }
    let hedged =
        "SELECT count(*) FROM attempts a JOIN names n ON n.id = a.role WHERE n.name = 'hedge'";
    assert!(ledger.number(hedged) > 20);
    assert_eq!(outcomes("internal"), 0, "nothing was left unsettled");
    let stderr = gateway.stderr();
    assert!(
        !stderr.contains("panicked") && !stderr.contains("unsettled"),
        "{stderr}"
    );
}

#[test]
fn a_failed_attempt_gives_its_place_at_a_provider_to_the_next() {
    let failing = || crate::provider::in_turn(vec![crate::provider::fail(503), spends(0)]);
    let scripted = Provider::start(failing());
    let (_file, prices) = prices(&price("main", 1.0, 1.0));
    let of_main = |name: &str, allow: &str| limit(name, allow, "providers = [\"main\"]");
    let config = [
        &*prices,
        &of_main("places", "1 concurrent"),
        &provider_with("main", &scripted, STURDY),
        &model("m", &["main/upstream-m"]),
        &own_key(),
    ];
    let gateway = Gateway::start(&config.join("\n"));
    let answer = gateway.call(&chat_of("u", 100));
    assert_eq!((answer.status, scripted.count()), (200, 2));
    at_rest(&gateway);
    // Nor does it hold what it may have cost, of the provider's own budget.
    let (_, all) = bound();
    let budget = of_main("budget", &format!("{} usd", all as f64 / 1e6));
    let scripted = Provider::start(failing());
    let config = [
        &*prices,
        &budget,
        &provider_with("main", &scripted, STURDY),
        &model("m", &["main/upstream-m"]),
        &own_key(),
    ];
    let gateway = Gateway::start(&config.join("\n"));
    let answer = gateway.call(&chat_of("u", 100));
    assert_eq!((answer.status, scripted.count()), (200, 2));
    assert_eq!(at_rest(&gateway).spent(), 108);
}
