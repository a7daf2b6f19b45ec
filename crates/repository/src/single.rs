//! Single small files out of snapshots: what lies beside a seal. Every blob is held against its name; nothing is written to disks here.

use std::io::Write;
use std::sync::Arc;

use crate::browse::Browser;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{Find, Index};
use crate::node::Node;
use crate::pack::BlobKind;
use crate::trees::Trees;
use crate::{Repository, read};

/// Reads files of any snapshots; the index is read once.
pub struct Files {
    repository: Repository,
    index: Arc<Index>,
}

impl Repository {
    /// A reader of single files.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn files(&self) -> Result<Files> {
        Ok(Files { repository: self.clone(), index: Arc::new(self.index()?) })
    }
}

impl Files {
    /// What gives content from any place of any file, keeping so many bytes of what was read last.
    ///
    /// # Errors
    /// Somebody removes things from the repository at this moment.
    pub fn browser(&self, limit: u64) -> Result<Browser> {
        Browser::new(self.repository.clone(), Arc::clone(&self.index), limit)
    }

    /// Writes the content of a file at the top of that snapshot; gives whether there is one.
    ///
    /// # Errors
    /// There is no such snapshot, a part of the file is lost or damaged, it is larger than `limit` bytes, or `out` takes no more.
    pub fn copy(&self, snapshot: Id, name: &str, limit: u64, out: &mut dyn Write) -> Result<bool> {
        let inner = &*self.repository.0;
        let trees = Trees::<Node>::new(inner, self.repository.snapshot(snapshot)?.tree);
        let Some(node) = trees.node(&*self.index, name.as_bytes())?.filter(|node| node.kind == "file") else {
            return Ok(false);
        };
        let fail =
            |error: std::io::Error| Error::io(format!("copy {name} of snapshot {}", snapshot.short()))(error);
        let mut left = limit;
        for id in node.content.iter().flatten() {
            let (pack, place) =
                self.index.find(BlobKind::Data, *id).ok_or(Error::Lost { what: "the data", id: *id })?;
            left = left
                .checked_sub(place.plain_length())
                .ok_or_else(|| fail(std::io::Error::other(format!("it has more than {limit} bytes"))))?;
            let mut sealed = inner.backend.read_range(pack, place.offset.into(), place.length as usize)?;
            let plain = read::open(inner, &mut sealed, *id, place)
                .map_err(|detail| Error::damaged(crate::FileKind::Pack, pack, detail))?;
            out.write_all(&plain).map_err(fail)?;
        }
        Ok(true)
    }
}
