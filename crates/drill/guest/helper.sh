#!/bin/sh
# First process of a helper machine (kernel option init=): no services, only what the agent needs. Helper
# machines make layouts and compare disks; they run on a throw-away copy of the base image.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mkdir -p /dev/pts
mountpoint -q /dev/pts || mount -t devpts devpts /dev/pts
[ -d /sys/firmware/efi ] && mount -t efivarfs efivarfs /sys/firmware/efi/efivars
mount -o remount,rw /
/usr/lib/drill/agent
# Not reached unless the agent found no share.
systemctl poweroff -ff
