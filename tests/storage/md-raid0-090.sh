# RAID 0 with metadata 0.90, as mdadm made it before 4.2: those that make none refuse it, with what to do.
EXPECT="refused: raid0 with metadata 0.90"
create() {
    for disk in "$d1" "$d2"; do echo 'label: dos
start=2048, size=262144, type=fd' | table "$disk"; done
    # This mdadm makes no such array either: one of the kind that differs only by its level becomes it.
    md 5 --level=linear --metadata=0.90 --raid-devices=2 --rounding=128 "$(part "$d1" 1)" "$(part "$d2" 1)"
    mdadm --stop /dev/md5
    for disk in "$d1" "$d2"; do as_raid0 "$(part "$disk" 1)"; done
    mdadm --assemble /dev/md5 "$(part "$d1" 1)" "$(part "$d2" 1)"
    [ "$(cat /sys/block/md5/md/level)" = raid0 ]
    mkfs.ext4 -q -L old /dev/md5
}
# The superblock (md_p.h): word 7 is the level, 38 the checksum, 65 the size of a chunk.
as_raid0() {
    perl -e '
        my ($node, $sectors) = @ARGV;
        my $at = (($sectors & ~127) - 128) * 512;
        my ($disk, $block);
        open($disk, "+<", $node) && sysseek($disk, $at, 0) && sysread($disk, $block, 4096) == 4096 or die $!;
        my @words = unpack("V1024", $block);
        $words[0] == 0xa92b4efc or die "no superblock";
        @words[7, 38, 65] = (0, 0, 131072);
        my $sum = 0;
        $sum += $_ for @words;
        $words[38] = ($sum & 0xffffffff) + ($sum >> 32);
        sysseek($disk, $at, 0) && syswrite($disk, pack("V1024", @words)) == 4096 or die $!;
    ' "$1" "$(blockdev --getsz "$1")"
}
