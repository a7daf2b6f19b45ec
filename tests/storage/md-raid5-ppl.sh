# RAID 5 whose consistency policy is a partial parity log.
create() {
    one_part raid "$d1" "$d2" "$d3"
    md 0 --level=5 --raid-devices=3 --size=49152 --consistency-policy=ppl --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)" "$(part "$d3" 1)"
    mkfs.ext4 -q /dev/md0
}
