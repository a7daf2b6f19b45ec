//! How files get to a place of their own and back, for every BACKUP method that keeps them outside of the recovery point's
//! directory: a repository, a tree on another machine, a program of somebody else. The workflows know these two traits
//! alone. What lies in the recovery point itself (the archive) is not told here, and nothing here touches disks.

#[cfg(feature = "repository")]
mod restic;
mod rsync;

use std::path::{Path, PathBuf};

use backup::ContentSource;
use sys::Sys;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::point::{Content, Part, Place, Seal};
use crate::ui::Stage;
use crate::workflow::machine::Machine;
use crate::workflow::preflight::Refusals;

/// What the rescue system must carry so that the files can come back.
#[derive(Clone, Debug, Default)]
pub struct Carry {
    /// Programs without which there shall be no medium.
    pub programs: Vec<String>,
    /// Further files, as in COPY_AS_IS.
    pub files: Vec<String>,
    /// What it must know to ask a server.
    pub reach: image::Reach,
}

impl Carry {
    /// ssh, and what it reads here to know the other side. None of that is secret, and no private key is ever packed.
    pub fn ssh(context: &Context) -> Self {
        let files = [
            "/root/.ssh/known_hosts",
            "/root/.ssh/config",
            "/etc/ssh/ssh_known_hosts",
            "/etc/ssh/ssh_config",
            "/etc/ssh/ssh_config.d",
        ];
        let there = files.into_iter().filter(|path| context.sys.exists(Path::new(path)));
        let files = there.map(str::to_owned).collect();
        Self { programs: vec!["ssh".into()], files, ..Self::default() }
    }
}

/// What is saved.
pub struct Job<'a> {
    /// The machine, and what of it is captured.
    pub machine: &'a Machine,
    /// The recovery point's id.
    pub id: &'a str,
    /// Directory for the small parts beside the seal: the manifest and what else belongs to the files.
    pub dir: &'a Path,
    /// Our own results and work in progress, which are no part of the backup.
    pub skip: &'a [PathBuf],
}

/// What was saved.
pub struct Saved {
    /// What the seal says of it.
    pub content: Content,
    /// The small parts that were written into the job's directory: the manifest and the directories that mounts hide
    /// ([`point::MANIFEST`](crate::point::MANIFEST), [`point::MOUNT_POINTS`](crate::point::MOUNT_POINTS)).
    pub parts: Vec<Part>,
    /// Files that changed, vanished or were left out, by name. One that could not be read is an error instead.
    pub problems: Vec<backup::Problem>,
}

/// The way out: on the machine that is saved.
pub trait Engine {
    /// Where the files go: a URL without secrets.
    fn place(&self) -> String;

    /// Asks, before any work, for everything that this way needs: reachable, with room, with its programs.
    fn check(&self, context: &Context, machine: &Machine, refusals: &mut Refusals) -> Result<Carry>;

    /// Saves the files. What it leaves is no recovery point yet, and is removed (or continued) by the next run when this
    /// one ends before [`Engine::publish`].
    fn save(&mut self, context: &Context, job: &Job<'_>) -> Result<Saved>;

    /// Everything else is written and read back: makes what was saved complete, with the seal and all parts in `dir` beside
    /// it, so that it is found without the medium. Gives the place, for the report.
    fn publish(&mut self, context: &Context, seal: &Seal, dir: &Path) -> Result<String>;
}

/// Which files come back, and where to.
pub struct Order<'a> {
    /// The manifest of what comes back: the sealed one, or a part of it.
    pub manifest: &'a Path,
    /// Whether that is all of it.
    pub all: bool,
    /// The directory that becomes `/`.
    pub target: &'a Path,
    /// Mount points on filesystems without owners and attributes.
    pub plain: &'a [PathBuf],
    /// Whether what is there already is replaced; otherwise nothing ever is.
    pub replace: bool,
}

