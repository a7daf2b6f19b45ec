//! Configuration of the rescue system: accounts, names, time zone, terminals, keyboard, ssh, and what `rear` itself
//! reads. Written by us wherever the host's file could hold something secret or unfit.

use std::path::{Path, PathBuf};

use sys::{Cmd, Sys};

use crate::collect::Collector;
use crate::host::Host;
use crate::{Error, Recipe, Ssh, modules};

/// Files taken from the host as they are, with wildcards.
#[rustfmt::skip]
const TAKEN: &[&str] = &[
    "/etc/localtime", "/etc/ld.so.conf", "/etc/ld.so.conf.d/*.conf", "/etc/protocols", "/etc/services",
    "/etc/rpc", "/etc/inputrc", "/etc/os-release", "/usr/lib/os-release", "/etc/*-release",
    "/etc/debian_version", "/etc/gai.conf", "/etc/host.conf", "/etc/networks", "/etc/ethertypes",
    "/etc/iproute2/*", "/usr/share/iproute2/*", "/usr/lib/iproute2/*", "/etc/modprobe.d/*.conf",
    "/usr/lib/modprobe.d/*.conf", "/lib/modprobe.d/*.conf", "/etc/netconfig", "/etc/ssh/moduli",
    "/usr/lib/locale/C.utf8/*", "/usr/lib/locale/C.utf8/LC_MESSAGES/*", "/usr/lib/locale/C.UTF-8/*",
    "/etc/nfs.conf", "/etc/idmapd.conf", "/etc/request-key.conf", "/etc/machine-info",
    "/usr/etc/protocols", "/usr/etc/services", "/etc/crypto-policies/config",
    "/etc/crypto-policies/back-ends/*.config", "/etc/ssh/ssh_config.d/*.conf",
];

/// Terminals that consoles and ssh clients have.
const TERMINALS: [&str; 12] = [
    "l/linux",
    "v/vt100",
    "v/vt102",
    "v/vt220",
    "x/xterm",
    "x/xterm-256color",
    "s/screen",
    "s/screen-256color",
    "t/tmux-256color",
    "a/ansi",
    "d/dumb",
    "r/rxvt",
];

/// Directories of keymaps.
const KEYMAPS: [&str; 4] =
    ["/usr/share/keymaps", "/usr/share/kbd/keymaps", "/usr/lib/kbd/keymaps", "/lib/kbd/keymaps"];

/// Plans what comes from the host.
pub(crate) fn plan(sys: &dyn Sys, recipe: &Recipe<'_>, collector: &mut Collector<'_>) -> Result<(), Error> {
    for pattern in TAKEN {
        collector.take_all(pattern)?;
    }
    for base in ["/usr/share/terminfo", "/lib/terminfo", "/usr/lib/terminfo", "/etc/terminfo"] {
        for name in TERMINALS {
            collector.take(&Path::new(base).join(name))?;
        }
    }
    keymap(sys, recipe, collector)?;
    if recipe.ssh != Ssh::Off {
        for path in [
            "/usr/lib/openssh/sshd-session",
            "/usr/lib/openssh/sshd-auth",
            "/usr/libexec/openssh/sshd-session",
            "/usr/libexec/openssh/sshd-auth",
            "/usr/lib/ssh/sshd-session",
            "/usr/lib/ssh/sshd-auth",
            "/usr/lib/openssh/sftp-server",
            "/usr/libexec/openssh/sftp-server",
            "/usr/lib/ssh/sftp-server",
            "/usr/share/crypto-policies/DEFAULT/opensshserver.txt",
            "/etc/crypto-policies/back-ends/opensshserver.config",
            "/etc/ssl/openssl.cnf",
            "/etc/pki/tls/openssl.cnf",
        ] {
            collector.take(Path::new(path))?;
        }
    }
    Ok(())
}

