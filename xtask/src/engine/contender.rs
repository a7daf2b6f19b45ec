//! Who is measured, with which commands, and what is aimed at. `$T` is the tree, `$W` a new directory for the archive or
//! repository, `$O` a new directory for what is restored, `$B` our program for archives and `$R` the one for repositories.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::measure::{self, Figures};

/// What is measured in turns.
pub(super) struct Table {
    pub(super) title: &'static str,
    /// The contender that ratios are taken to.
    pub(super) base: &'static str,
    pub(super) contenders: &'static [Contender],
    /// Of ours.
    pub(super) aims: &'static [Aim],
    /// Whether a round finds what the round before it has left.
    keeps: bool,
}

/// What is wanted of ours.
pub(super) struct Aim {
    pub(super) what: &'static str,
    pub(super) value: fn(&Figures) -> f64,
    pub(super) bound: Bound,
}

/// How much is wanted.
pub(super) enum Bound {
    /// At most this part of what the base takes in the same round.
    Part(f64),
    /// At most this, in the unit of the figure.
    Most(f64),
}

/// One program.
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// What is done before, one after the other, and not measured.
    before: &'static [&'static str],
    /// What is measured.
    script: &'static str,
}

const fn time(part: f64) -> Aim {
    Aim { what: "time", value: |one| one.wall, bound: Bound::Part(part) }
}

/// In megabytes.
const fn memory(most: f64) -> Aim {
    Aim { what: "memory in MB", value: Figures::megabytes, bound: Bound::Most(most) }
}

const ZSTD: &str = "tar+zstd -T0";

/// Everything that is measured on one tree.
pub(super) const TABLES: &[Table] = &[
    Table {
        title: "archive",
        base: ZSTD,
        contenders: ARCHIVERS,
        aims: &[
            time(0.9),
            Aim { what: "size", value: |one| one.size, bound: Bound::Part(1.02) },
            memory(300.0),
        ],
        keeps: false,
    },
    Table {
        title: "restore",
        base: ZSTD,
        contenders: RESTORERS,
        aims: &[time(0.65), memory(300.0)],
        keeps: true,
    },
    Table {
        title: "first snapshot",
        base: "restic",
        contenders: FIRST,
        aims: &[time(0.5), memory(500.0)],
        keeps: false,
    },
    Table {
        title: "second snapshot, nothing changed",
        base: "restic",
        contenders: SECOND,
        aims: &[memory(500.0)],
        keeps: true,
    },
    Table {
        title: "restore of a snapshot",
        base: "restic",
        contenders: RESTORED,
        aims: &[time(0.6), memory(500.0)],
        keeps: true,
    },
];

/// Those that archive.
const ARCHIVERS: &[Contender] = &[
    Contender { name: "rear", before: &[], script: "\"$B\" create \"$T\" \"$W\"" },
    Contender { name: ZSTD, before: &[], script: "tar -C \"$T\" -cf - . | zstd -q -T0 -3 -o \"$W/a\"" },
    Contender { name: "tar+pigz", before: &[], script: "tar -C \"$T\" -cf - . | pigz > \"$W/a\"" },
    Contender { name: "tar+gzip", before: &[], script: "tar -C \"$T\" -cf - . | gzip > \"$W/a\"" },
    Contender {
        name: "mksquashfs",
        before: &[],
        script: "mksquashfs \"$T\" \"$W/a\" -comp zstd -Xcompression-level 3 -quiet -no-progress",
    },
];

/// Those that restore.
const RESTORERS: &[Contender] = &[
    Contender {
        name: "rear",
        before: &["\"$B\" create \"$T\" \"$W\""],
        script: "\"$B\" restore \"$W\" \"$O\"",
    },
    Contender {
        name: ZSTD,
        before: &["tar -C \"$T\" -cf - . | zstd -q -T0 -3 -o \"$W/a\""],
        script: "zstd -q -dc \"$W/a\" | tar -C \"$O\" -xpf -",
    },
];

/// The programs that keep repositories, and their commands.
macro_rules! repositories {
    (before: $rear_before:expr, $restic_before:expr, $borg_before:expr; $rear:expr, $restic:expr, $borg:expr) => {
        &[
            Contender { name: "rear", before: $rear_before, script: $rear },
            Contender { name: "restic", before: $restic_before, script: $restic },
            Contender { name: "borg", before: $borg_before, script: $borg },
        ]
    };
}

const REAR_INIT: &str = "\"$R\" init \"$W/r\"";
const REAR_SAVE: &str = "\"$R\" save \"$T\" \"$W/r\" \"$W/manifest\"";
const RESTIC_INIT: &str = "export RESTIC_PASSWORD=x; restic -q --no-cache init -r \"$W/r\"";
const RESTIC_SAVE: &str = "export RESTIC_PASSWORD=x; restic -q --no-cache backup -r \"$W/r\" \"$T\"";
const BORG_INIT: &str = "export BORG_BASE_DIR=\"$W/home\"; borg init -e none \"$W/r\"";
const BORG_SAVE: &str =
    "export BORG_BASE_DIR=\"$W/home\"; cd \"$T\" && borg create -C zstd,3 \"$W/r::{now}-{pid}\" .";
/// Under a name that the restore knows.
const BORG_NAMED: &str = "export BORG_BASE_DIR=\"$W/home\"; cd \"$T\" && borg create -C zstd,3 \"$W/r::a\" .";

const FIRST: &[Contender] = repositories!(
    before: &[REAR_INIT], &[RESTIC_INIT], &[BORG_INIT];
    REAR_SAVE, RESTIC_SAVE, BORG_SAVE
);
const SECOND: &[Contender] = repositories!(
    before: &[REAR_SAVE], &[RESTIC_INIT, RESTIC_SAVE], &[BORG_INIT, BORG_NAMED];
    REAR_SAVE, RESTIC_SAVE, BORG_SAVE
);
const RESTORED: &[Contender] = repositories!(
    before: &[REAR_SAVE], &[RESTIC_INIT, RESTIC_SAVE], &[BORG_INIT, BORG_NAMED];
    "\"$R\" restore \"$W/r\" \"$O\" \"$W/manifest\"",
    "export RESTIC_PASSWORD=x; restic -q --no-cache restore -r \"$W/r\" latest --target \"$O\"",
    "export BORG_BASE_DIR=\"$W/home\"; cd \"$O\" && borg extract --numeric-ids \"$W/r::a\""
);

/// Our programs.
#[derive(Clone, Copy)]
pub(super) struct Ours<'a> {
    pub(super) archive: &'a Path,
    pub(super) repository: &'a Path,
}

impl Table {
    /// Runs a contender once, in a directory of its own.
    pub(super) fn run(
        &self,
        one: &Contender,
        ours: Ours<'_>,
        tree: &Path,
        work: &Path,
        memory: &Path,
    ) -> Result<Figures> {
        let out = memory.join("out");
        let environment =
            [("B", ours.archive), ("R", ours.repository), ("T", tree), ("W", work), ("O", out.as_path())];
        if !(self.keeps && work.exists()) {
            remove(work)?;
            std::fs::create_dir_all(work)?;
            for script in one.before {
                let mut before = Command::new("sh");
                before.arg("-ec").arg(script).envs(environment);
                let done = before
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .status()?;
                if !done.success() {
                    bail!("what {} needs beforehand has failed: {script}", one.name);
                }
            }
        }
        remove(&out)?;
        std::fs::create_dir_all(&out)?;
        let mut figures = measure::run(one.script, &environment, memory)?;
        figures.size = measure::size(work)?;
        remove(&out)?;
        if !self.keeps {
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
