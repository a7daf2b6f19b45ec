//! Saves, plans, recreates and compares the storage of a machine whose root filesystem lies elsewhere: what the storage
//! drill runs in its guest. Never touches the disk that carries `/`, and asks nothing: whoever starts it has
//! nothing to lose on the other disks.
//!
//!     recreate save FILE [new-keys] [SETTING=NAME...]
//!                                     probe, and write the layout of all disks but the root's; LUKS headers beside it;
//!                                     with settings such as EXCLUDE_VG=data, what these leave, and what is preserved beside it
//!     recreate plan FILE              what would be done to bring that layout back
//!     recreate apply FILE             do it
//!     recreate diff A B               every difference between two layouts; exit code 1 if there are any
//!     recreate snapshots DIR [strict] snapshots of all that is mounted below /mnt/t, shown below DIR: makes DIR/ready, waits for
//!                                     DIR/go, prints the file `moment` of each, and removes them
//!     recreate leftovers              removes the snapshots that a killed run has left
//!
//! Containers come back from their headers, or with `new-keys` with a new passphrase; either way the drill's own one
//! opens them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use layout::{Content, Layout, NodeId};
use plan::{Choices, Plan};
use sys::{Cancel, Cmd, Secret, Sys};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What stands in the place of a recovery point's id.
const POINT: &str = "storage drill";

/// What opens every container of the drill.
const PASSPHRASE: &str = "drill";

fn main() -> ExitCode {
    // What is run goes to standard error, so that a failed layout can be understood from its log alone.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_max_level(tracing::Level::DEBUG)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["save", file, "new-keys", rules @ ..] => {
            save(Path::new(file), false, rules).map(|()| ExitCode::SUCCESS)
        }
        ["save", file, rules @ ..] => save(Path::new(file), true, rules).map(|()| ExitCode::SUCCESS),
        ["plan", file] => show(Path::new(file)).map(|()| ExitCode::SUCCESS),
        ["apply", file] => apply(Path::new(file)).map(|()| ExitCode::SUCCESS),
        ["diff", old, new] => diff(Path::new(old), Path::new(new)),
        ["snapshots", dir] => snapshots(Path::new(dir), false),
        ["snapshots", dir, "strict"] => snapshots(Path::new(dir), true),
        ["leftovers"] => leftovers(),
        _ => {
            Err("use: recreate save FILE [new-keys] [SETTING=NAME...] | plan FILE | apply FILE | diff A B | \
                 snapshots DIR [strict] | leftovers"
                .into())
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("recreate: {error}");
        ExitCode::from(2)
    })
}

fn load(file: &Path) -> Result<Layout> {
    Ok(Layout::from_json(&std::fs::read_to_string(file)?)?)
}

fn save(file: &Path, headers: bool, rules: &[&str]) -> Result<()> {
    let sys = sys::Real::new(Cancel::on_signals()?);
    let mut layout = probe::machine(&sys)?;
    if !rules.is_empty() {
        let coverage = cover(&sys, &layout, rules)?;
        eprintln!("{}{}", coverage.table(), coverage.disk_table());
        if let Some(probe::Decision::Unsupported { why }) =
            coverage.unsupported().next().map(|row| row.decision.clone())
        {
            return Err(why.into());
        }
        std::fs::write(kept_file(file), without_root(probe::preserved(&layout, &coverage)).to_json()?)?;
        layout = probe::reduce(&layout, &coverage);
    }
    let mut layout = without_root(layout);
    for device in &mut layout.devices {
        if let Content::Luks(luks) = &mut device.content {
            let header = header_file(file, &luks.uuid);
            if headers && !header.exists() {
                let backup = Cmd::new("cryptsetup").args(["luksHeaderBackup", "--batch-mode"]);
                let to = format!("--header-backup-file={}", header.display());
                sys.run(&backup.arg(to).arg(device.path.clone()))?;
            }
            luks.sealed = headers;
        }
    }
    Ok(std::fs::write(file, layout.to_json()?)?)
}

