# For the layouts that look at snapshots: has the program show them, and looks for what is left of them. The layout reads this
# file itself; nothing here makes a layout.

# start [strict]: shows the snapshots below /run/shown in the background.
start() {
    rm -rf /run/shown
    mkdir -p /run/shown
    /run/recreate snapshots /run/shown "$@" > /run/said 2> /run/said-err &
    process=$!
    for _ in $(seq 600); do
        [ ! -e /run/shown/ready ] || return 0
        # One that has ended is still there until it is waited for.
        readlink /proc/$process/exe > /dev/null || break
        sleep 0.2
    done
    cat /run/said /run/said-err
    false
}

# None of ours is left.
no_snapshots() {
    [ -z "$(lvs --noheadings -o lv_name -S 'lv_tags=rear-backup')" ]
}
