#!/usr/bin/env python3
"""A second implementation of payloads, from docs/spec/payload.md alone: checks the frozen vectors.

Needs nothing but Python. Where the package `cryptography` is installed, its AES-256-GCM (OpenSSL's)
must agree as well. Not constant-time: for checking vectors, never for secrets.
"""

import hashlib
import hmac
import json
import pathlib
import struct

try:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    AESGCM = None

HEADER, CHUNK, TAG = 56, 16384, 16
SEALED = CHUNK + TAG
INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"


class Refused(Exception):
    """The payload does not open, for the reason that the exception names."""


# AES-256 (FIPS 197) and GCM (NIST SP 800-38D)


def times_two(x):
    return x << 1 ^ (0x11B if x & 0x80 else 0)


def sbox():
    box, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= times_two(p)
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        rotations = (q << n | q >> 8 - n for n in range(5))
        value = 0x63
        for rotation in rotations:
            value ^= rotation & 0xFF
        box[p] = value
        if p == 1:
            return box


SBOX = sbox()
TABLE = [(times_two(s) << 24 | s << 16 | s << 8 | (times_two(s) ^ s)) for s in SBOX]
TABLES = [[(t >> 8 * n | t << 32 - 8 * n) & 0xFFFFFFFF for t in TABLE] for n in range(4)]


def substitute(word):
    return SBOX[word >> 24] << 24 | SBOX[word >> 16 & 255] << 16 | SBOX[word >> 8 & 255] << 8 | SBOX[word & 255]


def round_keys(key):
    words, constant = list(struct.unpack(">8I", key)), 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = substitute((word << 8 | word >> 24) & 0xFFFFFFFF) ^ constant << 24
            constant = times_two(constant)
        elif i % 8 == 4:
            word = substitute(word)
        words.append(words[i - 8] ^ word)
    return words


def encrypt_block(words, block):
    s = [a ^ b for a, b in zip(struct.unpack(">4I", block), words)]
    for at in range(4, 56, 4):
        s = [
            TABLES[0][s[i] >> 24]
            ^ TABLES[1][s[(i + 1) % 4] >> 16 & 255]
            ^ TABLES[2][s[(i + 2) % 4] >> 8 & 255]
            ^ TABLES[3][s[(i + 3) % 4] & 255]
            ^ words[at + i]
            for i in range(4)
        ]
    last = [
        SBOX[s[i] >> 24] << 24
        | SBOX[s[(i + 1) % 4] >> 16 & 255] << 16
        | SBOX[s[(i + 2) % 4] >> 8 & 255] << 8
        | SBOX[s[(i + 3) % 4] & 255]
        for i in range(4)
    ]
    return struct.pack(">4I", *(a ^ b for a, b in zip(last, words[56:])))


