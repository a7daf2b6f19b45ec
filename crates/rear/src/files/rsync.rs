//! Files that lie in dated trees which rsync keeps: in a directory, behind ssh, or with an rsync daemon. What a tree is stands in
//! [`backup::rsync`]; here are the settings, the refusals and the seal.

use std::path::{Path, PathBuf};

use backup::rsync::{Cause, Depth, Place as Home, Rsync, Store};
use backup::{ContentSource, ProblemKind};
use layout::Bytes;
use sys::Sys;
use sys::fs::Staging;

use super::{Carry, Engine, Job, Order, Origin, Saved};
use crate::context::{Context, STATE_DIR, is_rescue_system};
use crate::failure::{Failure, Result};
use crate::point::{self, Content, Part, Place, Seal};
use crate::ui::Stage;
use crate::workflow::machine::Machine;
use crate::workflow::mkbackup::source::{self, Files};
use crate::workflow::mkbackup::{archive, part};
use crate::workflow::preflight::Refusals;
use crate::workflow::recover::rescue_config;

/// The word of BACKUP.
pub const METHOD: &str = "RSYNC";
/// The question for the password of a daemon.
const PASSWORD: &str = "BACKUP_RSYNC_PASSWORD";
const ACCESS: &str = "ssh asks nothing here and no private key is ever carried: in the rescue system, log in with a forwarded agent \
                      (ssh -A root@RESCUE), or put a key into /root/.ssh and remove it afterwards; then run rear recover again";

/// A store for one run, with a directory of its own to work in.
fn open<'a>(
    context: &'a Context,
    home: &Home,
    prefix: &str,
    options: &[String],
    password: Option<&sys::Secret>,
    work: &Path,
) -> Result<Store<'a>> {
    let mut rsync = Rsync::new(&context.sys);
    rsync.options = options.to_vec();
    // Only root stores owners as such.
    rsync.fake_super = matches!(home, Home::Shell { .. }) && home.user().is_some_and(|user| user != "root");
    if let Some(dir) = home.local() {
        rsync.attributes = keeps_attributes(dir);
    }
    if matches!(home, Home::Shell { .. })
        && let Ok(socket) = std::env::var("SSH_AUTH_SOCK")
    {
        rsync.environment.push(("SSH_AUTH_SOCK".into(), socket));
    }
    if let (Home::Daemon { .. }, Some(password)) = (home, password) {
        use std::io::Write;
        sys::fs::create_dir_private(work)?;
        let file = work.join("password");
        let _ = std::fs::remove_file(&file);
        sys::fs::create_private(&file)?.write_all(password.expose_bytes())?;
        rsync.password_file = Some(file);
    }
    let work = work.join("rsync");
    Ok(Store { rsync, place: home.clone(), prefix: prefix.to_owned(), seal: point::SEAL.into(), work })
}

/// Whether a directory keeps what rsync -AX writes: attributes that only root may set.
fn keeps_attributes(dir: &Path) -> bool {
    let probe = dir.join(format!(".rear-probe-{}", std::process::id()));
    let _ = std::fs::remove_file(&probe);
    let kept = sys::fs::create_private(&probe).is_ok()
        && ["trusted.rear", "user.rear"]
            .iter()
            .all(|name| rustix::fs::lsetxattr(&probe, *name, b"1", rustix::fs::XattrFlags::empty()).is_ok());
    let _ = std::fs::remove_file(&probe);
    kept
}

/// Where the configuration puts the trees.
fn home(context: &Context) -> Result<Home> {
    match &context.settings().backup_url {
        config::Location::File { path } => Ok(Home::Local { dir: path.clone() }),
        config::Location::Remote { daemon: false, target, port, path } => {
            Ok(Home::Shell { target: target.clone(), port: *port, path: path.clone() })
        }
        config::Location::Remote { daemon: true, target, port, path } => {
            Ok(Home::Daemon { target: target.clone(), port: *port, path: path.clone() })
        }
        other => Err(Failure::refused(format!("BACKUP_URL={other} is no place for trees that rsync keeps"))
            .hint("set BACKUP_URL=file:///DIRECTORY or BACKUP_URL=ssh://USER@HOST/PATH")),
    }
}

