#!/usr/bin/env bash
# Installs what a machine with rustup, git, make, gcc and a package manager still lacks.
#
#   scripts/setup.sh build     what compiling needs: a C++ compiler, libclang with its headers, the wasm target
#   scripts/setup.sh test      what tests of hosts on their own, of disks that fail and of copied folders need: `ip`, `strace`,
#                              `mkfs.ext4`, `rsync`; without them these tests are skipped
#   scripts/setup.sh python    what samples and vectors need: Python in an environment of its own, under $CACHE
#   scripts/setup.sh fuzz      what fuzzing the gateway's interface needs: the same, with schemathesis
#
# Says what it installs. Where it may not install (no root, no apt), it says what is missing and exits 1.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
CACHE=${CACHE:-$HOME/.cache/dmdl}

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Prints the prefix that lets a command run as root, or fails.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        echo env
    elif have sudo && sudo -n true 2>/dev/null; then
        echo 'sudo -n env'
    else
        return 1
    fi
}

# apt_install REASON PACKAGE...
apt_install() {
    local reason=$1 root
    shift
    have apt-get || fail "$reason is missing, and this is no Debian: install what your system calls $*"
    root=$(as_root) || fail "$reason is missing; run as root: apt-get install -y --no-install-recommends $*"
    say "$reason is missing: installing $*"
    # shellcheck disable=SC2086 # the prefix is one or three words
    $root DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null ||
        fail "could not install $*" "by hand: apt-get update && apt-get install -y --no-install-recommends $*"
}

# The package lists, once a run, and only when something has to be installed.
apt_update() {
    local root
    [ -z "${APT_UPDATED:-}" ] && have apt-get || return 0
    root=$(as_root) || return 0
    say 'reading the package lists'
    # shellcheck disable=SC2086
    $root apt-get update -qq || say 'the package lists could not be read; trying with the old ones'
    APT_UPDATED=1
}

# The folders in which RocksDB's binding generator looks for libclang.
clang_dirs() {
    local dir
    [ -z "${LIBCLANG_PATH:-}" ] || { [ -d "$LIBCLANG_PATH" ] && echo "$LIBCLANG_PATH" || dirname "$LIBCLANG_PATH"; }
    ! have llvm-config || llvm-config --libdir
    for dir in /usr/lib/llvm-*/lib /usr/lib/llvm*/lib* /usr/lib64 /usr/lib /usr/lib/*-linux-gnu* /usr/local/lib; do
        [ ! -d "$dir" ] || echo "$dir"
    done
}

# libclang alone is not enough: without its own headers it fails at `stdbool.h`, which it looks for
# beside the library, behind any link.
has_libclang() {
    local dir lib home
    while read -r dir; do
        for lib in "$dir"/libclang.so* "$dir"/libclang-[0-9]*.so*; do
            [ -e "$lib" ] || continue
            for home in "$dir" "$(dirname "$(readlink -f "$lib")")"; do
                compgen -G "$home/clang/*/include/stdbool.h" >/dev/null && return 0
                compgen -G "$home/../lib/clang/*/include/stdbool.h" >/dev/null && return 0
            done
        done
    done < <(clang_dirs | awk '!seen[$0]++')
    return 1
}

# The version of libclang to install: the one that was tried, or the newest on offer.
libclang_version() {
    local versions
    versions=$(apt-cache pkgnames libclang1- 2>/dev/null | sed -n 's/^libclang1-\([0-9][0-9]*\)$/\1/p' | sort -n)
    if [ -z "$versions" ] || grep -qx 14 <<<"$versions"; then echo 14; else tail -n 1 <<<"$versions"; fi
}

# A build with its tests needs room, and a node whose disk is full only reads: better told now than by a test that fails.
check_room() {
    local dir=${CARGO_TARGET_DIR:-$CACHE/target} free
    mkdir -p "$dir"
    free=$(df -Pk "$dir" | awk 'NR == 2 { print int($4 / 1048576) }')
    [ "$free" -ge 8 ] || fail "only $free GiB are free under $dir; a build with its tests wants 8" \
        "make room; what was built there may go: rm -rf $dir"
}

setup_build() {
    local version
    check_room
    have cargo || fail 'cargo is missing: install a Rust toolchain with rustup'
    if ! have cc; then
        apt_update
        apt_install 'a C compiler' gcc libc6-dev
    fi
    if ! have c++; then
        apt_update
        apt_install 'a C++ compiler' g++
    fi
    if ! has_libclang; then
        apt_update
        version=$(libclang_version)
        apt_install 'libclang with its headers' "libclang1-$version" "libclang-common-$version-dev"
        has_libclang || fail 'libclang was installed but is not found; set LIBCLANG_PATH to its folder'
    fi
    setup_wasm
}

setup_wasm() {
    local target=wasm32-unknown-unknown
    # Asking rustc first lets rustup install the toolchain that rust-toolchain.toml names.
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || return 0
    have rustup || fail "the target $target is missing, and so is rustup: install its standard library"
    say "the target $target is missing: installing it"
    rustup target add "$target" || fail "could not add the target; by hand: rustup target add $target"
}

# Only root makes network namespaces and mounts file systems, and who is not root does without them.
setup_test() {
    PATH=$PATH:/usr/sbin:/sbin
    [ "$(id -u)" -eq 0 ] || return 0
    if ! have ip; then
        apt_update
        apt_install 'the command ip, by which tests put nodes on hosts of their own,' iproute2
    fi
    if ! have strace; then
        apt_update
        apt_install 'the command strace, by which tests have disks fail,' strace
    fi
    if ! have mkfs.ext4; then
        apt_update
        apt_install 'the command mkfs.ext4, by which tests cut the power of disks,' e2fsprogs
    fi
    if ! have rsync; then
        apt_update
        apt_install 'the command rsync, by which tests copy folders of nodes,' rsync
    fi
}

setup_python() {
    [ -x "$CACHE/venv/bin/pip" ] || create_venv
    # Other people's programs as witnesses for the vectors; without them their check says what it skipped.
    if ! "$CACHE/venv/bin/python" -c 'import cryptography, crypt4gh, http_message_signatures' 2>/dev/null; then
        say "installing $(cat scripts/requirements.txt) into it"
        "$CACHE/venv/bin/pip" install --quiet --disable-pip-version-check --timeout=20 --retries=1 \
            -r scripts/requirements.txt 2>/dev/null || say 'the package index cannot be reached; going on without it'
    fi
}

setup_fuzz() {
    setup_python
    if ! "$CACHE/venv/bin/python" -c 'import schemathesis, http_message_signatures' 2>/dev/null; then
        say "installing $(head -n 1 scripts/requirements-fuzz.txt) into it"
        "$CACHE/venv/bin/pip" install --quiet --disable-pip-version-check --timeout=60 --retries=2 \
            -r scripts/requirements.txt -r scripts/requirements-fuzz.txt ||
            say 'the package index cannot be reached; going on without it'
    fi
}

create_venv() {
    if ! have python3 || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        apt_update
        apt_install 'Python with venv' python3 python3-venv
    fi
    say "creating a Python environment in $CACHE/venv"
    mkdir -p "$CACHE"
    rm -rf "$CACHE/venv"
    python3 -m venv "$CACHE/venv" || fail 'could not create the Python environment; is python3-venv installed?'
}

case ${1:-} in
    build) setup_build ;;
    test) setup_test ;;
    python) setup_python ;;
    fuzz) setup_fuzz ;;
    *) fail 'usage: scripts/setup.sh build|test|python|fuzz' ;;
esac
