//! Listeners, the admin listener, and the addresses they share a machine with.

use super::Resolver;
use super::files::Pem;
use crate::config::diagnostic::Finding;
use crate::config::file::{AdminFile, ListenerFile};
use crate::config::model::{Admin, Listener};
use crate::config::path::KeyPath;
use crate::config::sections::{ClientCertificates, ListenerTls, ProxyProtocol};
use crate::config::values::{AllowedHost, AllowedOrigin, ListenAddress, Name, PublicUrl};
use indexmap::IndexMap;

/// The most listeners: every virtual server may be offered on each.
const LISTENERS_MAX: usize = 256;

/// The least characters of an admin token.
const TOKEN_LENGTH_MIN: usize = 16;

/// A listener that is known by its address, whether or not the rest of it is right.
pub(super) struct Bound<T> {
    pub address: Option<ListenAddress>,
    pub resolved: Option<T>,
}

impl Resolver<'_> {
    /// The listeners of a file.
    pub(super) fn listeners(&mut self, listeners: IndexMap<Name, ListenerFile>) -> IndexMap<Name, Bound<Listener>> {
        let path = KeyPath::from(["listeners"]);
        if listeners.is_empty() && !self.is_pruned(&path) {
            self.note(
                Finding::error(path.clone(), "there is no listener")
                    .at_key()
                    .help("add `listeners: { main: { address: 127.0.0.1:8080 } }`"),
            );
        }
        self.check_count(&path, listeners.len(), LISTENERS_MAX);
        listeners
            .into_iter()
            .take(LISTENERS_MAX)
            .map(|(name, listener)| {
                let path = path.key(&name);
                let address = listener.address;
                (name, Bound { address, resolved: self.listener(&path, listener) })
            })
            .collect()
    }

    fn listener(&mut self, path: &KeyPath, file: ListenerFile) -> Option<Listener> {
        if file.address.is_none() {
            self.missing(path, "address", "add the IP address and port to bind, such as `address: 127.0.0.1:8080`");
        }
        // Where the address is not known, nothing can be asked for that depends on it.
        let loopback = file.address.is_none_or(ListenAddress::is_loopback);
        let public_url_is_derived = file.public_url.is_none();
        let public_url = self.public_url(path, &file);
        let allowed_hosts = self.allowed_hosts(path, file.allowed_hosts, loopback, public_url.as_ref());
        if file.proxy_protocol != ProxyProtocol::Off
            && file.trusted_proxies.is_empty()
            && !self.is_pruned(&path.key("trusted_proxies"))
        {
            self.note(
                Finding::error(path.key("proxy_protocol"), "the PROXY protocol is believed only from trusted proxies")
                    .help("list the networks of your proxies in `trusted_proxies`"),
            );
        }
        let tls = file.tls.map(|tls| {
            let path = path.key("tls");
            let authorities = path.key("client_ca");
            if tls.client_certificates.is_some() && tls.client_ca.is_none() && !self.is_pruned(&authorities) {
                let message = "no client certificate would be believed: `client_ca` is missing";
                self.note(Finding::error(path.key("client_certificates"), message));
            }
            let client_ca = tls.client_ca.map(|file| self.pem(&authorities, file, Pem::Certificates));
            let asked = client_ca.is_some().then_some(ClientCertificates::Optional);
            ListenerTls {
                certificate: self.pem(&path.key("certificate"), tls.certificate, Pem::Certificates),
                key: self.pem(&path.key("key"), tls.key, Pem::PrivateKey),
                client_certificates: tls.client_certificates.or(asked),
                client_ca,
            }
        });
        let allowed_origins = match file.allowed_origins {
            Some(origins) => origins,
            None if loopback => AllowedOrigin::loopback(),
            None => Vec::new(),
        };
        Some(Listener {
            address: file.address?,
            public_url: public_url?,
            tls,
            allowed_hosts,
            allowed_origins,
            trusted_proxies: file.trusted_proxies,
            proxy_protocol: file.proxy_protocol,
            http2: file.http2,
            acknowledge_no_auth: file.acknowledge_no_auth,
            public_url_is_derived,
        })
    }

    /// The public URL: as written, or of the address where only this machine can come.
    fn public_url(&mut self, path: &KeyPath, file: &ListenerFile) -> Option<PublicUrl> {
        let here = path.key("public_url");
        if let Some(url) = &file.public_url {
            if self.is_interpolated(&here) {
                self.masked.insert(path.key("allowed_hosts"));
            }
            return Some(url.clone());
        }
        if self.is_interpolated(&path.key("address")) {
            self.masked.insert(here.clone());
            self.masked.insert(path.key("allowed_hosts"));
        }
        let address = file.address?;
        if address.is_loopback() {
            let tls = file.tls.is_some() || self.is_pruned(&path.key("tls"));
            return PublicUrl::of_address(address, tls).ok();
        }
        if !self.is_pruned(&here) {
            self.note(Finding::error(here, "`public_url` is missing: this address is not loopback").at_key().help(
                "add the URL by which clients reach this listener, such as `public_url: https://gw.example.com`",
            ));
        }
        None
    }

    /// The hosts that are let in: as written, or the names of this machine; that of the public URL always.
    fn allowed_hosts(
        &mut self,
        path: &KeyPath,
        written: Option<Vec<AllowedHost>>,
        loopback: bool,
        public_url: Option<&PublicUrl>,
    ) -> Vec<AllowedHost> {
        let path = path.key("allowed_hosts");
        let mut hosts = match written {
            Some(hosts) => {
                if hosts.is_empty() {
                    self.note(
                        Finding::error(path, "an empty list lets nobody in").help("list the hosts clients ask for"),
                    );
                }
                hosts
            }
            None if loopback => AllowedHost::loopback(),
            None => {
                if !self.is_pruned(&path) {
                    self.note(
                        Finding::error(path, "`allowed_hosts` is missing: this address is not loopback")
                            .at_key()
                            .help("list the hosts clients ask for, such as `allowed_hosts: [gw.example.com]`"),
                    );
                }
                Vec::new()
            }
        };
        if let Some(host) = public_url.and_then(PublicUrl::host).map(AllowedHost::any_port)
            && !hosts.contains(&host)
        {
            hosts.push(host);
        }
        hosts
    }

    /// The admin listener of a file.
    pub(super) fn admin(&mut self, file: AdminFile) -> Bound<Admin> {
        let path = KeyPath::from(["admin"]);
        let address = file.address;
        let allowed_hosts = self.allowed_hosts(&path, file.allowed_hosts, address.is_loopback(), None);
        if let Some(token) = &file.token {
            let token = token.expose();
            if token.len() < TOKEN_LENGTH_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                self.note(
                    Finding::error(
                        path.key("token"),
                        format!(
                            "the admin token has at least {TOKEN_LENGTH_MIN} visible ASCII characters and no spaces"
                        ),
                    )
                    .help("make one with `openssl rand -hex 32`"),
                );
            }
        }
        self.check_admin_limits(&path.key("limits"), &file.limits);
        let (metrics, limits) = (file.metrics, file.limits);
        let resolved = Some(Admin { address, token: file.token, metrics, allowed_hosts, limits });
        Bound { address: Some(address), resolved }
    }

    /// Says which listeners cannot be bound beside each other.
    pub(super) fn check_clashes(
        &mut self,
        listeners: &IndexMap<Name, Bound<Listener>>,
        admin: &Bound<Admin>,
        cluster: Option<ListenAddress>,
    ) {
        let of = |path: KeyPath, what: String, address: Option<ListenAddress>| Some((path, what, address?));
        let admin = of(KeyPath::from(["admin", "address"]), "the admin listener".to_owned(), admin.address);
        let listeners = listeners.iter().map(|(name, bound)| {
            of(KeyPath::from(["listeners", name.as_str(), "address"]), format!("listener `{name}`"), bound.address)
        });
        let cluster = of(KeyPath::from(["cluster", "listen"]), "other nodes".to_owned(), cluster);
        // The admin listener has its address whether or not anything is said of it, so it comes first.
        let all: Vec<_> = [admin].into_iter().chain(listeners).chain([cluster]).flatten().collect();
        for (index, (path, _, address)) in all.iter().enumerate() {
            let clash = all.iter().take(index).find(|(_, _, earlier)| address.clashes_with(*earlier));
            if let Some((_, earlier, _)) = clash {
                self.note(Finding::error(path.clone(), format!("this address is taken by {earlier}")));
            }
        }
    }
}
