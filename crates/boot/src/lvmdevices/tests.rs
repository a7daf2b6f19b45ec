//! The devices file as LVM writes it, with a scripted `lvm` and, where it is installed, with the real one on loop devices.

use std::sync::Mutex;

use sys::{FileFacts, FsUsage, Output, Real};

use super::*;

/// As lvm2 2.03.14 of RHEL 9 writes it.
const RHEL9: &str = "# LVM uses devices listed in this file.\n\
    # Created by LVM command lvmdevices pid 1043 at Tue May 17 09:12:40 2022\n\
    VERSION=1.1.2\n\
    IDTYPE=sys_wwid IDNAME=naa.600508b1001c3a4f DEVNAME=/dev/sda3 PVID=PZ5GvbKqsYLFMIcrYeB9MjXPAkcoKLPR PART=3\n\
    IDTYPE=devname IDNAME=/dev/vdb DEVNAME=/dev/vdb PVID=qv1sVwmEwcAwTsARb7ObLcxVAxQ20VKb\n";

/// As lvm2 2.03.23 and newer write it: with a checksum and the machine's identity.
const RHEL94: &str = "# LVM uses devices listed in this file.\n\
    # Created by LVM command vgimportdevices pid 2214 (HASH) at Thu Jun 20 14:01:11 2024\n\
    # HASH=2437581210\n\
    PRODUCT_UUID=4c4c4544-0038-4a10-8052-b4c04f4d3333\n\
    VERSION=1.1.5\n\
    IDTYPE=sys_serial IDNAME=S1 DEVNAME=/dev/vda2 PVID=PZ5GvbKqsYLFMIcrYeB9MjXPAkcoKLPR PART=2\n\
    IDTYPE=mpath_uuid IDNAME=mpath-3600508b400105e210000900000490000 DEVNAME=/dev/mapper/mpatha PVID=qv1sVwmEwcAwTsARb7ObLcxVAxQ20VKb\n";

const PV: &str = "PZ5Gvb-KqsY-LFMI-crYe-B9Mj-XPAk-coKLPR";
const PVID: &str = "PZ5GvbKqsYLFMIcrYeB9MjXPAkcoKLPR";

