//! Writes the planned tree as a zstd-compressed newc archive: one pass, each file read once, memory independent of
//! its size. Files that hold a private key stop the writing.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sys::Cancel;

use crate::cpio::{CHAR, DIR, Head, LINK, REGULAR, Writer};
use crate::tree::{Content, Node, Tree};
use crate::{Error, keys};

/// How the archive came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Size of the file, in bytes.
    pub packed: u64,
    /// Size of the archive inside, in bytes.
    pub unpacked: u64,
    /// Number of regular files.
    pub files: usize,
}

/// The image while it is written; removed when it is not finished.
struct Unfinished {
    path: PathBuf,
    done: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes the tree to a new file that only root can read.
pub(crate) fn write(
    tree: &Tree,
    target: &Path,
    level: i32,
    threads: usize,
    cancel: &Cancel,
) -> Result<Packed, Error> {
    let file = sys::fs::create_private(target)?;
    let mut guard = Unfinished { path: target.to_owned(), done: false };
    let fail = || Error::io("write", target);
    let mut encoder = zstd::Encoder::new(BufWriter::with_capacity(1 << 20, &file), level).map_err(fail())?;
    // With at least one worker the result depends on the level only, not on the number of workers. Each one costs
    // tens of megabytes, and four are faster than most disks.
    let workers = u32::try_from(threads.clamp(1, 4)).unwrap_or(1);
    encoder.multithread(workers).map_err(fail())?;
    let mut writer = Writer::new(encoder);
    let mut files = 0;
    let mut buffer = vec![0; 256 * 1024];
    for (path, node) in tree.iter() {
        cancel.check()?;
        files += usize::from(matches!(node.content, Content::File(_) | Content::Bytes(_)));
        entry(&mut writer, path, node, &mut buffer, target, cancel)?;
    }
    let (encoder, unpacked) = writer.finish().map_err(fail())?;
    let mut out = encoder.finish().map_err(fail())?;
    out.flush().map_err(fail())?;
    drop(out);
    let packed = file.metadata().map_err(fail())?.len();
    guard.done = true;
    Ok(Packed { packed, unpacked, files })
}

fn entry<W: Write>(
    writer: &mut Writer<W>,
    path: &Path,
    node: &Node,
    buffer: &mut [u8],
    target: &Path,
    cancel: &Cancel,
) -> Result<(), Error> {
    let fail = || Error::io("write", target);
    let head = |kind: u32, size: u32, rdev: (u32, u32)| Head {
        mode: kind | node.mode,
        uid: node.uid,
        gid: node.gid,
        size,
        rdev,
    };
    let mut plain = |kind: u32, bytes: &[u8], rdev: (u32, u32)| -> Result<(), Error> {
        let size = u32::try_from(bytes.len())
            .map_err(|_| Error::TooLarge { path: path.to_owned(), bytes: bytes.len() as u64 })?;
        writer.begin(path, head(kind, size, rdev)).map_err(fail())?;
        writer.write(bytes).map_err(fail())?;
        writer.pad().map_err(fail())
    };
    match &node.content {
        Content::Dir => plain(DIR, &[], (0, 0)),
        Content::Char { major, minor } => plain(CHAR, &[], (*major, *minor)),
        Content::Link(to) => plain(LINK, to.as_os_str().as_encoded_bytes(), (0, 0)),
        Content::Bytes(bytes) => {
            if keys::is_private_key(bytes) {
                return Err(Error::PrivateKey { path: path.to_owned() });
            }
            plain(REGULAR, bytes, (0, 0))
        }
        Content::File(source) => {
            let mut file = File::open(source).map_err(Error::io("open", source))?;
            let bytes = file.metadata().map_err(Error::io("look at", source))?.size();
            let too_large = || Error::TooLarge { path: source.clone(), bytes };
            let size = u32::try_from(bytes).map_err(|_| too_large())?;
            if bytes < keys::LIMIT {
                let mut content = Vec::new();
                (&mut file).take(bytes + 1).read_to_end(&mut content).map_err(Error::io("read", source))?;
                if content.len() as u64 != bytes {
                    return Err(Error::Changed { path: source.clone() });
                }
                if keys::is_private_key(&content) {
                    return Err(Error::PrivateKey { path: source.clone() });
                }
                return plain(REGULAR, &content, (0, 0));
            }
            writer.begin(path, head(REGULAR, size, (0, 0))).map_err(fail())?;
            stream(writer, &mut file, source, bytes, buffer, target, cancel)?;
            writer.pad().map_err(fail())
        }
    }
}

/// Exactly as many bytes as the head promised.
fn stream<W: Write>(
    writer: &mut Writer<W>,
    file: &mut File,
    source: &Path,
    mut rest: u64,
    buffer: &mut [u8],
    target: &Path,
    cancel: &Cancel,
) -> Result<(), Error> {
    loop {
        cancel.check()?;
        let got = match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(Error::io("read", source))?,
        };
        if got == 0 && rest == 0 {
            return Ok(());
        }
        if got == 0 || got as u64 > rest {
            return Err(Error::Changed { path: source.to_owned() });
        }
        writer.write(&buffer[..got]).map_err(Error::io("write", target))?;
        rest -= got as u64;
    }
}
