//! Judges whether a recovered machine is the original: every file and every identifier, from facts that
//! independent tools gathered about both.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

use crate::facts::{self, Facts};
use crate::lab::read;
use crate::scenario::{Compare, Spec};
use crate::{Error, Result};

/// What changes between the backup and the shutdown of the original machine, or is left behind by `rear` itself.
const ALWAYS: &[&str] = &[
    // rear's own: media and layouts on the original, logs of the recovery on the recovered machine.
    r"^/var/lib/rear(/|$)",
    r"^/var/log/rear(/|$)",
    r"^/etc/rear/\.",
    // LVM's copy of its metadata, written anew when the backup's snapshot is removed.
    r"^/etc/lvm/backup(/|$)",
    // What a Debian writes while it runs and when it goes down.
    r"^/var/lib/systemd/(random-seed|timesync|timers|catalog|coredump)(/|$)",
    r"^/var/lib/dhcp/",
    r"^/var/log/(wtmp|btmp|lastlog|faillog)$",
    r"^/var/log/(journal|dmesg)",
    r"^/(tmp|var/tmp)/",
    r"^/etc/(mtab|resolv\.conf|adjtime)$",
    r"^/boot/grub/grubenv$",
];

/// Findings beyond this number are only counted.
const SHOWN: usize = 60;

/// Where the facts about both machines are.
pub(crate) struct Gathered<'a> {
    /// About the original: files that begin with `o-`.
    pub(crate) original: &'a Path,
    /// About the recovered machine: files that begin with `r-`. The same folder where both were looked at together; rsync
    /// has compared them then.
    pub(crate) recovered: &'a Path,
}

impl Gathered<'_> {
    fn together(&self) -> bool {
        self.original == self.recovered
    }

    /// The same file of both.
    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.original.join(format!("o-{name}")), self.recovered.join(format!("r-{name}")))
    }
}

/// Judges the facts.
///
/// # Errors
/// A [`Error::Verdict`] that lists every difference that is not expected.
pub(crate) fn judge(out: &Gathered<'_>, spec: &Spec, allowed: &Compare) -> Result<()> {
    let mut judge = Judge::new(allowed);
    judge.swap_file = spec.swap_file.is_some();
    for (index, (_, mount)) in spec.mounted().enumerate() {
        judge.tree(out, index, mount)?;
    }
    judge.identifiers(out)?;
    if spec.is_stacked() {
        judge.tools(out)?;
    }
    if judge.compared == 0 {
        judge.findings.push("not one file was compared".to_owned());
    }
    judge.verdict()
}

struct Judge {
    paths: Vec<Regex>,
    identifiers: Vec<Regex>,
    /// Whether the machine has a swap file.
    swap_file: bool,
    findings: Vec<String>,
    compared: usize,
}

impl Judge {
    fn new(allowed: &Compare) -> Self {
        let compile = |text: &str| Regex::new(text).ok();
        Self {
            paths: ALWAYS
                .iter()
                .copied()
                .chain(allowed.paths.iter().map(String::as_str))
                .filter_map(compile)
                .collect(),
            identifiers: allowed.identifiers.iter().filter_map(|text| compile(text)).collect(),
            swap_file: false,
            findings: Vec::new(),
            compared: 0,
        }
    }

