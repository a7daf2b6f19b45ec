# Two volumes in one group on a partition, one with a filesystem, with tags.
create() {
    echo 'label: gpt
start=2048, size=819200, type=lvm' | table "$d1"
    pvcreate -q "$(part "$d1" 1)"
    vgcreate -q --addtag site1 vg0 "$(part "$d1" 1)"
    lvcreate -q -y -n root -L 100M vg0
    lvcreate -q -y -n other -l 10 --addtag keep vg0
    mkfs.ext4 -q /dev/vg0/root
    mkswap -q /dev/vg0/other
}
