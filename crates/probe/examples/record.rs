//! Records what `probe` asks of the machine that it runs on, for `tests/machines/NAME/`: run as root, give the
//! directory as the only argument. Writes `recording.json`, `layout.json`, `tree.txt` and `coverage.txt` there.
//! The recording holds superblocks, `/proc/self/mountinfo`, `/etc/fstab` and serial numbers, but no file contents:
//! read it before you give it away.

#[path = "../tests/common/compact.rs"]
mod compact;

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: record DIRECTORY")?;
    let record = sys::Record::new(sys::Real::default());
    let layout = probe::machine(&record)?;
    let coverage = probe::coverage(&record, &layout, &probe::Rules::default())?;
    let problems = probe::fstab_problems(&record, &layout)?;
    probe::sources(&record, &layout)?;
    std::fs::create_dir_all(&target)?;
    std::fs::write(target.join("recording.json"), compact::compact(&record.to_json()?))?;
    std::fs::write(target.join("layout.json"), layout.to_json()?)?;
    std::fs::write(target.join("tree.txt"), layout.tree())?;
    std::fs::write(target.join("coverage.txt"), coverage.table())?;
    print!("{}\n{}", layout.tree(), coverage.table());
    for problem in problems {
        println!("{problem}");
    }
    Ok(())
}
