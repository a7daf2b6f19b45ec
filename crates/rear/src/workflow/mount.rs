//! `rear mount`: the files of recovery points as a directory to look into, read-only, until it is unmounted. It writes nothing
//! and unpacks nothing; what is read is checked against the sealed hashes, and what is damaged gives an error and a warning.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use serde_json::json;
use sys::{Cmd, Sys};

use super::browse::{Held, Parts, Point, Points};
use super::kept;
use super::list::readable;
use super::points::{Found, Looked};
use crate::cli::Mount;
use crate::context::{Context, require_root};
use crate::failure::{Code, Failure, Result};
use crate::files::{self, Keeper, Origin};
use crate::fuse::{self, Session};
use crate::point::{Place, Seal};
use crate::unlock::Unlocker;

/// Threads that answer the kernel: one that waits for the disk holds up no other.
const THREADS: usize = 4;

/// Runs the workflow.
pub fn run(context: &Context, options: &Mount) -> Result<()> {
    require_root()?;
    if options.unmount {
        return unmount(context, &options.dir);
    }
    context.show_config_warnings();
    let dir = target(context, &options.dir)?;
    let mut unlocker = Unlocker::new(context, &options.keys)?;
    let points = open(context, options.from.as_deref(), &mut unlocker)?;
    let session = mount(context, &dir)?;
    let shown = readable(dir.as_os_str().as_encoded_bytes());
    let list: Vec<_> = points.names().collect();
    match list.as_slice() {
        [one] => context.ui.say(format!("{one} is mounted read-only at {shown}.")),
        several => {
            context.ui.say(format!("{} recovery points are mounted read-only at {shown}:", several.len()));
            several.iter().for_each(|name| context.ui.say(format!("  {name}")));
        }
    }
    context.ui.say(format!("It stays until Ctrl-C here, or until elsewhere: rear mount --unmount {shown}"));
    context.ui.event(&json!({"event": "mounted", "at": dir, "points": list}));
    serve(context, &session, &points, &dir)
}

/// The recovery points that have files.
fn open<'c>(context: &'c Context, from: Option<&str>, unlocker: &mut Unlocker<'c>) -> Result<Points<'c>> {
    let looked = Looked::all(context, from)?;
    let mut points = match from {
        None => in_repository(context)?,
        Some(_) => Vec::new(),
    };
    let is_new =
        |found: &Found| !found.seal.as_ref().is_some_and(|seal| points.iter().any(|one| one.is(&seal.id)));
    let count = looked.points.iter().filter(|found| found.has_files() && is_new(found)).count();
    let mut opener = Opener { context, unlocker, origins: Vec::new() };
    if count + points.len() < 2 {
        let point = match points.pop() {
            Some(point) => point,
            None => {
                looked.refuse_none()?;
                let found = looked.with_files()?;
                let held = opener.held(found.sealed()?, &found.place)?;
                Point::new(Parts::At(found.place), found.seal, held)
            }
        };
        // The only one is opened now, so that what is wrong with it is said now.
        return Points::one(context, point);
    }
    let new: Vec<bool> = looked.points.iter().map(|found| found.has_files() && is_new(found)).collect();
    for (found, _) in looked.points.into_iter().zip(new).filter(|(_, is_new)| *is_new) {
        if !found.faults.is_empty() {
            // What of it is there can be had by naming it alone.
            let path = found.place.path().display();
            context.ui.warn(format!("{path} is not shown: {}", found.faults.join("; ")));
            continue;
        }
        let held = match found.sealed().and_then(|seal| opener.held(seal, &found.place)) {
            Ok(held) => held,
            Err(failure) if context.cancel.is_raised() => return Err(failure),
            Err(failure) => {
                let path = found.place.path().display();
                context.ui.warn(format!("{path} is not shown: {}", failure.message));
                continue;
            }
        };
        points.push(Point::new(Parts::At(found.place), found.seal, held));
    }
    if points.is_empty() {
        return Err(Failure::refused("every recovery point there is broken, or cannot be opened")
            .hint("rear list says what is wrong with each; name one of them with --from"));
    }
    Points::several(context, points)
}

/// This machine's recovery points in the repository, where one is configured.
fn in_repository(context: &Context) -> Result<Vec<Point>> {
    let Some((keeper, hostname)) = kept::usual(context)? else { return Ok(Vec::new()) };
    let keeper: Arc<dyn Keeper> = Arc::from(keeper);
    let mut points = Vec::new();
    for kept in keeper.points(context, &hostname)? {
        let opened = match kept.seal {
            Ok(_) if !kept.has_files => Err(Failure::refused("its files are not in the repository any more")),
            Ok(seal) => match &seal.content {
                // What fails here fails for all of them: somebody removes things at this moment, or the server is gone.
                Some(content) => {
                    let contents = keeper.contents(content)?;
                    Ok((seal, contents))
                }
                None => Err(Failure::refused("it has no files")),
            },
            Err(failure) => Err(failure),
        };
        match opened {
            Ok((seal, contents)) => {
                let parts = Parts::Kept(Arc::clone(&keeper), kept.name);
                points.push(Point::new(parts, Some(seal), Held::Elsewhere(Mutex::new(Some(contents)))));
            }
            Err(failure) => {
                let name = kept.name.get(..8).unwrap_or(&kept.name);
                context.ui.warn(format!("{}{name} is not shown: {}", files::SNAPSHOT, failure.message));
            }
        }
    }
    Ok(points)
}

/// Opens what holds the files, before anything is mounted: whoever looks into the directory later cannot be asked.
struct Opener<'a, 'c> {
    context: &'c Context,
    unlocker: &'a mut Unlocker<'c>,
    /// The ways back of files at places of their own, by method and place: one is opened once.
    origins: Vec<(String, String, Box<dyn Origin>)>,
}

