//! Files without a seal, from a real repository, on the storage of a medium that is not their own.

use std::os::unix::fs::symlink;

use repository::{Id, Local, Repository, Save};
use sys::Secret;

use super::*;

const ROOT: &str = "794ce903-e871-42df-acf6-6453a801493d";
const SWAP: &str = "dd58549b-fb8d-429e-9b89-fdfff7f3c5a1";

/// A machine with its medium and its repository.
struct Case {
    dir: tempfile::TempDir,
    context: Context,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config::defaults("box");
        config.settings.restic_password = Some(Secret::new("horse"));
        let case = Self { dir, context: Context::of_test(config) };
        Repository::create(Box::new(Local::new(case.at("repository"))), &Secret::new("horse")).unwrap();
        for name in ["etc", "boot/grub", "usr/sbin", "usr/lib/systemd", "home"] {
            std::fs::create_dir_all(case.tree(name)).unwrap();
        }
        symlink("usr/sbin", case.tree("sbin")).unwrap();
        symlink("/usr/lib", case.tree("lib")).unwrap();
        symlink("../lib/systemd/systemd", case.tree("usr/sbin/init")).unwrap();
        case.write("usr/lib/systemd/systemd", "a program");
        case.write("boot/vmlinuz-6", "a kernel");
        case.write("boot/initrd.img-6", "an initramfs");
        case.write(
            "boot/grub/grub.cfg",
            &format!(
                "search --no-floppy --fs-uuid --set=root {ROOT}\nmenuentry 'Debian' {{\nlinux /boot/vmlinuz-6 root=UUID={ROOT} \
                 ro\ninitrd /boot/initrd.img-6\n}}\n"
            ),
        );
        case.write(
            "etc/fstab",
            &format!("UUID={ROOT} / ext4 errors=remount-ro 0 1\nUUID={SWAP} none swap sw 0 0\n"),
        );
        case
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tree(&self, name: &str) -> PathBuf {
        self.at("tree").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.tree(name), text).unwrap();
    }

    /// Stores the tree, as a run does that is killed before its seal is stored.
    fn save(&self) -> Bare {
        let repository =
            Repository::open(Box::new(Local::new(self.at("repository"))), &Secret::new("horse")).unwrap();
        let manifest = std::fs::File::create(self.at("manifest")).unwrap();
        let save = Save { hostname: "box".into(), label: "rear-files".into(), ..Save::default() };
        let source = backup::Source::whole(self.tree(""));
        let saved = repository.save(&source, &manifest, &save, &self.context.archive_options(), &()).unwrap();
        let name: Id = saved.snapshot.unwrap();
        match self.keeper().find(&name.to_string()[..8]).unwrap() {
            Meant::Files(files) => files,
            Meant::Point(name) => panic!("{name}"),
        }
    }

    fn keeper(&self) -> Box<dyn Keeper> {
        files::keeper_at(&self.context, self.at("repository").to_str().unwrap()).unwrap()
    }

    /// What the medium has; `manifest` is the one of the last files.
    fn medium(&self) -> (PathBuf, Seal) {
        let dir = self.at("medium");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        let machines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/machines");
        let layout = std::fs::read(machines.join("bios-gpt-ext4/layout.json")).unwrap();
        let manifest = std::fs::read(self.at("manifest")).unwrap();
        let boot = br#"{"format": 1, "uefi": false, "disks": [], "efi": null}"#;
        let parts = [
            (point::LAYOUT, &layout[..]),
            (point::BOOT, boot),
            (point::MANIFEST, &manifest),
            ("luks-1f.age", b"a sealed header"),
        ];
        let parts = parts.iter().map(|(name, bytes)| part(&dir, name, bytes).unwrap()).collect();
        let seal = Seal { hostname: "box".into(), id: "ab".repeat(16), ..Seal::of_test(parts) };
        (dir, seal)
    }

    fn adopt(&self, files: &Bare) -> Result<Seal> {
        let (medium, seal) = self.medium();
        let dir = self.at("adopted");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        adopt(&self.context, &*self.keeper(), files, (&medium, &seal), &dir)?;
        Seal::read(&dir)
    }

    /// Why the tree as it is now is refused.
    fn refusal(&self) -> String {
        self.adopt(&self.save()).unwrap_err().message
    }
}

#[test]
fn files_without_a_seal_are_recovered_on_the_storage_that_they_name() {
    let case = Case::new();
    let files = case.save();
    assert_eq!((files.hostname.as_str(), files.is_ours), ("box", true));
    let seal = case.adopt(&files).unwrap();
    assert_eq!((seal.id.as_str(), seal.created), (&files.name[..32], files.created));
    let content = seal.content.as_ref().unwrap();
    assert_eq!((content.name.as_str(), content.method.as_str()), (files.name.as_str(), "RESTIC"));
    let dir = case.at("adopted");
    // Everything of the medium's that belongs to its storage, and the manifest of these files.
    assert_eq!(kept::layout(&seal, &dir).unwrap().machine.hostname, "box");
    assert_eq!(seal.read_part(&dir, "luks-1f.age").unwrap(), b"a sealed header");
    assert_eq!(seal.read_part(&dir, point::MOUNT_POINTS).unwrap(), b"[]");
    let manifest = point::measure(&dir.join(point::MANIFEST), point::MANIFEST, &case.context.cancel).unwrap();
    assert_eq!(seal.part(point::MANIFEST).unwrap(), &manifest);
    assert!(!dir.join("sketch").exists());
    // The same name at each try.
    assert_eq!(case.adopt(&files).unwrap().id, seal.id);
}

