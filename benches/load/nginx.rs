//! nginx as the yardstick: one worker, plain `proxy_pass`, everything else out of its way.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::failure::Failure;
use crate::gateway::{Contender, Gateway, free_ports, wait_until_listening};
use crate::measure::Bench;
use crate::process::{Running, log_to, pinned};

pub const CONTENDER: Contender = Contender {
    name: "nginx",
    start,
};

fn start(bench: &Bench<'_>) -> Result<Gateway, Failure> {
    let scratch = bench.scratch;
    let [port] = free_ports()?;
    let log = scratch.path("nginx.log");
    let directory = scratch.path("nginx");
    std::fs::create_dir_all(&directory).map_err(Failure::during("making nginx's directory"))?;
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    let config = config(port, bench.mock_port, &directory, &log, root);
    let config = scratch.write("nginx.conf", &config)?;

    let mut command = pinned(bench.cpus.gateway, Path::new("nginx"));
    command.arg("-e").arg(&log).arg("-c").arg(&config);
    log_to(&mut command, &log)?;
    let process = Running::start("nginx", &mut command)?;
    wait_until_listening(port, &process, &log)?;
    Ok(Gateway { port, process, log })
}

/// Bodies stay in memory (2 MB buffer), connections are never retired, and streams are not
/// buffered because the mock asks for that with `X-Accel-Buffering: no`.
fn config(port: u16, mock: u16, directory: &Path, log: &Path, root: bool) -> String {
    // Started by root, the worker would become an account that may not enter our directory.
    let user = if root { "user root;" } else { "" };
    let directory = directory.display();
    let log = log.display();
    format!(
        r#"{user}
worker_processes 1;
daemon off;
pid {directory}/pid;
error_log {log} error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 64m;
    client_body_buffer_size 2m;
    keepalive_requests 1000000000;
    upstream mock {{
        server 127.0.0.1:{mock};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"#
    )
}
