//! The fuzz targets' properties of what has sockets, on stable: over their corpora and over mutations of them.

#[path = "fuzz/src/config.rs"]
mod config;
#[path = "fuzz/src/greeting.rs"]
mod greeting;
#[path = "fuzz/src/peer.rs"]
mod peer;
#[path = "fuzz/src/replay.rs"]
mod replay;
#[path = "fuzz/src/response.rs"]
mod response;

use std::path::Path;

fn corpus(target: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target)
}

#[test]
fn config_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("config"), config::check));
}

#[test]
fn response_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("response"), response::check));
}

#[test]
fn peer_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("peer"), peer::check));
}

#[test]
fn greeting_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("greeting"), greeting::check));
}
