//! Scripts in guests: a folder is shared with the machine, the agent in it runs the script that lies there and
//! powers off. Used to install, to back up, to look and to compare; never while a machine recovers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::dialog::converse;
use crate::guest::Base;
use crate::lab::{Lab, fresh_dir, read, write};
use crate::machine::{Drive, End, Machine};
use crate::scenario::{Bus, Firmware, Say};
use crate::{Error, Result};

const LIB: &str = include_str!("../guest/lib.sh");

/// A folder that is shared with a guest.
pub(crate) struct Share {
    pub(crate) dir: PathBuf,
}

impl Share {
    /// A fresh folder with the script that is to be run.
    pub(crate) fn new(dir: PathBuf, script: &str, variables: &[(&str, &str)]) -> Result<Self> {
        fresh_dir(&dir)?;
        fresh_dir(&dir.join("out"))?;
        let share = Self { dir };
        share.put("run.sh", script)?;
        share.put("lib.sh", LIB)?;
        let lines: String =
            variables.iter().map(|(name, value)| format!("{name}={}\n", quote(value))).collect();
        share.put("env", &lines)?;
        Ok(share)
    }

    /// Puts one more file there.
    pub(crate) fn put(&self, name: &str, text: &str) -> Result<()> {
        write(&self.dir.join(name), text)
    }

    /// Puts a file of that many MiB of noise there.
    pub(crate) fn put_noise(&self, name: &str, mebibytes: u64) -> Result<()> {
        use std::io::Read;
        let file = self.dir.join(name);
        let fill = || -> std::io::Result<u64> {
            let noise = std::fs::File::open("/dev/urandom")?;
            // Larger pieces than a copy of its own would take: every one is a call of the kernel.
            let mut noise = std::io::BufReader::with_capacity(1 << 20, noise.take(mebibytes << 20));
            std::io::copy(&mut noise, &mut std::fs::File::create(&file)?)
        };
        fill().map_err(sys::Error::io("fill", &file))?;
        Ok(())
    }

    /// Where the guest leaves its results.
    pub(crate) fn out(&self) -> PathBuf {
        self.dir.join("out")
    }

    /// Switches the machine on, waits until it is off, and judges the script's exit code.
    pub(crate) fn run(&self, lab: &Lab, machine: Machine, limit: Duration) -> Result<Duration> {
        self.run_with(lab, machine, &[], limit)
    }

    /// As [`Share::run`], with what a person does at the console while it starts.
    pub(crate) fn run_with(
        &self,
        lab: &Lab,
        machine: Machine,
        dialog: &[Say],
        limit: Duration,
    ) -> Result<Duration> {
        let mut running = machine.share(&self.dir).power_on(lab)?;
        converse(lab, &mut running, dialog, None, limit)?;
        let end = running.ends(limit)?;
        let took = running.since();
        let log = self.out().join("log");
        match (end, read(&self.out().join("exit")).ok().map(|code| code.trim().to_owned())) {
            (End::Off, Some(code)) if code == "0" => Ok(took),
            (_, Some(code)) => Err(Error::Script { last: crate::console::tail(&log, 1), code, log }),
            (_, None) => Err(Error::Machine {
                detail: "the machine ended before its script did".to_owned(),
                console: self.dir.with_extension("serial"),
            }),
        }
    }
}

/// A machine that runs the base system on a throw-away copy of its disk, started with the base's own initramfs or with
/// another one.
pub(crate) fn helper(
    base: &Base,
    initrd: Option<&Path>,
    dir: &Path,
    name: &str,
    firmware: Firmware,
    vars: &Path,
) -> Machine {
    let image = base.image();
    let drive = |serial: &str| Drive {
        file: &image,
        format: "raw",
        serial: serial.to_owned(),
        bus: Bus::Virtio,
        sector: 512,
        throw_away: true,
        boot_index: None,
    };
    Machine::new(dir, name, 2048)
        .firmware(firmware, vars)
        .kernel(
            &base.kernel(),
            initrd.unwrap_or(&base.initrd()),
            "root=/dev/vda rw rootfstype=ext4 console=ttyS0,115200 mitigations=off net.ifnames=0 quiet panic=-1 \
             init=/usr/lib/drill/helper",
        )
        .disk(&drive("base"))
        .disk(&drive("base-copy"))
}

/// Quotes one word for a POSIX shell.
pub(crate) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