/// What an error of a place means for its user.
fn explained(error: backup::Error, home: &Home) -> Failure {
    let cause = match &error {
        backup::Error::Rsync { cause, .. } => Some(*cause),
        _ => None,
    };
    let failure = Failure::from(error);
    match (cause, home) {
        (Some(Cause::Unreachable), Home::Shell { .. }) => {
            failure.hint(format!("{ACCESS}; a daemon of rsync is written BACKUP_URL=rsync://HOST::/MODULE"))
        }
        (Some(Cause::Refused), Home::Shell { .. }) => failure.hint(ACCESS),
        (Some(Cause::Refused), Home::Daemon { .. }) => {
            failure.hint("look at the daemon's 'auth users', and at BACKUP_RSYNC_PASSWORD")
        }
        (Some(Cause::NoSpace), _) => failure.hint("make room there; earlier backups are unchanged"),
        _ => failure,
    }
}

/// The way out.
pub struct Trees {
    home: Home,
    prefix: String,
    /// The run between `save` and `publish`: its name and the one that it has until then.
    run: Option<(String, String)>,
}

impl Trees {
    /// What the configuration says.
    pub fn new(context: &Context) -> Result<Self> {
        Ok(Self { home: home(context)?, prefix: context.settings().rsync_prefix.clone(), run: None })
    }

    fn store<'a>(&self, context: &'a Context, work: &Path) -> Result<Store<'a>> {
        let settings = context.settings();
        let password = settings.backup_rsync_password.as_ref();
        open(context, &self.home, &self.prefix, &settings.backup_rsync_options, password, work)
    }

    /// Removes what killed runs have left, and the trees that are no longer kept.
    fn tidy(&self, context: &Context, store: &Store<'_>) -> Result<Vec<String>> {
        let history = store.history()?;
        let paths: Vec<String> =
            history.complete.iter().map(|name| format!("{name}/{}", point::SEAL)).collect();
        let dir = store.fetch(&paths)?;
        let mut times = Vec::new();
        for name in &history.complete {
            match Seal::read(&dir.join(name)) {
                Ok(seal) if seal.hostname == context.hostname => times.push((name.clone(), seal.created)),
                // Another machine's, or not to be understood: it stays.
                Ok(seal) => context.ui.warn(format!(
                    "{} in {} at {} is a backup of {}, and is left alone: give each machine its own RSYNC_PREFIX",
                    name, self.prefix, self.home, seal.hostname
                )),
                Err(failure) => context.ui.warn(format!("{name} at {} is left alone: {failure}", self.home)),
            }
        }
        let mut gone =
            backup::rsync::due(&times, context.settings().backup_rsync_retention_days, sys::info::now());
        gone.extend(history.leftovers);
        for name in &gone {
            store.remove(name)?;
        }
        Ok(gone)
    }
}

impl Engine for Trees {
    fn place(&self) -> String {
        self.home.url()
    }

