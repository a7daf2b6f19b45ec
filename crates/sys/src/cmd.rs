//! A program to run, as data: argv only, never a shell line.

use std::time::Duration;

use crate::Secret;

/// One program run: printable, comparable, replayable.
#[derive(Clone, Debug)]
pub struct Cmd {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) stdin: Option<Secret>,
    pub(crate) accept: Vec<i32>,
    pub(crate) timeout: Duration,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) root: Option<std::path::PathBuf>,
}

/// What a program left behind.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Standard output, bytes as they came.
    pub stdout: Vec<u8>,
    /// Standard error, bytes as they came.
    pub stderr: Vec<u8>,
    /// The exit code (one of those that were accepted).
    pub code: i32,
}

impl Output {
    /// Standard output as text; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Cmd {
    /// A program by its name, found in the fixed search path (`/usr/sbin:/usr/bin:/sbin:/bin` and the
    /// `/usr/local` ones before), never in the caller's `PATH`.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            stdin: None,
            accept: vec![0],
            timeout: Duration::from_secs(3600),
            env: Vec::new(),
            root: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Feeds standard input. The text is treated as a secret: it is never logged or recorded.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(Secret::new(text));
        self
    }

    /// Feeds standard input with exactly these bytes.
    #[must_use]
    pub fn secret(mut self, secret: &Secret) -> Self {
        self.stdin = Some(secret.clone());
        self
    }

    /// Accepts these exit codes as well as 0.
    #[must_use]
    pub fn accept(mut self, codes: &[i32]) -> Self {
        self.accept.extend_from_slice(codes);
        self
    }

    /// Kills the program after this time (default: one hour).
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Adds a variable to the otherwise fixed environment (`PATH`, `LC_ALL=C`, `TZ` unset). Never a secret.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs the program with this directory as its root (`chroot`): a program of the restored system.
    #[must_use]
    pub fn chroot(mut self, root: impl Into<std::path::PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// The program's name.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The arguments, without the program.
    pub fn arguments(&self) -> &[String] {
        &self.args
    }

    /// What is fed to standard input, if anything (for the door and for tests).
    pub fn input(&self) -> Option<&Secret> {
        self.stdin.as_ref()
    }

    /// The command line, quoted so that it can be pasted into a shell.
    pub fn line(&self) -> String {
        let mut line = match &self.root {
            Some(root) => format!("chroot {} {}", quote(&root.to_string_lossy()), quote(&self.program)),
            None => quote(&self.program),
        };
        for arg in &self.args {
            line.push(' ');
            line.push_str(&quote(arg));
        }
        line
    }
}

/// Quotes one word for a POSIX shell, only where it needs it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::Cmd;

    #[test]
    fn a_line_can_be_pasted() {
        let cmd = Cmd::new("mkfs.ext4").args(["-L", "my disk", "it's", ""]).arg("/dev/vda1");
        assert_eq!(cmd.line(), r"mkfs.ext4 -L 'my disk' 'it'\''s' '' /dev/vda1");
    }
}
