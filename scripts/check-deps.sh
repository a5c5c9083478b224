#!/usr/bin/env bash
# Reads Cargo.lock, and nothing else, and refuses what must not be in it: libraries that are banned,
# too old, or there in a second generation. Needs no network and no advisory database.
#
#   scripts/check-deps.sh [Cargo.lock]
#
# Exit 0 when the file holds, 1 with one line a problem when it does not.
set -euo pipefail

lock=${1:-Cargo.lock}
[ -r "$lock" ] || { echo "check-deps: cannot read $lock" >&2; exit 1; }

awk -v lock="$lock" '
# ---- the rules -----------------------------------------------------------------------------------

BEGIN {
    banned["sharks"] = "RUSTSEC-2024-0398, abandoned: its shares leak the secret (docs/adr/0002)"
    banned["blahaj"] = "shares that nobody can verify (docs/adr/0002)"
    banned["bincode"] = "RUSTSEC-2025-0141, unmaintained (docs/adr/0004)"
    banned["ed25519-consensus"] = "rests on curve25519-dalek-ng, which nobody maintains"
    banned["curve25519-dalek-ng"] = "nobody maintains it"
    banned["openssl-sys"] = "one C library of cryptography is enough, and that is aws-lc"

    floor["aws-lc-sys"] = "0.39.0"          # RUSTSEC-2026-0044 to 0048
    floor["hpke-rs"] = "0.6.0"              # RUSTSEC-2026-0069 to 0071: nonce reuse
    floor["curve25519-dalek"] = "5.0.0"     # the generation of rand_core 0.10

    # Two copies of these would mean two kinds of point, key or hash that do not fit each other.
    single = "aead aes aes-gcm aws-lc-rs aws-lc-sys blake3 borsh chacha20poly1305 curve25519-dalek " \
             "ed25519-dalek hkdf hmac hpke librocksdb-sys rocksdb sha2 subtle x25519-dalek zeroize"
    split(single, names, " ")
    for (i in names) once[names[i]] = 1

    # The one older generation that is allowed: rand 0.9 spreads the retries of rate limits and of
    # telemetry inside the engine, and picks paths in the model checker of the tests. Nothing that makes
    # a key may depend on it.
    old["rand_core"] = "0.9"; old["rand"] = "0.9"; old["rand_chacha"] = "0.9"
    now["rand_core"] = "0.10"; now["rand"] = "0.10"; now["rand_chacha"] = "0.10"
    allowed["rand_core"] = " rand rand_chacha "
    allowed["rand_chacha"] = " rand "
    allowed["rand"] = " governor opentelemetry_sdk stateright "
}

# ---- reading -------------------------------------------------------------------------------------

/^\[\[package\]\]/ { name = ""; version = ""; in_deps = 0 }
/^name = / { name = text($0) }
/^version = / && name != "" {
    version = text($0)
    versions[name] = versions[name] " " version
    count[name]++
    total++
}
/^dependencies = \[/ { in_deps = 1; next }
/^\]/ { in_deps = 0 }
in_deps && /^ "/ {
    # `name`, or `name version` where there are several.
    dep = $0
    gsub(/^ "|",?$/, "", dep)
    split(dep, part, " ")
    edges++
    user[edges] = name; user_version[edges] = version; used[edges] = part[1]; used_version[edges] = part[2]
}

# ---- judging -------------------------------------------------------------------------------------

END {
    if (total < 2) problem(lock " lists no packages")
    for (name in count) {
        if (name in banned) problem(name versions[name] " is banned: " banned[name])
        if (name in floor) {
            n = split(versions[name], each, " ")
            for (i = 1; i <= n; i++)
                if (older(each[i], floor[name])) problem(name " " each[i] " is older than " floor[name])
        }
        if (name in once && count[name] > 1) problem(name " is there more than once:" versions[name])
        if (name in now) {
            n = split(versions[name], each, " ")
            for (i = 1; i <= n; i++)
                if (line(each[i]) != now[name] && line(each[i]) != old[name])
                    problem(name " " each[i] " is of another generation than " now[name])
        }
    }
    for (i = 1; i <= edges; i++) {
        name = used[i]
        if (!(name in old)) continue
        version = used_version[i] == "" ? substr(versions[name], 2) : used_version[i]
        if (line(version) != old[name]) continue
        # An old library may use its own old generation, and the named few may use it.
        if (user[i] in old && line(user_version[i]) != old[user[i]] || !index(allowed[name], " " user[i] " "))
            problem(user[i] " " user_version[i] " uses " name " " version "; only" allowed[name] "may")
    }
    if (bad) exit 1
    print "check-deps: " total " packages, nothing banned, doubled or too old"
}

function text(row) { sub(/^[a-z]+ = "/, "", row); sub(/"$/, "", row); return row }

# The part of a version that says what it is compatible with: 5.0.1 -> 5, 0.10.3 -> 0.10.
function line(v,  p) { split(v, p, "."); return p[1] != 0 ? p[1] : p[1] "." p[2] }

function older(a, b,  x, y, i) {
    split(a, x, /[.+-]/); split(b, y, /[.+-]/)
    for (i = 1; i <= 3; i++) if (x[i] + 0 != y[i] + 0) return x[i] + 0 < y[i] + 0
    return 0
}

function problem(what) { print "check-deps: " what > "/dev/stderr"; bad = 1 }
' "$lock"
