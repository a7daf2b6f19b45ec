# One layout: create, save, wipe, recreate, save again, compare. The layout's file says how by functions:
#   create  makes it by hand, with the distribution's tools (must)
#   up      what belongs to it each time before it is saved: mounts, waiting
#   down    stops what the drill cannot stop by itself
#   stale   leaves signatures of other things on the wiped disks
#   check   looks at the recreated layout more closely
#   gone    removes by hand, once it is saved, what by a rule does not come back
#   expect  $1 holds what the tools said of the original: changes there what is known to come back otherwise, and says why
# and by variables: EXPECT="refused: words of the reason", KEEP=1 (the disks are not wiped before they are recreated),
# NEW_KEYS=1 (containers come back with a new passphrase, without their headers), RULES="SETTING=NAME…" (what is left out),
# PRESERVE="d2…" (disks that are neither made blank nor written by the recovery: bit-identical).
name=$1
dir=$share/out/$name
. ./storage-lib.sh
EXPECT=
KEEP=
NEW_KEYS=
RULES=
PRESERVE=
up() { :; }
down() { :; }
stale() { :; }
check() { :; }
gone() { :; }
expect() { :; }
disks_as_variables
. "$share/layouts/$name.sh"

stage() {
    read -r up _ < /proc/uptime
    echo "== $* ($up)"
    echo "$*" > "$dir/stage"
}

fail() {
    echo "in '$(cat "$dir/stage")': $*" > "$dir/why"
    echo "FAILED $*"
    exit 3
}

# Runs a function, every command shown, and stops at the first that fails.
must() {
    stage "$1"
    ( set -eux; "$1" )
    code=$?
    [ $code = 0 ] || fail "exit code $code: $(grep -v '^+' "$dir/log" | tail -n 1)"
}

product() {
    words=$*
    /run/recreate "$@" 2> "$dir/stderr"
    code=$?
    cat "$dir/stderr"
    return $code
}

said() { tail -n 1 "$dir/stderr"; }

refused() {
    case $EXPECT in
    "refused: "*)
        if grep '^recreate: ' "$dir/stderr" | grep -q -- "${EXPECT#refused: }"; then
            echo "refused as expected"
            exit 0
        fi
        fail "refused, but not for the expected reason: $(said)"
        ;;
    esac
    fail "$(said)"
}

rm -f /run/unanswered
must create
stage settle
settle
must up
stage save
product save "$dir/a.json" ${NEW_KEYS:+new-keys} $RULES || refused
cp "$dir/stderr" "$dir/coverage"
must gone
raw "$dir/a"
expect "$dir/a"
must down
stage teardown
if [ -n "$KEEP" ]; then
    stop_all || fail "the layout cannot be stopped"
else
    teardown || fail "the layout cannot be stopped"
fi
must stale
sums > "$dir/preserved"
rm -rf /etc/lvm/backup/* /etc/lvm/archive/* /run/lvm/* /run/mdadm/*
settle
stage plan
product plan "$dir/a.json" > "$dir/plan" || { cat "$dir/plan"; refused; }
cat "$dir/plan"
[ -z "$EXPECT" ] || fail "it was not refused"
stage apply
product apply "$dir/a.json" || fail "$(said)"
stage preserved
sums > "$dir/preserved-after"
cmp "$dir/preserved" "$dir/preserved-after" || fail "a preserved disk was written: $(diff "$dir/preserved" "$dir/preserved-after" | tail -n 1)"
stage settle-again
settle
must up
stage save-again
product save "$dir/b.json" ${NEW_KEYS:+new-keys} $RULES || fail "$(said)"
raw "$dir/b"
[ ! -s /run/unanswered ] || fail "the drill's own question was not answered: $(tail -n 1 /run/unanswered)"
stage compare
product diff "$dir/a.json" "$dir/b.json" > "$dir/diff-layout"
code=$?
cat "$dir/diff-layout"
diff -ruN "$dir/a" "$dir/b" > "$dir/diff-raw" 2>&1
raw_code=$?
cat "$dir/diff-raw"
[ $code = 0 ] || fail "the layout differs: $(head -n 1 "$dir/diff-layout" | cut -c 1-400)"
if [ $raw_code != 0 ]; then
    fail "the tools' outputs differ: $(grep '^[-+]' "$dir/diff-raw" | grep -v '^\(---\|+++\)' | head -n 2 | tr '\n' ' ' | cut -c 1-400)"
fi
must check
stage exercise
exercise || fail "$(tail -n 1 "$dir/log")"
must down
exit 0
