# Functions of the storage drill in the guest. Nothing here knows how rear works.

# "NAME NODE" of every test disk: d1… (512-byte sectors), k1… (4096), n1… (NVMe). Found by their serial numbers.
find_disks() {
    for entry in /sys/block/*; do
        node=${entry##*/}
        serial=$(lsblk -dno SERIAL "/dev/$node" 2>/dev/null | tr -d ' ')
        case $serial in
        DRILL-*) echo "$(echo "${serial#DRILL-}" | tr 'A-Z' 'a-z') /dev/$node" ;;
        esac
    done | sort
}

# start_udev [MODULE…]: the device manager, and these drivers. As in the rescue system, nothing is assembled or activated by
# itself.
start_udev() {
    mkdir -p /run/udev/rules.d /run/lock
    for rule in 69-lvm.rules 69-bcache.rules 64-md-raid-assembly.rules 99-systemd.rules; do
        ln -sf /dev/null "/run/udev/rules.d/$rule"
    done
    /lib/systemd/systemd-udevd --daemon
    # Only what is needed: looking at every device of the machine takes half a minute here.
    [ $# = 0 ] || modprobe -a "$@"
    udevadm trigger --action=add --subsystem-match=block
    udevadm settle --timeout=120
}

# $d1, $d2, … as variables.
disks_as_variables() {
    while read -r label node; do
        case $label in
        m*) ;;
        *) eval "$label=$node" ;;
        esac
    done < /run/disks
}

# The N-th partition of a device.
part() {
    case $1 in
    *[0-9]) echo "${1}p$2" ;;
    *) echo "$1$2" ;;
    esac
}

# A partition table from sfdisk's script on standard input, and its nodes.
table() {
    sfdisk -q --wipe always "$1"
    udevadm settle
}

# Both paths to the multipath disk disappear, and come back.
paths_off() {
    [ -e /run/paths-on ] || return 0
    rm /run/paths-on
    for entry in /sys/block/sd*; do
        case $(lsblk -dno SERIAL "/dev/${entry##*/}" | tr -d ' ') in
        DRILL-M*) echo 1 > "$entry/device/delete" ;;
        esac
    done
    udevadm settle
}

paths_on() {
    touch /run/paths-on
    for host in /sys/class/scsi_host/host*; do echo "- - -" > "$host/scan"; done
    udevadm settle
}

settle() {
    udevadm settle --timeout=120
    for entry in /sys/block/md*; do
        [ -e "$entry/md/sync_action" ] || continue
        mdadm --wait-clean "/dev/${entry##*/}" > /dev/null 2>&1
        for _ in $(seq 300); do
            [ "$(cat "$entry/md/sync_action")" = idle ] && break
            sleep 0.2
        done
    done
    if ls -d /sys/block/dm-* > /dev/null 2>&1; then
        for _ in $(seq 300); do
            lvs -a --noheadings -o sync_percent -S 'segtype=~"raid|mirror"' 2>/dev/null | grep -v '^ *$' | grep -qv '100.00' || break
            sleep 0.2
        done
    fi
    sync
    udevadm settle --timeout=120
}

