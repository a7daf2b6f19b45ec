use super::*;

/// Headers that cryptsetup 2.6.1 made. Of each copy of a LUKS2 header the first 512 bytes and the JSON are kept, the
/// rest is zero; `None`: the copy is missing.
fn image(copies: &[(Option<&[u8]>, usize)]) -> tempfile::NamedTempFile {
    let mut bytes = Vec::new();
    for (copy, size) in copies {
        let mut area = vec![0_u8; *size];
        if let Some(copy) = copy {
            let head = copy.len().min(512);
            area[..head].copy_from_slice(&copy[..head]);
            area[BINARY..BINARY + copy.len() - head].copy_from_slice(&copy[head..]);
        }
        bytes.extend(area);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn look(file: &tempfile::NamedTempFile) -> Content {
    let sys = sys::Real::default();
    let size = file.as_file().metadata().unwrap().len();
    read(&Dev::new(&sys, file.path(), size)).unwrap().unwrap()
}

fn luks(file: &tempfile::NamedTempFile) -> Luks {
    match look(file) {
        Content::Luks(luks) => luks,
        other => panic!("{other:?}"),
    }
}

fn why(file: &tempfile::NamedTempFile) -> String {
    match look(file) {
        Content::Unknown { what } => what,
        other => panic!("{other:?}"),
    }
}

const LABELLED: [&[u8]; 2] = [
    include_bytes!("../tests/luks/luks2-label-4k.first"),
    include_bytes!("../tests/luks/luks2-label-4k.second"),
];
const ARGON: [&[u8]; 2] = [
    include_bytes!("../tests/luks/luks2-argon2-token.first"),
    include_bytes!("../tests/luks/luks2-argon2-token.second"),
];

/// The same header with its metadata edited and its checksum made right again, `later` generations newer.
fn edited(copy: &[u8], size: usize, later: u64, edit: impl Fn(String) -> String) -> Vec<u8> {
    let json = edit(String::from_utf8(copy[512..].to_vec()).unwrap());
    let mut whole = vec![0_u8; size];
    whole[..512].copy_from_slice(&copy[..512]);
    whole[BINARY..BINARY + json.len()].copy_from_slice(json.as_bytes());
    let sequence = be64(&whole, 16).unwrap() + later;
    whole[16..24].copy_from_slice(&sequence.to_be_bytes());
    whole[448..512].fill(0);
    let sum = Sha256::digest(&whole);
    whole[448..480].copy_from_slice(&sum);
    let mut short = whole[..512].to_vec();
    short.extend(json.into_bytes());
    short
}

#[test]
fn version_1() {
    let mut head = include_bytes!("../tests/luks/luks1-xts").to_vec();
    head.resize(4096, 0);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &head).unwrap();
    let found = luks(&file);
    assert_eq!(found.uuid, "11111111-2222-3333-4444-555555555555");
    assert_eq!((found.version, found.cipher.as_str(), found.hash.as_str()), (1, "aes-xts-plain64", "sha512"));
    assert_eq!((found.key_bits, found.sector_size), (512, 512));
    assert_eq!((found.data_offset, found.header_size), (Bytes(2 << 20), Bytes(2 << 20)));
    let slot = Keyslot { number: 0, pbkdf: "pbkdf2".into(), iterations: 1000, memory: 0, parallel: 0 };
    assert_eq!(found.keyslots, [slot]);

    let mut head = include_bytes!("../tests/luks/luks1-cbc").to_vec();
    head.resize(4096, 0);
    std::fs::write(file.path(), &head).unwrap();
    let found = luks(&file);
    assert_eq!((found.cipher.as_str(), found.key_bits), ("aes-cbc-essiv:sha256", 256));
}

#[test]
fn version_2_with_labels_and_large_sectors() {
    let found = luks(&image(&[(Some(LABELLED[0]), 16 << 10), (Some(LABELLED[1]), 16 << 10)]));
    assert_eq!((found.label.as_str(), found.subsystem.as_str()), ("my data", "sub"));
    assert_eq!((found.sector_size, found.key_bits), (4096, 512));
    assert_eq!((found.header_size, found.metadata_size), (Bytes(16 << 20), Bytes(16 << 10)));
    assert_eq!((found.data_offset, found.data_size), (Bytes(16 << 20), None));
    assert_eq!(found.segments, ["crypt"]);
    assert!(found.requirements.is_empty() && found.integrity.is_empty() && found.flags.is_empty());
}

#[test]
fn version_2_with_tokens_and_two_kinds_of_slots() {
    let found = luks(&image(&[(Some(ARGON[0]), 32 << 10), (Some(ARGON[1]), 32 << 10)]));
    assert_eq!(found.tokens, ["clevis"]);
    let slots = [
        Keyslot { number: 0, pbkdf: "argon2id".into(), iterations: 4, memory: 1024, parallel: 1 },
        Keyslot { number: 5, pbkdf: "pbkdf2".into(), iterations: 1000, memory: 0, parallel: 0 },
    ];
    assert_eq!(found.keyslots, slots);
    assert_eq!(found.header_size, Bytes((64 << 10) + (1 << 20)));
    assert_eq!(found.data_offset, Bytes(4 << 20));
}

#[test]
fn the_newer_valid_copy_counts() {
    let size = 16 << 10;
    let flagged = |json: String| json.replace("\"config\":{", "\"config\":{\"flags\":[\"allow-discards\"],");
    // Both are valid, the second is newer: a power cut came between the two writes.
    let newer = edited(LABELLED[1], size, 1, flagged);
    let found = luks(&image(&[(Some(LABELLED[0]), size), (Some(&newer), size)]));
    assert_eq!(found.flags, ["allow-discards"]);
    // The newer one was only half written.
    let mut broken = newer.clone();
    let last = broken.len() - 5;
    broken[last] ^= 1;
    assert!(luks(&image(&[(Some(LABELLED[0]), size), (Some(&broken), size)])).flags.is_empty());
    // The first is damaged, so where the second begins is not known either.
    let mut broken = LABELLED[0].to_vec();
    broken[20] ^= 1;
    assert_eq!(luks(&image(&[(Some(&broken), size), (Some(&newer), size)])).flags, ["allow-discards"]);
    let mut broken = ARGON[0].to_vec();
    broken[8..16].fill(0xFF);
    assert_eq!(luks(&image(&[(Some(&broken), 32 << 10), (Some(ARGON[1]), 32 << 10)])).tokens, ["clevis"]);
}

#[test]
fn damaged_headers_are_named_and_never_taken_for_nothing() {
    let size = 16 << 10;
    let mut first = LABELLED[0].to_vec();
    first[460] ^= 1;
    assert!(why(&image(&[(Some(&first), size), (None, size)])).contains("its checksum is wrong"));
    let future = [b"LUKS\xBA\xBE\0\x03".as_slice(), &[0; 504]].concat();
    assert!(why(&image(&[(Some(&future), size)])).contains("version 3 is not known"));
    let odd = edited(LABELLED[0], size, 0, |json| json.replace("\"dynamic\"", "17"));
    assert!(why(&image(&[(Some(&odd), size), (None, size)])).contains("unexpected form"));
    // A field that is gone or of another form is no zero.
    for (field, other) in [
        ("\"memory\":1024", "\"memory_kib\":1024"),
        ("\"cpus\":1", "\"cpus\":\"1\""),
        ("\"time\":4", "\"time\":-4"),
        ("\"hash\":\"sha256\",\"iterations\":1000,\"salt\":\"6C", "\"hash\":\"sha256\",\"salt\":\"6C"),
        ("\"encryption\":\"aes-xts-plain64\",\"sector_size\"", "\"sector_size\""),
        ("\"sector_size\":4096", "\"sector_size\":\"4k\""),
        ("\"offset\":\"4194304\"", "\"offset\":4194304"),
    ] {
        let odd = edited(ARGON[0], 32 << 10, 0, |json| {
            assert!(json.contains(field), "{field}");
            json.replace(field, other)
        });
        let found = why(&image(&[(Some(&odd), 32 << 10), (None, 32 << 10)]));
        assert!(found.contains("unexpected form"), "{field}: {found}");
    }
    let cut = image(&[(Some(LABELLED[0]), size)]);
    cut.as_file().set_len(6000).unwrap();
    assert!(why(&cut).contains("its checksum is wrong"));
}

#[test]
fn what_only_cryptsetup_could_continue_is_seen() {
    let size = 16 << 10;
    let edit = |json: String| {
        json.replace(
            "\"config\":{",
            "\"config\":{\"requirements\":{\"mandatory\":[\"online-reencrypt-v2\"]},",
        )
        .replace("\"type\":\"crypt\"", "\"type\":\"linear\"")
    };
    let copy = edited(LABELLED[0], size, 0, edit);
    let found = luks(&image(&[(Some(&copy), size), (None, size)]));
    assert_eq!(
        (found.requirements.as_slice(), found.segments.as_slice()),
        (["online-reencrypt-v2".to_owned()].as_slice(), ["linear".to_owned()].as_slice())
    );
    let edit = |json: String| {
        json.replace(
            "\"sector_size\":4096",
            "\"sector_size\":4096,\"integrity\":{\"type\":\"hmac(sha256)\",\"journal_encryption\":\"none\"}",
        )
        .replace("\"key_size\":64", "\"key_size\":96")
    };
    let copy = edited(LABELLED[0], size, 0, edit);
    let found = luks(&image(&[(Some(&copy), size), (None, size)]));
    assert_eq!((found.integrity.as_str(), found.key_bits), ("hmac-sha256", 512));
}
