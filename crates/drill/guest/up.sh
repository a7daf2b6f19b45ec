# Tells how the recovered machine came up. The drill judges it.
out=/run/drill-work/out
systemctl is-system-running --wait > $out/running
systemctl --failed --no-legend --plain > $out/failed
findmnt -rn -o TARGET,SOURCE,FSTYPE,UUID,OPTIONS --real > $out/mounts
swapon --show=NAME,UUID --noheadings --raw > $out/swaps
lsblk -P -b -o NAME,TYPE,SIZE,FSTYPE,UUID,LABEL,PARTUUID,MOUNTPOINT > $out/lsblk
cat /proc/mdstat > $out/mdstat 2>/dev/null
hostname > $out/hostname
ip -o addr show > $out/addresses
[ -d /sys/firmware/efi ] && efibootmgr -v > $out/efibootmgr
# The value follows four bytes of attributes.
od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-* 2>/dev/null | tr -d ' ' > $out/secure-boot
ls -la /var/log/rear/recover > $out/recover-logs 2>&1
cp -r /var/log/rear/recover $out/logs 2>/dev/null
dmesg --level=emerg,alert,crit,err > $out/kernel-errors
exit 0
