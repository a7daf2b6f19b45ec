#!/bin/bash
# Runs inside a guest after a good `rear mkbackup`: wrong conditions and interruptions must give a clear error, lose
# nothing, and leave nothing behind. Prints a line for each check; exits 1 if one failed.
# Usage: faults.sh PATH-OF-THE-ISO quick|all|disk (disk: only what a disk does that is pulled out)

iso=$1
amount=$2
out=$(dirname "$iso")
failed=0
good=$(sha256sum "$iso" | cut -d' ' -f1)
mounts=$(sort /proc/mounts)

ok() { echo "fault ok: $*"; }
bad() { echo "fault FAILED: $*"; failed=1; }

# Nothing half-made, no mount, and the medium of before is untouched.
intact() {
    local what=$1
    [ "$(sha256sum "$iso" | cut -d' ' -f1)" = "$good" ] || bad "$what: the previous ISO changed"
    [ -z "$(find "$out" /var/lib/rear /var/tmp /tmp -xdev \( -name 'rear.*' -type d -o -name '*.partial-*' \) 2>/dev/null)" ] \
        || bad "$what: temporary files are left: $(find "$out" /var/lib/rear /var/tmp /tmp -xdev -name 'rear.*' -type d)"
    [ "$(sort /proc/mounts)" = "$mounts" ] || bad "$what: mounts are left"
    pgrep -x xorriso >/dev/null && bad "$what: xorriso is still running"
    return 0
}

# expect NAME CODE WORD COMMAND...: exit code and a word of the message.
expect() {
    local name=$1 code=$2 word=$3 text got
    shift 3
    text=$("$@" 2>&1 </dev/null)
    got=$?
    if [ "$got" != "$code" ]; then
        bad "$name: exit code $got instead of $code: $text"
    elif ! grep -qi -- "$word" <<<"$text"; then
        bad "$name: '$word' is not in the message: $text"
    else
        ok "$name"
    fi
    intact "$name"
}

conf() { printf '%s\n' "$@" > /run/fault.conf; }

# The stage as the log tells it, then the signal.
interrupt() {
    local stage=$1 signal=$2 code=$3 pid got waited=0
    rear mkbackup >/run/fault.out 2>&1 </dev/null &
    pid=$!
    until grep -q "begin stage=\"$stage\"" "/var/log/rear/rear-$(hostname).log" 2>/dev/null; do
        sleep 0.2
        waited=$((waited + 1))
        if ! kill -0 $pid 2>/dev/null || [ $waited -gt 3000 ]; then
            bad "the stage $stage was never reached: $(cat /run/fault.out)"
            wait $pid
            return
        fi
    done
    sleep 0.5
    if [ "$signal" = KILL ]; then
        second=$(rear mkbackup 2>&1 </dev/null)
        case "$?:$second" in
        3:*"another rear"*) ok "a second rear at once" ;;
        *) bad "a second rear at once: $second" ;;
        esac
    fi
    kill -"$signal" $pid
    wait $pid
    got=$?
    if [ "$got" = "$code" ]; then ok "SIG$signal in stage $stage"; else
        bad "SIG$signal in stage $stage: exit code $got instead of $code: $(cat /run/fault.out)"; fi
}

# A log of before would name stages that this run has not reached.
reset() { rm -f "/var/log/rear/rear-$(hostname).log"; }

