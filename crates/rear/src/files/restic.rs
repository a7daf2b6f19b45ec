//! `BACKUP=RESTIC`: the files in an encrypted repository of the restic format that keeps many backups and stores everything once.
//! The password is never packed, stored or shown: recovery asks for it before anything is written.

mod access;
mod points;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use backup::{ContentSource, Entry, ManifestReader, ProblemKind, Source};
use layout::Bytes;
use repository::{Access, Id, Keep, Location, Repository, Save};
use sys::Secret;

use super::{Carry, Engine, Job, Keeper, Order, Origin, Saved};
use crate::context::{Context, is_rescue_system};
use crate::failure::{Failure, Result};
use crate::point::{self, Content, Place, Seal};
use crate::ui::Stage;
use crate::workflow::machine::Machine;
use crate::workflow::mkbackup::source::{self, Files};
use crate::workflow::mkbackup::{archive, part};
use crate::workflow::preflight::Refusals;

pub use points::Points;

/// The word of `BACKUP`, and of the seal.
pub const METHOD: &str = "RESTIC";
/// The question for the password.
const QUESTION: &str = "RESTIC_PASSWORD";
/// How often the password may be mistyped.
const TRIES: usize = 3;
/// The label of the snapshots of files.
const FILES: &str = "rear-files";
/// The label of the snapshots of seals with what lies beside them.
const POINT: &str = "rear-point";

impl From<repository::Error> for Failure {
    fn from(error: repository::Error) -> Self {
        use repository::Error;
        match error {
            Error::Backup(error) => error.into(),
            Error::Sys(error) => error.into(),
            error @ (Error::Location { .. } | Error::Password { .. } | Error::Locked { .. }) => {
                Self::refused(error.to_string())
            }
            error @ Error::Absent { .. } => Self::refused(error.to_string())
                .hint("mount what holds it at that place, read-only if you like, and try again"),
            error @ Error::Untrusted { .. } => Self::failed(error.to_string()).hint(
                "RESTIC_CACERT names the certificate of an authority of your own; and the clock of this machine must be right",
            ),
            error => Self::failed(error.to_string()),
        }
    }
}

/// The way out.
pub struct Out {
    location: Location,
    access: Access,
    password: Secret,
    keep: Keep,
    repository: Option<Repository>,
    saved: Option<(Id, Vec<Id>)>,
}

impl Out {
    /// As configured.
    pub fn new(context: &Context) -> Result<Self> {
        let settings = context.settings();
        if settings.restic_repository.is_empty() {
            return Err(Failure::refused("BACKUP=RESTIC needs a repository")
                .hint("set RESTIC_REPOSITORY=/PATH to a directory on another disk or on a mounted share"));
        }
        let password = configured(context)?.ok_or_else(|| {
            Failure::refused("BACKUP=RESTIC needs the password of the repository").hint(
                "set RESTIC_PASSWORD_FILE=/etc/rear/restic.password (mode 0600), and keep a copy of it elsewhere: without \
                 it nothing can be recovered",
            )
        })?;
        let keep = Keep {
            last: settings.keep_last,
            daily: settings.keep_daily,
            weekly: settings.keep_weekly,
            monthly: settings.keep_monthly,
            yearly: settings.keep_yearly,
        };
        let location = Location::parse(settings.restic_repository.expose())?;
        let access = access::configured(context)?;
        Ok(Self { location, access, password, keep, repository: None, saved: None })
    }

    /// Opens the repository, and makes it where there is none.
    fn open(&mut self) -> Result<Repository> {
        if let Some(open) = &self.repository {
            return Ok(open.clone());
        }
        let backend = || self.location.backend(&self.access);
        let repository = match Repository::open(backend()?, &self.password) {
            Err(repository::Error::Absent { .. }) => Repository::create(backend()?, &self.password)?,
            result => result?,
        };
        self.repository = Some(repository.clone());
        Ok(repository)
    }

    /// The repository's own directory, where it lies on this machine: never a part of the backup.
    fn own(&self) -> Option<PathBuf> {
        match &self.location {
            Location::Local(path) => Some(path.clone()),
            Location::Sftp(_) | Location::Rest(_) | Location::S3(_) => None,
        }
    }