    fn expected(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| pattern.is_match(path))
    }

    fn tree(&mut self, out: &Gathered<'_>, index: usize, mount: &str) -> Result<()> {
        let bytes = |file: PathBuf| -> Result<Vec<u8>> {
            Ok(std::fs::read(&file).map_err(sys::Error::io("read", &file))?)
        };
        type Parse = fn(&[u8], &str) -> Facts;
        let kinds: [(&str, Parse); 6] = [
            ("files", facts::files),
            ("xattrs", facts::xattrs),
            ("flags", facts::flags),
            ("nodes", facts::nodes),
            // What rsync compares where both are on one machine.
            ("sums", facts::sums),
            ("linked", facts::linked),
        ];
        let mut touched = BTreeSet::new();
        for (kind, parse) in kinds.into_iter().take(if out.together() { 4 } else { 6 }) {
            let (original, recovered) = out.pair(&format!("{kind}-{index}"));
            let (original, recovered) = (parse(&bytes(original)?, mount), parse(&bytes(recovered)?, mount));
            if kind == "files" {
                self.compared += original.len();
                touched = self.touched(&original, &recovered);
            }
            self.facts(kind, &original, &recovered, &touched);
        }
        let (original, recovered) = out.pair(&format!("blocks-{index}"));
        let (original, recovered) = (bytes(original)?, bytes(recovered)?);
        self.holes(&facts::blocks(&original, mount), &facts::blocks(&recovered, mount));
        if !out.together() {
            return Ok(());
        }
        let out = out.original;
        for direction in ["there", "back"] {
            let file = out.join(format!("rsync-{direction}-{index}"));
            for (what, path) in facts::itemized(&bytes(file)?, mount) {
                let only_time = what.starts_with(".d..t......") && touched.contains(&path);
                // What was swapped out there is worth nothing; size, owner and times are.
                let swapped = self.swap_file && path == "/swapfile" && what.starts_with(">fc........");
                if !self.expected(&path) && !only_time && !swapped {
                    self.findings.push(format!("{path}: rsync ({direction}) says {what}"));
                }
            }
        }
        let errors = read(&out.join(format!("rsync-errors-{index}")))?;
        self.findings.extend(errors.lines().map(|line| format!("rsync on {mount}: {line}")));
        Ok(())
    }

    /// Directories in which an expected difference has changed the directory's own times and links.
    fn touched(&self, original: &Facts, recovered: &Facts) -> BTreeSet<String> {
        original
            .keys()
            .chain(recovered.keys())
            .filter(|path| {
                original.contains_key(*path) != recovered.contains_key(*path) && self.expected(path)
            })
            .filter_map(|path| path.rsplit_once('/'))
            .map(|(parent, _)| if parent.is_empty() { "/".to_owned() } else { parent.to_owned() })
            .collect()
    }

    fn facts(&mut self, kind: &str, original: &Facts, recovered: &Facts, touched: &BTreeSet<String>) {
        let paths: BTreeSet<&String> = original.keys().chain(recovered.keys()).collect();
        for path in paths {
            if self.expected(path) {
                continue;
            }
            match (original.get(path), recovered.get(path)) {
                (Some(old), Some(new)) => {
                    for (name, value) in old {
                        let now = new.get(name).map_or("", String::as_str);
                        let by_neighbour = matches!(*name, "mtime" | "links") && touched.contains(path);
                        if now != value && !by_neighbour {
                            self.findings.push(format!("{path}: {name} was '{value}', is '{now}'"));
                        }
                    }
                }
                (Some(_), None) if kind == "files" => self.findings.push(format!("{path}: missing")),
                (None, Some(_)) if kind == "files" => self.findings.push(format!("{path}: was not there")),
                (Some(old), None) => self.findings.push(format!("{path}: lost {old:?}")),
                (None, Some(new)) => self.findings.push(format!("{path}: gained {new:?}")),
                (None, None) => {}
            }
        }
    }

    /// Sparse files must not have grown. A filesystem may need a few blocks more or less for the same content.
    fn holes(&mut self, original: &Facts, recovered: &Facts) {
        for (path, old) in original {
            let blocks = |facts: &Facts| -> Option<u64> { facts.get(path)?.get("blocks")?.parse().ok() };
            let (Some(was), Some(is)) = (blocks(original), blocks(recovered)) else { continue };
            if is > was + was / 8 + 256 && !self.expected(path) {
                self.findings
                    .push(format!("{path}: had {old:?}, takes {is} blocks of 512 bytes: holes are lost"));
            }
        }
    }

    fn identifiers(&mut self, out: &Gathered<'_>) -> Result<()> {
        let mut names = BTreeSet::new();
        for name in listed(out.original)?.into_iter().chain(listed(out.recovered)?) {
            if let Some(name) = name.strip_prefix("o-").or_else(|| name.strip_prefix("r-"))
                && ["table-", "blkid-", "ext-", "xfs-", "bootcode-bytes-"]
                    .iter()
                    .any(|kind| name.starts_with(kind))
            {
                names.insert(name.to_owned());
            }
        }
        for name in names {
            let Some((old, new)) = self.both(&name, out.pair(&name)) else { continue };
            if name.starts_with("bootcode-bytes-") {
                let some = |text: &str| text.trim() != "0";
                if some(&old) != some(&new) {
                    self.findings.push(format!("{name}: boot code had {old} bytes, has {new}"));
                }
            } else if name.starts_with("ext-") {
                self.lines(&name, &facts::ext(&old), &facts::ext(&new));
            } else {
                let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
                self.lines(&name, &lines(&old), &lines(&new));
            }
        }
        Ok(())
    }

    /// What the tools of the storage technologies said: one file for each question.
    fn tools(&mut self, out: &Gathered<'_>) -> Result<()> {
        let (original, recovered) = out.pair("raw");
        let names: BTreeSet<String> = listed(&original)?.into_iter().chain(listed(&recovered)?).collect();
        if names.is_empty() {
            self.findings.push("the tools were asked nothing".to_owned());
        }
        for name in names {
            let pair = (original.join(&name), recovered.join(&name));
            let Some((old, new)) = self.both(&name, pair) else { continue };
            if name.ends_with("-dumpe2fs") {
                self.lines(&name, &facts::ext(&old), &facts::ext(&new));
            } else {
                let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
                self.lines(&name, &lines(&old), &lines(&new));
            }
        }
        Ok(())
    }

    /// The contents of both files; one that is missing is a finding.
    fn both(&mut self, name: &str, (old, new): (PathBuf, PathBuf)) -> Option<(String, String)> {
        match (read(&old), read(&new)) {
            (Ok(old), Ok(new)) => Some((old, new)),
            _ => {
                let (old, new) = (old.display(), new.display());
                self.findings.push(format!("{name}: there is only one of {old} and {new}"));
                None
            }
        }
    }

    fn lines(&mut self, name: &str, old: &[String], new: &[String]) {
        let allowed = |line: &&String| !self.identifiers.iter().any(|pattern| pattern.is_match(line));
        let gone = old.iter().filter(|line| !new.contains(line)).filter(allowed);
        let come = new.iter().filter(|line| !old.contains(line)).filter(allowed);
        let found: Vec<String> = gone
            .map(|line| format!("{name}: was '{line}'"))
            .chain(come.map(|line| format!("{name}: is '{line}'")))
            .collect();
        self.findings.extend(found);
    }

    fn verdict(mut self) -> Result<()> {
        if self.findings.is_empty() {
            return Ok(());
        }
        let all = self.findings.len();
        if all > SHOWN {
            self.findings.truncate(SHOWN);
            self.findings.push(format!("… and {} more", all - SHOWN));
        }
        Err(Error::Verdict {
            summary: format!("the recovered machine differs from the original in {all} places"),
            findings: self.findings,
        })
    }
}

