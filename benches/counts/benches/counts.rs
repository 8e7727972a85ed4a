//! Instruction counts of the scan, of the splice, of a whole request's way from its last byte to the bytes that go
//! upstream, with one backend and with ten, of a list from memory, and of decisions, held to bounds: counts do not depend on the
//! machine's load, so a bound that is passed is a regression.
//!
//! `make counts` installs what it needs and runs it; so does `make test`.

use bytes::Bytes;
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use lockgate_counts::authorization::{ARGUMENTS, Authorized};
use lockgate_counts::bodies::{Filling, answer, call, call_of};
use lockgate_counts::federation::{MEMBERS, Members};
use lockgate_counts::rival;
use lockgate_counts::way::Way;
use lockgate_filters::authorize::Decision;
use lockgate_filters::exchange::{Exchange, UnixMillis};
use lockgate_filters::federate::render::ListAnswer;
use lockgate_filters::lane::Lane;
use lockgate_filters::rpc::answer::plainly_answers;
use lockgate_filters::rpc::scan::{Limits, Scan, ScanFault};
use lockgate_filters::splice::wire::Wire;
use std::hint::black_box;

const LIMITS: Limits = Limits { depth: 64, batch: 32 };

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// Fails the run when more instructions are needed: about a tenth above what was measured when the bound was set.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]));
    config
}

#[library_benchmark]
#[bench::text_300(args = (call(300, Filling::Text)), config = at_most(7_000))]
#[bench::text_2k(args = (call(2 << 10, Filling::Text)), config = at_most(11_400))]
#[bench::text_64k(args = (call(64 << 10, Filling::Text)), config = at_most(178_000))]
#[bench::text_1m(args = (call(1 << 20, Filling::Text)), config = at_most(2_770_000))]
#[bench::rows_2k(args = (call(2 << 10, Filling::Rows)), config = at_most(43_000))]
#[bench::rows_64k(args = (call(64 << 10, Filling::Rows)), config = at_most(1_270_000))]
#[bench::rows_1m(args = (call(1 << 20, Filling::Rows)), config = at_most(20_600_000))]
#[bench::alike_64k(args = (call(64 << 10, Filling::Alike)), config = at_most(2_200_000))]
#[bench::alike_1m(args = (call(1 << 20, Filling::Alike)), config = at_most(41_500_000))]
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

/// As [`warm`], for a call of one of ten backends by the name that the gateway shows.
fn federated(bytes: usize) -> (Way, Bytes) {
    let (way, exposed) = Way::federated().expect("the backends' lists are good ones");
    let body = Bytes::from(call_of(exposed, bytes, Filling::Text));
    assert!(way.pass(&body).is_some(), "a filter stops the request");
    (way, body)
}

/// Ten backends that show so many tools together.
fn members(tools: usize) -> Members {
    Members::of("store_note", tools / MEMBERS, NOW).expect("the backends' lists are good ones")
}

/// As [`warm`], and the request is already decided.
fn decided(bytes: usize) -> (Way, Exchange) {
    let (way, body) = warm(bytes);
    let (_, exchange) = way.pass(&body).expect("a filter stops the request");
    (way, exchange)
}

// The client's fields picked, the body put behind them. Above 16 KiB it is shared, so its size no longer counts.
#[library_benchmark]
#[bench::text_300(args = (decided(300)), config = at_most(4_000))]
#[bench::text_2k(args = (decided(2 << 10)), config = at_most(4_200))]
#[bench::text_64k(args = (decided(64 << 10)), config = at_most(4_000))]
#[bench::text_1m(args = (decided(1 << 20)), config = at_most(4_200))]
fn splice((way, exchange): (Way, Exchange)) -> (Way, Exchange, Option<Wire>) {
    let wire = black_box(&way).splice(black_box(&exchange));
    (way, exchange, wire)
}