/// What the product's coverage says with these settings.
fn cover(sys: &dyn Sys, layout: &Layout, settings: &[&str]) -> Result<probe::Coverage> {
    let of = |name: &str| -> Vec<String> {
        let pairs = settings.iter().filter_map(|pair| pair.split_once('='));
        pairs.filter(|(setting, _)| *setting == name).map(|(_, value)| value.to_owned()).collect()
    };
    let rules = probe::Rules {
        exclude_vg: &of("EXCLUDE_VG"),
        only_include_vg: &of("ONLY_INCLUDE_VG"),
        exclude_md: &of("EXCLUDE_MD"),
        exclude_recreate: &of("EXCLUDE_RECREATE"),
        exclude_components: &of("EXCLUDE_COMPONENTS"),
        autoexclude_disks: true,
        ..probe::Rules::default()
    };
    Ok(probe::coverage(sys, layout, &rules)?)
}

/// Where the layout of the preserved disks lies beside that of the others.
fn kept_file(layout: &Path) -> PathBuf {
    layout.with_extension("kept.json")
}

/// Where the header of a container lies beside its layout.
fn header_file(layout: &Path, uuid: &str) -> PathBuf {
    layout.with_extension(format!("{uuid}.header"))
}

/// The drill's containers: their headers, read back, and the one passphrase.
struct Keys {
    headers: BTreeMap<String, Vec<u8>>,
    passphrase: Secret,
}

impl Keys {
    fn of(file: &Path, saved: &Layout) -> Result<Self> {
        let mut headers = BTreeMap::new();
        for device in &saved.devices {
            if let Content::Luks(luks) = &device.content
                && luks.sealed
            {
                headers.insert(luks.uuid.clone(), std::fs::read(header_file(file, &luks.uuid))?);
            }
        }
        Ok(Self { headers, passphrase: Secret::new(PASSPHRASE) })
    }
}

impl apply::Keys for Keys {
    fn header(&self, uuid: &str) -> Option<&[u8]> {
        self.headers.get(uuid).map(Vec::as_slice)
    }
    fn key(&self, _uuid: &str) -> Option<&Secret> {
        Some(&self.passphrase)
    }
}

/// The layout without the disks that carry the running system, and all that lies on them.
fn without_root(mut layout: Layout) -> Layout {
    let root: Vec<NodeId> = layout
        .mounted_at("/")
        .map(|device| layout.disks_below(&device.id).iter().map(|disk| disk.id.clone()).collect())
        .unwrap_or_default();
    let dropped: Vec<NodeId> =
        root.iter().flat_map(|disk| layout.subtree(disk)).map(|device| device.id.clone()).collect();
    layout.devices.retain(|device| !dropped.contains(&device.id));
    layout.mounts.retain(|mount| !dropped.contains(&mount.device));
    layout
}

/// The present machine, and the plan for it.
struct Fitted {
    present: Layout,
    protected: BTreeMap<NodeId, String>,
    sequences: apply::Sequences,
    plan: Plan,
}

fn fit(sys: &dyn Sys, file: &Path, saved: &Layout) -> Result<Fitted> {
    let sequences = apply::Sequences::read(sys)?;
    let present = probe::machine(sys)?;
    let mut protected: BTreeMap<NodeId, String> = probe::sources(sys, &present)?
        .into_iter()
        .map(|id| (id, "it carries a mounted filesystem".to_owned()))
        .collect();
    if kept_file(file).exists() {
        let preserved = plan::preserved(&load(&kept_file(file))?, &present);
        if let Some((id, what)) = preserved.missing.first() {
            return Err(format!("a preserved disk is not here as it was: {what} [{id}]").into());
        }
        protected.extend(preserved.protected);
    }
    let fit = plan::fit(saved, &present, &protected, &Choices::default())?;
    let plan = plan::storage(saved, &present, fit, POINT)?;
    Ok(Fitted { present, protected, sequences, plan })
}

fn show(file: &Path) -> Result<()> {
    let sys = sys::Real::new(Cancel::on_signals()?);
    let fitted = fit(&sys, file, &load(file)?)?;
    println!("{}", fitted.plan.text_verbose().trim_end());
    Ok(())
}

/// Says every step before it begins.
struct Aloud;

impl apply::Progress for Aloud {
    fn step(&self, step: &plan::Step, n: usize, of: usize) {
        eprintln!("step {n}/{of}: {}", step.describe());
    }
}

