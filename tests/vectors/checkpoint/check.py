#!/usr/bin/env python3
"""A second implementation of checkpoints, from docs/spec/checkpoint.md alone: checks the frozen ones.

Needs nothing but Python. Not constant-time: for checking vectors, never for secrets.
"""

import base64
import hashlib
import json
import pathlib
import re

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)
ZERO = (0, 1)
TEXT = re.compile(
    r"dmdl\.network/([0-9a-f]{64})/([0-9a-f]{64})\n(0|[1-9][0-9]*)\n([A-Za-z0-9+/]{43}=)\n"
    r"height (0|[1-9][0-9]*)\nblock ([0-9a-f]{64})\nstate ([0-9a-f]{64})\nindex ([0-9a-f]{64})\n"
)
LINE = re.compile(r"\u2014 ([0-9a-f]{64}) ([A-Za-z0-9+/]+=*)\n")


class Refused(Exception):
    """The bytes are to be refused."""


def check(holds, reason):
    if not holds:
        raise Refused(reason)


def add(p, q):
    (a, b), (c, d) = p, q
    t = D * a * b * c * d % P
    return (a * d + b * c) * pow(1 + t, -1, P) % P, (b * d + a * c) * pow(1 - t, -1, P) % P


def times(n, p):
    out = ZERO
    for bit in bin(n)[2:]:
        out = add(out, out)
        if bit == "1":
            out = add(out, p)
    return out


def point(data):
    """RFC 8032, section 5.1.3, and no point of small order."""
    number = int.from_bytes(data, "little")
    y, odd = number % 2**255, number >> 255
    check(y < P, "not a canonical point")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT % P
    check(x * x % P == square and not (x == 0 and odd), "not a point")
    found = (x if x & 1 == odd else P - x, y)
    check(times(8, found) != ZERO, "a point of small order")
    return found


def base_point():
    return point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def verify_ed25519(key, message, signature):
    """RFC 8032, section 5.1.7, strict and without cofactor."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    check(s < ORDER, "the scalar is not canonical")
    k = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % ORDER
    check(times(s, base_point()) == add(point(r), times(k, point(key))), "the signature does not verify")


def unbase64(text):
    data = base64.b64decode(text, validate=True)
    check(base64.b64encode(data).decode() == text, "not the only base64 of its bytes")
    return data


def verify_note(setting, note):
    """The checkpoint's values, of a note that enough committers cosigned."""
    check(len(note.encode()) <= 1_000_000, "too long")
    text, separator, lines = note.rpartition("\n\n")
    check(separator and lines, "no signatures")
    text += "\n"
    match = TEXT.fullmatch(text)
    check(match, "not the text of a checkpoint")
    network, channel, size, root, height, block, state, index = match.groups()
    check(int(size) < 2**64 and int(height) < 2**64, "a number beyond 64 bits")
    check((network, channel) == (setting["network"], setting["channel"]), "of another network or channel")

    known = {committer["node"]: committer for committer in setting["committers"]}
    cosigned, nodes, keys, orgs = b"", [], set(), set()
    for line in lines.splitlines(keepends=True):
        match = LINE.fullmatch(line)
        check(match, "not a signature line")
        node, blob = match[1], unbase64(match[2])
        check(len(blob) == 76 and node in known, "not a cosignature of a committer")
        name, key_id, key = known[node]["vkey"].split("+", 2)
        key = unbase64(key)
        check(name == node and key[0] == 4 and len(key) == 33, "not a cosigner's key")
        check(hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] == key_id, "a wrong key id")
        check(blob[:4].hex() == key_id, "by another key")
        time = int.from_bytes(blob[4:12], "big")
        check(time < 2**63, "a time beyond 63 bits")
        verify_ed25519(key[1:], f"cosignature/v1\ntime {time}\n{text}".encode(), blob[12:])
        check(key not in keys, "one key twice")
        nodes.append(node)
        keys.add(key)
        orgs.add(known[node]["org"])
        cosigned += bytes.fromhex(node) + blob[:4] + time.to_bytes(8, "little") + blob[12:]
    check(nodes == sorted(set(nodes)) and len(nodes) <= 100, "cosignatures out of order")
    check(len(orgs) >= max(1, setting["needed_orgs"]), "too few organisations")

    root = unbase64(root)
    encoding = bytes.fromhex(network + channel) + int(size).to_bytes(8, "little") + root
    encoding += int(height).to_bytes(8, "little") + bytes.fromhex(block + state + index)
    encoding += len(nodes).to_bytes(4, "little") + cosigned
    return {
        "size": size, "root": root.hex(), "height": height, "block": block, "state": state, "index": index,
        "encoding": encoding.hex(),
    }


def main():
    folder = pathlib.Path(__file__).parent / "v1"
    good = json.loads((folder / "good.json").read_text())
    for case in good["cases"]:
        assert {"name": case["name"], "note": case["note"], **verify_note(good, case["note"])} == case, case["name"]
    bad = json.loads((folder / "bad.json").read_text())
    for case in bad["cases"]:
        try:
            verify_note(bad, case["note"])
        except Refused:
            continue
        raise SystemExit(f"accepted: {case['name']}")
    print(f"checkpoint v1: {len(good['cases'])} believed, {len(bad['cases'])} refused")


if __name__ == "__main__":
    main()
