# A thin snapshot that is not mounted: its content belongs to its origin, so it is named, and not made again.
RULES=none
create() {
    one_part lvm "$d1"
    group vg "$(part "$d1" 1)"
    volume --type thin-pool -L 128M -c 128k --poolmetadatasize 8M -n pool vg
    volume -V 64M --thinpool pool -n root vg
    mkfs.ext4 -q /dev/vg/root
    lvcreate -q -y -s -n snap vg/root
    transaction=$(lvs --noheadings -o transaction_id vg/pool | tr -d ' ')
    echo "$transaction" > /run/transaction
}
up() { at /dev/vg/root root; }
gone() { lvremove -q -y vg/snap; }
# Its removal is a transaction of the pool that the saved one has not seen.
expect() {
    old=$(cat /run/transaction)
    sed -i "s/ transaction_id = $((old + 1))\$/ transaction_id = $old/" "$1/vgcfg-vg"
    sed -i "/^ *vg\/pool | /s/ | $((old + 1)) | / | $old | /" "$1/lvs"
}
check() {
    grep '/dev/vg/snap' "$dir/coverage" | grep 'snapshot of vg/root'
    [ "$(lvs --noheadings -o lv_name vg | tr -d ' ' | sort | tr '\n' ' ')" = 'pool root ' ]
}
