//! A gauge that cannot be left behind.

use prometheus::IntGauge;

/// One unit of a gauge, given back when dropped: on every way out of whatever holds it.
#[must_use = "the gauge falls again when this is dropped"]
#[derive(Debug)]
pub struct Held(IntGauge);

impl Held {
    pub(super) fn of(gauge: &IntGauge) -> Held {
        gauge.inc();
        Held(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}
