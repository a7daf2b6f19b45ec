# Runs `rear mkbackup` inside the scenario's own machine, without the shared folder being mounted.
set -u
. ./env
out=/run/drill-work/out
share=/run/drill
fail() { echo "FAILED: $*"; exit 1; }

systemctl is-system-running --wait
lsblk -P -b -o NAME,TYPE,SIZE,FSTYPE,UUID,LABEL,PARTUUID,MOUNTPOINT > $out/lsblk
[ -f $share/rear ] && { install -m 755 $share/rear /usr/sbin/rear || fail "cannot install rear"; }
mkdir -p /etc/rear
[ -f $share/local.conf ] && cp $share/local.conf /etc/rear/local.conf
[ -f $share/faults.sh ] && cp $share/faults.* /run/drill-work/
[ -f $share/spoil.sh ] && cp $share/spoil.sh $share/mend.sh /run/drill-work/
sync
umount $share || fail "cannot detach the share"

# Two files that are written in turn while the backup runs, one of which is read first and the other last: as of one moment, the
# first is as far as the second, or one ahead.
write_in_turn() {
    n=0
    while :; do
        n=$((n + 1))
        for at in 0-drill zz-drill; do
            echo $n > /$at/new
            mv /$at/new /$at/number
        done
        sleep 0.2
    done
}
if [ -n "$SNAPSHOTS" ]; then
    mkdir -p /0-drill /zz-drill
    write_in_turn &
    writer=$!
fi

echo "== rear mkbackup"
command time -f 'seconds %e\nuser %U\nsystem %S\nrss_kib %M' -o $out/time rear $REAR_OPTIONS mkbackup > $out/mkbackup.log 2>&1
code=$?
cat $out/mkbackup.log
cat $out/time
cp -r /var/log/rear $out/log-rear 2>/dev/null
[ -z "$SNAPSHOTS" ] || kill $writer
[ $code = 0 ] || fail "rear mkbackup ended with exit code $code"
if [ -f /run/drill-work/spoil.sh ]; then
    echo "== what somebody will regret, and rear mkbackup once more"
    bash -ex /run/drill-work/spoil.sh || fail "the machine was not spoilt"
    rear $REAR_OPTIONS mkbackup > $out/mkbackup-again.log 2>&1
    code=$?
    cat $out/mkbackup-again.log
    [ $code = 0 ] || fail "the second rear mkbackup ended with exit code $code"
    bash -ex /run/drill-work/mend.sh || fail "the machine was not mended"
fi

iso=
for dir in "/var/lib/rear/out/$HOST" /var/lib/rear/out /var/lib/rear/output; do
    [ -z "$iso" ] && [ -f "$dir/rear-$HOST.iso" ] && iso="$dir/rear-$HOST.iso"
done
[ -n "$iso" ] || { find /var/lib/rear -xdev | head -50; fail "no rear-$HOST.iso was made"; }
echo "== $iso"
stat -c '%s' "$iso" > $out/iso-bytes
# What the rescue image weighs: the largest file of the ISO that is an initramfs by its name.
mkdir -p /run/iso
if mount -o loop,ro "$iso" /run/iso; then
    find /run/iso -type f -printf '%s %P\n' > $out/iso-files
    umount /run/iso
fi
if [ -n "$SNAPSHOTS" ]; then
    echo "== snapshots"
    still=$(sed -n 's/^.*as of this moment: \([^;]*\).*$/\1/p' $out/mkbackup.log | tr -d ' ' | head -n 1)
    for mount in $SNAPSHOTS; do
        case ",$still," in *",$mount,"*) ;; *) fail "$mount was not read from a snapshot, but: $still" ;; esac
    done
    rear restore /0-drill/number /zz-drill/number --from "$iso" --to /run/moment || fail "the two files are not in the backup"
    first=$(cat /run/moment/0-drill/number) last=$(cat /run/moment/zz-drill/number)
    echo "read first: $first, read last: $last, now: $(cat /zz-drill/number)"
    [ "$first" = "$last" ] || [ "$first" = $((last + 1)) ] || fail "the files are not of one moment: $first and $last"
    [ "$(cat /zz-drill/number)" -gt $((last + 5)) ] || fail "nothing was written while the backup ran"
    ! lvs --noheadings -o lv_name,lv_tags | grep rear-backup || fail "a snapshot is left"
    findmnt -rno TARGET -t btrfs | while read -r mount; do btrfs subvolume list "$mount"; done > $out/subvolumes
    ! grep rear-backup $out/subvolumes || fail "a snapshot of a btrfs is left"
fi
if [ -f /run/drill-work/faults.sh ]; then
    echo "== wrong conditions and interruptions"
    bash /run/drill-work/faults.sh "$iso" "$(cat /run/drill-work/faults.amount)" > $out/faults.log 2>&1
    code=$?
    cat $out/faults.log
    [ $code = 0 ] || fail "not every fault ended well"
fi
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 drill $share || fail "cannot attach the share again"
cp "$iso" $share/out/rear.iso || fail "cannot copy the ISO"
