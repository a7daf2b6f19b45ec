//! Reads ranges of a block device through the door, each block once. Never writes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use sys::Sys;

/// What one read fetches: superblocks are smaller, and recordings of machines stay small.
const BLOCK: u64 = 4096;

/// A block device that is looked at.
pub(crate) struct Dev<'a> {
    sys: &'a dyn Sys,
    path: PathBuf,
    /// Size in bytes.
    pub(crate) size: u64,
    blocks: RefCell<BTreeMap<u64, Vec<u8>>>,
}

impl<'a> Dev<'a> {
    pub(crate) fn new(sys: &'a dyn Sys, path: impl Into<PathBuf>, size: u64) -> Self {
        Self { sys, path: path.into(), size, blocks: RefCell::default() }
    }

    /// Bytes at an offset; fewer at the end of the device.
    pub(crate) fn read(&self, offset: u64, len: usize) -> sys::Result<Vec<u8>> {
        let end = offset.saturating_add(len as u64).min(self.size);
        let mut out = Vec::new();
        let mut at = offset;
        while at < end {
            let start = at - at % BLOCK;
            let mut blocks = self.blocks.borrow_mut();
            let block = match blocks.entry(start) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let len = BLOCK.min(self.size - start) as usize;
                    entry.insert(self.sys.read_at(&self.path, start, len)?)
                }
            };
            let from = (at - start) as usize;
            let to = (end - start).min(BLOCK) as usize;
            let Some(piece) = block.get(from..to.min(block.len())) else { break };
            out.extend_from_slice(piece);
            if block.len() < to {
                break;
            }
            at = start + to as u64;
        }
        Ok(out)
    }

    /// Whether a range (cut at the end of the device) holds nothing but zeros. Stops at the first other byte.
    pub(crate) fn is_zero(&self, offset: u64, len: u64) -> sys::Result<bool> {
        const CHUNK: u64 = 64 << 10;
        let end = offset.saturating_add(len).min(self.size);
        let mut at = offset;
        while at < end {
            let len = CHUNK.min(end - at) as usize;
            let bytes = self.sys.read_at(&self.path, at, len)?;
            if bytes.is_empty() {
                break;
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }
}
