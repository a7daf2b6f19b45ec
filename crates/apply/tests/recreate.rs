//! Layouts made by hand with the real tools, on sparse files, come back exactly; an interrupted recovery continues
//! to the same end; what is not a target stays as it is.

#![allow(clippy::unwrap_used)]

mod machine;

use std::collections::BTreeMap;
use std::sync::Arc;

use apply::{Applied, Error, Journal, Sequences, Silent};
use layout::{Layout, diff};
use machine::{Machine, fast_dir};
use plan::{Choices, Plan};
use sys::Cancel;

const MIB: u64 = 1 << 20;

fn unattended() -> Choices {
    Choices { unattended: true, ..Choices::default() }
}

fn make_plan(saved: &Layout, present: &Layout) -> Plan {
    let fit = plan::fit(saved, present, &BTreeMap::new(), &unattended()).unwrap();
    plan::plan(saved, present, fit, "point-1", "/mnt/local").unwrap()
}

fn recover(machine: &Arc<Machine>, plan: &Plan, journal: &mut Journal) -> Result<Applied, Error> {
    let present = machine.layout();
    let targets = apply::targets(plan, &present, &BTreeMap::new())?;
    apply::run_with(&**machine, machine.clone(), plan, targets, journal, &Silent, &Cancel::default())
}

/// Differences after a recovery, mounts and space in use apart.
fn changes(saved: &Layout, now: &Layout) -> Vec<String> {
    let (mut saved, mut now) = (saved.clone(), now.clone());
    saved.mounts.clear();
    now.mounts.clear();
    diff(&saved, &now).iter().map(ToString::to_string).collect()
}

/// Saves the machine, throws its disks away, recovers on blank ones of these sizes and gives the differences.
fn round_trip(original: &Machine, disks: &[(&str, &str, u64)]) -> Vec<String> {
    let saved = original.layout();
    plan::recoverable(&saved).unwrap();
    let blank = Arc::new(Machine::new());
    for (name, serial, size) in disks {
        blank.disk(name, serial, *size);
    }
    let plan = make_plan(&saved, &blank.layout());
    let dir = fast_dir();
    let mut journal = Journal::open(&dir.path().join("journal.json"), &plan).unwrap();
    let applied = recover(&blank, &plan, &mut journal).unwrap();
    assert!(applied.devices.len() > disks.len());
    blank.unmount_all();
    changes(&saved, &blank.layout())
}

/// GPT with everything that its entries can hold, and one filesystem of each kind.
fn gpt_machine() -> Machine {
    let machine = Machine::new();
    machine.disk("vda", "S1", 700 * MIB);
    let script = "label: gpt\nlabel-id: 6A0E4B5A-0000-4000-8000-000000000001\nfirst-lba: 34\n\
        1 : start=34, size=2014, type=21686148-6449-6E6F-744E-656564454649, attrs=\"LegacyBIOSBootable\"\n\
        2 : start=2048, size=131072, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=\"EFI \\xc3\\xa4\\x22\\x5c,;\"\n\
        7 : start=200000, size=204801, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, attrs=\"RequiredPartition GUID:48,63\"\n\
        5 : start=500000, size=700000, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=\" root \"\n\
        6 : start=1200000, size=20000, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F\n\
        9 : start=1300000, size=4096, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=\"empty\"\n";
    machine.tool("sfdisk", &["-q", "/dev/vda"], script);
    machine.tool("mkfs.vfat", &["-F", "32", "-n", "MY ESP", "/dev/vda2"], "");
    machine.tool("mke2fs", &["-q", "-F", "-t", "ext4", "-L", "boot disk", "/dev/vda7"], "");
    machine.sh("mkfs.xfs -q -f -L root /dev/vda5");
    machine.tool("mkswap", &["-q", "-L", "swap 1", "/dev/vda6"], "");
    machine.mounted("/dev/vda5", "/", "xfs");
    machine.mounted("/dev/vda7", "/boot", "ext4");
    machine.mounted("/dev/vda2", "/boot/efi", "vfat");
    machine
}

