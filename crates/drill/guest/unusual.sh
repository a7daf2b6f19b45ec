# Makes files that a careless backup loses something of, in the directory $1. What its filesystem cannot hold is named in LACKS:
# old-times (before 1970), xattrs (and what is kept in them: ACLs, capabilities).
set -eu
has() {
    case " ${LACKS-} " in *" $1 "*) return 1 ;; esac
}
cd "$1"
mkdir unusual
cd unusual

echo plain > plain
touch -d '2019-03-04 05:06:07.123456789' plain
echo old > before-1970
if has old-times; then touch -d '1965-01-02 03:04:05.5' before-1970; fi
echo far > after-2038
touch -d '2044-05-06 07:08:09.000000001' after-2038

if has xattrs; then
    echo attributes > xattr
    setfattr -n user.comment -v 'seen by everyone' xattr
    setfattr -n user.binary -v 0x00ff0080 xattr
    setfattr -n trusted.overlay.opaque -v y xattr
    echo acl > acl
    setfacl -m u:1234:rw,g:5678:r acl
    mkdir acl-default
    setfacl -m u:1234:rwx acl-default
    setfacl -d -m u:1234:rwx,g:5678:rx acl-default
    cp /bin/true capable
    setcap cap_net_raw,cap_net_admin+ep capable
fi

cp /bin/true setuid
chown 1234:5678 setuid
chmod 6755 setuid
mkdir sticky
chmod 1777 sticky
mkdir empty private
chmod 0700 private
echo huge-owner > huge-owner
chown 4000000000:4000000001 huge-owner

echo linked > link-1
ln link-1 link-2
mkdir elsewhere
ln link-1 elsewhere/link-3
ln -s plain symlink
ln -s "/no/such/target with blanks" dangling
chown -h 1234:5678 dangling
touch -h -d '2001-02-03 04:05:06.789' dangling

truncate -s 200M sparse
printf start | dd of=sparse conv=notrunc 2>/dev/null
printf middle | dd of=sparse bs=1M seek=100 conv=notrunc 2>/dev/null
truncate -s 1M only-a-hole
: > no-bytes

mknod block b 7 99
mknod char c 1 3
chmod 0640 char
mkfifo fifo

printf x > "$(printf 'latin1-\344\366\374')"
printf x > "$(printf 'two\nlines')"
printf x > "$(printf 'tab\there and "quotes" and \\backslash')"
printf x > ' leading and trailing blanks '
printf x > '-rf'
printf x > "$(printf 'n%.0s' $(seq 255))"

echo immutable > immutable
echo append > append-only
echo nodump > nodump
chattr +d nodump
chattr +a append-only
chattr +i immutable

cd ..
mkdir -p 'my cache/deep'
echo derived > 'my cache/derived'
echo derived > 'my cache/deep/derived'
