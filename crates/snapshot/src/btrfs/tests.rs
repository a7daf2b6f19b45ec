//! Which subvolumes are read where; and snapshots of a real btrfs in a file (loop device). These need root, and say so where they
//! run without.

use std::os::unix::fs::MetadataExt;

use layout::{Btrfs, Content, Disk, DiskIdentity, Filesystem, Firmware, Kind, Subvolume};
use sys::Real;

use super::*;
use crate::{Leftovers, Place, Plan};

fn order(places: &[(&str, &str)], others: &[&str], skip: &[&str]) -> Order {
    let own = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    Order {
        device: NodeId("d".into()),
        path: "/dev/vda".into(),
        places: places.iter().map(|(at, root)| ((*at).to_owned(), (*root).to_owned())).collect(),
        others: own(others),
        skip: own(skip),
        live: Vec::new(),
    }
}

#[test]
fn each_subvolume_is_read_where_the_backup_reads_it() {
    let order = order(
        &[("/", "@"), ("/home", "@home"), ("/.rear-btrfs-u", "")],
        &["/", "/boot", "/home", "/.rear-btrfs-u"],
        &["/.snapshots/1", "/.rear-btrfs-u/@", "/.rear-btrfs-u/@home"],
    );
    let shown = |number: usize, path: &str| order.shown(&order.places[number], path);
    assert_eq!(shown(0, "@").as_deref(), Some("/"));
    assert_eq!(shown(0, "@/var/lib/x").as_deref(), Some("/var/lib/x"));
    assert_eq!(shown(0, "@/.snapshots/1/snapshot"), None, "left out");
    assert_eq!(shown(0, "@/boot"), None, "hidden by a mount");
    assert_eq!(shown(0, "@home"), None, "beside it");
    assert_eq!(shown(1, "@home/u").as_deref(), Some("/home/u"));
    assert_eq!(shown(2, "@home/u"), None, "read elsewhere");
    assert_eq!(shown(2, "backup").as_deref(), Some("/.rear-btrfs-u/backup"));
    assert!(order.wants("") && order.wants("backup") && !order.wants("@/boot"));
    assert!(!order.wants(".rear-backup-snapshots/0"));
    assert_eq!(order.own().collect::<Vec<_>>(), [PathBuf::from("/.rear-btrfs-u/.rear-backup-snapshots")]);
}

#[test]
fn names_of_subvolumes() {
    let text = "ID 256 gen 9 top level 5 path @\nID 257 gen 9 top level 256 path @/a path b\n";
    assert_eq!(names(text).unwrap(), ["@", "@/a path b"]);
    assert!(names("ERROR: something\n").is_err());
    assert_eq!(names("").unwrap(), [""; 0]);
}

/// A btrfs in a file, its top mounted.
struct Bench {
    dir: tempfile::TempDir,
    device: String,
    mount: Option<Mount>,
}

impl Bench {
    /// `None` where that is not possible here.
    fn new() -> Option<Self> {
        let sys = Real::default();
        if !sys::info::is_root() || sys.which("mkfs.btrfs").is_none() {
            eprintln!("skipped: needs root and btrfs-progs");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(200 << 20).unwrap();
        let image = image.to_string_lossy().into_owned();
        sys.run(&Cmd::new("mkfs.btrfs").args(["-q", "-M"]).arg(&image)).unwrap();
        let Ok(looped) = sys.run(&Cmd::new("losetup").args(["--find", "--show"]).arg(&image)) else {
            eprintln!("skipped: no loop devices");
            return None;
        };
        let device = looped.text().trim().to_owned();
        let top = dir.path().join("top");
        std::fs::create_dir(&top).unwrap();
        let mount = Mount::new(&device, &top, "btrfs", MountFlags::empty(), "");
        let bench = Self { dir, device, mount: mount.ok() };
        if bench.mount.is_none() {
            eprintln!("skipped: this kernel mounts no btrfs");
            return None;
        }
        Some(bench)
    }

    fn top(&self) -> PathBuf {
        self.dir.path().join("top")
    }

    fn subvolume(&self, path: &str) {
        let path = self.top().join(path).to_string_lossy().into_owned();
        Real::default().run(&Cmd::new("btrfs").args(["subvolume", "create"]).arg(path)).unwrap();
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.top().join(path), text).unwrap();
    }

