//! The yardstick: nginx as a plain reverse proxy, one worker, tuned so that nothing but proxying costs time.

use std::net::SocketAddr;
use std::path::Path;

use super::{Addresses, Behind, Place};

/// A configuration that keeps everything inside `directory`.
///
/// Kept-alive connections to both sides never expire by count, bodies and answers fit into memory, nothing is
/// logged. Event streams are not buffered because the backend says `X-Accel-Buffering: no`.
pub fn config(directory: &Path, addresses: &Addresses, root: bool) -> String {
    let directory = directory.display();
    let user = if root { "user root;\n" } else { "" };
    let listen = addresses.listen;
    let (mut upstreams, mut locations) = (String::new(), String::new());
    for (name, path, backend) in behind(&addresses.behind) {
        upstreams.push_str(&upstream(name, backend));
        locations.push_str(&location(name, path, backend));
    }
    format!(
        "\
{user}daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{
    worker_connections 16384;
}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 8m;
    client_body_buffer_size 1m;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    tcp_nodelay on;
{upstreams}    server {{
        listen {listen} backlog=4096;
{locations}    }}
}}
"
    )
}

/// What stands behind each path: name, path and address.
fn behind(behind: &Behind) -> Vec<(&'static str, &'static str, SocketAddr)> {
    match behind {
        Behind::One(backend) => vec![("backend", Place::One.path(), *backend)],
        Behind::Federation { whole, part, .. } => {
            vec![("whole", Place::Whole.path(), *whole), ("part", Place::Part.path(), *part)]
        }
    }
}

fn upstream(name: &str, backend: SocketAddr) -> String {
    format!(
        "    upstream {name} {{
        server {backend};
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
"
    )
}

fn location(name: &str, path: &str, backend: SocketAddr) -> String {
    format!(
        "        location {path} {{
            proxy_pass http://{name};
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host {backend};
            proxy_buffer_size 128k;
            proxy_buffers 8 128k;
            proxy_busy_buffers_size 256k;
            proxy_read_timeout 3600s;
            proxy_send_timeout 3600s;
        }}
"
    )
}
