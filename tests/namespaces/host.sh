# What makes a namespace a host: disks of its own, and stand-ins for what is not there, which is a service manager, the
# compiler that has run already, and other machines with their files. HOST is the folder of the disks, HOSTS that of
# all hosts, VAULT what the file server has.
set -euo pipefail
unset "${!DMDL_@}"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# A namespace has mounts of its own, and they end with it: here is where the host boots, each time.
for disk in etc var/lib usr/local usr/share/doc; do
    command mount --bind "$HOST/$disk" "/$disk"
done

mount() {
    grep -q "^vault.example:/dmdl $1 " /etc/fstab
    command mount --bind "$VAULT" "$1"
}
while read -r _ folder _; do
    [ ! -d "$folder" ] || mount "$folder"
done </etc/fstab

# sudo [-u USER] COMMAND
sudo() {
    if [ "$1" = -u ]; then
        setpriv --reuid "$2" --regid "$2" --init-groups --no-new-privs "${@:3}"
    else
        "$@"
    fi
}

make() { [ "$*" = release ]; }

# scp -rp FOLDER HOST:
scp() { cp -a "$2" "$HOSTS/${3%:}/home/"; }

journalctl() { cat "$HOST/journal"; }

# Waits until a process has ended. It is somebody else's child, and has let go of its ports and locks only when its last
# thread is a zombie: what it runs is gone from /proc before that.
await_end() {
    while [ -n "$({ cat "/proc/$1/task/"*/stat 2>/dev/null || true; } | sed 's/.*) //' | sed -n '/^[^ZX]/p')" ]; do
        sleep 0.1
    done
}

# systemctl [enable --now|start|stop] NAME@INSTANCE, as the unit has it.
systemctl() {
    local name=${!#}
    local unit=/etc/systemd/system/${name%@*}@.service instance=${name#*@} process="$HOST/process" start user
    setting() { sed -n "s/^$1=//p" "$unit" | sed "s/%i/$instance/g"; }
    case "$*" in
    enable\ --now\ * | start\ *)
        start=$(setting ExecStart) user=$(setting User)
        (
            umask "$(setting UMask)"
            # shellcheck disable=SC2086 # a command with its arguments
            exec setpriv --reuid "$user" --regid "$user" --init-groups --no-new-privs $start
        ) </dev/null >>"$HOST/journal" 2>&1 &
        echo $! >"$process"
        ;;
    stop\ *)
        kill "$(cat "$process")"
        await_end "$(cat "$process")"
        ;;
    esac
}

# Somebody who tries again for a while, where the network does not answer.
dmdl() {
    local begun=$SECONDS ended=0
    command dmdl "$@" || ended=$?
    while [ "$ended" -eq 6 ] && [ $((SECONDS - begun)) -lt 60 ]; do
        sleep 0.2
        ended=0
        command dmdl "$@" || ended=$?
    done
    return "$ended"
}

cd "$HOME"