    fn check(&self, context: &Context, machine: &Machine, refusals: &mut Refusals) -> Result<Carry> {
        let mut carry = match self.home {
            Home::Shell { .. } => Carry::ssh(context),
            _ => Carry::default(),
        };
        carry.programs.push("rsync".into());
        let missing: Vec<&String> =
            carry.programs.iter().filter(|program| context.sys.which(program).is_none()).collect();
        if !missing.is_empty() {
            for program in missing {
                refusals
                    .add(format!("BACKUP_URL={} needs {program}, which is not installed", self.home.url()));
            }
            return Ok(carry);
        }
        if let Some(dir) = self.home.local() {
            archive::refuse_doomed(context, machine, dir, refusals);
            if let Err(error) = sys::fs::create_dir_private(dir) {
                refusals.add(error.to_string());
                return Ok(carry);
            }
            if !keeps_attributes(dir) {
                context.ui.explain(format!(
                    "{} keeps no attributes of root: they are in the manifest alone, and come back from there",
                    dir.display()
                ));
            }
        }
        let work = Staging::create(Path::new(STATE_DIR))?;
        let store = self.store(context, work.path())?;
        match store.history() {
            // The first tree needs all of its room; what a later one needs is not known before.
            Ok(history) if history.complete.is_empty() => match store.room() {
                Ok(Some(room)) if room < machine.data_bytes() => refusals.add(format!(
                    "{} has {} free; the first tree needs {}",
                    self.home,
                    Bytes(room),
                    Bytes(machine.data_bytes())
                )),
                Ok(_) => {}
                Err(error) => refusals.add(error.to_string()),
            },
            Ok(_) => {}
            Err(error) => {
                let failure = explained(error, &self.home);
                let hint = failure.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                refusals.add(format!("{}{hint}", failure.message));
            }
        }
        Ok(carry)
    }

    fn save(&mut self, context: &Context, job: &Job<'_>) -> Result<Saved> {
        let work = job.dir.join("work");
        let store = self.store(context, &work)?;
        let explain = |error| explained(error, &self.home);
        let history = store.history().map_err(explain)?;
        let date = date(sys::info::now())?;
        let building = store.begin(&date, &history).map_err(explain)?;
        let (name, dir) = building.names();
        let run = (name.to_owned(), dir.to_owned());
        tracing::debug!(recovery_point = job.id, tree = name, "begun");

        let own = self.home.local().map(|dir| dir.join(&self.prefix));
        let skip: Vec<PathBuf> = job.skip.iter().chain(&own).cloned().collect();
        let files = Files::show(context, job.machine, &skip, own.as_deref())?;
        let options = context.archive_options();
        let stage = context.ui.stage_of("read", job.machine.data_bytes());
        let read = files.judge(building.read(&files.source, &options, &stage))?;
        source::refuse_unreadable(&read.problems)?;
        stage.done(format!("{} files, {}", read.totals.files, Bytes(read.totals.bytes)));
        source::refuse_empty(read.totals.files, files.source.only.is_some())?;
        let stage = context.ui.stage("transfer");
        let saved = files.judge(building.transfer(read, &options).map_err(explain))?;
        let name = &run.0;
        stage.done(format!("tree {name} at {}: its content was compared with this machine's", self.home));
        for problem in saved.problems.iter().filter(|problem| problem.kind != ProblemKind::Skipped).take(10) {
            context.ui.warn(format!("{}: {}", problem.path.display(), problem.detail));
        }
        let hidden = serde_json::to_vec(&files.hidden)?;
        files.unmount(context)?;
        std::fs::copy(&saved.manifest, job.dir.join(point::MANIFEST))?;
        let content = Content {
            method: METHOD.into(),
            url: self.home.url(),
            name: format!("{}/{name}", self.prefix),
            files: saved.totals.files,
            data_bytes: saved.totals.bytes,
        };
        let parts = vec![
            part(job.dir, point::MOUNT_POINTS, &hidden)?,
            point::measure(&job.dir.join(point::MANIFEST), point::MANIFEST, &context.cancel)?,
        ];
        drop(store);
        sys::fs::remove_tree(&work)?;
        self.run = Some(run);
        Ok(Saved { content, parts, problems: saved.problems })
    }

