# Striped over three whole disks in another order, chunk of 64 KiB; ext4 with its stride.
create() {
    md 0 --name=scratch --level=0 --raid-devices=3 --chunk=64 "$d3" "$d1" "$d2"
    mkfs.ext4 -q -E stride=16,stripe_width=48 /dev/md0
}
