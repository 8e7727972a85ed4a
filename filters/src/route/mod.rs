//! `route`: which virtual server is this path?
//!
//! Paths are compared as they were sent: `/mcp` and `/%6dcp` are two paths, so nobody can reach a server around a rule
//! that names its path.

use crate::door::Door;
use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::filter::{Filter, Head, Verdict};
use crate::virtual_server::VirtualServer;
use std::collections::HashMap;
use std::sync::Arc;

/// The paths of one listener.
#[derive(Debug)]
pub struct Route {
    paths: HashMap<Box<str>, (Arc<VirtualServer>, Door)>,
}

impl Route {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "route";

    /// A table of paths, each with the virtual server that lives there, and how one comes in.
    pub fn new(paths: impl IntoIterator<Item = (Box<str>, Arc<VirtualServer>, Door)>) -> Route {
        Route { paths: paths.into_iter().map(|(path, server, door)| (path, (server, door))).collect() }
    }
}

impl Filter for Route {
    fn name(&self) -> &'static str {
        Route::NAME
    }

    fn request(&self, head: &Head<'_>, exchange: &mut Exchange) -> Verdict {
        match self.paths.get(head.path) {
            Some((server, door)) => {
                exchange.server = Some(Arc::clone(server));
                exchange.door = *door;
                door.admits(head.method, Route::NAME).map_or_else(Verdict::from, |()| Verdict::Continue)
            }
            None => Refusal::new(Fault::UnknownPath, Route::NAME).into(),
        }
    }
}
