# Gathers facts about the original disks (serial o0, o1, …) and the recovered ones (r0, r1, …): of those SIDES that are
# attached. It judges nothing: the drill reads what is written here. From layout.sh: `disks` prints the number of each
# disk, `pairs` a line for every filesystem: INDEX TYPE DEVICE OPTIONS.
#
# Both sides are attached to one machine and compared by rsync as well, unless something is stacked on the partitions
# (STACKED): two arrays, groups or containers with the same identifiers cannot be on one machine. Then this runs once for
# each side, and contents are told by checksums.
set -u
. ./env
. ./lib.sh
. ./layout.sh
out=/run/drill-work/out
# How far a filesystem goes. With one side alone nothing is mounted below it, and a nested subvolume belongs to it.
alone=-xdev
if [ -n "$STACKED" ]; then
    alone=
    NEW_KEYS=
    . ./storage-lib.sh
    . ./assemble.sh
    start_udev
fi

# What partition tables and filesystems of plain partitions are.
identify() {
    sfdisk --dump "$2" | sed "s,$2,DISK,g" > $out/$side-table-$1
    for node in /sys/block/${2##*/}/${2##*/}*; do
        [ -e "$node/partition" ] || continue
        number=$(cat "$node/partition")
        blkid -p -o export "/dev/${node##*/}" | grep -Ev '^(DEVNAME|PART_ENTRY_DISK)=' > $out/$side-blkid-$1-$number
        # An extended partition is a table, no content.
        [ "$(cat "$node/size")" -gt 8 ] || continue
        case "$(blkid -p -s TYPE -o value "/dev/${node##*/}")" in
        ext*) dumpe2fs -h "/dev/${node##*/}" > $out/$side-ext-$1-$number 2>/dev/null ;;
        esac
    done
}

# Everything about the files below here but their contents.
describe() {
    # Directory sizes depend on their history; block counts are judged apart, with tolerance.
    find . $alone \( -type d -printf '%p\037%y\037%m\037%U\037%G\037-\037%T@\037%n\037%l\0' \) -o \
        -printf '%p\037%y\037%m\037%U\037%G\037%s\037%T@\037%n\037%l\0' > $out/$side-files-$1
    find . $alone -type f -size +64k -printf '%p\037%b\0' > $out/$side-blocks-$1
    find . $alone -print0 | LC_ALL=C sort -z > /run/names
    xargs -0 getfattr -h -d -m - -e hex -- < /run/names > $out/$side-xattrs-$1
    find . $alone \( -type f -o -type d \) -print0 | LC_ALL=C sort -z | xargs -0 lsattr -d > $out/$side-flags-$1 2>/dev/null
    find . $alone -type b -printf '%p\037' -exec stat -c '%t:%T' {} \; > $out/$side-nodes-$1
    find . $alone -type c -printf '%p\037' -exec stat -c '%t:%T' {} \; >> $out/$side-nodes-$1
}

# Contents, and which names are one file.
digest() {
    find . $alone -type f -size +0 -print0 | xargs -0 b2sum -z -- > $out/$side-sums-$1 || return 1
    find . $alone ! -type d -links +1 -printf '%p\037%D:%i\0' > $out/$side-linked-$1
}

for side in $SIDES; do
    name_disks || exit 1
    for index in $(disks); do
        eval "device=\$disk$index"
        head -c 440 "$device" | tr -d '\0' | wc -c > $out/$side-bootcode-bytes-$index
        if [ -n "$STACKED" ]; then
            echo "disk$index $device" >> /run/disks
        else
            identify "$index" "$device"
        fi
    done
    if [ -n "$STACKED" ]; then
        say "assembling $side"
        assemble || exit 1
        udevadm settle
        # What is still being made equal must not take the time of this.
        for speed in /proc/sys/dev/raid/speed_limit_*; do [ ! -e $speed ] || echo 100 > $speed; done
    fi
    pairs > /run/pairs
    while read -r index type device options; do
        at=/mnt/$side$index
        mkdir -p $at
        case $type in
        xfs) options=$options,norecovery,nouuid ;;
        ext*) options=$options,noload ;;
        esac
        mount -t "$type" -o $options "$device" $at || { echo "cannot mount $side $index"; exit 1; }
        say "reading $device of $side ($type)"
        [ "$type" = xfs ] && [ -z "$STACKED" ] && xfs_info $at | sed "s,$device,PART,g" > $out/$side-xfs-$index
        cd $at || exit 1
        describe $index < /dev/null
        if [ -n "$STACKED" ]; then digest $index < /dev/null || { echo "cannot read all of $side $index"; exit 1; }; fi
        cd /
    done < /run/pairs
    if [ -n "$STACKED" ]; then
        say "asking the tools about $side"
        raw $out/$side-raw
        if [ -s /run/unanswered ]; then cat /run/unanswered; exit 1; fi
    fi
done

[ -z "$STACKED" ] || exit 0
pairs | while read -r index _; do
    say "comparing the contents of filesystem $index"
    rsync -aHAXn --checksum --delete --itemize-changes --numeric-ids --one-file-system /mnt/o$index/ /mnt/r$index/ \
        > $out/rsync-there-$index 2> $out/rsync-errors-$index || echo "rsync: exit $?" >> $out/rsync-errors-$index
    rsync -aHAXn --delete --itemize-changes --numeric-ids --one-file-system /mnt/r$index/ /mnt/o$index/ \
        > $out/rsync-back-$index 2>> $out/rsync-errors-$index || echo "rsync: exit $?" >> $out/rsync-errors-$index
done
exit 0
