//! Scenarios that must be read, and mistakes in them that must be named.

use super::*;

const A: &str = r#"
    title = "first"
    [machine]
    host = "one"
    firmware = "bios"
    [[machine.disk]]
    size = "4G"
    table = "label: gpt"
    part = [{ number = 1, format = ["mkfs.ext4", "-q"], mount = "/" }]
"#;

fn parse(files: &[(&str, &str)]) -> Result<Catalogue> {
    Catalogue::parse(&files.iter().map(|(name, text)| (name.into(), (*text).to_owned())).collect::<Vec<_>>())
}

#[test]
fn a_variant_uses_the_other_ones_medium() {
    let b = "title = 'b'\nlike = 'a'\n[recover]\nexpect = 'refused'\nsizes = ['1G']";
    let c = "title = 'c'\nlike = 'a'\nsector-size = 4096";
    let d = "title = 'd'\nlike = 'a'\nfirmware = 'uefi'\npackages = ['shim-signed']";
    let all = parse(&[("a.toml", A), ("b.toml", b), ("c.toml", c), ("d.toml", d)]).unwrap();
    assert_eq!(all.find("b").unwrap().source, "a");
    assert_eq!(all.find("c").unwrap().source, "c");
    assert_eq!(all.find("c").unwrap().machine.disk[0].sector_size, 4096);
    assert_eq!(all.find("a").unwrap().machine.disk[0].sector_size, 512);
    let d = all.find("d").unwrap();
    assert_eq!((d.source.as_str(), d.machine.firmware), ("d", Firmware::Uefi));
    assert_eq!(d.machine.packages, ["shim-signed"]);
}

#[test]
fn mistakes_are_named() {
    let error = |text: &str| parse(&[("a.toml", A), ("x.toml", text)]).unwrap_err().to_string();
    assert!(error("title = 'x'\nlike = 'none'").contains("'none'"));
    assert!(error("title = 'x'").contains("[machine]"));
    assert!(error("title = 'x'\nlike = 'a'\n[recover]\nmedum = 'cd'").contains("medum"));
    assert!(error("title = 'x'\nlike = 'a'\n[recover]\nconsole = ['(']").contains("'('"));
}

#[test]
fn an_exchange_is_typed_or_run_over_the_network() {
    let text = |say: &str, more: &str| {
        let text =
            format!("title = 'x'\nlike = 'a'\n[recover]\n{more}\n[[recover.dialog]]\nwait = '# '\n{say}");
        parse(&[("a.toml", A), ("x.toml", &text)])
    };
    let secret = "password = 'rear'";
    let both = text("ssh = 'id -u'\nanswer = '^0$'", secret).unwrap();
    let say = &both.find("x").unwrap().recover.dialog[0];
    assert_eq!((say.send.as_deref(), say.ssh.as_deref()), (None, Some("id -u")));
    assert_eq!(say.answer.as_deref(), Some("^0$"));
    let error = |say: &str, more: &str| text(say, more).unwrap_err().to_string();
    assert!(error("", secret).contains("either send or ssh"));
    assert!(error("send = 'a'\nssh = 'b'", secret).contains("either send or ssh"));
    assert!(error("send = 'a'\nanswer = 'b'", secret).contains("only ssh has an answer"));
    assert!(error("ssh = 'a'", "").contains("recover.password"));
    assert!(error("ssh = 'a'\nanswer = '('", secret).contains("'('"));
}

#[test]
fn what_is_not_said_is_as_usual() {
    let odd = A.replace("'bios'", "'secure-boot'").replace("\"bios\"", "\"secure-boot\"");
    let odd = format!(
        "patience = 3\n{}",
        odd.replace("[machine]", "[machine]\npackages = ['p']\nnoise = [5000, 1]")
    );
    let all = parse(&[("a.toml", A), ("b.toml", &odd)]).unwrap();
    let (a, b) = (all.find("a").unwrap(), all.find("b").unwrap());
    assert_eq!((a.patience, a.machine.firmware.is_uefi()), (1, false));
    assert!(a.machine.packages.is_empty() && a.machine.noise.is_empty());
    assert_eq!((b.patience, b.machine.firmware), (3, Firmware::SecureBoot));
    assert!(b.machine.firmware.is_uefi());
    assert_eq!(b.machine.noise, [5000, 1]);
}

#[test]
fn what_a_stacked_machine_lacks_is_named() {
    let text = |machine: &str, volume: &str, boot: &str| {
        let text = format!(
            "title = 'x'\n[machine]\nhost = 'x'\nfirmware = 'bios'\n{machine}\n\
             disk = [{{ size = '1G', table = '' }}]\n[[machine.volume]]\ndevice = '/dev/md0'\nmount = '/'\n{volume}\n\
             [boot]\n{boot}"
        );
        parse(&[("x.toml", &text)])
    };
    let (build, format) = ("build = 'make it'", "format = ['mkfs.xfs']");
    let good = text(build, format, "without = [0]").unwrap();
    let machine = &good.find("x").unwrap().machine;
    assert!(machine.is_stacked() && machine.grub == [0]);
    assert_eq!(machine.places().next().unwrap().fstype, "xfs");
    let error =
        |machine: &str, volume: &str, boot: &str| text(machine, volume, boot).unwrap_err().to_string();
    assert!(error("", format, "").contains("need a build"));
    assert!(error(build, "", "").contains("/dev/md0 needs a format or a type"));
    assert!(error(build, format, "without = [1]").contains("without disk 1"));
    assert!(error("build = 'x'\ngrub = [0, 3]", format, "").contains("disk 3"));
    assert!(error("build = 'x'\nfiles = { 'etc/x' = '' }", format, "").contains("'etc/x'"));
    assert!(error("build = 'x'\ndialog = [{ wait = 'a', ssh = 'b' }]", format, "").contains("can only send"));
    assert!(error("build = 'x'\ndialog = [{ wait = '(', send = 'b' }]", format, "").contains("'('"));
}

#[test]
fn the_scenarios_of_the_repository_are_valid() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let all = Catalogue::read(&dir).unwrap();
    assert!(all.0.iter().filter(|scenario| scenario.ci).count() >= 3);
}
