//! A read-only filesystem that the kernel asks us about (FUSE): takes its questions from `/dev/fuse`, and answers them from a
//! [`Filesystem`]. It knows nothing of what the files are, and there is no question that changes anything that it answers.
//!
//! The kernel's side is `include/uapi/linux/fuse.h`, version 7; every kernel since 4.18 (7.27) speaks what is used here.

mod wire;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, IoSlice};
use rustix::mount::MountFlags;

use wire::{Answer, Request, op};

pub use wire::{Attributes, directory_type};

/// Type of the filesystem in `/proc/self/mountinfo`.
pub const TYPE: &str = "fuse.rear";
/// Where the kernel asks.
pub const DEVICE: &str = "/dev/fuse";
/// Most bytes of one answer's content; the kernel asks for no more than it was told.
const MOST: u32 = 1 << 20;
/// Room for any question: nothing is ever written.
const QUESTION: usize = 64 << 10;

/// Name and value of an extended attribute.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// What the kernel wants to know of files, each of which has a number; that of the root directory is 1.
pub trait Filesystem: Sync {
    /// The file of that name in a directory.
    fn lookup(&self, directory: u64, name: &[u8]) -> Result<u64, Errno>;
    /// What `stat(2)` says of it.
    fn attributes(&self, node: u64) -> Result<Attributes, Errno>;
    /// Entries of a directory from the one with this index on, as (name, number, type as in `d_type`), until `take` says
    /// that it has enough.
    fn entries(
        &self,
        directory: u64,
        from: u64,
        take: &mut dyn FnMut(&[u8], u64, u32) -> bool,
    ) -> Result<(), Errno>;
    /// The target of a symbolic link.
    fn link(&self, node: u64) -> Result<Vec<u8>, Errno>;
    /// Whether it can be read.
    fn open(&self, node: u64) -> Result<(), Errno>;
    /// Fills `into` from this offset; fewer bytes only at the end of the file.
    fn read(&self, node: u64, offset: u64, into: &mut [u8]) -> Result<usize, Errno>;
    /// The next data (or hole) at or after the offset; `ENXIO` when there is none.
    fn seek(&self, node: u64, offset: u64, data: bool) -> Result<u64, Errno>;
    /// Extended attributes, by name.
    fn xattrs(&self, node: u64) -> Result<Vec<Xattr>, Errno>;
    /// Inode flags (`FS_IOC_GETFLAGS`).
    fn flags(&self, node: u64) -> Result<u32, Errno>;
    /// Bytes and number of all files.
    fn totals(&self) -> (u64, u64);
}

/// The kernel's end of a mounted filesystem.
pub struct Session {
    device: OwnedFd,
}

/// Mounts at a directory: read-only, without set-user-id, devices and execution, for root's own eyes, and with the permissions
/// of the files obeyed.
///
/// # Errors
/// What `open(2)` or `mount(2)` says.
pub fn mount(target: &Path, source: &str) -> Result<Session, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let device = rustix::fs::open(DEVICE, flags, Mode::empty())?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&device);
    let options = format!("fd={number},rootmode=40000,user_id=0,group_id=0,default_permissions");
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount(source, target, TYPE, flags, Some(options.as_c_str()))?;
    Ok(Session { device })
}

