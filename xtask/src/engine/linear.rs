//! How time and memory grow: trees of ever more files, and ever larger files. Each is made, measured and removed.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use sys::Sys;

use super::measure::{self, Figures};
use super::plot::{self, Series};
use super::warm;
use crate::shop::Shop;

/// Numbers of files.
const COUNTS: [u64; 3] = [10_000, 100_000, 1_000_000];
/// Sizes of one file, in bytes.
const SIZES: [u64; 3] = [1_250_000_000, 5_000_000_000, 20_000_000_000];
/// Room that is left, in bytes.
const SPARE: u64 = 1_000_000_000;
/// Files in one directory.
const TOGETHER: u64 = 1000;

const CREATE: &str = "\"$B\" create \"$T\" \"$W\"";
const RESTORE: &str = "\"$B\" restore \"$W\" \"$O\"";
const COMPARE: &str = "\"$B\" compare \"$W\" \"$O\"";
const BROWSE: &str = "\"$B\" browse \"$W\"";
const ZSTD: &str = "tar -S -C \"$T\" -cf - . | zstd -q -T0 -3 -o \"$W/z\"";

/// Measures, prints, and draws.
pub(super) fn run(shop: &Shop, ours: &[PathBuf], memory: &Path, svg: Option<&Path>) -> Result<ExitCode> {
    let [program, ..] = ours else { bail!("there is no program to measure") };
    // In memory: to make and to remove a million files on a disk takes many times as long as to archive them.
    let dir = memory.join("linear");
    let mut rows = Vec::new();
    let mut series: Vec<Series> = ["archive", "restore", "compare", "browse"].map(Series::new).into();
    let mut peak: Vec<Series> = series.iter().map(|one| Series::new(one.name)).collect();
    for count in COUNTS {
        shop.say(&format!("making {count} files"));
        let tree = dir.join("tree");
        many(shop, &tree, count)?;
        let found = warm(shop, &tree).and_then(|()| all(shop, program, &tree, &dir, memory));
        std::fs::remove_dir_all(&dir)?;
        let found = found?;
        for ((series, peak), figures) in series.iter_mut().zip(&mut peak).zip(&found) {
            series.points.push((count as f64, figures.wall));
            peak.points.push((count as f64, figures.memory / 1000.0));
        }
        rows.push((format!("{count} files"), found));
    }
    for size in SIZES {
        std::fs::create_dir_all(&dir)?;
        let free = sys::Real::new(shop.cancel.clone()).usage(&dir)?.available;
        let title = format!("one file of {} GB, a tenth of it data", size as f64 / 1e9);
        if free < size / 10 * 3 + SPARE {
            println!("{title} is left out: {:.1} GB are free", free as f64 / 1e9);
            continue;
        }
        shop.say(&format!("making {title}"));
        let tree = dir.join("tree");
        let made = large(shop, &tree, size).and_then(|()| warm(shop, &tree));
        let found = made.and_then(|()| all(shop, program, &tree, &dir, memory));
        std::fs::remove_dir_all(&dir)?;
        rows.push((title, found?));
    }
    println!(
        "\n| | archive | processors | memory | tar+zstd -T0 | restore | processors | memory | compare | browse | memory |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (title, found) in &rows {
        let [create, restore, compare, browse, zstd] = found;
        let megabytes = |figures: &Figures| format!("{:.0} MB", figures.memory / 1000.0);
        let seconds = |seconds: f64| format!("{seconds:.1} s");
        println!(
            "| {title} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            seconds(create.wall),
            seconds(create.processor),
            megabytes(create),
            seconds(zstd.wall),
            seconds(restore.wall),
            seconds(restore.processor),
            megabytes(restore),
            seconds(compare.wall),
            seconds(browse.wall),
            megabytes(browse),
        );
    }
    if let Some(svg) = svg {
        let text = plot::draw(
            "Time and memory by number of files",
            &[("seconds", &series[..]), ("peak memory, MB", &peak[..])],
        );
        std::fs::write(svg, text)?;
        println!("{}", svg.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Every verb once: create, restore, compare, browse, and tar with zstd.
fn all(shop: &Shop, program: &Path, tree: &Path, dir: &Path, memory: &Path) -> Result<[Figures; 5]> {
    let (work, out) = (dir.join("work"), memory.join("out"));
    std::fs::create_dir_all(&work)?;
    std::fs::create_dir_all(&out)?;
    let environment = [("B", program), ("T", tree), ("W", work.as_path()), ("O", out.as_path())];
    let one = |script: &str| {
        shop.cancel.check()?;
        let found = measure::run(script, &environment, memory)?;
        shop.say(&format!("{:7.2} s, {:6.0} MB  {script}", found.wall, found.memory / 1000.0));
        Ok::<_, anyhow::Error>(found)
    };
    let (create, restore, compare) = (one(CREATE)?, one(RESTORE)?, one(COMPARE)?);
    std::fs::remove_dir_all(&out)?;
    Ok([create, restore, compare, one(BROWSE)?, one(ZSTD)?])
}

/// A tree of small files that are all different.
fn many(shop: &Shop, tree: &Path, count: u64) -> Result<()> {
    for first in (0..count).step_by(usize::try_from(TOGETHER)?) {
        shop.cancel.check()?;
        let dir = tree.join(format!("{:02}/{:04}", first / TOGETHER % 10, first / TOGETHER));
        std::fs::create_dir_all(&dir)?;
        for number in first..(first + TOGETHER).min(count) {
            let text = format!("This is file {number} of {count}; its neighbours say something else.\n");
            std::fs::write(
                dir.join(format!("file-{number:07}.txt")),
                text.repeat(1 + usize::try_from(number % 20)?),
            )?;
        }
    }
    Ok(())
}

/// A file of which a tenth is data, in stretches of a mebibyte, and the rest is holes: there is no room for more.
fn large(shop: &Shop, tree: &Path, size: u64) -> Result<()> {
    std::fs::create_dir_all(tree)?;
    let file = std::fs::File::create(tree.join("large"))?;
    file.set_len(size)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0; 1 << 20];
    for offset in (0..size).step_by(10 * block.len()) {
        shop.cancel.check()?;
        for chunk in block.as_chunks_mut::<16>().0 {
            // xorshift: cheap, and nothing that zstd sees through; it makes the block half as large.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let number = state.to_ne_bytes();
            chunk[..8].copy_from_slice(&number);
            chunk[8..].fill(number[0]);
        }
        let length = usize::try_from(size - offset).unwrap_or(usize::MAX).min(block.len());
        file.write_all_at(&block[..length], offset)?;
    }
    Ok(())
}
