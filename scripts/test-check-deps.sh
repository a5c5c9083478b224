#!/usr/bin/env bash
# Plants what check-deps.sh must refuse, one thing at a time, and sees that it does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# package NAME VERSION [DEPENDENCY...]
package() {
    printf '[[package]]\nname = "%s"\nversion = "%s"\n' "$1" "$2"
    shift 2
    [ $# -eq 0 ] || { printf 'dependencies = [\n'; printf ' "%s",\n' "$@"; printf ']\n'; }
    echo
}

good() {
    package curve25519-dalek 5.0.0 'rand_core 0.10.1'
    package aws-lc-sys 0.47.0
    package rand_core 0.9.5
    package rand_core 0.10.1
    package rand 0.9.5 'rand_core 0.9.5'
    package rand 0.10.4 'rand_core 0.10.1'
    package governor 0.10.4 'rand 0.9.5'
}

accepts() {
    ./check-deps.sh "$dir/lock" >"$dir/out" 2>&1 || { echo "refused, though $1:"; cat "$dir/out"; exit 1; }
}

# refuses WHAT EXPECTED: with the planted lines, exit 1 and one line that says so.
refuses() {
    if ./check-deps.sh "$dir/lock" >"$dir/out" 2>&1; then echo "accepted, though $1"; exit 1; fi
    grep -qF -- "$2" "$dir/out" || { echo "refused for another reason than $1:"; cat "$dir/out"; exit 1; }
}

plant() { { good; package "$@"; } >"$dir/lock"; }

good >"$dir/lock"; accepts 'nothing is wrong'
plant hpke-rs 0.6.0; accepts 'hpke-rs is new enough'
plant sharks 0.5.0; refuses 'sharks is banned' 'sharks 0.5.0 is banned'
plant bincode 1.3.3; refuses 'bincode is banned' 'bincode 1.3.3 is banned'
plant ed25519-consensus 2.1.0; refuses 'ed25519-consensus is banned' 'ed25519-consensus 2.1.0 is banned'
plant hpke-rs 0.5.9; refuses 'hpke-rs is too old' 'hpke-rs 0.5.9 is older than 0.6.0'
plant aws-lc-sys 0.38.2; refuses 'aws-lc-sys is too old' 'aws-lc-sys 0.38.2 is older than 0.39.0'
plant curve25519-dalek 4.1.3; refuses 'dalek is there twice' 'curve25519-dalek is there more than once'
plant rand_core 0.6.4; refuses 'rand_core 0.6 came back' 'rand_core 0.6.4 is of another generation'
plant keygen 1.0.0 'rand 0.9.5'; refuses 'a stranger uses the old rand' 'keygen 1.0.0 uses rand 0.9.5'
plant rand 0.10.5 'rand_core 0.9.5'; refuses 'the new rand uses the old core' 'rand 0.10.5 uses rand_core 0.9.5'
echo >"$dir/lock"; refuses 'the file is empty' 'lists no packages'
echo 'test-check-deps: 12 cases, all as expected'
