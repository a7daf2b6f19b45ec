//! Partitions that are saved block by block (`BLOCKCLONE_SOURCE_DEV`), over both halves of the work: what no file backup can bring
//! back, such as a Windows beside this system. Only the used blocks where a program knows them (`ntfsclone`, `partclone`), else all.
//! A clone is proven by cloning what was restored once more: both streams must be the same to the last byte.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backup::{Encrypted, Image, ImageReader, ImageWriter, Output, Stored};
use layout::{Bytes, Content, Device, Layout, NodeId};
use serde::{Deserialize, Serialize};
use sys::{Cmd, Sys};

use super::machine::Machine;
use super::mkbackup::encrypt::Encrypt;
use super::preflight::Refusals;
use super::recover::Opened;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::point::{self, Part, Place, Seal};
use crate::unlock::Unlocker;

/// The part that lists the clones.
pub const PART: &str = "blockclone.json";
/// More than any list has, in bytes.
const LIST_LIMIT: usize = 1 << 20;
/// How long a program may take for one device.
const LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// What knows the used blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    /// `ntfsclone` of ntfs-3g.
    Ntfsclone,
    /// `partclone.TYPE`.
    Partclone(String),
    /// Nothing: every block is read.
    Blocks,
}

/// One clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clone {
    /// The device, as the layout calls it.
    device: NodeId,
    /// Its kernel name then, for people.
    path: String,
    /// Its size in bytes.
    size: u64,
    /// What made the stream.
    method: Method,
    /// The file beside the seal: zstd, encrypted where the archive is.
    part: String,
    /// Number of its volumes, as of an archive; 0 where it is one file.
    volumes: u32,
    /// The stream.
    image: Image,
}

impl Clone {
    /// The names of its files, in their order.
    fn file_names(&self) -> Vec<String> {
        point::file_names(&self.part, self.volumes)
    }
}

/// A clone whose file was read to its end, open where it is encrypted.
#[derive(Debug)]
pub struct Proven {
    clone: Clone,
    stored: Stored,
}

impl Method {
    /// The best that is on this machine.
    fn of(sys: &dyn Sys, device: &Device) -> Self {
        let Content::Filesystem(filesystem) = &device.content else { return Self::Blocks };
        let name = match filesystem.fs_type() {
            "ntfs" if sys.which("ntfsclone").is_some() => return Self::Ntfsclone,
            "vfat" => "vfat",
            "ext2" | "ext3" | "ext4" => "extfs",
            // Of several devices partclone would save one.
            "btrfs" => return Self::Blocks,
            other => other,
        };
        let program = format!("partclone.{name}");
        let both = [program.as_str(), "partclone.restore"];
        match both.iter().all(|program| sys.which(program).is_some()) {
            true => Self::Partclone(name.to_owned()),
            false => Self::Blocks,
        }
    }

    /// What must be carried to bring it back and to prove it.
    fn programs(&self) -> Vec<String> {
        match self {
            Self::Ntfsclone => vec!["ntfsclone".into()],
            Self::Partclone(name) => vec![format!("partclone.{name}"), "partclone.restore".into()],
            Self::Blocks => Vec::new(),
        }
    }

    /// For people.
    fn word(&self) -> String {
        match self {
            Self::Ntfsclone => "used blocks, by ntfsclone".into(),
            Self::Partclone(name) => format!("used blocks, by partclone.{name}"),
            Self::Blocks => "all blocks".into(),
        }
    }

    /// Gives the stream of a device to `take`.
    fn read(
        &self,
        context: &Context,
        device: &Path,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()> + Send,
    ) -> Result<()> {
        let path = device.display().to_string();
        let cmd = match self {
            Self::Ntfsclone => Cmd::new("ntfsclone").args(["--save-image", "--output", "-", path.as_str()]),
            Self::Partclone(name) => Cmd::new(format!("partclone.{name}")).args([
                "--clone",
                "--source",
                path.as_str(),
                "--output",
                "-",
                "--logfile",
                "/dev/null",
            ]),
            Self::Blocks => {
                let mut file = File::open(device)?;
                let mut buffer = vec![0; PIECE];
                loop {
                    context.cancel.check()?;
                    match file.read(&mut buffer)? {
                        0 => return Ok(()),
                        got => take(&buffer[..got])?,
                    }
                }
            }
        };
        Ok(context.sys.run_into(&cmd.timeout(LIMIT), take)?)
    }

