//! Wall-clock time of the scan beside serde_json's borrowed one-pass reading, best of many rounds.
//!
//! For a look, not for CI: `cargo bench -p lockgate-counts --bench times`.

use lockgate_counts::bodies::{self, Filling};
use lockgate_counts::rival;
use lockgate_filters::rpc::scan::{Limits, scan};
use std::hint::black_box;
use std::time::{Duration, Instant};

const LIMITS: Limits = Limits { depth: 64, batch: 32 };

fn main() {
    println!("{:<16} {:>12} {:>12} {:>8} {:>10}", "body", "scan", "serde_json", "ratio", "scan GB/s");
    for (name, filling) in [("text", Filling::Text), ("rows", Filling::Rows), ("alike", Filling::Alike)] {
        for bytes in [300, 2 << 10, 64 << 10, 1 << 20] {
            let body = bodies::call(bytes, filling);
            let runs = ((1 << 18) / body.len()).max(1);
            let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
            // Interleaved, so that a busy moment of the machine hits both.
            for _ in 0..400 {
                ours = ours.min(time(runs, || drop(black_box(scan(black_box(&body), &LIMITS)))));
                theirs = theirs.min(time(runs, || drop(black_box(rival::read(black_box(&body))))));
            }
            println!(
                "{:<16} {:>9.2} µs {:>9.2} µs {:>8.2} {:>10.2}",
                format!("{name} {}", body.len()),
                ours.as_secs_f64() * 1e6,
                theirs.as_secs_f64() * 1e6,
                ours.as_secs_f64() / theirs.as_secs_f64(),
                body.len() as f64 / ours.as_secs_f64() / 1e9,
            );
        }
    }
}

fn time(runs: usize, mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..runs {
        work();
    }
    start.elapsed() / runs as u32
}
