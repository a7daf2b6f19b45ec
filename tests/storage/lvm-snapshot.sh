# A volume with a snapshot of the old kind: its content belongs to the volume, so it is named, and not made again.
RULES=none
create() {
    one_part lvm "$d1"
    group vg "$(part "$d1" 1)"
    volume -n root -L 64M vg
    mkfs.ext4 -q /dev/vg/root
    lvcreate -q -y -s -n before -L 16M vg/root
}
up() { at /dev/vg/root root; }
gone() { lvremove -q -y vg/before; }
check() {
    grep '/dev/vg/before' "$dir/coverage" | grep 'snapshot of vg/root'
    [ "$(lvs --noheadings -o lv_name vg | tr -d ' ')" = root ]
}
