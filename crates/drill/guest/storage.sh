# Runs in the guest: makes each layout of the queue by hand, has it recreated, compares, one after the other. What
# comes of each is written into the shared folder at once, so that a guest that dies loses only one of them.
#
# Left for the host: out/NAME/result ("ok", "failed" and the reason), out/NAME/log and what was compared.
share=/run/drill
out=$share/out
export LC_ALL=C share
. ./env
. ./storage-lib.sh

say() { echo "drill: $*" > /dev/console; }

start() {
    mkdir -p /mnt/t
    start_udev virtio_scsi sd_mod nvme virtio_rng
    cp "$share/recreate" /run/recreate && chmod 755 /run/recreate
    touch /run/paths-on
    paths_off
    find_disks > /run/disks
    while read -r _ node; do
        read -r _ _ _ _ _ _ written _ < "/sys/block/${node##*/}/stat"
        echo "$written" > "/run/written-${node##*/}"
    done < /run/disks
    cat /run/disks
}

start
for name in $QUEUE; do
    dir=$out/$name
    rm -rf "$dir"
    mkdir -p "$dir"
    say "$name"
    echo start > "$dir/stage"
    began=$(cut -d. -f1 /proc/uptime)
    timeout -k 10 "$LIMIT" sh ./storage-one.sh "$name" > "$dir/log" 2>&1
    code=$?
    seconds=$(($(cut -d. -f1 /proc/uptime) - began))
    stage=$(cat "$dir/stage")
    case $code in
    0) result="ok" ;;
    3) result="failed $(cat "$dir/why")" ;;
    124 | 137) result="failed in '$stage': not done within $LIMIT seconds" ;;
    *) result="failed in '$stage': exit code $code: $(tail -n 1 "$dir/log")" ;;
    esac
    dmesg -c > "$dir/kernel"
    if ! timeout -k 10 120 sh -c '. ./storage-lib.sh; teardown' >> "$dir/log" 2>&1; then
        # Something is held for good: only a new boot gets rid of it.
        echo "$seconds $result" > "$dir/result"
        say "$name: $result; the guest cannot be cleaned"
        touch "$out/stuck"
        exit 0
    fi
    echo "$seconds $result" > "$dir/result"
    say "$name: $result ($seconds s)"
done
exit 0