#[test]
fn what_another_storage_would_be_needed_for_is_refused_with_its_reason() {
    let case = Case::new();
    let fstab = std::fs::read_to_string(case.tree("etc/fstab")).unwrap();
    let other = "11111111-2222-3333-4444-555555555555";
    case.write("etc/fstab", &format!("{fstab}UUID={other} /srv ext4 defaults 0 2\n"));
    let text = case.refusal();
    assert!(text.contains(other) && text.contains("/srv") && text.contains("/etc/fstab"), "{text}");
    // What the machine does without is no reason.
    case.write(
        "etc/fstab",
        &format!("{fstab}UUID={other} /srv ext4 nofail 0 2\ntmpfs /tmp tmpfs defaults 0 0\n"),
    );
    case.adopt(&case.save()).unwrap();
    case.write("etc/fstab", &format!("{fstab}/dev/mapper/old-srv /srv ext4 defaults 0 2\n"));
    assert!(case.refusal().contains("/dev/mapper/old-srv"));
    case.write("etc/fstab", &fstab);
    case.write("etc/crypttab", &format!("secret UUID={other} none luks\n"));
    let text = case.refusal();
    assert!(text.contains("/etc/crypttab") && text.contains(other), "{text}");
    std::fs::remove_file(case.tree("etc/crypttab")).unwrap();

    let menu = std::fs::read_to_string(case.tree("boot/grub/grub.cfg")).unwrap();
    case.write("boot/grub/grub.cfg", &menu.replace(ROOT, other));
    assert!(case.refusal().contains("root filesystem"));
    case.write("boot/grub/grub.cfg", &menu);
    std::fs::remove_file(case.tree("boot/vmlinuz-6")).unwrap();
    assert!(case.refusal().contains("/boot/vmlinuz-6"));
    case.write("boot/vmlinuz-6", "a kernel");
    std::fs::remove_file(case.tree("usr/lib/systemd/systemd")).unwrap();
    assert!(case.refusal().contains("first process"));
    std::fs::remove_file(case.tree("etc/fstab")).unwrap();
    assert!(case.refusal().contains("/etc/fstab: is missing"));
}

#[test]
fn a_filesystem_without_its_files_and_files_without_room_are_refused() {
    let case = Case::new();
    let files = case.save();
    let (medium, _) = case.medium();
    let text = std::fs::read_to_string(medium.join(point::LAYOUT)).unwrap();
    let mut layout = Layout::from_json(&text).unwrap();
    let mut home = layout.mounts[0].clone();
    home.mount_point = "/home".into();
    layout.mounts.push(home);
    let dir = case.at("trial");
    std::fs::create_dir(&dir).unwrap();
    let keeper = case.keeper();
    let content = keeper.list(&case.context, &files, &dir).unwrap();
    let facts = serde_json::from_str(r#"{"format": 1, "uefi": false, "disks": [], "efi": null}"#).unwrap();
    let problems = |layout: &Layout, filled: Option<Vec<String>>| {
        Trial {
            context: &case.context,
            keeper: &*keeper,
            content: &content,
            layout,
            facts: &facts,
            dir: &dir,
        }
        .problems(&filled)
        .unwrap()
    };
    let text = problems(&layout, None).join("\n");
    assert!(text.contains("no files below /home"), "{text}");
    let both = vec!["/".to_owned(), "/home".to_owned()];
    assert!(problems(&layout, Some(both)).join("\n").contains("no files below /home"));
    // It was empty when the medium was made as well.
    assert_eq!(problems(&layout, Some(vec!["/".to_owned()])), [""; 0]);
    let root = layout.mounts[0].device.clone();
    layout.devices.iter_mut().find(|device| device.id == root).unwrap().size = Bytes(10);
    let text = problems(&layout, Some(vec!["/".to_owned()])).join("\n");
    assert!(text.contains("/dev/vda2, which has only"), "{text}");
}

#[test]
fn what_rear_did_not_make_and_what_is_of_another_machine_is_refused() {
    let case = Case::new();
    let files = case.save();
    let foreign = Bare { is_ours: false, ..files.clone() };
    let text = case.adopt(&foreign).unwrap_err().message;
    assert!(text.contains("was not made by rear"), "{text}");
    let text = case.adopt(&Bare { hostname: "web9".into(), ..files }).unwrap_err().message;
    assert!(text.contains("one of web9"), "{text}");
}

#[test]
fn a_sketch_has_what_says_how_it_starts_and_no_more() {
    let case = Case::new();
    case.write("home/letter", "private");
    symlink("grub/grub.cfg", case.tree("boot/menu")).unwrap();
    // Links in a circle lead nowhere.
    symlink("init", case.tree("etc/init")).unwrap();
    let files = case.save();
    let keeper = case.keeper();
    let dir = case.at("list");
    std::fs::create_dir(&dir).unwrap();
    let content = keeper.list(&case.context, &files, &dir).unwrap();
    let stored = backup::Stored::open(&dir.join(point::MANIFEST)).unwrap();
    let tree = backup::Tree::read(&stored, &case.context.archive_options()).unwrap();
    let root = case.at("sketch");
    sketch::draw(&tree, &*keeper.contents(&content).unwrap(), &root).unwrap();
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    assert!(read("etc/fstab").contains(ROOT) && read("boot/menu").contains("menuentry"));
    assert_eq!((read("boot/vmlinuz-6").as_str(), read("usr/lib/systemd/systemd").as_str()), ("", ""));
    assert_eq!(std::fs::read_link(root.join("usr/sbin/init")).unwrap(), Path::new("../lib/systemd/systemd"));
    assert_eq!(std::fs::read_link(root.join("lib")).unwrap(), Path::new("/usr/lib"));
    assert!(!root.join("home").exists());
}