    /// The layout that a probe of it finds.
    fn layout(&self) -> Layout {
        let mut layout = Layout::new(layout::Machine {
            hostname: String::new(),
            firmware: Firmware::Bios,
            architecture: String::new(),
            system: String::new(),
        });
        let one = |path: String| Subvolume { id: 256, path, read_only: false, snapshot_of: None };
        let names = list(&Real::default(), &self.top()).unwrap();
        let btrfs = Btrfs {
            metadata_profile: "single".into(),
            subvolumes: names.into_iter().map(one).collect(),
            ..Btrfs::default()
        };
        layout.devices.push(layout::Device {
            id: NodeId("d".into()),
            path: self.device.clone(),
            size: layout::Bytes(200 << 20),
            sector: layout::SectorSize(512),
            kind: Kind::Disk(Disk {
                identity: DiskIdentity::default(),
                transport: String::new(),
                removable: false,
                read_only: false,
                multipath: None,
            }),
            content: Content::Filesystem(Filesystem {
                uuid: "u".into(),
                label: String::new(),
                used: None,
                kind: FsKind::Btrfs(btrfs),
            }),
        });
        layout
    }

    fn plan(&self, places: &[(&str, &str)], skip: &[&str]) -> Plan {
        let place = |(at, root): &(&str, &str)| Place {
            at: (*at).to_owned(),
            device: NodeId("d".into()),
            fs_type: "btrfs".into(),
            root: (*root).to_owned(),
            written: layout::Bytes(0),
        };
        let places: Vec<Place> = places.iter().map(place).collect();
        let skip: Vec<String> = skip.iter().map(|path| (*path).to_owned()).collect();
        Plan::new(&Real::default(), &self.layout(), &places, &skip)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.mount.take());
        let _ = Real::default().run(&Cmd::new("losetup").arg("-d").arg(&self.device));
    }
}

/// The tests mount at the same places.
static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn files_stay_as_they_were_and_nothing_is_left() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::new() else { return };
    for path in ["@", "@/var", "@/var/deep", "@out", "@home"] {
        bench.subvolume(path);
        bench.write(&format!("{path}/file"), "before");
    }
    bench.write("file", "before");
    let at = bench.dir.path().join("shown");
    std::fs::create_dir(&at).unwrap();
    let time =
        |path: &Path| std::fs::metadata(path).map(|found| (found.mtime(), found.mtime_nsec())).unwrap();
    let before = time(&bench.top());

    let plan = bench.plan(&[("/", "/@"), ("/home", "/@home"), ("/.top", "/")], &["/.top/@", "/.top/@home"]);
    assert!(!plan.is_empty());
    assert_eq!(plan.refusals(), [""; 0]);
    let mut taken = plan.take("0123456789abcdef", true, &Cancel::default()).unwrap();
    for path in ["@/file", "@/var/file", "@/var/deep/file", "@out/file", "@home/file", "file"] {
        bench.write(path, "after");
    }
    std::fs::write(bench.top().join("@/new"), "new").unwrap();
    let mut mounts = Mounts::default();
    assert!(taken.show("/", &at, &mut mounts).unwrap());
    let read = |path: &str| std::fs::read_to_string(at.join(path)).unwrap_or_default();
    assert_eq!(
        (read("file"), read("var/file"), read("var/deep/file")),
        ("before".into(), "before".into(), "before".into())
    );
    assert!(!at.join("new").exists());
    assert_eq!(taken.inner(), [PathBuf::from("/var"), PathBuf::from("/var/deep")]);
    assert!(std::fs::write(at.join("file"), "x").is_err(), "read-only");
    // What is nested is a mount of its own, as the walk will see it, and has the inode of a root.
    assert_eq!(std::fs::metadata(at.join("var")).unwrap().ino(), 256);
    mounts.unmount().unwrap();

    let mut mounts = Mounts::default();
    assert!(taken.show("/.top", &at, &mut mounts).unwrap());
    assert_eq!((read("file"), read("@out/file")), ("before".into(), "before".into()));
    assert_eq!(std::fs::read_dir(at.join("@")).unwrap().count(), 0, "read elsewhere");
    assert_eq!(time(&at), before, "our directory leaves no trace in the time of the top");
    assert_eq!(taken.own(), [PathBuf::from("/.top/.rear-backup-snapshots")]);
    mounts.unmount().unwrap();
    assert_eq!(taken.trouble(), None);
    assert_eq!(taken.remove(), [""; 0]);

    assert!(!bench.top().join(mark::SNAPSHOTS).exists());
    assert_eq!(list(&Real::default(), &bench.top()).unwrap().len(), 5);
    assert_eq!(time(&bench.top()), before);
}

