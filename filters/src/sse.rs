//! Server-sent events, framed without being re-written (WHATWG HTML, section 9.2).
