//! Ten thousand requests against providers that fail at random, on a clock that
//! is only counted. What holds for every request and every provider is checked
//! while they run: the course, the breakers, the budgets and the learned times
//! are the real ones, the network is made up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate::route::breaker::{Admission, Breaker, Permit, Settings};
use tollgate::route::budget::{Budget, FLOOR};
use tollgate::route::course::{Admit, Course, Leg, Report, Step, View};
use tollgate::route::fault::{Again, Fault, Feeds, Kind, Kinds};
use tollgate::route::learned::Learned;

const REQUESTS: usize = 10_000;
const RETRIES: usize = 2;
const SHARE: f64 = 0.2;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// One target: a model at a provider.
struct Target {
    provider: usize,
    breaker: Arc<Breaker>,
    learned: Learned,
    /// Of 1000 attempts so many fail, by the phase of the simulation.
    ill: [u64; 4],
    /// Attempts, by phase, and how many of them were answered.
    attempts: [u64; 4],
    answered: [u64; 4],
}

struct Provider {
    budget: Budget,
    requests: u64,
    attempts: u64,
}

/// One request under way.
struct Request {
    course: Course,
    started: Duration,
    deadline: Duration,
    permits: Vec<Option<Permit>>,
    forced: Vec<bool>,
    asked: Vec<usize>,
    attempts: usize,
    silent: Vec<usize>,
    ended: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Served,
    Failed,
    OutOfTime,
}

struct Glance<'a> {
    now: Instant,
    targets: &'a [Target],
    providers: &'a [Provider],
    permits: &'a mut [Option<Permit>],
    forced: &'a mut [bool],
    asked: &'a [usize],
}

impl View for Glance<'_> {
    fn admit(&mut self, at: usize) -> Admit {
        let target = &self.targets[at];
        match target.breaker.admit(self.now) {
            Admission::Admitted(permit) => {
                let again = self.asked.contains(&target.provider);
                if again && !self.providers[target.provider].budget.withdraw() {
                    return Admit::Spent;
                }
                self.permits[at] = Some(permit);
                self.forced[at] = false;
                Admit::Yes
            }
            Admission::Shut { wait, told } => Admit::Shut {
                wait,
                told,
                kind: Kind::Error,
            },
        }
    }

    fn force(&mut self, at: usize) {
        self.permits[at] = Some(self.targets[at].breaker.force(self.now));
        self.forced[at] = true;
    }

    fn is_ready(&self, at: usize) -> bool {
        self.targets[at].breaker.peek(self.now).shut.is_none()
    }

    fn expected(&self, at: usize) -> Option<Duration> {
        self.targets[at].learned.p95()
    }

    fn usual(&self, at: usize) -> Option<Duration> {
        self.targets[at].learned.p50()
    }

    fn withdraw(&mut self, at: usize) -> bool {
        let probing = self.permits[at].as_ref().is_some_and(Permit::is_probe);
        !self.forced[at] && !probing && self.providers[self.targets[at].provider].budget.withdraw()
    }

    fn has_asked(&self, at: usize) -> bool {
        self.asked.contains(&self.targets[at].provider)
    }

    fn has_other_endpoint(&self, _at: usize) -> bool {
        false
    }

    fn is_larger(&self, at: usize, than: usize) -> bool {
        at > than
    }

    fn is_same_model(&self, at: usize, other: usize) -> bool {
        at == other
    }
}

/// What happens to a request.
enum Event {
    Arrives,
    /// An attempt at a target ends: with a fault, or with content.
    Ends(usize, Result<(), (Fault, Option<Duration>)>, Duration),
    /// A pause before a target is over.
    Resumes(usize),
    OutOfTime,
}

struct Simulation {
    base: Instant,
    now: Duration,
    chance: Chance,
    targets: Vec<Target>,
    providers: Vec<Provider>,
    requests: Vec<Request>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: HashMap<u64, (usize, Event)>,
    serial: u64,
    /// What goes wrong.
    faults: &'static [Fault],
    /// The shortest deadline, in milliseconds.
    shortest: u64,
}

impl Simulation {
    fn new(seed: u64, ill: [[u64; 4]; 3], faults: &'static [Fault], shortest: u64) -> Self {
        let settings = Settings {
            open: Duration::from_secs(2),
            open_max: Duration::from_secs(8),
            ..Settings::default()
        };
        let target = |(i, ill): (usize, [u64; 4])| Target {
            // The first two are models of one provider.
            provider: i / 2,
            breaker: Arc::new(Breaker::new(settings)),
            learned: Learned::new(),
            ill,
            attempts: [0; 4],
            answered: [0; 4],
        };
        let provider = |_| Provider {
            budget: Budget::new(SHARE),
            requests: 0,
            attempts: 0,
        };
        Self {
            base: Instant::now(),
            now: Duration::ZERO,
            chance: Chance(seed),
            targets: ill.into_iter().enumerate().map(target).collect(),
            providers: (0..2).map(provider).collect(),
            requests: Vec::new(),
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            serial: 0,
            faults,
            shortest,
        }
    }

