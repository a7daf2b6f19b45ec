# MBR with an extended partition, logical ones with gaps between, an active one, and odd types.
create() {
    table "$d1" <<'END'
label: dos
label-id: 0xdeadbeef
start=2048, size=65536, type=83, bootable
start=100000, size=900000, type=5
start=1003520, size=32768, type=c
start=102048, size=100000, type=83
start=220000, size=200000, type=82
start=500000, size=100000, type=83
END
    mkfs.ext3 -q "$(part "$d1" 1)"
    mkfs.vfat -F 32 -s 1 -n DOSPART -i cafe0001 "$(part "$d1" 3)" || mkfs.vfat -n DOSPART "$(part "$d1" 3)"
    mkfs.ext2 -q -L logical "$(part "$d1" 5)"
    mkswap -q "$(part "$d1" 6)"
}