# "LABEL NODE" of every block device that the layout has, with names that do not depend on the kernel's numbers.
nodes() {
    while read -r label node; do
        is_touched "$node" || continue
        echo "$label $node"
        parts "$label" "$node"
    done < /run/disks
    for entry in /sys/block/md*; do
        [ -e "$entry/md/array_state" ] || continue
        node=/dev/${entry##*/}
        label=md-$(mdadm --detail --export "$node" | sed -n 's/^MD_UUID=//p' | tr : -)
        echo "$label $node"
        parts "$label" "$node"
    done
    for entry in /sys/block/dm-*; do
        [ -e "$entry/dm/name" ] || continue
        label=$(cat "$entry/dm/name")
        echo "dm-$label /dev/mapper/$label"
    done
    for entry in /sys/block/bcache*; do
        [ -e "$entry/bcache" ] && echo "${entry##*/} /dev/${entry##*/}"
    done
}

parts() {
    for entry in "/sys/block/${2##*/}/${2##*/}"*; do
        [ -e "$entry/partition" ] && echo "$1-p$(cat "$entry/partition") /dev/${entry##*/}"
    done
}

# Whether a disk was written to since it was wiped. Fewer programs for the others: each costs its time here.
is_touched() {
    read -r _ _ _ _ _ _ written _ < "/sys/block/${1##*/}/stat"
    [ "$written" != "$(cat "/run/written-${1##*/}" 2>/dev/null)" ]
}

type_of() { blkid -p -s TYPE -o value "$1" 2>/dev/null; }

# What the distribution's tools say of the whole layout, without times, counters and kernel numbers: one file for
# each question.
raw() {
    mkdir -p "$1"
    nodes > /run/nodes
    # Kernel numbers and names to labels, longest first.
    while read -r label node; do
        real=$(readlink -f "$node")
        read -r number < "/sys/class/block/${real##*/}/dev"
        # Not by echo: dash's takes \b for a backspace.
        printf 's,\\b%s\\b,<%s>,g\n' "$number" "$label"
        case $real in /dev/dm-* | /dev/md*) printf 's,%s\\b,<%s>,g\n' "$real" "$label" ;; esac
    done < /run/nodes | sort -r > /run/labels.sed
    while read -r label node; do
        of_node "$label" "$node" "$1" < /dev/null
    done < /run/nodes
    of_lvm "$1"
    # The paths to a disk get numbers anew each time they appear.
    dmsetup table 2>/dev/null | grep -v '^No devices' | sort | sed -f /run/labels.sed |
        sed -E '/^[^ ]+: [0-9]+ [0-9]+ multipath /s,\b[0-9]+:[0-9]+\b,<path>,g' > "$1/dmsetup-table"
    findmnt -rn -o TARGET,FSTYPE,FSROOT | grep '^/mnt/t' | sort > "$1/mounts"
    swapon --show=UUID,LABEL --noheadings --raw | sort > "$1/swaps"
    find "$1" -size 0 -delete
}

of_node() {
    label=$1 node=$2 to=$3
    name=$(readlink -f "$node")
    read -r size < "/sys/class/block/${name##*/}/size"
    read -r ro < "/sys/class/block/${name##*/}/ro"
    echo "size $size ro $ro" > "$to/$label-size"
    # The names of a btrfs device and of an array's member cannot be given again.
    blkid -p -o export "$node" > /run/blkid 2>/dev/null
    grep -Ev '^(DEVNAME|PART_ENTRY_DISK|UUID_SUB)=' /run/blkid > "$to/$label-blkid"
    case $label in
    dm-*) ;;
    *-p*) ;;
    *) sfdisk -d "$node" 2>/dev/null | sed "s,^$node,DISK,;s,^device: .*,," > "$to/$label-sfdisk" ;;
    esac
    case $label in
    md-*-p*) ;;
    md-*) of_array "$label" "$node" "$to" ;;
    esac
    case $(sed -n 's/^TYPE=//p' /run/blkid) in
    ext*)
        # "Next check" is the last one and the interval together.
        dumpe2fs -h "$node" 2>/dev/null | grep -Ev '^(Filesystem created|Next check|Last (mount|write|checked|mounted)|Mount count|Lifetime|Checksum|Journal (sequence|start|checksum)|Free |Overhead|Directory Hash)' \
            > "$to/$label-dumpe2fs"
        ;;
    xfs)
        at=$(findmnt -rn -o TARGET -S "$node" | head -n 1)
        xfs_info "${at:-$node}" 2>&1 | sed 's,meta-data=[^ ]* *,meta-data=,' > "$to/$label-xfs_info"
        xfs_admin -lu "$node" > "$to/$label-xfs_admin" 2>&1
        ;;
    vfat)
        # The BIOS parameter block, without the flags of the moment.
        dd if="$node" bs=1 skip=11 count=25 2>/dev/null | od -An -tx1 > "$to/$label-bpb"
        ;;
    crypto_LUKS)
        cryptsetup luksDump "$node" > "$to/$label-luksDump" 2>&1
        # Salts and digests of a new key are new, and the number of changes begins anew.
        [ -z "$NEW_KEYS" ] || sed -i -E '/^(Epoch|MK (digest|salt|iterations)|Keyslots|Key Slot|Tokens)/,$d' "$to/$label-luksDump"
        ;;
    linux_raid_member)
        mdadm --examine "$node" | grep -E '^ *(Version|Feature Map|Array UUID|Name|Raid Level|Raid Devices|Avail Dev Size|Used Dev Size|Array Size|Data Offset|Super Offset|Internal Bitmap|Layout|Chunk Size|Device Role|Array State|this|UUID)\b' \
            > "$to/$label-examine"
        ;;
    btrfs) of_btrfs "$label" "$node" "$to" ;;
    swap) swaplabel "$node" > "$to/$label-swaplabel" ;;
    f2fs) dump.f2fs -d 1 "$node" 2>/dev/null | sed -n '/^| Super block/,/^version/p' | grep -Ev '^(version|crc) ' > "$to/$label-f2fs" ;;
    jfs)
        # Version 2 says no more than that jfs_tune has set the UUID, and has it show both UUIDs; blkid shows it either way.
        jfs_tune -l "$node" 2>/dev/null |
            grep -Ev '^(jfs_tune|Filesystem creation|JFS (version|state)|(File system|External log) UUID)|^ *$' > "$to/$label-jfs"
        ;;
    ntfs) ntfsinfo -m -f "$node" 2>/dev/null | grep -Ev 'Free|MFT Zone|LSN|State|Current Position' > "$to/$label-ntfs" ;;
    exfat) dump.exfat "$node" 2>/dev/null | grep -Ev '[Ff]ree|[Uu]sed|dump\.exfat' > "$to/$label-exfat" ;;
    # mkfs.nilfs2 takes the time and a random seed of the checksums, and nothing outside of the filesystem names either.
    nilfs2) nilfs-tune -l "$node" 2>/dev/null | grep -Ev 'time|created|[Ff]ree|[Cc]heckpoint|[Ss]equence|state|nilfs-tune|^Mount|Last|DAT|start|^CRC (seed|check sum):' > "$to/$label-nilfs" ;;
    bcache) bcache-super-show -f "$node" 2>/dev/null | grep -Ev 'csum|seq|dev.data.cache_state|dev.cache.(ordered|discard|pos)|dev.cache.*first' > "$to/$label-bcache" ;;
    esac
}

