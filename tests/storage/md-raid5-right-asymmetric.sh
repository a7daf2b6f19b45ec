# RAID 5 with the layout right-asymmetric and metadata 1.0.
create() {
    one_part raid "$d1" "$d2" "$d3"
    md 3 --level=5 --layout=right-asymmetric --metadata=1.0 --raid-devices=3 --size=49152 --assume-clean \
        "$(part "$d1" 1)" "$(part "$d2" 1)" "$(part "$d3" 1)"
    mkfs.xfs -q /dev/md3 2> /dev/null || mkfs.ext4 -q -F /dev/md3
}
