//! Limits of a child: memory, open files, CPU time.
//!
//! Memory is held by a control group of its own (cgroup v2) where the gateway may make one: the kernel ends the child when
//! it cannot give it more. Where it may not, the resident memory of the child's session is looked at now and then, and the
//! session is ended when it is too much: what is allocated and freed between two looks goes unseen. Files and CPU time are
//! limits of each process (`prlimit`), set right after the start; what the child starts inherits them.

use crate::upstream::settings::CommandSettings;
use rlimit::Resource;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// How long a process goes on after its CPU time ran out and it was told so (`SIGXCPU`), in seconds.
const CPU_GRACE: u64 = 5;

/// What holds a child's memory.
#[derive(Debug)]
pub(super) enum Cage {
    /// Nothing: no limit is set.
    Open,
    /// A control group, which ends with this value.
    Group(Group),
    /// Whoever looks at it now and then.
    Watched,
}

impl Cage {
    /// What can hold this much memory here. Blocks.
    pub(super) fn holding(memory: Option<u64>) -> Cage {
        let Some(bytes) = memory else { return Cage::Open };
        candidates(Path::new(CGROUPS), &fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
            .into_iter()
            .find_map(|parent| Group::below(&parent, bytes))
            .map_or(Cage::Watched, Cage::Group)
    }

    /// What operators are told holds.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Cage::Open => "none",
            Cage::Group(_) => "cgroup",
            Cage::Watched => "polling",
        }
    }

    /// Puts a child in. Blocks.
    pub(super) fn admit(&self, pid: u32) -> io::Result<()> {
        match self {
            Cage::Group(group) => fs::write(group.path.join("cgroup.procs"), pid.to_string()),
            Cage::Open | Cage::Watched => Ok(()),
        }
    }

    /// Ends all that is in it, wherever it went. Blocks.
    pub(super) fn clear(&self) {
        if let Cage::Group(group) = self {
            // Older kernels do not have it; the session is ended besides.
            let _ = fs::write(group.path.join("cgroup.kill"), "1");
        }
    }
}

/// A control group of one child.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
}

impl Group {
    /// A new group below another; `None` where none can be made that limits memory.
    fn below(parent: &Path, bytes: u64) -> Option<Group> {
        let random: [u8; 8] = lockgate_filters::random::array().ok()?;
        let path = parent.join(format!("lockgate-{:016x}", u64::from_le_bytes(random)));
        // It may be delegated already, or not be ours to delegate: whether the limit is there tells.
        let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
        fs::create_dir(&path).ok()?;
        let group = Group { path };
        let limit = group.path.join("memory.max");
        if !limit.exists() || fs::write(&limit, bytes.to_string()).is_err() {
            return None;
        }
        // Otherwise it would be slowed down instead of ended. Not every kernel has them.
        let _ = fs::write(group.path.join("memory.swap.max"), "0");
        let _ = fs::write(group.path.join("memory.oom.group"), "1");
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Refused while a process is left in it; then it stays until the gateway's own group goes.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Below which groups a child's may be made: the gateway's own, or the one above, where the gateway's own was made only for
/// itself (systemd `DelegateSubgroup=`).
fn candidates(root: &Path, own: &str) -> Vec<PathBuf> {
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    if path.split('/').any(|part| part == "..") || !root.join("cgroup.controllers").exists() {
        return Vec::new();
    }
    let own = root.join(path);
    let above = own.parent().filter(|above| above.starts_with(root) && *above != root).map(Path::to_path_buf);
    [own].into_iter().chain(above).collect()
}

/// Limits the files and the CPU time of a process that has just been started.
pub(super) fn limit(pid: u32, settings: &CommandSettings) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    let set = |resource: Resource, soft: u64, hard: u64| {
        let (_, most) = resource.get()?;
        rlimit::prlimit(pid, resource, Some((soft.min(most), hard.min(most))), None)
    };
    if let Some(files) = settings.open_files {
        set(Resource::NOFILE, files, files)?;
    }
    if let Some(time) = settings.cpu_time {
        let seconds = time.as_secs().max(1);
        set(Resource::CPU, seconds, seconds.saturating_add(CPU_GRACE))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_below_the_gateways_own() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        assert!(candidates(root, "0::/a/b\n").is_empty(), "no cgroup v2");
        fs::write(root.join("cgroup.controllers"), "memory").expect("a file");
        assert_eq!(candidates(root, "1:cpu:/x\n0::/a/b\n"), [root.join("a/b"), root.join("a")]);
        assert_eq!(candidates(root, "0::/a\n"), [root.join("a")]);
        assert_eq!(candidates(root, "0::/\n"), [root.to_path_buf()]);
        assert!(candidates(root, "0::/../x\n").is_empty());
        assert!(candidates(root, "").is_empty());
    }

    #[test]
    fn a_group_that_cannot_limit_is_none() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(Group::below(root.path(), 1 << 20).is_none());
        assert_eq!(
            fs::read_dir(root.path())
                .expect("a folder")
                .filter(|entry| { entry.as_ref().is_ok_and(|entry| entry.path().is_dir()) })
                .count(),
            0,
            "nothing is left behind"
        );
    }
}
