//! Lua's windows are Rust's, on a real redis-server.

use super::*;
use crate::admission::period;
use crate::units::{Calendar, Moment};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Redis {
    child: Child,
    directory: PathBuf,
}

impl Redis {
    fn start() -> Self {
        let path = std::env::var_os("PATH").unwrap();
        let mut found = std::env::split_paths(&path).map(|place| place.join("redis-server"));
        let program = found.find(|place| place.exists());
        let program = program.expect("redis-server is not there; `make test` brings it");
        let directory = format!("tollgate-redis-{}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        std::fs::create_dir_all(&directory).unwrap();
        let mut command = Command::new(&program);
        let usr = program.parent().and_then(|bin| bin.parent()).unwrap();
        if !usr.starts_with("/usr") {
            // Unpacked rather than installed, it has its libraries beside it.
            let lib = format!("lib/{}-linux-gnu", std::env::consts::ARCH);
            command.env("LD_LIBRARY_PATH", usr.join(lib));
        }
        let child = command
            .args(["--port", "0", "--unixsocket", "redis.sock", "--save", ""])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    fn connect(&self) -> redis::Connection {
        let socket = self.directory.join("redis.sock");
        let client = redis::Client::open(format!("redis+unix://{}", socket.display())).unwrap();
        let began = Instant::now();
        loop {
            match client.get_connection() {
                Ok(connection) => return connection,
                Err(e) => assert!(began.elapsed() < Duration::from_secs(60), "{e}"),
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn windows_begin_and_end_where_they_do_in_memory() {
    const TRIES: u64 = 300;
    let redis = Redis::start();
    let mut connection = redis.connect();
    let script = Script::new(concat!(
        include_str!("window.lua"),
        "local w, told = window(1), {} \
         for i = 4, #ARGV do \
           local from = start(w, tonumber(ARGV[i])) \
           told[#told + 1] = from \
           told[#told + 1] = finish(w, from) or -1 \
         end \
         return told"
    ));
    let rolling = [1, 7, 60, 3_600, 86_400, 30 * 86_400].map(Duration::from_secs);
    let calendar = Calendar::ALL.map(Window::Calendar).into_iter();
    let all = calendar.chain(rolling.map(Window::Rolling));
    for kind in all.chain([Window::Total]) {
        // From 1970 to 2157, by steps that meet all days of the week and the month.
        let around = |n: u64| {
            let at = n * 19_700_123_456_789;
            let end = period::end(kind, period::start(kind, Moment(at)));
            let Moment(end) = end.unwrap_or(Moment(at + 1));
            [at, end - 1, end]
        };
        let moments: Vec<u64> = (0..TRIES).flat_map(around).collect();
        let mut call = script.prepare_invoke();
        window(&mut call, kind, period::width(kind));
        for at in &moments {
            call.arg(*at);
        }
        let told: Vec<i64> = call.invoke(&mut connection).unwrap();
        let both = |at: &u64| {
            let from = period::start(kind, Moment(*at));
            let end = period::end(kind, from).map(|Moment(end)| i64::try_from(end).unwrap());
            [i64::try_from(from).unwrap(), end.unwrap_or(-1)]
        };
        let expected: Vec<i64> = moments.iter().flat_map(both).collect();
        assert_eq!(told, expected, "{kind:?}");
    }
}
