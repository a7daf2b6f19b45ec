//! Which runs there are, which are complete, and which may go. It removes only what it was told by its exact name, in the
//! directory of one machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{PARTIAL, Place, Store, names};
use crate::Error;

/// The runs of one machine, by name; names are dates, so they ascend in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Runs with their seal, the oldest first.
    pub complete: Vec<String>,
    /// Runs that were not finished.
    pub leftovers: Vec<String>,
}

/// Whether this is the name of a run: `YYYY-MM-DD_HHMMSS`.
pub(crate) fn is_date(name: &str) -> bool {
    name.len() == 17
        && name.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'_',
            _ => byte.is_ascii_digit(),
        })
}

/// Which of the complete runs may go, the oldest first: each is older than `days` days, and at least `days` newer complete
/// ones stay. Where no days are set, the newest and the one before it stay: the last medium still finds its files. The newest
/// never goes. `times` are names with the time of the run, in seconds since 1970; `now` is on the same
/// scale.
///
/// Both readings of "retention days" (so many days, so many copies) keep at least what this keeps.
pub fn due(times: &[(String, u64)], days: Option<u64>, now: u64) -> Vec<String> {
    let mut sorted = times.to_vec();
    sorted.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
    let keep = usize::try_from(days.unwrap_or(2).max(1)).unwrap_or(usize::MAX);
    let candidates = sorted.len().saturating_sub(keep);
    let old = |time: u64| days.is_none_or(|days| now.saturating_sub(time) > days.saturating_mul(24 * 3600));
    sorted[..candidates].iter().filter(|(_, time)| old(*time)).map(|(name, _)| name.clone()).collect()
}

impl Store<'_> {
    /// Lists the runs. A place without a directory for this machine has none.
    ///
    /// # Errors
    /// The place cannot be reached, or is not there.
    pub fn history(&self) -> Result<History, Error> {
        let mut words: Vec<String> = ["-nr", "--out-format=%i %n"].map(str::to_owned).to_vec();
        let (prefix, seal) = (&self.prefix, &self.seal);
        for pattern in [format!("/{prefix}/"), format!("/{prefix}/*/"), format!("/{prefix}/*/{seal}")] {
            words.push(format!("--include={pattern}"));
        }
        words.push("--exclude=*".to_owned());
        words.push(self.place.argument(""));
        words.push(self.empty()?.display().to_string());
        let what = format!("look at {}", self.place);
        let output = self.rsync.run(&self.place, &what, words)?;
        let mut sealed = BTreeMap::new();
        for (_, path) in names::items(&output.stdout) {
            let Ok(path) = std::str::from_utf8(&path) else { continue };
            let mut parts = path.split('/');
            if parts.next() != Some(prefix) {
                continue;
            }
            let Some(name) = parts.next() else { continue };
            *sealed.entry(name.to_owned()).or_insert(false) |= parts.next() == Some(seal);
        }
        let mut history = History::default();
        for (name, is_sealed) in sealed {
            match name.strip_prefix(PARTIAL) {
                Some(date) if is_date(date) => history.leftovers.push(name),
                None if is_date(&name) && is_sealed => history.complete.push(name),
                None if is_date(&name) => history.leftovers.push(name),
                // Not ours: never touched.
                _ => {}
            }
        }
        Ok(history)
    }

    /// Removes a run: its seal first, so that it is never taken for complete while it goes.
    ///
    /// # Errors
    /// The name is none of a run, or the other side did not remove it.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        if !is_date(name.strip_prefix(PARTIAL).unwrap_or(name)) {
            return Err(Error::Io {
                what: format!("remove {name} at {}", self.place),
                source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no name of a run"),
            });
        }
        let skeleton = self.fresh("skeleton")?;
        let inner = skeleton.join(&self.prefix);
        sys::fs::create_dir_private(&inner.join(name))?;
        self.delete(
            &skeleton,
            &[format!("/{}/{name}/", self.prefix), format!("/{}/{name}/{}", self.prefix, self.seal)],
        )?;
        sys::fs::remove_tree(&inner.join(name))?;
        self.delete(&skeleton, &[format!("/{}/{name}/", self.prefix), format!("/{}/{name}/**", self.prefix)])
    }

    /// Makes what the patterns name like the (empty) skeleton; nothing else is touched.
    fn delete(&self, skeleton: &std::path::Path, patterns: &[String]) -> Result<(), Error> {
        let mut words = vec!["-r".to_owned(), "--delete".to_owned(), format!("--include=/{}/", self.prefix)];
        words.extend(patterns.iter().map(|pattern| format!("--include={pattern}")));
        words.push("--exclude=*".to_owned());
        words.push(format!("{}/", skeleton.display()));
        words.push(self.place.argument(""));
        self.rsync.run(&self.place, &format!("remove an old run at {}", self.place), words)?;
        Ok(())
    }

    /// Fetches small files (relative paths in the directory of this machine) into a new directory, where they have the same
    /// paths.
    ///
    /// # Errors
    /// One of them is not there, or cannot be fetched.
    pub fn fetch(&self, paths: &[String]) -> Result<PathBuf, Error> {
        let dir = self.fresh("fetched")?;
        let (base, start) = self.place.listed(&self.prefix);
        let list = self.list_file("fetch", &start, paths.iter().map(|path| path.as_bytes()))?;
        let mut words =
            vec!["-t".to_owned(), "--from0".to_owned(), format!("--files-from={}", list.display())];
        words.push(base);
        words.push(format!("{}/", dir.display()));
        self.rsync.run(&self.place, &format!("fetch from {}", self.place), words)?;
        Ok(dir)
    }

    /// Bytes that are free at the place; `None` where it cannot be asked.
    ///
    /// # Errors
    /// A local place cannot be looked at.
    pub fn room(&self) -> Result<Option<u64>, Error> {
        match &self.place {
            Place::Local { dir } => Ok(Some(self.rsync.sys.usage(dir)?.available)),
            Place::Daemon { .. } => Ok(None),
            Place::Shell { .. } => {
                let path = self.place.path_of("");
                let output = self.rsync.remote(&self.place, &["df", "-Pk", path.trim_end_matches('/')])?;
                Ok(output.filter(|output| output.code == 0).and_then(|output| free_of_df(&output.text())))
            }
        }
    }

    /// A directory without anything in it.
    pub(crate) fn empty(&self) -> Result<PathBuf, Error> {
        let dir = self.work.join("empty");
        sys::fs::create_dir_private(&dir)?;
        Ok(dir)
    }

    /// A new directory of this name in the working directory.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf, Error> {
        let dir = self.work.join(name);
        if dir.exists() {
            sys::fs::remove_tree(&dir)?;
        }
        sys::fs::create_dir_private(&dir)?;
        Ok(dir)
    }

    /// A list for `--files-from` with `--from0`; every line begins with `start`.
    pub(crate) fn list_file<'p>(
        &self,
        name: &str,
        start: &[u8],
        paths: impl Iterator<Item = &'p [u8]>,
    ) -> Result<PathBuf, Error> {
        use std::io::Write;
        sys::fs::create_dir_private(&self.work)?;
        let path = self.work.join(format!("{name}.list"));
        let _ = std::fs::remove_file(&path);
        let mut file = std::io::BufWriter::new(sys::fs::create_private(&path)?);
        let write = |bytes: &[u8], file: &mut std::io::BufWriter<_>| {
            file.write_all(start).and_then(|()| file.write_all(bytes)).and_then(|()| file.write_all(&[0]))
        };
        for one in paths {
            write(one, &mut file).map_err(Error::writing("a list of files"))?;
        }
        file.flush().map_err(Error::writing("a list of files"))?;
        Ok(path)
    }
}

