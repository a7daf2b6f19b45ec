//! Nodes: how a name in a directory is described in the repository, and how an entry of a manifest becomes a node and comes back
//! from one. What restic's form has no room for lies in a field `rear`, which restic ignores.

use std::borrow::Cow;

use backup::{Entry, Kind, Stat, escape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::quote::{quote, unquote};

/// One name in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// As [`quote`] writes it.
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub mode: u32,
    #[serde(default)]
    pub mtime: String,
    #[serde(default)]
    pub atime: String,
    #[serde(default)]
    pub ctime: String,
    #[serde(default)]
    pub uid: u32,
    #[serde(default)]
    pub gid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inode: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub device_id: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub links: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub linktarget: String,
    /// Base64 of a link target that is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linktarget_raw: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_attributes: Option<Vec<Attribute>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub device: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Vec<Id>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtree: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rear: Option<Box<More>>,
}

/// An extended attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    name: String,
    /// Base64.
    value: Option<String>,
}

/// What only we store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct More {
    /// Digest of the content, as a manifest has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b: Option<Id>,
    /// Inode flags.
    #[serde(default, skip_serializing_if = "is_zero")]
    f: u32,
    /// Where there is data in a file with holes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    h: Option<Vec<(u64, u64)>>,
    /// The path of the first name, of a hard link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l: Option<String>,
    /// A modification time that the text form cannot hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<(i64, u32)>,
    /// Names of extended attributes that are no text, with their values, both escaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    x: Vec<(String, String)>,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The bits that stand for set-user-id, set-group-id and sticky in a mode of Go.
const SPECIAL_BITS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// Type and mode bits of Go, for each kind.
const KINDS: [(Kind, &str, u32); 6] = [
    (Kind::File, "file", 0),
    (Kind::Directory, "dir", 1 << 31),
    (Kind::Symlink, "symlink", 1 << 27),
    (Kind::Block, "dev", 1 << 26),
    (Kind::Character, "chardev", 1 << 26 | 1 << 21),
    (Kind::Fifo, "fifo", 1 << 25),
];

/// RFC 3339; `None` for what lies outside of the years that it can name.
fn time_text((seconds, nanoseconds): (i64, u32)) -> Option<String> {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let time = jiff::Timestamp::from_nanosecond(total).ok()?;
    let text = time.to_string();
    text.starts_with(|first: char| first.is_ascii_digit()).then_some(text)
}

/// Seconds and nanoseconds of a text of RFC 3339.
pub fn time_of(text: &str) -> Option<(i64, u32)> {
    let total = text.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
    let nanoseconds = u32::try_from(total.rem_euclid(1_000_000_000)).ok()?;
    Some((i64::try_from(total.div_euclid(1_000_000_000)).ok()?, nanoseconds))
}

/// The name that is written so; `None` for what leads elsewhere.
pub fn name_of(text: &str) -> Option<Vec<u8>> {
    let name = unquote(text)?;
    let sound = !matches!(name.as_slice(), b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0);
    sound.then_some(name)
}

/// A time that every program can read, where there is none.
pub const NO_TIME: &str = "1970-01-01T00:00:00Z";

impl Node {
    /// The node of an entry that is no hard link. Content and subtree, and what is known of the content, come later.
    pub fn new(entry: &Entry, stat: Option<&Stat>) -> Self {
        let name = entry.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let (_, kind, bits) = KINDS.iter().find(|one| one.0 == entry.kind).copied().unwrap_or(KINDS[0]);
        let special = SPECIAL_BITS.iter().filter(|(bit, _)| entry.mode & bit != 0);
        let mut more = More { f: entry.flags, ..More::default() };
        let mtime = time_text(entry.mtime).unwrap_or_else(|| {
            more.t = Some(entry.mtime);
            NO_TIME.into()
        });
        let mut node = Self {
            name: quote(name),
            kind: kind.into(),
            mode: entry.mode & 0o777 | bits | special.map(|(_, bit)| bit).sum::<u32>(),
            atime: mtime.clone(),
            ctime: match stat {
                Some(stat) => time_text(stat.ctime).unwrap_or_else(|| NO_TIME.into()),
                None => mtime.clone(),
            },
            mtime,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            links: 1,
            ..Self::default()
        };
        if let Some(stat) = stat {
            node.inode = stat.ino;
            node.device_id = rustix::fs::makedev(stat.dev.0, stat.dev.1);
            node.links = stat.links.into();
        }
        if entry.kind == Kind::Symlink {
            match std::str::from_utf8(&entry.link) {
                Ok(text) => node.linktarget = text.to_owned(),
                Err(_) => {
                    node.linktarget = String::from_utf8_lossy(&entry.link).into_owned();
                    node.linktarget_raw = Some(STANDARD.encode(&entry.link));
                }
            }
        }
        if matches!(entry.kind, Kind::Block | Kind::Character) {
            node.device = rustix::fs::makedev(entry.device.0, entry.device.1);
        }
        let mut attributes = Vec::new();
        for (name, value) in &entry.xattrs {
            match std::str::from_utf8(name) {
                Ok(name) => {
                    attributes.push(Attribute { name: name.to_owned(), value: Some(STANDARD.encode(value)) })
                }
                Err(_) => {
                    more.x.push((escape::encode(name).into_owned(), escape::encode(value).into_owned()))
                }
            }
        }
        node.extended_attributes = (!attributes.is_empty()).then_some(attributes);
        node.rear = (more != More::default()).then(|| Box::new(more));
        node
    }

