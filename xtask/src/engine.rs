//! `cargo xtask bench-engine`: our archive and our repository beside other programs on the same tree, in turns, and how time and memory grow
//! with the number of files. It prints numbers and judges the aims as ratios of the same run; it writes only below `target/bench/`
//! (and the picture where it is told to), and removes what it made.

mod contender;
mod linear;
mod measure;
mod plot;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use rustix::mount::MountFlags;
use sys::{Cmd, Sys};

use crate::shop::Shop;
use contender::{Bound, Contender, Ours, TABLES, Table};
use measure::{Figures, median};

/// Programs of the contenders and of the measurement, and their Debian packages.
const NEEDS: &[(&str, &str)] = &[
    ("debootstrap", "debootstrap"),
    ("time", "time"),
    ("zstd", "zstd"),
    ("pigz", "pigz"),
    ("restic", "restic"),
    ("borg", "borgbackup"),
    ("mksquashfs", "squashfs-tools"),
];
/// Packages that make a root directory of about 0.9 GB.
const PACKAGES: &str = "build-essential,linux-image-amd64,python3,git,vim,locales,openssh-server";

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The tree to archive; without it a Debian root of about 0.9 GB, made once below target/bench/
    tree: Option<PathBuf>,
    /// How often each is measured; the median is printed
    #[arg(long, default_value = "5")]
    rounds: usize,
    /// Only these, by their names (ours always is among them); may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// Only the tables whose names begin so: archive, restore, first, second; may be repeated
    #[arg(long)]
    table: Vec<String>,
    /// How time and memory grow instead: 10^4, 10^5 and 10^6 files, and one large file
    #[arg(long)]
    linear: bool,
    /// With --linear: draws pictures into this folder
    #[arg(long, requires = "linear")]
    svg: Option<PathBuf>,
    /// Another program than the example `bench` of crates/backup that is built now; may be repeated to compare
    #[arg(long)]
    bench: Vec<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(shop: &Shop, options: &Options) -> Result<ExitCode> {
    if !sys::info::is_root() {
        bail!("root is needed to restore owners and to mount a tmpfs; run this as root");
    }
    let sys = sys::Real::new(shop.cancel.clone());
    shop.install(&sys, drill::missing(&sys, NEEDS))?;
    let dir = shop.root.join("target/bench");
    std::fs::create_dir_all(&dir)?;
    let _lock = sys::lock::Lock::take(&dir.join("lock"))?;
    let [archive, repository] = shop.build_bench()?;
    let archive = if options.bench.is_empty() { vec![archive] } else { options.bench.clone() };
    let ours: Vec<Ours<'_>> =
        archive.iter().map(|archive| Ours { archive, repository: &repository }).collect();
    // Others' disks and journals are not what is measured, and ours alone flushes what it has written.
    let memory = dir.join("memory");
    std::fs::create_dir_all(&memory)?;
    let mount = sys::mount::Mount::new(
        "tmpfs",
        &memory,
        "tmpfs",
        MountFlags::NOATIME,
        "size=12g,nr_inodes=0,mode=700",
    )?;
    let result = if options.linear {
        linear::run(shop, &ours, &memory, options.svg.as_deref())
    } else {
        let tree = match &options.tree {
            Some(tree) => tree.canonicalize().with_context(|| format!("there is no {}", tree.display()))?,
            None => debian(shop, &sys, &dir.join("tree"))?,
        };
        tables(shop, &ours, &tree, &memory, options)
    };
    mount.unmount()?;
    result
}

/// The unpacked packages of a Debian root: no script of them is run, nothing is mounted in it.
fn debian(shop: &Shop, sys: &sys::Real, tree: &Path) -> Result<PathBuf> {
    if tree.exists() {
        return Ok(tree.to_owned());
    }
    shop.say("making a Debian root with debootstrap (needs the network, some minutes)");
    let new = tree.with_extension("new");
    let packages = tree.with_extension("packages");
    for dir in [&new, &packages] {
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
    }
    let include = format!("--include={PACKAGES}");
    let load =
        Cmd::new("debootstrap").args(["--variant=minbase", "--download-only", include.as_str(), "bookworm"]);
    sys.run(&load.arg(packages.display().to_string()))?;
    std::fs::create_dir_all(&new)?;
    // Packages find the directories of a merged /usr there, as they do on a machine.
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::fs::create_dir_all(new.join("usr").join(name))?;
        std::os::unix::fs::symlink(format!("usr/{name}"), new.join(name))?;
    }
    let archives = packages.join("var/cache/apt/archives");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&archives)?
        .map(|entry| Ok(entry?.path()))
        .filter(|path: &Result<PathBuf>| {
            path.as_ref().map_or(true, |path| path.extension().is_some_and(|extension| extension == "deb"))
        })
        .collect::<Result<_>>()?;
    found.sort();
    for package in &found {
        shop.cancel.check()?;
        // As dpkg does it: dpkg-deb -x would put a directory in the place of a link.
        let script = "dpkg-deb --fsys-tarfile \"$0\" | tar -C \"$1\" --keep-directory-symlink -xpf -";
        sys.run(
            &Cmd::new("sh")
                .arg("-c")
                .arg(script)
                .args([package.display().to_string(), new.display().to_string()]),
        )?;
    }
    std::fs::remove_dir_all(&packages)?;
    std::fs::rename(&new, tree)?;
    Ok(tree.to_owned())
}

