//! Recording a machine's answers, and playing them back without the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::{Cmd, Error, FileFacts, FsUsage, Output, Result, Sys};

/// One recorded answer. Bytes are kept as text where they are text, else as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Text(String),
    Hex(String),
    Names(Vec<String>),
    Path(PathBuf),
    Yes(bool),
    Usage(FsUsage),
    File(FileFacts),
    NotFound,
    Failed { code: Option<i32>, stderr: String },
}

impl Answer {
    fn bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Self::Text(text.to_owned()),
            _ => {
                use std::fmt::Write;
                let mut hex = String::with_capacity(bytes.len() * 2);
                for byte in bytes {
                    // Writing to a String cannot fail.
                    let _ = write!(hex, "{byte:02x}");
                }
                Self::Hex(hex)
            }
        }
    }

    fn error(error: &Error) -> Self {
        match error {
            Error::Failed { code, stderr, .. } => Self::Failed { code: *code, stderr: stderr.clone() },
            error if error.is_not_found() => Self::NotFound,
            error => Self::Failed { code: None, stderr: error.to_string() },
        }
    }

    fn into_error(self, key: &str) -> Error {
        match self {
            Self::NotFound => Error::io("find", key)(std::io::Error::from(std::io::ErrorKind::NotFound)),
            Self::Failed { code, stderr } => Error::Failed {
                command: key.to_owned(),
                status: code.map_or("an error".to_owned(), |code| format!("exit code {code}")),
                code,
                stderr,
            },
            other => Error::Answer { what: key.to_owned(), detail: format!("{other:?}") },
        }
    }

    fn into_bytes(self, key: &str) -> Result<Vec<u8>> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Hex(hex) => (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16))
                .collect::<Result<_, _>>()
                .map_err(|error| Error::Answer { what: key.to_owned(), detail: error.to_string() }),
            other => Err(other.into_error(key)),
        }
    }
}

type Answers = BTreeMap<String, Answer>;

fn run_key(cmd: &Cmd) -> String {
    format!("run {}", cmd.line())
}
fn path_key(what: &str, path: &Path) -> String {
    format!("{what} {}", path.display())
}
fn at_key(path: &Path, offset: u64, len: usize) -> String {
    format!("at {offset}+{len} {}", path.display())
}

/// Passes every question to another door and writes the answers down. What is fed to programs is not recorded.
pub struct Record<S> {
    inner: S,
    answers: Mutex<Answers>,
}

impl<S: Sys> Record<S> {
    /// Begins an empty recording.
    pub fn new(inner: S) -> Self {
        Self { inner, answers: Mutex::default() }
    }

    /// The recording so far, as JSON for [`Replay::from_json`].
    pub fn to_json(&self) -> Result<String> {
        let answers = self.answers.lock().map_err(|_| Error::Cancelled)?;
        serde_json::to_string_pretty(&*answers)
            .map_err(|error| Error::Answer { what: "the recording".into(), detail: error.to_string() })
    }

    fn note<T>(&self, key: String, result: Result<T>, answer: impl FnOnce(&T) -> Answer) -> Result<T> {
        let answer = match &result {
            Ok(value) => answer(value),
            Err(error) => Answer::error(error),
        };
        if let Ok(mut answers) = self.answers.lock() {
            answers.insert(key, answer);
        }
        result
    }
}

impl<S: Sys> Sys for Record<S> {
    fn run(&self, cmd: &Cmd) -> Result<Output> {
        self.note(run_key(cmd), self.inner.run(cmd), |output| Answer::bytes(&output.stdout))
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        self.note(path_key("read", path), self.inner.read(path), |bytes| Answer::bytes(bytes))
    }
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.note(at_key(path, offset, len), self.inner.read_at(path, offset, len), |b| Answer::bytes(b))
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        self.note(path_key("list", path), self.inner.list(path), |names| Answer::Names(names.clone()))
    }
    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        self.note(path_key("link", path), self.inner.read_link(path), |p| Answer::Path(p.clone()))
    }
    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        self.note(path_key("resolve", path), self.inner.canonicalize(path), |p| Answer::Path(p.clone()))
    }
    fn exists(&self, path: &Path) -> bool {
        let yes = self.inner.exists(path);
        self.note(path_key("exists", path), Ok(yes), |yes| Answer::Yes(*yes)).unwrap_or(yes)
    }
    fn which(&self, program: &str) -> Option<PathBuf> {
        let found = self.inner.which(program);
        let answer = found.clone().map_or(Answer::NotFound, Answer::Path);
        let _ = self.note(format!("which {program}"), Ok(()), |()| answer);
        found
    }
    fn usage(&self, path: &Path) -> Result<FsUsage> {
        self.note(path_key("usage", path), self.inner.usage(path), |usage| Answer::Usage(*usage))
    }
    fn file(&self, path: &Path) -> Result<FileFacts> {
        self.note(path_key("file", path), self.inner.file(path), |facts| Answer::File(*facts))
    }
}

