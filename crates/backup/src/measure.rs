//! How much an archive would hold at most, for questions that come before the work. Reads no file's content.

use std::os::fd::OwnedFd;

use crate::create::{Problem, Source};
use crate::entry::Entry;
use crate::metadata::Stat;
use crate::walk::{Sink, Taken, Walk};
use crate::{Error, Options};

/// Unit of [`Stat::blocks`], in bytes.
const BLOCK: u64 = 512;

#[derive(Default)]
struct Sum(u64);

impl Sink for Sum {
    fn entry(&mut self, _entry: Entry, _names: u32) -> Result<(), Error> {
        Ok(())
    }

    fn file(&mut self, entry: Entry, _file: OwnedFd, stat: &Stat, _again: bool) -> Result<Taken, Error> {
        if entry.segments.is_some() {
            self.0 = self.0.saturating_add(entry.stored());
            return Ok(Taken::Whole);
        }
        // The blocks of a file with holes say what is in it; those of a compressed one are less than its content.
        let blocks = stat.blocks.saturating_mul(BLOCK);
        self.0 = self.0.saturating_add(blocks.min(stat.size));
        Ok(Taken::Whole)
    }

    /// The run that makes the archive names them.
    fn problem(&mut self, _problem: Problem) {}
}

/// Bytes of content that [`create`](crate::create()) would read: files with several names once, without holes, and
/// without what is left out.
///
/// # Errors
/// The root cannot be opened, or the run was stopped.
pub fn measure(source: &Source, options: &Options) -> Result<u64, Error> {
    let mut sum = Sum::default();
    Walk::new(source, options, &mut sum)?.run()?;
    Ok(sum.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exclude;
    use std::io::{Seek, SeekFrom, Write};

    #[test]
    fn holes_further_names_and_what_is_left_out_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("kept"), vec![1; 300_000]).unwrap();
        std::fs::hard_link(at("kept"), at("kept-too")).unwrap();
        std::fs::create_dir(at("cache")).unwrap();
        std::fs::write(at("cache/file"), vec![1; 5_000_000]).unwrap();
        std::fs::write(at("image"), vec![1; 5_000_000]).unwrap();
        std::fs::write(at("swap"), vec![1; 5_000_000]).unwrap();
        let mut sparse = std::fs::File::create(at("sparse")).unwrap();
        sparse.seek(SeekFrom::Start(1 << 40)).unwrap();
        sparse.write_all(b"end").unwrap();
        sparse.sync_all().unwrap();
        let source = Source {
            root: dir.path().to_owned(),
            mounts: vec!["/".into()],
            inner: Vec::new(),
            exclude: Exclude::new(&["/cache/*".to_owned()]).unwrap(),
            skip_paths: vec!["/image".into()],
            hollow: vec!["/swap".into()],
            views: Vec::new(),
            only: None,
        };
        let options =
            Options { codec: crate::Codec::Zstd, level: 3, threads: 1, cancel: sys::Cancel::default() };
        let bytes = measure(&source, &options).unwrap();
        assert!((300_000..1_000_000).contains(&bytes), "{bytes}");
    }
}
