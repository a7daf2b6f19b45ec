# A preserved disk that does not hold any more what it held: refused before anything is written.
RULES="EXCLUDE_VG=data"
EXPECT="refused: a preserved disk is not here as it was: .*(/mnt/t/files): the disk is here as"
create() {
    echo 'label: gpt
size=256M' | table "$d1"
    mkfs.ext4 -q "$(part "$d1" 1)"
    group data "$d2"
    volume -n files -L 100M data
    mkfs.ext4 -q /dev/data/files
}
up() {
    at "$(part "$d1" 1)" sys
    at /dev/data/files files
}
stale() { mkfs.ext4 -q -F "$d2"; }
