//! Which node a session belongs to: the one that minted its ticket, or, where that is gone, the same one of those that are left
//! for all who see the same nodes (rendezvous hashing), so that few sessions move when a node comes or goes.

use super::Cluster;
use super::greeting::{Aim, Boot, Process};
use aws_lc_rs::digest::{SHA256, digest};
use lockgate_filters::ticket::{NodeId, SessionId};
use std::sync::Arc;

impl Cluster {
    /// The process that a session belongs to; `None` where that is this one. The node that minted its ticket is looked for
    /// where it is not known, which takes a few times the time that a node may take at most; one that is gone, now and then.
    pub async fn home(self: &Arc<Self>, session: &SessionId, minted: NodeId) -> Option<Process> {
        if minted == self.is.node {
            return None;
        }
        let known = match self.directory.of_node(minted) {
            None if !self.directory.is_missing(minted) => {
                let any = Process { node: minted, boot: Boot::default() };
                let found = self.find(Aim::Process(any)).await.and_then(|place| self.directory.at(&place));
                if found.is_none() {
                    self.directory.miss(minted);
                }
                found
            }
            known => known,
        };
        let home = known.or_else(|| heir(session, self.is, self.directory.nodes()));
        home.filter(|home| home.node != self.is.node)
    }
}

/// The node that inherits a session.
fn heir(session: &SessionId, is: Process, others: Vec<Process>) -> Option<Process> {
    let weight = |node: NodeId| {
        let weight = digest(&SHA256, &[&session.0[..], &node.0[..]].concat());
        <[u8; 32]>::try_from(weight.as_ref()).unwrap_or_default()
    };
    others.into_iter().chain([is]).max_by_key(|process| weight(process.node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(node: u8) -> Process {
        Process { node: NodeId([node; 8]), boot: Boot([node; 8]) }
    }

    #[test]
    fn all_choose_the_same_heir_and_few_sessions_move() {
        let all: Vec<_> = (1..=4).map(process).collect();
        let mut inherited = [0; 4];
        for n in 0..200u8 {
            let session = SessionId([n; 16]);
            let among = |left: &[Process]| {
                let heirs = left.iter().map(|is| {
                    let others = left.iter().filter(|other| other != &is).copied().collect();
                    heir(&session, *is, others).unwrap().node
                });
                let heirs: Vec<_> = heirs.collect();
                assert!(heirs.iter().all(|heir| *heir == heirs[0]));
                heirs[0]
            };
            let first = among(&all);
            inherited[usize::from(first.0[0]) - 1] += 1;
            // Only what was the lost node's moves.
            let left: Vec<_> = all[1..].to_vec();
            if first != all[0].node {
                assert_eq!(among(&left), first);
            }
        }
        assert!(inherited.iter().all(|count| *count > 20), "{inherited:?}");
    }
}