    fn plan(&mut self, at: Duration, request: usize, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial)));
        self.events.insert(self.serial, (request, event));
    }

    fn run(&mut self) {
        let usual = Kinds::ERROR.and(Kinds::RATE_LIMIT).and(Kinds::IF_LARGER);
        let mut at = Duration::ZERO;
        for request in 0..REQUESTS {
            at += self.chance.millis(1, 40);
            let leg = |i| Leg {
                is_target: i == 0,
                on: usual,
            };
            self.requests.push(Request {
                course: Course::new((0..3).map(leg), RETRIES),
                started: at,
                deadline: self.chance.millis(self.shortest, 20_000),
                permits: (0..3).map(|_| None).collect(),
                forced: vec![false; 3],
                asked: Vec::new(),
                attempts: 0,
                silent: Vec::new(),
                ended: None,
            });
            self.plan(at, request, Event::Arrives);
            let out = at + self.requests[request].deadline;
            self.plan(out, request, Event::OutOfTime);
        }
        while let Some(Reverse((at, serial))) = self.queue.pop() {
            assert!(at >= self.now, "time goes forward");
            self.now = at;
            let (request, event) = self.events.remove(&serial).expect("an event of its own");
            self.happens(request, event);
        }
    }

    fn happens(&mut self, at: usize, event: Event) {
        if self.requests[at].ended.is_some() {
            return;
        }
        match event {
            Event::Arrives => {
                let step = self.glance(at, |course, elapsed, deadline, view| {
                    course.next(elapsed, deadline, view)
                });
                self.follow(at, step);
            }
            Event::Resumes(target) => {
                let now = self.instant();
                let request = &mut self.requests[at];
                if request.permits[target].is_none() {
                    request.permits[target] = Some(self.targets[target].breaker.force(now));
                }
                let step = request.course.resumed(target);
                self.follow(at, step);
            }
            Event::Ends(target, result, took) => self.ends(at, target, result, took),
            Event::OutOfTime => {
                // Whoever is still asked is cut off; that is no verdict.
                self.requests[at].permits.iter_mut().for_each(|p| *p = None);
                self.end(at, End::OutOfTime);
            }
        }
    }

    fn instant(&self) -> Instant {
        self.base + self.now
    }

    fn glance<R>(
        &mut self,
        at: usize,
        f: impl FnOnce(&mut Course, Duration, Duration, &mut Glance<'_>) -> R,
    ) -> R {
        let now = self.instant();
        let request = &mut self.requests[at];
        let elapsed = self.now - request.started;
        let mut view = Glance {
            now,
            targets: &self.targets,
            providers: &self.providers,
            permits: &mut request.permits,
            forced: &mut request.forced,
            asked: &request.asked,
        };
        f(&mut request.course, elapsed, request.deadline, &mut view)
    }

    fn follow(&mut self, at: usize, step: Step) {
        match step {
            Step::End(_) => self.end(at, End::Failed),
            Step::Wait { at: target, pause } => {
                let then = self.now + pause;
                self.plan(then, at, Event::Resumes(target));
            }
            Step::Try { at: target, .. } => self.try_at(at, target),
        }
    }

    fn try_at(&mut self, at: usize, target: usize) {
        let left = {
            let request = &self.requests[at];
            request.started + request.deadline - self.now
        };
        assert!(left > Duration::ZERO, "an attempt after the deadline");
        let cut = self.glance(at, |course, _, _, view| {
            course.cut_after(target, left, Duration::from_secs(5), view)
        });
        let request = &mut self.requests[at];
        assert!(
            !request.silent.contains(&target),
            "a silent target is asked again"
        );
        assert!(request.permits[target].is_some(), "nobody let it through");
        request.attempts += 1;
        let provider = self.targets[target].provider;
        if !request.asked.contains(&provider) {
            request.asked.push(provider);
            self.providers[provider].requests += 1;
            self.providers[provider].budget.deposit();
        }
        let account = &mut self.providers[provider];
        account.attempts += 1;
        #[allow(clippy::cast_precision_loss, reason = "small counts")]
        let allowed = account.requests as f64 * (1.0 + SHARE) + FLOOR;
        #[allow(clippy::cast_precision_loss, reason = "small counts")]
        let made = account.attempts as f64;
        assert!(made <= allowed, "{made} attempts, {allowed} allowed");
        let (took, result) = self.outcome(target);
        match cut.filter(|cut| *cut < took) {
            Some(cut) => {
                let fault = (Fault::SlowStart, None);
                self.plan(self.now + cut, at, Event::Ends(target, Err(fault), cut));
            }
            None => self.plan(self.now + took, at, Event::Ends(target, result, took)),
        }
    }

    /// A request per 20 ms: four phases of about 50 s each.
    fn phase(&self) -> usize {
        usize::try_from(self.now.as_secs() / 50).unwrap().min(3)
    }

    /// What an attempt comes to, and when.
    fn outcome(&mut self, target: usize) -> (Duration, Result<(), (Fault, Option<Duration>)>) {
        let phase = self.phase();
        self.targets[target].attempts[phase] += 1;
        if self.chance.below(1000) >= self.targets[target].ill[phase] {
            return (self.chance.millis(20, 400), Ok(()));
        }
        let all = self.faults;
        let fault = all[usize::try_from(self.chance.below(all.len() as u64)).unwrap()];
        let took = match fault {
            Fault::Silent | Fault::SlowStart => self.chance.millis(3_000, 60_000),
            Fault::ConnectSilent => self.chance.millis(1_000, 5_000),
            _ => self.chance.millis(1, 300),
        };
        let after = match fault.rule().again {
            Again::Later if self.chance.below(2) == 0 => Some(self.chance.millis(100, 9_000)),
            _ => None,
        };
        (took, Err((fault, after)))
    }

    fn ends(
        &mut self,
        at: usize,
        target: usize,
        result: Result<(), (Fault, Option<Duration>)>,
        took: Duration,
    ) {
        let now = self.instant();
        let (fault, retry_after) = match result {
            Ok(()) => {
                let phase = self.phase();
                self.targets[target].learned.record(took);
                self.targets[target].answered[phase] += 1;
                if let Some(permit) = self.requests[at].permits[target].take() {
                    permit.succeeded(now);
                }
                return self.end(at, End::Served);
            }
            Err(fault) => fault,
        };
        if fault.rule().again == Again::Never && fault.rule().feeds == Feeds::Both {
            self.requests[at].silent.push(target);
        }
        let chance = self.chance.next();
        let step = self.glance(at, |course, elapsed, deadline, view| {
            let report = Report {
                fault,
                retry_after,
                elapsed,
                deadline,
                chance,
            };
            course.failed(target, &report, view)
        });
        if self.requests[at].course.has_left(target)
            && let Some(permit) = self.requests[at].permits[target].take()
            && fault.rule().feeds != Feeds::Nobody
        {
            permit.failed(now, retry_after);
        }
        self.follow(at, step);
    }

    fn end(&mut self, at: usize, end: End) {
        let request = &mut self.requests[at];
        assert!(request.ended.is_none(), "two outcomes for one request");
        assert!(
            self.now <= request.started + request.deadline,
            "an outcome after the deadline"
        );
        assert!(
            request.attempts <= request.permits.len() * (1 + RETRIES),
            "{} attempts",
            request.attempts
        );
        request.permits.iter_mut().for_each(|permit| *permit = None);
        request.ended = Some(end);
    }

    fn count(&self, end: End) -> usize {
        let of = |request: &&Request| request.ended == Some(end);
        self.requests.iter().filter(of).count()
    }
}

