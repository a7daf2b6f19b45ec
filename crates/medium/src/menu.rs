//! The boot menu: `grub.cfg` as text. Pure: touches no file, and never decides which entry is the default.

/// The entries that can be the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Recover, asking.
    Recover,
    /// Recover without being asked to.
    Automatic,
    /// Start what is on the local disk.
    LocalDisk,
    /// A shell in the rescue system.
    Shell,
}

impl Entry {
    fn id(self) -> &'static str {
        match self {
            Self::Recover => "recover",
            Self::Automatic => "automatic",
            Self::LocalDisk => "local",
            Self::Shell => "shell",
        }
    }
}

/// A serial port that shows the menu as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial {
    /// Number of the port: 0 is what Linux calls `ttyS0`.
    pub unit: u32,
    /// Bits per second.
    pub speed: u32,
}

/// What the menu shows and does.
#[derive(Clone, Debug)]
pub struct Menu {
    /// The machine's name, for people.
    pub hostname: String,
    /// When the recovery point was made, for people.
    pub created: String,
    /// What starts when nobody touches a key.
    pub default: Entry,
    /// Whether the automatic entry adds `unattended` to the kernel command line (no question at all), else
    /// `auto_recover` (starts by itself, and asks where it must).
    pub unattended: bool,
    /// How long the menu waits for a key, in seconds. A menu whose default is [`Entry::Recover`] waits for ever:
    /// what replaces the content of disks starts by a key, or by the entry that says so.
    pub timeout: u64,
    /// The rescue kernel's command line, without what the entries add.
    pub cmdline: String,
    /// Serial ports to use besides the screen.
    pub serial: Vec<Serial>,
}

/// The text of `grub.cfg` for this menu.
pub(crate) fn grub_cfg(menu: &Menu, id: &str) -> String {
    let host = &menu.hostname;
    let mut text = String::from("# Boot menu of a rear recovery medium.\n");
    text.push_str(&format!("search --no-floppy --set=root --file {}\n", crate::marker::path(id)));
    // The disk that this medium is on, without its partition: never a "local disk".
    text.push_str("set home=\"$root\"\nset medium=\"$root\"\nregexp --set=1:medium '^([^,]+)' \"$root\"\n");
    text.push_str("terminal_input console\nterminal_output console\n");
    for Serial { unit, speed } in &menu.serial {
        // A port that this machine does not have makes `serial` fail, and the screen is still there.
        text.push_str(&format!(
            "if serial --unit={unit} --speed={speed}; then\n  terminal_input --append serial_com{unit}\n  \
             terminal_output --append serial_com{unit}\nfi\n"
        ));
    }
    text.push_str("set gfxpayload=keep\n");
    let timeout = if menu.default == Entry::Recover { "-1".to_owned() } else { menu.timeout.to_string() };
    text.push_str(&format!("set default={}\nset timeout={timeout}\n\n", menu.default.id()));
    // GRUB's text menu has no title line, so the first entry, which does nothing, is one.
    let title = format!("{host}: recovery point of {} ({id})", menu.created);
    text.push_str(&format!("menuentry {} --id title {{\n  true\n}}\n", quote(&title)));
    text.push_str(&linux(&format!("Recover {host}"), Entry::Recover, &menu.cmdline, ""));
    let automatic = if menu.unattended { "unattended" } else { "auto_recover" };
    text.push_str(&linux(
        &format!("Recover {host} automatically"),
        Entry::Automatic,
        &menu.cmdline,
        automatic,
    ));
    text.push_str(&linux(&format!("Rescue shell on {host}"), Entry::Shell, &menu.cmdline, "rear.shell"));
    text.push_str(LOCAL_DISK);
    text.push_str("menuentry 'Reboot' --id reboot {\n  reboot\n}\n");
    text.push_str("menuentry 'Power off' --id poweroff {\n  halt\n}\n");
    text
}

fn linux(title: &str, entry: Entry, cmdline: &str, extra: &str) -> String {
    let mut words: Vec<String> = split_cmdline(cmdline).iter().map(|word| quote(word)).collect();
    if !extra.is_empty() {
        words.push(extra.to_owned());
    }
    format!(
        "menuentry {} --id {} {{\n  echo 'Loading the kernel ...'\n  linux {} {}\n  echo 'Loading the \
         rescue system ...'\n  initrd {}\n}}\n",
        quote(title),
        entry.id(),
        crate::KERNEL,
        words.join(" "),
        crate::INITRAMFS
    )
}

