//! The bodies of the fuzz targets: each takes any bytes for what a stranger has written, goes with them through the same doors
//! as the program, and panics where a promise is broken. It gives whether the input was accepted as a whole. A panic, a hang or memory without limit is a finding, an error is not.
//!
//! The tests of the workspace include this file too, and feed the committed corpus to it (`crates/rear/tests/fuzzed.rs`). It
//! starts no program, opens no device and uses no network; what it writes lies in temporary directories that it removes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is what is looked for")]

mod age;
mod archive;
mod config;
mod foreign;
mod iso;
mod layout;
mod manifest;
mod place;
mod repository;

pub use self::age::{KEY, age};
pub use self::archive::archive;
pub use self::config::config;
pub use self::foreign::foreign;
pub use self::iso::iso;
pub use self::layout::{layout, lvm};
pub use self::manifest::manifest;
pub use self::repository::{key, repository};

/// A target: its name, which is the one of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("age", age),
    ("archive", archive),
    ("config", config),
    ("foreign", foreign),
    ("iso", iso),
    ("key", key),
    ("layout", layout),
    ("lvm", lvm),
    ("manifest", manifest),
    ("repository", repository),
];

/// Between the parts of an input that has several: text, so that it can be written by hand.
const CUT: &[u8] = b"\n--\n";

/// What stands before the first cut, and behind it; nothing behind where there is none.
fn cut(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.windows(CUT.len()).position(|window| window == CUT) {
        Some(at) => (&bytes[..at], &bytes[at + CUT.len()..]),
        None => (bytes, &[]),
    }
}

/// One thread: what a run does depends on its input alone as far as it can.
fn options() -> backup::Options {
    backup::Options { codec: backup::Codec::Zstd, level: 1, threads: 1, cancel: sys::Cancel::default() }
}