of_array() {
    mdadm --detail "$2" > /run/answer || echo "mdadm --detail $2" >> /run/unanswered
    sed -f /run/labels.sed /run/answer |
        grep -Ev '^ *(Creation Time|Update Time|Events|Resync Status|Check Status|Rebuild Status) *:|^ *Number ' |
        # An array is "active" for a moment after each write (safe_mode_delay), then "clean".
        sed -E 's,^( *State : )active\b,\1clean,' |
        # Number, major and minor of a member are the kernel's.
        sed -E 's,^ +([0-9]+|-) +[0-9]+ +[0-9]+ +([0-9]+|-) +,member \2 ,;s,^ +([0-9]+|-) +<([^>]*)> +([0-9]+|-) +,member \3 \2 ,' \
            > "$3/$1-detail"
}

of_btrfs() {
    btrfs inspect-internal dump-super "$2" 2>/dev/null |
        grep -E '^(csum_type|csum_size|fsid|metadata_uuid|label|num_devices|total_bytes|sectorsize|nodesize|stripesize|compat_flags|compat_ro_flags|incompat_flags|dev_item.devid|dev_item.total_bytes|dev_item.fsid)' \
            > "$3/$1-dump-super"
    btrfs filesystem show "$2" 2>/dev/null | sed -E 's/(FS bytes )?used [0-9.]+[A-Za-z]+//g' | sed -f /run/labels.sed > "$3/$1-btrfs-show"
    at=$(findmnt -rn -t btrfs -o TARGET,UUID | grep " $(blkid -p -s UUID -o value "$2")\$" | head -n 1 | cut -d' ' -f1)
    [ -n "$at" ] || return 0
    btrfs filesystem df "$at" | cut -d: -f1 > "$3/$1-btrfs-profiles"
    btrfs subvolume list -a "$at" | sed 's/.* path //;s,<FS_TREE>/,,' | sort > "$3/$1-btrfs-subvolumes"
    btrfs subvolume list -r "$at" | sed 's/.* path //' | sort > "$3/$1-btrfs-readonly"
    btrfs subvolume get-default "$at" | sed 's/.* path /path /' > "$3/$1-btrfs-default"
    # A number of a subvolume cannot be given again; limits and the number of groups can.
    btrfs qgroup show -re --raw "$at" 2>/dev/null | sed -E 's/^0\/[0-9]+/0\/N/' | awk 'NR > 2 { print $1, $4, $5 }' | sort > "$3/$1-btrfs-qgroups"
}

