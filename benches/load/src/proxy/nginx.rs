//! The yardstick: nginx as a plain reverse proxy, one worker, tuned so that nothing but proxying costs time.

use std::path::Path;

use super::Addresses;

/// A configuration that keeps everything inside `directory`.
///
/// Kept-alive connections to both sides never expire by count, bodies and answers fit into memory, nothing is
/// logged. Event streams are not buffered because the backend says `X-Accel-Buffering: no`.
pub fn config(directory: &Path, addresses: &Addresses, root: bool) -> String {
    let directory = directory.display();
    let user = if root { "user root;\n" } else { "" };
    let (listen, backend) = (addresses.listen, addresses.backend);
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
    upstream backend {{
        server {backend};
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host {backend};
            proxy_buffer_size 128k;
            proxy_buffers 8 128k;
            proxy_busy_buffers_size 256k;
            proxy_read_timeout 3600s;
            proxy_send_timeout 3600s;
        }}
    }}
}}
"
    )
}
