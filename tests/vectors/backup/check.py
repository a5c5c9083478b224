#!/usr/bin/env python3
"""A second reader of backups, from docs/spec/backup.md alone: reads and refuses the frozen ones.

What charters, parts and transactions say is for their own pages, and not looked at.
"""

import hashlib
import json
import pathlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAGIC = b"dmdl/backup/v1\n\0"
LABEL = b"dmdl/v1/backup-sig"
PIECE = 2 * 1024 * 1024
BEGIN, CHANNEL, LEDGER, SIGNED, END = range(5)
KINDS = {BEGIN: "begin", LEDGER: "ledger", SIGNED: "signed", END: "end"}


class Refused(Exception):
    """Why a file is no backup of the node."""


def need(condition, error):
    if not condition:
        raise Refused(error)


def take(data, count):
    need(len(data) >= count, "Cut")
    return data[:count], data[count:]


def kind_of(piece):
    """The piece's tag and its name; of what has a fixed form, the form is checked."""
    need(piece and piece[0] <= END, "Decode")
    tag, rest = piece[0], piece[1:]
    if tag == CHANNEL:
        need(rest[:1] in (b"\0", b"\1") and (rest != b"" and (rest[0] == 1) == (len(rest) > 1)), "Decode")
        return tag, "channel" if rest[0] else "first channel"
    need(tag != BEGIN or len(rest) == 72, "Decode")
    need(tag != END or len(rest) == 64, "Decode")
    return tag, KINDS[tag]


def follows(stage, tag, name):
    """Whether a piece may come after another one."""
    if stage is None:
        return tag == BEGIN
    if stage == BEGIN:
        return name == "first channel"
    if tag == LEDGER:
        return stage in (CHANNEL, LEDGER)
    if tag == SIGNED:
        return stage in (LEDGER, SIGNED)
    return name == "channel" or tag == END


def read(setting, data):
    """The time and the kinds of the pieces."""
    network, channel, node = (bytes.fromhex(setting[name]) for name in ("network", "channel", "node"))
    need(len(data) >= 16 and data.startswith(MAGIC[:13]), "NotABackup")
    need(data.startswith(MAGIC), "Version")
    rest, stage, kinds, time = data[16:], None, [], None
    while stage != END:
        before = data[: len(data) - len(rest)]
        prefix, rest = take(rest, 4)
        length = int.from_bytes(prefix, "little")
        need(length <= PIECE, "TooLong")
        piece, rest = take(rest, length)
        tag, name = kind_of(piece)
        need(follows(stage, tag, name), "OutOfPlace")
        if tag == BEGIN:
            need(piece[1:33] == network, "OtherNetwork")
            need(piece[33:65] == node, "OtherNode")
            time = int.from_bytes(piece[65:73], "little")
        if tag == END:
            signed = bytes([len(LABEL)]) + LABEL + network + channel + b"\0\1" + hashlib.sha256(before).digest()
            try:
                Ed25519PublicKey.from_public_bytes(node).verify(piece[1:], signed)
            except InvalidSignature:
                raise Refused("Signature") from None
        stage = tag
        kinds.append(name)
    need(rest == b"", "Trailing")
    return {"time": time, "pieces": kinds}


def main():
    folder = pathlib.Path(__file__).parent / "v1"
    good = json.loads((folder / "good.json").read_text())
    seed = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(good["node_seed"]))
    assert seed.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex() == good["node"]
    for case in good["cases"]:
        found = read(good, bytes.fromhex(case["file"]))
        assert found == {"time": case["time"], "pieces": case["pieces"]}, case["name"]
    bad = json.loads((folder / "bad.json").read_text())
    for case in bad["cases"]:
        try:
            read(bad, bytes.fromhex(case["file"]))
        except Refused as error:
            assert str(error) == case["error"], f"{case['name']}: {error}, not {case['error']}"
            continue
        raise SystemExit(f"accepted: {case['name']}")
    print(f"backup v1: {len(good['cases'])} read, {len(bad['cases'])} refused")


if __name__ == "__main__":
    main()
