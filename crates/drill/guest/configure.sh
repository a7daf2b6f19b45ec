#!/bin/sh
# Runs once, natively, in a chroot of the fresh base tree: makes a quiet machine of it, one that answers on a
# serial console and in which nothing writes to the disks by itself.
set -eu
export DEBIAN_FRONTEND=noninteractive

echo drill > /etc/hostname
printf '127.0.0.1\tlocalhost\n127.0.1.1\tdrill\n' > /etc/hosts
echo root:drill | chpasswd
printf 'auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n' > /etc/network/interfaces
echo 'RESUME=none' > /etc/initramfs-tools/conf.d/resume
cat > /etc/default/grub <<'END'
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX="net.ifnames=0 console=tty0 console=ttyS0,115200 mitigations=off"
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_DISABLE_OS_PROBER=true
END
# os-release and the like stay; the journal stays in memory, so that /var/log is quiet.
rm -rf /var/log/journal
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer logrotate.timer man-db.timer systemd-tmpfiles-clean.timer; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
chmod 755 /usr/lib/drill/agent /usr/lib/drill/helper
ln -sf /lib/systemd/system/drill-agent.service /etc/systemd/system/multi-user.target.wants/drill-agent.service

# Something that does not compress, so that sizes and times are those of a real machine.
dd if=/dev/urandom of=/srv/random.bin bs=1M count=64 2>/dev/null
apt-get clean
rm -f /debootstrap/debootstrap.log
update-initramfs -u
