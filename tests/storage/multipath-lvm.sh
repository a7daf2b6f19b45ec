# A physical volume on a disk over two paths.
create() {
    paths_on
    multipath_on
    group san "$mpath"
    volume -n data -L 200M san
    mkfs.ext4 -q /dev/san/data
}
stale() { paths_on; multipath_on; }