    fn publish(&mut self, context: &Context, seal: &Seal, dir: &Path) -> Result<String> {
        let Some((name, temporary)) = self.run.take() else {
            return Err(Failure::failed("the files were not saved, so there is nothing to complete"));
        };
        let stage = context.ui.stage("seal");
        let store = self.store(context, &dir.join("work"))?;
        sys::fs::write_atomic(&dir.join(point::SEAL), &seal.text()?)?;
        let explain = |error| explained(error, &self.home);
        let building = store.reopen(&name, &temporary);
        let parts: Vec<String> = seal.parts.iter().map(|part: &Part| part.name.clone()).collect();
        building.put(dir, &parts).map_err(explain)?;
        building.publish(dir).map_err(explain)?;
        stage.done(format!("{name} at {} is complete and was read back", self.home));
        // What is complete stays so, whatever happens to the old ones.
        match self.tidy(context, &store) {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => context.ui.say(format!("Removed at {}: {}", self.home, gone.join(", "))),
            Err(failure) => context.ui.warn(failure.during("old trees were not removed").to_string()),
        }
        Ok(format!("{}/{}/{name}", self.home.url(), self.prefix))
    }
}

/// The name of a run: the time in UTC, so that names ascend also when clocks are changed.
fn date(seconds: u64) -> Result<String> {
    jiff::Timestamp::from_second(seconds.cast_signed())
        .map(|time| time.strftime("%Y-%m-%d_%H%M%S").to_string())
        .map_err(|error| Failure::failed(format!("the clock of this machine is wrong: {error}")))
}

/// The way back.
pub struct Tree {
    home: Home,
    prefix: String,
    name: String,
    /// Where we work; goes away with the value.
    work: Staging,
    password: Option<sys::Secret>,
}

impl Tree {
    /// What a seal names.
    pub fn new(content: &Content) -> Result<Self> {
        let damaged = || Failure::refused(format!("'{}' at '{}' names no tree", content.name, content.url));
        let (prefix, name) = content.name.split_once('/').ok_or_else(damaged)?;
        if !Home::is_plain(prefix) || !Home::is_plain(name) || name.contains('/') {
            return Err(damaged());
        }
        let home = Home::of_url(&content.url).ok_or_else(damaged)?;
        let work = Staging::create(Path::new(STATE_DIR))?;
        Ok(Self { home, prefix: prefix.to_owned(), name: name.to_owned(), work, password: None })
    }

    fn store<'a>(&self, context: &'a Context) -> Result<Store<'a>> {
        let options = match is_rescue_system() {
            true => rescue_config()?.means.rsync_options,
            false => context.settings().backup_rsync_options.clone(),
        };
        open(context, &self.home, &self.prefix, &options, self.password.as_ref(), self.work.path())
    }

    /// Asks for a password where one is needed.
    fn unlock(&mut self, context: &Context) -> Result<()> {
        if !matches!(self.home, Home::Daemon { .. }) || self.home.user().is_none() {
            return Ok(());
        }
        self.password = match &context.settings().backup_rsync_password {
            Some(password) => Some(password.clone()),
            None => {
                let question = format!("Password for {}:", self.home);
                Some(context.ui.ask_secret(PASSWORD, &question, &context.cancel)?)
            }
        };
        Ok(())
    }

    /// The faults of the tree beside a manifest that was proven, by name.
    fn faults(&self, context: &Context, manifest: &Path, stage: &Stage<'_>) -> Result<Vec<String>> {
        let proven = self.store(context)?.prove(&self.name, manifest, &context.archive_options(), stage);
        let (depth, missing) = proven.map_err(|error| explained(error, &self.home))?;
        if depth == Depth::Sizes {
            context.ui.say(format!(
                "Names and sizes at {} were compared; the content is compared when it is restored.",
                self.home
            ));
        }
        Ok(missing.iter().map(|one| format!("{}: {}", one.path.display(), one.what)).collect())
    }

    /// Fetches the manifest of the run, and proves that it is the sealed one.
    fn manifest(&self, context: &Context, seal: &Seal) -> Result<PathBuf> {
        let store = self.store(context)?;
        let explain = |error| explained(error, &self.home);
        let gone = |text: String| {
            Failure::refused(text)
                .hint("no disk was written to; rear recover --from takes another recovery point")
        };
        let history = store.history().map_err(explain)?;
        if !history.complete.contains(&self.name) {
            return Err(gone(format!("{} has no complete tree {}/{}", self.home, self.prefix, self.name)));
        }
        let names = [point::SEAL, point::MANIFEST].map(|part| format!("{}/{part}", self.name));
        let dir = store.fetch(&names).map_err(explain)?.join(&self.name);
        let found = Seal::read(&dir)?;
        if found.id != seal.id {
            return Err(gone(format!(
                "{}/{} at {} belongs to recovery point {}, and this is {}",
                self.prefix, self.name, self.home, found.id, seal.id
            )));
        }
        let path = self.work.path().join(point::MANIFEST);
        std::fs::rename(dir.join(point::MANIFEST), &path)?;
        if point::measure(&path, point::MANIFEST, &context.cancel)? != *seal.part(point::MANIFEST)? {
            return Err(gone(format!("the manifest at {} is not the sealed one", self.home)));
        }
        Ok(path)
    }
}

