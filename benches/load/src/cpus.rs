//! Which CPU runs what: the proxy alone on one, generator and backend on another.
//!
//! A child inherits the affinity of the thread that starts it, so pinning needs no `taskset` and no unsafe hook.

use std::process::{Child, Command};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::failure::{During, Failure, Outcome};

/// CPUs this process may use.
pub fn allowed() -> Outcome<Vec<usize>> {
    let set = sched_getaffinity(None).during("read the CPU affinity")?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Binds the calling thread to one CPU.
pub fn pin(cpu: usize) -> Outcome<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).during(format!("bind to CPU {cpu}"))
}

/// Starts a command on one CPU; the calling thread is back on its own CPUs afterwards.
pub fn spawn_on(cpu: usize, command: &mut Command) -> Outcome<Child> {
    let before = sched_getaffinity(None).during("read the CPU affinity")?;
    pin(cpu)?;
    let child = command.spawn().during(format!("start {}", command.get_program().to_string_lossy()));
    sched_setaffinity(None, &before).during("return to the former CPUs")?;
    child
}

/// The CPUs of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Runs the proxy and nothing else.
    pub proxy: usize,
    /// Runs generator and backend.
    pub load: usize,
}

impl Placement {
    /// Takes the wished CPUs, or the first two allowed ones.
    pub fn choose(allowed: &[usize], proxy: Option<usize>, load: Option<usize>) -> Outcome<Self> {
        for wish in [proxy, load].into_iter().flatten() {
            if !allowed.contains(&wish) {
                return Err(Failure::said(format!("CPU {wish} is not among the allowed ones {allowed:?}")));
            }
        }
        let free = |taken: Option<usize>| allowed.iter().copied().find(|cpu| Some(*cpu) != taken);
        let proxy = match proxy {
            Some(proxy) => proxy,
            None => free(load).ok_or_else(|| Failure::said("a comparison needs two CPUs"))?,
        };
        let load = match load {
            Some(load) => load,
            None => free(Some(proxy)).ok_or_else(|| Failure::said("a comparison needs two CPUs"))?,
        };
        if proxy == load {
            return Err(Failure::said("proxy and load need different CPUs"));
        }
        Ok(Self { proxy, load })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_on_two_different_cpus() {
        assert_eq!(Placement::choose(&[3, 5, 7], None, None).unwrap(), Placement { proxy: 3, load: 5 });
        assert_eq!(Placement::choose(&[3, 5], Some(5), None).unwrap(), Placement { proxy: 5, load: 3 });
        assert_eq!(Placement::choose(&[3, 5], None, Some(3)).unwrap(), Placement { proxy: 5, load: 3 });
    }

    #[test]
    fn refuses_what_cannot_be() {
        assert!(Placement::choose(&[0], None, None).is_err());
        assert!(Placement::choose(&[0, 1], Some(1), Some(1)).is_err());
        assert!(Placement::choose(&[0, 1], Some(9), None).is_err());
    }

    #[test]
    fn some_cpu_is_allowed() {
        assert!(!allowed().unwrap().is_empty());
    }
}
