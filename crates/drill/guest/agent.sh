#!/bin/sh
# Looks for a shared folder with the tag "drill". Without it (an ordinary boot, a recovery) it does nothing.
# With it, it runs the script that lies there, leaves output and exit code there, and powers off.
modprobe -q 9pnet_virtio
modprobe -q 9p
grep -qs '^drill' /sys/bus/virtio/drivers/9pnet_virtio/virtio*/mount_tag || exit 0

share=/run/drill
work=/run/drill-work
attach() {
    mkdir -p "$share" && mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 drill "$share"
}
mkdir -p "$work/out"
attach || { echo "drill: the shared folder cannot be mounted" > /dev/console; sleep 1; poweroff; exit 1; }
cp "$share"/*.sh "$share"/env "$work"/
cd "$work" || exit 1
sh ./run.sh > "$work/out/log" 2>&1 < /dev/null
code=$?
mountpoint -q "$share" || attach
cp -r "$work"/out/. "$share"/out/
echo "$code" > "$share/out/exit"
cd /
sync
umount "$share"
echo "drill: the agent's script ended with $code" > /dev/console
if [ $$ = 1 ] || [ "$PPID" = 1 ] && [ ! -d /run/systemd/system ]; then
    systemctl poweroff -ff
else
    systemctl poweroff
fi
