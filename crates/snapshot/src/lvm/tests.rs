//! Sizes, room and marks; what `vgs` and `lvs` of LVM 2.03.16 print. No program runs here.

use super::*;
use crate::plan::Place;
use layout::NodeId;

const VGS: &str = r#"
  {
      "report": [
          {
              "vg": [
                  {"vg_name":"tango", "vg_extent_size":"4194304", "vg_free_count":"74"}
              ]
          }
      ]
  }
"#;

/// A group with a volume that has one of our snapshots, another's snapshot, a pool and a thin volume.
const LVS: &str = r#"
  {
      "report": [
          {
              "lv": [
                  {"vg_name":"tango", "lv_name":"root", "lv_attr":"owi-aos---", "lv_tags":"", "lv_size":"3565158400", "origin":"", "data_percent":"", "metadata_percent":""},
                  {"vg_name":"tango", "lv_name":"rear_backup_0a1b2c3d4e5f_0", "lv_attr":"swi-aos---", "lv_tags":"rear-backup,rear-host-0011223344556677", "lv_size":"209715200", "origin":"root", "data_percent":"12.25", "metadata_percent":""},
                  {"vg_name":"tango", "lv_name":"rear_backup_mine", "lv_attr":"swi-I-s---", "lv_tags":"rear-backup", "lv_size":"209715200", "origin":"root", "data_percent":"100.00", "metadata_percent":""},
                  {"vg_name":"tango", "lv_name":"pool", "lv_attr":"twi-aotz--", "lv_tags":"", "lv_size":"4000000000", "origin":"", "data_percent":"50.00", "metadata_percent":"20.11"},
                  {"vg_name":"tango", "lv_name":"thin", "lv_attr":"Vwi-aotz--", "lv_tags":"", "lv_size":"6000000000", "origin":"", "data_percent":"30.00", "metadata_percent":""}
              ]
          }
      ]
  }
"#;

fn lines() -> Vec<Volume> {
    let answer: Answer<Volumes> = serde_json::from_str(LVS).unwrap();
    answer.report.into_iter().flat_map(|report| report.lv).collect()
}

fn seat(volume: &str, size: u64, pool: Option<&str>) -> Seat {
    let order = Order {
        group: "tango".into(),
        volume: volume.into(),
        size: Bytes(size),
        written: Bytes(0),
        pool: pool.map(str::to_owned),
        extents: 0,
    };
    let place = Place {
        at: format!("/{volume}"),
        device: NodeId(volume.into()),
        fs_type: "ext4".into(),
        root: "/".into(),
        written: Bytes(0),
    };
    Seat { place, way: Way::Volume(order) }
}

fn why(seat: &Seat) -> &str {
    match &seat.way {
        Way::Live { why, .. } => why,
        _ => "",
    }
}

#[test]
fn only_what_has_all_marks_is_ours() {
    let host = "rear-host-0011223344556677";
    let ours: Vec<String> =
        lines().into_iter().filter(|one| one.is_ours(host)).map(|one| one.lv_name).collect();
    assert_eq!(ours, ["rear_backup_0a1b2c3d4e5f_0"]);
    assert!(!lines().iter().any(|one| one.is_ours("rear-host-ffffffffffffffff")), "another machine's");
    let mut no_snapshot = lines().remove(1);
    no_snapshot.origin = String::new();
    assert!(!no_snapshot.is_ours(host), "a volume with content of its own is never ours");
}

#[test]
fn what_runs_full_is_told() {
    let lines = lines();
    assert_eq!(lines[1].trouble(), None);
    assert!(lines[2].trouble().unwrap().contains("ran full"));
    assert_eq!(lines[3].trouble(), None);
    let mut pool = lines[3].clone();
    pool.metadata_percent = "96.50".into();
    assert!(pool.trouble().unwrap().contains("full"));
    pool.metadata_percent = "1.00".into();
    pool.lv_attr = "twi-aotzD-".into();
    assert!(pool.trouble().unwrap().contains("thin pool tango/pool ran full"));
}