// All that is done to a call: guard, route, negotiate, scan, era, session, envelope, lane, splice.
#[library_benchmark]
#[bench::text_300(args = (warm(300)), config = at_most(23_400))]
#[bench::text_2k(args = (warm(2 << 10)), config = at_most(28_000))]
#[bench::text_64k(args = (warm(64 << 10)), config = at_most(195_500))]
#[bench::text_1m(args = (warm(1 << 20)), config = at_most(2_790_000))]
fn way((way, body): (Way, Bytes)) -> (Way, Bytes, Option<(Lane, Exchange, Wire)>) {
    carried(way, body)
}

// The same for a call of one of ten backends: its name found in the table, and replaced in body and header. That copies the
// body, which here counts as one instruction a byte where memcpy is `rep movsb`, and as fewer elsewhere.
#[library_benchmark]
#[bench::text_300(args = (federated(300)), config = at_most(26_300))]
#[bench::text_2k(args = (federated(2 << 10)), config = at_most(31_600))]
#[bench::text_64k(args = (federated(64 << 10)), config = at_most(273_000))]
fn prefixed_way((way, body): (Way, Bytes)) -> (Way, Bytes, Option<(Lane, Exchange, Wire)>) {
    carried(way, body)
}

// Whose the answer is, of one backend among several.
#[library_benchmark]
#[bench::text_200(args = (answer(200)), config = at_most(1_500))]
#[bench::text_64k(args = (answer(64 << 10)), config = at_most(175_000))]
fn answered(body: Vec<u8>) -> (Vec<u8>, bool) {
    let answered = plainly_answers(black_box(&body), black_box(b"17"), &LIMITS);
    assert!(answered);
    (body, answered)
}

// A list of ten backends' tools, from memory: nothing of it is copied, so its length does not count.
#[library_benchmark]
#[bench::tools_120(args = (members(120)), config = at_most(2_400))]
#[bench::tools_500(args = (members(500)), config = at_most(2_400))]
fn list(members: Members) -> (Members, ListAnswer) {
    let answer = black_box(&members).list(black_box(b"17"), NOW);
    (members, answer)
}

/// A caller whose rules have been weighed once, as in a gateway that runs.
fn authorized() -> Authorized {
    let authorized = Authorized::new().expect("the policy is a good one");
    for backend in [0, 9] {
        assert!(authorized.decide(backend, ARGUMENTS, NOW).is_some_and(|decision| decision.is_allowed()));
    }
    authorized
}

// Whether a call is allowed by what was decided beforehand.
#[library_benchmark]
#[bench::of_500_tools(args = (authorized()), config = at_most(200))]
fn table_decision(authorized: Authorized) -> (Authorized, Option<Decision>) {
    let decision = authorized.decide(black_box(0), black_box(ARGUMENTS), NOW);
    (authorized, decision)
}

// Whether a call is allowed by two rules with conditions on its arguments, which are read for that.
#[library_benchmark]
#[bench::of_two_rules(args = (authorized()), config = at_most(30_000))]
fn cel_decision(authorized: Authorized) -> (Authorized, Option<Decision>) {
    let decision = authorized.decide(black_box(9), black_box(ARGUMENTS), NOW);
    (authorized, decision)
}

fn carried(way: Way, body: Bytes) -> (Way, Bytes, Option<(Lane, Exchange, Wire)>) {
    let passed = way.pass(black_box(&body));
    let sent = passed.and_then(|(lane, exchange)| {
        let wire = way.splice(&exchange)?;
        Some((lane, exchange, wire))
    });
    (way, body, sent)
}

library_benchmark_group!(name = scanning, benchmarks = [scan, serde_json]);
library_benchmark_group!(name = carrying, benchmarks = [splice, way]);
library_benchmark_group!(name = federating, benchmarks = [prefixed_way, answered, list]);

library_benchmark_group!(name = authorizing, benchmarks = [table_decision, cel_decision]);

main!(library_benchmark_groups = [scanning, carrying, federating, authorizing]);