/// Reads everything once, so that it lies in the page cache, and waits until what was just made is on the disk: whoever
/// flushes a file would wait for all of it.
pub(super) fn warm(shop: &Shop, tree: &Path) -> Result<()> {
    shop.cancel.check()?;
    let script = "sync; find \"$0\" -type f -exec cat {} + > /dev/null";
    let done = std::process::Command::new("sh").arg("-c").arg(script).arg(tree).status()?;
    if done.success() { Ok(()) } else { bail!("{} cannot be read", tree.display()) }
}

/// All contenders on one tree.
fn tables(shop: &Shop, ours: &[Ours<'_>], tree: &Path, memory: &Path, options: &Options) -> Result<ExitCode> {
    let wanted = |one: &&Contender| {
        options.only.is_empty() || one.name == "rear" || options.only.iter().any(|name| name == one.name)
    };
    shop.say(&format!("reading {} into the page cache", tree.display()));
    warm(shop, tree)?;
    let mut met = true;
    let chosen = |table: &&Table| {
        options.table.is_empty() || options.table.iter().any(|name| table.title.starts_with(name.as_str()))
    };
    for table in TABLES.iter().filter(chosen) {
        // Each of our programs is a contender of its own.
        let contenders: Vec<(String, &Contender, Ours<'_>)> = table
            .contenders
            .iter()
            .filter(wanted)
            .flat_map(|one| {
                let programs = if one.name == "rear" { ours } else { &ours[..1] };
                programs.iter().enumerate().map(move |(index, program)| {
                    let number = if index == 0 { String::new() } else { format!(" ({})", index + 1) };
                    (format!("{}{number}", one.name), one, *program)
                })
            })
            .collect();
        let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); contenders.len()];
        let work = memory.join("work");
        for round in 1..=options.rounds {
            // Each comes first, and after each other, in turns: who follows a program with one thread finds a slower machine.
            let order = contenders.iter().enumerate().cycle().skip(round - 1).take(contenders.len());
            for (index, (name, one, program)) in order {
                shop.cancel.check()?;
                let found = table.run(one, *program, tree, &work.join(index.to_string()), memory)?;
                shop.say(&format!(
                    "{}, round {round}: {name:<12} {:6.2} s, processors {:6.2} s",
                    table.title, found.wall, found.processor
                ));
                figures[index].push(found);
            }
        }
        std::fs::remove_dir_all(&work)?;
        let names: Vec<&str> = contenders.iter().map(|(name, ..)| name.as_str()).collect();
        met &= print(table, &names, &figures, options.rounds);
    }
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints one table, with ratios taken round by round, and says whether the aims are met.
fn print(table: &Table, names: &[&str], figures: &[Vec<Figures>], rounds: usize) -> bool {
    let at = |name: &str| names.iter().position(|one| *one == name).and_then(|index| figures.get(index));
    let base = at(table.base);
    let ratio = |one: &[Figures], value: fn(&Figures) -> f64| -> Option<f64> {
        let pairs = one.iter().zip(base?).map(|(one, base)| value(one) / value(base));
        Some(median(pairs.collect()))
    };
    println!("\n| {} | time | | processors | | peak memory | size | |", table.title);
    println!("|---|---|---|---|---|---|---|---|");
    let shown = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    let of = |one: &[Figures], value: fn(&Figures) -> f64| median(one.iter().map(value).collect());
    for (name, one) in names.iter().zip(figures) {
        println!(
            "| {name} | {:.2} s | {} | {:.2} s | {} | {:.0} MB | {:.1} MB | {} |",
            of(one, |one| one.wall),
            shown(ratio(one, |one| one.wall)),
            of(one, |one| one.processor),
            shown(ratio(one, |one| one.processor)),
            of(one, Figures::megabytes),
            of(one, |one| one.size) / 1e6,
            shown(ratio(one, |one| one.size)),
        );
    }
    println!(
        "(median of {rounds} rounds in turns; ratios to {} of the same round; memory of the largest process)",
        table.base
    );
    let Some(rear) = at("rear") else { return true };
    let mut met = true;
    for aim in table.aims {
        let (found, bound, of) = match aim.bound {
            Bound::Part(part) => (ratio(rear, aim.value), part, format!(" of {}'s", table.base)),
            Bound::Most(most) => (Some(of(rear, aim.value)), most, String::new()),
        };
        let Some(found) = found else { continue };
        let verdict = if found <= bound { "met" } else { "NOT met" };
        println!("aim: {}, {} at most {bound:.2}{of}: {found:.2}, {verdict}", table.title, aim.what);
        met &= found <= bound;
    }
    met
}