/// BIOS: the first other disk with a boot sector, shown to its loader as the first disk, where all loaders expect
/// it. UEFI: the first loader on a FAT partition of another disk; the distribution's shim comes first because
/// only it passes Secure Boot. `exit` hands over to the firmware's next choice.
const LOCAL_DISK: &str = r#"menuentry 'Boot from the local disk' --id local {
  if [ "$grub_platform" = "efi" ]; then
    for part in (hd*,*); do
      set disk=
      regexp --set=1:disk '^.([^,)]+)' "$part"
      if [ "$disk" != "$medium" ]; then
        for loader in $part/EFI/*/shimx64.efi $part/EFI/*/shim.efi $part/EFI/*/grubx64.efi $part/EFI/systemd/systemd-bootx64.efi $part/EFI/Microsoft/Boot/bootmgfw.efi $part/EFI/BOOT/BOOTX64.EFI; do
          if [ -f "$loader" ]; then
            echo "Starting $loader"
            set root="$disk"
            regexp --set=1:root '^.([^)]+)' "$part"
            if chainloader "$loader"; then
              boot
            fi
          fi
        done
      fi
    done
  else
    for disk in hd0 hd1 hd2 hd3 hd4 hd5 hd6 hd7; do
      if [ "$disk" != "$medium" ]; then
        set root="$disk"
        if chainloader +1; then
          echo "Starting from $disk"
          if [ "$disk" != "hd0" ]; then
            drivemap -s hd0 $disk
          fi
          boot
        fi
      fi
    done
  fi
  echo 'No local disk can be started; going back to the firmware.'
  sleep 3
  set root="$home"
  exit
}
"#;

/// Splits a kernel command line at blanks outside of double quotes, and drops these quotes: GRUB puts its own
/// around a word with a blank in it, in the form that the kernel understands (`"name=a b"`).
fn split_cmdline(cmdline: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in cmdline.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            // A control character would end the line for GRUB's parser.
            c if c.is_control() => {}
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Quotes one word for GRUB's script language, only where it needs it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let clean: String = word.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", clean.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn menu() -> Menu {
        Menu {
            hostname: "web01".into(),
            created: "2026-11-23 15:00 UTC".into(),
            default: Entry::Automatic,
            unattended: true,
            timeout: 30,
            cmdline: "console=tty0 console=ttyS0,115200 mitigations=off".into(),
            serial: vec![Serial { unit: 0, speed: 115_200 }],
        }
    }

    #[test]
    fn the_menu_reads_as_expected() {
        insta::assert_snapshot!(grub_cfg(&menu(), "0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn asking_recovery_has_other_words() {
        let menu = Menu { unattended: false, serial: vec![], default: Entry::LocalDisk, ..menu() };
        let text = grub_cfg(&menu, "0123456789abcdef0123456789abcdef");
        assert!(text.contains("mitigations=off auto_recover\n"), "{text}");
        assert!(text.contains("set default=local\n") && !text.contains("unattended"), "{text}");
        assert!(!text.contains("serial"), "{text}");
    }

    #[test]
    fn a_recovery_that_asks_is_waited_for() {
        let text = grub_cfg(&Menu { default: Entry::Recover, ..menu() }, "0123456789abcdef0123456789abcdef");
        assert!(text.contains("set default=recover\nset timeout=-1\n"), "{text}");
        let text = grub_cfg(&menu(), "0123456789abcdef0123456789abcdef");
        assert!(text.contains("set default=automatic\nset timeout=30\n"), "{text}");
    }

    #[test]
    fn odd_words_cannot_leave_their_quotes() {
        assert_eq!(split_cmdline(r#" a="b c"  d\ne $x"#), ["a=b c", r"d\ne", "$x"]);
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote("a;reboot"), "'a;reboot'");
        assert_eq!(quote("a\nreboot"), "'areboot'");
        assert_eq!(quote(""), "''");
    }
}
