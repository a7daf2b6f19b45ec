//! Measures one run of a shell command: with GNU time, which asks the kernel, so that neither we nor the contender count.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Lines that are shown of what a command that failed has said.
const LINES: usize = 10;

/// What a run took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Seconds from begin to end.
    pub(super) wall: f64,
    /// Seconds of all processors, in the programs and in the kernel.
    pub(super) processor: f64,
    /// Peak memory of the largest process, in KiB.
    pub(super) memory: f64,
    /// What it wrote, in bytes.
    pub(super) size: f64,
}

impl Figures {
    /// Peak memory, in megabytes.
    pub(super) fn megabytes(&self) -> f64 {
        self.memory * 1024.0 / 1e6
    }
}

/// How long all processors are kept busy before a run.
const BUSY: Duration = Duration::from_secs(2);

/// Keeps all processors busy. The host of a virtual machine takes a while to give a processor back that was idle: whoever comes after
/// a program with one thread would pay for it.
fn wake() {
    std::thread::scope(|scope| {
        for _ in 0..sys::info::processors() {
            scope.spawn(|| {
                let started = Instant::now();
                while started.elapsed() < BUSY {
                    std::hint::spin_loop();
                }
            });
        }
    });
}

/// Runs a script.
pub(super) fn run(script: &str, environment: &[(&str, &Path)], dir: &Path) -> Result<Figures> {
    wake();
    let report = dir.join("time");
    let mut command = Command::new("time");
    // The last command of a pipe alone decides otherwise.
    command.args(["-f", "%e %U %S %M", "-o"]).arg(&report).args(["bash", "-o", "pipefail", "-c", script]);
    command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // One that goes on after errors says the same ten thousand times.
        let last: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
        bail!("'{script}' failed: {}", last[last.len().saturating_sub(LINES)..].join("\n"));
    }
    let text = std::fs::read_to_string(&report)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall, user, system, memory] = numbers[..] else { bail!("time says: {text}") };
    Ok(Figures { wall, processor: user + system, memory, size: 0.0 })
}

/// Bytes of all files below a directory.
pub(super) fn size(dir: &Path) -> Result<f64> {
    let mut sum = 0;
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_dir() {
                pending.push(entry.path());
            } else {
                sum += found.len();
            }
        }
    }
    Ok(sum as f64)
}

/// The middle one; of an even number, between the middle two.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match (numbers.get(middle), numbers.len() % 2) {
        (Some(one), 1) => *one,
        (Some(one), _) => f64::midpoint(numbers[middle - 1], *one),
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