#[test]
fn gpt_comes_back_exactly() {
    let machine = gpt_machine();
    assert_eq!(round_trip(&machine, &[("vda", "S1", 700 * MIB)]), [""; 0]);
}

#[test]
fn a_larger_disk_has_its_table_at_its_own_end() {
    let machine = gpt_machine();
    let changes = round_trip(&machine, &[("vda", "S1", 800 * MIB)]);
    assert_eq!(
        changes,
        [
            "/dev/vda (disk:serial:S1) has content.table.gpt.last_lba 1638366 instead of 1433566",
            "/dev/vda (disk:serial:S1) has size 838860800 instead of 734003200",
        ]
    );
}

#[test]
fn mbr_with_gaps_and_logical_partitions_comes_back_exactly() {
    for script in [
        // Gaps, numbers out of order, an active logical partition, tight starts.
        "label: dos\nlabel-id: 0xdeadbeef\n\
         3 : start=63, size=40000, type=83, bootable\n1 : start=60000, size=300000, type=5\n\
         5 : start=60063, size=100001, type=83\n6 : start=200000, size=20000, type=82\n7 : start=225001, size=2000, type=c\n",
        // Logical partitions not in the order of their numbers, another type of extended partition.
        "label: dos\nlabel-id: 0x00000001\n\
         1 : start=2048, size=40000, type=83\n4 : start=60000, size=300000, type=f\n\
         5 : start=200000, size=100001, type=83\n6 : start=60001, size=20000, type=82\n",
        // No signature at all.
        "label: dos\nlabel-id: 0x0\n2 : start=2048, size=40000, type=83, bootable\n",
    ] {
        let machine = Machine::new();
        machine.disk("vda", "S1", 200 * MIB);
        machine.tool("sfdisk", &["-q", "/dev/vda"], script);
        let root = if script.contains("\n2 :") { "/dev/vda2" } else { "/dev/vda5" };
        machine.tool("mke2fs", &["-q", "-F", "-t", "ext3", root], "");
        if script.contains("6 :") {
            machine.sh("mkswap -q /dev/vda6");
        }
        machine.mounted(root, "/", "ext3");
        assert_eq!(round_trip(&machine, &[("vda", "S1", 200 * MIB)]), [""; 0], "{script}");
    }
}

#[test]
fn a_recovery_that_is_cut_anywhere_continues_to_the_same_end() {
    let machine = Machine::new();
    machine.disk("vda", "S1", 64 * MIB);
    let script = "label: gpt\nfirst-lba: 34\n1 : start=34, size=2014, type=21686148-6449-6E6F-744E-656564454649\n\
        2 : start=4096, size=40000\n4 : start=60000, size=20000\n6 : start=90000, size=4096\n";
    machine.tool("sfdisk", &["-q", "/dev/vda"], script);
    machine.sh("mke2fs -q -F -t ext4 /dev/vda2");
    machine.sh("mkswap -q /dev/vda4");
    machine.mounted("/dev/vda2", "/", "ext4");
    let saved = machine.layout();
    let dir = fast_dir();
    let mut cuts = 0;
    for n in 0.. {
        let mut finished = true;
        for after in [false, true] {
            let blank = Arc::new(Machine::new());
            blank.disk("vda", "S1", 64 * MIB);
            let path = dir.path().join(format!("journal-{n}-{after}"));
            let plan = make_plan(&saved, &blank.layout());
            let mut journal = Journal::open(&path, &plan).unwrap();
            blank.cut(Some(n), after);
            let result = recover(&blank, &plan, &mut journal);
            drop(journal);
            blank.cut(None, false);
            if let Err(error) = result {
                finished = false;
                cuts += 1;
                blank.unmount_all();
                // Everything anew, as `rear recover` does it: probe, fit, plan, then the same journal.
                let again = make_plan(&saved, &blank.layout());
                assert_eq!(again.fingerprint(), plan.fingerprint(), "{error}");
                let mut journal = Journal::open(&path, &again).unwrap();
                assert!(journal.is_resumed());
                recover(&blank, &again, &mut journal).unwrap();
            }
            let tables = blank.log().iter().filter(|line| line.starts_with("sfdisk")).count();
            assert!(tables <= 2, "the table is written again only if it was being written");
            blank.unmount_all();
            assert_eq!(changes(&saved, &blank.layout()), [""; 0], "cut at {n}");
        }
        if finished {
            break;
        }
    }
    assert!(cuts > 15, "{cuts}");
}

