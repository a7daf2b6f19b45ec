# The same array again over itself: nothing was wiped, and the kernel has it running.
KEEP=1
create() {
    one_part raid "$d1" "$d2"
    md 0 --name=keep --level=1 --raid-devices=2 --bitmap=internal --assume-clean "$(part "$d1" 1)" "$(part "$d2" 1)"
    mkfs.ext4 -q /dev/md0
}
stale() { mdadm --assemble --run /dev/md0 "$(part "$d1" 1)" "$(part "$d2" 1)"; udevadm settle; }
