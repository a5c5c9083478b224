#!/usr/bin/env bash
# Is the program made of the same as its tests? A library with one more feature in the tests is another library to
# Cargo, and so is everything above it: the engine and all of our crates would be compiled twice.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Each package with its features, one line for each set of them that it is built with.
features() {
    ${CARGO:-cargo} tree --locked "$@" --prefix none --format '{p} [{f}]' |
        sed -e 's/ (\*)$//' -e 's/ (proc-macro)//' -e 's# (/[^)]*)##' | sort -u
}

program=$(features --package dmdl --edges normal,build)
tests=$(features --workspace --edges normal,build,dev)

if other=$(comm -23 <(echo "$program") <(echo "$tests")) && [ -n "$other" ]; then
    echo 'features: with the tests, these are built once more with other features:' >&2
    while read -r name version features; do
        echo "features:   $name $version, the program: $features" >&2
        grep -F "$name $version " <<<"$tests" | sed 's/.* \[/features:   and with the tests: [/' >&2
    done <<<"$other"
    echo 'features: name what is missing in [dependencies] of Cargo.toml, beside what is there for this' >&2
    exit 1
fi
echo "features: the program is made of the same $(wc -l <<<"$program") libraries as its tests"
