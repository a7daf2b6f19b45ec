//! The keys of what is encrypted (backups, saved LUKS headers): public ones that the configuration names, secret ones that a
//! person, a file or an answer in advance gives. Nothing secret is ever printed, packed or written.

use std::path::Path;

use crypt::{Opener, Recipient};
use sys::{Secret, SysExt};

use crate::context::{Context, is_rescue_system};
use crate::failure::{Failure, Result};

/// How often a passphrase or key may be wrong.
pub const TRIES: usize = 3;

impl From<crypt::Error> for Failure {
    fn from(error: crypt::Error) -> Self {
        match error {
            crypt::Error::Io(error) => error.into(),
            crypt::Error::Seal(_) => Self::failed(error.to_string()),
            error => Self::refused(error.to_string()),
        }
    }
}

/// The public keys that a setting names; what begins with '/' is a file with one on each line.
pub fn recipients(context: &Context, setting: &str, named: &[String]) -> Result<Vec<Recipient>> {
    let mut all = Vec::new();
    for name in named {
        if !name.starts_with('/') {
            all.push(crypt::recipient(name).map_err(|error| Failure::from(error).during(setting))?);
            continue;
        }
        let before = all.len();
        let text = context
            .sys
            .read_text(name)
            .map_err(|error| Failure::refused(error.to_string()).during(setting))?;
        for line in text.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') {
                all.push(
                    crypt::recipient(line)
                        .map_err(|error| Failure::from(error).during(&format!("{setting}: {name}")))?,
                );
            }
        }
        if all.len() == before {
            return Err(Failure::refused(format!("{setting}: {name} names no recipient")));
        }
    }
    Ok(all)
}

/// An answer given in advance is the name of a file that holds the secret, because arguments are seen by everybody.
/// The end of its last line does not count.
pub fn in_advance(context: &Context, id: &str) -> Result<Option<Secret>> {
    let Some(answer) = context.ui.answered(id) else { return Ok(None) };
    let path = answer.strip_prefix("file:").filter(|path| path.starts_with('/')).ok_or_else(|| {
        Failure::refused(format!("the answer to {id} must be file:/PATH, a file that holds the secret"))
    })?;
    let secret = of_file(context, Path::new(path))?;
    if secret.is_empty() {
        return Err(Failure::refused(format!("{path}, the answer to {id}, is empty")));
    }
    Ok(Some(secret))
}

/// A secret out of a file, without the end of its last line.
pub fn of_file(context: &Context, path: &Path) -> Result<Secret> {
    use sys::Sys;
    let mut bytes = context.sys.read(path).map_err(|error| Failure::refused(error.to_string()))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(Secret::of_bytes(bytes))
}

/// Asks for a secret; where nobody can be asked, the error says how else to give it.
pub fn ask(context: &Context, id: &str, question: &str) -> Result<Secret> {
    context.ui.ask_secret(id, question, &context.cancel).map_err(|failure| {
        if context.ui.is_interactive() {
            return failure;
        }
        failure.hint(match is_rescue_system() {
            true => format!(
                "no disk was written to; run rear recover on a console, or with --answer {id}=file:/PATH of a file that \
                 holds the answer"
            ),
            false => "nothing was written; run rear on a terminal".to_owned(),
        })
    })
}

/// Private keys as they are typed: the path of a file that holds them, or the key itself. `id` is the question for the
/// passphrase of an encrypted ssh key.
pub fn typed(context: &Context, answer: &Secret, id: &str) -> Result<Opener> {
    if !answer.expose().starts_with('/') {
        return identities(context, answer, id);
    }
    identities(context, &of_file(context, Path::new(answer.expose()))?, id)
}

/// Private keys out of the content of a file.
pub fn identities(context: &Context, content: &Secret, id: &str) -> Result<Opener> {
    let mut passphrase = || -> Result<Secret> {
        in_advance(context, id)?.map_or_else(|| ask(context, id, "Passphrase of this ssh key:"), Ok)
    };
    // What is no text has no key.
    Ok(Opener::Identities(crypt::identities(content.expose(), &mut passphrase)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context::of_test(config::defaults("web1"))
    }

    #[test]
    fn recipients_that_are_none_are_refused_with_their_setting_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name).display().to_string()
        };
        let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        let of = |named: &[String]| recipients(&context(), "KEYS", named);
        let good = file("good", &format!("# escrow\n\n{key}\n  {key}\n"));
        assert_eq!(of(&[key.to_owned(), good]).ok().unwrap().len(), 3);
        let why = |named: String| of(&[named]).err().unwrap().message;
        assert!(why("age1notakey".into()).starts_with("KEYS: 'age1notakey' is no age recipient"));
        assert!(why(file("empty", "# nobody\n")).contains("empty names no recipient"));
        assert!(why(file("bad", "age1x\n")).contains("/bad: 'age1x'"));
        assert!(why("/nonexistent/keys".into()).contains("/nonexistent/keys"));
    }

    #[test]
    fn a_secret_of_a_file_ends_with_its_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for (text, wanted) in [("a b \n", "a b "), ("a\n\n", "a\n"), ("a", "a"), ("", "")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(of_file(&context(), &path).unwrap().expose(), wanted);
        }
    }
}
