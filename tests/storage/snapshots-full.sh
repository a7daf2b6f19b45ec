# A snapshot that runs full while it is read, and a volume group without room for any.
. ./storage-snapshots.sh

create() {
    for disk in "$d1" "$d2"; do
        echo 'label: gpt
type=lvm' | table "$disk"
    done
    group vg "$(part "$d1" 1)" "$(part "$d2" 1)"
    volume -L 96M -n root vg
    volume -L 320M -n home vg
    mkfs.ext4 -q /dev/vg/root
    mkfs.xfs -q -f /dev/vg/home
}
up() {
    at /dev/vg/root root
    at /dev/vg/home home
}

check() {
    # Room for 160 MiB: the run is told to stop, and says so.
    free=$(vgs --noheadings -o vg_free_count vg | tr -d ' ')
    volume -l $((free - 40)) -n filler vg
    start
    cat /run/said
    dd if=/dev/zero of=/mnt/t/home/much bs=1M count=200 conv=fsync 2> /dev/null
    wait $process
    cat /run/said
    grep '^trouble: ' /run/said
    rm /mnt/t/home/much
    no_snapshots

    # No room at all: read live where that is allowed, refused where it is not.
    free=$(vgs --noheadings -o vg_free_count vg | tr -d ' ')
    [ "$free" = 0 ] || lvextend -q -l "+$free" vg/filler
    start
    touch /run/shown/go
    wait $process
    cat /run/said
    grep '^cannot: /mnt/t/root: the volume group vg has 0' /run/said
    ! start strict
    lvremove -q -y vg/filler
    no_snapshots
}
