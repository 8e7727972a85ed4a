//! The operator's listener: health, metrics, effective configuration, reload.
