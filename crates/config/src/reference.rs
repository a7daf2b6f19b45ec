//! The manual of all settings, made from their declaration. It never states what the declaration does not.

use std::fmt::Write;

use crate::quote;
use crate::table::{Kind, Preset, SECTIONS, Setting, Status};
use crate::{Severity, table};

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from the declaration of the settings in crates/config. Do not edit: run
     REAR_UPDATE_DOCS=1 cargo test -p config -->

`rear` works without any configuration: `rear mkbackup` then makes one ISO in `/var/lib/rear/output` that holds the
rescue system and the whole backup. To change that, write settings into `/etc/rear/local.conf`.

## Files

These files are read in this order; the last assignment of a setting counts:

1. `/etc/rear/site.conf`: what is the same on all machines,
2. `/etc/rear/local.conf`: this machine,
3. each file named with `-C FILE`: an absolute path or one relative to `/etc/rear`; `.conf` may be left out.

`-c DIR` takes another directory instead of `/etc/rear`. `rear dump` shows every setting with where it was set.

## Syntax

The files use the assignments of the shell's language. They are **parsed, never executed**:

```sh
# a comment
OUTPUT=ISO                                  # one word
KERNEL_CMDLINE=\"$KERNEL_CMDLINE quiet\"      # double quotes; $NAME and ${NAME} are the values of settings
SSH_ROOT_PASSWORD='it costs 5$'             # single quotes: nothing inside is special
BACKUP_PROG_EXCLUDE+=( '/srv/cache/*' \"/var/my files/*\" )   # += appends to a list
COPY_AS_IS=( /etc/motd                      # a list may stand on several lines
             /etc/issue )
KEYMAP=de; PROGS+=( mc )                    # several on one line
```

Also understood: `export KEY=value`, `\\` before a character or at the end of a line, `$'…'` with its escapes, and
`\"${NAME[@]}\"` for the elements of a list. Only settings and `HOSTNAME` (`VAR_DIR`, `LOG_DIR`, `CONFIG_DIR`) can be
referred to; the environment is not looked at. Patterns such as `*` in a list must be quoted.

Everything else is refused before any work, with file, line, column and what to write instead: an unknown name, a
text where a list belongs, an unknown word, and all that only a shell could execute (`$(command)`, `if`, functions,
redirections). A file that is a shell program is converted once: `rear config convert FILE` lets bash evaluate it in an
empty environment and prints plain assignments to review. The files that `rear` reads before it (`site.conf` beside a
`local.conf`) are evaluated first, so that it can use and extend what they set.

*yes, no or empty*: yes, y, true, t, 1 or no, n, false, f, 0 in any letter case; empty leaves the choice to the program.
";

/// The reference of all settings as Markdown, as it stands in `docs/configuration.md`.
pub fn reference_markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    for section in &SECTIONS {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n## {}", section.title);
        for setting in section.settings.iter().filter(|setting| setting.status == Status::Implemented) {
            entry(&mut out, setting);
        }
    }
    out.push_str(
        "\n## Settings of the Bash program without an effect\n\n\
         These names are known, so that files of the Bash program can be used and say what is different.\n\
         *Error* means that ignoring the setting would be dangerous: the configuration is refused. *Warning* means that\n\
         the work goes on as the last column says. A value that asks for what happens anyway is accepted silently.\n\n\
         | Setting | | Meaning | What happens instead |\n|---|---|---|---|\n",
    );
    for setting in table::all() {
        let (severity, instead) = match setting.status {
            Status::Implemented => continue,
            Status::NotYet { severity: Severity::Error, instead } => ("error", instead),
            Status::NotYet { severity: Severity::Warning, instead } => ("warning", instead),
            Status::Retired { instead } => ("error (retired)", instead),
        };
        let _ = writeln!(
            out,
            "| `{}` | {severity} | {} | {} |",
            setting.name,
            cell(setting.meaning),
            cell(instead)
        );
    }
    out.push_str(
        "\nThe other names of the Bash program (for example those of backup tools and media that are not supported yet)\n\
         are recognised, too, each with a warning or an error.\n",
    );
    out
}

fn entry(out: &mut String, setting: &Setting) {
    let default = match setting.default {
        _ if setting.kind == Kind::Secret => "not set".to_owned(),
        Preset::One("") => "empty".to_owned(),
        Preset::One(text) => format!("`{text}`"),
        Preset::List([]) => "`()`".to_owned(),
        Preset::List(items) => {
            let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
            format!("`( {} )`", items.join(" "))
        }
    };
    let _ = writeln!(out, "\n### {}\n\n{}\n", setting.name, setting.meaning);
    let _ = writeln!(out, "- Type: {}", setting.kind.describe());
    let _ = writeln!(out, "- Default: {default}");
    if !setting.allowed.is_empty() {
        let words: Vec<String> = setting
            .allowed
            .iter()
            .map(|word| if word.starts_with("(e") { "empty".to_owned() } else { format!("`{word}`") })
            .collect();
        let _ = writeln!(out, "- Allowed: {}", words.join(", "));
    }
    if !setting.foreign.is_empty() {
        let words: Vec<String> = setting.foreign.iter().map(|(word, _)| format!("`{word}`")).collect();
        let _ = writeln!(out, "- Known, not supported yet: {}", words.join(", "));
    }
}

/// Text in a table cell: a bar would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
