//! From YAML to a validated configuration, with positions.
