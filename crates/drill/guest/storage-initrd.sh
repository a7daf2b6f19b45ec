# Runs once, natively, in a chroot of the base tree: packs an initramfs that does no more than mount the guest's root.
# The distribution's own looks at every device first, which costs half a minute on an emulated processor.
set -eu
into=$(mktemp -d)
cd "$into"
mkdir -p bin lib64 proc sys dev run root modules
for program in sh mount insmod switch_root; do
    real=$(command -v $program)
    cp -L "$real" "bin/$program"
    ldd "$real" | grep -oE '/[^ ]+' | while read -r library; do
        mkdir -p ".${library%/*}"
        cp -L "$library" ".$library"
    done
done
version=$(ls /lib/modules)
number=100
# ext4 asks for the checksum by a name that is not among its dependencies.
for module in crc32c_generic virtio_pci virtio_blk ext4; do
    modprobe -S "$version" --show-depends $module | sed -n 's/^insmod //p'
done | awk '!seen[$1]++ { print $1 }' | while read -r file; do
    cp "$file" "modules/$number-${file##*/}"
    number=$((number + 1))
done
cat > init <<'END'
#!/bin/sh
mount -n -t proc proc /proc
mount -n -t sysfs sys /sys
mount -n -t devtmpfs dev /dev
mount -n -t tmpfs run /run
for module in /modules/*; do insmod "$module"; done
# The disk's driver looks at it in its own time.
until [ -b /dev/vda ]; do :; done
mount -n -t ext4 -o rw /dev/vda /root
mount -n -o move /dev /root/dev
mount -n -o move /sys /root/sys
mount -n -o move /proc /root/proc
exec switch_root /root /usr/lib/drill/helper
END
chmod 755 init
find . | cpio -o -H newc --quiet > /storage-initrd.img
cd /
rm -r "$into"
