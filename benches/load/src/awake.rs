//! Keeps idle CPUs from going to sleep while something is measured.
//!
//! Both ends of a comparison wait for the proxy, the longer the slower it is, and a CPU that sleeps must be woken by an
//! interrupt that the proxy's write sends: on a virtual machine several microseconds a time, charged to the proxy. A
//! slower proxy would pay for its being slow twice, so its ratio would say more about interrupts than about work.

use std::fs::{File, OpenOptions};
use std::io::Write;

/// The kernel's latency request: it holds for as long as the file is open (PM quality of service, user-space interface).
const LATENCY: &str = "/dev/cpu_dma_latency";

/// A request that CPUs stay awake.
pub struct Awake {
    _request: File,
}

impl Awake {
    /// Asks the kernel; `None` where it is not to be asked (the file takes privilege).
    pub fn keep() -> Option<Self> {
        let mut request = OpenOptions::new().write(true).open(LATENCY).ok()?;
        request.write_all(&0_i32.to_ne_bytes()).ok()?;
        Some(Self { _request: request })
    }
}
