# Snapshots while files change: of volumes (ext4, XFS), of a thin volume and of a btrfs; what a killed and a stopped run leave.
. ./storage-snapshots.sh

create() {
    for disk in "$d1" "$d2"; do
        echo 'label: gpt
type=lvm' | table "$disk"
    done
    one_part linux "$d3"
    group vg "$(part "$d1" 1)" "$(part "$d2" 1)"
    volume -L 96M -n root vg
    volume -L 320M -n home vg
    volume --type thin-pool -L 128M -c 128k --poolmetadatasize 8M -n pool vg
    volume -V 200M --thinpool pool -n thin vg
    mkfs.ext4 -q /dev/vg/root
    mkfs.xfs -q -f /dev/vg/home
    mkfs.ext4 -q /dev/vg/thin
    mkfs.btrfs -q -f "$(part "$d3" 1)"
    mkdir /run/top
    mount "$(part "$d3" 1)" /run/top
    btrfs subvolume create /run/top/@
    btrfs subvolume create /run/top/@/nested
    umount /run/top
}
up() {
    at /dev/vg/root root
    at /dev/vg/home home
    at /dev/vg/thin thin
    at "$(part "$d3" 1)" subvol=@ data
}

all='root home thin data'

write() { for one in $all; do echo "$1" > "/mnt/t/$one/moment"; done; }

# Nothing is left but what was made by hand.
none_left() {
    no_snapshots
    [ "$(lvs --noheadings -o lv_name vg | tr -d ' ' | sort | tr '\n' ' ')" = 'home pool root thin ' ]
    ! btrfs subvolume list /mnt/t/data | grep rear-backup
}

check() {
    # Someone else's snapshot, with the name and half of the marks.
    lvcreate -q -y -s -l 4 --addtag rear-backup -n rear_backup_foreign vg/root

    write before
    start strict
    write after
    sync
    lvs -a -o+lv_tags vg
    touch /run/shown/go
    wait $process
    cat /run/said
    for one in $all; do grep "^/mnt/t/$one holds before\$" /run/said; done
    grep 'inner: \["/mnt/t/data/nested"\]' /run/said
    lvs --noheadings -o lv_name vg | grep rear_backup_foreign
    lvremove -q -y vg/rear_backup_foreign
    none_left

    # Killed in the midst of it.
    start strict
    kill -9 $process
    wait $process || true
    [ "$(lvs --noheadings -o lv_name -S 'lv_tags=rear-backup' vg | wc -l)" = 3 ]
    lvcreate -q -y -s -l 4 --addtag rear-backup -n rear_backup_foreign vg/root
    /run/recreate leftovers > /run/said 2> /run/said-err || { cat /run/said /run/said-err; false; }
    cat /run/said
    [ "$(grep -c '^removed ' /run/said)" = 4 ]
    lvs --noheadings -o lv_name vg | grep rear_backup_foreign
    lvremove -q -y vg/rear_backup_foreign
    none_left

    # Stopped by a signal.
    start strict
    kill -TERM $process
    wait $process
    none_left
}