    /// Brings a stream back to a device.
    fn write(&self, context: &Context, device: &Path, stream: &mut (dyn Read + Send)) -> Result<()> {
        let path = device.display().to_string();
        let cmd = match self {
            Self::Ntfsclone => {
                Cmd::new("ntfsclone").args(["--restore-image", "--overwrite", path.as_str(), "-"])
            }
            Self::Partclone(_) => Cmd::new("partclone.restore").args([
                "--source",
                "-",
                "--overwrite",
                path.as_str(),
                "--logfile",
                "/dev/null",
            ]),
            Self::Blocks => {
                // O_EXCL: the kernel refuses a device that anything else has in use.
                let exclusive = rustix::fs::OFlags::EXCL.bits().cast_signed();
                let mut file =
                    std::fs::OpenOptions::new().write(true).custom_flags(exclusive).open(device)?;
                let mut buffer = vec![0; PIECE];
                loop {
                    context.cancel.check()?;
                    match stream.read(&mut buffer)? {
                        0 => break,
                        got => file.write_all(&buffer[..got])?,
                    }
                }
                return Ok(file.sync_all()?);
            }
        };
        Ok(context.sys.run_from(&cmd.timeout(LIMIT), stream)?)
    }
}

/// The devices of a layout that are cloned.
fn devices(layout: &Layout) -> impl Iterator<Item = &Device> {
    layout.cloned.iter().filter_map(|id| layout.device(id))
}

/// Bytes that the clones take at most, without those of which only a program knows how much is used.
pub fn bytes(context: &Context, machine: &Machine) -> u64 {
    let all = devices(&machine.wanted).filter(|device| Method::of(&context.sys, device) == Method::Blocks);
    all.map(|device| device.size.get()).sum()
}

/// Refuses what cannot be cloned into this recovery point; gives the programs that a recovery needs. `archive`: whether this run makes
/// one, beside which the clones lie.
pub fn check(context: &Context, machine: &Machine, archive: bool, refusals: &mut Refusals) -> Vec<String> {
    let settings = context.settings();
    let mut programs = Vec::new();
    for device in devices(&machine.wanted) {
        let method = Method::of(&context.sys, device);
        if !archive {
            match settings.backup {
                config::Backup::Netfs => context.ui.warn(format!(
                    "{} is not saved in this run: it comes back from a recovery point with an archive alone",
                    device.path
                )),
                _ => refusals.add(format!(
                    "BLOCKCLONE_SOURCE_DEV names {}, which is only saved beside the archive of BACKUP=NETFS",
                    device.path
                )),
            }
        }
        if let Err(error) = exclusive(Path::new(&device.path)) {
            refusals.add(format!("BLOCKCLONE_SOURCE_DEV names {}, which is in use: {error}", device.path));
        }
        programs.extend(method.programs());
    }
    programs
}

/// Whether nothing has the device in use: mounted, swapped on, or part of something.
fn exclusive(device: &Path) -> std::io::Result<()> {
    let flags = rustix::fs::OFlags::EXCL.bits().cast_signed();
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(device).map(drop)
}

/// Clones every device that is to be cloned into `dir`, encrypted as the archive is, and adds the parts.
pub fn save(
    context: &Context,
    machine: &Machine,
    dir: &Path,
    encrypt: Option<&Encrypt>,
    parts: &mut Vec<Part>,
) -> Result<()> {
    let mut clones = Vec::new();
    for (number, device) in (1..).zip(devices(&machine.wanted)) {
        let path = Path::new(&device.path);
        let during = |failure: Failure| failure.during(&format!("cloning {}", device.path));
        let unused = || exclusive(path).map_err(|error| during(error.into()));
        unused()?;
        let clone = save_one(context, device, number, dir, encrypt, parts).map_err(during)?;
        // What was mounted meanwhile has perhaps changed.
        unused()?;
        clones.push(clone);
    }
    if !clones.is_empty() {
        parts.push(super::mkbackup::part(dir, PART, &serde_json::to_vec_pretty(&clones)?)?);
    }
    Ok(())
}