class Cipher:
    """AES-256-GCM under one key, with nonces of 12 bytes and no additional data."""

    def __init__(self, key):
        self.words = round_keys(key)
        h = int.from_bytes(encrypt_block(self.words, bytes(16)), "big")
        # A table for each bit of a block: h, h*x, h*x^2 and so on.
        self.powers = []
        for _ in range(128):
            self.powers.append(h)
            h = h >> 1 ^ (0xE1 << 120 if h & 1 else 0)

    def multiply(self, x):
        product = 0
        for power in self.powers:
            if x >> 127 & 1:
                product ^= power
            x <<= 1
        return product

    def keystream(self, nonce, first, count):
        return b"".join(encrypt_block(self.words, nonce + struct.pack(">I", first + i)) for i in range(count))

    def crypt(self, nonce, text):
        stream = self.keystream(nonce, 2, (len(text) + 15) // 16)[: len(text)]
        return (int.from_bytes(text, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(text), "big")

    def tag(self, nonce, ciphertext):
        y = 0
        for at in range(0, len(ciphertext), 16):
            y = self.multiply(y ^ int.from_bytes(ciphertext[at : at + 16].ljust(16, b"\0"), "big"))
        y = self.multiply(y ^ len(ciphertext) * 8)
        return (y ^ int.from_bytes(self.keystream(nonce, 1, 1), "big")).to_bytes(16, "big")

    def seal(self, nonce, plaintext):
        ciphertext = self.crypt(nonce, plaintext)
        return ciphertext + self.tag(nonce, ciphertext)

    def open(self, nonce, sealed):
        ciphertext, tag = sealed[:-TAG], sealed[-TAG:]
        if not hmac.compare_digest(tag, self.tag(nonce, ciphertext)):
            raise Refused("Altered")
        return self.crypt(nonce, ciphertext)


# BLAKE3, unkeyed, 32 bytes of output

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
MIXES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8


def compress(chaining, block, counter, length, flags):
    m = struct.unpack("<16I", block.ljust(64, b"\0"))
    v = [*chaining, *IV[:4], counter & 0xFFFFFFFF, counter >> 32, length, flags]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(MIXES):
            for word, turn_d, turn_b in ((m[2 * i], 16, 12), (m[2 * i + 1], 8, 7)):
                v[a] = v[a] + v[b] + word & 0xFFFFFFFF
                x = v[d] ^ v[a]
                v[d] = (x >> turn_d | x << 32 - turn_d) & 0xFFFFFFFF
                v[c] = v[c] + v[d] & 0xFFFFFFFF
                x = v[b] ^ v[c]
                v[b] = (x >> turn_b | x << 32 - turn_b) & 0xFFFFFFFF
        m = [m[p] for p in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)]


def blake3_node(data, counter, root):
    if len(data) > 1024:
        left = 1024
        while left * 2 < len(data):
            left *= 2
        words = blake3_node(data[:left], counter, 0) + blake3_node(data[left:], counter + left // 1024, 0)
        return compress(IV, struct.pack("<16I", *words), 0, 64, PARENT | root)
    blocks = [data[at : at + 64] for at in range(0, len(data), 64)] or [b""]
    chaining = IV
    for i, block in enumerate(blocks):
        last = i == len(blocks) - 1
        flags = (CHUNK_START if i == 0 else 0) | (CHUNK_END | root if last else 0)
        chaining = compress(chaining, block, counter, len(block), flags)
    return list(chaining)


def blake3(data):
    return struct.pack("<8I", *blake3_node(data, 0, ROOT))


# The format


def context_bytes(context):
    ids = (bytes.fromhex(context[name]) for name in ("network", "channel", "record"))
    return b"".join(ids) + struct.pack("<I", context["version"])


def derive(key, salt, context):
    """HKDF-Expand-SHA512 (RFC 5869) to 76 bytes."""
    info = INFO + salt + context
    first = hmac.digest(key, info + b"\1", "sha512")
    okm = first + hmac.digest(key, first + info + b"\2", "sha512")
    return okm[:32], okm[32:44], okm[44:76]


def nonce_of(base, chunk):
    return (int.from_bytes(base, "big") ^ chunk).to_bytes(12, "big")


def seal(key, salt, context, plaintext):
    key, base, commitment = derive(key, salt, context)
    cipher = Cipher(key)
    payload = salt + commitment
    for chunk in range(len(plaintext) // CHUNK + 1):
        text = plaintext[chunk * CHUNK : (chunk + 1) * CHUNK]
        sealed = cipher.seal(nonce_of(base, chunk), text)
        if AESGCM and sealed != AESGCM(key).encrypt(nonce_of(base, chunk), text, None):
            raise SystemExit("this file's AES-256-GCM differs from OpenSSL's")
        payload += sealed
    return payload


def chunks_of(length):
    """The number of chunks of a payload of this length."""
    full, last = divmod(length - HEADER, SEALED)
    if length < HEADER or last < TAG or full >= 2**38:
        raise Refused("ImpossibleLength")
    return full + 1


def open_payload(payload, key, context, entry, out):
    if len(payload) < HEADER:
        raise Refused("Truncated")
    if entry["suite"] != 1:
        raise Refused("UnsupportedSuite")
    length = entry["ciphertext_len_bytes"]
    count = chunks_of(length)
    key, base, commitment = derive(key, payload[:24], context)
    if commitment.hex() != entry["key_commitment"]:
        raise Refused("WrongKey")
    if payload[24:HEADER] != commitment:
        raise Refused("AlteredHeader")
    cipher = Cipher(key)
    for chunk in range(count):
        start = HEADER + chunk * SEALED
        end = min(start + SEALED, length)
        if end > len(payload):
            raise Refused("Truncated")
        out += cipher.open(nonce_of(base, chunk), payload[start:end])
    if len(payload) > length:
        raise Refused("TooLong")
    if blake3(payload).hex() != entry["digest"]:
        raise Refused("DigestMismatch")


# The vectors


def pattern(length):
    return bytes(i % 251 for i in range(length))


def read(name):
    return json.loads((pathlib.Path(__file__).parent / "v1" / name).read_text())["cases"]


def check(case, condition, what):
    if not condition:
        raise SystemExit(f"payload vector `{case.get('name', case)}`: {what}")


def check_good():
    made = {}
    for case in read("good.json"):
        key, salt = bytes.fromhex(case["key"]), bytes.fromhex(case["salt"])
        context = context_bytes(case["context"])
        plaintext = pattern(case["plaintext_len_bytes"])
        payload = seal(key, salt, context, plaintext)
        check(case, context.hex() == case["context_bytes"], "context")
        check(case, payload.hex() == case.get("ciphertext", payload.hex()), "ciphertext")
        check(case, hashlib.sha256(payload).hexdigest() == case["ciphertext_sha256"], "SHA-256 of the ciphertext")
        check(case, len(payload) == case["ciphertext_len_bytes"], "length")
        check(case, blake3(payload).hex() == case["digest"], "digest")
        out = bytearray()
        open_payload(payload, key, context, case, out)
        check(case, out == plaintext, "plaintext")
        made[case["name"]] = case, payload
    return made


def changed(case, good):
    of, payload = good[case["of"]]
    for change, value in case.get("payload", {}).items():
        if change == "flip_bit":
            flipped = bytearray(payload)
            flipped[value // 8] ^= 1 << value % 8
            payload = bytes(flipped)
        elif change == "cut":
            payload = payload[:value]
        elif change == "hex":
            payload = bytes.fromhex(value)
        elif change == "append":
            payload += bytes.fromhex(value)
        elif change == "chunks":
            starts = [HEADER + SEALED * number for number in value]
            payload = payload[:HEADER] + b"".join(payload[start : start + SEALED] for start in starts)
        elif change == "header_of":
            payload = good[value][1][:HEADER] + payload[HEADER:]
        else:
            raise SystemExit(f"no change is called `{change}`")
    entry = dict(good[case.get("entry_of", case["of"])][0])
    if case.get("entry") == "as is":
        entry |= {"ciphertext_len_bytes": len(payload), "digest": blake3(payload).hex()}
    else:
        entry |= case.get("entry", {})
    key = bytes.fromhex(case.get("key", of["key"]))
    return payload, key, context_bytes(of["context"] | case.get("context", {})), entry


def check_bad(good):
    cases = read("bad.json")
    for case in cases:
        out = bytearray()
        try:
            open_payload(*changed(case, good), out)
            check(case, False, "it opens")
        except Refused as refused:
            check(case, str(refused) == case["error"], f"refused with {refused}, not {case['error']}")
        check(case, out == pattern(case["released_len_bytes"]), "what comes out before the error")
    return len(cases)


def check_ranges(good):
    cases = read("range.json")
    for case in cases:
        of, payload = good[case["of"]]
        start, end, length = case["start"], case["end"], of["plaintext_len_bytes"]
        if start > end or end > length:
            check(case, case.get("error") == "NoSuchRange", "no such range")
            continue
        first, last = start // CHUNK, -(-end // CHUNK)
        needed = [HEADER + first * SEALED, min(HEADER + last * SEALED, len(payload))] if start < end else [0, 0]
        check(case, case["ciphertext"] == needed, "the bytes that are needed")
        key, base, _ = derive(bytes.fromhex(of["key"]), payload[:24], context_bytes(of["context"]))
        cipher, out = Cipher(key), b""
        for chunk in range(first, last) if start < end else ():
            at = HEADER + chunk * SEALED
            out += cipher.open(nonce_of(base, chunk), payload[at : min(at + SEALED, needed[1])])
        out = out[start - first * CHUNK : end - first * CHUNK]
        check(case, out == pattern(end)[start:], "the range's bytes")
    return len(cases)


def main():
    check({"name": "BLAKE3 of nothing"}, blake3(b"").hex().startswith("af1349b9f5f9a1a6"), "the official value")
    good = check_good()
    bad, ranges = check_bad(good), check_ranges(good)
    print(f"payload: {len(good)} good, {bad} bad and {ranges} range vectors agree")
    if not AESGCM:
        print("SKIPPED: comparison with OpenSSL's AES-256-GCM: the Python package `cryptography` is not installed")


if __name__ == "__main__":
    main()
