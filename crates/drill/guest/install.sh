# Installs the base tree onto the scenario's layout. The generated half (layout.sh) defines `name_disks`, `partition`,
# `build`, `format`, `attach`, `fstab`, `swap_file`, `boot_loader` from the scenario. Where things lie on each other (STACKED), the
# functions of storage-lib.sh are there for `build`.
set -eu
. ./lib.sh
. ./env
. ./layout.sh
base=/mnt/base
target=/mnt/target
mkdir -p $base $target
# What the boot loader's programs have to see inside.
inside="dev proc sys"
if [ -n "$STACKED" ]; then
    set +u
    . ./storage-lib.sh
    start_udev
    inside="$inside run"
fi
side=target
name_disks

say partitioning
partition
udevadm settle 2>/dev/null || true
say "building and formatting"
build
format
attach $target

say "copying the base tree"
mount -o ro,noload "$(disk base-copy)" $base
cp -a $base/. $target/
umount $base
rmdir $target/lost+found 2>/dev/null || true

fstab > $target/etc/fstab
swap_file $target
echo "$HOST" > $target/etc/hostname
printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n' "$HOST" > $target/etc/hosts
dd if=/dev/urandom bs=16 count=1 2>/dev/null | od -An -tx1 | tr -d ' \n' > $target/etc/machine-id
echo >> $target/etc/machine-id

say "making unusual files"
sh ./unusual.sh $target/srv
# A filesystem of its own gets some of them, too.
mountpoint -q $target/home && cp -a $target/srv/unusual $target/home/

for file in /run/drill/noise-*; do
    [ -e "$file" ] || continue
    say "copying ${file##*/}"
    cp "$file" $target/srv/
done

say "installing the boot loader"
for dir in $inside; do mount --rbind /$dir $target/$dir; done
boot_loader $target
for dir in $inside; do umount -R -l $target/$dir; done

say "unmounting"
sync
umount -R $target
sync
if [ -n "$STACKED" ]; then
    set +e
    stop_all
fi
