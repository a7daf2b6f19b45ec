# LVM on RAID 5.
create() {
    one_part raid "$d1" "$d2" "$d3"
    md 0 --name=pv --level=5 --raid-devices=3 --chunk=64 --size=98304 --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)" "$(part "$d3" 1)"
    group vg /dev/md0
    volume -n root -L 100M vg
    volume --type thin-pool -L 32M -n pool vg
    volume -V 64M --thinpool pool -n thin vg
    mkfs.ext4 -q /dev/vg/root
    mkfs.ext4 -q /dev/vg/thin
}
