//! One virtual machine: how it is built, switched on, watched and switched off.
//!
//! QEMU is started directly (not through the door to the machine, which waits for the end of a program): it is
//! watched while it runs. It ends when its [`Running`] is dropped, and by the kernel's hand (`setpriv
//! --pdeathsig`) when the thread that started it dies. No hardware acceleration is asked for: what is proven
//! must be provable on any machine.

use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::console::Console;
use crate::lab::{Lab, path, write};
use crate::qmp::{Power, Qmp};
use crate::scenario::{Bus, Firmware};
use crate::{Error, Result};

/// Where Debian's `ovmf` package has the firmware.
const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const OVMF_CODE_SECURE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
/// An NVRAM in which nothing was ever stored.
const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// One in which nothing but Microsoft's keys was stored, as a PC is delivered: Secure Boot is on.
const OVMF_VARS_SECURE: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";

/// The NVRAM of a new machine, where its firmware has one.
pub(crate) fn empty_nvram(firmware: Firmware) -> Option<&'static Path> {
    match firmware {
        Firmware::Bios => None,
        Firmware::Uefi => Some(Path::new(OVMF_VARS)),
        Firmware::SecureBoot => Some(Path::new(OVMF_VARS_SECURE)),
    }
}

/// How often a machine may find no room on this host, and how long it then waits.
const STOPS: u32 = 24;
const STOP: Duration = Duration::from_secs(5);
/// A network of its own, from which it reaches the world.
const NET: &str = "user,id=net0";

/// A machine that is switched off.
#[derive(Clone)]
pub(crate) struct Machine {
    name: String,
    dir: PathBuf,
    args: Vec<String>,
    drives: u32,
    /// Whether it has the two SCSI controllers over which a disk is reached twice.
    two_paths: bool,
}

/// One disk to attach.
pub(crate) struct Drive<'a> {
    pub(crate) file: &'a Path,
    /// "raw" or "qcow2".
    pub(crate) format: &'a str,
    pub(crate) serial: String,
    pub(crate) bus: Bus,
    pub(crate) sector: u32,
    /// Writes go to a temporary file.
    pub(crate) throw_away: bool,
    /// The firmware's order; a helper machine needs none.
    pub(crate) boot_index: Option<u32>,
}

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It restarted itself.
    Reset,
    /// It switched itself off.
    Off,
}

