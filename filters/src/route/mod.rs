//! `route`: which virtual server is this path?
//!
//! Paths are compared as they were sent: `/mcp` and `/%6dcp` are two paths, so nobody can reach a server around a rule
//! that names its path.

use crate::authenticate::challenge::Challenges;
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
    paths: HashMap<Box<str>, Way>,
}

/// Where a path leads.
#[derive(Clone, Debug)]
pub struct Way {
    /// Which virtual server lives there.
    pub server: Arc<VirtualServer>,
    /// How one comes in.
    pub door: Door,
    /// What callers are told who are not let in; `None` where everybody is.
    pub challenges: Option<Arc<Challenges>>,
}

impl Route {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "route";

    /// A table of paths, and where each leads.
    pub fn new(paths: impl IntoIterator<Item = (Box<str>, Way)>) -> Route {
        Route { paths: paths.into_iter().collect() }
    }
}

impl Filter for Route {
    fn name(&self) -> &'static str {
        Route::NAME
    }

    fn request(&self, head: &Head<'_>, exchange: &mut Exchange) -> Verdict {
        match self.paths.get(head.path) {
            Some(Way { server, door, challenges }) => {
                exchange.server = Some(Arc::clone(server));
                exchange.door = *door;
                exchange.challenges = challenges.clone();
                door.admits(head.method, Route::NAME).map_or_else(Verdict::from, |()| Verdict::Continue)
            }
            None => Refusal::new(Fault::UnknownPath, Route::NAME).into(),
        }
    }
}