    /// Adds the content of a file, and what the entry says of it.
    pub fn fill(&mut self, entry: &Entry, content: Vec<Id>) {
        self.content = Some(content);
        if entry.digest.is_some() || entry.segments.is_some() {
            let more = self.rear.get_or_insert_default();
            more.b = entry.digest.map(Id::from_bytes);
            more.h.clone_from(&entry.segments);
        }
    }

    /// The node of a further name of this one.
    pub fn further(&self, entry: &Entry) -> Self {
        let name = entry.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let mut node = Self { name: quote(name), ..self.clone() };
        node.rear.get_or_insert_default().l = Some(escape::encode(&entry.link).into_owned());
        node
    }

    /// The entry at that path. A hard link of ours comes back as such; a socket, and what restic could not read, gives `None`.
    /// The error is a sentence's end.
    pub fn entry(&self, path: Vec<u8>) -> Result<Option<Entry>, Cow<'static, str>> {
        let Some((kind, _, _)) = KINDS.iter().find(|one| one.1 == self.kind) else {
            return match self.kind.as_str() {
                "socket" | "irregular" => Ok(None),
                other => Err(format!("has the unknown type '{other}'").into()),
            };
        };
        let mut entry = Entry::new(path, *kind);
        let special = SPECIAL_BITS.iter().filter(|(_, bit)| self.mode & bit != 0);
        entry.mode = self.mode & 0o777 | special.map(|(bit, _)| bit).sum::<u32>();
        (entry.uid, entry.gid) = (self.uid, self.gid);
        entry.mtime = time_of(&self.mtime).ok_or("has no time that can be read")?;
        match kind {
            Kind::File => entry.size = self.size,
            Kind::Symlink => {
                entry.link = match &self.linktarget_raw {
                    Some(raw) => STANDARD.decode(raw).map_err(|_| "has a damaged link target")?,
                    None => self.linktarget.clone().into_bytes(),
                };
            }
            Kind::Block | Kind::Character => {
                entry.device = (rustix::fs::major(self.device), rustix::fs::minor(self.device));
            }
            _ => {}
        }
        for attribute in self.extended_attributes.iter().flatten() {
            let value = STANDARD.decode(attribute.value.as_deref().unwrap_or_default());
            let value = value.map_err(|_| "has a damaged extended attribute")?;
            entry.xattrs.push((attribute.name.clone().into_bytes(), value));
        }
        if let Some(more) = &self.rear {
            let decode = |text: &str| escape::decode(text).ok_or("has damaged text");
            for (name, value) in &more.x {
                entry.xattrs.push((decode(name)?, decode(value)?));
            }
            entry.flags = more.f;
            entry.segments.clone_from(&more.h);
            entry.digest = more.b.map(|digest| *digest.bytes());
            if let Some(time) = more.t {
                entry.mtime = time;
            }
            if let Some(link) = &more.l {
                let mut further = Entry::new(entry.path, Kind::HardLink);
                (further.mode, further.uid, further.gid) = (entry.mode, entry.uid, entry.gid);
                (further.mtime, further.link) = (entry.mtime, decode(link)?);
                return Ok(Some(further));
            }
        }
        entry.xattrs.sort();
        Ok(Some(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_from_its_node() {
        for (kind, _, _) in KINDS {
            for mtime in [(-5, 123_456_789), (1 << 32, 1), (0, 0), (-1 << 40, 7), (1 << 60, 999_999_999)] {
                let mut entry = Entry::new(b"a/b\xff\n".to_vec(), kind);
                (entry.mode, entry.uid, entry.gid, entry.mtime) = (0o7654, 4_000_000_000, 2, mtime);
                entry.xattrs =
                    vec![(b"user.a".to_vec(), b"\0\n".to_vec()), (b"user.\xff".to_vec(), vec![200])];
                entry.flags = 0x40;
                match kind {
                    Kind::File => {
                        (entry.size, entry.digest) = (9, Some([3; 32]));
                        entry.segments = Some(vec![(1, 3)]);
                    }
                    Kind::Symlink => entry.link = b"\xff/x".to_vec(),
                    Kind::Block | Kind::Character => entry.device = (259, 300_000),
                    _ => {}
                }
                let mut node = Node::new(&entry, None);
                if kind == Kind::File {
                    node.fill(&entry, Vec::new());
                }
                let text = serde_json::to_string(&node).unwrap();
                let node: Node = serde_json::from_str(&text).unwrap();
                assert_eq!(name_of(&node.name).unwrap(), b"b\xff\n");
                assert_eq!(node.entry(entry.path.clone()).unwrap().unwrap(), entry);
                let mut link = Entry::new(b"c/d".to_vec(), Kind::HardLink);
                link.link = entry.path.clone();
                let again = node.further(&link).entry(b"c/d".to_vec()).unwrap().unwrap();
                assert_eq!((again.kind, &again.link), (Kind::HardLink, &entry.path));
            }
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for name in ["", ".", "..", "a/b", "a\\x00", "\\"] {
            assert_eq!(name_of(name), None, "{name}");
        }
    }

    #[test]
    fn times_of_restic_are_read() {
        assert_eq!(time_of("2022-01-02T03:04:05.6+02:00"), Some((1_641_085_445, 600_000_000)));
        assert_eq!(time_of("yesterday"), None);
    }
}
