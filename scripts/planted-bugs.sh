#!/usr/bin/env bash
# A test of the tests: plants each bug of tests/planted-bugs.tsv, one at a time, and sees that the test
# named beside it fails, and says what it should. Without the bug the same test must pass. The
# programs under test are built with the feature `planted-bugs`; docs/assurance.md tells the rest.
#
#   scripts/planted-bugs.sh [BUG...]
#
# Prints the seconds that each took to be caught. Exit 0 when every bug is, 1 when one is not, or when table, sources and page name different ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

table=tests/planted-bugs.tsv
page=docs/assurance.md
program=${CARGO_TARGET_DIR:-target}/debug/dmdl
# Longer than any of these tests takes.
patience_s=300

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "planted-bugs: $*" >&2; exit 1; }

grep -v '^#' "$table" >"$work/table"
names() { cut -f 2 "$work/table"; }

# ---- do table, sources and page agree? ------------------------------------------------------------

# types/src/planted.rs says what `planted!` is, and plants nothing.
grep -rhoE --include='*.rs' --exclude=planted.rs 'planted!\("[a-z0-9-]+"' types policies vault audit-ledger src |
    cut -d '"' -f 2 | sort -u >"$work/planted"
names | sort >"$work/named"
diff "$work/named" "$work/planted" >"$work/diff" ||
    fail "$table (<) and the sources (>) name different bugs:"$'\n'"$(grep '^[<>]' "$work/diff")"
while read -r name; do
    grep -qF "\`$name\`" "$page" || fail "$page does not name \`$name\`"
done <"$work/named"

# ---- is the program free of them? -----------------------------------------------------------------

# A program that is built with the feature has one sentence in it, and says it (src/main.rs).
if [ -e "$program" ]; then
    if grep -aqFf <(names; echo DMDL_PLANTED_BUG; echo "bugs to plant") "$program"; then fail "$program has planted bugs in it"; fi
elif [ -n "${CI:-}" ]; then
    fail "$program is missing: nothing to look for planted bugs in"
else
    echo "planted-bugs: SKIPPED looking for planted bugs in $program: it is not built" >&2
fi

# ---- building -------------------------------------------------------------------------------------

# The libraries of the whole workspace, and no more: everything from elsewhere is built already, with
# these features and these flags, and stays so. The workspace's own are not optimised: they run once.
own=(--config profile.dev.opt-level=0 --config profile.dev.package.dmdl-vault.opt-level=0
    --config profile.dev.package.dmdl-types.opt-level=0 --config profile.dev.package.dmdl-audit-ledger.opt-level=0
    --config profile.dev.debug=false)
# shellcheck disable=SC2086
${CARGO:-cargo} test ${LOCKED:-} --workspace --lib --features dmdl-types/planted-bugs "${own[@]}" \
    --no-run --color never 2>&1 | tee "$work/build" >&2
executable() { sed -nE "s|^ *Executable unittests src/lib.rs \((.*/$1-[0-9a-f]+)\)\$|\1|p" "$work/build"; }
folder() { case $1 in dmdl) echo . ;; *) tr _ - <<<"${1#dmdl_}" ;; esac; }

# ---- planting -------------------------------------------------------------------------------------

unset DMDL_WRITE_VECTORS DMDL_PLANTED_BUG RUST_BACKTRACE
# A failure that is expected: the same each time, and no file in the sources that remembers it.
export PROPTEST_RNG_SEED=1 PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=true

# run CRATE TEST: the one test, its output in $work/out.
run() {
    local executable
    executable=$(realpath "$(executable "$1")")
    (cd "$(folder "$1")" && timeout "$patience_s" "$executable" --exact "$2") >"$work/out" 2>&1
}

missed=0
: >"$work/caught" >"$work/missed"
seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }
row() { printf '%-4s %-34s %-8s %6s  %s\n' "$@"; }
report() {
    row "$1" "$2" MISSED "" "$3: $4"
    sed -n '1,40s/^/     | /p' "$work/out"
    echo "$1" >>"$work/missed"
    missed=$((missed + 1))
}

row "" bug "" seconds "test"
count=0
while IFS=$'\t' read -r number bug crate test expected; do
    [ $# -eq 0 ] || [[ " $* " == *" $bug "* ]] || continue
    count=$((count + 1))
    if ! run "$crate" "$test" || ! grep -q '^test result: ok\. 1 passed' "$work/out"; then
        report "$number" "$bug" "$test" "does not pass without the bug, or is no test"
        continue
    fi
    begun=${EPOCHREALTIME/[.,]/}
    if DMDL_PLANTED_BUG=$bug run "$crate" "$test"; then
        report "$number" "$bug" "$test" "passes with the bug"
    elif ! grep -qF "test $test ... FAILED" "$work/out" || ! grep -qE -- "$expected" "$work/out"; then
        report "$number" "$bug" "$test" "fails, but not with \`$expected\`"
    else
        took=$(((${EPOCHREALTIME/[.,]/} - begun) / 1000))
        printf '%s\t%s\n' "$took" "$number" >>"$work/caught"
        row "$number" "$bug" caught "$(seconds "$took")" "$crate::$test"
    fi
done <"$work/table"
[ "$count" -gt 0 ] || fail "$table has no such bug"

# A number is caught when each bug of it is.
numbers=$(comm -23 <(cut -f 2 "$work/caught" | sort -u) <(sort -u "$work/missed") | wc -l)
planted=$((count - missed))
nth() { cut -f 1 "$work/caught" | sort -n | sed -n "$1p"; }
median=- slowest=-
if [ "$planted" -gt 0 ]; then
    median=$(seconds "$(nth $(((planted + 1) / 2)))")
    slowest=$(seconds "$(nth "$planted")")
fi
if [ $# -eq 0 ]; then
    left=$(comm -23 <(seq 24 | sort) <(cut -f 1 "$work/table" | sort -u) | sort -n | paste -sd ' ')
    echo "planted-bugs: not planted of the 24: ${left:-none}"
fi
echo "planted-bugs: $planted of $count caught, $numbers of 24 numbers, median $median s, at most $slowest s"
[ "$missed" -eq 0 ]