fn save_one(
    context: &Context,
    device: &Device,
    number: u32,
    dir: &Path,
    encrypt: Option<&Encrypt>,
    parts: &mut Vec<Part>,
) -> Result<Clone> {
    let method = Method::of(&context.sys, device);
    let stage = context.ui.stage_of("clone", device.size.get());
    let end = if encrypt.is_some() { point::ENCRYPTED } else { "" };
    let part = format!("blockclone-{number}.zst{end}");
    let split = context.settings().backup_split_size;
    let mut volumes = point::volumes(dir, &part, split)?;
    let (image, key) = match encrypt {
        None => (stream(context, device, &method, &mut volumes, &stage)?, None),
        Some(encrypt) => {
            let mut output = Encrypted::begin(&encrypt.lock, &mut volumes)?;
            let key = output.key().clone();
            let image = stream(context, device, &method, &mut output, &stage)?;
            (Image { blake3: key.digest(&image.blake3), ..image }, Some(key))
        }
    };
    let files = point::parts_of(&part, split, &volumes);
    drop(volumes);
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let count = split.map_or(0, |_| u32::try_from(files.len()).unwrap_or(0));
    parts.extend(files);
    let (id, path, size) = (device.id.clone(), device.path.clone(), device.size.get());
    let clone = Clone { device: id, path, size, method, part, volumes: count, image };
    if let Some(key) = key {
        let written = stored(&clone, &Place::Dir(dir.to_owned()))?;
        written.forget_cached();
        written.decrypted_with(&key)?;
    }
    let how = clone.method.word();
    stage.done(format!("{} ({how}): {} -> {}", clone.path, Bytes(clone.image.bytes), Bytes(bytes)));
    Ok(clone)
}

/// Brings the stream of a device to an output.
fn stream(
    context: &Context,
    device: &Device,
    method: &Method,
    to: &mut dyn Output,
    progress: &dyn backup::Progress,
) -> Result<Image> {
    let options = context.archive_options();
    // Another codec's level says nothing to zstd.
    let level = if options.codec == backup::Codec::Zstd { options.level } else { 3 };
    let mut writer = ImageWriter::new(to, level, options.threads)?;
    let take = |piece: &[u8]| {
        progress.add(piece.len() as u64, 0);
        writer.write(piece)
    };
    method.read(context, Path::new(&device.path), take)?;
    Ok(writer.finish()?)
}

/// The clones of a recovery point; none where it has none.
fn list(seal: &Seal, dir: &Path) -> Result<Vec<Clone>> {
    if !seal.parts.iter().any(|part| part.name == PART) {
        return Ok(Vec::new());
    }
    let text = seal.read_part(dir, PART)?;
    if text.len() > LIST_LIMIT {
        return Err(Failure::refused(format!("{PART} is damaged: it has {} bytes", text.len())));
    }
    let clones: Vec<Clone> = serde_json::from_slice(&text)?;
    for clone in &clones {
        // The names become a path and a program.
        let plain = |name: &str| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
        };
        let program = !matches!(&clone.method, Method::Partclone(name) if !plain(name) || name.contains('.'));
        if !plain(&clone.part) || !clone.part.starts_with("blockclone-") || !program {
            return Err(Failure::refused(format!("{PART} is damaged: it names {}", clone.part)));
        }
        clone.file_names().iter().try_for_each(|name| seal.part(name).map(drop))?;
    }
    Ok(clones)
}