impl Session {
    /// Answers, with so many threads, until the filesystem is unmounted or `stop` is set. The first error ends it: then no
    /// question is answered any more.
    ///
    /// # Errors
    /// The kernel's end failed.
    pub fn serve(
        &self,
        filesystem: &dyn Filesystem,
        threads: usize,
        stop: &AtomicBool,
    ) -> std::io::Result<()> {
        let work = || {
            let result = self.answer_all(filesystem, stop);
            stop.store(true, Ordering::SeqCst);
            result
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let results = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread ended too early")))
            });
            results.fold(Ok(()), Result::and)
        })
    }

    fn answer_all(&self, filesystem: &dyn Filesystem, stop: &AtomicBool) -> std::io::Result<()> {
        let mut question = vec![0; QUESTION];
        let mut answer = Answer::default();
        while !stop.load(Ordering::Relaxed) {
            let mut wait = [PollFd::new(&self.device, PollFlags::IN)];
            let time = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
            match rustix::event::poll(&mut wait, Some(&time)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let length = match rustix::io::read(&self.device, &mut question[..]) {
                Ok(length) => length,
                // Another thread took it, or it was taken back.
                Err(Errno::AGAIN | Errno::INTR | Errno::NOENT) => continue,
                // Unmounted.
                Err(Errno::NODEV) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let Some(request) = Request::parse(&question[..length]) else {
                return Err(std::io::Error::other("the kernel asks in an unknown form"));
            };
            answer.clear();
            match respond(filesystem, &request, &mut answer) {
                Ok(true) => self.send(&answer.header(request.unique, 0), answer.bytes())?,
                Ok(false) => {}
                Err(error) => {
                    self.send(&Answer::default().header(request.unique, error.raw_os_error()), &[])?
                }
            }
        }
        Ok(())
    }

    fn send(&self, header: &[u8], body: &[u8]) -> std::io::Result<()> {
        match rustix::io::writev(self.device.as_fd(), &[IoSlice::new(header), IoSlice::new(body)]) {
            // Nobody waits for it any more: the asking program was killed, or the filesystem unmounted.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV | Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Answers one question; false where the kernel waits for no answer.
fn respond(filesystem: &dyn Filesystem, request: &Request<'_>, out: &mut Answer) -> Result<bool, Errno> {
    let node = request.node;
    match request.opcode {
        op::INIT => {
            // Every kernel of version 7 goes on with the lower of both minor numbers.
            if request.number(0)? != wire::MAJOR {
                return Err(Errno::PROTO);
            }
            out.init(request.number(1)?, request.number(2)?, request.number(3)?, MOST);
        }
        op::LOOKUP => match filesystem.lookup(node, request.name()?) {
            Ok(found) => out.entry(found, &filesystem.attributes(found)?),
            // The kernel remembers that there is no such name.
            Err(Errno::NOENT) => out.no_entry(),
            Err(error) => return Err(error),
        },
        op::FORGET | op::BATCH_FORGET | op::INTERRUPT => return Ok(false),
        op::GETATTR => out.attributes(node, &filesystem.attributes(node)?),
        op::READLINK => out.extend(&filesystem.link(node)?),
        op::OPEN => {
            filesystem.open(node)?;
            out.opened();
        }
        op::OPENDIR => out.opened(),
        op::RELEASE | op::RELEASEDIR | op::DESTROY => {}
        op::READ => {
            let (offset, size) = (request.long(8)?, request.number(4)?.min(MOST));
            let room = out.room(size as usize);
            let got = filesystem.read(node, offset, room)?;
            out.truncate(got);
        }
        op::READDIR => {
            let (from, size) = (request.long(8)?, request.number(4)?.min(MOST) as usize);
            let mut index = from;
            filesystem.entries(node, from, &mut |name, number, kind| {
                index += 1;
                out.directory_entry(number, index, kind, name, size)
            })?;
        }
        op::GETXATTR => {
            let (size, name) = (request.number(0)?, request.name_at(8)?);
            let xattrs = filesystem.xattrs(node)?;
            let value = xattrs.iter().find(|(one, _)| one == name).ok_or(Errno::NODATA)?;
            out.sized(&value.1, size)?;
        }
        op::LISTXATTR => {
            let mut list = Vec::new();
            for (name, _) in filesystem.xattrs(node)? {
                list.extend(name);
                list.push(0);
            }
            out.sized(&list, request.number(0)?)?;
        }
        op::LSEEK => {
            let data = match request.number(4)? {
                wire::SEEK_DATA => true,
                wire::SEEK_HOLE => false,
                _ => return Err(Errno::INVAL),
            };
            out.extend(&filesystem.seek(node, request.long(8)?, data)?.to_ne_bytes());
        }
        op::IOCTL if request.number(3)? == wire::GETFLAGS => out.ioctl(filesystem.flags(node)?),
        op::IOCTL => return Err(Errno::NOTTY),
        op::STATFS => {
            let (bytes, files) = filesystem.totals();
            out.statistics(bytes, files);
        }
        _ => return Err(Errno::NOSYS),
    }
    Ok(true)
}
