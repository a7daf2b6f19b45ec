//! Software RAID made again with `mdadm --create`. It never takes a default of the tool, and never lets it ask.
//!
//! Rules are those of mdadm 4.1 to 4.6 (`mdadm.c`, `Create.c`, `super0.c`, `super1.c`).

use layout::{MdArray, MdMember};

use crate::{Command, Target};

mod refuse;

pub(crate) use refuse::refuse;

/// The commands that make it as `device` of what `nodes` says its members are called.
pub(crate) fn commands(
    array: &MdArray,
    slots: &[Option<Target>],
    spares: &[Target],
    device: &str,
    nodes: &dyn Fn(&Target) -> String,
) -> Vec<Command> {
    let members: Vec<Option<String>> = slots.iter().map(|slot| slot.as_ref().map(nodes)).collect();
    let spares: Vec<String> = spares.iter().map(nodes).collect();
    let later = held_back(array, slots);
    let mut first = members.clone();
    if let Some((slot, _)) = later
        && let Some(place) = first.get_mut(slot)
    {
        *place = None;
    }
    let at_once: &[String] = if later.is_some() { &[] } else { &spares };
    let mut commands = vec![create(array, &first, at_once, device)];
    let md = format!("/sys/block/{}/md", sysfs_name(device));
    if let Some((slot, node)) = later.map(|(slot, target)| (slot, nodes(target))) {
        // A frozen array gives a new member no slot, so that it can be given its own.
        commands.push(write(&format!("{md}/sync_action"), "frozen"));
        commands.push(Command::new("mdadm", ["--manage", device, "--add", &node]));
        commands.push(write(&format!("{md}/dev-{}/slot", sysfs_name(&node)), &slot.to_string()));
        commands.push(write(&format!("{md}/sync_action"), "recover"));
        for spare in &spares {
            commands.push(Command::new("mdadm", ["--manage", device, "--add-spare", spare]));
        }
    }
    let all = array
        .slots
        .iter()
        .zip(&members)
        .filter_map(|(member, node)| Some((member.as_ref()?, node.as_ref()?)));
    for (member, node) in all.chain(array.spares.iter().zip(&spares)) {
        for flag in &member.flags {
            // The option --write-mostly holds for all devices that follow it, and none takes it back.
            let word = flag.replace('_', "");
            commands.push(write(&format!("{md}/dev-{}/state", sysfs_name(node)), &word));
        }
    }
    commands
}

/// Writes a file of sysfs. `tee` is a program, which a plan can show.
fn write(path: &str, text: &str) -> Command {
    Command::new("tee", [path]).stdin(format!("{text}\n"))
}

/// The kernel's name in sysfs of a device node.
fn sysfs_name(node: &str) -> String {
    node.trim_start_matches("/dev/").replace('/', "!")
}

/// The member of a raid6 that is added when the array runs already.
///
/// A raid6 with one missing member cannot be created as it is: its parity is not computed yet, and the kernel starts
/// no array that is both degraded and dirty. Without `--force`, mdadm therefore leaves another member out and adds
/// it as a spare, for which the kernel takes the lowest empty slot, whichever that was. With two missing members
/// every parity is right, and the one that is added is filled by the kernel.
fn held_back<'a>(array: &MdArray, slots: &'a [Option<Target>]) -> Option<(usize, &'a Target)> {
    if array.level != "raid6" || slots.iter().filter(|slot| slot.is_none()).count() != 1 {
        return None;
    }
    slots.iter().enumerate().find_map(|(i, slot)| Some((i, slot.as_ref()?)))
}

