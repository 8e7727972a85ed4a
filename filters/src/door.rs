//! How a request comes in at a virtual server: what its path leads to.

use crate::fault::{Fault, Refusal};
use http::Method;

/// What a path leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// The endpoint of Streamable HTTP.
    #[default]
    Mcp,
    /// The event stream of HTTP+SSE, the transport of 2024-11-05.
    Stream,
    /// Where clients of that stream send their messages.
    Message,
}

impl Door {
    /// Whether a method may come in here; the endpoint's own methods are for `negotiate` to judge.
    ///
    /// # Errors
    /// [`Fault::MethodNotAllowed`]. Newer clients try a POST on the stream first and take this for the sign of an old server
    /// (MCP 2025-03-26, "Backwards Compatibility").
    pub fn admits(self, method: &Method, rule: &'static str) -> Result<(), Refusal> {
        let (own, allowed) = match self {
            Door::Mcp => return Ok(()),
            Door::Stream => (Method::GET, "GET, OPTIONS"),
            Door::Message => (Method::POST, "POST, OPTIONS"),
        };
        if *method == own {
            return Ok(());
        }
        Err(Refusal::new(Fault::MethodNotAllowed, rule).with_header("allow", allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_has_its_method() {
        let admitted = |door: Door| {
            let all = [Method::GET, Method::POST, Method::DELETE, Method::PUT];
            all.into_iter().filter(|method| door.admits(method, "test").is_ok()).count()
        };
        assert_eq!([Door::Mcp, Door::Stream, Door::Message].map(admitted), [4, 1, 1]);
        assert!(
            Door::Stream.admits(&Method::GET, "test").is_ok() && Door::Message.admits(&Method::POST, "test").is_ok()
        );
        let refusal = Door::Stream.admits(&Method::POST, "test").unwrap_err();
        assert_eq!((refusal.fault, refusal.headers.len()), (Fault::MethodNotAllowed, 1));
    }
}