/// Plans what we write ourselves, and the files of the caller.
pub(crate) fn plan_own(recipe: &Recipe<'_>, collector: &mut Collector<'_>) -> Result<(), Error> {
    let host = collector.host;
    let name = &recipe.rescue.hostname;
    let short = name.split('.').next().unwrap_or(name);
    let passwd = accounts(&host.text("/etc/passwd")?.unwrap_or_default(), 7);
    let group = accounts(&host.text("/etc/group")?.unwrap_or_default(), 4);
    let (ssh_hash, keys) = match &recipe.ssh {
        Ssh::On { root_password_hash, authorized_keys } => (root_password_hash.as_deref(), *authorized_keys),
        Ssh::Off => (None, false),
    };
    let hash = ssh_hash.or(recipe.console_password_hash.as_deref()).unwrap_or("*");
    let network = &recipe.rescue.network;
    let mut resolv = String::new();
    if !network.search.is_empty() {
        resolv.push_str(&format!("search {}\n", network.search.join(" ")));
    }
    for server in &network.resolvers {
        resolv.push_str(&format!("nameserver {server}\n"));
    }
    let config = serde_json::to_vec_pretty(&recipe.rescue)
        .map_err(|error| sys::Error::Answer { what: "rescue.json".to_owned(), detail: error.to_string() })?;

    let authorized = if keys { host.read("/root/.ssh/authorized_keys")? } else { None };
    let tree = &mut collector.tree;
    tree.bytes("/etc/passwd", root_first("root:x:0:0:root:/root:/bin/bash", &passwd), 0o644);
    tree.bytes("/etc/group", root_first("root:x:0:", &group), 0o644);
    tree.bytes("/etc/shadow", format!("root:{hash}:19000:0:99999:7:::\n"), 0o600);
    tree.bytes("/etc/hostname", format!("{name}\n"), 0o644);
    let names = if short == name { name.clone() } else { format!("{name} {short}") };
    tree.bytes("/etc/hosts", format!("127.0.0.1 localhost {names}\n::1 localhost ip6-localhost\n"), 0o644);
    tree.bytes(
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\n\
         services: files\nethers: files\nrpc: files\n",
        0o644,
    );
    tree.bytes("/etc/resolv.conf", resolv, 0o644);
    tree.bytes("/etc/shells", "/bin/sh\n/bin/bash\n", 0o644);
    tree.bytes("/etc/fstab", "", 0o644);
    tree.link("/etc/mtab", "/proc/self/mounts");
    tree.bytes("/etc/modules", lines(&recipe.modules_load), 0o644);
    tree.bytes("/etc/profile", profile(), 0o644);
    tree.bytes("/root/.bashrc", "[ -n \"$PS1\" ] && . /etc/profile\n", 0o600);
    tree.bytes("/etc/rear/rescue.json", config, 0o600);
    if let Some(hash) = &recipe.console_password_hash {
        tree.bytes("/etc/rear/console-password", format!("{hash}\n"), 0o600);
    }
    if recipe.ssh != Ssh::Off {
        tree.dir("/etc/ssh", 0o755);
        tree.bytes("/etc/ssh/sshd_config", sshd_config(ssh_hash.is_some()), 0o600);
        tree.dir("/usr/share/empty.sshd", 0o711);
        if let Some(authorized) = authorized {
            tree.dir("/root/.ssh", 0o700);
            tree.bytes("/root/.ssh/authorized_keys", authorized, 0o600);
        }
    }
    // The host's programs of these names ask a service manager that does not run here; rear stops the machine.
    // Not `shutdown`, which would have to understand times and -r: to power off instead of that is worse than nothing.
    for name in ["reboot", "poweroff", "halt"] {
        tree.link(Path::new("/usr/sbin").join(name), "/usr/sbin/rear");
    }
    for payload in &recipe.payload {
        tree.bytes(&payload.path, payload.bytes.clone(), payload.mode & 0o7777);
    }
    if !tree.has("/usr/bin/rear") {
        tree.link("/usr/bin/rear", "/usr/sbin/rear");
    }
    // After the link: where both directories are one, the file replaces it.
    tree.file("/usr/sbin/rear", &recipe.rear_binary, 0o755);
    tree.link("/init", "/usr/sbin/rear");
    if !modules::none_wanted(recipe) {
        tree.dir("/usr/lib/modules", 0o755);
    }
    Ok(())
}

fn lines(words: &[String]) -> String {
    words.iter().filter(|word| !word.is_empty()).fold(String::new(), |all, word| all + word + "\n")
}

/// System accounts of passwd(5) or group(5) text, so that names in udev rules and file owners resolve. Passwords,
/// people and shells stay behind.
fn accounts(text: &str, fields: usize) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split(':').collect();
        let system =
            parts.get(2).and_then(|id| id.parse::<u32>().ok()).is_some_and(|id| id < 1000 || id == 65534);
        // Lines of NIS begin with "+" or "-".
        let plain = parts.len() == fields && !parts[0].is_empty() && !parts[0].starts_with(['+', '-', '#']);
        if !plain || !system || parts[0] == "root" {
            continue;
        }
        let line = if fields == 7 {
            format!("{}:*:{}:{}:{}:{}:/usr/sbin/nologin\n", parts[0], parts[2], parts[3], parts[4], parts[5])
        } else {
            format!("{}:*:{}:\n", parts[0], parts[2])
        };
        kept.push_str(&line);
    }
    kept
}

fn root_first(root: &str, others: &str) -> String {
    let mut text = format!("{root}\n{others}");
    // Privilege separation of sshd wants this account even on a host that never had sshd running.
    if root.ends_with("bash") && !others.lines().any(|line| line.starts_with("sshd:")) {
        text.push_str("sshd:*:74:65534::/run/sshd:/usr/sbin/nologin\n");
    }
    text
}

/// A login by password only where one is set. Host keys are made at boot, so none of the host's is needed.
fn sshd_config(password: bool) -> String {
    let (root, word) = if password { ("yes", "yes") } else { ("prohibit-password", "no") };
    format!(
        "# The rescue system's own; host keys are made at each boot.\n\
         PermitRootLogin {root}\n\
         PasswordAuthentication {word}\n\
         PermitEmptyPasswords no\n\
         KbdInteractiveAuthentication no\n\
         PubkeyAuthentication yes\n\
         UsePAM no\n\
         UseDNS no\n\
         HostKey /etc/ssh/ssh_host_ed25519_key\n\
         HostKey /etc/ssh/ssh_host_rsa_key\n\
         AuthorizedKeysFile .ssh/authorized_keys\n\
         Subsystem sftp internal-sftp\n"
    )
}

