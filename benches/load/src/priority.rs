//! Runs everything of a comparison before other work on the machine, or after it.
//!
//! Where the kernel groups processes by session ("autogroup"), a nice value counts only within the session; the
//! group has one of its own, which is put back at the end.

use std::fs;

use crate::failure::{During, Outcome};

const GROUP: &str = "/proc/self/autogroup";

/// A scheduling priority in force; children inherit it.
pub struct Priority {
    group_before: Option<i32>,
}

impl Priority {
    /// Sets the nice value of this process and, where there is one, of its scheduling group.
    pub fn set(nice: i32) -> Outcome<Self> {
        rustix::process::setpriority_process(None, nice).during("set the priority (below 0 needs privilege)")?;
        let group_before = fs::read_to_string(GROUP).ok().as_deref().and_then(nice_of);
        if group_before.is_some() {
            fs::write(GROUP, nice.to_string()).during("set the priority of the session")?;
        }
        Ok(Self { group_before })
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(before) = self.group_before {
            // Too late to tell anyone, and the group ends with its session anyway.
            let _ = fs::write(GROUP, before.to_string());
        }
    }
}

/// The nice value in a line such as `/autogroup-6 nice 0`.
fn nice_of(line: &str) -> Option<i32> {
    line.rsplit_once("nice ")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_value_of_the_group() {
        assert_eq!(nice_of("/autogroup-6 nice 0\n"), Some(0));
        assert_eq!(nice_of("/autogroup-61 nice -15\n"), Some(-15));
        assert_eq!(nice_of(""), None);
    }
}