/// Reads every clone from end to end, before anything is written to a disk.
pub fn prove(
    context: &Context,
    seal: &Seal,
    layout: &Layout,
    dir: &Path,
    unlocker: &mut Unlocker<'_>,
) -> Result<Vec<Proven>> {
    let mut proven = Vec::new();
    for clone in list(seal, dir)? {
        let stage = context.ui.stage_of("verify", clone.image.bytes);
        let mut whole = || -> Result<Stored> {
            if !layout.cloned.contains(&clone.device) {
                return Err(Failure::refused("the layout does not know it"));
            }
            if let Some(program) =
                clone.method.programs().iter().find(|program| context.sys.which(program).is_none())
            {
                return Err(Failure::refused(format!("{program} is not here")));
            }
            let stored = unlocker.open(seal, stored(&clone, &Place::Dir(dir.to_owned()))?)?;
            let mut reader = ImageReader::new(&stored, &clone.image)?;
            let mut buffer = vec![0; PIECE];
            loop {
                context.cancel.check()?;
                match reader.read(&mut buffer)? {
                    0 => return Ok(stored),
                    got => backup::Progress::add(&stage, got as u64, 0),
                }
            }
        };
        let stored = whole().map_err(|failure| {
            Failure::refused(format!("the clone of {} cannot be brought back: {failure}", clone.path))
                .hint("no disk was written to; use another copy of the medium")
        })?;
        stage.done(format!("clone of {}: whole", clone.path));
        proven.push(Proven { clone, stored });
    }
    Ok(proven)
}

/// The file of a clone as it lies there, to be read at any place.
fn stored(clone: &Clone, place: &Place) -> Result<Stored> {
    let names = clone.file_names();
    let files = names.iter().map(|name| place.stored(name)).collect::<Result<Vec<_>>>()?;
    Ok(Stored::joined(place.path().join(&clone.part), &files))
}

/// Brings every clone back to the device that was made for it, and clones that once more: the same stream must come out.
pub fn restore(
    context: &Context,
    opened: &Opened,
    applied: &apply::Applied,
    problems: &mut Vec<String>,
) -> Result<()> {
    let clones = &opened.clones;
    let is_of = |device: &Device| clones.iter().any(|one| one.clone.device == device.id);
    for device in devices(&opened.layout).filter(|device| !is_of(device)) {
        problems.push(format!("{} is empty: this recovery point has no clone of it", device.path));
    }
    bring_back(context, clones, &applied.devices, problems)
}

fn bring_back(
    context: &Context,
    clones: &[Proven],
    devices: &BTreeMap<NodeId, PathBuf>,
    problems: &mut Vec<String>,
) -> Result<()> {
    for proven in clones {
        let clone = &proven.clone;
        let during = |failure: Failure| failure.during(&format!("bringing back {}", clone.path));
        let Some(device) = devices.get(&clone.device) else {
            return Err(during(Failure::failed("no device was made for it")));
        };
        let stage = context.ui.stage_of("clone", clone.image.bytes * 2);
        let reader = ImageReader::new(&proven.stored, &clone.image)?;
        let mut counted = Counted { reader, progress: &stage };
        clone.method.write(context, device, &mut counted).map_err(during)?;
        let same = is_same(context, proven, device, &stage).map_err(during)?;
        if !same {
            problems.push(format!(
                "{} is another than it was: cloned again, it gives another stream",
                clone.path
            ));
        }
        let how = if same { "the same blocks as before" } else { "NOT the same blocks as before" };
        stage.done(format!("{} on {}: {how}", clone.path, device.display()));
    }
    Ok(())
}

/// Whether a device, cloned now, gives the stream that the clone has.
fn is_same(
    context: &Context,
    proven: &Proven,
    device: &Path,
    progress: &dyn backup::Progress,
) -> Result<bool> {
    let Clone { method, image, .. } = &proven.clone;
    let mut hasher = blake3::Hasher::new();
    // A device may be larger than what all its blocks were.
    let mut left = if *method == Method::Blocks { image.bytes } else { u64::MAX };
    let take = |piece: &[u8]| {
        let piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        left -= piece.len() as u64;
        progress.add(piece.len() as u64, 0);
        hasher.update(piece);
        Ok(())
    };
    method.read(context, device, take)?;
    Ok(proven.stored.told(hasher.finalize().to_hex().to_string()) == image.blake3)
}

/// Tells how much was read.
struct Counted<'a, R: Read> {
    reader: R,
    progress: &'a dyn backup::Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.progress.add(got as u64, 0);
        Ok(got)
    }
}

#[cfg(test)]
mod tests;
