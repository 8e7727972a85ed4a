//! Backends and their endpoints.

use super::Resolver;
use super::files::Pem;
use crate::config::diagnostic::Finding;
use crate::config::path::KeyPath;
use crate::config::sections::{Backend, BackendTls};
use crate::config::values::{ItemPrefix, Name};
use http::HeaderValue;
use indexmap::IndexMap;
use rustls::pki_types::ServerName;

/// The most backends.
const BACKENDS_MAX: usize = 10_000;

impl Resolver<'_> {
    /// The backends of a file, their paths made absolute.
    pub(super) fn backends(&mut self, mut backends: IndexMap<Name, Backend>) -> IndexMap<Name, Backend> {
        let path = KeyPath::from(["backends"]);
        if backends.is_empty() && !self.is_pruned(&path) {
            self.note(
                Finding::error(path.clone(), "there is no backend")
                    .at_key()
                    .help("add `backends: { demo: { endpoints: [{ url: \"demo:\" }] } }`"),
            );
        }
        self.check_count(&path, backends.len(), BACKENDS_MAX);
        for (name, backend) in &mut backends {
            let path = path.key(name);
            backend.prefix.get_or_insert_with(|| ItemPrefix::of_name(name));
            self.check_transport(&path, backend);
            if let Some(command) = &mut backend.command {
                self.command(&path.key("command"), command);
            }
            self.endpoints(&path.key("endpoints"), backend);
            self.headers(&path, backend);
            let tls_endpoint = backend.endpoints.iter().any(|endpoint| endpoint.url.is_tls());
            let is_command = backend.command.is_some();
            if let Some(tls) = &mut backend.tls {
                self.backend_tls(&path.key("tls"), tls, tls_endpoint, is_command);
            }
            self.check_timeouts(&path.key("timeouts"), &backend.timeouts);
            self.check_pool(&path.key("pool"), &backend.pool);
        }
        backends
    }

    fn endpoints(&mut self, path: &KeyPath, backend: &Backend) {
        let parent = path.parent().unwrap_or_default();
        if backend.endpoints.is_empty() && backend.command.is_none() && !self.is_pruned(&parent.key("command")) {
            let help = "add `endpoints: [{ url: http://127.0.0.1:9000/mcp }]`, or `command: { run: [some-program] }`";
            self.missing(&parent, "endpoints", help);
        }
        if backend.endpoints.len() > 1 {
            self.note(
                Finding::error(self.element(path, 1), "several endpoints come with load balancing; list one")
                    .help("put a load balancer in front, or name a second backend"),
            );
        }
        for (index, endpoint) in backend.endpoints.iter().enumerate() {
            if endpoint.url.has_query() {
                self.masked.insert(self.element(path, index).key("url"));
            }
        }
    }

    fn headers(&mut self, path: &KeyPath, backend: &Backend) {
        for (index, key) in backend.forward_headers.iter().enumerate() {
            if backend.headers.contains_key(key) {
                self.note(Finding::error(
                    self.element(&path.key("forward_headers"), index),
                    "a header field is either passed on from the client or set under `headers`, not both",
                ));
            }
        }
        for (key, value) in &backend.headers {
            if HeaderValue::from_str(value.expose()).is_err() {
                let message = "the value of a header field is visible ASCII without line breaks";
                self.note(Finding::error(path.key("headers").key(key.to_string()), message));
            }
        }
    }

    fn backend_tls(&mut self, path: &KeyPath, tls: &mut BackendTls, tls_endpoint: bool, is_command: bool) {
        let endpoints = path.parent().unwrap_or_default().key("endpoints");
        if !tls_endpoint && !is_command && !self.is_pruned(&endpoints) {
            self.note(
                Finding::error(path.clone(), "`tls` is set, but the endpoint is not https")
                    .at_key()
                    .help("write the endpoint's URL with `https://`, or remove `tls`"),
            );
        }
        let (certificate, key) = (path.key("certificate"), path.key("key"));
        match (&tls.certificate, &tls.key) {
            (Some(_), None) if !self.is_pruned(&key) => {
                self.note(Finding::error(certificate.clone(), "`certificate` needs its `key`"));
            }
            (None, Some(_)) if !self.is_pruned(&certificate) => {
                self.note(Finding::error(key.clone(), "`key` needs its `certificate`"));
            }
            _ => {}
        }
        if let Some(name) = &tls.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            self.note(Finding::error(path.key("server_name"), "this is not a host name or IP address"));
        }
        tls.ca = tls.ca.take().map(|file| self.pem(&path.key("ca"), file, Pem::Certificates));
        tls.certificate = tls.certificate.take().map(|file| self.pem(&certificate, file, Pem::Certificates));
        tls.key = tls.key.take().map(|file| self.pem(&key, file, Pem::PrivateKey));
    }
}
