# The disks still hold another life, assembled and active: RAID, LVM on it, a container. It is stopped first.
create() {
    one_part linux "$d1" "$d2"
    mkfs.ext4 -q "$(part "$d1" 1)"
    mkfs.ext4 -q "$(part "$d2" 1)"
}
stale() {
    one_part raid "$d1" "$d2"
    md 4 --level=1 --raid-devices=2 --bitmap=none --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)"
    group stale /dev/md4
    lvcreate -q -y -n old -L 64M stale
    luks /dev/stale/old open --type luks2
    mkfs.ext4 -q /dev/mapper/open
}