    fn name(context: &Context, label: &str, id: &str) -> Save {
        Save {
            hostname: context.hostname.clone(),
            label: label.to_owned(),
            tags: vec![format!("rear-id-{id}")],
            program: concat!("rear ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// The password that the configuration names.
fn configured(context: &Context) -> Result<Option<Secret>> {
    let settings = context.settings();
    let Some(path) = &settings.restic_password_file else { return Ok(settings.restic_password.clone()) };
    if settings.restic_password.is_some() {
        return Err(Failure::refused("RESTIC_PASSWORD and RESTIC_PASSWORD_FILE are both set")
            .hint("leave one of them out"));
    }
    let text = std::fs::read(path).map_err(|error| {
        Failure::refused(format!("cannot read {}: {error}", path.display())).during("RESTIC_PASSWORD_FILE")
    })?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::refused(format!("{} has no password in its first line", path.display())));
    }
    Ok(Some(Secret::of_bytes(line.to_vec())))
}

impl Engine for Out {
    fn place(&self) -> String {
        self.location.to_string()
    }

    fn check(&self, context: &Context, machine: &Machine, refusals: &mut Refusals) -> Result<Carry> {
        if let Some(path) = self.own()
            && archive::lies_on_wanted_disk(context, machine, &path)
        {
            refusals.add(format!(
                "RESTIC_REPOSITORY leads to {}, on a disk that the recovery would recreate: the backup would be destroyed",
                path.display()
            ));
        }
        if context.settings().iso_recover_unattended {
            context.ui.warn(
                "the password of the repository is not on this medium, so an unattended recovery from it stops before any write",
            );
        }
        // A wrong password, or a place that cannot be read, is told now. One that does not exist yet is made later.
        let opened =
            self.location.backend(&self.access).and_then(|backend| Repository::open(backend, &self.password));
        match opened {
            Ok(_) | Err(repository::Error::Absent { .. }) => {}
            Err(error) => {
                let failure = Failure::from(error);
                let hint = failure.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                refusals.add(format!("{}{hint}", failure.message));
            }
        }
        if self.location.server().is_some_and(|server| !server.tls) {
            context.ui.warn(format!(
                "{} is reached by HTTP: whoever listens on the network sees what proves to the server who you are \
                 (the backup itself is encrypted); use https",
                self.location
            ));
        }
        let mut carry = match &self.location {
            Location::Local(_) => Carry::default(),
            // Without a key: those are never packed. The rescue system asks for the password of the account.
            Location::Sftp(_) => Carry::ssh(context),
            Location::Rest(_) | Location::S3(_) => access::carry(&self.location, &self.access)?,
        };
        // Also of a medium without files: the older recovery points are there.
        carry.reach.place = self.place();
        Ok(carry)
    }

    fn save(&mut self, context: &Context, job: &Job<'_>) -> Result<Saved> {
        let repository = self.open()?;
        let own = self.own();
        let skip: Vec<PathBuf> = job.skip.iter().chain(&own).cloned().collect();
        let files = Files::show(context, job.machine, &skip, own.as_deref())?;
        let manifest = sys::fs::create_private(&job.dir.join(point::MANIFEST))?;
        let stage = context.ui.stage_of("save", job.machine.data_bytes());
        let options = context.archive_options();
        let name = Self::name(context, FILES, job.id);
        let saved = files.judge(repository.save(&files.source, &manifest, &name, &options, &stage))?;
        let is_part = files.source.only.is_some();
        let hidden = serde_json::to_vec(&files.hidden)?;
        files.unmount(context)?;
        for problem in &saved.problems {
            tracing::warn!(path = %problem.path.display(), kind = ?problem.kind, "{}", problem.detail);
        }
        let Some(snapshot) = saved.snapshot else {
            source::refuse_unreadable(&saved.problems)?;
            return Err(Failure::failed("no snapshot was made"));
        };
        source::refuse_empty(saved.files, is_part)?;
        stage.done(format!(
            "{} files, {}; {} unchanged, {} added to {}",
            saved.files,
            Bytes(saved.data_bytes),
            saved.unchanged,
            Bytes(saved.added_bytes),
            repository.place()
        ));
        for problem in saved.problems.iter().filter(|one| one.kind != ProblemKind::Skipped).take(10) {
            context.ui.warn(format!("{}: {}", problem.path.display(), problem.detail));
        }
        let parts = vec![
            part(job.dir, point::MOUNT_POINTS, &hidden)?,
            point::measure(&job.dir.join(point::MANIFEST), point::MANIFEST, &context.cancel)?,
        ];
        let content = Content {
            method: METHOD.to_owned(),
            url: self.place(),
            name: snapshot.to_string(),
            files: saved.files,
            data_bytes: saved.data_bytes,
        };
        self.saved = Some((snapshot, saved.packs));
        Ok(Saved { content, parts, problems: saved.problems })
    }

    fn publish(&mut self, context: &Context, seal: &Seal, dir: &Path) -> Result<String> {
        let repository = self.open()?;
        let options = context.archive_options();
        let (snapshot, packs) =
            self.saved.take().ok_or_else(|| Failure::failed("nothing was saved that could be published"))?;
        let stage = context.ui.stage("seal");
        repository.read_back(&packs, &options)?;
        if let Some(missing) = repository.reachable(snapshot, &options)?.first() {
            return Err(Failure::failed(format!("the new snapshot is not whole: {}", missing.detail)).hint(
                "the repository has lost data: run restic rebuild-index (repair index in newer versions), then rear mkbackup \
                       stores anew what is missing",
            ));
        }
        let mut file = sys::fs::create_private(&dir.join(point::SEAL))?;
        file.write_all(&seal.text()?)?;
        file.sync_all()?;
        // The seal and what lies beside it, so that the recovery point is found without its medium.
        let source = Source::whole(dir);
        let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        let name = Self::name(context, POINT, &seal.id);
        let saved = repository.save(&source, &nowhere, &name, &options, &())?;
        let sealed = saved
            .snapshot
            .ok_or_else(|| Failure::failed("the seal could not be stored in the repository"))?;
        repository.read_back(&saved.packs, &options)?;
        stage.done(format!(
            "snapshot {} read back, its seal is snapshot {}",
            snapshot.short(),
            sealed.short()
        ));
        if !self.keep.is_everything() {
            let stage = context.ui.stage("forget");
            // The new recovery point is complete; that the old ones stay longer is no failure of it.
            match repository.retain(&context.hostname, FILES, &self.keep, &options) {
                Ok(done) => stage.done(format!(
                    "{} of this machine stay, {} snapshot(s) forgotten, {} freed",
                    done.kept,
                    done.forgotten.len(),
                    Bytes(done.freed)
                )),
                Err(error) => {
                    context.ui.warn(format!("old snapshots were not removed: {error}"));
                    stage.done("nothing was forgotten");
                }
            }
        }
        Ok(format!("{} (snapshot {})", self.place(), snapshot.short()))
    }
}

/// The way back.
pub struct Back {
    location: Location,
    snapshot: Id,
    repository: Option<Repository>,
    /// For looking into files.
    points: Option<Points>,
}

/// The snapshot that a seal names.
fn snapshot_of(content: &Content) -> Result<Id> {
    Id::parse(&content.name)
        .ok_or_else(|| Failure::refused(format!("the seal names the impossible snapshot {}", content.name)))
}

impl Back {
    /// Of the repository there, with no snapshot of it in mind.
    pub fn at(place: &str) -> Result<Self> {
        let location = Location::parse(place)?;
        Ok(Self { location, snapshot: Id::default(), repository: None, points: None })
    }

    /// Of what a seal says.
    pub fn new(content: &Content) -> Result<Self> {
        let snapshot = snapshot_of(content)?;
        Ok(Self { location: Location::parse(&content.url)?, snapshot, repository: None, points: None })
    }

    /// The repository as a keeper of recovery points.
    pub fn keeper(&mut self, context: &Context) -> Result<Points> {
        Points::of(self.location.clone(), self.open(context)?)
    }

    /// Opens the repository, with the configured password, or the one that a person gives.
    fn open(&mut self, context: &Context) -> Result<Repository> {
        let place = self.location.to_string();
        if let Some(open) = self.repository.clone().or_else(|| context.opened_repository(&place)) {
            self.repository = Some(open.clone());
            return Ok(open);
        }
        let unwritten = |error: repository::Error| self.unwritten(error.into());
        let access = access::granted(context, &self.location).map_err(|failure| self.unwritten(failure))?;
        let mut known = configured(context)?;
        let mut tries = 0;
        let repository = loop {
            let password = match known.take() {
                Some(password) => password,
                None => {
                    tries += 1;
                    let question = format!("Password of the repository {place}:");
                    let asked = context.ui.ask_secret(QUESTION, &question, &context.cancel);
                    asked.map_err(|failure| self.unwritten(failure))?
                }
            };
            match Repository::open(self.location.backend(&access).map_err(unwritten)?, &password) {
                Err(error @ repository::Error::Password { .. })
                    if tries < TRIES && context.ui.is_interactive() =>
                {
                    context.ui.warn(error.to_string());
                }
                result => break result.map_err(unwritten)?,
            }
        };
        context.remember_repository(&place, &repository);
        self.repository = Some(repository.clone());
        Ok(repository)
    }

    /// In a recovery, nothing has been written yet, and that is worth to be said.
    fn unwritten(&self, failure: Failure) -> Failure {
        if !is_rescue_system() {
            return failure;
        }
        let hint = failure.hint.clone().unwrap_or_default();
        failure.hint(format!("no disk was written to. {hint}").trim_end().to_owned())
    }
}

impl Origin for Back {
    fn prove(&mut self, context: &Context, _seal: &Seal, _stage: &Stage<'_>) -> Result<()> {
        let repository = self.open(context)?;
        let options = context.archive_options();
        let missing =
            repository.reachable(self.snapshot, &options).map_err(|error| self.unwritten(error.into()))?;
        if missing.is_empty() {
            return Ok(());
        }
        let list: String =
            missing.iter().flat_map(lines).take(20).map(|line| format!("\n- {line}")).collect();
        Err(self.unwritten(
            Failure::refused(format!("the snapshot {} is not whole:{list}", self.snapshot.short()))
                .hint("use another recovery point, or a copy of the repository"),
        ))
    }

    fn verify(
        &mut self,
        context: &Context,
        place: &Place,
        _seal: &Seal,
        stage: &Stage<'_>,
    ) -> Result<Vec<String>> {
        let repository = self.open(context)?;
        let options = context.archive_options();
        let checked = repository.check(Some(self.snapshot), &options, stage)?;
        let mut faults: Vec<String> = checked.findings.iter().flat_map(lines).collect();
        if faults.is_empty() {
            let work = sys::fs::Staging::create(&std::env::temp_dir())?;
            let path = work.path().join(point::MANIFEST);
            repository.manifest(self.snapshot, &sys::fs::create_private(&path)?, &options)?;
            faults = differing(&place.stored(point::MANIFEST)?, &backup::Stored::open(&path)?)?;
        }
        Ok(faults)
    }

    fn restore(&mut self, context: &Context, order: &Order<'_>, stage: &Stage<'_>) -> Result<Vec<String>> {
        let repository = self.open(context)?;
        let order = repository::Restore {
            snapshot: self.snapshot,
            manifest: order.manifest,
            target: order.target,
            plain: order.plain.to_vec(),
            replace: order.replace,
        };
        let restored = repository.restore(&order, &context.archive_options(), stage)?;
        let shown = |one: &backup::RestoreProblem| format!("{}: {}", one.path.display(), one.detail);
        Ok(restored.problems.iter().map(shown).collect())
    }

    fn contents(&mut self, context: &Context, content: &Content) -> Result<Box<dyn ContentSource>> {
        let points = match self.points.take() {
            Some(points) => points,
            None => self.keeper(context)?,
        };
        self.points.insert(points).contents(content)
    }
}

/// A finding as lines: itself, then the files that it costs.
fn lines(finding: &repository::Finding) -> impl Iterator<Item = String> {
    let files = finding.files.iter().map(|path| format!("{} has lost content", path.display()));
    std::iter::once(finding.detail.clone()).chain(files)
}

/// Where two manifests of the same files differ; their orders do not matter. Eight bytes are held of each entry.
fn differing(sealed: &backup::Stored, other: &backup::Stored) -> Result<Vec<String>> {
    let hash = |entry: &Entry| -> Result<u64> {
        let entry = Entry { frame: 0, offset: 0, ..entry.clone() };
        let mut line = Vec::new();
        backup::write_line(&entry, &mut line)?;
        let mut first = [0; 8];
        blake3::Hasher::new().update(&line).finalize_xof().fill(&mut first);
        Ok(u64::from_le_bytes(first))
    };
    let mut known: HashMap<u64, u64> = HashMap::new();
    for entry in ManifestReader::of(sealed)? {
        *known.entry(hash(&entry?)?).or_default() += 1;
    }
    let mut faults = Vec::new();
    for entry in ManifestReader::of(other)? {
        let entry = entry?;
        match known.get_mut(&hash(&entry)?) {
            Some(count) if *count > 0 => *count -= 1,
            _ => faults.push(format!(
                "{} is another in the snapshot than in the sealed manifest",
                backup::machine_path(&entry.path).display()
            )),
        }
    }
    let missing: u64 = known.values().sum();
    if missing > faults.len() as u64 {
        faults.push(format!("{missing} entries of the sealed manifest are not in the snapshot"));
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_compared_whatever_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let entries = |names: &[&str]| -> Vec<Entry> {
            names.iter().map(|name| Entry::new(name.as_bytes().to_vec(), backup::Kind::File)).collect()
        };
        let write = |name: &str, entries: &[Entry]| {
            let path = dir.path().join(name);
            let file = std::fs::File::create(&path).unwrap();
            let mut writer = backup::ManifestWriter::new(&file).unwrap();
            for entry in entries {
                let mut line = Vec::new();
                backup::write_line(entry, &mut line).unwrap();
                writer.append(&line, backup::Totals { files: 1, bytes: 0 }).unwrap();
            }
            writer.finish().unwrap();
            backup::Stored::open(&path).unwrap()
        };
        let one = write("one", &entries(&["a", "b", "c"]));
        assert_eq!(differing(&one, &write("two", &entries(&["c", "a", "b"]))).unwrap(), [""; 0]);
        let mut changed = entries(&["a", "b", "c"]);
        changed[1].mode = 0o600;
        let faults = differing(&one, &write("three", &changed)).unwrap();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].contains("/b is another"), "{faults:?}");
        let faults = differing(&one, &write("four", &entries(&["a", "b"]))).unwrap();
        assert!(faults[0].contains("1 entries"), "{faults:?}");
    }
}
