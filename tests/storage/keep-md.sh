# An array that is named like users do stays bit-identical while a second array is recreated beside it.
RULES="EXCLUDE_MD=/dev/md/data"
PRESERVE="d3 d4"
create() {
    one_part raid "$d1" "$d2" "$d3" "$d4"
    md 1 --name=sys --level=1 --raid-devices=2 --metadata=1.2 --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)"
    md 2 --name=data --level=0 --raid-devices=2 --metadata=1.2 "$(part "$d3" 1)" "$(part "$d4" 1)"
    mkfs.ext4 -q /dev/md1
    mkfs.ext4 -q /dev/md2
}
up() {
    [ -e /dev/md2 ] || mdadm --assemble --quiet /dev/md2 "$(part "$d3" 1)" "$(part "$d4" 1)"
    udevadm settle
    at /dev/md1 sys
    at /dev/md2 data
}