/// The way back: in the rescue system, or wherever files are wanted.
pub trait Origin {
    /// Proves before any write that the files are reachable, belong to this seal and are all there. Asks for what opens them.
    fn prove(&mut self, context: &Context, seal: &Seal, stage: &Stage<'_>) -> Result<()>;

    /// Reads every file from end to end and compares it with the manifest beside the seal in `place`. Gives all faults by name.
    fn verify(
        &mut self,
        context: &Context,
        place: &Place,
        seal: &Seal,
        stage: &Stage<'_>,
    ) -> Result<Vec<String>>;

    /// Brings the files back. Gives the problems by name; every restored file is compared with the manifest afterwards.
    fn restore(&mut self, context: &Context, order: &Order<'_>, stage: &Stage<'_>) -> Result<Vec<String>>;

    /// What gives the content of single files, for looking into them without a restore: of these, or of others at the same place.
    /// Asks for what opens them. Where there is no need for it, the error says how to look at them.
    fn contents(&mut self, context: &Context, content: &Content) -> Result<Box<dyn ContentSource>>;
}

/// The way out that the configuration asks for, where it is one of these.
pub fn engine(context: &Context) -> Result<Option<Box<dyn Engine>>> {
    Ok(match context.settings().backup {
        config::Backup::Rsync => Some(Box::new(rsync::Trees::new(context)?)),
        #[cfg(feature = "repository")]
        config::Backup::Restic => Some(Box::new(restic::Out::new(context)?)),
        #[cfg(not(feature = "repository"))]
        config::Backup::Restic => {
            return Err(Failure::refused("this rear was built without repositories")
                .hint("set BACKUP=NETFS, or build it with the feature repository"));
        }
        _ => None,
    })
}

/// Whether files that lie at a place of their own have this name beside their seal there.
pub fn lies_beside(content: &Content, name: &str) -> bool {
    content.method == rsync::METHOD && name == backup::rsync::TREE
}

/// The way back of what a seal says.
pub fn origin(content: &Content) -> Result<Box<dyn Origin>> {
    if content.method == rsync::METHOD {
        return Ok(Box::new(rsync::Tree::new(content)?));
    }
    #[cfg(feature = "repository")]
    if content.method == restic::METHOD {
        return Ok(Box::new(restic::Back::new(content)?));
    }
    Err(Failure::refused(format!(
        "the files were saved with BACKUP={}, which this rear does not know",
        content.method
    ))
    .hint("use the rear on the medium that belongs to it"))
}

/// What names a recovery point in a repository, for `--from`.
pub const SNAPSHOT: &str = "snapshot:";

/// A recovery point whose seal lies in the repository with its files.
pub struct Kept {
    /// The snapshot with the seal.
    pub name: String,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Its seal; what is wrong with it as a sentence instead.
    pub seal: Result<Seal>,
    /// Whether its files are there.
    pub has_files: bool,
}

/// What a name in such a place means.
#[cfg_attr(
    not(feature = "repository"),
    expect(dead_code, reason = "without repositories there is no such place")
)]
pub enum Meant {
    /// A recovery point, by its whole name.
    Point(String),
    /// Files whose seal is not there.
    Files(Bare),
}

/// Files without a seal: nobody knows how the disks were when they were saved.
#[derive(Clone, Debug)]
pub struct Bare {
    /// Their whole name.
    pub name: String,
    /// The machine.
    pub hostname: String,
    /// When they were saved, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Whether this program saved them: then they have all metadata, and digests to compare with.
    pub is_ours: bool,
}

/// A place that keeps whole recovery points: seals, with what lies beside them, and files.
pub trait Keeper: Send + Sync {
    /// Where it is: a URL without secrets.
    fn place(&self) -> String;

    /// The recovery points of that machine, the oldest first.
    fn points(&self, context: &Context, hostname: &str) -> Result<Vec<Kept>>;

    /// What is meant by the first digits of a name: of a seal, or of files; then it is their recovery point.
    fn find(&self, name: &str) -> Result<Meant>;

    /// Copies a seal, with what lies beside it, into a directory.
    fn fetch(&self, context: &Context, name: &str, dir: &Path) -> Result<()>;

    /// Writes the manifest of files without a seal into a directory, from these files themselves.
    fn list(&self, context: &Context, files: &Bare, dir: &Path) -> Result<Content>;

    /// What gives the content of single files, as [`Origin::contents`].
    fn contents(&self, content: &Content) -> Result<Box<dyn ContentSource>>;
}

/// The configured one, whatever `BACKUP` is.
pub fn configured_keeper(context: &Context) -> Result<Box<dyn Keeper>> {
    #[cfg(feature = "repository")]
    return Ok(Box::new(restic::Points::configured(context)?));
    #[cfg(not(feature = "repository"))]
    {
        let _ = context;
        Err(Failure::refused("this rear was built without repositories"))
    }
}

/// The one at that place; a person is asked for what opens it.
pub fn keeper_at(context: &Context, place: &str) -> Result<Box<dyn Keeper>> {
    #[cfg(feature = "repository")]
    return Ok(Box::new(restic::Back::at(place)?.keeper(context)?));
    #[cfg(not(feature = "repository"))]
    {
        let _ = context;
        Err(Failure::refused(format!("{place}: this rear was built without repositories")))
    }
}

/// Whether a seal's files are in such a place.
pub fn is_kept(content: &Content) -> bool {
    content.method == "RESTIC"
}
