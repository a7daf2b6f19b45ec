//! An encrypted file that is read at any place by several threads: only the parts of 64 KiB that are asked for are decrypted,
//! and each is authenticated, with its place in the file, before a byte of it is given.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use age::stream::StreamReader;
use age_core::format::Stanza;

use crate::{Error, FileKey, Note, Opener};

/// Bytes of a part, and of its authentication.
const PART: u64 = 64 << 10;
const TAG: u64 = 16;

/// The content of an encrypted file.
pub struct Plain<R> {
    source: R,
    key: FileKey,
    /// Bytes of content.
    length: u64,
    /// Bytes of the file before the first part.
    header: u64,
    /// One for each thread that has read, with its place.
    idle: Mutex<Vec<(u64, StreamReader<R>)>>,
}

impl<R> std::fmt::Debug for Plain<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plain({} bytes)", self.length)
    }
}

impl<R: Read + Seek + Clone> Plain<R> {
    /// Opens a file, from the beginning of `source`; `None` where this opener does not fit. Its first and its last part have
    /// been decrypted when this returns, so that nothing can have been cut off.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Open`], or the source cannot be read.
    pub fn open(source: R, opener: &Opener) -> Result<Option<Self>, Error> {
        let noted = Note::default();
        let Some(reader) = opener.decrypt(source.clone(), &noted)? else { return Ok(None) };
        let key = noted.into_inner().ok_or_else(|| Error::Open("its key is missing".into()))?;
        Self::checked(source, key, reader).map(Some)
    }

    /// The same with the file's own key.
    ///
    /// # Errors
    /// As [`Plain::open`]; also where the key is that of another file.
    pub fn with_key(source: R, key: &FileKey) -> Result<Self, Error> {
        let reader = reader(source.clone(), key)?;
        Self::checked(source, key.clone(), reader)
    }

    fn checked(source: R, key: FileKey, mut reader: StreamReader<R>) -> Result<Self, Error> {
        let bytes = source.clone().seek(SeekFrom::End(0))?;
        let damaged = |error: io::Error, what: &str| match error.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                Error::Damaged(format!("{what} of its {bytes} bytes fails the authentication"))
            }
            _ => Error::Io(error),
        };
        let length =
            reader.seek(SeekFrom::End(0)).map_err(|error| damaged(error, "the end (it may be cut off)"))?;
        let parts = length.div_ceil(PART).max(1);
        let header = bytes.saturating_sub(length + parts * TAG);
        reader.seek(SeekFrom::Start(0))?;
        let mut first = [0];
        let count = reader.read(&mut first).map_err(|error| damaged(error, "the beginning"))?;
        Ok(Self { source, key, length, header, idle: Mutex::new(vec![(count as u64, reader)]) })
    }

    /// Bytes of content.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The key of this file.
    pub fn key(&self) -> &FileKey {
        &self.key
    }

    /// Fills `into` from this place on; gives how many bytes there were, fewer only at the end.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] where a part fails its authentication: the text says where in the encrypted file it lies.
    /// Or the source cannot be read.
    pub fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let room = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX).min(into.len());
        if room == 0 {
            return Ok(0);
        }
        let (mut place, mut reader) = match self.take(at) {
            Some(one) => one,
            None => (0, reader(self.source.clone(), &self.key).map_err(io::Error::other)?),
        };
        // A reader that has met an error is not used again: it does not know where it is.
        if place != at {
            reader.seek(SeekFrom::Start(at)).map_err(|error| self.located(error, at))?;
            place = at;
        }
        let mut done = 0;
        while done < room {
            match reader.read(&mut into[done..room]) {
                Ok(0) => return Err(self.located(ErrorKind::UnexpectedEof.into(), place)),
                Ok(count) => {
                    done += count;
                    place += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.located(error, place)),
            }
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((place, reader));
        Ok(done)
    }

    /// A reader that waits, best at this place.
    fn take(&self, at: u64) -> Option<(u64, StreamReader<R>)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.iter().position(|(place, _)| *place == at) {
            Some(index) => Some(idle.swap_remove(index)),
            None => idle.pop(),
        }
    }

    fn located(&self, error: io::Error, at: u64) -> io::Error {
        match error.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                let from = self.header + at / PART * (PART + TAG);
                let to = from + PART.min(self.length - at / PART * PART) + TAG;
                let text = format!("bytes {from} to {to} of the encrypted file fail their authentication");
                io::Error::new(ErrorKind::InvalidData, text)
            }
            _ => error,
        }
    }
}

