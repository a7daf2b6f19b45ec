//! The command line, and nothing else: words are those of the Bash program where it had them.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

/// Bare-metal disaster recovery for GNU/Linux.
///
/// On the healthy machine, `rear mkbackup` makes a bootable rescue medium with the whole backup on it. When the
/// machine is dead, boot the medium on the same or on other hardware and run `rear recover`.
#[derive(Debug, Parser)]
#[command(name = "rear", version, disable_help_subcommand = true, max_term_width = 80, after_help = EXIT_CODES)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done, and proven
  1    checklayout: the layout has changed
  2    wrong command line or configuration; nothing was done
  3    refused: a condition is not met; nothing was written
  4    failed; the message says in which state things are
  5    recovered, restored or mounted, but not everything: the message names the
       rest
  130  stopped by a signal; the message says in which state things are

Full documentation: docs/guide.md of the project, or /usr/share/doc/rear.";

/// Options of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Common {
    /// Explain each step
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Like -v; the log has every program that was run, and all it said, in any case
    #[arg(short, long, global = true)]
    pub debug: bool,
    /// Directory with site.conf and local.conf
    #[arg(short = 'c', value_name = "DIR", default_value = "/etc/rear", global = true)]
    pub config_dir: PathBuf,
    /// Further configuration file, read last; may be repeated
    #[arg(short = 'C', value_name = "FILE", global = true)]
    pub config_file: Vec<PathBuf>,
    /// Never ask: recover takes only blank disks and the machine's own, or stops before any write
    #[arg(short, long, global = true)]
    pub non_interactive: bool,
    /// Print JSON for machines: events, one a line; or the layout, plan or settings asked for
    #[arg(long, global = true)]
    pub json: bool,
}

/// The workflows.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make the rescue medium and the backup
    Mkbackup,
    /// Make the rescue medium alone
    Mkrescue,
    /// Make the backup alone (needs a BACKUP_URL that is not the medium)
    Mkbackuponly,
    /// Recreate this machine from the medium (only in the rescue system, but for --plan)
    Recover(Recover),
    /// Mount the existing machine below /mnt/local (only in the rescue system)
    Mountonly(Mountonly),
    /// List the recovery points that there are, or the files of one
    List(List),
    /// Read a recovery point from end to end and prove that it is whole
    Verify(Verify),
    /// Get single files and directories back from a recovery point, into another directory
    Restore(Restore),
    /// Show the files of recovery points at a directory, read-only, to look into them and copy from them
    Mount(Mount),
    /// Print system definition, configuration files and every effective setting
    Dump,
    /// Save the storage layout to /var/lib/rear/layout/layout.json
    Savelayout,
    /// Compare the storage layout with the saved one: 0 same, 1 changed, 2 to 4 could not check
    Checklayout,
    /// Print the storage layout as a tree, with --json as data, or draw it with --svg
    Layout(Layout),
    /// Work with configuration files
    Config {
        /// What to do with them.
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Print this text, or that of one command
    Help {
        /// The command, such as `recover`.
        command: Vec<String>,
    },
    /// A console of the rescue system (started by its init)
    #[command(hide = true, name = "rescue-console")]
    RescueConsole {
        /// Terminal, such as ttyS0.
        tty: String,
    },
}

impl Command {
    /// Whether what it prints is all that it does: then output that is lost is a failure.
    pub fn is_answered_by_printing(&self) -> bool {
        matches!(self, Self::Dump | Self::List(_) | Self::Layout(_) | Self::Config { .. } | Self::Help { .. })
    }
}

/// The help text of the program, or of one command: `["config", "convert"]`. `None` when there is no such command.
pub fn help(words: &[String]) -> Option<String> {
    let mut program = Cli::command();
    program.build();
    let mut found = &mut program;
    for word in words {
        found = found.find_subcommand_mut(word)?;
    }
    Some(found.render_long_help().to_string())
}

