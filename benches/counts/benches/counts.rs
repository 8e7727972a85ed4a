//! Instruction counts of the scan, and of a whole request's way through all filters, held to bounds: they do not depend on the machine's load.
//!
//! `make counts` installs the runner; valgrind must be there.

use bytes::Bytes;
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use lockgate_counts::bodies::{Filling, call};
use lockgate_counts::rival;
use lockgate_counts::way::Way;
use lockgate_filters::exchange::Exchange;
use lockgate_filters::lane::Lane;
use lockgate_filters::rpc::scan::{Limits, Scan, ScanFault};
use std::hint::black_box;

const LIMITS: Limits = Limits { depth: 64, batch: 32 };

/// Fails the run when more instructions are needed: about a quarter above what was measured when the bound was set.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]));
    config
}

#[library_benchmark]
#[bench::text_300(args = (call(300, Filling::Text)), config = at_most(9_000))]
#[bench::text_2k(args = (call(2 << 10, Filling::Text)), config = at_most(14_000))]
#[bench::text_64k(args = (call(64 << 10, Filling::Text)), config = at_most(200_000))]
#[bench::text_1m(args = (call(1 << 20, Filling::Text)), config = at_most(3_100_000))]
#[bench::rows_2k(args = (call(2 << 10, Filling::Rows)), config = at_most(51_000))]
#[bench::rows_64k(args = (call(64 << 10, Filling::Rows)), config = at_most(1_500_000))]
#[bench::rows_1m(args = (call(1 << 20, Filling::Rows)), config = at_most(24_500_000))]
#[bench::alike_64k(args = (call(64 << 10, Filling::Alike)), config = at_most(3_000_000))]
#[bench::alike_1m(args = (call(1 << 20, Filling::Alike)), config = at_most(50_000_000))]
fn scan(body: Vec<u8>) -> (Vec<u8>, Result<Scan, ScanFault>) {
    let found = lockgate_filters::rpc::scan::scan(black_box(&body), &LIMITS);
    (body, found)
}

// For comparison; not held to anything.
#[library_benchmark]
#[bench::text_300(call(300, Filling::Text))]
#[bench::text_2k(call(2 << 10, Filling::Text))]
#[bench::text_64k(call(64 << 10, Filling::Text))]
#[bench::text_1m(call(1 << 20, Filling::Text))]
#[bench::rows_2k(call(2 << 10, Filling::Rows))]
#[bench::rows_64k(call(64 << 10, Filling::Rows))]
#[bench::rows_1m(call(1 << 20, Filling::Rows))]
fn serde_json(body: Vec<u8>) -> (Vec<u8>, bool) {
    let read = black_box(rival::read(black_box(&body))).is_some();
    (body, read)
}

/// The way, and a body for it. One request has gone it before, as in a gateway that runs.
fn warm(bytes: usize) -> (Way, Bytes) {
    let way = Way::new().expect("the key is a good one");
    let body = Bytes::from(call(bytes, Filling::Text));
    assert!(way.pass(&body).is_some(), "a filter stops the request");
    (way, body)
}

// Everything that is decided about a call: guard, route, negotiate, scan, era, session, envelope, lane.
#[library_benchmark]
#[bench::text_300(args = (warm(300)), config = at_most(23_000))]
#[bench::text_2k(args = (warm(2 << 10)), config = at_most(28_000))]
#[bench::text_64k(args = (warm(64 << 10)), config = at_most(218_000))]
#[bench::text_1m(args = (warm(1 << 20)), config = at_most(3_160_000))]
fn way((way, body): (Way, Bytes)) -> (Way, Bytes, Option<(Lane, Exchange)>) {
    let passed = way.pass(black_box(&body));
    (way, body, passed)
}

library_benchmark_group!(name = scanning, benchmarks = [scan, serde_json]);
library_benchmark_group!(name = deciding, benchmarks = way);

main!(library_benchmark_groups = [scanning, deciding]);
