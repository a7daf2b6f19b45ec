# A mirror of two partitions with a bitmap, its slots not in the order of the disks, named, ext4 on it.
create() {
    for disk in "$d1" "$d2"; do echo 'label: gpt
start=2048, size=262144, type=raid' | table "$disk"; done
    mdadm --create /dev/md0 --run --quiet --homehost=host1 --name=data --level=1 --raid-devices=2 --metadata=1.2 \
        --bitmap=internal --assume-clean "$(part "$d2" 1)" "$(part "$d1" 1)"
    udevadm settle
    mkfs.ext4 -q -L mirror /dev/md0
}
