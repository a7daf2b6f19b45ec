# Tags, allocation policies, read-ahead, a fixed minor, a volume that is not activated.
create() {
    one_part lvm "$d1" "$d2"
    pvcreate -q -y "$(part "$d1" 1)" "$(part "$d2" 1)"
    vgcreate -q --alloc cling --addtag rack/7 --addtag a+b vg "$(part "$d1" 1)" "$(part "$d2" 1)"
    pvchange -q --addtag fast "$(part "$d1" 1)"
    pvchange -q -x n "$(part "$d2" 1)"
    volume -n contiguous -C y -L 32M --addtag one vg "$(part "$d1" 1)"
    volume -n anywhere --alloc anywhere -L 32M -r 512 vg "$(part "$d1" 1)"
    volume -n minor -L 16M -My --minor 200 --major 253 vg "$(part "$d1" 1)"
    volume -n skipped -L 16M --setactivationskip y vg "$(part "$d1" 1)"
    for name in contiguous anywhere minor; do mkfs.ext4 -q /dev/vg/$name; done
}