#[test]
fn a_snapshot_gets_a_fifth_of_its_volume() {
    let wish = |size: u64, written: u64| {
        let Way::Volume(order) = seat("root", size, None).way else { panic!("no volume") };
        super::wish(&Order { written: Bytes(written), ..order }, 4 << 20)
    };
    assert_eq!(wish(100 << 30, 0), (20 * 256, 5 * 256));
    assert_eq!(wish(1 << 30, 0), (64, 16));
    // What the run itself writes there comes on top.
    assert_eq!(wish(100 << 30, 10 << 30), (30 * 256, 15 * 256));
    // Never more than all of it can change.
    assert_eq!(wish(100 << 20, 0), (27, 16));
    assert_eq!(wish(8 << 20, 0), (4, 4));
    assert_eq!(wish(100 << 20, 1 << 40), (27, 27));
}

#[test]
fn free_extents_are_divided() {
    assert_eq!(share(100, &[(40, 10), (20, 5)]), [Some(40), Some(20)]);
    assert_eq!(share(30, &[(40, 10), (20, 5)]), [Some(20), Some(10)]);
    // Together they do not fit: the larger one goes without, and the other gets all that it wants.
    assert_eq!(share(14, &[(40, 10), (20, 5)]), [None, Some(14)]);
    assert_eq!(share(4, &[(40, 10), (20, 5)]), [None, None]);
    assert_eq!(share(7, &[]), []);
}

#[test]
fn a_group_without_room_is_read_live_and_says_so() {
    let groups: Vec<Group> = serde_json::from_str::<Answer<Groups>>(VGS)
        .unwrap()
        .report
        .into_iter()
        .flat_map(|one| one.vg)
        .collect();
    let mut seats = [seat("root", 3400 << 20, None), seat("srv", 100 << 30, None)];
    classic(&mut seats, "tango", &groups);
    match &seats[0].way {
        Way::Volume(order) => assert!((43..=74).contains(&order.extents), "{order:?}"),
        other => panic!("{other:?}"),
    }
    assert!(
        why(&seats[1]).contains("tango has 296.0 MiB free, and a snapshot needs 5.0 GiB"),
        "{}",
        why(&seats[1])
    );
    let mut seats = [seat("root", 3400 << 20, None)];
    let Way::Volume(order) = &mut seats[0].way else { panic!("no volume") };
    order.written = Bytes(900 << 20);
    classic(&mut seats, "tango", &groups);
    assert!(why(&seats[0]).ends_with("for the backup is written there too"), "{}", why(&seats[0]));
    let mut seats = [seat("root", 1 << 30, None)];
    classic(&mut seats, "tango", &[]);
    assert!(why(&seats[0]).contains("LVM does not know the group tango"));
}

#[test]
fn a_pool_must_have_room_for_what_changes() {
    let mut seats = [seat("thin", 6_000_000_000, Some("pool"))];
    thin(&mut seats, "tango", &lines());
    assert!(matches!(seats[0].way, Way::Volume(_)), "{:?}", seats[0]);
    let full = |percent: &str, metadata: &str| {
        let mut lines = lines();
        lines[3].data_percent = percent.into();
        lines[3].metadata_percent = metadata.into();
        let mut seats = [seat("thin", 6_000_000_000, Some("pool"))];
        thin(&mut seats, "tango", &lines);
        why(&seats[0]).to_owned()
    };
    assert!(full("90.00", "20.00").contains("90 % full"));
    assert!(full("20.00", "90.00").contains("90 % full"));
    // 1.8 GB are held, and 400 MB of 4 GB are left where the pool is a tenth of that size.
    let mut lines = lines();
    lines[3].lv_size = "800000000".into();
    let mut seats = [seat("thin", 6_000_000_000, Some("pool"))];
    thin(&mut seats, "tango", &lines);
    assert!(why(&seats[0]).contains("less than a quarter"), "{}", why(&seats[0]));
    // There is room for others, but not for the backup too.
    lines[3].lv_size = "4000000000".into();
    let mut seats = [seat("thin", 6_000_000_000, Some("pool"))];
    let Way::Volume(order) = &mut seats[0].way else { panic!("no volume") };
    order.written = Bytes(6_000_000_000);
    thin(&mut seats, "tango", &lines);
    assert!(why(&seats[0]).contains("beside the backup"), "{}", why(&seats[0]));
}

