# What lay on the disks before, of every kind, must be gone: at the beginning, in the middle and at the end.
create() {
    echo 'label: gpt
start=2048, size=131072
start=200000, size=100000
start=400000, size=200000, type=raid' | table "$d1"
    echo 'label: gpt
start=400000, size=200000, type=raid' | table "$d2"
    mkfs.ext4 -q "$(part "$d1" 1)"
    md 0 --level=1 --raid-devices=2 --bitmap=none --assume-clean "$(part "$d1" 3)" "$(part "$d2" 1)"
    mkfs.ext4 -q /dev/md0
}
stale() {
    # Where the new partitions will begin and end: everything that a tool could find there.
    for place in 2048 200000 400000; do
        for disk in "$d1" "$d2"; do
            table "$disk" <<END
label: gpt
start=$place, size=100000
END
            node=$(part "$disk" 1)
            case $place in
            2048) mkfs.btrfs -q -f -m single "$node"; mkfs.xfs -q -f "$node" 2> /dev/null || true; mkswap -q -f "$node" ;;
            200000) pvcreate -q -y -ff "$node"; mdadm --zero-superblock "$node" 2> /dev/null || true
                printf x | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file=- "$node" ;;
            400000) mkfs.jfs -q "$node"; md 9 --level=1 --force --raid-devices=1 --metadata=1.0 --bitmap=none "$node"; mdadm --stop /dev/md9 ;;
            esac
            dd if="$disk" of=/run/head bs=512 skip=$place count=4096 status=none
            wipefs -q -a -f "$disk"
            udevadm settle
        done
    done
    # The whole disks: an array at the end, a volume group at the beginning, a table of the other kind.
    md 8 --level=1 --force --raid-devices=1 --metadata=0.90 --bitmap=none "$d1"
    mdadm --stop /dev/md8
    group stale "$d2"
    lvcreate -q -y -n old -L 32M stale
}