/// Answers from a recording. A question that was not recorded is an error, so a test cannot touch the machine.
#[derive(Debug)]
pub struct Replay {
    answers: Answers,
    asked: Mutex<BTreeSet<String>>,
}

impl Replay {
    /// Reads a recording made by [`Record::to_json`].
    pub fn from_json(json: &str) -> Result<Self> {
        let answers = serde_json::from_str(json)
            .map_err(|error| Error::Answer { what: "the recording".into(), detail: error.to_string() })?;
        Ok(Self { answers, asked: Mutex::default() })
    }

    /// Recorded answers that nobody asked for: a recording that is longer than its use hides a change of
    /// behaviour, so tests assert that this is empty.
    pub fn unused(&self) -> Vec<String> {
        let asked = self.asked.lock().map(|asked| asked.clone()).unwrap_or_default();
        self.answers.keys().filter(|key| !asked.contains(*key)).cloned().collect()
    }

    fn answer(&self, key: &str) -> Result<Answer> {
        if let Ok(mut asked) = self.asked.lock() {
            asked.insert(key.to_owned());
        }
        self.answers.get(key).cloned().ok_or_else(|| Error::NotRecorded(key.to_owned()))
    }
}

impl Sys for Replay {
    fn run(&self, cmd: &Cmd) -> Result<Output> {
        let key = run_key(cmd);
        let stdout = self.answer(&key)?.into_bytes(&key)?;
        Ok(Output { stdout, ..Output::default() })
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let key = path_key("read", path);
        self.answer(&key)?.into_bytes(&key)
    }
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
        let key = at_key(path, offset, len);
        self.answer(&key)?.into_bytes(&key)
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let key = path_key("list", path);
        match self.answer(&key)? {
            Answer::Names(names) => Ok(names),
            other => Err(other.into_error(&key)),
        }
    }
    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let key = path_key("link", path);
        match self.answer(&key)? {
            Answer::Path(path) => Ok(path),
            other => Err(other.into_error(&key)),
        }
    }
    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        let key = path_key("resolve", path);
        match self.answer(&key)? {
            Answer::Path(path) => Ok(path),
            other => Err(other.into_error(&key)),
        }
    }
    fn exists(&self, path: &Path) -> bool {
        matches!(self.answer(&path_key("exists", path)), Ok(Answer::Yes(true)))
    }
    fn which(&self, program: &str) -> Option<PathBuf> {
        match self.answer(&format!("which {program}")) {
            Ok(Answer::Path(path)) => Some(path),
            _ => None,
        }
    }
    fn usage(&self, path: &Path) -> Result<FsUsage> {
        let key = path_key("usage", path);
        match self.answer(&key)? {
            Answer::Usage(usage) => Ok(usage),
            other => Err(other.into_error(&key)),
        }
    }
    fn file(&self, path: &Path) -> Result<FileFacts> {
        let key = path_key("file", path);
        match self.answer(&key)? {
            Answer::File(facts) => Ok(facts),
            other => Err(other.into_error(&key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Real, SysExt};

    #[test]
    fn a_recording_plays_back_and_tells_what_was_not_asked() {
        let record = Record::new(Real::default());
        let hosts = record.read(Path::new("/proc/version")).unwrap();
        let binary = record.read_at(Path::new("/proc/self/exe"), 0, 16).unwrap();
        assert!(record.read(Path::new("/no/such/file")).unwrap_err().is_not_found());
        record.run(&Cmd::new("echo").arg("hi")).unwrap();

        let replay = Replay::from_json(&record.to_json().unwrap()).unwrap();
        assert_eq!(replay.read(Path::new("/proc/version")).unwrap(), hosts);
        assert_eq!(replay.read_at(Path::new("/proc/self/exe"), 0, 16).unwrap(), binary);
        assert_eq!(replay.read_opt("/no/such/file").unwrap(), None);
        assert_eq!(replay.unused(), ["run echo hi"]);
        assert!(matches!(replay.run(&Cmd::new("date")), Err(Error::NotRecorded(_))));
    }
}
