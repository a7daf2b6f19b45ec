//! A hand-made image: a file in several extents of 4 GiB, in a sparse file.

use super::*;

fn both32(number: u32) -> Vec<u8> {
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

fn record(sector: u32, length: u32, flags: u8, name: &[u8]) -> Vec<u8> {
    let mut raw = vec![0, 0];
    raw.extend(both32(sector));
    raw.extend(both32(length));
    raw.extend([0; 7]);
    raw.extend([flags, 0, 0, 1, 0, 0, 1, name.len() as u8]);
    raw.extend(name);
    if name.len().is_multiple_of(2) {
        raw.push(0);
    }
    raw[0] = raw.len() as u8;
    raw
}

/// The largest extent that xorriso writes: whole sectors below 4 GiB.
const FULL: u32 = 0xffff_f800;

fn image(dir: &Path, entries: &[Vec<u8>], sectors: u64) -> PathBuf {
    let path = dir.join("image");
    let file = File::create(&path).unwrap();
    file.set_len(sectors * SECTOR).unwrap();
    let mut descriptor = vec![0_u8; 2048];
    descriptor[0] = 1;
    descriptor[1..6].copy_from_slice(b"CD001");
    descriptor[40..72].copy_from_slice(b"BIG                             ");
    descriptor[80..84].copy_from_slice(&(sectors as u32).to_le_bytes());
    descriptor[128..130].copy_from_slice(&2048_u16.to_le_bytes());
    descriptor[156..190].copy_from_slice(&record(20, 2048, 2, b"\0"));
    file.write_all_at(&descriptor, 16 * SECTOR).unwrap();
    let mut directory = record(20, 2048, 2, b"\0");
    directory.extend(record(20, 2048, 2, b"\x01"));
    directory.extend(entries.concat());
    file.write_all_at(&directory, 20 * SECTOR).unwrap();
    path
}

#[test]
fn a_file_of_more_than_4_gib_has_several_extents() {
    let dir = tempfile::tempdir().unwrap();
    let first = 30;
    let second = first + FULL / 2048;
    let entries = [record(first, FULL, 0x80, b"BIG.;1"), record(second, 5000, 0, b"BIG.;1")];
    let path = image(dir.path(), &entries, u64::from(second) + 10);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"end", u64::from(second) * SECTOR + 4997).unwrap();
    file.write_all_at(b"seam", u64::from(second) * SECTOR - 2).unwrap();

    let volume = Volume::open(&path).unwrap();
    let found = volume.find("/BIG").unwrap().unwrap();
    assert_eq!(found.bytes, u64::from(FULL) + 5000);
    assert_eq!(found.extents.len(), 2);
    let mut reader = volume.reader(&found).unwrap();
    reader.seek(SeekFrom::Start(u64::from(FULL) - 2)).unwrap();
    let mut seam = [0; 4];
    reader.read_exact(&mut seam).unwrap();
    assert_eq!(&seam, b"seam");
    reader.seek(SeekFrom::End(-3)).unwrap();
    let mut end = Vec::new();
    reader.read_to_end(&mut end).unwrap();
    assert_eq!(end, b"end");
    assert_eq!(volume.list("/").unwrap().unwrap(), ["BIG"]);
}

#[test]
fn impossible_extents_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    // Beyond the end; the second extent missing; an extent before the last that is no whole number of sectors.
    let beyond = image(dir.path(), &[record(30, 9000, 0, b"A;1")], 32);
    assert!(matches!(Volume::open(&beyond).unwrap().find("/A"), Err(Error::Truncated { .. })));
    let cut = image(dir.path(), &[record(22, 2048, 0x80, b"A;1"), record(23, 1, 0, b"B;1")], 40);
    assert!(matches!(Volume::open(&cut).unwrap().find("/A"), Err(Error::BadVolume { .. })));
    let odd = image(dir.path(), &[record(22, 100, 0x80, b"A;1"), record(23, 1, 0, b"A;1")], 40);
    assert!(matches!(Volume::open(&odd).unwrap().find("/A"), Err(Error::BadVolume { .. })));
}

#[test]
fn a_record_that_crosses_its_sector_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut padded = record(22, 1, 0, b"A;1");
    padded.resize(200, 0);
    padded[0] = 200;
    let mut entries = vec![padded; 9];
    entries.push(vec![250]);
    let path = image(dir.path(), &entries, 40);
    let volume = Volume::open(&path).unwrap();
    assert!(volume.find("/A").unwrap().is_some());
    assert!(matches!(volume.find("/Z"), Err(Error::BadVolume { .. })));
}