# Nothing that names a device: extents are compared by the metadata, in which a physical volume has a key.
of_lvm() {
    ls -d /sys/block/dm-* > /dev/null 2>&1 || grep -q LVM2_member "$1"/*-blkid 2>/dev/null || return 0
    lvm_says pvs "$1" pv_uuid,vg_name,pv_fmt,pv_size,pv_free,pv_used,pe_start,pv_ba_start,pv_ba_size,pv_mda_count,pv_mda_used_count,pv_mda_size,pv_pe_count,pv_attr,pv_tags,dev_size
    lvm_says vgs "$1" vg_name,vg_uuid,vg_attr,vg_permissions,vg_allocation_policy,vg_size,vg_extent_size,vg_extent_count,vg_free_count,max_lv,max_pv,pv_count,lv_count,snap_count,vg_mda_count,vg_mda_copies,vg_tags,vg_systemid
    lvm_says lvs "$1" lv_full_name,lv_uuid,lv_attr,lv_size,lv_allocation_policy,lv_read_ahead,lv_fixed_minor,origin,pool_lv,data_lv,metadata_lv,lv_metadata_size,lv_tags,lv_time,segtype,stripes,data_stripes,stripe_size,region_size,chunk_size,thin_id,transaction_id,discards,zero,cache_mode,cache_policy,cache_settings,seg_start,seg_size -a
    vgs --noheadings -o vg_name 2>/dev/null | while read -r group; do
        rm -f /run/metadata
        vgcfgbackup -f /run/metadata "$group" > /dev/null 2>&1
        # The head of the file, the hints at device names and the order of volumes say nothing of the group.
        sed -n '/^[a-zA-Z0-9_.+-]* {/,$p' /run/metadata | grep -Ev '^\s*(seqno|device|device_id|device_id_type) =' |
            by_section | sort > "$1/vgcfg-$group"
    done
    return 0
}

# Every line of LVM's metadata with the sections that it stands in.
by_section() {
    awk '
        { line = $0; sub(/^[ \t]+/, "", line) }
        line == "" { next }
        line ~ /\{$/ { sub(/ *\{$/, "", line); path = path "/" line; next }
        line == "}" { sub(/\/[^\/]*$/, "", path); next }
        { count[path]++; printf "%s %03d %s\n", path, count[path], line }
    '
}

# A question that LVM does not answer is no answer.
lvm_says() {
    program=$1 to=$2 columns=$3
    shift 3
    "$program" --noheadings --separator ' | ' -o "$columns" "$@" > /run/answer 2> /run/complaint ||
        cat /run/complaint >> /run/unanswered
    sort /run/answer > "$to/$program"
}

# Every filesystem takes a file, every volume can be read: a device that looks right may still be broken.
exercise() {
    mkdir -p /mnt/x
    nodes > /run/nodes
    while read -r label node; do
        kind=$(type_of "$node")
        [ "$(blockdev --getsize64 "$node")" -ge 1048576 ] || continue
        dd if="$node" of=/dev/null bs=64k count=16 iflag=direct status=none || { echo "$label cannot be read"; return 1; }
        case $kind in
        ext* | xfs | vfat | f2fs | jfs | exfat | nilfs2 | btrfs)
            [ -z "$(findmnt -rn -S "$node")" ] || continue
            # A device inside another one (a plain md mirror's half) is not the filesystem's own.
            [ -z "$(ls "/sys/class/block/$(basename "$(readlink -f "$node")")/holders" 2>/dev/null)" ] || continue
            mount -t "$kind" "$node" /mnt/x || { echo "$label ($kind) cannot be mounted"; return 1; }
            [ -w /mnt/x ] && ! findmnt -rno OPTIONS /mnt/x | grep -q '^ro' && {
                dd if=/dev/urandom of=/mnt/x/drill bs=64k count=8 status=none && sync -f /mnt/x && rm /mnt/x/drill ||
                    { umount /mnt/x; echo "$label ($kind) takes no file"; return 1; }
            }
            umount /mnt/x || return 1
            ;;
        esac
    done < /run/nodes
    return 0
}

# Stops everything that lies on the test disks.
stop_all() {
    cd /
    for _ in 1 2 3 4 5 6; do
        swapoff -a 2>/dev/null
        findmnt -rn -o TARGET | grep -E '^/mnt/[tx]' | sort -r | while read -r at; do umount "$at"; done
        [ -e /sys/module/dm_multipath ] && multipath -F > /dev/null 2>&1
        vgchange -an > /dev/null 2>&1
        for entry in /sys/block/bcache*; do
            [ -e "$entry/bcache/stop" ] && echo 1 > "$entry/bcache/stop"
        done
        for entry in /sys/fs/bcache/*/stop; do [ -e "$entry" ] && echo 1 > "$entry"; done
        dmsetup ls 2>/dev/null | grep -v '^No devices' | while read -r name _; do dmsetup remove --retry "$name" > /dev/null 2>&1; done
        for entry in /sys/block/md*; do
            [ -e "$entry/md" ] && mdadm --stop "/dev/${entry##*/}" > /dev/null 2>&1
        done
        udevadm settle --timeout=120
        is_stopped && return 0
        sleep 0.5
    done
    echo "still there:"
    lsblk
    findmnt
    return 1
}

is_stopped() {
    ls -d /sys/block/dm-* /sys/block/bcache* > /dev/null 2>&1 && return 1
    for entry in /sys/block/md*; do
        [ -e "$entry/md/array_state" ] && [ "$(cat "$entry/md/array_state")" != clear ] && return 1
    done
    findmnt -rn -o TARGET | grep -qE '^/mnt/[tx]' && return 1
    return 0
}

