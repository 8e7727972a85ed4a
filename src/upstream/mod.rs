//! Backends, their endpoints, and how bytes get there and back.
