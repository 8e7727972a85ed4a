//! Gateways over several backends: what their workloads are compared with, and what they hold for idle clients.

use std::time::Duration;

use crate::accounting::{descriptors, resident};
use crate::drive::streams::{Hold, Past, hold};
use crate::failure::{Failure, Outcome};
use crate::mcp::Era;
use crate::proxy::{Contender, Ground, Kind, Place, Scene};

/// Idle sessions held.
const SESSIONS: usize = 10_000;

/// Something that is held for each of many idle clients.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    /// What it is, many of it.
    pub words: &'static str,
    /// The most bytes that one may take.
    pub most: u64,
    what: Hold,
    /// Sockets of the gateway that one takes, where that must be so.
    sockets: usize,
}

/// All that is held, one after the other, each by a fresh gateway.
pub const HELD: [Holding; 4] = [
    Holding { words: "idle sessions", most: 2 << 10, what: Hold::Sessions(Past::None), sockets: 0 },
    Holding { words: "idle sessions that called", most: 2 << 10, what: Hold::Sessions(Past::Called), sockets: 0 },
    Holding {
        words: "idle streams, none upstream",
        most: 60 << 10,
        what: Hold::Streams(Era::Legacy, Past::None),
        sockets: 1,
    },
    Holding {
        words: "idle streams, one upstream each",
        most: 100 << 10,
        what: Hold::Streams(Era::Legacy, Past::Called),
        sockets: 2,
    },
];

/// What a gateway held.
#[derive(Clone, Debug)]
pub struct Held {
    /// The contender's name.
    pub name: String,
    /// What.
    pub what: Holding,
    /// How many.
    pub count: usize,
    /// Resident memory before, in bytes.
    pub before: u64,
    /// While all were held.
    pub open: u64,
    /// When all had been let go.
    pub after: u64,
}

impl Held {
    /// Bytes for each.
    pub fn each(&self) -> f64 {
        self.open.saturating_sub(self.before) as f64 / self.count.max(1) as f64
    }
}

/// The state of a gateway at one moment.
struct Reading {
    memory: u64,
    sockets: usize,
    sessions: u64,
}

/// Everybody who takes part: each gateway twice, since what federation costs is what the same binary needs beyond a call
/// with one backend.
pub fn contenders(contenders: &[Contender]) -> Vec<Contender> {
    let in_front = |contender: &Contender| Contender { scene: Scene::Federation, ..contender.clone() };
    let alone =
        |contender: &Contender| Contender { name: format!("{}, one backend", contender.name), ..contender.clone() };
    let gateways = contenders.iter().filter(|contender| matches!(contender.kind, Kind::Lockgate(_)));
    contenders.iter().map(in_front).chain(gateways.map(alone)).collect()
}

/// Measures one of [`HELD`] in a fresh process; `streams` is how many streams are held.
pub fn held(contender: &Contender, ground: &Ground, what: Holding, streams: usize, settle: Duration) -> Outcome<Held> {
    let mut running = contender.start(ground)?;
    std::thread::sleep(settle);
    let count = if matches!(what.what, Hold::Sessions(_)) { SESSIONS } else { streams };
    let meter = || {
        let sessions =
            running.sessions().ok_or_else(|| Failure::said("the gateway does not say how many sessions it holds"))?;
        Ok(Reading { memory: resident(&running.pids)?, sockets: descriptors(&running.pids)?, sessions })
    };
    let held = hold(&running.target(Place::Whole)?, what.what, count, settle, meter)
        .map_err(|failure| Failure::said(format!("{}, {}: {failure}", contender.name, what.words)))?;
    running.check()?;
    let (before, open) = (held.before, held.open);
    if open.sessions.saturating_sub(before.sessions) != count as u64 {
        let why = format!("{}, {}: the gateway holds {} sessions", contender.name, what.words, open.sessions);
        return Err(Failure::said(why));
    }
    // A few of those that calls went over may still wait in a pool.
    let sockets = open.sockets.saturating_sub(before.sockets);
    if what.sockets > 0 && !(count * what.sockets..count * (what.sockets + 1)).contains(&sockets) {
        let why = format!("{}, {}: the gateway has {sockets} more sockets", contender.name, what.words);
        return Err(Failure::said(why));
    }
    let name = contender.name.clone();
    Ok(Held { name, what, count, before: before.memory, open: open.memory, after: held.after.memory })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Gateway;

    #[test]
    fn gateways_take_part_with_many_backends_and_with_one() {
        let of = |name: &str, kind| Contender { name: name.to_owned(), kind, scene: Scene::One };
        let gateway = Kind::Lockgate(Gateway { binary: "x".into(), http2: false });
        let all = contenders(&[of("direct", Kind::Direct), of("nginx", Kind::Nginx), of("a", gateway)]);
        let names: Vec<(&str, Scene)> = all.iter().map(|one| (one.name.as_str(), one.scene)).collect();
        let federation = ["direct", "nginx", "a"].map(|name| (name, Scene::Federation));
        assert_eq!(names, [&federation[..], &[("a, one backend", Scene::One)]].concat());
    }

    #[test]
    fn each_is_what_came_on_top() {
        let held = |before, open| Held { name: String::new(), what: HELD[0], count: 10, before, open, after: 0 };
        assert!((held(100, 300).each() - 20.0).abs() < f64::EPSILON);
        assert!(held(300, 100).each().abs() < f64::EPSILON);
    }
}
