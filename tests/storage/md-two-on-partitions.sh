# Two arrays over the same two disks: one for boot, one for LVM, in crossed order.
create() {
    for disk in "$d1" "$d2"; do echo 'label: gpt
size=64M, type=raid
size=256M, type=raid' | table "$disk"; done
    md 0 --name=boot --level=1 --metadata=1.0 --bitmap=none --raid-devices=2 --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)"
    md 1 --name=pv --level=1 --bitmap=internal --raid-devices=2 --assume-clean "$(part "$d2" 2)" "$(part "$d1" 2)"
    mkfs.ext2 -q -L boot /dev/md0
    group system /dev/md1
    volume -n root -L 100M system
    volume -n swap -L 32M system
    mkfs.ext4 -q /dev/system/root
    mkswap -q /dev/system/swap
}
