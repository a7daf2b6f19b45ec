//! Proves a repository, or one snapshot of it, by reading: every tree, every pack, every blob. It changes nothing, and names the
//! files that a damage costs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use backup::{Entry, Kind, ManifestWriter, Options, Progress, Totals, machine_path};

use crate::backend::FileKind;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{Find, IdMap, IdSet, Index};
use crate::lock::Lock;
use crate::node::Node;
use crate::pack::BlobKind;
use crate::snapshot::SnapshotFile;
use crate::trees::Trees;
use crate::{Repository, locked, read};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, as a sentence.
    pub detail: String,
    /// The files that it costs, as absolute paths in the machine.
    pub files: Vec<PathBuf>,
}

/// What a check has read.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Packs that were read.
    pub packs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// All that is wrong. Empty means whole.
    pub findings: Vec<Finding>,
}

/// What a snapshot needs.
#[derive(Debug, Default)]
struct Needs {
    blobs: IdSet,
    trees: IdSet,
    /// Trees that cannot be read, each with the directory that it costs.
    lost: Vec<Finding>,
}

impl Repository {
    /// Walks a snapshot's trees; `each` sees every node that is no directory, with its path. A tree of `seen` is passed over.
    fn walk(
        &self,
        index: &Index,
        snapshot: &SnapshotFile,
        options: &Options,
        mut seen: Option<&mut IdSet>,
        each: &mut dyn FnMut(&[u8], &Node) -> Result<()>,
    ) -> Result<Vec<Finding>> {
        let trees = Trees::<Node>::new(&self.0, snapshot.tree);
        let mut lost = Vec::new();
        let mut pending = vec![(Vec::new(), snapshot.tree)];
        while let Some((path, id)) = pending.pop() {
            options.cancel.check()?;
            let nodes = match trees.load(index, id) {
                Ok(nodes) => nodes,
                Err(error @ (Error::Damaged { .. } | Error::Lost { .. } | Error::Io { .. })) => {
                    let shown = machine_path(if path.is_empty() { b"." } else { &path });
                    let detail = format!("all below {} is lost: {error}", shown.display());
                    lost.push(Finding { detail, files: vec![shown] });
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut below = Vec::new();
            // As a walk has them: files first, then directories.
            let (directories, others): (Vec<_>, Vec<_>) =
                nodes.into_iter().partition(|(_, node)| node.kind == "dir");
            for (name, node) in others.iter().chain(&directories) {
                let at = if path.is_empty() { name.clone() } else { [&path, &b"/"[..], name].concat() };
                if node.subtree.is_none() {
                    each(&at, node)?;
                } else {
                    below.push((at, node));
                }
            }
            for (at, node) in below.into_iter().rev() {
                if let Some(subtree) = node.subtree
                    && seen.as_mut().is_none_or(|seen| seen.insert(subtree))
                {
                    pending.push((at, subtree));
                }
            }
        }
        Ok(lost)
    }

    fn needs(
        &self,
        index: &Index,
        snapshot: &SnapshotFile,
        options: &Options,
        needs: &mut Needs,
    ) -> Result<()> {
        if !needs.trees.insert(snapshot.tree) {
            return Ok(());
        }
        let (blobs, trees) = (&mut needs.blobs, &mut needs.trees);
        let mut each = |_: &[u8], node: &Node| {
            blobs.extend(node.content.iter().flatten());
            Ok(())
        };
        let lost = self.walk(index, snapshot, options, Some(trees), &mut each)?;
        needs.lost.extend(lost);
        Ok(())
    }

    /// Everything that these snapshots need; an error where a tree of theirs cannot be read.
    pub(crate) fn used(&self, index: &Index, snapshots: &[Id], options: &Options) -> Result<(IdSet, IdSet)> {
        let mut needs = Needs::default();
        for id in snapshots {
            self.needs(index, &self.snapshot(*id)?, options, &mut needs)?;
        }
        match needs.lost.first() {
            None => Ok((needs.blobs, needs.trees)),
            Some(lost) => Err(Error::Damaged {
                kind: FileKind::Snapshot,
                id: String::new(),
                detail: lost.detail.clone(),
            }),
        }
    }

    /// Proves that all of a snapshot is there, without reading the data: every tree is read, and every pack that is needed has its
    /// length. Gives what is missing.
    ///
    /// # Errors
    /// The repository cannot be reached, there is no such snapshot, or the run was stopped.
    pub fn reachable(&self, snapshot: Id, options: &Options) -> Result<Vec<Finding>> {
        let index = self.index()?;
        let file = self.snapshot(snapshot)?;
        let mut needs = Needs::default();
        self.needs(&index, &file, options, &mut needs)?;
        let sizes: IdMap<u64> = self.0.backend.list(FileKind::Pack)?.into_iter().collect();
        let (mut packs, mut bad) = (IdSet::default(), IdSet::default());
        for id in &needs.blobs {
            match index.find(BlobKind::Data, *id) {
                Some((pack, _)) => _ = packs.insert(pack),
                None => _ = bad.insert(*id),
            }
        }
        packs.extend(needs.trees.iter().filter_map(|id| Some(index.find(BlobKind::Tree, *id)?.0)));
        let mut findings = needs.lost;
        let gone: IdSet = packs
            .into_iter()
            .filter(|pack| sizes.get(pack).is_none_or(|size| *size < index.end_of(*pack)))
            .collect();
        for pack in &gone {
            let what = if sizes.contains_key(pack) { "is truncated" } else { "is missing" };
            findings.push(Finding { detail: format!("the pack {pack} {what}"), files: Vec::new() });
        }
        bad.extend(
            needs
                .blobs
                .iter()
                .filter(|id| index.find(BlobKind::Data, **id).is_some_and(|(pack, _)| gone.contains(&pack))),
        );
        findings.extend(self.victims(&index, &[file], &bad, options)?);
        Ok(findings)
    }

    /// Reads all data that a snapshot needs, or all that the repository has.
    ///
    /// # Errors
    /// The repository cannot be reached, there is no such snapshot, or the run was stopped.
    pub fn check(&self, snapshot: Option<Id>, options: &Options, progress: &dyn Progress) -> Result<Checked> {
        let _lock = Lock::share(self)?;
        let index = self.index()?;
        let ids = match snapshot {
            Some(id) => vec![id],
            None => self.snapshots()?.into_iter().map(|one| one.id).collect(),
        };
        let files = ids.iter().map(|id| self.snapshot(*id)).collect::<Result<Vec<_>>>()?;
        let mut needs = Needs::default();
        for file in &files {
            self.needs(&index, file, options, &mut needs)?;
        }
        let mut bad: IdSet =
            needs.blobs.iter().filter(|id| index.find(BlobKind::Data, **id).is_none()).copied().collect();
        let packs: Vec<Id> = match snapshot {
            None => index.packs().to_vec(),
            Some(_) => {
                let data = needs.blobs.iter().filter_map(|id| Some(index.find(BlobKind::Data, *id)?.0));
                let trees = needs.trees.iter().filter_map(|id| Some(index.find(BlobKind::Tree, *id)?.0));
                data.chain(trees).collect::<BTreeSet<_>>().into_iter().collect()
            }
        };
        let mut checked = Checked { packs: packs.len() as u64, ..Checked::default() };
        checked.findings = std::mem::take(&mut needs.lost);
        let contents = self.contents(&packs)?;
        let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
        let found = Mutex::new((Vec::new(), Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..options.workers() {
                scope.spawn(|| {
                    while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if options.cancel.is_raised() {
                            break;
                        }
                        let blobs = contents.get(pack).map(Vec::as_slice).unwrap_or_default();
                        let (damage, broken, length) = self.pack(*pack, blobs);
                        bytes.fetch_add(length, Ordering::Relaxed);
                        progress.add(length, 1);
                        let mut found = locked(&found);
                        found.0.extend(damage.map(|detail| Finding { detail, files: Vec::new() }));
                        found.1.extend(broken);
                    }
                });
            }
        });
        options.cancel.check()?;
        let (findings, broken) = found.into_inner().unwrap_or_default();
        bad.extend(broken);
        checked.findings.extend(findings);
        checked.findings.extend(self.victims(&index, &files, &bad, options)?);
        checked.bytes = bytes.into_inner();
        Ok(checked)
    }

    /// The blobs of these packs, as the index files have them.
    fn contents(&self, packs: &[Id]) -> Result<IdMap<Vec<crate::pack::Blob>>> {
        let wanted: IdSet = packs.iter().copied().collect();
        let mut contents = IdMap::default();
        for (id, _) in self.0.backend.list(FileKind::Index)? {
            for pack in self.0.read_index(id)?.packs {
                if wanted.contains(&pack.id) {
                    contents.insert(pack.id, pack.blobs);
                }
            }
        }
        Ok(contents)
    }

    /// Reads a pack: what is wrong with it, the blobs that are lost, and its length.
    fn pack(&self, id: Id, blobs: &[crate::pack::Blob]) -> (Option<String>, Vec<Id>, u64) {
        let all = || blobs.iter().map(|blob| blob.id).collect();
        let mut bytes = match self.0.backend.read(FileKind::Pack, id) {
            Ok(bytes) => bytes,
            Err(error) => return (Some(format!("the pack {id} is lost: {error}")), all(), 0),
        };
        let length = bytes.len() as u64;
        let intact = Id::of(&bytes) == id;
        let mut index = Index::default();
        index.add(id, blobs);
        let mut broken = Vec::new();
        for blob in blobs {
            let range = blob.offset as usize..usize::try_from(blob.end()).unwrap_or(usize::MAX);
            let opened = bytes.get_mut(range).and_then(|sealed| {
                read::open(&self.0, sealed, blob.id, index.find(blob.kind, blob.id)?.1).ok()
            });
            if opened.is_none() {
                broken.push(blob.id);
            }
        }
        let detail = match (intact, broken.len()) {
            (true, 0) => None,
            (false, 0) => Some(format!("the pack {id} is damaged, but not where its blobs lie")),
            (_, count) => {
                Some(format!("the pack {id} is damaged: {count} of its {} blobs are lost", blobs.len()))
            }
        };
        (detail, broken, length)
    }

    /// The files that have one of these blobs.
    fn victims(
        &self,
        index: &Index,
        snapshots: &[SnapshotFile],
        bad: &IdSet,
        options: &Options,
    ) -> Result<Option<Finding>> {
        if bad.is_empty() {
            return Ok(None);
        }
        let mut files = BTreeSet::new();
        for snapshot in snapshots {
            let mut each = |path: &[u8], node: &Node| {
                if node.content.iter().flatten().any(|id| bad.contains(id)) {
                    files.insert(machine_path(path));
                }
                Ok(())
            };
            self.walk(index, snapshot, options, None, &mut each)?;
        }
        let detail = format!("{} file(s) have lost content", files.len());
        Ok((!files.is_empty()).then(|| Finding { detail, files: files.into_iter().collect() }))
    }

    /// Writes the manifest of a snapshot into an open file, from the snapshot alone. Of one that `restic` made, it has no hashes of
    /// content, no holes and no inode flags.
    ///
    /// # Errors
    /// There is no such snapshot, one of its trees cannot be read, or the file cannot be written.
    pub fn manifest(
        &self,
        snapshot: Id,
        to: &std::fs::File,
        options: &Options,
    ) -> Result<(u64, String, Totals)> {
        let index = self.index()?;
        let file = self.snapshot(snapshot)?;
        let mut writer = ManifestWriter::new(to)?;
        let mut line = Vec::new();
        let mut put = |entry: &Entry| -> Result<()> {
            line.clear();
            backup::write_line(entry, &mut line).map_err(Error::io("write the manifest"))?;
            let bytes = if entry.kind == Kind::File { entry.stored() } else { 0 };
            Ok(writer.append(&line, Totals { files: 1, bytes })?)
        };
        let damaged = |path: &[u8], detail: &str| Error::Damaged {
            kind: FileKind::Snapshot,
            id: snapshot.to_string(),
            detail: format!("names {}, which {detail}", machine_path(path).display()),
        };
        // Only what a manifest can hold: it is read again, and what it says is made.
        let sound = |entry: &Entry| match entry.contradiction() {
            Some(detail) => Err(damaged(&entry.path, &detail)),
            None => Ok(()),
        };
        let mut root = Entry::new(b".".to_vec(), Kind::Directory);
        root.mode = 0o755;
        if let Some(ours) = &file.rear
            && let Ok(Some(entry)) = ours.root.entry(b".".to_vec())
            && entry.kind == Kind::Directory
            && entry.contradiction().is_none()
        {
            root = entry;
        }
        put(&root)?;
        // What restic knows of names of one file: their inode.
        let mut firsts = std::collections::HashMap::new();
        let trees = Trees::<Node>::new(&self.0, file.tree);
        let mut pending = vec![(b".".to_vec(), file.tree)];
        while let Some((path, id)) = pending.pop() {
            options.cancel.check()?;
            let mut below = Vec::new();
            for (name, node) in trees.load(&index, id)? {
                let at = if path == b"." { name } else { [&path, &b"/"[..], &name].concat() };
                let Some(mut entry) = node.entry(at.clone()).map_err(|detail| damaged(&at, &detail))? else {
                    continue;
                };
                if entry.kind == Kind::Directory {
                    below.push((entry, node.subtree));
                    continue;
                }
                if entry.kind == Kind::File && node.links > 1 && node.rear.is_none() && node.inode != 0 {
                    match firsts.entry((node.device_id, node.inode)) {
                        std::collections::hash_map::Entry::Vacant(slot) => _ = slot.insert(at),
                        std::collections::hash_map::Entry::Occupied(first) => {
                            let mut link = Entry::new(at, Kind::HardLink);
                            (link.mode, link.uid, link.gid) = (entry.mode, entry.uid, entry.gid);
                            (link.mtime, link.link) = (entry.mtime, first.get().clone());
                            entry = link;
                        }
                    }
                }
                sound(&entry)?;
                put(&entry)?;
            }
            for (entry, subtree) in below.into_iter().rev() {
                sound(&entry)?;
                put(&entry)?;
                if let Some(subtree) = subtree {
                    pending.push((entry.path, subtree));
                }
            }
        }
        Ok(writer.finish()?)
    }
}
