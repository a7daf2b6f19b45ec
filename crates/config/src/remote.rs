//! `BACKUP_URL` of another machine: the forms of the Bash program (`rsync://[USER@]HOST[:PORT]/PATH` goes through ssh,
//! `rsync://[USER@]HOST[:PORT]::/MODULE/PATH` to an rsync daemon), and `ssh://`. It never looks whether the host exists.

use super::{Location, Refused, refused};

/// Where an rsync daemon listens, and nothing else does.
const DAEMON_PORT: u16 = 873;

pub(super) fn parse(key: &str, url: &str, scheme: &str, rest: &str) -> Result<Location, Refused> {
    let forms = format!(
        "Write {key}=ssh://USER@HOST/PATH for a directory that ssh leads to, or {key}=rsync://USER@HOST::/MODULE/PATH \
         for an rsync daemon."
    );
    let wrong = |why: &str| refused(format!("{key} '{url}' cannot be used: {why}"), forms.clone());
    let Some(rest) = rest.strip_prefix("//") else { return wrong("a host follows behind two slashes") };
    let Some((host, path)) = rest.split_once('/') else { return wrong("it names no directory") };
    let (host, colons) = match host.strip_suffix("::") {
        Some(host) => (host, true),
        None => (host, false),
    };
    if host.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return refused(
            format!("{key} holds a password, which would be seen by every user of this machine"),
            "Write the URL without it, and the password of an rsync daemon as BACKUP_RSYNC_PASSWORD.",
        );
    }
    let (target, port) = match host.rsplit_once(':') {
        // A colon in brackets belongs to an IPv6 address.
        Some((target, port)) if !port.contains(']') => match port.parse::<u16>() {
            Ok(port) if port > 0 => (target, Some(port)),
            _ => return wrong("its port is no number from 1 to 65535"),
        },
        _ => (host, None),
    };
    let (user, name) = target.split_once('@').map_or((None, target), |(user, name)| (Some(user), name));
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.chars().all(good) && !name.starts_with('-'),
    };
    if !is_host
        || user.is_some_and(|user| user.is_empty() || !user.chars().all(good) || user.starts_with('-'))
    {
        return wrong("its host or user is no name");
    }
    let daemon = scheme == "rsync" && (colons || port == Some(DAEMON_PORT));
    if colons && !daemon {
        return wrong("'::' belongs to rsync://");
    }
    let path = path.trim_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./+@,=".contains(c);
    if path.is_empty()
        || path.split('/').any(|part| matches!(part, "" | "." | ".."))
        || !path.chars().all(plain)
    {
        return wrong(
            "the directory needs a name of letters, digits and '_-./+@,=' (other characters would be read by a shell)",
        );
    }
    let path = if daemon { path.to_owned() } else { format!("/{path}") };
    Ok(Location::Remote { daemon, target: target.to_owned(), port, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_bash_program() {
        for (url, shown) in [
            ("rsync://root@nas/srv/rear", "ssh://root@nas/srv/rear"),
            ("rsync://nas:2222/srv/rear/", "ssh://nas:2222/srv/rear"),
            ("ssh://me@nas.example/srv", "ssh://me@nas.example/srv"),
            ("ssh://[fe80::1]:22/srv", "ssh://[fe80::1]:22/srv"),
            ("rsync://me@nas::/module/x", "rsync://me@nas/module/x"),
            ("rsync://nas:873::/module", "rsync://nas:873/module"),
            ("rsync://nas:873/module", "rsync://nas:873/module"),
            ("rsync://nas:8730::/module", "rsync://nas:8730/module"),
        ] {
            assert_eq!(Location::backup(url).unwrap().to_string(), shown, "{url}");
        }
    }

    #[test]
    fn what_could_not_be_meant_is_refused() {
        for url in [
            "rsync:/nas/x",
            "rsync://nas",
            "rsync://nas/",
            "rsync:///srv/x",
            "ssh://nas::/srv",
            "ssh://nas:0/srv",
            "ssh://nas:x/srv",
            "ssh://-oProxyCommand=x/srv",
            "ssh://-l@nas/srv",
            "ssh://nas/srv/../etc",
            "ssh://nas/srv/my disk",
            "ssh://nas/$(x)",
            "ssh://[nas]/srv",
        ] {
            assert!(Location::backup(url).unwrap_err().hint.contains("ssh://USER@HOST/PATH"), "{url}");
        }
        assert!(
            Location::backup("rsync://me:secret@nas::/module")
                .unwrap_err()
                .hint
                .contains("BACKUP_RSYNC_PASSWORD")
        );
        assert!(Location::output("rsync://nas/srv").is_err());
    }
}