#[test]
fn a_further_disk_stays_as_it_is_and_a_changed_one_is_not_written() {
    let original = gpt_machine();
    let saved = original.layout();
    let machine = Arc::new(Machine::new());
    // The foreign disk comes first and has the right size; the blank one is larger.
    machine.disk("vda", "F", 700 * MIB);
    machine.sh("mke2fs -q -F -t ext4 /dev/vda");
    machine.disk("vdb", "N", 720 * MIB);
    let before = machine.bytes("vda", 0, (8 * MIB) as usize);
    let present = machine.layout();
    let plan = make_plan(&saved, &present);
    let dir = fast_dir();
    let path = dir.path().join("journal");

    // What is protected is no target, whatever the plan says.
    let protected =
        BTreeMap::from([(plan.fit.disks[0].present.clone(), "it carries the archive".to_owned())]);
    assert!(matches!(apply::targets(&plan, &present, &protected), Err(Error::Protected { .. })));

    // Another disk got the name since the plan was made.
    let targets = apply::targets(&plan, &present, &BTreeMap::new()).unwrap();
    machine.disk("vdb", "OTHER", 720 * MIB);
    let mut journal = Journal::open(&path, &plan).unwrap();
    let run = |targets, journal: &mut Journal| {
        apply::run_with(&*machine, machine.clone(), &plan, targets, journal, &Silent, &Cancel::default())
    };
    let error = run(targets.clone(), &mut journal).unwrap_err().to_string();
    assert!(error.contains("serial number OTHER, not N"), "{error}");

    // Somebody mounted it.
    machine.disk("vdb", "N", 720 * MIB);
    machine.mounted("/dev/vdb", "/media/x", "ext4");
    let error = run(targets.clone(), &mut journal).unwrap_err().to_string();
    assert!(error.contains("/dev/vdb is mounted at /media/x"), "{error}");
    assert!(error.contains("No disk was written to."), "{error}");
    machine.unmount_all();
    let changed = |line: &String| line.contains("vdb");
    assert!(!machine.log().iter().any(changed), "{:?}", machine.log());

    let applied = run(targets, &mut journal).unwrap();
    let disk = &applied.disks[&plan.fit.disks[0].saved];
    assert!(matches!(disk.write_at(720 * MIB - 1, b"xx"), Err(Error::OutOfRange { .. })));
    assert!(matches!(disk.write_at(u64::MAX, b"xx"), Err(Error::OutOfRange { .. })));
    disk.write_at(0, b"boot").unwrap();
    assert_eq!(machine.bytes("vdb", 0, 4), b"boot");
    assert_eq!(machine.bytes("vda", 0, (8 * MIB) as usize), before);
    assert!(!machine.log().iter().skip(1).any(|line| line.contains("/dev/vda")));
    machine.unmount_all();
}

#[test]
fn a_journal_of_another_plan_is_put_aside_and_a_torn_line_does_not_count() {
    let saved = gpt_machine().layout();
    let blank = Arc::new(Machine::new());
    blank.disk("vda", "S1", 700 * MIB);
    let plan = make_plan(&saved, &blank.layout());
    let dir = fast_dir();
    let path = dir.path().join("sub/journal.json");
    drop(Journal::open(&path, &plan).unwrap());
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"done\":{\"step\":1}}\n{\"done\":{\"step\":3}}\n{\"done\":{\"st");
    std::fs::write(&path, &text).unwrap();
    let journal = Journal::open(&path, &plan).unwrap();
    assert!(journal.is_resumed());
    assert_eq!((journal.done(), journal.kept()), (1, 1), "step 2 is missing");
    let other = Plan { recovery_point: "point-2".into(), ..plan };
    let journal = Journal::open(&path, &other).unwrap();
    assert_eq!((journal.is_resumed(), journal.done()), (false, 0));
    assert!(path.with_extension("json.old").exists());
}

