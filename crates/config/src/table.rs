//! The declaration of every setting: its name, type, default, meaning, allowed values and whether it works yet.
//! Parsing, `rear dump`, `rear config convert` and the documentation all come from here. It reads no files.

mod backup;
mod legacy;
mod output;
mod recovery;
mod rescue;
mod storage;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::Severity;
pub(crate) use legacy::legacy;

/// The type of a setting, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of a few words.
    Word,
    /// yes, no, or empty for "decided by the program".
    Tristate,
    /// A whole number.
    Number,
    /// An absolute path.
    Path,
    /// A URL.
    Url,
    /// A list: `KEY=( a b )`.
    List,
    /// A list, or a text that is split at blanks.
    Words,
    /// A program with its arguments, as a list or as one text; no shell interprets it.
    Command,
    /// A password or key, never shown.
    Secret,
}

impl Kind {
    /// How the documentation names it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Word => "word",
            Self::Tristate => "yes, no or empty",
            Self::Number => "number",
            Self::Path => "absolute path",
            Self::Url => "URL",
            Self::List => "list",
            Self::Words => "list or text of words",
            Self::Command => "command (list or text)",
            Self::Secret => "secret",
        }
    }
}

/// The value that a setting has when no file sets it. `${HOSTNAME}` stands for the host's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// One value.
    One(&'static str),
    /// A list.
    List(&'static [&'static str]),
}

/// Whether a setting does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It works as its meaning says.
    Implemented,
    /// It is known, but has no effect yet.
    NotYet {
        /// An error where ignoring it could cost data or leave the medium unusable; else a warning.
        severity: Severity,
        /// What happens instead, as a full sentence.
        instead: &'static str,
    },
    /// It has no place here; setting it is an error.
    Retired {
        /// What to use instead, as a full sentence.
        instead: &'static str,
    },
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name as users write it.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its default.
    pub default: Preset,
    /// What it does, in one to three sentences.
    pub meaning: &'static str,
    /// The words it may have (empty: any).
    pub allowed: &'static [&'static str],
    /// Words that the Bash program knows and we do not yet, each with what to do.
    pub foreign: &'static [(&'static str, &'static str)],
    /// Whether it works.
    pub status: Status,
    /// For a setting without effect: values that ask for what happens anyway, so that nothing needs to be said.
    pub quiet: &'static [&'static str],
}

/// The words for "no" and "yes" of the Bash program, in lower case.
pub(crate) const NO: &[&str] = &["no", "n", "false", "f", "0"];
pub(crate) const YES: &[&str] = &["yes", "y", "true", "t", "1"];

impl Setting {
    const fn new(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Self {
        Self {
            name,
            kind,
            default: Preset::One(default),
            meaning,
            allowed: &[],
            foreign: &[],
            status: Status::Implemented,
            quiet: &[],
        }
    }

    const fn text(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Kind::Text, default, meaning)
    }

    const fn switch(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Kind::Tristate, default, meaning)
    }

    const fn list(name: &'static str, default: &'static [&'static str], meaning: &'static str) -> Self {
        let mut setting = Self::new(name, Kind::List, "", meaning);
        setting.default = Preset::List(default);
        setting
    }

    const fn words(name: &'static str, default: &'static [&'static str], meaning: &'static str) -> Self {
        let mut setting = Self::list(name, default, meaning);
        setting.kind = Kind::Words;
        setting
    }

    const fn allowed(mut self, allowed: &'static [&'static str]) -> Self {
        self.allowed = allowed;
        self
    }

    const fn foreign(mut self, foreign: &'static [(&'static str, &'static str)]) -> Self {
        self.foreign = foreign;
        self
    }

    const fn quiet(mut self, quiet: &'static [&'static str]) -> Self {
        self.quiet = quiet;
        self
    }

    /// Known, without effect; safe to ignore.
    const fn ignored(mut self, instead: &'static str) -> Self {
        self.status = Status::NotYet { severity: Severity::Warning, instead };
        self
    }

    /// Known, without effect; ignoring it would be dangerous.
    const fn refused(mut self, instead: &'static str) -> Self {
        self.status = Status::NotYet { severity: Severity::Error, instead };
        self
    }

    const fn retired(mut self, instead: &'static str) -> Self {
        self.status = Status::Retired { instead };
        self
    }

    /// Whether its value must not be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }

    /// The default for a host.
    pub(crate) fn preset(&self, hostname: &str) -> crate::Value {
        let fill = |text: &str| text.replace("${HOSTNAME}", hostname);
        match self.default {
            Preset::One(text) => crate::Value::One(fill(text)),
            Preset::List(items) => crate::Value::List(items.iter().map(|item| fill(item)).collect()),
        }
    }
}

/// Settings that belong together.
#[derive(Debug)]
pub struct Section {
    /// Heading in the documentation.
    pub title: &'static str,
    /// The settings.
    pub settings: &'static [Setting],
}

/// All settings, by topic.
pub static SECTIONS: [Section; 6] = [
    Section { title: "The rescue medium and where it goes", settings: output::SETTINGS },
    Section { title: "The backup", settings: backup::SETTINGS },
    Section { title: "Storage and what is recovered", settings: storage::SETTINGS },
    Section { title: "Content of the rescue system", settings: rescue::CONTENT },
    Section { title: "Network, login and consoles of the rescue system", settings: rescue::ACCESS },
    Section { title: "Recovery, boot loader and the program itself", settings: recovery::SETTINGS },
];

/// Every setting, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

/// The setting of this exact name.
pub fn find(name: &str) -> Option<&'static Setting> {
    // Asked for every word of a file, and for every setting.
    static BY_NAME: LazyLock<HashMap<&str, &Setting>> =
        LazyLock::new(|| all().map(|setting| (setting.name, setting)).collect());
    BY_NAME.get(name).copied()
}

/// The known name that is nearest to a misspelt one.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let working = all().filter(|setting| setting.status == Status::Implemented).map(|setting| setting.name);
    let others = all().filter(|setting| setting.status != Status::Implemented).map(|setting| setting.name);
    // In a tie the first wins: rather a setting that works.
    crate::suggest::nearest(name, working.chain(others).chain(legacy::names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_declared_once() {
        let mut names: Vec<&str> = all().map(|setting| setting.name).chain(legacy::names()).collect();
        let count = names.len();
        names.sort_unstable();
        let doubled: Vec<_> =
            names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(doubled.is_empty(), "{doubled:?}");
        assert!(count > 450, "{count}");
    }

    #[test]
    fn every_setting_is_explained_in_sentences() {
        for setting in all() {
            assert!(setting.meaning.ends_with(['.', ')']), "{}", setting.name);
            match setting.status {
                Status::NotYet { instead, .. } | Status::Retired { instead } => {
                    assert!(instead.ends_with(['.', ')']), "{}", setting.name);
                }
                Status::Implemented => {}
            }
            if let (Kind::List | Kind::Words, Preset::One(_)) = (setting.kind, setting.default) {
                panic!("{} needs a list as its default", setting.name);
            }
        }
    }
}