# A disk that is pulled out while it is written to, and is attached again: the backup on it is still there, the next run
# removes what the broken one left, and a clock that was set back does no harm.
stick() {
    echo '- - -' > "/sys/class/scsi_host/$host_of_stick/scan"
    udevadm settle
    disk=$(ls "/sys/class/scsi_host/$host_of_stick/device/"target*/*/block 2>/dev/null | head -n 1)
    [ -n "$disk" ] || { bad "the disk is not there: $(lsblk)"; return 1; }
}
pulled_out() {
    local point="/mnt/small/$(hostname)/backup" sums today
    modprobe scsi_debug dev_size_mb=600 || { bad "no scsi_debug"; return; }
    host_of_stick=$(basename "$(ls -d /sys/bus/pseudo/devices/adapter0/host*)")
    stick || return
    mkfs.ext4 -q -F "/dev/$disk" && mount "/dev/$disk" /mnt/small || { bad "the disk cannot be used"; return; }
    mounts=$(sort /proc/mounts)
    conf 'BACKUP_URL=file:///mnt/small' 'OUTPUT_URL=file:///var/lib/rear/out' 'BACKUP_ONLY_INCLUDE=yes' 'BACKUP_PROG_INCLUDE=( /usr/lib )'
    expect "a backup on another disk" 0 "complete" rear -C /run/fault.conf mkbackuponly
    sums=$(cd "$point" && sha256sum *)
    sync
    reset
    rear -C /run/fault.conf mkbackuponly >/run/fault.out 2>&1 </dev/null &
    until grep -q 'begin stage="archive"' "/var/log/rear/rear-$(hostname).log" 2>/dev/null || ! kill -0 $!; do sleep 0.2; done
    sleep 0.5
    echo 1 > "/sys/block/$disk/device/delete"
    wait $!
    case "$?:$(cat /run/fault.out)" in
    4:*/mnt/small*) ok "the destination disappears" ;;
    *) bad "the destination disappears: $(cat /run/fault.out)" ;;
    esac
    umount -l /mnt/small
    stick || return
    fsck.ext4 -fp "/dev/$disk" >/run/fault.out 2>&1
    mount "/dev/$disk" /mnt/small || { bad "the disk cannot be mounted again: $(cat /run/fault.out)"; return; }
    mounts=$(sort /proc/mounts)
    [ "$(cd "$point" && sha256sum *)" = "$sums" ] || bad "the backup of before has changed: $(ls -la "$point")"
    expect "the backup of before" 0 "proven\|whole" rear verify --from "$point"
    ls -d "/mnt/small/$(hostname)"/rear.* >/dev/null 2>&1 || echo "(the broken run left nothing)"
    today=$(date +%s)
    date -s '2001-02-03 04:05:06' >/dev/null
    expect "a clock that was set back" 0 "complete" rear -C /run/fault.conf mkbackuponly
    expect "a backup of 2001" 0 "2001-02-03" rear list --from "$point"
    date -s "@$((today + 60))" >/dev/null
    expect "the right time again" 0 "complete" rear -C /run/fault.conf mkbackuponly
    [ "$(ls "/mnt/small/$(hostname)")" = backup ] || bad "what the broken run left is still there: $(ls -a "/mnt/small/$(hostname)")"
    expect "the backup after all that" 0 "proven\|whole" rear verify --from "$point"
    umount /mnt/small
    mounts=$(sort /proc/mounts)
    modprobe -r scsi_debug
}
if [ "$amount" = disk ]; then
    mkdir -p /mnt/small
    pulled_out
    rm -f /run/fault.conf /run/fault.out
    rmdir /mnt/small
    exit $failed
fi

expect "plan on the running machine" 0 "nothing was changed" rear recover --plan
expect "recover on the running machine" 3 "rescue system" rear recover
before=$(find /var/lib/rear -printf '%p %T@ %s\n' | sort)
expect "checklayout, same" 0 "same" rear checklayout
swap=$(awk 'NR > 1 { print $1; exit }' /proc/swaps)
label=$(swaplabel "$swap" | sed -n 's/^LABEL: *//p')
relabel() { swapoff "$swap" && swaplabel -L "$1" "$swap" && swapon "$swap" || bad "the swap space cannot be relabelled"; }
relabel changed
expect "checklayout, changed" 1 "changed" rear checklayout
relabel "$label"
expect "checklayout, as before again" 0 "same" rear checklayout
[ "$before" = "$(find /var/lib/rear -printf '%p %T@ %s\n' | sort)" ] || bad "checklayout wrote to /var/lib/rear"
mv /var/lib/rear/layout /var/lib/rear/layout.away
expect "checklayout without a saved layout" 3 "no saved layout" rear checklayout
mv /var/lib/rear/layout.away /var/lib/rear/layout