#[test]
fn a_subvolume_that_swaps_is_read_live() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::new() else { return };
    bench.subvolume("swap");
    bench.write("swap/file", "before");
    bench.write("file", "before");
    let mut plan = bench.plan(&[("/data", "/")], &[]);
    plan.filesystems[0].live = vec![("swap".into(), "it holds the swap file /data/swap/x".into())];
    assert_eq!(plan.refusals(), ["the subvolume swap: it holds the swap file /data/swap/x"]);
    let mut taken = plan.take("0123456789abcdef", false, &Cancel::default()).unwrap();
    bench.write("swap/file", "after");
    bench.write("file", "after");
    let at = bench.dir.path().join("shown");
    std::fs::create_dir(&at).unwrap();
    let mut mounts = Mounts::default();
    assert!(taken.show("/data", &at, &mut mounts).unwrap());
    assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "before");
    assert_eq!(std::fs::read_to_string(at.join("swap/file")).unwrap(), "after");
    mounts.unmount().unwrap();
    drop(taken);
    assert!(!bench.top().join(mark::SNAPSHOTS).exists(), "a value that goes away removes them too");
}

#[test]
fn what_a_killed_run_left_goes_away_and_nothing_else() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::new() else { return };
    bench.subvolume("@");
    let taken = bench.plan(&[("/", "/@")], &[]).take("0123456789abcdef", true, &Cancel::default()).unwrap();
    // Killed: nobody removes anything, and the mounts go with the process.
    std::mem::forget(taken);
    sys::mount::unmount(&Path::new(TOPS).join("0")).unwrap();
    let found = Leftovers::find(&Real::default(), &bench.layout());
    assert!(!found.is_empty());
    let (gone, stay) = found.remove();
    assert_eq!((gone.len(), stay.len()), (1, 0), "{gone:?} {stay:?}");
    assert_eq!(list(&Real::default(), &bench.top()).unwrap(), ["@"]);

    // Somebody else's directory of that name.
    let dir = bench.top().join(mark::SNAPSHOTS);
    std::fs::create_dir(&dir).unwrap();
    bench.subvolume(&format!("{}/0", mark::SNAPSHOTS));
    let found = Leftovers::find(&Real::default(), &bench.layout());
    let (gone, stay) = found.remove();
    assert_eq!((gone.len(), stay.len()), (0, 1), "{gone:?} {stay:?}");
    assert!(dir.join("0").exists());
    // And with it in the way no snapshot is made: an error where they were asked for, else the filesystem is read live.
    let plan = bench.plan(&[("/", "/@")], &[]);
    assert!(plan.clone().take("0123456789abcdef", true, &Cancel::default()).is_err());
    let mut taken = plan.take("0123456789abcdef", false, &Cancel::default()).unwrap();
    assert!(matches!(&taken.seats()[0].way, Way::Live { could: true, .. }), "{:?}", taken.seats());
    assert!(!taken.show("/", Path::new("/nowhere"), &mut Mounts::default()).unwrap());
    assert!(dir.join("0").exists());
}

#[test]
fn a_stop_between_two_snapshots_leaves_nothing() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::new() else { return };
    bench.subvolume("@");
    let cancel = Cancel::default();
    cancel.raise();
    let stopped = bench.plan(&[("/", "/@")], &[]).take("0123456789abcdef", false, &cancel);
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!(list(&Real::default(), &bench.top()).unwrap(), ["@"]);
}
