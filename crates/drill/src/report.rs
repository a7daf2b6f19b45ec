//! What came of a drill, in numbers and in a table for people.

use std::time::Duration;

use crate::Phase;

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not as it should: in which phase, and why.
    Failed(Phase, String),
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// `mkbackup` from start to end, in seconds.
    pub backup_seconds: Option<f64>,
    /// The largest process of `mkbackup`, in KiB of resident memory.
    pub backup_rss_kib: Option<u64>,
    /// The ISO, in bytes.
    pub iso_bytes: Option<u64>,
    /// The rescue system's initramfs in the ISO, in bytes.
    pub initramfs_bytes: Option<u64>,
    /// From power-on of the medium to the restart of the recovered machine.
    pub recovery: Option<Duration>,
}

/// One scenario's result.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Its phases that were run, with the time each took.
    pub phases: Vec<(Phase, Duration)>,
    /// What was measured.
    pub figures: Figures,
    /// How it ended.
    pub outcome: Outcome,
}

impl Report {
    /// Whether all was as it should be.
    pub fn passed(&self) -> bool {
        self.outcome == Outcome::Passed
    }

    /// One line for a table: name, result, the time of each phase.
    pub fn line(&self) -> String {
        let times: Vec<String> =
            self.phases.iter().map(|(phase, took)| format!("{phase} {:.0} s", took.as_secs_f64())).collect();
        let total: f64 = self.phases.iter().map(|(_, took)| took.as_secs_f64()).sum();
        let result = if self.passed() { "passed" } else { "FAILED" };
        format!("{:<24} {result}  {total:>5.0} s  ({})", self.scenario, times.join(", "))
    }
}

impl Figures {
    /// Name and value of each number, as text.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        vec![
            ("mkbackup", text(self.backup_seconds.map(|seconds| format!("{seconds:.1} s")))),
            ("ISO", text(self.iso_bytes.map(mb))),
            ("rescue initramfs", text(self.initramfs_bytes.map(mb))),
            ("peak memory of mkbackup", text(self.backup_rss_kib.map(|kib| mb(kib * 1024)))),
            (
                "recovery, power-on to restart",
                text(self.recovery.map(|took| format!("{:.1} s", took.as_secs_f64()))),
            ),
        ]
    }
}
