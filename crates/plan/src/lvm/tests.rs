//! Groups that LVM 2.03.16 made, with every kind of volume.

use layout::*;

use super::*;

fn group(text: &str) -> VolumeGroup {
    let text = LvmGroupText::parse(text).unwrap();
    let physical_volumes = text.physical_volumes.iter().map(|(key, uuid)| PhysicalVolume {
        key: key.clone(),
        uuid: uuid.clone(),
        device: Some(NodeId(key.clone())),
        metadata_areas: 1,
        metadata_size: Bytes(1_044_480),
        metadata_ignored: false,
    });
    VolumeGroup {
        physical_volumes: physical_volumes.collect(),
        name: text.name,
        uuid: text.uuid,
        metadata: text.metadata,
    }
}

fn everything() -> VolumeGroup {
    group(include_str!("../../tests/lvm/everything.vg"))
}

fn empty() -> Layout {
    let firmware = Firmware::Bios;
    Layout::new(Machine {
        hostname: String::new(),
        firmware,
        architecture: String::new(),
        system: String::new(),
    })
}

fn names(text: &str) -> Vec<String> {
    let group = group(text);
    group.volumes().map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn hidden_metadata_is_laid_open_and_nothing_else() {
    let stages = stages(&empty(), &everything());
    let open = stages.open.unwrap();
    let laid = group(&open);
    // 1 log, 24 of RAID (8 arrays: 2, 2, 3, 3, 5, 4 and twice 2 below a pool), 1 spare, 1 of a cache, and the pools'.
    assert_eq!(stages.clear.len(), 1 + 2 + 2 + 3 + 3 + 5 + 4 + 2 + 2 + 1 + 1);
    assert_eq!(stages.pools.len(), 3, "one plain, one mirrored with two images");
    assert_eq!(laid.volumes().count(), stages.clear.len() + stages.pools.len());
    for (_, volume) in laid.volumes() {
        assert!(VolumeGroup::has(volume, "status", "VISIBLE"));
        assert!(VolumeGroup::segments(volume).iter().all(|segment| laid.references(segment).is_empty()));
    }
    let log = everything().volume("mir_mlog").unwrap()["id"].text().unwrap().to_owned();
    let (name, _) = laid.volume_by_uuid(&log).unwrap();
    assert_eq!(stages.clear.iter().find(|(one, _)| one == name).unwrap().1, 1 << 20);
}

#[test]
fn snapshots_stay_away_unless_they_were_mounted() {
    let everything = everything();
    let all: Vec<_> = everything.volumes().map(|(name, _)| name.to_owned()).collect();
    let left = names(&stages(&empty(), &everything).complete);
    let gone: Vec<_> = all.iter().filter(|name| !left.contains(name)).map(String::as_str).collect();
    assert_eq!(gone, ["snapshot0", "snp", "th1s"]);
    let mut layout = empty();
    let volume = LogicalVolume {
        group: "v-g".into(),
        name: "th1s".into(),
        uuid: VolumeGroup::text(everything.volume("th1s").unwrap(), "id").replace('-', ""),
        physical_volumes: Vec::new(),
    };
    layout.devices.push(Device {
        id: NodeId("lv:x/y".into()),
        path: "/dev/dm-9".into(),
        size: Bytes(1 << 20),
        sector: SectorSize::B512,
        kind: Kind::LogicalVolume(volume),
        content: Content::Empty,
    });
    let stages = stages(&layout, &everything);
    assert!(names(&stages.complete).contains(&"th1s".to_owned()));
    assert!(stages.pools.iter().any(|(pool, _, xml)| pool == "tp" && xml.contains("dev_id=\"3\"")));
}

#[test]
fn a_pool_knows_its_volumes_and_its_transaction() {
    let stages = stages(&empty(), &everything());
    let (_, _, xml) = stages.pools.iter().find(|(pool, _, _)| pool == "tp").unwrap();
    assert_eq!(
        xml,
        "<superblock uuid=\"\" time=\"0\" transaction=\"3\" version=\"2\" data_block_size=\"256\" nr_data_blocks=\"800\">\n  \
         <device dev_id=\"1\" mapped_blocks=\"0\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">\n  </device>\n  \
         <device dev_id=\"2\" mapped_blocks=\"0\" transaction=\"1\" creation_time=\"0\" snap_time=\"0\">\n  </device>\n\
         </superblock>\n"
    );
}

#[test]
fn the_complete_text_is_the_group_as_it_was() {
    let everything = everything();
    let text = stages(&empty(), &everything).complete;
    let again = group(&text);
    assert_eq!(again.metadata, everything.without_snapshots(|_| false).metadata);
    assert_eq!(again.physical_volumes, everything.physical_volumes);
    assert!(!text.contains("/dev/sd"), "no hint at old devices");
}

#[test]
fn caches_are_cleared_where_their_metadata_begins() {
    let group_with_caches = group(include_str!("../../tests/lvm/caches.vg"));
    let stages = stages(&empty(), &group_with_caches);
    let laid = group(&stages.open.unwrap());
    let cache = VolumeGroup::text(group_with_caches.volume("cvf_cvol").unwrap(), "id").to_owned();
    let (name, volume) = laid.volume_by_uuid(&cache).unwrap();
    assert!(!VolumeGroup::has(volume, "flags", "CACHE_VOL"));
    assert!(stages.clear.contains(&(name.to_owned(), 16 << 20)));
}

#[test]
fn a_plain_group_needs_no_preparation() {
    let mut plain = everything();
    if let Some(LvmValue::Section(volumes)) = plain.metadata.get_mut("logical_volumes") {
        volumes.retain(|name, _| ["lin", "str", "ro"].contains(&name.as_str()));
    }
    let stages = stages(&empty(), &plain);
    assert_eq!((stages.open, stages.clear.len(), stages.pools.len()), (None, 0, 0));
    assert_eq!(refuse(&empty(), &plain), None);
}

#[test]
fn what_cannot_come_back_is_refused_by_name() {
    let refused = |change: &dyn Fn(&mut VolumeGroup)| {
        let mut group = everything();
        change(&mut group);
        refuse(&empty(), &group).unwrap_or_default()
    };
    let text = |text: &str| LvmValue::Text(text.into());
    fn segment<'a>(group: &'a mut VolumeGroup, name: &str) -> &'a mut LvmSection {
        let LvmValue::Section(volumes) = group.metadata.get_mut("logical_volumes").unwrap() else { panic!() };
        let LvmValue::Section(volume) = volumes.get_mut(name).unwrap() else { panic!() };
        let LvmValue::Section(segment) = volume.get_mut("segment1").unwrap() else { panic!() };
        segment
    }
    assert_eq!(refused(&|_| {}), "");
    assert!(refused(&|group| group.physical_volumes[2].device = None).contains("Zpu5T7-915y"));
    let vdo = refused(&|group| drop(segment(group, "lin").insert("type".into(), text("vdo+X"))));
    assert!(vdo.contains("v-g/lin") && vdo.contains("'vdo'"), "{vdo}");
    let shared = refused(&|group| drop(group.metadata.insert("lock_type".into(), text("sanlock"))));
    assert!(shared.contains("sanlock"), "{shared}");
    let foreign = refused(&|group| drop(group.metadata.insert("system_id".into(), text("db7"))));
    assert!(foreign.contains("db7"), "{foreign}");
    let exported = LvmValue::List(vec![text("EXPORTED")]);
    let exported = refused(&|group| drop(group.metadata.insert("status".into(), exported.clone())));
    assert!(exported.contains("vgimport"), "{exported}");
    let spread = refused(&|group| drop(segment(group, "tpr_tmeta").insert("type".into(), text("raid5"))));
    assert!(spread.contains("v-g/tpr_tmeta"), "{spread}");
}

#[test]
fn commands_name_every_identifier() {
    let group = everything();
    let commands = physical_volume(&group.physical_volumes[0], "v-g", "text", "/dev/sdb1");
    let line = commands[0].args.join(" ");
    assert!(
        line.contains("--uuid VTbTrN-P9Xp-3ve2-DfHq-vBJX-0AH6-MOg0zp --restorefile /run/rear/lvm/v-g.vg")
    );
    assert!(line.ends_with("--metadatacopies 1 --metadatasize 1044480b /dev/sdb1"), "{line}");
    let none = PhysicalVolume { metadata_areas: 0, ..group.physical_volumes[0].clone() };
    let line = physical_volume(&none, "v-g", "text", "/dev/sdb1")[0].args.join(" ");
    assert!(line.ends_with("--metadatacopies 0 /dev/sdb1"), "{line}");
    let line = activate("v-g", &["rear0".into(), "rear1".into()])[0].args.join(" ");
    assert!(line.ends_with("--activate y v-g/rear0 v-g/rear1"), "{line}");
}
