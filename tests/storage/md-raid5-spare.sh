# RAID 5 with a spare and a bitmap, in an order of its own.
create() {
    one_part raid "$d1" "$d2" "$d3" "$d4"
    md 0 --name=5 --level=5 --raid-devices=3 --spare-devices=1 --chunk=128 --bitmap=internal --size=49152 --assume-clean \
        "$(part "$d2" 1)" "$(part "$d3" 1)" "$(part "$d1" 1)" "$(part "$d4" 1)"
    mkfs.ext4 -q /dev/md0
}