/// A further reader of a file whose key is known.
fn reader<R: Read>(source: R, key: &FileKey) -> Result<StreamReader<R>, Error> {
    let decryptor = age::Decryptor::new(source).map_err(Error::of)?;
    let remembered = Remembered(key);
    decryptor.decrypt(std::iter::once(&remembered as &dyn age::Identity)).map_err(Error::of)
}

/// The key of the file itself, in place of what opens it. The header's own authentication tells whether it is the right one.
struct Remembered<'a>(&'a FileKey);

impl age::Identity for Remembered<'_> {
    fn unwrap_stanza(
        &self,
        _stanza: &Stanza,
    ) -> Option<Result<age_core::format::FileKey, age::DecryptError>> {
        let bytes = <[u8; 16]>::try_from(self.0.0.expose_bytes()).ok()?;
        Some(Ok(age_core::format::FileKey::init_with_mut(|key| *key = bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lock, Writer};
    use proptest::prelude::*;
    use std::io::{Cursor, Write};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn keys() -> (Lock, Opener) {
        let identity = age::x25519::Identity::generate();
        (Lock::Recipients(vec![Box::new(identity.to_public())]), Opener::Identities(vec![Box::new(identity)]))
    }

    fn encrypted(lock: &Lock, bytes: &[u8]) -> (Vec<u8>, FileKey) {
        let mut writer = Writer::begin(lock, Vec::new()).unwrap();
        bytes.chunks(50_000).for_each(|chunk| writer.write_all(chunk).unwrap());
        let key = writer.key().clone();
        (writer.finish().unwrap(), key)
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
    }

    #[test]
    fn any_stretch_is_read_whatever_the_length() {
        let (lock, opener) = keys();
        for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 300_000] {
            let bytes = content(length);
            let (sealed, key) = encrypted(&lock, &bytes);
            let plain = Plain::open(Cursor::new(sealed.clone()), &opener).unwrap().unwrap();
            let again = Plain::with_key(Cursor::new(sealed), &key).unwrap();
            for plain in [plain, again] {
                assert_eq!(plain.len(), length as u64);
                let all: Vec<usize> = vec![0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, 299_999, length];
                for at in all.iter().chain(all.iter().rev()) {
                    for room in [1, 10, 65_536, 70_000, 400_000] {
                        let mut into = vec![0; room];
                        let count = plain.read_at(&mut into, *at as u64).unwrap();
                        let from = length.min(*at);
                        assert!(
                            into[..count] == bytes[from..length.min(from + room)],
                            "{length} {at} {room}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn no_change_and_no_cut_is_ever_taken_for_content() {
        let (lock, opener) = keys();
        let bytes = content(200_000);
        let (sealed, _) = encrypted(&lock, &bytes);
        let read = |sealed: Vec<u8>| -> Result<Vec<u8>, String> {
            let plain = Plain::open(Cursor::new(sealed), &opener).map_err(|error| error.to_string())?;
            let plain = plain.ok_or("no key fits")?;
            let mut into = vec![0; 200_000];
            let count = plain.read_at(&mut into, 0).map_err(|error| error.to_string())?;
            into.truncate(count);
            Ok(into)
        };
        assert_eq!(read(sealed.clone()).unwrap(), bytes);
        for at in (0..400).chain((400..sealed.len()).step_by(997)).chain(sealed.len() - 20..sealed.len()) {
            let mut bad = sealed.clone();
            bad[at] ^= 4;
            assert!(read(bad).is_err(), "flipped at {at}");
            assert!(read(sealed[..at].to_vec()).is_err(), "cut at {at}");
        }
        // Where the parts are: a whole one less, two of them exchanged, one more at the end.
        let start = sealed.len() - 200_000 - 4 * 16;
        let part =
            |n: usize| sealed[start + n * 65_552..(start + (n + 1) * 65_552).min(sealed.len())].to_vec();
        let head = sealed[..start].to_vec();
        assert!(read([head.clone(), part(0), part(1), part(2)].concat()).is_err());
        assert!(read([head.clone(), part(1), part(0), part(2), part(3)].concat()).is_err());
        assert!(read([head.clone(), part(0), part(1), part(3)].concat()).is_err());
        assert!(read([sealed.clone(), part(3)].concat()).is_err());
        let mut bad = sealed.clone();
        bad[start + 70_000] ^= 1;
        let text = read(bad).unwrap_err();
        let (from, to) = (start + 65_552, start + 2 * 65_552);
        assert!(text.contains(&format!("bytes {from} to {to}")), "{text}");
    }

    #[test]
    fn damage_in_one_part_leaves_the_others_readable() {
        let (lock, opener) = keys();
        let bytes = content(400_000);
        let (mut sealed, _) = encrypted(&lock, &bytes);
        let start = sealed.len() - 400_000 - 7 * 16;
        sealed[start + 2 * 65_552 + 9] ^= 1;
        let plain = Plain::open(Cursor::new(sealed), &opener).unwrap().unwrap();
        let mut into = vec![0; 65_536];
        for round in 0..3 {
            for part in 0..6 {
                let read = plain.read_at(&mut into, part * 65_536);
                assert_eq!(read.is_ok(), part != 2, "{round} {part}");
                if part != 2 {
                    let from = part as usize * 65_536;
                    assert!(into[..read.unwrap()] == bytes[from..from + 65_536]);
                }
            }
        }
    }

    /// Counts what is read of it.
    #[derive(Clone)]
    struct Counted(Cursor<Arc<Vec<u8>>>, Arc<AtomicU64>);

    impl Read for Counted {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let at = usize::try_from(self.0.position()).unwrap();
            let mut rest = &self.0.get_ref()[at.min(self.0.get_ref().len())..];
            let count = rest.read(into)?;
            self.0.set_position((at + count) as u64);
            self.1.fetch_add(count as u64, Ordering::Relaxed);
            Ok(count)
        }
    }

    impl Seek for Counted {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            let length = self.0.get_ref().len() as i64;
            let to = match to {
                SeekFrom::Start(at) => at as i64,
                SeekFrom::Current(by) => self.0.position() as i64 + by,
                SeekFrom::End(by) => length + by,
            };
            self.0.set_position(to as u64);
            Ok(to as u64)
        }
    }

    #[test]
    fn only_what_is_asked_for_is_read() {
        let (lock, opener) = keys();
        let bytes = content(8 << 20);
        let (sealed, _) = encrypted(&lock, &bytes);
        let read = Arc::new(AtomicU64::new(0));
        let source = Counted(Cursor::new(Arc::new(sealed)), Arc::clone(&read));
        let plain = Plain::open(source, &opener).unwrap().unwrap();
        let mut into = vec![0; 1000];
        for at in [5_000_000, 5_001_000, 1_000_000] {
            plain.read_at(&mut into, at).unwrap();
            assert!(into == bytes[at as usize..at as usize + 1000]);
        }
        let read = read.load(Ordering::Relaxed);
        assert!(read < 8 * 65_552, "{read} bytes were read");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn threads_do_not_disturb_each_other(places in proptest::collection::vec((0_u64..500_000, 1_usize..90_000), 1..40)) {
            let (lock, opener) = keys();
            let bytes = content(500_000);
            let (sealed, _) = encrypted(&lock, &bytes);
            let plain = Plain::open(Cursor::new(sealed), &opener).unwrap().unwrap();
            std::thread::scope(|scope| {
                for half in places.chunks(places.len().div_ceil(2)) {
                    let (plain, bytes) = (&plain, &bytes);
                    scope.spawn(move || for (at, room) in half {
                        let mut into = vec![0; *room];
                        let count = plain.read_at(&mut into, *at).unwrap();
                        let from = *at as usize;
                        assert!(into[..count] == bytes[from..(from + room).min(bytes.len())]);
                    });
                }
            });
        }
    }

    #[test]
    fn the_keyed_digest_belongs_to_one_file() {
        let (lock, opener) = keys();
        let (sealed, key) = encrypted(&lock, b"x");
        let plain = Plain::open(Cursor::new(sealed.clone()), &opener).unwrap().unwrap();
        assert_eq!(plain.key().digest("abc"), key.digest("abc"));
        assert_ne!(key.digest("abc"), key.digest("abd"));
        let (_, other) = encrypted(&lock, b"x");
        assert_ne!(key.digest("abc"), other.digest("abc"));
        assert!(Plain::with_key(Cursor::new(sealed), &other).is_err());
        assert_eq!(format!("{key:?}"), "FileKey(***)");
    }
}
