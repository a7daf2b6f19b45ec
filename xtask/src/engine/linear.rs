//! How time and memory grow: trees of ever more files, and ever larger files. Each is made, measured and removed.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::contender::Ours;
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

/// A program's run, and how its column is called.
struct Step {
    name: &'static str,
    script: &'static str,
    /// Whether it writes zeros where the tree has holes: it is left out where there is no room for them.
    fills: bool,
}

const fn step(name: &'static str, script: &'static str) -> Step {
    Step { name, script, fills: false }
}

const ARCHIVE: &[Step] = &[
    step("archive", "\"$B\" create \"$T\" \"$W\""),
    step("restore", "\"$B\" restore \"$W\" \"$O\""),
    step("compare", "\"$B\" compare \"$W\" \"$O\""),
    step("browse", "\"$B\" browse \"$W\""),
    step("tar+zstd -T0", "tar -S -C \"$T\" -cf - . | zstd -q -T0 -3 -o \"$W/z\""),
];
const REPOSITORY: &[Step] = &[
    step("first snapshot", "\"$R\" save \"$T\" \"$W/r\" \"$W/m\""),
    step("nothing changed", "\"$R\" save \"$T\" \"$W/r\" \"$W/m\""),
    step("restore", "\"$R\" restore \"$W/r\" \"$O\" \"$W/m\""),
    step(
        "restic, first",
        "export RESTIC_PASSWORD=x; restic -q --no-cache init -r \"$W/x\" && restic -q --no-cache backup -r \"$W/x\" \"$T\"",
    ),
    step("restic, nothing changed", "RESTIC_PASSWORD=x restic -q --no-cache backup -r \"$W/x\" \"$T\""),
    Step {
        name: "restic, restore",
        script: "rm -rf \"$O\"; RESTIC_PASSWORD=x restic -q --no-cache restore -r \"$W/x\" latest --target \"$O\"",
        fills: true,
    },
];
/// What is drawn: a file for each, and how many of its steps are ours.
const PICTURES: [(&str, &[Step], usize); 2] = [("archive", ARCHIVE, 4), ("repository", REPOSITORY, 3)];

/// Measures, prints, and draws.
pub(super) fn run(shop: &Shop, ours: &[Ours<'_>], memory: &Path, svg: Option<&Path>) -> Result<ExitCode> {
    let [program, ..] = ours else { bail!("there is no program to measure") };
    // In memory: to make and to remove a million files on a disk takes many times as long as to archive them.
    let dir = memory.join("linear");
    let tree = dir.join("tree");
    let mut many_files = Vec::new();
    let mut one_file = Vec::new();
    for count in COUNTS {
        shop.say(&format!("making {count} files"));
        many(shop, &tree, count)?;
        let found = warm(shop, &tree).and_then(|()| all(shop, *program, &tree, 0, memory));
        std::fs::remove_dir_all(&dir)?;
        many_files.push((count, found?));
    }
    for size in SIZES {
        std::fs::create_dir_all(&dir)?;
        let free = shop.free(&dir)?;
        let title = format!("one file of {} GB, a tenth of it data", size as f64 / 1e9);
        if free < size / 10 * 3 + SPARE {
            println!("{title} is left out: {:.1} GB are free", free as f64 / 1e9);
            continue;
        }
        shop.say(&format!("making {title}"));
        let made = large(shop, &tree, size).and_then(|()| warm(shop, &tree));
        let found = made.and_then(|()| all(shop, *program, &tree, size, memory));
        std::fs::remove_dir_all(&dir)?;
        one_file.push((title, found?));
    }
    for (index, (name, steps, mine)) in PICTURES.iter().enumerate() {
        let titled = many_files.iter().map(|(count, found)| (format!("{count} files"), &found[index]));
        let rows: Vec<_> =
            titled.chain(one_file.iter().map(|(title, found)| (title.clone(), &found[index]))).collect();
        print(steps, &rows);
        let Some(svg) = svg else { continue };
        let lines = |value: fn(&Figures) -> f64| -> Vec<Series> {
            let mut series: Vec<Series> =
                steps.iter().take(*mine).map(|step| Series::new(step.name)).collect();
            for (count, found) in &many_files {
                for (series, figures) in series.iter_mut().zip(&found[index]) {
                    series.points.extend(figures.iter().map(|figures| (*count as f64, value(figures))));
                }
            }
            series
        };
        let (seconds, peak) = (lines(|one| one.wall), lines(Figures::megabytes));
        let text = plot::draw(
            &format!("{name}: time and memory by number of files"),
            &[("seconds", &seconds), ("peak memory, MB", &peak)],
        );
        let file = svg.join(format!("benchmarks-{name}.svg"));
        std::fs::write(&file, text)?;
        println!("{}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a table: of each step its seconds and its peak memory.
fn print(steps: &[Step], rows: &[(String, &Vec<Option<Figures>>)]) {
    let header: String = steps.iter().map(|step| format!(" {} | |", step.name)).collect();
    println!("\n| |{header}\n|---|{}", "---|---|".repeat(steps.len()));
    for (title, found) in rows {
        let cells = found.iter().map(|one| match one {
            Some(one) => format!(" {:.1} s | {:.0} MB |", one.wall, one.megabytes()),
            None => " – | – |".into(),
        });
        println!("| {title} |{}", cells.collect::<String>());
    }
}

/// Every step of both once; `nominal` is the size of a file with holes, in bytes.
fn all(
    shop: &Shop,
    ours: Ours<'_>,
    tree: &Path,
    nominal: u64,
    memory: &Path,
) -> Result<[Vec<Option<Figures>>; 2]> {
    let (work, out) = (tree.with_file_name("work"), memory.join("out"));
    let environment = [
        ("B", ours.archive),
        ("R", ours.repository),
        ("T", tree),
        ("W", work.as_path()),
        ("O", out.as_path()),
    ];
    let every = |steps: &[Step]| -> Result<Vec<Option<Figures>>> {
        std::fs::create_dir_all(&work)?;
        std::fs::create_dir_all(&out)?;
        let mut all = Vec::new();
        for Step { script, fills, .. } in steps {
            shop.cancel.check()?;
            if *fills && shop.free(memory)? < nominal + SPARE {
                all.push(None);
                continue;
            }
            let found = measure::run(script, &environment, memory)?;
            shop.say(&format!("{:7.2} s, {:6.0} MB  {script}", found.wall, found.megabytes()));
            all.push(Some(found));
        }
        std::fs::remove_dir_all(&out)?;
        std::fs::remove_dir_all(&work)?;
        Ok(all)
    };
    Ok([every(ARCHIVE)?, every(REPOSITORY)?])
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
