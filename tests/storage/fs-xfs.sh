# xfs of today and of long ago, with all kinds of geometry.
create() {
    echo 'label: gpt
size=310M
size=320M' | table "$d1"
    echo 'label: gpt
size=310M
size=320M' | table "$d2"
    mkfs.xfs -q -L today "$(part "$d1" 1)"
    mkfs.xfs -q -m crc=0 -n ftype=0 -i size=512 -d agcount=3 "$(part "$d1" 2)" || mkfs.xfs -q "$(part "$d1" 2)"
    mkfs.xfs -q -m reflink=0,rmapbt=1,finobt=1,bigtime=0,inobtcount=0 -i size=1024,maxpct=10 -d su=64k,sw=2,agcount=2 -l size=64m "$(part "$d2" 1)"
    mkfs.xfs -q -b size=1024 -n size=8192 -l size=64m "$(part "$d2" 2)"
}
