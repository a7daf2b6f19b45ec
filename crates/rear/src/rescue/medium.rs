//! Finds the medium that this rescue system belongs to: a CD, a stick or a disk with an ISO 9660 filesystem
//! that carries the recovery point's marker. Mounts read-only, writes nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image::RescueConfig;
use rustix::mount::MountFlags;
use sys::{Cmd, Sys, SysExt};

/// Below which the medium is mounted, at a place of its own for each run: the kernel mounts no device twice at one
/// place, and a run that was killed leaves its mount behind.
const DIRECTORY: &str = "/run/rear/medium";

/// How long to wait for a device that is slow to appear (USB).
const PATIENCE: Duration = Duration::from_secs(60);

/// Byte offset of the primary volume descriptor: sector 16 of 2048 bytes (ECMA-119, 6.2.1 and 8.4).
const DESCRIPTOR: u64 = 16 * 2048;

/// Kernel names that cannot be the medium.
const NEVER: [&str; 5] = ["ram", "zram", "fd", "nbd", "md"];

/// The medium, mounted for as long as this value lives.
#[derive(Debug)]
pub struct Medium {
    /// Its block device.
    pub device: PathBuf,
    /// The mount; dropping it unmounts.
    pub mount: sys::mount::Mount,
    /// Where its files are.
    pub dir: PathBuf,
}

/// Why there is no medium.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Every device was looked at, and none is it.
    #[error(
        "the medium of the recovery point {recovery_point} (volume {volume_id}) was not found within {seconds} s. \
         Looked at: {looked_at}. No disk has been written. Attach the medium that this rescue system was booted \
         from (after a network boot: the directory with the backup, see 'rear recover --from') and try again"
    )]
    NotFound {
        /// The recovery point that was looked for.
        recovery_point: String,
        /// Its volume label.
        volume_id: String,
        /// How long, in seconds.
        seconds: u64,
        /// Each device with what is on it.
        looked_at: String,
    },
    /// The machine did not answer.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}

/// Finds and mounts the medium; waits up to a minute for devices that appear late.
///
/// # Errors
/// [`Error::NotFound`] with all that was looked at.
pub fn find_medium(sys: &dyn Sys, config: &RescueConfig) -> Result<Medium, Error> {
    find_within(sys, config, PATIENCE)
}

