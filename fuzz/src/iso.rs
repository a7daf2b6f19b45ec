//! ISO 9660 images: every directory listed, every file found and read, and the image held against the marker of a medium of ours.
//! The input begins with the 16th sector, where the first descriptor of a volume stands.

use std::io::Read;

use medium::Marker;
use medium::iso9660::Volume;

use super::place::Memory;

/// Sectors that belong to no filesystem, in bytes.
const SYSTEM_AREA: usize = 16 * 2048;
/// Directories that are entered, and files that are read.
const MANY: usize = 64;

/// An image without its system area.
pub fn iso(bytes: &[u8]) -> bool {
    let memory = Memory::new(&[&[0; SYSTEM_AREA], bytes].concat());
    let Ok(volume) = Volume::open(memory.path()) else { return false };
    assert!(volume.len() <= (SYSTEM_AREA + bytes.len()) as u64);
    if let Ok(Some(marker)) = Marker::read(&volume) {
        let _ = medium::read_back(memory.path(), &marker.parts, &sys::Cancel::default());
    }
    let mut pending = vec![String::new()];
    let mut seen = 0;
    while let Some(directory) = pending.pop() {
        let Ok(Some(names)) = volume.list(&directory) else { continue };
        for name in names {
            let path = format!("{directory}/{name}");
            seen += 1;
            if seen > MANY || path.len() > 4096 {
                return true;
            }
            if let Ok(Some(place)) = volume.find(&path) {
                let mut content = Vec::new();
                let read = volume.reader(&place).unwrap().take(1 << 20).read_to_end(&mut content);
                assert!(read.is_err() || content.len() as u64 == place.bytes.min(1 << 20));
                let _ = volume.read_small(&path, 1 << 16);
            }
            pending.push(path);
        }
    }
    true
}
