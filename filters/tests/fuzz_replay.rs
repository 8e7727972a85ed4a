//! The fuzz targets' properties on stable: over their corpora and over mutations of them. See `tests/fuzz/`.

#[path = "../../tests/fuzz/src/cel_compile.rs"]
mod cel_compile;
#[path = "../../tests/fuzz/src/claims.rs"]
mod claims;
#[path = "../../tests/fuzz/src/cursor.rs"]
mod cursor;
#[path = "../../tests/fuzz/src/inventory.rs"]
mod inventory;
#[path = "../../tests/fuzz/src/issuer.rs"]
mod issuer;
#[path = "../../tests/fuzz/src/keys.rs"]
mod keys;
#[path = "../../tests/fuzz/src/metadata_path.rs"]
mod metadata_path;
#[path = "../../tests/fuzz/src/mirror.rs"]
mod mirror;
#[path = "../../tests/fuzz/src/replay.rs"]
mod replay;
#[path = "../../tests/fuzz/src/scan.rs"]
mod scan;
#[path = "../../tests/fuzz/src/sse.rs"]
mod sse;
#[path = "../../tests/fuzz/src/ticket.rs"]
mod ticket;
#[path = "../../tests/fuzz/src/token.rs"]
mod token;
#[path = "../../tests/fuzz/src/uri.rs"]
mod uri;

use std::path::Path;

fn corpus(target: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target)
}

#[test]
fn scan_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("scan"), scan::check));
}

#[test]
fn mirror_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("mirror"), mirror::check));
}

#[test]
fn sse_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("sse"), sse::check));
}

#[test]
fn ticket_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("ticket"), ticket::check));
}

#[test]
fn cursor_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("cursor"), cursor::check));
}

#[test]
fn inventory_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("inventory"), inventory::check));
}

#[test]
fn uri_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("uri"), uri::check));
}

#[test]
fn token_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("token"), token::check));
}

#[test]
fn claims_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("claims"), claims::check));
}

#[test]
fn metadata_path_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("metadata_path"), metadata_path::check));
}

#[test]
fn cel_compile_holds_over_its_corpus() {
    println!("{} inputs", replay::replay(&corpus("cel_compile"), cel_compile::check));
}