impl Opener<'_, '_> {
    fn held(&mut self, seal: &Seal, place: &Place) -> Result<Held> {
        let Some(content) = &seal.content else {
            let files = seal.encryption().map(|_| self.unlocker.files(place, seal)).transpose()?;
            return Ok(Held::Archive(files));
        };
        let known =
            self.origins.iter().position(|(method, url, _)| (method, url) == (&content.method, &content.url));
        let at = match known {
            Some(at) => at,
            None => {
                let origin = files::origin(content)?;
                self.origins.push((content.method.clone(), content.url.clone(), origin));
                self.origins.len() - 1
            }
        };
        let contents = self.origins[at].2.contents(self.context, content)?;
        Ok(Held::Elsewhere(Mutex::new(Some(contents))))
    }
}

/// The directory that is to be mounted on: there, empty, and no mount of ours.
fn target(context: &Context, dir: &Path) -> Result<PathBuf> {
    let refused = |text: String| Failure::refused(text).hint("nothing was mounted; name an empty directory");
    if is_ours(context, dir)? {
        return Err(Failure::refused(format!("at {} recovery points are mounted already", dir.display()))
            .hint(format!("rear mount --unmount {} ends that", dir.display())));
    }
    let real = dir.canonicalize().map_err(|error| refused(format!("{}: {error}", dir.display())))?;
    let mut entries = std::fs::read_dir(&real)
        .map_err(|error| refused(format!("{} is no directory to mount on: {error}", dir.display())))?;
    if let Some(entry) = entries.next() {
        let name = readable(entry?.file_name().as_encoded_bytes());
        return Err(refused(format!("{} is not empty: it has {name}", dir.display())));
    }
    Ok(real)
}

fn mount(context: &Context, dir: &Path) -> Result<Session> {
    if !context.sys.exists(Path::new(fuse::DEVICE)) {
        // Where it is part of the kernel there is nothing to load, and the mount tells.
        let _ = context.sys.run(&Cmd::new("modprobe").arg("fuse"));
    }
    fuse::mount(dir, "rear").map_err(|error| {
        let text = format!("{} cannot be mounted on: {}", dir.display(), std::io::Error::from(error));
        let hint = match error {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => {
                "the kernel has no FUSE (modprobe fuse); rear restore gets files out without it"
            }
            Errno::PERM | Errno::ACCESS => {
                "a container may not mount; rear restore gets files out without a mount"
            }
            _ => "rear restore gets files out without a mount",
        };
        Failure::refused(text).hint(hint)
    })
}

/// Answers the kernel until the end, and says what was wrong.
fn serve(context: &Context, session: &Session, points: &Points<'_>, dir: &Path) -> Result<()> {
    let stop = AtomicBool::new(false);
    let mut busy = false;
    let served = std::thread::scope(|scope| {
        let serving = scope.spawn(|| session.serve(points, THREADS, &stop));
        while !serving.is_finished() {
            if context.cancel.is_raised() && !stop.load(Ordering::SeqCst) {
                // The threads still answer: unmounting asks them.
                if sys::mount::unmount(dir).is_err() {
                    busy = true;
                    let _ = rustix::mount::unmount(dir, UnmountFlags::DETACH);
                }
                stop.store(true, Ordering::SeqCst);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        serving.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread ended too early")))
    });
    if let Err(error) = served {
        let _ = rustix::mount::unmount(dir, UnmountFlags::DETACH);
        return Err(Failure::failed(format!("the mount at {} has ended: {error}", dir.display())));
    }
    let damaged = points.damaged();
    if !damaged.is_empty() {
        let list: String = damaged.iter().map(|text| format!("\n- {text}")).collect();
        return Err(Failure::failed(format!("what was read met damage:{list}"))
            .hint("it was given to nobody; rear verify names all files that damage costs"));
    }
    if busy {
        let text = format!("{} was in use when it was unmounted", dir.display());
        return Err(Failure::new(Code::Stopped, text)
            .hint("programs that still have files of it open get an error when they read on"));
    }
    context.ui.say("Unmounted.");
    Ok(())
}

/// `rear mount --unmount DIR`.
fn unmount(context: &Context, dir: &Path) -> Result<()> {
    if !is_ours(context, dir)? {
        return Err(Failure::refused(format!("{} is no mount of recovery points", dir.display()))
            .hint("only what rear mount has mounted is unmounted; 'umount' unmounts other things"));
    }
    let path = absolute(dir)?;
    sys::mount::unmount(&path).map_err(|error| {
        Failure::refused(error.to_string()).hint(
            "it is still mounted: close what has files of it open, or leave the directory; 'fuser -vm DIR' shows who that is",
        )
    })
}

/// Whether recovery points are mounted at that directory, alive or left over from a run that was killed.
fn is_ours(context: &Context, dir: &Path) -> Result<bool> {
    let path = absolute(dir)?;
    let mounts = probe::mountinfo(&context.sys)?;
    let last = mounts.iter().rfind(|mount| Path::new(&mount.mount_point) == path);
    Ok(last.is_some_and(|mount| mount.fs_type == fuse::TYPE))
}

/// The path as the kernel has it. The directory itself is not asked: with nobody to answer, that is an error.
fn absolute(dir: &Path) -> Result<PathBuf> {
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = dir.file_name() else { return Ok(dir.canonicalize()?) };
    let parent =
        parent.canonicalize().map_err(|error| Failure::refused(format!("{}: {error}", parent.display())))?;
    let path = parent.join(name);
    // A link to a mount is followed; a mount is none.
    Ok(std::fs::read_link(&path).ok().and_then(|_| path.canonicalize().ok()).unwrap_or(path))
}