/// The names in a folder.
fn listed(dir: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(dir).map_err(sys::Error::io("list", dir))?;
    let name = |entry: std::io::Result<std::fs::DirEntry>| -> Result<String> {
        Ok(entry.map_err(sys::Error::io("list", dir))?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &str, mtime: &str) -> String {
        format!("{path}\u{1f}f\u{1f}644\u{1f}0\u{1f}0\u{1f}1\u{1f}{mtime}\u{1f}1\u{1f}\0")
    }

    fn findings(original: &str, recovered: &str) -> Vec<String> {
        let mut judge = Judge::new(&Compare::default());
        let (original, recovered) =
            (facts::files(original.as_bytes(), "/"), facts::files(recovered.as_bytes(), "/"));
        let touched = judge.touched(&original, &recovered);
        judge.facts("files", &original, &recovered, &touched);
        judge.findings
    }

    #[test]
    fn a_nanosecond_is_a_difference() {
        let found = findings(&record("./a", "1.000000001"), &record("./a", "1.000000000"));
        assert_eq!(found, ["/a: mtime was '1.000000001', is '1.000000000'"]);
    }

    #[test]
    fn missing_and_new_files_are_named() {
        assert_eq!(findings(&record("./a", "1"), &record("./b", "1")), ["/a: missing", "/b: was not there"]);
    }

    #[test]
    fn an_expected_file_excuses_its_directory_s_time_only() {
        let old = record("./var/log", "1") + &record("./etc", "1");
        let new = record("./var/log", "2") + &record("./etc", "2") + &record("./var/log/rear", "2");
        assert_eq!(findings(&old, &new), ["/etc: mtime was '1', is '2'"]);
    }

    #[test]
    fn holes_must_stay() {
        let mut judge = Judge::new(&Compare::default());
        let facts = |blocks: &str| facts::blocks(format!("./s\u{1f}{blocks}\0").as_bytes(), "/");
        judge.holes(&facts("16"), &facts("24"));
        assert!(judge.findings.is_empty());
        judge.holes(&facts("16"), &facts("409600"));
        assert_eq!(judge.findings.len(), 1);
    }

    #[test]
    fn identifiers_are_compared_line_by_line() {
        let allowed = Compare { identifiers: vec!["^last-lba".into()], ..Compare::default() };
        let mut judge = Judge::new(&allowed);
        judge.lines(
            "table-0",
            &["label-id: A".into(), "last-lba: 1".into()],
            &["label-id: B".into(), "last-lba: 2".into()],
        );
        assert_eq!(judge.findings, ["table-0: was 'label-id: A'", "table-0: is 'label-id: B'"]);
    }
}
