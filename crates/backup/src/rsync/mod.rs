//! Backups as trees of files that rsync keeps: for each run a directory of its own, in which a file that did not change is a
//! hard link to the one of the run before.
//!
//! ```text
//! PLACE/PREFIX/2026-11-26_104721/tree/…              the files
//! PLACE/PREFIX/2026-11-26_104721/manifest.zst        what they are, with their hashes, and the other parts beside it
//! PLACE/PREFIX/2026-11-26_104721/recovery-point.json the seal, written last
//! PLACE/PREFIX/.partial-2026-11-27_104718/           a run that has not ended, or was killed
//! ```
//!
//! The tree holds the content of the files. All of their metadata is in the manifest as well, so that it comes back where the
//! place cannot store it (a share without attributes, inode flags, another owner): [`Store::restore`] lets rsync bring the
//! files, and then sets what the manifest says. Only a directory with its seal is complete. Nothing is ever changed in a
//! tree that is complete: rsync writes a changed file anew and gives it the old one's name in another directory.

mod history;
mod index;
mod mend;
mod names;
mod place;
mod program;
mod restore;
mod save;

pub use history::{History, due};
pub use place::Place;
pub use program::{Cause, Rsync};
pub use restore::{Depth, Missing};
pub use save::{Building, Read, Saved};

/// The directory of the files in a run's directory.
pub const TREE: &str = "tree";
/// What the name of a run begins with until it is complete.
pub(crate) const PARTIAL: &str = ".partial-";

/// All runs of one machine at one place.
pub struct Store<'a> {
    /// How rsync is run.
    pub rsync: Rsync<'a>,
    /// Where they are.
    pub place: Place,
    /// The directory of this machine there: one name that [`Place::is_plain`].
    pub prefix: String,
    /// File name of the seal, by which a complete run is known.
    pub seal: String,
    /// A private, empty or absent directory of this machine for lists and what is fetched.
    pub work: std::path::PathBuf,
}
