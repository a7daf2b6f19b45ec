//! Makes room: what no snapshot of any machine needs goes away. New packs and indexes are written before the old ones are removed,
//! so that the repository is whole at every moment. The caller holds the exclusive lock.

use backup::Options;

use crate::Repository;
use crate::backend::FileKind;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{IdMap, Index, IndexFile, IndexedPack};
use crate::pack::{Blob, BlobKind};
use crate::store::Store;

/// A pack of which at least this share is not needed is written anew, in percent.
const WASTE: u64 = 10;
/// Blobs in an index file.
const INDEX_BLOBS: usize = 50_000;

/// Removes what is not needed; gives the bytes by which the repository is smaller.
pub fn prune(repository: &Repository, options: &Options) -> Result<u64> {
    let inner = &*repository.0;
    let snapshots: Vec<Id> = repository.snapshots()?.into_iter().map(|one| one.id).collect();
    let mut old_indexes = Vec::new();
    let mut packs: IdMap<Vec<Blob>> = IdMap::default();
    let mut index = Index::default();
    for (id, _) in inner.backend.list(FileKind::Index)? {
        old_indexes.push(id);
        for pack in inner.read_index(id)?.packs {
            index.add(pack.id, &pack.blobs);
            packs.insert(pack.id, pack.blobs);
        }
    }
    let (data, trees) = repository.used(&index, &snapshots, options)?;
    let sizes: IdMap<u64> = inner.backend.list(FileKind::Pack)?.into_iter().collect();
    let is_used = |blob: &Blob| match blob.kind {
        BlobKind::Data => data.contains(&blob.id),
        BlobKind::Tree => trees.contains(&blob.id),
    };
    // A blob that lies in several packs is needed once: where the index finds it.
    let is_needed = |pack: Id, blob: &Blob| {
        use crate::index::Find;
        is_used(blob) && index.find(blob.kind, blob.id).is_some_and(|(at, _)| at == pack)
    };
    let (mut stay, mut anew, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for (id, blobs) in &packs {
        let needed: u64 =
            blobs.iter().filter(|blob| is_needed(*id, blob)).map(|blob| u64::from(blob.length)).sum();
        let all: u64 = blobs.iter().map(|blob| u64::from(blob.length)).sum();
        match needed {
            0 => gone.push(*id),
            _ if !sizes.contains_key(id) => return Err(Error::damaged(FileKind::Pack, *id, "is missing")),
            _ if (all - needed) * 100 >= all * WASTE => anew.push(*id),
            _ => stay.push(*id),
        }
    }
    // Left behind by a run that was cut off; an exclusive lock says that nobody is about to name them.
    let unnamed: Vec<Id> = sizes.keys().filter(|id| !packs.contains_key(*id)).copied().collect();
    if anew.is_empty() && gone.is_empty() && unnamed.is_empty() {
        return Ok(0);
    }

    // The store knows only what stays, so that what is stored anew is not taken for present.
    let mut staying = Index::default();
    for id in &stay {
        if let Some(blobs) = packs.get(id) {
            staying.add(*id, blobs);
        }
    }
    let store = Store::new(inner, staying, options.level);
    let mut writer = store.writer()?;
    for id in &anew {
        options.cancel.check()?;
        let mut bytes = inner.backend.read(FileKind::Pack, *id)?;
        for blob in packs.get(id).into_iter().flatten().filter(|blob| is_needed(*id, blob)) {
            use crate::index::Find;
            let range = blob.offset as usize..usize::try_from(blob.end()).unwrap_or(usize::MAX);
            let place = index.find(blob.kind, blob.id).map(|found| found.1);
            let (Some(sealed), Some(place)) = (bytes.get_mut(range), place) else {
                return Err(Error::damaged(FileKind::Pack, *id, "is truncated; nothing was removed"));
            };
            let copy = sealed.to_vec();
            // What is damaged is never carried over as if it were whole.
            crate::read::open(inner, sealed, blob.id, place).map_err(|detail| {
                Error::damaged(FileKind::Pack, *id, format!("{detail}; nothing was removed"))
            })?;
            writer.put_sealed(blob.kind, blob.id, &copy, blob.plain)?;
        }
    }
    // From here on the new packs are named.
    store.finish()?;
    let mut fresh = IndexFile { supersedes: old_indexes.clone(), packs: Vec::new() };
    let mut count = 0;
    for id in &stay {
        let Some(blobs) = packs.remove(id) else { continue };
        count += blobs.len();
        fresh.packs.push(IndexedPack { id: *id, blobs });
        if count >= INDEX_BLOBS {
            inner.write_json(FileKind::Index, &fresh)?;
            (fresh.packs, count) = (Vec::new(), 0);
        }
    }
    if !fresh.packs.is_empty() {
        inner.write_json(FileKind::Index, &fresh)?;
    }
    for id in old_indexes {
        inner.backend.remove(FileKind::Index, id)?;
    }
    let mut freed = 0;
    for id in gone.iter().chain(&anew).chain(&unnamed) {
        inner.backend.remove(FileKind::Pack, *id)?;
        freed += sizes.get(id).copied().unwrap_or(0);
    }
    Ok(freed.saturating_sub(store.added()))
}
