# A thin pool with volumes, one of them larger than the pool, and one that is a snapshot, mounted like the others.
create() {
    one_part lvm "$d1"
    group vg "$(part "$d1" 1)"
    volume --type thin-pool -L 128M -c 128k --poolmetadatasize 8M -n pool vg
    volume -V 64M --thinpool pool -n root vg
    volume -V 1G --thinpool pool -n large vg
    mkfs.ext4 -q /dev/vg/root
    mkfs.ext4 -q /dev/vg/large
    lvcreate -q -y -s -n snap vg/root
    lvchange -q -ay -K vg/snap
}
# What is mounted is a filesystem of its own.
up() {
    at /dev/vg/root root
    at /dev/vg/large large
    at /dev/vg/snap snap
}