/// A restored system with a devices file and something called `lvm`.
fn restored(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [("etc/lvm/devices/system.devices", text), ("usr/sbin/lvm", "")] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn file(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    dir.path().join("etc/lvm/devices").join(name)
}

/// Answers in their order: what the command line must contain, and what it prints (`None`: it fails).
struct Script(Mutex<Vec<(&'static str, Option<String>)>>);

impl Script {
    fn new<const N: usize>(lines: [(&'static str, Option<&str>); N]) -> Self {
        Self(Mutex::new(lines.into_iter().map(|(line, said)| (line, said.map(str::to_owned))).collect()))
    }

    fn is_done(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

fn closed<T>() -> sys::Result<T> {
    Err(sys::Error::NotRecorded("only lvm is asked".into()))
}

impl Sys for Script {
    fn run(&self, cmd: &Cmd) -> sys::Result<Output> {
        let (line, said) = self.0.lock().unwrap().remove(0);
        assert!(cmd.line().contains(line), "{} instead of {line}", cmd.line());
        match said {
            Some(text) => Ok(Output { stdout: text.into(), ..Output::default() }),
            None => Err(sys::Error::Failed {
                command: cmd.line(),
                status: "exit code 5".into(),
                code: Some(5),
                stderr: "refused".into(),
            }),
        }
    }
    fn read(&self, _: &Path) -> sys::Result<Vec<u8>> {
        closed()
    }
    fn read_at(&self, _: &Path, _: u64, _: usize) -> sys::Result<Vec<u8>> {
        closed()
    }
    fn list(&self, _: &Path) -> sys::Result<Vec<String>> {
        closed()
    }
    fn read_link(&self, _: &Path) -> sys::Result<PathBuf> {
        closed()
    }
    fn canonicalize(&self, path: &Path) -> sys::Result<PathBuf> {
        if path == Path::new("/dev/mapper/mpatha") { Ok("/dev/dm-0".into()) } else { closed() }
    }
    fn exists(&self, _: &Path) -> bool {
        false
    }
    fn which(&self, _: &str) -> Option<PathBuf> {
        None
    }
    fn usage(&self, _: &Path) -> sys::Result<FsUsage> {
        closed()
    }
    fn file(&self, _: &Path) -> sys::Result<FileFacts> {
        closed()
    }
}

const VERSION: (&str, Option<&str>) =
    ("version", Some("  LVM version:     2.03.31(2) (2025-02-27)\n  Library version: 1\n"));
const USED: (&str, Option<&str>) = ("lvmconfig", Some("use_devicesfile=1\n"));

#[test]
fn every_form_of_the_file_is_read() {
    for text in [RHEL9, RHEL94] {
        assert_eq!(pvids(text), [PVID, "qv1sVwmEwcAwTsARb7ObLcxVAxQ20VKb"]);
    }
    assert_eq!(pvids("# PVID=x\nVERSION=1.1.1\nHASH=1 PVID=x\n"), [""; 0]);
}

#[test]
fn what_leads_to_its_device_stays() {
    let dir = restored(RHEL94);
    let said = "  Device /dev/vda2 IDTYPE=sys_serial IDNAME=S1 DEVNAME=/dev/vda2 PVID=PZ5GvbKqsYLFMIcrYeB9MjXPAkcoKLPR PART=2\n  \
                Device /dev/dm-0 IDTYPE=mpath_uuid IDNAME=mpath-36 DEVNAME=/dev/mapper/mpatha PVID=qv1sVwmEwcAwTsARb7ObLcxVAxQ20VKb\n";
    let script = Script::new([USED, ("lvmdevices", Some(said))]);
    let volumes = [
        (PV.to_owned(), PathBuf::from("/dev/vda2")),
        ("qv1sVwmEwcAwTsARb7ObLcxVAxQ20VKb".to_owned(), PathBuf::from("/dev/mapper/mpatha")),
    ];
    assert_eq!(restore_lvm_devices(&script, dir.path(), &volumes).unwrap(), LvmDevices::default());
    assert!(script.is_done());
    assert_eq!(std::fs::read_to_string(file(&dir, "system.devices")).unwrap(), RHEL94);
    assert!(!file(&dir, "system.devices.rear-orig").exists());
}

/// `lvmdevices` for three devices of which the third is gone, as the tools of Debian print it (loop devices there), and
/// for a disk, an array and a multipath device of RHEL 9.
const OUTPUTS: [(&str, &str); 4] = [
    (
        "2.03.16 (Debian 12)",
        "  Device /dev/loop2 IDTYPE=loop_file IDNAME=/tmp/l1.img DEVNAME=/dev/loop2 PVID=G6YcFO5nFztRis2YPH5IfdXvxV7tKaf1\n  \
         Device /dev/loop3 IDTYPE=loop_file IDNAME=/tmp/l2.img DEVNAME=/dev/loop3 PVID=sdElmQ6IrdjyqluWHk26Q6dLEgRllP6z\n  \
         Device none IDTYPE=loop_file IDNAME=/tmp/l3.img DEVNAME=/dev/loop4 PVID=uHRfbR6S6eI8bj7FRJtI674UfMGYWqyt\n",
    ),
    (
        "2.03.31 (Debian 13)",
        "  Device /dev/loop2 IDTYPE=loop_file IDNAME=/tmp/l1.img DEVNAME=/dev/loop2 PVID=feclrrTSlpcY5dyjtU3lB1WxUviQVses\n  \
         Device /dev/loop3 IDTYPE=loop_file IDNAME=/tmp/l2.img DEVNAME=/dev/loop3 PVID=NUanIH12QBcghf3fxZjP51hTpix3M3QK\n  \
         Device none IDTYPE=loop_file IDNAME=/tmp/l3.img DEVNAME=/dev/loop4 PVID=klopkaUKfytdDfQDFUJBf7ov1c1kca51\n",
    ),
    (
        "2.03.14 (RHEL 9, after its source: tools/lvmdevices.c)",
        "  Device /dev/sda3 IDTYPE=sys_wwid IDNAME=naa.600508b1001c3a4f DEVNAME=/dev/sda3 PVID=PZ5GvbKqsYLFMIcrYeB9MjXPAkcoKLPR PART=3\n  \
         Device /dev/md0 IDTYPE=md_uuid IDNAME=cf4a6bd2:8a09ef5b DEVNAME=/dev/md0 PVID=none\n  \
         Device none IDTYPE=mpath_uuid IDNAME=mpath-3600508b40 DEVNAME=/dev/mapper/mpatha PVID=qv1sVwmEwcAwTsARb7ObLcxVAxQ20VKb\n",
    ),
    (
        "2.03.12 (RHEL 8.5, after its source)",
        "  Device /dev/sda3 IDTYPE=sys_wwid IDNAME=naa.600508b1001c3a4f DEVNAME=/dev/sda3 PVID=PZ5GvbKqsYLFMIcrYeB9MjXPAkcoKLPR PART=3\n  \
         Device /dev/sdb IDTYPE=devname IDNAME=/dev/sdb DEVNAME=/dev/sdb PVID=.\n  \
         Device . IDTYPE=sys_serial IDNAME=S2 DEVNAME=. PVID=qv1sVwmEwcAwTsARb7ObLcxVAxQ20VKb\n",
    ),
];

#[test]
fn every_version_tells_where_its_entries_lead() {
    for (version, text) in OUTPUTS {
        let found = parse(text).unwrap();
        let third = text.lines().last().and_then(|line| field(line, "PVID")).unwrap();
        assert_eq!(found.len(), 3, "{version}");
        assert!(found[0].1.is_some() && found[1].1.is_some(), "{version}");
        assert_eq!(found[2], (third.to_owned(), None), "{version}");
    }
}

#[test]
fn another_form_is_never_taken_for_an_entry() {
    for (version, text) in OUTPUTS {
        for (from, to, what) in [
            ("Device /dev", "/dev", "'Device'"),
            ("Device /dev/", "Device IDTYPE=x /dev/", "name of the device"),
            ("Device /dev/", "Device missing /dev/", "name of the device"),
            ("Device /dev/loop2 ", "Device ", "name of the device"),
            ("Device /dev/sda3 ", "Device ", "name of the device"),
            (" PVID=", " PV_ID=", "PVID"),
            (" PVID=", " PVID= ", "PVID"),
            (" PVID=", " PVID=x", "PVID"),
        ] {
            if !text.contains(from) {
                continue;
            }
            let wrong = parse(&text.replace(from, to)).unwrap_err();
            assert!(wrong.contains(what) && wrong.contains("in the line"), "{version}: {wrong}");
        }
    }
}

#[test]
fn nobody_asks_lvm_where_the_file_does_not_matter() {
    let volumes = [(PV.to_owned(), PathBuf::from("/dev/vda2"))];
    // No such volume in it; no file.
    let dir = restored("VERSION=1.1.1\n");
    assert_eq!(restore_lvm_devices(&sys::Forbid, dir.path(), &volumes).unwrap(), LvmDevices::default());
    std::fs::remove_file(file(&dir, "system.devices")).unwrap();
    assert_eq!(restore_lvm_devices(&sys::Forbid, dir.path(), &volumes).unwrap(), LvmDevices::default());
    // Not used, as on Debian.
    let dir = restored(RHEL9);
    let script = Script::new([("lvmconfig", Some("use_devicesfile=0\n"))]);
    assert_eq!(restore_lvm_devices(&script, dir.path(), &volumes).unwrap(), LvmDevices::default());
    assert!(script.is_done());
}

#[test]
fn stale_entries_are_renewed() {
    let dir = restored(RHEL9);
    // Its disk is gone; or its entry leads to another device, because disks have changed places.
    for device in ["none", "/dev/sdc3"] {
        let line = |device: &str| {
            format!("  Device {device} IDTYPE=sys_wwid IDNAME=naa.6 DEVNAME=/dev/sda3 PVID={PVID} PART=3\n")
        };
        let script = Script::new([
            USED,
            ("lvmdevices", Some(&line(device))),
            ("lvmdevices --yes --delpvid PZ5GvbKqsYLFMIcrYeB9MjXPAkcoKLPR", Some("")),
            ("lvmdevices --yes --adddev /dev/vda3", Some("")),
            ("lvmdevices", Some(&line("/dev/vda3"))),
        ]);
        let volumes = [(PV.to_owned(), PathBuf::from("/dev/vda3"))];
        let result = restore_lvm_devices(&script, dir.path(), &volumes).unwrap();
        assert!(script.is_done());
        assert_eq!((result.done.len(), result.problems.len(), result.rebuild), (1, 0, None));
        assert_eq!(std::fs::read_to_string(file(&dir, "system.devices.rear-orig")).unwrap(), RHEL9);
    }
}

#[test]
fn a_file_that_cannot_be_set_right_is_put_aside() {
    let volumes = [(PV.to_owned(), PathBuf::from("/dev/vda3"))];
    for (answer, words) in [
        (None, "refused"),
        (Some("  device /dev/vda3 PVID=x\n"), "no 'Device'"),
        (Some("  Device /dev/vda3 IDTYPE=sys_wwid\n"), "no PVID"),
        (Some("  Device IDTYPE=sys_wwid PVID=x\n"), "no name of the device"),
    ] {
        let dir = restored(RHEL9);
        let script = Script::new([USED, ("lvmdevices", answer), VERSION]);
        let result = restore_lvm_devices(&script, dir.path(), &volumes).unwrap();
        let problem = &result.problems[0];
        assert!(problem.contains(words) && problem.contains("lvmdevices"), "{result:?}");
        // What the tool refuses by itself names the command; what cannot be understood names the version too.
        assert_eq!(problem.contains("LVM version: 2.03.31(2) (2025-02-27)"), answer.is_some(), "{result:?}");
        assert!(!file(&dir, "system.devices").exists());
        assert_eq!(std::fs::read_to_string(file(&dir, "system.devices.rear-orig")).unwrap(), RHEL9);
    }
    let dir = restored(RHEL9);
    let script = Script::new([("lvmconfig", Some("use_devicesfile=maybe\n")), VERSION]);
    let result = restore_lvm_devices(&script, dir.path(), &volumes).unwrap();
    assert!(
        result.problems[0].contains("lvm lvmconfig")
            && result.problems[0].contains("'use_devicesfile=maybe'")
    );
}

#[test]
fn an_initramfs_with_a_copy_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("etc/dracut.conf.d/a.conf", "# install_items+=\" /etc/lvm/devices/system.devices \"\n");
    assert_eq!(carrier(dir.path()), None);
    put("etc/dracut.conf.d/b.conf", "install_items+=\" /etc/lvm/devices/system.devices \"\n");
    assert!(carrier(dir.path()).is_some());
    let dir = tempfile::tempdir().unwrap();
    let hook = dir.path().join("usr/share/initramfs-tools/hooks");
    std::fs::create_dir_all(&hook).unwrap();
    std::fs::write(hook.join("lvm2"), "").unwrap();
    assert!(carrier(dir.path()).is_some());
}

/// The machine's own LVM, which works in the restored system's directory.
struct Own {
    real: Real,
    dir: PathBuf,
}

impl Sys for Own {
    fn run(&self, cmd: &Cmd) -> sys::Result<Output> {
        let own = Cmd::new("lvm").args(cmd.arguments().iter().cloned());
        self.real
            .run(&own.env("LVM_SYSTEM_DIR", self.dir.to_string_lossy()).env("LVM_SUPPRESS_FD_WARNINGS", "1"))
    }
    fn read(&self, path: &Path) -> sys::Result<Vec<u8>> {
        self.real.read(path)
    }
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> sys::Result<Vec<u8>> {
        self.real.read_at(path, offset, len)
    }
    fn list(&self, path: &Path) -> sys::Result<Vec<String>> {
        self.real.list(path)
    }
    fn read_link(&self, path: &Path) -> sys::Result<PathBuf> {
        self.real.read_link(path)
    }
    fn canonicalize(&self, path: &Path) -> sys::Result<PathBuf> {
        self.real.canonicalize(path)
    }
    fn exists(&self, path: &Path) -> bool {
        self.real.exists(path)
    }
    fn which(&self, program: &str) -> Option<PathBuf> {
        self.real.which(program)
    }
    fn usage(&self, path: &Path) -> sys::Result<FsUsage> {
        self.real.usage(path)
    }
    fn file(&self, path: &Path) -> sys::Result<FileFacts> {
        self.real.file(path)
    }
}

#[test]
fn the_real_lvm_finds_moved_volumes_again() {
    let real = Real::default();
    if !sys::info::is_root() || real.which("lvm").is_none() {
        eprintln!("skipped: needs root and lvm");
        return;
    }
    let dir = restored("");
    std::fs::remove_file(file(&dir, "system.devices")).unwrap();
    std::fs::write(dir.path().join("etc/lvm/lvm.conf"), "devices { use_devicesfile=1 hints=\"none\" }\n")
        .unwrap();
    let own = Own { real: real.clone(), dir: dir.path().join("etc/lvm") };
    let mut loops = Vec::new();
    for name in ["one", "two"] {
        let image = dir.path().join(name);
        std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        match real.run(&Cmd::new("losetup").args(["--find", "--show"]).arg(image.to_string_lossy())) {
            Ok(output) => loops.push(output.text().trim().to_owned()),
            Err(error) => eprintln!("skipped: {error}"),
        }
    }
    if let [one, two] = loops.as_slice() {
        let lvm = |args: &[&str]| own.run(&Cmd::new("lvm").args(args.iter().copied())).unwrap().text();
        lvm(&["pvcreate", "--yes", one]);
        let uuid = lvm(&["pvs", "--noheadings", "-o", "pv_uuid", one]).trim().to_owned();
        // The recovery brings the volume to another disk.
        std::fs::copy(dir.path().join("one"), dir.path().join("two")).unwrap();
        real.run(&Cmd::new("wipefs").args(["--all", "--quiet", one])).unwrap();
        let volumes = [(uuid.clone(), PathBuf::from(two))];
        let result = restore_lvm_devices(&own, dir.path(), &volumes).unwrap();
        assert_eq!(result.problems, [""; 0]);
        assert_eq!(result.done.len(), 1);
        assert_eq!(lvm(&["pvs", "--noheadings", "-o", "pv_name"]).trim(), two);
        let again = restore_lvm_devices(&own, dir.path(), &volumes).unwrap();
        assert_eq!(again, LvmDevices::default());
    }
    for node in loops {
        real.run(&Cmd::new("losetup").args(["--detach", &node])).unwrap();
    }
}
