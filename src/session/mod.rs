//! What must outlive an exchange of a legacy session.