# Stops everything and makes the disks blank.
teardown() {
    stop_all || return 1
    wipe_all
}

wipe_all() {
    [ -e /run/paths-on ] && wipe_path
    while read -r label node; do
        is_touched "$node" || continue
        is_preserved "$label" && continue
        wipe "$node" || return 1
        read -r _ _ _ _ _ _ written _ < "/sys/block/${node##*/}/stat"
        echo "$written" > "/run/written-${node##*/}"
    done < /run/disks
    paths_off
    rm -rf /etc/lvm/backup/* /etc/lvm/archive/* /run/lvm/* /run/mdadm/* /etc/multipath /etc/multipath.conf
    udevadm settle --timeout=120
}

is_preserved() {
    case " $PRESERVE " in *" $1 "*) return 0 ;; esac
    return 1
}

# For each preserved disk its checksum and how much was written to it so far.
sums() {
    while read -r label node; do
        is_preserved "$label" || continue
        read -r _ _ _ _ _ _ written _ < "/sys/block/${node##*/}/stat"
        echo "$label $written $(dd if="$node" bs=1M iflag=direct status=none | md5sum)"
    done < /run/disks
}

wipe_path() {
    for entry in /sys/block/sd*; do
        [ "$(lsblk -dno SERIAL "/dev/${entry##*/}" | tr -d ' ')" = DRILL-M1 ] && wipe "/dev/${entry##*/}" && return
    done
}

wipe() {
    # A discarded range reads as zeroes on these disks; the ends are made sure of.
    blkdiscard -f "$1" 2>/dev/null || dd if=/dev/zero of="$1" bs=1M status=none 2>/dev/null
    read -r sectors < "/sys/block/${1##*/}/size"
    dd if=/dev/zero of="$1" bs=1M count=4 conv=fsync status=none
    dd if=/dev/zero of="$1" bs=1M seek=$((sectors / 2048 - 4)) count=4 conv=fsync status=none
    blockdev --rereadpt "$1" || { echo "$1 is held"; return 1; }
}

# Shortcuts for the layouts.

# md N OPTION…: makes the array /dev/mdN.
md() {
    number=$1
    shift
    mdadm --create "/dev/md$number" --run --quiet --homehost=drill "$@"
    udevadm settle
}

# one_part TYPE DISK…: a GPT with one partition of 256 MiB on each disk.
one_part() {
    kind=$1
    shift
    for disk in "$@"; do
        echo "label: gpt
size=256M, type=$kind" | table "$disk"
    done
}

# group NAME NODE…: a volume group on these devices.
group() {
    name=$1
    shift
    for node in "$@"; do pvcreate -q -y "$node"; done
    vgcreate -q "$name" "$@"
}

# volume OPTION…: a logical volume; whatever lay there is overwritten. Of thin volumes and pools, LVM sees to that itself.
volume() {
    case $* in
    *thin* | *cache*) lvcreate -q -y "$@" ;;
    *) lvcreate -q -y -W y "$@" ;;
    esac
    udevadm settle
}

# at NODE [OPTIONS] NAME: mounts below /mnt/t.
at() {
    if [ $# = 3 ]; then
        mkdir -p "/mnt/t/$3"
        mount -o "$2" "$1" "/mnt/t/$3"
    else
        mkdir -p "/mnt/t/$2"
        mount "$1" "/mnt/t/$2"
    fi
}

# The passphrase of every container.
PASS=drill

# luks NODE NAME OPTION…: a container with that passphrase and a cheap key derivation, opened.
luks() {
    node=$1 name=$2
    shift 2
    printf %s "$PASS" | cryptsetup luksFormat -q --key-file=- --pbkdf-force-iterations 1000 --pbkdf pbkdf2 "$@" "$node"
    open "$node" "$name"
}

open() {
    [ -e "/dev/mapper/$2" ] || printf %s "$PASS" | cryptsetup open --key-file=- "$1" "$2"
    udevadm settle
}

# Assembles the disk behind both paths, and says its node in $mpath.
multipath_on() {
    modprobe dm-multipath
    printf 'defaults {\n  user_friendly_names no\n  find_multipaths no\n}\nblacklist {\n  devnode "^(vd|nvme)"\n  wwid "0?5000c50000000[0-9]*"\n}\n' > /etc/multipath.conf
    multipath -v1 || true
    udevadm settle
    mpath=/dev/mapper/$(multipath -ll -v1 | head -n 1)
    [ -b "$mpath" ]
}