fn create(array: &MdArray, members: &[Option<String>], spares: &[String], device: &str) -> Command {
    let level = array.level.as_str();
    let striped = matches!(level, "raid0" | "raid4" | "raid5" | "raid6" | "raid10");
    let whole = matches!(level, "raid0" | "linear");
    let old = array.metadata == "0.90";
    let mut args: Vec<String> = vec!["--create".into(), device.to_owned()];
    // --run answers every question with yes: the disks were wiped. --force keeps each member in its slot (else the
    // last one of a raid5 becomes a spare that is filled), and allows arrays of one member.
    args.extend(["--run", "--force"].map(str::to_owned));
    // Nothing of the rescue system's mdadm.conf decides how the array is made.
    args.push("--config=none".into());
    let mut option = |name: &str, value: String| args.push(format!("--{name}={value}"));
    option("level", level.to_owned());
    option("raid-devices", members.len().to_string());
    if !spares.is_empty() {
        option("spare-devices", spares.len().to_string());
    }
    option("metadata", array.metadata.clone());
    option("uuid", array.uuid.clone());
    let (host, name) = host_and_name(&array.name);
    option("homehost", host.unwrap_or("<none>").to_owned());
    if !old && !name.is_empty() {
        option("name", name.to_owned());
    }
    if (striped || level == "linear") && array.chunk.0 > 0 {
        option("chunk", size(array.chunk.0));
    }
    if let Some(word) = layout_word(level, array.layout) {
        option("layout", word);
    }
    if !whole {
        option("size", size(array.component_size.0));
        match &array.bitmap {
            Some(bitmap) => {
                option("bitmap", "internal".into());
                option("bitmap-chunk", size(bitmap.chunk.0));
                if bitmap.write_behind > 0 {
                    option("write-behind", bitmap.write_behind.to_string());
                }
            }
            // Said even where there was none: mdadm up to 4.2 gives every large array one.
            None => option("bitmap", "none".into()),
        }
        if array.consistency == "ppl" {
            option("consistency-policy", "ppl".into());
        }
    }
    // --assume-clean is never given. A parity that was not computed would make other data of what is lost later. For
    // mirrors it would do less harm, but their halves would differ where nothing was written, which every later
    // check of the array counts as errors.
    let offsets: Vec<u64> = array.members().map(|member| member.data_offset.0).collect();
    let first = offsets.first().copied().unwrap_or_default();
    let same = offsets.iter().all(|offset| *offset == first);
    if !old && (!same || first > 0) {
        option("data-offset", if same { size(first) } else { "variable".into() });
    }
    let node = |node: &String, member: Option<&MdMember>| match member {
        Some(member) if !same => format!("{node}:{}", size(member.data_offset.0)),
        _ => node.clone(),
    };
    for (i, member) in members.iter().enumerate() {
        let saved = array.slots.get(i).and_then(Option::as_ref);
        args.push(member.as_ref().map_or_else(|| "missing".to_owned(), |name| node(name, saved)));
    }
    args.extend(spares.iter().enumerate().map(|(i, name)| node(name, array.spares.get(i))));
    Command::new("mdadm", args)
}

/// A size as mdadm takes it: whole KiB, else sectors.
fn size(bytes: u64) -> String {
    if bytes.is_multiple_of(1024) { format!("{}K", bytes / 1024) } else { format!("{}s", bytes / 512) }
}

/// The host's part of an array's name, and the rest. mdadm puts both together again with a colon, unless the second
/// holds one itself (then up to 4.2 the first is left out, and later versions refuse it): the last colon divides.
fn host_and_name(name: &str) -> (Option<&str>, &str) {
    match name.rsplit_once(':') {
        Some((host, name)) if !host.is_empty() && !name.is_empty() => (Some(host), name),
        _ => (None, name),
    }
}

/// The word for `--layout`; `None` where the level takes none, or where the number has no word.
fn layout_word(level: &str, layout: u32) -> Option<String> {
    let word = match (level, layout) {
        ("raid0", 1) => "original",
        ("raid0", 2) => "alternate",
        ("raid5" | "raid6", 0) => "left-asymmetric",
        ("raid5" | "raid6", 1) => "right-asymmetric",
        ("raid5" | "raid6", 2) => "left-symmetric",
        ("raid5" | "raid6", 3) => "right-symmetric",
        ("raid5" | "raid6", 4) => "parity-first",
        ("raid5" | "raid6", 5) => "parity-last",
        ("raid6", 8) => "ddf-zero-restart",
        ("raid6", 9) => "ddf-N-restart",
        ("raid6", 10) => "ddf-N-continue",
        ("raid6", 16) => "left-asymmetric-6",
        ("raid6", 17) => "right-asymmetric-6",
        ("raid6", 18) => "left-symmetric-6",
        ("raid6", 19) => "right-symmetric-6",
        ("raid6", 20) => "parity-first-6",
        ("raid10", _) => {
            let (near, far) = (layout & 0xFF, layout >> 8 & 0xFF);
            return match (layout >> 16, near, far) {
                (0, 1.., 1) => Some(format!("n{near}")),
                (0, 1, 2..) => Some(format!("f{far}")),
                (1, 1, 1..) => Some(format!("o{far}")),
                _ => None,
            };
        }
        _ => return None,
    };
    Some(word.to_owned())
}

/// The step in words.
pub(crate) fn describe(array: &MdArray, slots: &[Option<Target>], spares: &[Target], shown: &str) -> String {
    let mut names: Vec<&str> = slots
        .iter()
        .map(|slot| slot.as_ref().map_or("a missing member", |target| target.shown.as_str()))
        .collect();
    let standing_by: Vec<String> =
        spares.iter().map(|spare| format!("{} standing by", spare.shown)).collect();
    names.extend(standing_by.iter().map(String::as_str));
    format!("make the {} array {} as {shown} of {}", array.level, array.uuid, names.join(", "))
}

#[cfg(test)]
mod tests;
