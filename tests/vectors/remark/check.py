#!/usr/bin/env python3
"""A second implementation of remarks, from docs/spec/remark.md alone: reads and refuses the frozen ones.

Not constant-time in the conversion of keys: for checking vectors, never for secrets.
"""

import hashlib
import hmac
import json
import pathlib

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

P = 2**255 - 19
LABEL = b"dmdl/v1/"
PADDED = (256, 1024, 4352)
READERS = 128


class Refused(Exception):
    """Why a remark is not read."""


def need(condition, error):
    if not condition:
        raise Refused(error)


def x25519_of(ed25519):
    y = int.from_bytes(ed25519, "little") % 2**255
    return ((1 + y) * pow(1 - y, -1, P) % P).to_bytes(32, "little")


def x25519_secret(seed):
    return X25519PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:32])


def extract(salt, label, ikm, suite):
    return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256).digest()


def expand(prk, label, info, length, suite):
    data = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.new(prk, data + b"\x01", hashlib.sha256).digest()[:length]


def hpke_open(secret, enc, info, sealed):
    """RFC 9180 in base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305, one message."""
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x03"
    public = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = secret.exchange(X25519PublicKey.from_public_bytes(enc))
    shared = expand(extract(b"", b"eae_prk", shared, kem), b"shared_secret", enc + public, 32, kem)
    context = b"\x00" + extract(b"", b"psk_id_hash", b"", suite) + extract(b"", b"info_hash", info, suite)
    prk = extract(shared, b"secret", b"", suite)
    key, nonce = expand(prk, b"key", context, 32, suite), expand(prk, b"base_nonce", context, 12, suite)
    return ChaCha20Poly1305(key).decrypt(nonce, sealed, b"")


class Reader:
    def __init__(self, data):
        self.data = data

    def take(self, count):
        need(len(self.data) >= count, "Decode")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, count):
        return int.from_bytes(self.take(count), "little")


def labelled(label, *parts):
    out = hashlib.sha256()
    for part in (LABEL + label, *parts):
        out.update(len(part).to_bytes(8, "little") + part)
    return out.digest()


def signed(domain, kind, body):
    label = LABEL + b"remark-sig"
    return bytes([len(label)]) + label + domain + bytes([kind, 1]) + body


def read(data, domain, key, seed):
    whole = Reader(data)
    kind = whole.number(1)
    need(kind in (0, 1), "Decode")
    body, fields = whole.data[:-64], None
    if kind == 0:
        suite, transaction, author, commitment = whole.number(1), whole.take(32), whole.take(32), whole.take(32)
        readers = [(whole.take(32), whole.take(32), whole.take(48)) for _ in range(whole.number(4))]
        ciphertext = whole.take(whole.number(4))
        fields = suite, commitment, readers, ciphertext
    else:
        transaction, author = whole.take(32), whole.take(32)
    signature = whole.take(64)
    need(not whole.data, "Decode")
    if fields:
        names = [reader for reader, _, _ in readers]
        shape = suite == 1 and 1 <= len(names) <= READERS and names == sorted(set(names))
        need(shape and len(ciphertext) - 16 in PADDED, "Malformed")
    try:
        Ed25519PublicKey.from_public_bytes(author).verify(signature, signed(domain, kind, body))
    except InvalidSignature:
        raise Refused("NotSigned") from None
    if not fields:
        return transaction, author, None, None
    mine = [(enc, sealed) for reader, enc, sealed in readers if reader == key]
    need(mine, "NotAReader")
    context = domain + transaction + author
    try:
        content = hpke_open(x25519_secret(seed), mine[0][0], LABEL + b"remark-seal" + context + key, mine[0][1])
        padded = ChaCha20Poly1305(content).decrypt(bytes(12), ciphertext, LABEL + b"remark-text" + context)
    except InvalidTag:
        raise Refused("NotOpened") from None
    salt, length = padded[:32], int.from_bytes(padded[32:34], "little")
    text = padded[34 : 34 + length]
    shortest = min(size for size in PADDED if 34 + length <= size)
    need(len(padded) == shortest and padded == (padded[:34] + text).ljust(shortest, b"\0"), "NotOpened")
    need(labelled(b"note-commitment", salt, text) == commitment, "NotOpened")
    return transaction, author, commitment, text.decode()


def main():
    folder, count = pathlib.Path(__file__).parent / "v1", 0
    for name in ("good", "bad"):
        vectors = json.loads((folder / f"{name}.json").read_text())
        domain = bytes.fromhex(vectors["network"] + vectors["channel"])
        people = [(bytes.fromhex(one["key"]), bytes.fromhex(one["seed"])) for one in vectors["readers"]]
        for key, seed in people:
            public = x25519_secret(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            assert x25519_of(key) == public, "the two forms of a key"
        for case in vectors["cases"]:
            for key, seed in people if name == "good" else people[1:2]:
                try:
                    transaction, author, commitment, text = read(bytes.fromhex(case["remark"]), domain, key, seed)
                    assert name == "good", f"accepted: {case['name']}"
                    assert transaction.hex() == case["transaction"] and author.hex() == case["author"], case["name"]
                    assert text == case["text"], case["name"]
                    assert commitment is None or commitment.hex() == case["commitment"], case["name"]
                except Refused as error:
                    assert str(error) == case.get("error"), f"{case['name']}: {error}"
                count += 1
    print(f"{count} checks passed")


if __name__ == "__main__":
    main()