fn apply(file: &Path) -> Result<()> {
    let cancel = Cancel::on_signals()?;
    let sys = sys::Real::new(cancel.clone());
    let saved = load(file)?;
    let keys = Keys::of(file, &saved)?;
    let Fitted { present, protected, sequences, plan } = fit(&sys, file, &saved)?;
    // A journal of an earlier run must not make this one skip anything.
    let place = std::env::temp_dir().join(format!("recreate-{}", std::process::id()));
    let mut journal = apply::Journal::open(&place.join("journal.json"), &plan)?;
    let targets = apply::targets_since(&sys, &plan, &present, &protected, &sequences)?;
    let applied = apply::run_with_keys(&sys, &keys, &plan, targets, &mut journal, &Aloud, &cancel)?;
    for (id, node) in &applied.devices {
        println!("{id} {}", node.display());
    }
    // There are no files to restore in between.
    let problems = apply::finish(&sys, &saved, &applied.devices)?;
    applied.mounts.unmount()?;
    std::fs::remove_dir_all(place)?;
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ").into()) }
}

fn diff(old: &Path, new: &Path) -> Result<ExitCode> {
    let (old, mut new) = (load(old)?, load(new)?);
    for device in &mut new.devices {
        let before = old.device(&device.id).map(|device| &device.content);
        if let (Content::Luks(luks), Some(Content::Luks(before))) = (&mut device.content, before)
            && !before.sealed
        {
            // A container with a new passphrase has none of its old key slots.
            *luks = luks.clone().with_keys_of(before);
        }
    }
    let changes = layout::diff(&old, &new);
    for change in &changes {
        println!("{change}");
    }
    let groups = old.groups != new.groups;
    if groups && changes.is_empty() {
        println!("the volume groups differ:\n{:#?}\n{:#?}", old.groups, new.groups);
    }
    Ok(if changes.is_empty() && !groups { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows everything below `/mnt/t` as it is at one moment, until it is told to go on.
fn snapshots(dir: &Path, strict: bool) -> Result<ExitCode> {
    sys::mount::private_namespace()?;
    let cancel = Cancel::on_signals()?;
    let sys = sys::Real::new(cancel.clone());
    let layout = probe::machine(&sys)?;
    let tested = layout.mounts.iter().filter(|mount| mount.mount_point.starts_with("/mnt/t/"));
    let places: Vec<snapshot::Place> = tested
        .map(|mount| snapshot::Place {
            at: mount.mount_point.clone(),
            device: mount.device.clone(),
            fs_type: mount.fs_type.clone(),
            root: mount.root.clone(),
            written: layout::Bytes(0),
        })
        .collect();
    let plan = snapshot::Plan::new(&sys, &layout, &places, &[]);
    for refusal in plan.refusals() {
        println!("cannot: {refusal}");
    }
    if strict && !plan.refusals().is_empty() {
        return Err("not everything can be read from a snapshot".into());
    }
    let mut taken = plan.take(&sys::info::random_id()?, strict, &cancel)?;
    let mut mounts = sys::mount::Mounts::default();
    let mut shown = Vec::new();
    for (number, place) in places.iter().enumerate() {
        let target = dir.join(number.to_string());
        std::fs::create_dir_all(&target)?;
        if taken.show(&place.at, &target, &mut mounts)? {
            shown.push((place.at.clone(), target));
        }
    }
    for seat in taken.seats() {
        println!("{}: {:?}", seat.place.at, seat.way);
    }
    println!("inner: {:?}", taken.inner());
    std::fs::write(dir.join("ready"), "")?;
    while !dir.join("go").exists() && !cancel.is_raised() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    for (at, target) in &shown {
        match std::fs::read_to_string(target.join("moment")) {
            Ok(text) => println!("{at} holds {}", text.trim()),
            Err(error) => println!("{at} is unreadable: {error}"),
        }
    }
    if let Some(trouble) = taken.trouble() {
        println!("trouble: {trouble}");
    }
    mounts.unmount()?;
    let left = taken.remove();
    for left in &left {
        println!("left: {left}");
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn leftovers() -> Result<ExitCode> {
    sys::mount::private_namespace()?;
    let sys = sys::Real::new(Cancel::on_signals()?);
    let (gone, stay) = snapshot::Leftovers::find(&sys, &probe::machine(&sys)?).remove();
    gone.iter().for_each(|what| println!("removed {what}"));
    stay.iter().for_each(|what| println!("stays: {what}"));
    Ok(if stay.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