fn profile() -> &'static str {
    "# The rescue system's shell.\n\
     export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
     export HOME=/root LANG=C.UTF-8 PAGER=less\n\
     export TERM=\"${TERM:-linux}\"\n\
     PS1='RESCUE \\h:\\w \\$ '\n\
     alias ll='ls -l'\n"
}

/// The keymap as one file that `loadkeys` takes: the configured one, else that of the running console.
fn keymap(sys: &dyn Sys, recipe: &Recipe<'_>, collector: &mut Collector<'_>) -> Result<(), Error> {
    let host = collector.host;
    if recipe.keymap.is_empty() {
        // Without a console (containers, serial machines) dumpkeys fails; the kernel's own keymap serves then.
        if recipe.root == Path::new("/") && sys.which("dumpkeys").is_some() {
            match sys.run(&Cmd::new("dumpkeys")) {
                Ok(output) => collector.tree.bytes("/etc/rear/keymap", output.stdout, 0o644),
                Err(sys::Error::Cancelled) => return Err(sys::Error::Cancelled.into()),
                Err(error) => tracing::debug!("the console's keymap is not carried: {error}"),
            }
        }
        return Ok(());
    }
    let Some(path) = find_keymap(host, &recipe.keymap) else { return Err(no_keymap(&recipe.keymap)) };
    let real = host.resolve(&path).map(|resolved| host.real(&resolved.path)).unwrap_or_default();
    let text = if path.extension().is_some_and(|extension| extension == "gz") {
        sys.run(&Cmd::new("gzip").arg("-dc").arg(real.to_string_lossy()))?.stdout
    } else {
        std::fs::read(&real).map_err(Error::io("read", &real))?
    };
    collector.tree.bytes("/etc/rear/keymap", text, 0o644);
    // Keymaps include others by name; those lie in directories named "include".
    for base in KEYMAPS {
        for pattern in [format!("{base}/include/*"), format!("{base}/*/include/*")] {
            collector.take_all(&pattern)?;
        }
    }
    Ok(())
}

fn no_keymap(name: &str) -> Error {
    Error::NoKeymap { name: name.to_owned(), looked: KEYMAPS.join(", ") }
}

/// An error when the keymap is configured but not there.
pub(crate) fn check_keymap(host: Host<'_>, name: &str) -> Result<(), Error> {
    if name.is_empty() || find_keymap(host, name).is_some() { Ok(()) } else { Err(no_keymap(name)) }
}

fn find_keymap(host: Host<'_>, name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return host.is_file(name).then(|| PathBuf::from(name));
    }
    let mut dirs: Vec<PathBuf> = KEYMAPS.iter().map(PathBuf::from).filter(|dir| host.is_dir(dir)).collect();
    let mut depth = 0;
    while !dirs.is_empty() && depth < 5 {
        let mut next = Vec::new();
        for dir in &dirs {
            for suffix in ["", ".map", ".kmap", ".map.gz", ".kmap.gz"] {
                let path = dir.join(format!("{name}{suffix}"));
                if host.is_file(&path) {
                    return Some(path);
                }
            }
            next.extend(
                host.list(dir).into_iter().map(|name| dir.join(name)).filter(|path| host.is_dir(path)),
            );
        }
        dirs = next;
        depth += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_passwords_stay_behind() {
        let text = "root:$6$x$y:0:0::/root:/bin/zsh\nsshd:x:101:65534::/run/sshd:/bin/false\nada:x:1000:1000::/home/ada:/bin/bash\n+::::::\nbad\n";
        let kept = root_first("root:x:0:0:root:/root:/bin/bash", &accounts(text, 7));
        assert_eq!(kept, "root:x:0:0:root:/root:/bin/bash\nsshd:*:101:65534::/run/sshd:/usr/sbin/nologin\n");
        assert_eq!(accounts("root:x:0:\ndisk:secret:6:ada\nada:x:1000:\n", 4), "disk:*:6:\n");
    }

    #[test]
    fn passwords_by_ssh_only_where_one_is_set() {
        assert!(sshd_config(false).contains("PasswordAuthentication no"));
        assert!(sshd_config(false).contains("PermitRootLogin prohibit-password"));
        assert!(sshd_config(true).contains("PasswordAuthentication yes"));
    }

    #[test]
    fn keymaps_by_name_or_path() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/share/keymaps/i386/qwertz")).unwrap();
        std::fs::write(dir.path().join("usr/share/keymaps/i386/qwertz/de.kmap.gz"), "").unwrap();
        let host = Host::new(dir.path());
        assert!(check_keymap(host, "de").is_ok());
        assert!(check_keymap(host, "").is_ok());
        assert!(check_keymap(host, "/usr/share/keymaps/i386/qwertz/de.kmap.gz").is_ok());
        let error = check_keymap(host, "xx").unwrap_err().to_string();
        assert!(error.contains("'xx'") && error.contains("KEYMAP"), "{error}");
    }
}