/// The free bytes in the answer of `df -Pk`: the fourth column of its second line, in KiB.
fn free_of_df(text: &str) -> Option<u64> {
    let line = text.lines().nth(1)?;
    line.split_whitespace().nth(3)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn runs(days_ago: &[u64]) -> Vec<(String, u64)> {
        days_ago.iter().map(|ago| (format!("run{ago}"), 1000 * DAY - ago * DAY)).collect()
    }

    #[test]
    fn names_are_dates_and_nothing_else() {
        assert!(is_date("2026-11-26_104721"));
        for other in
            ["2026-11-26", "2026-11-26_10472", "2026-11-26_104721x", "latest", "2026_11-26_104721", "*"]
        {
            assert!(!is_date(other), "{other}");
        }
    }

    #[test]
    fn both_readings_of_retention_are_kept() {
        let now = 1000 * DAY;
        // One a day: those older than the limit go.
        assert_eq!(due(&runs(&[0, 1, 2, 3, 4]), Some(3), now), ["run4"]);
        // One a week: none is younger than three days, but three copies stay.
        assert_eq!(due(&runs(&[7, 14, 21, 28]), Some(3), now), ["run28"]);
        // Many a day: none of the last three days goes.
        assert_eq!(due(&runs(&[0, 0, 0, 0, 1, 1, 2, 9]), Some(3), now), ["run9"]);
        // The newest never goes, however old, and whatever the clock says.
        assert_eq!(due(&runs(&[900]), Some(1), now), [""; 0]);
        assert_eq!(due(&runs(&[900]), None, now), [""; 0]);
        assert_eq!(due(&runs(&[0, 1, 2]), None, 0), ["run2"]);
        assert_eq!(due(&runs(&[0, 0, 0, 2]), Some(1), now), ["run2"]);
        assert_eq!(due(&runs(&[0, 1, 2, 3]), Some(2), 0), [""; 0]);
        assert_eq!(due(&[], Some(5), now), [""; 0]);
    }

    #[test]
    fn df_tells_the_free_bytes() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 100 40 60 40% /srv\n";
        assert_eq!(free_of_df(text), Some(61_440));
        assert_eq!(free_of_df("df: /x: No such file\n"), None);
    }
}
