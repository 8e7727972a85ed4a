//! Which processes belong to a child, and how much memory they use, as `/proc` tells it.
//!
//! A child leads a session of its own. What it starts stays in that session, even in another process group, unless it
//! leaves it on purpose; so a session is what is measured and ended.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::collections::HashMap;
use std::fs;

/// The processes of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Session {
    /// Their process groups.
    pub(super) groups: Vec<i32>,
    /// Their resident memory in bytes; what they share is counted for each.
    pub(super) resident: u64,
}

/// All sessions that have processes, by the id of their leader. Blocks while it reads.
pub(super) fn sessions() -> HashMap<i32, Session> {
    let mut sessions: HashMap<i32, Session> = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return sessions };
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096);
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        // A process that ends meanwhile has nothing to tell.
        let Some(stat) = fs::read_to_string(entry.path().join("stat")).ok().as_deref().and_then(parse) else {
            continue;
        };
        let session = sessions.entry(stat.session).or_default();
        session.resident = session.resident.saturating_add(stat.pages.saturating_mul(page));
        if !session.groups.contains(&stat.group) {
            session.groups.push(stat.group);
        }
    }
    sessions
}

/// Ends whatever is left of a session, at once. Blocks while it looks.
pub(super) fn kill_session(leader: i32) {
    // First those that are found without looking.
    let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    let left = sessions().remove(&leader).unwrap_or_default();
    for group in left.groups {
        // It may just have ended by itself.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    group: i32,
    session: i32,
    pages: u64,
}

/// Reads `/proc/PID/stat` (proc_pid_stat(5)); the second field is a name that may hold anything, but ends with the last
/// parenthesis. Processes that have ended and wait to be reaped are left out.
fn parse(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    let _parent = fields.next()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // Fields 7 to 23 stand between the session and the resident pages.
    let pages = fields.nth(17)?.parse().ok()?;
    Some(Stat { group, session, pages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "42 (a) b) c) S 1 40 39 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 1 0 555 9999 77 18446744073709551615 1";
        assert_eq!(parse(stat), Some(Stat { group: 40, session: 39, pages: 77 }));
        assert_eq!(parse(&stat.replace(") S ", ") Z ")), None);
        assert_eq!(parse("42 (x) S 1"), None);
    }

    #[test]
    fn this_process_is_among_them() {
        let own = nix::unistd::getsid(None).expect("a session").as_raw();
        assert!(sessions().get(&own).is_some_and(|session| session.resident > 1 << 20));
    }
}
