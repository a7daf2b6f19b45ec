//! Nodes of which only a part is read, where there are hundreds of thousands of them and the rest is known from elsewhere.

use std::borrow::Cow;

use crate::id::Id;
use crate::node::{NO_TIME, Node};
use crate::scan::Scan;
use crate::trees::{Named, Nodes, named};

/// What a node describes, as far as it counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A file, or a further name of one.
    File,
    /// A directory.
    Dir,
    /// Anything else.
    Other,
}

impl Type {
    fn scan(scan: &mut Scan<'_>) -> Option<Self> {
        Some(match &*scan.string()? {
            "file" => Self::File,
            "dir" => Self::Dir,
            _ => Self::Other,
        })
    }
}

/// Where a name leads to.
#[derive(Debug, PartialEq, Eq)]
pub struct Located {
    pub kind: Type,
    /// The chunks of a file.
    pub content: Option<Box<[Id]>>,
    /// The directory that it is.
    pub subtree: Option<Id>,
    /// Digest of a file's content, as a manifest has it; what restic stored has none.
    pub digest: Option<Id>,
}

impl Named for Located {
    fn subtree(&self) -> Option<Id> {
        self.subtree
    }

    fn nodes(text: &str) -> Result<Nodes<Self>, String> {
        scanned(text, |fields| {
            let Fields { kind, content, subtree, digest, .. } = fields;
            Some(Self { kind: kind?, content, subtree, digest })
        })
    }
}

/// A file as it was when a snapshot was made.
#[derive(Debug, PartialEq, Eq)]
pub struct Past {
    kind: Type,
    mtime: Box<str>,
    ctime: Box<str>,
    inode: u64,
    size: u64,
    content: Option<Box<[Id]>>,
    subtree: Option<Id>,
    digest: Option<Id>,
    segments: Option<Vec<(u64, u64)>>,
}

impl Past {
    /// Whether it describes the file as that node does: then nothing was changed since.
    pub fn is_same(&self, node: &Node) -> bool {
        self.kind == Type::File
            && self.size == node.size
            && self.inode == node.inode
            && *self.mtime == *node.mtime
            && *self.ctime == *node.ctime
            && node.ctime != NO_TIME
    }

    /// Its content; `None` where its digest was not stored.
    pub fn content(&self) -> Option<&[Id]> {
        self.content.as_deref().filter(|_| self.digest.is_some() || self.size == 0)
    }

    /// Where there is data in a file with holes, in bytes.
    pub fn segments(&self) -> Option<Vec<(u64, u64)>> {
        self.segments.clone()
    }

    /// Digest of its content, as a manifest has it.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.digest.map(|digest| *digest.bytes())
    }
}

impl Named for Past {
    fn subtree(&self) -> Option<Id> {
        self.subtree
    }

    fn nodes(text: &str) -> Result<Nodes<Self>, String> {
        scanned(text, |fields| {
            let Fields { kind, mtime, ctime, inode, size, content, subtree, digest, segments } = fields;
            let (mtime, ctime) = (mtime.into(), ctime.into());
            Some(Self { kind: kind?, mtime, ctime, inode, size, content, subtree, digest, segments })
        })
    }
}

/// The fields of a node that count somewhere.
#[derive(Default)]
struct Fields<'t> {
    kind: Option<Type>,
    mtime: Cow<'t, str>,
    ctime: Cow<'t, str>,
    inode: u64,
    size: u64,
    content: Option<Box<[Id]>>,
    subtree: Option<Id>,
    digest: Option<Id>,
    segments: Option<Vec<(u64, u64)>>,
}

/// The nodes of a tree, as [`Node`] writes them; `make` keeps of each what counts.
fn scanned<N>(text: &str, make: impl Fn(Fields<'_>) -> Option<N>) -> Result<Nodes<N>, String> {
    let mut nodes = None;
    let mut scan = Scan::new(text);
    let tree = scan.object(|scan, field| match field {
        "nodes" => {
            nodes = Some(scan.array(|scan| {
                let (name, fields) = node(scan)?;
                let node = make(fields)?;
                Some(named(&name).map(|name| (name, node)))
            })?);
            Some(())
        }
        _ => scan.skip(),
    });
    let nodes = tree.and(nodes).filter(|_| scan.is_at_end());
    nodes.ok_or("cannot be understood")?.into_iter().collect()
}

fn node<'t>(scan: &mut Scan<'t>) -> Option<(Cow<'t, str>, Fields<'t>)> {
    let mut name = None;
    let mut node = Fields::default();
    scan.object(|scan, field| {
        match field {
            "name" => name = Some(scan.string()?),
            "type" => node.kind = Some(Type::scan(scan)?),
            "mtime" => node.mtime = scan.string()?,
            "ctime" => node.ctime = scan.string()?,
            "inode" => node.inode = scan.number()?,
            "size" => node.size = scan.number()?,
            "content" => {
                node.content = scan.optional(|scan| scan.array(Scan::id))?.map(Vec::into_boxed_slice)
            }
            "subtree" => node.subtree = scan.optional(Scan::id)?,
            "rear" => more(scan, &mut node)?,
            _ => scan.skip()?,
        }
        Some(())
    })?;
    Some((name?, node))
}

