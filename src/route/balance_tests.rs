use super::*;

const SETTINGS: Settings = Settings {
    consecutive_failures: 2,
    error_rate: 1.0,
    min_outcomes: 20,
    open: Duration::from_secs(60),
    open_max: Duration::from_secs(60),
};

fn pool(urls: &[(&str, usize)], strategy: Strategy) -> Pool {
    Pool::new(
        PoolSpec {
            origins: urls
                .iter()
                .map(|(u, w)| (Arc::new(Origin::parse(u).unwrap()), *w))
                .collect(),
            strategy,
            options: PeerOptions::new(),
            group: 0,
            probe: None,
            breaker: SETTINGS,
            fingerprint: String::new(),
        },
        None,
    )
}

async fn picked(pool: &Pool, key: &[u8], tried: &[Arc<Address>]) -> Option<Arc<Address>> {
    pool.pick(key, tried).await.map(|picked| picked.address)
}

async fn shares(pool: &Pool, picks: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for i in 0..picks {
        let address = picked(pool, &i.to_le_bytes(), &[]).await.unwrap();
        *counts.entry(address.origin.url.clone()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn weights_hold() {
    let p = pool(
        &[("http://127.0.0.1:1001", 3), ("http://127.0.0.1:1002", 1)],
        Strategy::RoundRobin,
    );
    let s = shares(&p, 400).await;
    assert_eq!(s["http://127.0.0.1:1001"], 300);
    assert_eq!(s["http://127.0.0.1:1002"], 100);
}

#[tokio::test]
async fn two_base_urls_on_one_socket_share_it() {
    let p = pool(
        &[
            ("http://127.0.0.1:1001/a", 1),
            ("http://127.0.0.1:1001/b", 1),
        ],
        Strategy::RoundRobin,
    );
    let s = shares(&p, 100).await;
    assert_eq!(s["http://127.0.0.1:1001/a"], 50);
    assert_eq!(s["http://127.0.0.1:1001/b"], 50);
}

#[tokio::test]
async fn an_address_that_was_tried_is_not_picked_again() {
    let p = pool(
        &[("http://127.0.0.1:1001", 1), ("http://127.0.0.1:1002", 1)],
        Strategy::RoundRobin,
    );
    let first = picked(&p, b"k", &[]).await.unwrap();
    let second = picked(&p, b"k", &[Arc::clone(&first)]).await.unwrap();
    assert_ne!(first.origin.url, second.origin.url);
    assert!(picked(&p, b"k", &[first, second]).await.is_none());
}

#[tokio::test]
async fn consistent_hashing_keeps_a_key_where_it_was() {
    let urls = [
        ("http://127.0.0.1:1001", 1),
        ("http://127.0.0.1:1002", 1),
        ("http://127.0.0.1:1003", 1),
    ];
    let p = pool(&urls, Strategy::ConsistentHash);
    for user in [b"u1".as_slice(), b"u2", b"u3"] {
        let home = picked(&p, user, &[]).await.unwrap();
        for _ in 0..10 {
            assert!(Arc::ptr_eq(&home, &picked(&p, user, &[]).await.unwrap()));
        }
    }
}

#[tokio::test]
async fn least_latency_prefers_the_faster() {
    let p = pool(
        &[("http://127.0.0.1:1001", 1), ("http://127.0.0.1:1002", 1)],
        Strategy::LeastLatency,
    );
    p.resolve().await;
    for (address, _) in p.health() {
        let slow = address.origin.port == 1001;
        address
            .latency
            .record(Duration::from_millis(if slow { 900 } else { 10 }));
    }
    let s = shares(&p, 400).await;
    // 387 at least: only every 32nd pick is left to chance.
    assert!(s["http://127.0.0.1:1002"] >= 387, "{s:?}");
}

#[tokio::test]
async fn an_unknown_name_gives_nothing_and_does_not_fail_the_others() {
    let p = pool(
        &[
            ("http://no-such-host.invalid", 1),
            ("http://127.0.0.1:1002", 1),
        ],
        Strategy::RoundRobin,
    );
    let s = shares(&p, 10).await;
    assert_eq!(s["http://127.0.0.1:1002"], 10);
}

#[tokio::test]
async fn an_open_breaker_takes_an_address_out_and_the_last_is_still_there() {
    let urls = [("http://127.0.0.1:1001", 1), ("http://127.0.0.1:1002", 1)];
    let p = pool(&urls, Strategy::RoundRobin);
    let sick = picked(&p, b"k", &[]).await.unwrap();
    trip(&sick);
    for _ in 0..10 {
        assert!(!Arc::ptr_eq(&sick, &picked(&p, b"k", &[]).await.unwrap()));
    }
    let other = picked(&p, b"k", &[]).await.unwrap();
    assert!(!p.has_other(&[Arc::clone(&other)]));
    trip(&other);
    assert!(picked(&p, b"k", &[]).await.is_none());
    let forced = p.pick_any(b"k", &[]).await.unwrap();
    assert!(
        [sick, other]
            .iter()
            .any(|a| Arc::ptr_eq(a, &forced.address))
    );
}

#[tokio::test]
async fn the_only_address_is_in_use_whatever_its_breaker_says() {
    let p = pool(&[("http://127.0.0.1:1001", 1)], Strategy::RoundRobin);
    let only = picked(&p, b"k", &[]).await.unwrap();
    trip(&only);
    assert!(p.has_other(&[]));
    assert!(picked(&p, b"k", &[]).await.is_some());
    assert!(picked(&p, b"k", &[only]).await.is_none());
}

#[tokio::test]
async fn a_pool_that_follows_another_keeps_its_breakers() {
    let urls = [("http://127.0.0.1:1001", 1), ("http://127.0.0.1:1002", 1)];
    let old = pool(&urls, Strategy::RoundRobin);
    for _ in 0..2 {
        trip(&picked(&old, b"k", &[]).await.unwrap());
    }
    let new = Pool::new(old.spec().clone(), Some(&old));
    assert!(picked(&new, b"k", &[]).await.is_none());
    let stranger = pool(&urls, Strategy::RoundRobin);
    assert!(picked(&stranger, b"k", &[]).await.is_some());
}

fn trip(address: &Address) {
    let now = Instant::now();
    for _ in 0..SETTINGS.consecutive_failures {
        address.breaker.force(now).failed(now, None);
    }
}