impl Machine {
    /// A machine without disks. Its console is logged as `NAME.serial` in `dir`.
    pub(crate) fn new(dir: &Path, name: &str, memory: u32) -> Self {
        let fixed = format!(
            "-nodefaults -no-user-config -machine q35 -accel tcg,thread=multi,tb-size=1024 -cpu max -smp 2 \
                     -display none -vga std -rtc base=utc -no-reboot -qmp stdio -device virtio-rng-pci \
                     -netdev {NET} \
                     -device virtio-net-pci,netdev=net0,romfile=,mac=52:54:00:12:34:56"
        );
        let mut machine = Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            args: fixed.split_whitespace().map(str::to_owned).collect(),
            drives: 0,
            two_paths: false,
        };
        machine.add("-m", memory.to_string());
        machine.add("-name", name);
        // Nobody has to be connected for the log to be written.
        machine.add(
            "-chardev",
            format!(
                "socket,id=console,path={},abstract=on,tight=on,server=on,wait=off,logfile={}",
                machine.line(),
                option(&machine.console())
            ),
        );
        machine.add("-serial", "chardev:console");
        machine
    }

    /// Name of the abstract socket that leads to the serial console: file names could be too long for one.
    fn line(&self) -> String {
        let dir = crate::lab::key([path(&self.dir).as_bytes()]);
        format!("rear-drill-{}-{dir}-{}", std::process::id(), self.name)
    }

    /// The file that the serial console is logged to.
    pub(crate) fn console(&self) -> PathBuf {
        self.dir.join(format!("{}.serial", self.name))
    }

    /// Gives it one processor, whose clock goes by instructions: on a busy host it is slow, but nothing in it is late.
    #[must_use]
    pub(crate) fn steady(mut self) -> Self {
        for arg in &mut self.args {
            if arg.starts_with("tcg,") {
                *arg = "tcg,thread=single,tb-size=256".to_owned();
            }
        }
        self.add("-smp", "1");
        // About as fast as an emulated processor is on a host that has nothing else to do.
        self.add("-icount", "shift=3,sleep=on");
        self
    }

    /// Attaches an image under this name, for a device that is added by hand; `options` begin with a comma.
    pub(crate) fn drive(&mut self, id: &str, file: &Path, options: &str) {
        let file = option(file);
        self.add(
            "-drive",
            format!("if=none,id={id},file={file},format=raw,cache=unsafe,discard=unmap{options}"),
        );
    }

    pub(crate) fn add(&mut self, option: &str, value: impl Into<String>) {
        self.args.push(option.to_owned());
        self.args.push(value.into());
    }

    /// The firmware; `vars` is the file with the NVRAM of a UEFI machine, which it writes to.
    #[must_use]
    pub(crate) fn firmware(mut self, firmware: Firmware, vars: &Path) -> Self {
        let code = match firmware {
            Firmware::Bios => return self,
            Firmware::Uefi => OVMF_CODE,
            Firmware::SecureBoot => OVMF_CODE_SECURE,
        };
        if firmware == Firmware::SecureBoot {
            // Only the firmware's own mode (SMM) may write to the NVRAM, or the system could add keys.
            self.add("-machine", "smm=on");
            self.add("-global", "driver=cfi.pflash01,property=secure,value=on");
            self.add("-global", "ICH9-LPC.disable_s3=1");
        }
        self.add("-drive", format!("if=pflash,format=raw,readonly=on,file={code}"));
        self.add("-drive", format!("if=pflash,format=raw,file={}", option(vars)));
        self
    }

    /// Boots a kernel directly.
    #[must_use]
    pub(crate) fn kernel(mut self, kernel: &Path, initrd: &Path, options: &str) -> Self {
        self.add("-kernel", path(kernel));
        self.add("-initrd", path(initrd));
        self.add("-append", options);
        self
    }

    /// Attaches a disk.
    #[must_use]
    pub(crate) fn disk(mut self, drive: &Drive<'_>) -> Self {
        let id = format!("drive{}", self.drives);
        if drive.bus == Bus::Multipath {
            self.twice(drive, &id);
            self.drives += 1;
            return self;
        }
        let snapshot = if drive.throw_away { ",snapshot=on" } else { "" };
        let (file, format) = (option(drive.file), drive.format);
        self.add(
            "-drive",
            format!("if=none,id={id},file={file},format={format},cache=unsafe,discard=unmap{snapshot}"),
        );
        let device = match drive.bus {
            Bus::Virtio => "virtio-blk-pci".to_owned(),
            Bus::Ahci => format!("ide-hd,bus=ide.{}", self.drives),
            Bus::Multipath => "scsi-hd".to_owned(),
        };
        let boot = drive.boot_index.map(|index| format!(",bootindex={index}")).unwrap_or_default();
        let (serial, sector) = (&drive.serial, drive.sector);
        self.add(
            "-device",
            format!(
                "{device},drive={id},serial={serial},logical_block_size={sector},physical_block_size={sector}{boot}"
            ),
        );
        self.drives += 1;
        self
    }

    /// Attaches a disk to both of two SCSI controllers. Its image is opened once, so that what is written over one path is seen
    /// over the other; QEMU has no throw-away copy for that: whoever wants one makes it.
    fn twice(&mut self, drive: &Drive<'_>, id: &str) {
        if !self.two_paths {
            self.two_paths = true;
            for controller in ["path0", "path1"] {
                self.add("-device", format!("virtio-scsi-pci,id={controller}"));
            }
        }
        let (file, format) = (option(drive.file), drive.format);
        self.add(
            "-blockdev",
            format!(
                "driver={format},node-name={id},discard=unmap,cache.direct=off,cache.no-flush=on,file.driver=file,\
                 file.filename={file}"
            ),
        );
        let (serial, sector, wwn) = (&drive.serial, drive.sector, world_wide_name(&drive.serial));
        for path in 0..2 {
            // No two devices may have one place in the firmware's order.
            let boot = drive.boot_index.map(|index| format!(",bootindex={}", 2 * index + path));
            self.add(
                "-device",
                format!(
                    "scsi-hd,bus=path{path}.0,scsi-id={},drive={id},serial={serial},wwn=0x{wwn:x},share-rw=on,\
                     logical_block_size={sector},physical_block_size={sector}{}",
                    self.drives,
                    boot.unwrap_or_default()
                ),
            );
        }
    }

    /// Puts a CD into a SATA drive, first in the boot order.
    #[must_use]
    pub(crate) fn cd(mut self, iso: &Path) -> Self {
        self.add("-drive", format!("if=none,id=cd,media=cdrom,format=raw,readonly=on,file={}", option(iso)));
        self.add("-device", "ide-cd,bus=ide.5,drive=cd,bootindex=0");
        self
    }

    /// Plugs a USB stick in, first in the boot order. The machine can write to it.
    #[must_use]
    pub(crate) fn usb(mut self, stick: &Path) -> Self {
        self.add("-drive", format!("if=none,id=stick,format=raw,cache=unsafe,file={}", option(stick)));
        self.add("-device", "qemu-xhci");
        self.add("-device", "usb-storage,drive=stick,removable=on,bootindex=0");
        self
    }

    /// Shares a folder under the tag that the agent looks for.
    #[must_use]
    pub(crate) fn share(mut self, dir: &Path) -> Self {
        self.add(
            "-virtfs",
            format!("local,path={},mount_tag=drill,security_model=none,multidevs=remap", option(dir)),
        );
        self
    }

    /// Lets this port of the host (on its loopback interface alone) lead to the machine's ssh server.
    #[must_use]
    pub(crate) fn ssh(mut self, port: u16) -> Self {
        if let Some(net) = self.args.iter_mut().find(|arg| *arg == NET) {
            net.push_str(&format!(",hostfwd=tcp:127.0.0.1:{port}-:22"));
        }
        self
    }

    /// Switches it on.
    pub(crate) fn power_on<'a>(&self, lab: &'a Lab) -> Result<Running<'a>> {
        use std::os::unix::process::CommandExt;
        let log = self.dir.join(format!("{}.qemu", self.name));
        write(&self.console(), "")?;
        let errors = std::fs::File::create(&log).map_err(sys::Error::io("create", &log))?;
        let mut child = Command::new("/usr/bin/setpriv")
            .args(["--pdeathsig", "KILL", "--", "/usr/bin/qemu-system-x86_64"])
            .args(&self.args)
            // For the temporary files of throw-away disks.
            .env("TMPDIR", &self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(sys::Error::io("start", "/usr/bin/qemu-system-x86_64"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Machine { detail: "QEMU has no control channel".into(), console: log });
        };
        Ok(Running {
            lab,
            qmp: Qmp::new(input, output),
            console: Console::new(&self.console()),
            path: self.console(),
            errors: log,
            line: self.line(),
            keyboard: None,
            picture: self.dir.join(format!("{}.ppm", self.name)),
            child,
            started: Instant::now(),
            power: None,
            stops: 0,
        })
    }
}

