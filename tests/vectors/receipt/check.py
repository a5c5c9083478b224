#!/usr/bin/env python3
"""A second implementation of receipts, from docs/spec/{receipt,log}.md alone: checks the frozen ones.

Needs nothing but Python, and the reader of checkpoints in the folder beside.
"""

import hashlib
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "checkpoint"))
sys.dont_write_bytecode = True
from check import Refused, check, unbase64, verify_note  # noqa: E402

HEAD = re.compile(r"c2sp\.org/tlog-proof@v1\nextra ([A-Za-z0-9+/]*=*)\nindex (0|[1-9][0-9]*)\n((?:[A-Za-z0-9+/]{43}=\n)*)\n")


def sha256(data):
    return hashlib.sha256(data).digest()


def root_of(leaf, index, size, hashes):
    """RFC 6962, section 2.1.1, read from the root down: which half the leaf is in, and the other's hash."""
    if size == 1:
        check(not hashes, "a hash too many")
        return sha256(b"\x00" + leaf)
    check(hashes, "a hash too few")
    half = 1 << (size - 1).bit_length() - 1
    *rest, sibling = hashes
    if index < half:
        return sha256(b"\x01" + root_of(leaf, index, half, rest) + sibling)
    return sha256(b"\x01" + sibling + root_of(leaf, index - half, size - half, rest))


def verify_receipt(setting, text):
    """The leaf and its index, of a receipt that proves them."""
    match = HEAD.match(text)
    check(match, "not the head of a receipt")
    leaf, index, hashes = unbase64(match[1]), match[2], [unbase64(line) for line in match[3].splitlines()]
    log = verify_note(setting, text[match.end():])
    check(int(index) < int(log["size"]), "an index beyond the log")
    check(root_of(leaf, int(index), int(log["size"]), hashes).hex() == log["root"], "another root")
    return {"leaf": leaf.hex(), "index": index}


def main():
    folder = pathlib.Path(__file__).parent / "v1"
    good = json.loads((folder / "good.json").read_text())
    for case in good["cases"]:
        found = verify_receipt(good, case["receipt"])
        assert {"name": case["name"], "receipt": case["receipt"], **found} == case, case["name"]
    bad = json.loads((folder / "bad.json").read_text())
    for case in bad["cases"]:
        try:
            verify_receipt(bad, case["receipt"])
        except Refused:
            continue
        raise SystemExit(f"accepted: {case['name']}")
    print(f"receipt v1: {len(good['cases'])} proved, {len(bad['cases'])} refused")


if __name__ == "__main__":
    main()
