//! Metrics, logs and what never gets into them.
