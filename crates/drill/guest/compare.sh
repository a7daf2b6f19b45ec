# Gathers facts about the original disks (serial o0, o1, …) and the recovered ones (r0, r1, …), which are both
# attached read-only. It judges nothing: the drill reads what is written here. `pairs` (from layout.sh) prints a
# line for every filesystem: INDEX DISK PARTITION TYPE; `disks` the number of disks.
set -u
. ./lib.sh
. ./layout.sh
out=/run/drill-work/out

for which in o r; do
    for index in $(disks); do
        device=$(disk $which$index) || exit 1
        sfdisk --dump "$device" | sed "s,$device,DISK,g" > $out/$which-table-$index
        head -c 440 "$device" | sha256sum > $out/$which-bootcode-$index
        head -c 440 "$device" | tr -d '\0' | wc -c > $out/$which-bootcode-bytes-$index
        for node in /sys/block/${device##*/}/${device##*/}*; do
            [ -e "$node/partition" ] || continue
            number=$(cat "$node/partition")
            blkid -p -o export "/dev/${node##*/}" | grep -Ev '^(DEVNAME|PART_ENTRY_DISK)=' > $out/$which-blkid-$index-$number
            # An extended partition is a table, no content.
            [ "$(cat "$node/size")" -gt 8 ] || continue
            case "$(blkid -p -s TYPE -o value "/dev/${node##*/}")" in
            ext*) dumpe2fs -h "/dev/${node##*/}" > $out/$which-ext-$index-$number 2>/dev/null ;;
            esac
        done
    done
done

pairs | while read -r index disk_index number type; do
    for which in o r; do
        device=$(disk $which$disk_index)
        at=/mnt/$which$index
        mkdir -p $at
        case $type in
        xfs) options=ro,norecovery,nouuid ;;
        ext*) options=ro,noload ;;
        *) options=ro ;;
        esac
        mount -t "$type" -o $options "$device$number" $at || { echo "cannot mount $which $index"; exit 1; }
        say "reading $which$disk_index partition $number ($type)"
        [ "$type" = xfs ] && xfs_info $at | sed "s,$device$number,PART,g" > $out/$which-xfs-$disk_index-$number
        cd $at || exit 1
        # Directory sizes depend on their history; block counts are judged apart, with tolerance.
        find . -xdev \( -type d -printf '%p\037%y\037%m\037%U\037%G\037-\037%T@\037%n\037%l\0' \) -o \
            -printf '%p\037%y\037%m\037%U\037%G\037%s\037%T@\037%n\037%l\0' > $out/$which-files-$index
        find . -xdev -type f -size +64k -printf '%p\037%b\0' > $out/$which-blocks-$index
        find . -xdev -print0 | LC_ALL=C sort -z > /run/names
        xargs -0 getfattr -h -d -m - -e hex -- < /run/names > $out/$which-xattrs-$index
        find . -xdev \( -type f -o -type d \) -print0 | LC_ALL=C sort -z | xargs -0 lsattr -d > $out/$which-flags-$index 2>/dev/null
        find . -xdev -type b -printf '%p\037' -exec stat -c '%t:%T' {} \; > $out/$which-nodes-$index
        find . -xdev -type c -printf '%p\037' -exec stat -c '%t:%T' {} \; >> $out/$which-nodes-$index
        cd /
    done
    say "comparing the contents of partition $number"
    rsync -aHAXn --checksum --delete --itemize-changes --numeric-ids --one-file-system /mnt/o$index/ /mnt/r$index/ \
        > $out/rsync-there-$index 2> $out/rsync-errors-$index || echo "rsync: exit $?" >> $out/rsync-errors-$index
    rsync -aHAXn --delete --itemize-changes --numeric-ids --one-file-system /mnt/r$index/ /mnt/o$index/ \
        > $out/rsync-back-$index 2>> $out/rsync-errors-$index || echo "rsync: exit $?" >> $out/rsync-errors-$index
done || exit 1
exit 0
