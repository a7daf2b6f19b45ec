# A disk over two paths, with partitions.
create() {
    paths_on
    multipath_on
    table "$mpath" <<'END'
label: gpt
size=100M
size=100M, type=swap
END
    kpartx -a -p -part "$mpath" || true
    udevadm settle
    mkfs.ext4 -q "$mpath-part1"
    mkswap -q "$mpath-part2"
}
stale() { paths_on; multipath_on; }
