//! What each kind of step does on the machine. Which step comes when stands in the plan.

use std::path::Path;
use std::time::Duration;

use layout::{Partition, SectorSize};
use plan::{Action, Command, SUBVOLUMES_AT, Target};
use sys::Cmd;

use crate::kpartx::kpartx;
use crate::run::{ENDS, ENODEV, PATIENCE, Runner};
use crate::sysfs;
use crate::usage::is_usage;
use crate::{Error, WritableDisk};

impl Runner<'_> {
    /// Whether the target of a step may be written: its disks are still the chosen ones, and nothing uses it.
    pub(crate) fn check_unused(&self, action: &Action) -> Result<(), Error> {
        let target = action.target();
        for disk in self.disks_of(target)? {
            disk.check(self.sys)?;
        }
        match action {
            Action::WipeDisk { .. } => {
                let disk = self.disk(target)?;
                self.release(disk)?;
                disk.check_unused(self.sys)
            }
            Action::WriteTable { .. } if target.is_disk() => self.disk(target)?.check_unused(self.sys),
            // What is made of several devices is not there yet, or has no device of its own.
            Action::MakeArray { .. }
            | Action::RestoreGroup { .. }
            | Action::ActivateVolumes { .. }
            | Action::DeactivateGroup { .. }
            | Action::OpenLuks { .. } => Ok(()),
            _ => {
                let name = self.name(target)?;
                match sysfs::user_of(self.sys, &name)? {
                    Some((what, hint)) => Err(Error::InUse { device: sysfs::node(&name), what, hint }),
                    None => Ok(()),
                }
            }
        }
    }

    /// The disk that a target is.
    fn disk(&self, target: &Target) -> Result<&WritableDisk, Error> {
        let disks = self.disks_of(target)?;
        disks.first().copied().ok_or_else(|| Error::Gone(target.shown.clone()))
    }

    /// Signatures of the partitions first, last partition first, then those of the disk itself; then zeroes.
    pub(crate) fn wipe(&self, target: &Target) -> Result<(), Error> {
        let disk = self.disk(target)?;
        let partitions = sysfs::partitions(self.sys, disk.name())?;
        for part in partitions.values().rev() {
            self.wipefs(disk, &sysfs::node(&part.name))?;
        }
        self.wipefs(disk, disk.path())?;
        self.zero_ends(disk, 0, disk.size())?;
        if !partitions.is_empty() {
            // The kernel still shows the old partitions.
            self.reread(disk.path())?;
        }
        Ok(())
    }

    /// Says that from here on something may have been written; to disks that are still the chosen ones.
    pub(crate) fn about_to_write(&self, target: &Target) -> Result<(), Error> {
        for disk in self.disks_of(target)? {
            disk.check(self.sys)?;
        }
        self.writing.set(true);
        Ok(())
    }

    /// Zeroes both ends of a device.
    pub(crate) fn clear(&self, target: &Target) -> Result<(), Error> {
        let name = self.name(target)?;
        let disks = self.disks_of(target)?;
        // A partition of a disk is written through the disk, whose identity is asked before every write.
        if let [disk] = disks.as_slice()
            && let Some(part) =
                sysfs::partitions(self.sys, disk.name())?.into_values().find(|part| part.name == name)
        {
            self.zero_ends(disk, part.start, part.size)?;
            // udev reads the table of a disk again whenever one that wrote to it closes it: its partitions vanish for a
            // moment then.
            return self.settle();
        }
        let (number, size) = sysfs::number_and_size(self.sys, &name)?;
        let length = size.min(ENDS);
        let zeroes = vec![0_u8; usize::try_from(length).unwrap_or_default()];
        self.about_to_write(target)?;
        let node = sysfs::node(&name);
        self.hands.write(&node, &number, 0, &zeroes)?;
        Ok(self.hands.write(&node, &number, size - length, &zeroes)?)
    }

    /// Zeroes the first and the last MiB of a range of a disk.
    fn zero_ends(&self, disk: &WritableDisk, start: u64, size: u64) -> Result<(), Error> {
        let length = size.min(ENDS);
        let zeroes = vec![0_u8; usize::try_from(length).unwrap_or_default()];
        disk.check(self.sys)?;
        self.writing.set(true);
        disk.write_at(start, &zeroes)?;
        disk.write_at(start + size - length, &zeroes)
    }

    fn wipefs(&self, disk: &WritableDisk, device: &Path) -> Result<(), Error> {
        disk.check(self.sys)?;
        self.writing.set(true);
        let cmd = Cmd::new("wipefs").args(["--all", "--force", "--quiet"]).arg(device.to_string_lossy());
        self.sys.run(&cmd)?;
        Ok(())
    }

    /// Asks the kernel to read the table again. A refusal shows in what the kernel then says.
    fn reread(&self, device: &Path) -> Result<(), Error> {
        let node = device.to_string_lossy();
        let cmd = match sysfs::is_mapped(&sysfs::name(&node)) {
            true => kpartx(self.sys, &node).accept(&[1]),
            false => Cmd::new("blockdev").args(["--rereadpt", &node]).accept(&[1]),
        };
        self.sys.run(&cmd)?;
        self.settle()
    }

    pub(crate) fn settle(&self) -> Result<(), Error> {
        if self.sys.which("udevadm").is_some() {
            // Exit code 1: some event is still open after this time; what counts is what the kernel shows.
            self.sys.run(&Cmd::new("udevadm").args(["settle", "--timeout=30"]).accept(&[1]))?;
        }
        Ok(())
    }

    /// Runs the commands of a step.
    pub(crate) fn commands(&self, action: &Action) -> Result<(), Error> {
        for command in self.resolved(action)? {
            self.about_to_write(action.target())?;
            self.command(&command, None)?;
        }
        Ok(())
    }

    /// The commands of a step with the names that the kernel has for its devices now.
    pub(crate) fn resolved(&self, action: &Action) -> Result<Vec<Command>, Error> {
        let mut nodes = Vec::new();
        for target in action.devices() {
            // The array and the open side of a container do not exist before; the plan says what they will be called.
            let made = std::ptr::eq(target, action.target())
                && matches!(action, Action::MakeArray { .. } | Action::OpenLuks { .. });
            let node =
                if made { target.shown.clone() } else { self.node(target)?.to_string_lossy().into_owned() };
            nodes.push((target.clone(), node));
        }
        let find = |wanted: &Target| {
            let found = nodes.iter().find(|(target, _)| target == wanted);
            found.map_or_else(|| wanted.shown.clone(), |(_, node)| node.clone())
        };
        Ok(action.commands(&find))
    }

    /// Runs one command, with a secret on standard input where it needs one.
    pub(crate) fn command(&self, command: &Command, secret: Option<&sys::Secret>) -> Result<(), Error> {
        if let Some((path, text)) = &command.file {
            let path = Path::new(path);
            if let Some(parent) = path.parent() {
                sys::fs::create_dir_private(parent)?;
            }
            sys::fs::write_atomic(path, text.as_bytes())?;
        }
        let cmd = |command: &Command| match secret {
            Some(secret) => cmd(command).secret(secret),
            None => cmd(command),
        };
        let mut result = self.sys.run(&cmd(command));
        for older in &command.older {
            // Only where the program did not understand its options: it has written nothing then.
            if !matches!(&result, Err(error) if is_usage(error)) {
                break;
            }
            result = self.sys.run(&cmd(older));
        }
        result?;
        Ok(())
    }

    /// Waits until the kernel shows exactly the partitions that were written, and their nodes exist.
    pub(crate) fn wait(
        &self,
        target: &Target,
        partitions: &[Partition],
        sector: SectorSize,
    ) -> Result<(), Error> {
        self.settle()?;
        let name = self.name(target)?;
        let node = sysfs::node(&name);
        let mut left = PATIENCE;
        loop {
            self.cancel.check()?;
            let Some(what) = self.mismatch(&name, partitions, sector)? else { return Ok(()) };
            if left == 0 {
                return Err(Error::Partitions { device: node, what });
            }
            // sfdisk asked the kernel already; udev looking at the disk in that moment makes it refuse.
            if left.is_multiple_of(50) {
                self.reread(&node)?;
            }
            left -= 1;
            self.hands.pause();
        }
    }

    /// How the kernel's view differs from what was written; `None` when it does not.
    pub(crate) fn mismatch(
        &self,
        name: &str,
        partitions: &[Partition],
        sector: SectorSize,
    ) -> Result<Option<String>, Error> {
        let seen = sysfs::partitions(self.sys, name)?;
        for part in partitions {
            let number = part.number;
            let Some(now) = seen.get(&number) else {
                return Ok(Some(format!("partition {number} is missing")));
            };
            let (start, size) = (part.start.bytes(sector).get(), part.length.bytes(sector).get());
            // The kernel shows an extended partition with one or two sectors only.
            if now.start != start || (now.size != size && !part.is_extended()) {
                return Ok(Some(format!(
                    "partition {number} lies at {} with {} bytes, not at {start} with {size}",
                    now.start, now.size
                )));
            }
            if !self.sys.exists(&sysfs::node(&now.name)) {
                return Ok(Some(format!("the node of partition {number} is missing")));
            }
        }
        match seen.keys().find(|number| !partitions.iter().any(|part| part.number == **number)) {
            Some(number) => Ok(Some(format!("it still has a partition {number}"))),
            None => Ok(None),
        }
    }

    pub(crate) fn mount(
        &mut self,
        target: &Target,
        directory: &Path,
        fs_type: &str,
        options: &str,
    ) -> Result<(), Error> {
        for disk in self.disks_of(target)? {
            disk.check(self.sys)?;
        }
        let root = self.root.get_or_insert_with(|| directory.to_owned()).clone();
        if let Some(mount) = self.mounted(target, directory, &root, fs_type, options)? {
            self.mounts.push(mount);
        }
        Ok(())
    }

    fn mounted(
        &self,
        target: &Target,
        directory: &Path,
        root: &Path,
        fs_type: &str,
        options: &str,
    ) -> Result<Option<sys::mount::Mount>, Error> {
        let node = self.node(target)?;
        match self.hands.mount(&node, directory, root, fs_type, options) {
            // The kernel's way to say that it does not know the type.
            Err(sys::Error::Io { source, .. }) if source.raw_os_error() == Some(ENODEV) => {
                Err(Error::NoDriver { fs_type: fs_type.to_owned() })
            }
            result => Ok(result?),
        }
    }

    /// Makes subvolumes below the top of a btrfs, which is mounted for as long as that takes.
    pub(crate) fn subvolumes(&self, action: &Action) -> Result<(), Error> {
        let top = Path::new(SUBVOLUMES_AT);
        let mount = self.mounted(action.target(), top, top, "btrfs", "subvolid=5")?;
        self.commands(action)?;
        if let Some(mount) = mount {
            mount.unmount()?;
        }
        Ok(())
    }
}

fn cmd(command: &Command) -> Cmd {
    // Filesystems without lazy initialization on large, slow disks take hours.
    let mut cmd = Cmd::new(&command.program).args(&command.args).timeout(Duration::from_secs(24 * 3600));
    for (name, value) in &command.env {
        cmd = cmd.env(name, value);
    }
    match &command.stdin {
        Some(text) => cmd.stdin(text),
        None => cmd,
    }
}
