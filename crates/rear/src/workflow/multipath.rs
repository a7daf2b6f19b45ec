//! Disks that are reached over several paths, in the rescue system: udev's rules there assemble nothing by themselves.
//! Without this, each path would look like a disk of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use layout::Layout;
use sys::{Cmd, Sys};

use crate::context::{Context, is_rescue_system};
use crate::failure::Result;

/// Assembles them where the saved machine had such a disk, or where two disks here have one name. What is assembled
/// already stays as it is. Elsewhere than in the rescue system it does nothing.
pub fn start(context: &Context, saved: &[&Layout]) -> Result<()> {
    let had =
        |layout: &Layout| layout.disks().any(|disk| disk.disk().is_some_and(|disk| disk.multipath.is_some()));
    if !is_rescue_system()
        || !(saved.iter().any(|layout| had(layout)) || is_doubled(&probe::machine(&context.sys)?))
    {
        return Ok(());
    }
    if context.sys.which("multipath").is_none() {
        context.ui.warn(
            "disks are reached over several paths, but this rescue system has no multipath: leave only one path to each \
             connected, or install it on the machine and make the medium again",
        );
        return Ok(());
    }
    for module in ["dm-multipath", "dm-service-time", "dm-round-robin", "dm-queue-length"] {
        // Built in, or not needed: what counts is what multipath then makes.
        let _ = context.sys.run(&Cmd::new("modprobe").args(["-b", module]));
    }
    // multipath(8): -i takes disks that are not in the list of known ones too. It ends with 1 where it made nothing.
    let make = Cmd::new("multipath").args(["-v1", "-i"]).accept(&[1]).timeout(Duration::from_secs(120));
    if let Err(error) = context.sys.run(&make) {
        context.ui.warn(format!("disks behind several paths were not assembled: {error}"));
    }
    context.sys.run(&Cmd::new("udevadm").args(["settle", "--timeout=30"]).accept(&[1]))?;
    partitions(context)
}

/// Whether two disks have one world-wide name.
fn is_doubled(present: &Layout) -> bool {
    let mut seen = BTreeSet::new();
    let names = present.disks().filter_map(|disk| disk.disk()?.identity.wwn.as_deref());
    names.into_iter().any(|name| !seen.insert(name))
}

/// Partitions of what was assembled, where udev's rules did not make them.
fn partitions(context: &Context) -> Result<()> {
    let present = probe::machine(&context.sys)?;
    for disk in present.disks().filter(|disk| disk.disk().is_some_and(|disk| disk.multipath.is_some())) {
        if present.partitions(&disk.id).is_empty()
            && let Err(error) = context.sys.run(&apply::kpartx(&context.sys, &disk.path))
        {
            tracing::info!("{error}");
        }
    }
    context.sys.run(&Cmd::new("udevadm").args(["settle", "--timeout=30"]).accept(&[1]))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use layout::{Bytes, Content, Device, Disk, DiskIdentity, Firmware, Kind, Machine, NodeId, SectorSize};

    use super::*;

    #[test]
    fn two_paths_to_one_disk_are_seen() {
        let machine = Machine {
            hostname: String::new(),
            firmware: Firmware::Bios,
            architecture: "x86_64".into(),
            system: String::new(),
        };
        let mut layout = Layout::new(machine);
        let mut add = |id: &str, wwn: Option<&str>| {
            let identity = DiskIdentity { wwn: wwn.map(str::to_owned), ..DiskIdentity::default() };
            let disk = Disk {
                identity,
                transport: "fc".into(),
                removable: false,
                read_only: false,
                multipath: None,
            };
            layout.devices.push(Device {
                id: NodeId(id.into()),
                path: format!("/dev/{id}"),
                size: Bytes(1 << 30),
                sector: SectorSize::B512,
                kind: Kind::Disk(disk),
                content: Content::Empty,
            });
            is_doubled(&layout)
        };
        assert!(
            !add("sda", None) && !add("sdb", None) && !add("sdc", Some("0x5")) && !add("sdd", Some("0x6"))
        );
        assert!(add("sde", Some("0x5")));
    }
}