/// What only we store.
fn more(scan: &mut Scan<'_>, node: &mut Fields<'_>) -> Option<()> {
    let more = scan.optional(|scan| {
        scan.object(|scan, field| {
            match field {
                "b" => node.digest = scan.optional(Scan::id)?,
                "h" => node.segments = scan.optional(|scan| scan.array(pair))?,
                _ => scan.skip()?,
            }
            Some(())
        })
    });
    more.map(|_| ())
}

fn pair(scan: &mut Scan<'_>) -> Option<(u64, u64)> {
    <[u64; 2]>::try_from(scan.array(Scan::number)?).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use backup::{Entry, Kind};
    use proptest::prelude::*;

    use super::*;

    /// Files, directories and others, with all that their nodes may say.
    fn entries() -> impl Strategy<Value = (Entry, Node)> {
        let name =
            prop::collection::vec(any::<u8>().prop_filter("no name", |byte| !b"/\0".contains(byte)), 3..20);
        let kind = prop::sample::select(vec![Kind::File, Kind::Directory, Kind::Symlink, Kind::Fifo]);
        let ids = prop::collection::vec(any::<[u8; 32]>().prop_map(Id::from_bytes), 0..4);
        let segments = prop::option::of(prop::collection::vec(any::<(u64, u64)>(), 0..3));
        let numbers = (any::<u64>(), any::<u64>(), any::<i32>());
        (name, kind, ids, segments, any::<Option<[u8; 32]>>(), numbers, any::<Vec<u8>>()).prop_map(
            |(name, kind, ids, segments, digest, (inode, size, second), value)| {
                let mut entry = Entry::new([b"dir/", name.as_slice()].concat(), kind);
                (entry.mtime, entry.xattrs) = ((second.into(), 5), vec![(b"user.\"a\"".to_vec(), value)]);
                match kind {
                    Kind::File => (entry.size, entry.segments, entry.digest) = (size, segments, digest),
                    Kind::Symlink => entry.link = name,
                    _ => {}
                }
                let mut node = Node { inode, ..Node::new(&entry, None) };
                match kind {
                    Kind::File => node.fill(&entry, ids),
                    Kind::Directory => node.subtree = ids.first().copied(),
                    _ => {}
                }
                (entry, node)
            },
        )
    }

    proptest! {
        #[test]
        fn as_much_is_read_as_of_the_whole_node(found in prop::collection::vec(entries(), 0..5), pretty: bool) {
            let nodes: Vec<&Node> = found.iter().map(|(_, node)| node).collect();
            let tree = serde_json::json!({ "before": [{}], "nodes": nodes, "after": "\"}" });
            let text = if pretty { format!("{tree:#}") } else { tree.to_string() };
            let whole = Node::nodes(&text).unwrap();
            let (past, located) = (Past::nodes(&text).unwrap(), Located::nodes(&text).unwrap());
            prop_assert_eq!((past.len(), located.len()), (found.len(), found.len()));
            for (index, (entry, node)) in found.iter().enumerate() {
                let name = &entry.path[4..];
                prop_assert_eq!(&whole[index], &(name.to_vec(), node.clone()));
                prop_assert_eq!((&past[index].0, &located[index].0), (&whole[index].0, &whole[index].0));
                let (past, located) = (&past[index].1, &located[index].1);
                prop_assert_eq!(past.is_same(node), entry.kind == Kind::File);
                let later = Node { ctime: "1999-01-01T00:00:00Z".into(), ..node.clone() };
                prop_assert!(!past.is_same(&later));
                prop_assert_eq!((past.segments(), past.digest()), (entry.segments.clone(), entry.digest));
                prop_assert_eq!(located.digest, past.digest);
                prop_assert_eq!((past.subtree, located.subtree), (node.subtree, node.subtree));
                prop_assert_eq!(&past.content, &located.content);
                prop_assert_eq!(past.content.as_deref(), node.content.as_deref());
                let kind = match entry.kind {
                    Kind::File => Type::File,
                    Kind::Directory => Type::Dir,
                    _ => Type::Other,
                };
                prop_assert_eq!((past.kind, located.kind), (kind, kind));
            }
        }
    }

    #[test]
    fn what_restic_writes_is_read_and_what_is_damaged_is_not() {
        let restic = r#"{"nodes":[{"name":"a\\xff","type":"file","mtime":"2024-01-02T03:04:05.6+02:00","content":null,
            "extended_attributes":[{"name":"user.x","value":null}]}]}"#;
        let nodes = Past::nodes(restic).unwrap();
        assert_eq!((nodes[0].0.as_slice(), nodes[0].1.content()), (&b"a\xff"[..], None));
        assert!(Located::nodes(r#"{"nodes":[]}"#).unwrap().is_empty());
        let id = "0".repeat(63);
        for damaged in [
            String::new(),
            "{}".into(),
            r#"{"nodes":[]} x"#.into(),
            r#"{"nodes":[{"type":"file"}]}"#.into(),
            r#"{"nodes":[{"name":"a"}]}"#.into(),
            r#"{"nodes":[{"name":"..","type":"file"}]}"#.into(),
            format!(r#"{{"nodes":[{{"name":"a","type":"file","content":["{id}"]}}]}}"#),
            r#"{"nodes":[{"name":"a","type":"file","size":-1}]}"#.into(),
            r#"{"nodes":[{"name":"a","type":"file","rear":{"h":[[1]]}}]}"#.into(),
        ] {
            assert!(Past::nodes(&damaged).is_err() && Located::nodes(&damaged).is_err(), "{damaged}");
            assert!(Node::nodes(&damaged).is_err(), "{damaged}");
        }
    }
}
