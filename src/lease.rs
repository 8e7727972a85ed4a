//! What is held open for a caller, for as long as it may have it: a token ends, is revoked, its issuer goes, and a
//! configuration may let others in than the one that it came under.

use crate::gateway::Gateway;
use crate::serve::now;
use crate::snapshot::Current;
use crate::trip::Trip;
use lockgate_filters::principal::Principal;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// How often it is looked whether a caller still counts. What is held ends within five seconds.
const LOOK: Duration = Duration::from_secs(2);

/// A caller's right to what is held open for it.
pub struct Lease {
    current: Current,
    reloads: watch::Receiver<u64>,
    /// The virtual server, by name: another one of that name takes its place.
    server: Arc<str>,
    caller: Option<Arc<Principal>>,
}

impl Lease {
    /// That of who has sent this request, which was let in.
    pub fn of(gateway: &Gateway, trip: &Trip) -> Lease {
        Lease {
            current: Arc::clone(&gateway.current),
            reloads: gateway.world.reloads.subscribe(),
            server: trip.exchange.server.as_ref().map_or_else(|| "".into(), |server| Arc::clone(&server.name)),
            caller: trip.exchange.caller.clone(),
        }
    }

    /// Completes when the caller may no longer have it.
    pub async fn lapsed(mut self) {
        loop {
            self.reloads.mark_unchanged();
            let Some(looks) = self.holds() else { return };
            let look = async {
                match looks {
                    true => sleep(LOOK).await,
                    false => pending().await,
                }
            };
            tokio::select! {
                () = look => {}
                changed = self.reloads.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Whether the caller may have it now; and if so, whether that must be looked at again although nothing is reloaded. A
    /// virtual server that is gone is for others to notice: they know what to say.
    fn holds(&self) -> Option<bool> {
        let snapshot = self.current.load();
        let server = snapshot.servers.iter().find(|server| server.policy.name == self.server);
        let Some(access) = server.and_then(|server| server.access.as_ref()) else { return Some(false) };
        let principal = self.caller.as_deref().unwrap_or_else(|| Principal::anonymous());
        let at = now();
        (access.takes(principal, at) && access.check(principal, at).is_ok()).then_some(true)
    }
}