conf 'KERNEL_FILE=/nonexistent'
expect "no kernel found" 3 "KERNEL_FILE" rear -C /run/fault.conf mkbackup
cp -a /etc/fstab /run/fstab
echo 'UUID=deadbeef-0000-0000-0000-000000000000 /data ext4 defaults 0 2' >> /etc/fstab
expect "dangling fstab entry" 3 "deadbeef" rear mkbackup
cp -a /run/fstab /etc/fstab
mv /usr/bin/xorriso /usr/bin/xorriso.away
expect "missing tool" 3 "xorriso" rear mkbackup
mv /usr/bin/xorriso.away /usr/bin/xorriso
mkdir -p /mnt/small
mount -t tmpfs -o size=100m tmpfs /mnt/small
mounts=$(sort /proc/mounts)
conf 'OUTPUT_URL=file:///mnt/small'
expect "too little space, seen before work" 3 "free" rear -C /run/fault.conf mkbackup
umount /mnt/small
mounts=$(sort /proc/mounts)

# The other workflows: the backup alone, in a directory, and the medium alone, which does not take the place of the one
# with the backup.
mount -t tmpfs -o size=800m tmpfs /mnt/small
mounts=$(sort /proc/mounts)
host=$(hostname)
expect "mkbackuponly onto the medium itself" 3 "BACKUP_URL" rear mkbackuponly
conf 'BACKUP_URL=file:///var/backup' 'OUTPUT_URL=file:///var/lib/rear/out'
expect "a backup on a disk that its recovery erases" 3 "destroyed" rear -C /run/fault.conf mkbackuponly
conf 'BACKUP_URL=file:///mnt/small' 'OUTPUT_URL=file:///var/lib/rear/out'
expect "mkbackuponly" 0 "complete" rear -C /run/fault.conf mkbackuponly
[ -s "/mnt/small/$host/backup/recovery-point.json" ] || bad "mkbackuponly left no seal"
expect "a plan from a directory" 0 "nothing was changed" rear recover --plan --from "/mnt/small/$host/backup"
if [ "$amount" != quick ]; then
    rm -rf "/mnt/small/$host/backup/archive.tar.zst"
    expect "a recovery point with a missing part" 3 "not whole" rear recover --plan --from "/mnt/small/$host/backup"
    expect "mkbackuponly once more" 0 "complete" rear -C /run/fault.conf mkbackuponly
    [ "$(ls "/mnt/small/$host")" = backup ] || bad "the previous backup is left: $(ls "/mnt/small/$host")"
fi
expect "mkrescue" 0 "without files" rear mkrescue
rescue=${iso%.iso}-rescue.iso
[ -s "$rescue" ] || bad "mkrescue left no $rescue"
rm -f "$rescue"
umount /mnt/small
mounts=$(sort /proc/mounts)

for run in "rescue INT" "archive TERM"; do
    set -- $run
    reset
    interrupt "$1" "$2" 130
    intact "SIG$2 in stage $1"
done
if [ "$amount" != quick ]; then
    for run in "probe TERM" "check INT" "medium INT" "medium TERM"; do
        set -- $run
        reset
        interrupt "$1" "$2" 130
        intact "SIG$2 in stage $1"
    done
    # More than the least, less than what is needed: the disk runs full in the middle of the work.
    mount -t tmpfs -o size=640m tmpfs /mnt/small
    mounts=$(sort /proc/mounts)
    conf 'OUTPUT_URL=file:///mnt/small'
    expect "the output filesystem runs full" 4 "space" rear -C /run/fault.conf mkbackup
    [ -z "$(find /mnt/small -type f)" ] || bad "files are left on the full filesystem: $(find /mnt/small -type f)"
    umount /mnt/small
    mounts=$(sort /proc/mounts)
fi
reset
mounts_before_kill=$mounts
interrupt archive KILL 137
[ "$(sort /proc/mounts)" = "$mounts_before_kill" ] || bad "SIGKILL: mounts are left"
# A killed run cannot clean up; the next one does.
ls -d "$out"/rear.* >/dev/null 2>&1 || bad "SIGKILL left no working directory: the check of the next run proves nothing"
reset
interrupt rescue INT 130
intact "the run after SIGKILL"
rm -f /run/fault.conf /run/fault.out /run/fstab
rmdir /mnt/small
exit $failed
