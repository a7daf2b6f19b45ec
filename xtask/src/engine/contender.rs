//! Who is measured, and with which commands. `$T` is the tree, `$W` a new directory for the archive, `$O` a new directory for
//! what is restored, `$B` our program, `$A` the archive that was made before a restore.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::measure::{self, Figures};

/// The one that ratios are taken to.
pub(super) const ZSTD: &str = "tar+zstd -T0";

/// One program.
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// What is done before, and not measured.
    before: &'static str,
    /// What is measured.
    script: &'static str,
}

const RESTIC: &str = "export RESTIC_PASSWORD=x; restic -q --no-cache init -r \"$W/r\"";
const BORG: &str = "export BORG_BASE_DIR=\"$W/home\"; borg init -e none \"$W/r\"";

/// Those that archive. A backup into a repository of our own belongs at the end of both lists.
pub(super) const ARCHIVERS: &[Contender] = &[
    Contender { name: "rear", before: "", script: "\"$B\" create \"$T\" \"$W\"" },
    Contender { name: ZSTD, before: "", script: "tar -C \"$T\" -cf - . | zstd -q -T0 -3 -o \"$W/a\"" },
    Contender { name: "tar+pigz", before: "", script: "tar -C \"$T\" -cf - . | pigz > \"$W/a\"" },
    Contender { name: "tar+gzip", before: "", script: "tar -C \"$T\" -cf - . | gzip > \"$W/a\"" },
    Contender {
        name: "mksquashfs",
        before: "",
        script: "mksquashfs \"$T\" \"$W/a\" -comp zstd -Xcompression-level 3 -quiet -no-progress",
    },
    Contender {
        name: "restic",
        before: RESTIC,
        script: "export RESTIC_PASSWORD=x; restic -q --no-cache backup -r \"$W/r\" \"$T\"",
    },
    Contender {
        name: "borg",
        before: BORG,
        script: "export BORG_BASE_DIR=\"$W/home\"; cd \"$T\" && borg create -C zstd,3 \"$W/r::a\" .",
    },
];

/// Those that restore.
pub(super) const RESTORERS: &[Contender] = &[
    Contender { name: "rear", before: "\"$B\" create \"$T\" \"$W\"", script: "\"$B\" restore \"$W\" \"$O\"" },
    Contender {
        name: ZSTD,
        before: "tar -C \"$T\" -cf - . | zstd -q -T0 -3 -o \"$W/a\"",
        script: "zstd -q -dc \"$W/a\" | tar -C \"$O\" -xpf -",
    },
    Contender {
        name: "restic",
        before: "export RESTIC_PASSWORD=x; restic -q --no-cache init -r \"$W/r\"; restic -q --no-cache backup -r \"$W/r\" \"$T\"",
        script: "export RESTIC_PASSWORD=x; restic -q --no-cache restore -r \"$W/r\" latest --target \"$O\"",
    },
    Contender {
        name: "borg",
        before: "export BORG_BASE_DIR=\"$W/home\"; borg init -e none \"$W/r\"; cd \"$T\" && borg create -C zstd,3 \"$W/r::a\" .",
        script: "export BORG_BASE_DIR=\"$W/home\"; cd \"$O\" && borg extract --numeric-ids \"$W/r::a\"",
    },
];

impl Contender {
    /// Runs it once. A restore keeps the archive for the next round.
    pub(super) fn run(&self, program: &Path, tree: &Path, work: &Path, memory: &Path) -> Result<Figures> {
        let restores = self.script.contains("$O");
        let out = memory.join("out");
        let environment = [("B", program), ("T", tree), ("W", work), ("O", out.as_path())];
        if !(restores && work.exists()) {
            remove(work)?;
            std::fs::create_dir_all(work)?;
            if !self.before.is_empty() {
                let mut before = Command::new("sh");
                before.arg("-ec").arg(self.before).envs(environment);
                let done = before
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .status()?;
                if !done.success() {
                    bail!("what {} needs beforehand has failed: {}", self.name, self.before);
                }
            }
        }
        remove(&out)?;
        std::fs::create_dir_all(&out)?;
        let mut figures = measure::run(self.script, &environment, memory)?;
        figures.size = measure::size(work)?;
        remove(&out)?;
        if !restores {
            remove(work)?;
        }
        Ok(figures)
    }
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}