#[test]
fn ten_thousand_requests_have_one_outcome_each_in_time_and_within_their_budgets() {
    for seed in 0..8 {
        // All is well; the first is down; everybody is ill; the first is half ill.
        let ill = [[0, 1000, 600, 500], [20, 20, 600, 20], [20, 20, 600, 20]];
        let mut simulation = Simulation::new(seed, ill, &Fault::ALL, 500);
        simulation.run();
        let all = simulation.requests.len();
        let ended = [End::Served, End::Failed, End::OutOfTime].map(|end| simulation.count(end));
        assert_eq!(ended.iter().sum::<usize>(), all, "seed {seed}");
        assert_eq!(all, REQUESTS);
        // Three quarters of the time somebody is well.
        assert!(ended[0] > all * 3 / 4, "seed {seed}: {ended:?}");
    }
}

#[test]
fn in_an_outage_the_fallback_serves_and_the_primary_is_asked_a_handful_of_times() {
    for seed in 0..8 {
        let ill = [[0, 1000, 1000, 0], [0; 4], [0; 4]];
        let down = &[Fault::Connect, Fault::Reset, Fault::Server];
        let mut simulation = Simulation::new(seed, ill, down, 3_000);
        simulation.run();
        assert_eq!(simulation.count(End::Served), REQUESTS, "seed {seed}");
        let attempts: usize = simulation.requests.iter().map(|r| r.attempts).sum();
        assert!(
            attempts <= REQUESTS + REQUESTS / 100,
            "seed {seed}: {attempts} attempts for {REQUESTS} requests"
        );
        // 100 s of outage: a few failures until it opens, then a probe each 2 to 8 s.
        let primary = &simulation.targets[0];
        let asked = primary.attempts[1] + primary.attempts[2];
        assert!(
            (15..60).contains(&asked),
            "seed {seed}: {asked} attempts in the outage"
        );
        // Back within a probe's interval, 8 of 50 s.
        let back = primary.answered[3];
        let fallback = simulation.targets[1].answered[3] + simulation.targets[2].answered[3];
        assert!(back > fallback * 4, "seed {seed}: {back} and {fallback}");
    }
}