#[test]
fn a_disk_without_identifiers_that_was_replaced_is_not_written() {
    let saved = gpt_machine().layout();
    let machine = Arc::new(Machine::new());
    let plug_in = || machine.disk("vda", "", 700 * MIB);
    plug_in();
    let before = Sequences::read(&*machine).unwrap();
    let present = machine.layout();
    let plan = make_plan(&saved, &present);
    let dir = fast_dir();
    let mut journal = Journal::open(&dir.path().join("journal"), &plan).unwrap();
    let targets =
        |before: &Sequences| apply::targets_since(&*machine, &plan, &present, &BTreeMap::new(), before);
    let noted = targets(&before).unwrap();

    // Between the approval and the first step, and between the examination and the approval.
    plug_in();
    let run = |targets, journal: &mut Journal| {
        apply::run_with(&*machine, machine.clone(), &plan, targets, journal, &Silent, &Cancel::default())
    };
    let error = run(noted, &mut journal).unwrap_err();
    assert!(matches!(&error, Error::Changed { .. }) && !error.has_written(), "{error}");
    assert!(error.to_string().contains("it was plugged in anew"), "{error}");
    let error = targets(&before).unwrap_err().to_string();
    assert!(error.contains("plugged in after the machine was examined"), "{error}");
    assert_eq!(machine.log(), [""; 0]);

    // Between the last step and the boot code.
    let applied = run(targets(&Sequences::read(&*machine).unwrap()).unwrap(), &mut journal).unwrap();
    let disk = applied.disks.values().next().unwrap();
    disk.write_at(0, b"boot").unwrap();
    plug_in();
    assert!(matches!(disk.write_at(0, b"boot"), Err(Error::Changed { .. })));
    assert_eq!(machine.bytes("vda", 0, 4), [0; 4]);
    machine.unmount_all();
}

#[test]
fn only_a_run_that_started_no_writing_command_says_that_nothing_was_written() {
    let saved = gpt_machine().layout();
    let blank = Arc::new(Machine::new());
    blank.disk("vda", "S1", 700 * MIB);
    let plan = make_plan(&saved, &blank.layout());
    let dir = fast_dir();
    let mut journal = Journal::open(&dir.path().join("journal"), &plan).unwrap();

    // Something uses the disk: no step began.
    blank.mounted("/dev/vda", "/media/x", "ext4");
    let error = recover(&blank, &plan, &mut journal).unwrap_err();
    assert!(!error.has_written() && error.to_string().contains("No disk was written to."), "{error}");
    blank.unmount_all();

    // Stopped by a signal in the middle of the first step.
    blank.cut(Some(1), false);
    let error = recover(&blank, &plan, &mut journal).unwrap_err();
    assert!(error.is_cancelled() && error.has_written(), "{error}");
    assert!(error.to_string().contains("is half-written"), "{error}");

    // The next run stops before it does anything; what the one before did counts.
    drop(journal);
    let mut journal = Journal::open(&dir.path().join("journal"), &plan).unwrap();
    assert!(journal.is_resumed() && journal.done() == 0);
    blank.cut(None, false);
    blank.mounted("/dev/vda", "/media/x", "ext4");
    let error = recover(&blank, &plan, &mut journal).unwrap_err();
    assert!(error.has_written() && !error.to_string().contains("No disk was written"), "{error}");
    blank.unmount_all();
    recover(&blank, &plan, &mut journal).unwrap();
    blank.unmount_all();
}
