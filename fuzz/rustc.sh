#!/usr/bin/env bash
# Cargo calls this instead of rustc. What parses other people's bytes gets the counters that libFuzzer steers
# by; the rest, ciphers and build scripts above all, is compiled as always. A stable compiler has all it takes.
set -euo pipefail

rustc=$1
shift
crate=
previous=
for argument; do
    [ "$previous" != --crate-name ] || crate=$argument
    previous=$argument
done
case $crate in
    dmdl_fuzz | dmdl_types | dmdl_vault | dmdl_policies | cedar_policy_core | serde_json)
        set -- "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares
        ;;
esac
exec "$rustc" "$@"
