//! `cargo xtask man`: the manual pages and shell completions, made from the declaration of the command line. It runs
//! no other program and needs no build of `rear`.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

// The file itself, so that nothing of this is carried in the product.
#[allow(dead_code, reason = "of the product's command line, only the declaration is used here")]
#[path = "../../crates/rear/src/cli.rs"]
mod cli;

/// Writes everything below `dir`, and says where it belongs.
pub(crate) fn run(dir: &Path) -> Result<()> {
    let man = dir.join("man8");
    let completions = dir.join("completions");
    for dir in [&man, &completions] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    page(&man.join("rear.8"))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut command = cli::Cli::command();
        clap_complete::generate_to(shell, &mut command, "rear", &completions)?;
    }
    println!("{}   for /usr/share/man/man8", man.display());
    println!("{}   for the completions of bash, zsh and fish:", completions.display());
    println!("  rear.bash  /usr/share/bash-completion/completions/rear");
    println!("  _rear      /usr/share/zsh/vendor-completions/_rear");
    println!("  rear.fish  /usr/share/fish/vendor_completions.d/rear.fish");
    Ok(())
}

/// One page: what `rear help` says, and then what is said of each command.
fn page(path: &Path) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    render(&mut file)?;
    Ok(())
}

fn render(out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let mut command = cli::Cli::command();
    command.build();
    let page = clap_mangen::Man::new(command.clone()).section("8").manual("Relax-and-Recover");
    page.render_title(out)?;
    page.render_name_section(out)?;
    writeln!(out, ".SH SYNOPSIS\n\\fBrear\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR")?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    writeln!(out, ".SH COMMANDS")?;
    commands(out, &command, "rear")?;
    // clap_mangen would fill these lines into one paragraph.
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (codes, rest) = after.split_once("\n\n").unwrap_or((&after, ""));
    let codes: String = codes.lines().skip(1).map(|line| format!("{}\n", escape(line))).collect();
    writeln!(out, ".SH \"EXIT CODES\"\n.nf\n{codes}.fi\n.PP\n{}", escape(rest))?;
    writeln!(out, ".SH FILES")?;
    for (name, meaning) in FILES {
        writeln!(out, ".TP\n\\fI{name}\\fR\n{meaning}")?;
    }
    Ok(())
}

/// What is said of each command and its own options; those of every command are told once.
fn commands(out: &mut dyn std::io::Write, parent: &clap::Command, path: &str) -> std::io::Result<()> {
    for command in parent.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("{path} {}", command.get_name());
        let operands: String = command
            .get_positionals()
            .filter_map(|operand| operand.get_value_names()?.first().map(|name| format!(" \\fI{name}\\fR")))
            .collect();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        if command.has_subcommands() {
            commands(out, command, &name)?;
            continue;
        }
        writeln!(out, ".TP\n\\fB{name}\\fR{operands}\n{}", escape(&about))?;
        let own = command
            .get_arguments()
            .filter(|option| !option.is_positional() && option.get_help_heading().is_none());
        for option in own {
            let Some(long) = option.get_long().filter(|long| !["help", "version"].contains(long)) else {
                continue;
            };
            let takes = option.get_action().takes_values();
            let value = option.get_value_names().filter(|_| takes).and_then(<[_]>::first);
            let value = value.map(|name| format!(" \\fI{}\\fR", escape(name))).unwrap_or_default();
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            writeln!(
                out,
                ".RS\n.TP\n\\fB{}\\fR{value}\n{}\n.RE",
                escape(&format!("--{long}")),
                escape(&help)
            )?;
        }
    }
    Ok(())
}

/// Text for roff: a hyphen that can be copied, no line that looks like a request.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// What the program reads and writes.
const FILES: &[(&str, &str)] = &[
    (
        "/etc/rear/site.conf, /etc/rear/local.conf",
        "Configuration; every setting is explained in configuration.md.",
    ),
    ("/var/lib/rear/output", "The medium, where OUTPUT_URL says nothing else."),
    ("/var/lib/rear/layout/layout.json", "The saved layout, for \\fBrear checklayout\\fR."),
    ("/var/log/rear", "The log of the last run; on a recovered machine in recover/ how it was recovered."),
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_has_every_command_and_the_exit_codes() {
        let mut page = Vec::new();
        super::render(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for wanted in [
            "rear mkbackup",
            "rear config convert",
            "\\-\\-unmount",
            "EXIT CODES\"\n.nf\n  0 ",
            "stopped by a signal",
            "FILES",
        ] {
            assert!(page.contains(wanted), "{wanted} is missing:\n{page}");
        }
        assert!(!page.contains("rescue-console") && !page.contains("rescue\\-console"), "{page}");
    }
}
