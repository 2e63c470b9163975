//! Two gateways on one Redis: they keep budgets together, and Redis may be paused, killed and emptied.
//!
//! A request may cost 100 micro-dollars and costs 99, so that ten of them fill a budget of a thousand.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::accounts::{at_rest, chat_of, limit, price, prices, spends};
use crate::client::{Kept, Response};
use crate::gate::{Gate, behind};
use crate::gateway::{Directory, Gateway, directory, free_port, model_once, own_key, provider};
use crate::provider::{Provider, silence};
use crate::wait::eventually;

/// Far beyond what a decision takes, and far below what a Redis that is waited for would cost.
const PROMPT: Duration = Duration::from_secs(10);

/// A redis-server without a file, on a port of its own.
struct Redis {
    child: Child,
    port: u16,
    password: Option<&'static str>,
    #[expect(dead_code, reason = "removed when it is dropped")]
    directory: Directory,
}

impl Redis {
    fn start() -> Self {
        Self::start_at(free_port())
    }

    fn start_at(port: u16) -> Self {
        Self::start_with(port, None)
    }

    fn start_with(port: u16, password: Option<&'static str>) -> Self {
        let directory = directory();
        let program = found("redis-server");
        let mut command = Command::new(&program);
        // Unpacked rather than installed, it has its libraries beside it.
        let beside = program.parent().and_then(|bin| bin.parent());
        let libraries = beside.map(|usr| {
            usr.join("lib")
                .join(format!("{}-linux-gnu", std::env::consts::ARCH))
        });
        if let Some(libraries) = libraries.filter(|libraries| !libraries.starts_with("/usr")) {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let child = command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&*directory)
            .args(password.iter().flat_map(|word| ["--requirepass", word]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server does not start; `make test` brings it");
        let redis = Self {
            child,
            port,
            password,
            directory,
        };
        eventually("Redis answers", || redis.try_ask("PING").ok());
        redis
    }

    fn try_ask(&self, words: &str) -> redis::RedisResult<redis::Value> {
        let client =
            redis::Client::open(format!("redis://{}127.0.0.1:{}/", self.login(), self.port))?;
        let mut connection = client.get_connection_with_timeout(PROMPT)?;
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query(&mut connection)
    }

    fn login(&self) -> String {
        let login = self.password.map(|word| format!(":{word}@"));
        login.unwrap_or_default()
    }

    fn ask<T: redis::FromRedisValue>(&self, words: &str) -> T {
        let value = self.try_ask(words).expect("Redis does not answer");
        redis::from_redis_value(value).expect("an answer of another kind")
    }

    /// What all counters whose names hold this text count, in micro-dollars.
    fn counted(&self, what: &str) -> i64 {
        let keys: Vec<String> = self.ask(&format!("KEYS *}}:c:*{what}*"));
        let all = keys.iter().flat_map(|key| {
            let fields: Vec<(String, i64)> = self.ask(&format!("HGETALL {key}"));
            fields
        });
        all.filter(|(field, _)| field != "t")
            .map(|(_, used)| used)
            .sum()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("no kill command").success());
    }

    /// Ends it; its port, for another in its place.
    fn ended(self) -> u16 {
        self.port
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).map(|place| place.join(program));
    let mut there = places.filter(|place| place.exists());
    let text = "redis-server is not there; `make test` brings it";
    there.next().expect(text)
}

/// What Redis holds of a budget for a fleet's gateways that live or have died: their leases.
const LEASED: i64 = 200;

/// A gateway of the fleet, more patient than a machine is busy; `rest` are its limits and whatever else.
fn member(redis: &Redis, scripted: &Provider, lease: f64, rest: &str) -> Gateway {
    let models = provider("main", scripted) + &model_once("m", &["main/upstream-m"]);
    member_in(&[], redis, lease, "", &(rest.to_owned() + &models))
}

/// The same with variables in its environment, more lines on its store, and providers and models of its own.
fn member_in(
    environment: &[(&str, &str)],
    redis: &Redis,
    lease: f64,
    store: &str,
    rest: &str,
) -> Gateway {
    let (file, prices) = prices(&(price("main", 0.0, 1.0) + &price("other", 0.0, 1.0)));
    let state = format!(
        "[state]\nstore = \"redis\"\nurl = \"redis://127.0.0.1:{}/0\"\nprefix = \"test:\"\ntimeout = \"1s\"\nlease = {lease}\n{store}\n",
        redis.port
    );
    let config = [prices, state, rest.to_owned(), own_key()];
    let gateway = Gateway::start_in(environment, &config.concat());
    // The gateway has read it.
    drop(file);
    gateway
}

/// Whether a gateway says that it decides with the store.
fn is_up(gateway: &Gateway) -> bool {
    gateway.metric("tollgate_state_store_up", &[]) == 1.0
}

/// A hard budget for ten requests of each user, and a soft limit of twenty of others.
fn limits() -> String {
    let budget = limit(
        "budget",
        "0.001 usd",
        "per = [\"user\"]\nusers = [\"hard-*\"]",
    );
    let soft = limit(
        "soft",
        "20 requests / 1h",
        "per = [\"user\"]\nusers = [\"soft-*\"]",
    );
    budget + &soft
}

fn ask(gateway: &Gateway, user: &str) -> Response {
    let began = Instant::now();
    let answer = gateway.call(&chat_of(user, 100));
    assert!(began.elapsed() < PROMPT, "it took {:?}", began.elapsed());
    answer
}

/// Asks so often, and is served each time.
fn served(gateway: &Gateway, user: &str, times: usize) {
    for _ in 0..times {
        let answer = ask(gateway, user);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Asks until it is refused; how often it was served, and the code of the refusal.
fn exhaust(gateway: &Gateway, user: &str) -> (usize, String) {
    for served in 0..100 {
        let answer = ask(gateway, user);
        if answer.status != 200 {
            return (served, answer.error("code"));
        }
    }
    panic!("{user} is never refused");
}

/// Waits until a gateway decides with Redis again.
fn recovered(gateway: &Gateway, probe: &str) {
    let is_served = || (ask(gateway, probe).status == 200).then_some(());
    eventually("a hard budget lets somebody in again", is_served);
}

/// What the gateways' ledgers say that a user spent, in micro-dollars.
fn spent(fleet: &[&Gateway], user: &str) -> u64 {
    let all = fleet.iter().map(|gateway| {
        let all = at_rest(gateway).by_user();
        let own = all.get(user).map(Vec::as_slice).unwrap_or_default();
        own.iter().map(|one| one.cost).sum::<u64>()
    });
    all.sum()
}

/// Waits until Redis counts what the ledgers say; nothing is reserved then, but leases.
fn agreed(redis: &Redis, fleet: &[&Gateway], user: &str) {
    let spent = i64::try_from(spent(fleet, user)).unwrap();
    let mut last = 0;
    let agrees = || {
        last = redis.counted(user);
        let leased = last - spent;
        (leased >= 0 && leased % LEASED == 0 && leased <= 2 * LEASED).then_some(())
    };
    eventually(&format!("Redis counts the {spent} of the ledgers"), agrees);
}

#[test]
fn two_gateways_keep_a_budget_together() {
    const RACERS: usize = 200;
    const ROUNDS: usize = 50;
    let redis = Redis::start();
    let scripted = Provider::start(spends(1));
    let fleet = [0, 1].map(|_| member(&redis, &scripted, 0.0, &limits()));
    let (start, end) = (Barrier::new(RACERS), Barrier::new(RACERS + 1));
    let admitted: Vec<AtomicUsize> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    let other = std::sync::Mutex::new(Vec::new());
    let race = |gateway: &Gateway| {
        let mut client = Kept::new(gateway.address);
        for (round, admitted) in admitted.iter().enumerate() {
            start.wait();
            // Nothing here may panic: the others would wait for ever.
            match client.call(&chat_of(&format!("hard-{round}-"), 100)) {
                Ok(answer) if answer.status == 200 => drop(admitted.fetch_add(1, Ordering::SeqCst)),
                Ok(answer) if answer.status == 402 => {}
                odd => other.lock().unwrap().push(format!("{odd:?}")),
            }
            end.wait();
        }
    };
    std::thread::scope(|scope| {
        for racer in 0..RACERS {
            let (gateway, race) = (&fleet[racer % 2], &race);
            scope.spawn(move || race(gateway));
        }
        for _ in &admitted {
            end.wait();
        }
    });
    assert_eq!(*other.lock().unwrap(), Vec::<String>::new());
    let fleet = fleet.each_ref();
    for (round, admitted) in admitted.iter().enumerate() {
        let admitted = admitted.load(Ordering::SeqCst);
        assert_eq!(admitted, 10, "round {round}");
        let user = format!("hard-{round}-");
        assert_eq!(spent(&fleet, &user), 99 * admitted as u64);
    }
    let all: usize = admitted.iter().map(|one| one.load(Ordering::SeqCst)).sum();
    let dollars = i64::try_from(99 * all).unwrap();
    eventually("Redis counts what the ledgers say", || {
        (redis.counted("hard-") == dollars).then_some(())
    });
}

#[test]
fn what_one_gateway_spent_the_other_has_not() {
    let redis = Redis::start();
    let scripted = Provider::start(spends(1));
    let one = member(&redis, &scripted, 0.0, &limits());
    let other = member(&redis, &scripted, 0.0, &limits());
    served(&one, "hard-ann", 7);
    agreed(&redis, &[&one], "hard-ann");
    assert_eq!(exhaust(&other, "hard-ann"), (3, "budget_exceeded".into()));
    assert_eq!(exhaust(&one, "hard-ann"), (0, "budget_exceeded".into()));
    served(&other, "hard-bob", 1);
    served(&one, "soft-ann", 12);
    assert_eq!(exhaust(&other, "soft-ann").0, 8);
}

#[test]
fn a_lease_is_all_that_is_spent_while_redis_is_paused() {
    let redis = Redis::start();
    let scripted = Provider::start(spends(0));
    let one = member(&redis, &scripted, 0.2, &limits());
    let other = member(&redis, &scripted, 0.2, &limits());
    served(&one, "hard-a", 1);
    agreed(&redis, &[&one, &other], "hard-a");
    redis.signal("STOP");
    let (alone, code) = exhaust(&one, "hard-a");
    assert!((1..=2).contains(&alone), "{alone} from a lease for two");
    assert_eq!(code, "limits_unavailable");
    assert_eq!(exhaust(&other, "hard-a"), (0, "limits_unavailable".into()));
    // A soft limit is each gateway's own for as long.
    assert_eq!(exhaust(&one, "soft-a").0, 20);
    assert_eq!(exhaust(&other, "soft-a").0, 20);
    redis.signal("CONT");
    recovered(&one, "hard-one");
    recovered(&other, "hard-other");
    assert_eq!(ask(&one, "soft-a").status, 429);
    agreed(&redis, &[&one, &other], "hard-a");
    let rest = exhaust(&one, "hard-a").0 + exhaust(&other, "hard-a").0;
    assert_eq!(1 + alone + rest, 10);
}

#[test]
fn a_redis_that_died_and_knows_nothing_is_told_again() {
    let redis = Redis::start();
    let scripted = Provider::start(spends(0));
    let one = member(&redis, &scripted, 0.2, &limits());
    let other = member(&redis, &scripted, 0.2, &limits());
    served(&one, "hard-b", 3);
    served(&other, "hard-b", 2);
    let redis = redis.ended();
    let (alone, code) = exhaust(&one, "hard-b");
    assert!(alone <= 2, "{alone} from a lease for two");
    assert_eq!(code, "limits_unavailable");
    assert_eq!(exhaust(&one, "soft-b").0, 20);
    let redis = Redis::start_at(redis);
    recovered(&one, "hard-one");
    recovered(&other, "hard-other");
    agreed(&redis, &[&one, &other], "hard-b");
    let rest = exhaust(&one, "hard-b").0 + exhaust(&other, "hard-b").0;
    assert_eq!(5 + alone + rest, 10);
    agreed(&redis, &[&one, &other], "hard-b");
}

#[test]
fn a_flushed_redis_opens_no_budget_again() {
    let redis = Redis::start();
    let scripted = Provider::start(spends(0));
    let one = member(&redis, &scripted, 0.0, &limits());
    let other = member(&redis, &scripted, 0.0, &limits());
    // Nobody waits for anything: the gateway's own part is there before it lets anybody in.
    served(&one, "hard-own", 6);
    let _: String = redis.ask("FLUSHALL");
    let mut own = 0;
    eventually("the budget is said to be spent", || {
        let (served, code) = exhaust(&one, "hard-own");
        own += served;
        assert!(own <= 4, "{own} beside 6 of 10");
        (code == "budget_exceeded").then_some(())
    });
    assert_eq!(own, 4);
    // Those of the others are there as soon as they have looked.
    served(&one, "hard-c", 3);
    served(&other, "hard-c", 4);
    agreed(&redis, &[&one, &other], "hard-c");
    let _: String = redis.ask("FLUSHALL");
    agreed(&redis, &[&one, &other], "hard-c");
    let all = |gateway| {
        let mut all = 0;
        eventually("the budget is said to be spent", || {
            let (served, code) = exhaust(gateway, "hard-c");
            all += served;
            (code == "budget_exceeded").then_some(())
        });
        all
    };
    assert_eq!(all(&other) + all(&one), 3);
}

#[test]
fn what_others_put_in_the_place_of_a_counter_opens_no_budget() {
    let redis = Redis::start();
    let scripted = Provider::start(spends(0));
    let one = member(&redis, &scripted, 0.0, &limits());
    served(&one, "hard-e", 6);
    agreed(&redis, &[&one], "hard-e");
    let keys: Vec<String> = redis.ask("KEYS *");
    assert!(
        keys.iter().all(|key| key.starts_with("test:{fleet}:")),
        "{keys:?}"
    );
    for key in keys {
        let _: String = redis.ask(&format!("SET {key} nonsense"));
    }
    recovered(&one, "hard-one");
    agreed(&redis, &[&one], "hard-e");
    assert_eq!(exhaust(&one, "hard-e"), (4, "budget_exceeded".into()));
}

#[test]
fn what_is_left_is_told_for_the_fleet() {
    let redis = Redis::start();
    let scripted = Provider::start(spends(0));
    let all = limit("all", "0.001 usd / day", "");
    let one = member(&redis, &scripted, 0.0, &all);
    let other = member(&redis, &scripted, 0.0, &all);
    served(&one, "a", 3);
    served(&other, "a", 2);
    let left = |gateway: &Gateway| gateway.metric("tollgate_limit_remaining", &[("limit", "all")]);
    assert_eq!(left(&other), 500.0);
    served(&one, "a", 1);
    assert_eq!(left(&one), 400.0);
}

#[test]
fn a_gateway_that_was_killed_takes_its_part_up_again() {
    let redis = Redis::start();
    let gate = Gate::default();
    let scripted = Provider::start(spends(1));
    let kept = directory();
    let ledger = kept.join("kept.db");
    let rest = format!("[ledger]\npath = {ledger:?}\n{}", limits());
    let one = member(&redis, &scripted, 0.0, &rest);
    served(&one, "hard-d", 4);
    // One more is under way when it dies.
    scripted.become_script(behind(&gate, spends(1)));
    let mut client = one.connect();
    client.send(&chat_of("hard-d", 100).bytes()).unwrap();
    eventually("it is under way", || (scripted.count() == 5).then_some(()));
    drop(one);
    gate.open();
    scripted.become_script(spends(1));
    let one = member(&redis, &scripted, 0.0, &rest);
    let other = member(&redis, &scripted, 0.0, &limits());
    // Charged at its bound: 4 of 99 and one of 100.
    eventually("its part is what its ledger says", || {
        (redis.counted("hard-d") == 496).then_some(())
    });
    assert_eq!(exhaust(&other, "hard-d").0 + exhaust(&one, "hard-d").0, 5);
}

#[test]
fn places_of_a_gateway_that_died_come_free() {
    let redis = Redis::start();
    let gate = Gate::default();
    let scripted = Provider::start(behind(&gate, spends(1)));
    let places = limit("places", "2 concurrent", "");
    let one = member(&redis, &scripted, 0.0, &places);
    let other = member(&redis, &scripted, 0.0, &places);
    let under_way: Vec<_> = (0..2)
        .map(|n| {
            let mut client = one.connect();
            client.send(&chat_of("a", 100).bytes()).unwrap();
            eventually("it is under way", || {
                (scripted.count() == n + 1).then_some(())
            });
            client
        })
        .collect();
    let refused = ask(&other, "b");
    assert_eq!(refused.status, 429, "{}", refused.text());
    drop(one);
    drop(under_way);
    gate.open();
    // One after the other: each was taken at a time of its own, and is told of when its request is over.
    for _ in 0..3 {
        eventually("its places are free", || {
            (ask(&other, "b").status == 200).then_some(())
        });
    }
}

#[test]
fn a_store_with_a_password_is_shared_by_those_who_know_it() {
    const RIGHT: &str = "open-sesame-8473";
    const WRONG: &str = "open-barley-8473";
    let redis = Redis::start_with(free_port(), Some(RIGHT));
    let scripted = Provider::start(spends(0));
    let models = provider("main", &scripted) + &model_once("m", &["main/upstream-m"]);
    let rest = limits() + &models;
    let by = "password = \"env:STORE_PASSWORD\"";
    let knows = |word| member_in(&[("STORE_PASSWORD", word)], &redis, 0.0, by, &rest);
    let (one, other) = (knows(RIGHT), knows(RIGHT));
    served(&one, "hard-f", 6);
    agreed(&redis, &[&one], "hard-f");
    assert_eq!(exhaust(&other, "hard-f"), (4, "budget_exceeded".into()));
    assert!(is_up(&one) && is_up(&other));
    let (wrong, silent) = (knows(WRONG), member_in(&[], &redis, 0.0, "", &rest));
    for gateway in [&wrong, &silent] {
        assert_eq!(exhaust(gateway, "hard-f"), (0, "limits_unavailable".into()));
        assert_eq!(ask(gateway, "soft-f").status, 200);
        assert!(!is_up(gateway));
        eventually("the operator is told", || {
            let log = gateway.stderr() + &gateway.stdout();
            log.contains("shared limits cannot be reached")
                .then_some(())
        });
    }
    for gateway in [&one, &other, &wrong, &silent] {
        let told = gateway.stderr() + &gateway.stdout() + &gateway.metrics();
        assert!(!told.contains(RIGHT) && !told.contains(WRONG), "{told}");
    }
}

#[test]
fn whether_the_store_is_there_can_be_seen() {
    let redis = Redis::start();
    let scripted = Provider::start(spends(0));
    let one = member(&redis, &scripted, 0.2, &limits());
    served(&one, "hard-g", 1);
    assert!(is_up(&one));
    let number = |name: &str| one.metric(&format!("tollgate_state_store_{name}"), &[]);
    assert_eq!((number("losses"), number("leases")), (0.0, 1.0));
    let port = redis.ended();
    exhaust(&one, "hard-g");
    assert!(!is_up(&one) && number("losses") == 1.0);
    let _redis = Redis::start_at(port);
    eventually("the store is there again", || is_up(&one).then_some(()));
    eventually("it is told of everything", || {
        (number("untold_changes") == 0.0).then_some(())
    });
}

#[test]
fn a_hedge_is_reserved_in_the_store_too() {
    let redis = Redis::start();
    let gate = Gate::default();
    let silent = Provider::start(silence());
    let second = Provider::start(behind(&gate, spends(1)));
    let hedged = "[models.m]\ntargets = [\"main/one\", \"other/two\"]\nretries = 0\nhedge = { after = \"100ms\", share = 1.0, per_hour = 1000 }\n";
    let all = [
        limits(),
        provider("main", &silent),
        provider("other", &second),
        hedged.to_owned(),
    ];
    let one = member_in(&[], &redis, 0.0, "", &all.concat());
    let mut client = one.connect();
    client.send(&chat_of("hard-h", 100).bytes()).unwrap();
    eventually("both are asked", || (second.count() == 1).then_some(()));
    assert_eq!(redis.counted("hard-h"), 200, "both are reserved");
    gate.open();
    let answer = client.response().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    agreed(&redis, &[&one], "hard-h");
    // What is left at the end covers one attempt and no second one.
    silent.become_script(spends(1));
    exhaust(&one, "hard-h");
    agreed(&redis, &[&one], "hard-h");
    assert!(spent(&[&one], "hard-h") <= 1_000);
}
