//! The marker: the file by which GRUB and the rescue system know a medium, `/.rear-ID`. Its first line is the id; each
//! further line names a part that this room itself put there, with size and BLAKE3 hash, so that the medium can be proven
//! at any later time. It holds no word about the backup, which has a seal of its own.

use crate::iso9660::Volume;
use crate::{Error, Expected, Result};

/// How the name of every marker begins.
const NAME: &str = ".rear-";
/// No marker is near this size, in bytes.
const LIMIT: u64 = 64 << 10;

/// What the marker of a medium says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The recovery point's id.
    pub id: String,
    /// Kernel, rescue system and boot menu as they were written. Empty on media of earlier versions, which do not say.
    pub parts: Vec<Expected>,
}

impl Marker {
    /// Reads the marker of a medium; `None` where there is none, so that it is no medium of ours.
    ///
    /// # Errors
    /// [`Error::BadVolume`] for a broken image or a damaged marker.
    pub fn read(volume: &Volume) -> Result<Option<Self>> {
        let names = volume.list("/")?.unwrap_or_default();
        let Some(id) = names.iter().find_map(|name| name.strip_prefix(NAME)) else { return Ok(None) };
        let target = path(id);
        let text = volume.read_small(&target, LIMIT)?;
        let marker = std::str::from_utf8(&text).ok().and_then(Self::parse).filter(|marker| marker.id == id);
        marker.map(Some).ok_or_else(|| Error::BadVolume {
            path: volume.path().to_owned(),
            detail: format!("its marker {target} is damaged"),
        })
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> String {
        let parts = self.parts.iter().map(|part| format!("{} {} {}\n", part.bytes, part.blake3, part.target));
        std::iter::once(format!("{}\n", self.id)).chain(parts).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let id = lines.next()?.to_owned();
        let part = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let bytes = words.next()?.parse().ok()?;
            let blake3 = words.next().filter(|hash| blake3::Hash::from_hex(hash).is_ok())?.to_owned();
            Some(Expected { target: words.next()?.to_owned(), bytes, blake3 })
        };
        let parts = lines.map(part).collect::<Option<_>>()?;
        Some(Self { id, parts })
    }
}

/// The marker's place on the medium.
pub(crate) fn path(id: &str) -> String {
    format!("/{NAME}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_as_it_was_written_and_damage_is_seen() {
        let part = Expected { target: "/boot/a b".into(), bytes: 7, blake3: "0f".repeat(32) };
        let marker = Marker { id: "ab".into(), parts: vec![part] };
        assert_eq!(Marker::parse(&marker.text()), Some(marker));
        assert_eq!(Marker::parse("ab\n"), Some(Marker { id: "ab".into(), parts: vec![] }));
        for text in ["", "ab", "ab\n7 00 /x\n", "ab\n7\n", "ab\n\n", "ab\nx 00 /x\n"] {
            assert_eq!(Marker::parse(text), None, "{text:?}");
        }
    }
}
