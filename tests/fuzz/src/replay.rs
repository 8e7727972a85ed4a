//! Replaying a property on stable: over its corpus, then over mutations of it that are the same on every run.

use std::fs;
use std::path::Path;

/// How many mutants are made of each seed.
const MUTANTS: usize = 200;
/// What is put into mutants: pieces that mean something to the formats that are read.
const TOKENS: [&str; 30] = [
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\n",
    "\r",
    "\r\n\r\n",
    "\0",
    "1e9",
    "-0.0",
    "\"id\":1,",
    "\"ID\":1,",
    "\"_meta\":{},",
    "=?base64?",
    "?=",
    "data:",
    "\u{feff}",
    "HTTP/1.1 100 C\r\n\r\n",
    "content-length: 5\r\n",
    "transfer-encoding: chunked\r\n",
    "0\r\n\r\n",
    "&a ",
    "*a",
];

/// Runs `check` over all files of a corpus and over mutants of them; says how many inputs that were.
pub fn replay(corpus: &Path, check: fn(&[u8])) -> usize {
    let mut paths: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(seeds.len() > 10, "there is no corpus in {}", corpus.display());
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for (path, seed) in paths.iter().zip(&seeds) {
        run(&path.display().to_string(), seed, check);
        for _ in 0..MUTANTS {
            let mut mutant = seed.clone();
            for _ in 0..=dice.below(4) {
                mutate(&mut mutant, &seeds, &mut dice);
            }
            run(&format!("a mutant of {}", path.display()), &mutant, check);
        }
    }
    seeds.len() * (MUTANTS + 1)
}

/// Shows the input when the check panics.
fn run(origin: &str, input: &[u8], check: fn(&[u8])) {
    struct Shown<'a>(&'a str, &'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{}: b\"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }
    let _shown = Shown(origin, input);
    check(input);
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    let to = (at + dice.below(9)).min(input.len());
    match dice.below(7) {
        0 if at < input.len() => input[at] ^= 1 << dice.below(8),
        1 if at < input.len() => input[at] = dice.below(256) as u8,
        2 => input.truncate(at),
        3 => drop(input.drain(at..to)),
        4 => {
            let again = input[at..to].to_vec();
            drop(input.splice(at..at, again));
        }
        5 => {
            let token = TOKENS[dice.below(TOKENS.len())];
            drop(input.splice(at..to, token.bytes()));
        }
        _ => {
            let other = &seeds[dice.below(seeds.len())];
            let from = dice.below(other.len() + 1);
            let length = dice.below(other.len() - from + 1).min(64);
            drop(input.splice(at..to, other[from..from + length].iter().copied()));
        }
    }
}

/// Xorshift: the same numbers on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}