/// The world-wide name (NAA 5) of a SCSI disk: the first letter and the number of its serial, so that a new disk has another one
/// than the disk in whose place it comes.
fn world_wide_name(serial: &str) -> u64 {
    let letter = serial.bytes().next().map_or(0, u64::from);
    let number: String = serial.chars().filter(char::is_ascii_digit).collect();
    0x5000_c500_0000_0000 | letter << 8 | number.parse::<u64>().map_or(0, |number| number & 0xff)
}

/// A path inside a QEMU option, in which commas are doubled.
fn option(file: &Path) -> String {
    path(file).replace(',', ",,")
}

/// A machine that is switched on. Dropping it pulls the plug.
pub(crate) struct Running<'a> {
    lab: &'a Lab,
    child: Child,
    qmp: Qmp,
    console: Console,
    path: PathBuf,
    errors: PathBuf,
    line: String,
    keyboard: Option<UnixStream>,
    picture: PathBuf,
    started: Instant,
    /// The last power event.
    power: Option<Power>,
    /// How often it was stopped because this host had no room.
    stops: u32,
}

impl Running<'_> {
    /// The console.
    pub(crate) fn console(&self) -> &Console {
        &self.console
    }

    /// Since power-on.
    pub(crate) fn since(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until the machine ends by itself. What is feared on a console ends the wait with an error.
    pub(crate) fn ends(&mut self, limit: Duration) -> Result<End> {
        let mut seen = 0;
        loop {
            self.listen()?;
            if let Some(status) = self.child.try_wait().map_err(sys::Error::io("wait for", "qemu"))? {
                // The event and the exit race: read once more what QEMU said before it ended.
                std::thread::sleep(Duration::from_millis(50));
                self.listen()?;
                return match self.power {
                    Some(Power::Reset) => Ok(End::Reset),
                    Some(Power::Off) if status.success() => Ok(End::Off),
                    Some(Power::Panic) => Err(self.error("its kernel died".to_owned())),
                    _ => Err(self.error(format!("QEMU ended with {status}: {}", self.said()))),
                };
            }
            if self.console.len() != seen {
                seen = self.console.len();
                if let Some(feared) = self.console.feared() {
                    // A moment, so that the reason is in the log as well.
                    std::thread::sleep(Duration::from_secs(2));
                    return Err(self.error(format!("its console said '{feared}'")));
                }
            }
            self.pause(limit)?;
        }
    }

    /// Takes note of power events. A machine that was stopped because this host had no room for a write goes on when there
    /// may be some again: what is full now may have room in a moment, when others have removed their files.
    fn listen(&mut self) -> Result<()> {
        let mut is_full = false;
        for event in self.qmp.events() {
            match event {
                Power::HostFull => is_full = true,
                power => self.power = Some(power),
            }
        }
        if !is_full {
            return Ok(());
        }
        self.stops += 1;
        if self.stops > STOPS {
            return Err(self.error("this host has no space left for its disks".to_owned()));
        }
        std::thread::sleep(STOP);
        self.qmp.go_on();
        Ok(())
    }

    /// Waits until the console says something that matches.
    pub(crate) fn says(&mut self, pattern: &[String], limit: Duration) -> Result<()> {
        loop {
            if self.console.missing(pattern).is_none() {
                return Ok(());
            }
            if !self.is_on()? {
                return Err(self.error(format!("it ended without having said {pattern:?}")));
            }
            self.pause(limit)?;
        }
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_on(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().map_err(sys::Error::io("wait for", "qemu"))?.is_none())
    }

    /// Connects to the console. What it says is in the log already, but has to be read here as well: QEMU stops the
    /// machine's output when nobody takes it.
    fn plug_in(&self) -> std::io::Result<UnixStream> {
        let keyboard = UnixStream::connect_addr(&SocketAddr::from_abstract_name(&self.line)?)?;
        let mut output = keyboard.try_clone()?;
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Ok(keyboard)
    }

    /// Types at the console.
    pub(crate) fn type_in(&mut self, text: &str) -> Result<()> {
        let fail = sys::Error::io("type into", self.line.clone());
        let typed = (|| {
            let keyboard = match self.keyboard.take() {
                Some(keyboard) => keyboard,
                None => self.plug_in()?,
            };
            // One key after the other, as a person does: a UART of this kind holds 16 bytes.
            for key in text.as_bytes() {
                (&keyboard).write_all(std::slice::from_ref(key))?;
                std::thread::sleep(Duration::from_millis(20));
            }
            self.keyboard = Some(keyboard);
            Ok(())
        })();
        Ok(typed.map_err(fail)?)
    }

    fn pause(&mut self, limit: Duration) -> Result<()> {
        self.lab.cancel().check()?;
        self.listen()?;
        if self.since() > limit {
            self.qmp.picture(&path(&self.picture));
            std::thread::sleep(Duration::from_secs(1));
            return Err(self.error(format!("nothing came of it within {} s", limit.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    }

    /// Pulls the plug, but lets QEMU close its disk images in order.
    pub(crate) fn power_off(mut self) -> Result<()> {
        self.qmp.quit();
        for _ in 0..100 {
            if self.child.try_wait().map_err(sys::Error::io("wait for", "qemu"))?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(self.error("QEMU did not end when it was asked to".to_owned()))
    }

    fn said(&self) -> String {
        crate::console::tail(&self.errors, 3)
    }

    /// An error of this machine.
    pub(crate) fn error(&self, detail: String) -> Error {
        Error::Machine { detail, console: self.path.clone() }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_over_two_paths_is_one_image_with_one_name() {
        assert_eq!(world_wide_name("OLD0"), 0x5000_c500_0000_4f00);
        assert_eq!(world_wide_name("NEW12"), 0x5000_c500_0000_4e0c);
        let drive = |serial: &str| Drive {
            file: Path::new("/a,b.qcow2"),
            format: "qcow2",
            serial: serial.to_owned(),
            bus: Bus::Multipath,
            sector: 4096,
            throw_away: false,
            boot_index: Some(1),
        };
        let machine = Machine::new(Path::new("/d"), "m", 64).disk(&drive("OLD0")).disk(&drive("OLD1"));
        let count = |what: &str| machine.args.iter().filter(|arg| arg.contains(what)).count();
        assert_eq!(count("virtio-scsi-pci"), 2);
        assert_eq!(count("file.filename=/a,,b.qcow2"), 2);
        assert_eq!(
            count("drive=drive0,serial=OLD0,wwn=0x5000c50000004f00,share-rw=on,logical_block_size=4096"),
            2
        );
        assert_eq!(count("wwn=0x5000c50000004f01"), 2);
        for place in ["bus=path0.0,scsi-id=1", "bus=path1.0,scsi-id=1"] {
            assert_eq!(count(place), 1, "{place}");
        }
        assert_eq!((count("bootindex=2"), count("bootindex=3")), (2, 2));
    }
}