/// Like [`find_medium`], with another time limit.
///
/// # Errors
/// [`Error::NotFound`] with all that was looked at.
pub fn find_within(sys: &dyn Sys, config: &RescueConfig, patience: Duration) -> Result<Medium, Error> {
    let started = Instant::now();
    let mut asked = false;
    loop {
        let mut looked_at = Vec::new();
        for device in candidates(sys)? {
            let label = match volume_id(sys, &device) {
                Ok(Some(label)) => label,
                Ok(None) => {
                    looked_at.push(format!("{} (no ISO 9660)", device.display()));
                    continue;
                }
                Err(error) => {
                    looked_at.push(format!("{} ({error})", device.display()));
                    continue;
                }
            };
            if !asked {
                // Loaded by the kernel itself when it is mounted, where the module helper works.
                asked = true;
                let _ = sys.run(&Cmd::new("modprobe").args(["-b", "isofs"]).timeout(Duration::from_secs(30)));
            }
            match open(sys, &device, config) {
                Ok(Some(medium)) => return Ok(medium),
                Ok(None) => looked_at
                    .push(format!("{} (volume {label}, of another recovery point)", device.display())),
                Err(error) => looked_at.push(format!("{} (volume {label}; {error})", device.display())),
            }
        }
        if started.elapsed() >= patience {
            let none = || "no block device at all".to_owned();
            return Err(Error::NotFound {
                recovery_point: config.recovery_point.clone(),
                volume_id: config.volume_id.clone(),
                seconds: started.elapsed().as_secs(),
                looked_at: looked_at
                    .into_iter()
                    .reduce(|all, one| format!("{all}, {one}"))
                    .unwrap_or_else(none),
            });
        }
        let settle = Cmd::new("udevadm").args(["settle", "--timeout=10"]).timeout(Duration::from_secs(15));
        match sys.run(&settle) {
            Err(sys::Error::Cancelled) => return Err(sys::Error::Cancelled.into()),
            // An empty queue says nothing about a stick whose hub is still asleep.
            _ => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

/// Block devices that could be it: optical drives first, then whole disks, then partitions.
fn candidates(sys: &dyn Sys) -> Result<Vec<PathBuf>, sys::Error> {
    let mut found = Vec::new();
    for name in sys.list(Path::new("/sys/class/block"))? {
        let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
        if NEVER.contains(&kind) {
            continue;
        }
        let entry = Path::new("/sys/class/block").join(&name);
        // In units of 512 bytes; a drive without a disk has none.
        let size = sys.read_opt(entry.join("size"))?.and_then(|size| size.parse::<u64>().ok());
        if size.is_none_or(|size| size * 512 <= DESCRIPTOR) {
            continue;
        }
        let rank = match kind {
            "sr" => 0,
            _ if sys.exists(&entry.join("partition")) => 2,
            _ => 1,
        };
        found.push((rank, name));
    }
    found.sort();
    // The kernel writes '!' for '/' in a name (cciss!c0d0).
    Ok(found.into_iter().map(|(_, name)| Path::new("/dev").join(name.replace('!', "/"))).collect())
}

/// The volume identifier of an ISO 9660 filesystem: type 1, "CD001", version 1, and 32 characters from byte 40
/// of the descriptor, padded with blanks (ECMA-119, 8.4.1 to 8.4.7). `None` for any other content.
fn volume_id(sys: &dyn Sys, device: &Path) -> Result<Option<String>, sys::Error> {
    let descriptor = sys.read_at(device, DESCRIPTOR, 72)?;
    if !descriptor.starts_with(b"\x01CD001\x01") {
        return Ok(None);
    }
    let label = descriptor.get(40..72).unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(label).trim_end_matches([' ', '\0']).to_owned()))
}

/// Mounts the device and looks for the marker; what is not ours is unmounted again.
fn open(sys: &dyn Sys, device: &Path, config: &RescueConfig) -> Result<Option<Medium>, sys::Error> {
    let dir = Path::new(DIRECTORY).join(std::process::id().to_string());
    sys::fs::create_dir_private(&dir)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mount = sys::mount::Mount::new(&device.to_string_lossy(), &dir, "iso9660", flags, "")?;
    let ours = sys.exists(&dir.join(format!(".rear-{}", config.recovery_point)));
    Ok(ours.then(|| Medium { device: device.to_owned(), mount, dir }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(blocks: &[(&str, &str, bool)], more: &str) -> sys::Replay {
        let mut json = String::from("{");
        let names: Vec<String> = blocks.iter().map(|(name, ..)| format!("{name:?}")).collect();
        json.push_str(&format!("\"list /sys/class/block\": {{\"names\": [{}]}}", names.join(",")));
        for (name, size, partition) in blocks {
            json.push_str(&format!(",\"read /sys/class/block/{name}/size\": {{\"text\": \"{size}\\n\"}}"));
            json.push_str(&format!(
                ",\"exists /sys/class/block/{name}/partition\": {{\"yes\": {partition}}}"
            ));
        }
        json.push_str(more);
        json.push('}');
        sys::Replay::from_json(&json).unwrap()
    }

    #[test]
    fn optical_drives_come_first_and_empty_ones_not_at_all() {
        let sys = machine(
            &[
                ("cciss!c0d0", "2097152", false),
                ("loop0", "0", false),
                ("ram0", "8192", false),
                ("sda", "2097152", false),
                ("sda1", "1024", true),
                ("sr0", "900000", false),
                ("sr1", "0", false),
            ],
            "",
        );
        let devices = candidates(&sys).unwrap();
        assert_eq!(devices, ["/dev/sr0", "/dev/cciss/c0d0", "/dev/sda", "/dev/sda1"].map(PathBuf::from));
    }

    #[test]
    fn the_volume_label_is_read_from_the_descriptor() {
        let mut descriptor = b"\x01CD001\x01\x00".to_vec();
        descriptor.resize(40, b' ');
        descriptor.extend_from_slice(b"REAR_ALPHA                      ");
        let hex: String = descriptor.iter().map(|byte| format!("{byte:02x}")).collect();
        let answers = format!(
            "{{\"at 32768+72 /dev/sr0\": {{\"hex\": \"{hex}\"}}, \"at 32768+72 /dev/sda\": {{\"text\": \"\"}}}}"
        );
        let sys = sys::Replay::from_json(&answers).unwrap();
        assert_eq!(volume_id(&sys, Path::new("/dev/sr0")).unwrap().as_deref(), Some("REAR_ALPHA"));
        assert_eq!(volume_id(&sys, Path::new("/dev/sda")).unwrap(), None);
        assert!(volume_id(&sys, Path::new("/dev/sdb")).is_err());
    }
}