/// Options of `rear layout`.
#[derive(Args, Clone, Debug, Default)]
pub struct Layout {
    /// Write the picture of it as one page of SVG to this file ('-': to the standard output), to print
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// What opens an encrypted recovery point.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Keys of an encrypted backup")]
pub struct Keys {
    /// File with a private key: an age identity, or an ssh key (ed25519, rsa). May be repeated
    #[arg(long, value_name = "FILE")]
    pub identity: Vec<PathBuf>,
    /// File whose content is the passphrase, but for the end of its last line
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Options of `rear recover`.
#[derive(Args, Clone, Debug, Default)]
pub struct Recover {
    /// Print the plan and change nothing
    #[arg(long)]
    pub plan: bool,
    /// Recover from this instead of the recovery point on the medium that was booted: a directory, or snapshot:ID
    /// of the repository, an older one of this machine
    #[arg(long, value_name = "WHERE")]
    pub from: Option<PathBuf>,
    /// Put a saved disk on a present one; both as `rear recover --plan` names them. May be repeated
    #[arg(long, value_name = "SAVED=PRESENT")]
    pub map: Vec<String>,
    /// Allow a disk with foreign content to be erased, named by kernel name, serial number or WWN. May be repeated
    #[arg(long, value_name = "DISK")]
    pub erase: Vec<String>,
    /// Go on although this preserved disk of the saved machine is not here as it was. May be repeated
    #[arg(long, value_name = "DISK")]
    pub without: Vec<String>,
    /// Answer a question in advance, such as RECOVER_APPROVE=yes. May be repeated
    #[arg(long, value_name = "ID=ANSWER")]
    pub answer: Vec<String>,
    /// What opens it.
    #[command(flatten)]
    pub keys: Keys,
}

/// Options of `rear list`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = LIST_HELP)]
pub struct List {
    /// List what matches of the files: a path with all below it, a name in any directory, or a pattern with * ? [ ]
    #[arg(value_name = "PATH")]
    pub path: Vec<String>,
    /// Look there instead of at the configured destination: an ISO file, a drive, a directory, or
    /// snapshot:ID of the repository
    #[arg(long, value_name = "WHERE")]
    pub from: Option<String>,
    /// List all files of the recovery point
    #[arg(long)]
    pub contents: bool,
    /// What opens it.
    #[command(flatten)]
    pub keys: Keys,
}

const LIST_HELP: &str = "\
A recovery point is called complete when its seal is whole and every part has
its size; rear verify reads all of it.

Exit codes: 0 all recovery points are complete, 3 there is none (or no file that
matches), 4 one is broken: the list says why.";

/// Options of `rear verify`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = VERIFY_HELP)]
pub struct Verify {
    /// Compare names and sizes with the seal and check the archive's index; read no content
    #[arg(long)]
    pub quick: bool,
    /// Look there instead of at the configured destination: an ISO file, a drive, a directory, or
    /// snapshot:ID of the repository
    #[arg(long, value_name = "WHERE")]
    pub from: Option<String>,
    /// Of an encrypted backup, compare every byte with the seal, and open nothing: for machines without the key
    #[arg(long, conflicts_with_all = ["identity", "passphrase_file"])]
    pub without_key: bool,
    /// What opens it.
    #[command(flatten)]
    pub keys: Keys,
}

const VERIFY_HELP: &str = "\
It only reads. Checked are the seal, every part, every entry of the archive
against the manifest, what a medium boots, and whether a plan can be made.

Exit codes: 0 proven whole, 3 there is no recovery point, 4 something is wrong:
every fault and every file that it costs is named.";

/// Options of `rear restore`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = RESTORE_HELP)]
pub struct Restore {
    /// File or directory, by its path in the machine; a directory comes with all below it
    #[arg(value_name = "PATH", required = true)]
    pub path: Vec<PathBuf>,
    /// Directory that the files go into, each at its path below it; it must be new or empty
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Take them from there instead of the configured destination: an ISO file, a drive, a directory,
    /// snapshot:ID of the repository, or a tar that another program made (backup.tar.gz, or its first volume)
    #[arg(long, value_name = "WHERE")]
    pub from: Option<String>,
    /// What opens it.
    #[command(flatten)]
    pub keys: Keys,
}

const RESTORE_HELP: &str = "\
Nothing is written outside of DIR, and nothing is ever overwritten. The hashes of
what is read are checked, and the result is compared with the manifest.

A tar of another program is read to its end before anything is written. In the
rescue system all of it (PATH /) may go to /mnt/local, when nothing but
directories and mount points is there.

Exit codes: 0 restored and compared, 3 refused: a PATH that is not there, a DIR
that is not empty; nothing was written, 5 not everything is as it was: every
file is named.";

/// Options of `rear mount`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = MOUNT_HELP)]
pub struct Mount {
    /// Directory to mount on; it must be there, and empty
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Show what is there instead of at the configured destination: an ISO file, a drive, a directory, or
    /// snapshot:ID of the repository
    #[arg(long, value_name = "WHERE")]
    pub from: Option<String>,
    /// Unmount it again
    #[arg(long, conflicts_with = "from")]
    pub unmount: bool,
    /// What opens it.
    #[command(flatten)]
    pub keys: Keys,
}

const MOUNT_HELP: &str = "\
It runs until DIR is unmounted, or Ctrl-C. One recovery point is shown itself;
several each as DIR/HOST/DATE. Only root sees it. Nothing can be written to it or
run from it. What is damaged gives an error to whoever reads it, never wrong
bytes.

Exit codes: 0 unmounted, 3 refused: no recovery point, a DIR that is not empty, or
one in use (--unmount), 4 what was read met damage: every file is named, 130
stopped while it was in use.";

/// Options of `rear mountonly`.
#[derive(Args, Clone, Debug, Default)]
pub struct Mountonly {
    /// Mount read-only, and replay no journal: nothing at all is written to the filesystems
    #[arg(long)]
    pub read_only: bool,
    /// Take everything down again
    #[arg(long, conflicts_with_all = ["read_only", "from", "found", "root"])]
    pub unmount: bool,
    /// Take the saved layout from the recovery point in this directory instead of the medium that was booted
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Go by what lies on the disks and the fstab found there, not by the saved layout
    #[arg(long, conflicts_with = "from")]
    pub found: bool,
    /// With several root filesystems, the device of the one that is meant (without a saved layout)
    #[arg(long, value_name = "DEVICE")]
    pub root: Option<String>,
}

/// Actions on configuration files.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigAction {
    /// Evaluate a file that is a shell program once with bash, and print it as plain assignments to review
    Convert {
        /// The file to convert.
        file: PathBuf,
    },
}