/// A door behind which `lvs` prints [`LVS`], and every other program does nothing but be noted.
#[derive(Default)]
struct Noted(std::sync::Mutex<Vec<String>>);

impl Sys for Noted {
    fn run(&self, cmd: &Cmd) -> Result<sys::Output> {
        if cmd.program() == "lvs" {
            return Ok(sys::Output { stdout: LVS.into(), ..sys::Output::default() });
        }
        self.0.lock().unwrap().push(cmd.line());
        Ok(sys::Output::default())
    }
    fn read(&self, path: &std::path::Path) -> Result<Vec<u8>> {
        sys::Forbid.read(path)
    }
    fn read_at(&self, path: &std::path::Path, offset: u64, len: usize) -> Result<Vec<u8>> {
        sys::Forbid.read_at(path, offset, len)
    }
    fn list(&self, path: &std::path::Path) -> Result<Vec<String>> {
        sys::Forbid.list(path)
    }
    fn read_link(&self, path: &std::path::Path) -> Result<std::path::PathBuf> {
        sys::Forbid.read_link(path)
    }
    fn canonicalize(&self, path: &std::path::Path) -> Result<std::path::PathBuf> {
        sys::Forbid.canonicalize(path)
    }
    fn exists(&self, _: &std::path::Path) -> bool {
        false
    }
    fn which(&self, _: &str) -> Option<std::path::PathBuf> {
        None
    }
    fn usage(&self, path: &std::path::Path) -> Result<sys::FsUsage> {
        sys::Forbid.usage(path)
    }
    fn file(&self, path: &std::path::Path) -> Result<sys::FileFacts> {
        sys::Forbid.file(path)
    }
}

#[test]
fn nothing_is_removed_without_all_marks() {
    let host = "rear-host-0011223344556677";
    let door = Noted::default();
    for (name, host) in [
        ("root", host),
        ("thin", host),
        ("rear_backup_mine", host),
        ("rear_backup_gone", host),
        ("rear_backup_0a1b2c3d4e5f_0", "rear-host-ffffffffffffffff"),
    ] {
        let error = remove(&door, "tango", name, host).unwrap_err().to_string();
        assert!(error.contains("left alone"), "{error}");
    }
    assert!(remove(&door, "other", "rear_backup_0a1b2c3d4e5f_0", host).is_err());
    assert_eq!(*door.0.lock().unwrap(), [""; 0]);
    remove(&door, "tango", "rear_backup_0a1b2c3d4e5f_0", host).unwrap();
    assert_eq!(
        *door.0.lock().unwrap(),
        ["lvremove --yes --config 'backup{archive=0}' tango/rear_backup_0a1b2c3d4e5f_0"]
    );
}

#[test]
fn snapshots_carry_their_marks_from_the_first_moment() {
    let door = Noted::default();
    let order = |pool: Option<&str>| Order {
        group: "tango".into(),
        volume: "root".into(),
        size: Bytes(1 << 30),
        written: Bytes(0),
        pool: pool.map(str::to_owned),
        extents: 64,
    };
    let classic = make(&door, &order(None), "/", "rear_backup_x_0".into(), "rear-host-1").unwrap();
    activate(&door, &classic).unwrap();
    let thin = make(&door, &order(Some("pool")), "/", "rear_backup_x_1".into(), "rear-host-1").unwrap();
    activate(&door, &thin).unwrap();
    let start = "lvcreate --yes --snapshot --name";
    let marks = "--ignoremonitoring --autobackup n --addtag rear-backup --addtag rear-host-1";
    assert_eq!(
        *door.0.lock().unwrap(),
        [
            format!("{start} rear_backup_x_0 {marks} --extents 64 tango/root"),
            format!("{start} rear_backup_x_1 {marks} --setactivationskip y tango/root"),
            "lvchange --ignoremonitoring --ignoreactivationskip --activate y tango/rear_backup_x_1"
                .to_owned(),
        ]
    );
    assert_eq!(thin.device(), "/dev/tango/rear_backup_x_1");
}