impl Origin for Tree {
    fn prove(&mut self, context: &Context, seal: &Seal, stage: &Stage<'_>) -> Result<()> {
        self.unlock(context)?;
        let manifest = self.manifest(context, seal)?;
        let faults = self.faults(context, &manifest, stage)?;
        if faults.is_empty() {
            return Ok(());
        }
        let list: String = faults.iter().take(20).map(|fault| format!("\n- {fault}")).collect();
        Err(Failure::refused(format!(
            "the tree {}/{} at {} is not whole, {} file(s) are not as sealed:{list}",
            self.prefix,
            self.name,
            self.home,
            faults.len()
        ))
        .hint("no disk was written to; use another recovery point"))
    }

    fn verify(
        &mut self,
        context: &Context,
        _: &Place,
        seal: &Seal,
        stage: &Stage<'_>,
    ) -> Result<Vec<String>> {
        self.unlock(context)?;
        let manifest = self.manifest(context, seal)?;
        self.faults(context, &manifest, stage)
    }

    fn restore(&mut self, context: &Context, order: &Order<'_>, stage: &Stage<'_>) -> Result<Vec<String>> {
        tracing::debug!(all = order.all, replace = order.replace, tree = self.name, "restoring");
        let store = self.store(context)?;
        let options = context.archive_options();
        let restored = store
            .restore(&self.name, order.manifest, order.target, order.plain, &options, stage)
            .map_err(|error| explained(error, &self.home))?;
        Ok(restored.problems.iter().map(|one| format!("{}: {}", one.path.display(), one.detail)).collect())
    }

    fn contents(&mut self, _: &Context, content: &Content) -> Result<Box<dyn ContentSource>> {
        let tree = format!("{}/{}", content.name, backup::rsync::TREE);
        let (place, how) = match self.home.local() {
            Some(dir) => (dir.join(tree).display().to_string(), "look there with ordinary tools"),
            None => (format!("{}/{tree}", self.home), "look there with ordinary tools (ssh, sftp, rsync)"),
        };
        Err(Failure::refused(format!("its files lie in {place} as they are, so there is nothing to mount"))
            .hint(format!("{how}; rear list shows owners and attributes that this place cannot keep, rear restore brings them back")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_are_times() {
        assert_eq!(date(0).unwrap(), "1970-01-01_000000");
        assert_eq!(date(1_798_765_432).unwrap(), "2027-01-01_010352");
    }

    #[test]
    fn a_seal_that_names_no_tree_is_refused() {
        let content = |url: &str, name: &str| Content {
            method: METHOD.into(),
            url: url.into(),
            name: name.into(),
            files: 1,
            data_bytes: 1,
        };
        for (url, name) in [
            ("nas:/srv", "web1/2026-01-01_000000"),
            ("ssh://nas/srv", "web1"),
            ("ssh://nas/srv", "web1/../x"),
            ("ssh://nas/srv", "web1/a/b"),
            ("ssh://-oProxyCommand=x/srv", "web1/2026-01-01_000000"),
        ] {
            assert!(Tree::new(&content(url, name)).is_err(), "{url} {name}");
        }
    }
}
