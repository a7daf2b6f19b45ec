//! What can go wrong in a drill, as full sentences.

use std::path::PathBuf;

/// Result of a drill's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A drill that could not be carried out, or whose machine failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program or file of the host failed.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// A scenario file cannot be used.
    #[error("the scenario {}: {detail}", .path.display())]
    Scenario {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The virtual machine did not do what it should.
    #[error("{detail} (console: {})", .console.display())]
    Machine {
        /// What happened, as a sentence.
        detail: String,
        /// Its serial console's log.
        console: PathBuf,
    },
    /// The script in the guest failed.
    #[error("the script in the machine ended with exit code {code}: {last} (output: {})", .log.display())]
    Script {
        /// Its exit code.
        code: String,
        /// Its last line.
        last: String,
        /// All it printed.
        log: PathBuf,
    },
    /// The machine is there, but it is not what it should be.
    #[error("{summary}:\n{}", .findings.iter().map(|finding| format!("  {finding}")).collect::<Vec<_>>().join("\n"))]
    Verdict {
        /// What was judged.
        summary: String,
        /// Every difference, one a line.
        findings: Vec<String>,
    },
    /// Something that an earlier phase leaves behind is missing.
    #[error("{} is missing: run the scenario from its beginning", .0.display())]
    NoProduct(PathBuf),
}
