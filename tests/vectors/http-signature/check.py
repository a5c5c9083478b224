#!/usr/bin/env python3
"""A second implementation of request signatures, from docs/spec/http-signature.md alone: checks the frozen ones.

Needs nothing but Python. Where the package `http-message-signatures` is installed, it must make the same headers from
the same requests, and believe them. Not constant-time: for checking vectors, never for secrets.
"""

import base64
import datetime
import hashlib
import json
import pathlib
import re
import types

try:
    import http_message_signatures
except ImportError:
    http_message_signatures = None

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)
ZERO = (0, 1)
COMPONENTS = ["@method", "@authority", "@path", "@query"]


class Refused(Exception):
    """The request is to be refused, with this code."""


def check(holds, code):
    if not holds:
        raise Refused(code)


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


def encode(p):
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


def point(data):
    """RFC 8032, section 5.1.3, and no point of small order."""
    number = int.from_bytes(data, "little")
    y, odd = number % 2**255, number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT % P
    check(y < P and x * x % P == square and not (x == 0 and odd), "sig_invalid")
    found = (x if x & 1 == odd else P - x, y)
    check(times(8, found) != ZERO, "sig_invalid")
    return found


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def expand(seed):
    digest = hashlib.sha512(seed).digest()
    return int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254, digest[32:]


def challenge(r, key, message):
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % ORDER


def sign_ed25519(seed, message):
    """RFC 8032, section 5.1.6: the public key and the signature."""
    scalar, prefix = expand(seed)
    key = encode(times(scalar, BASE))
    nonce = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % ORDER
    r = encode(times(nonce, BASE))
    s = (nonce + challenge(r, key, message) * scalar) % ORDER
    return key, r + s.to_bytes(32, "little")


def verify_ed25519(key, message, signature):
    """RFC 8032, section 5.1.7, strict and without cofactor."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    check(s < ORDER, "sig_invalid")
    right = add(point(r), times(challenge(r, key, message), point(key)))
    check(times(s, BASE) == right, "sig_invalid")


def unbase64(text, length, code="sig_invalid"):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused(code) from None
    check(len(data) == length and base64.b64encode(data).decode() == text, code)
    return data


def fields(case, name):
    return [value for key, value in case["headers"] if key == name]


def authority(text):
    return text.removesuffix(":443").lower()


def base_of(case, digest, params):
    values = {
        "@method": case["method"],
        "@authority": authority(case["authority"]),
        "@path": case["path"] or "/",
        "@query": "?" + (case["query"] or ""),
    }
    if digest is not None:
        values["content-digest"] = digest
    return "".join(f'"{name}": {value}\n' for name, value in values.items()) + f'"@signature-params": {params}'


def member(case, name):
    lines = fields(case, name)
    check(len(lines) < 2, "sig_ambiguous")
    if not lines:
        return None
    check(len(lines[0]) <= 2048 and re.fullmatch(r"[ -~]*", lines[0]), "sig_invalid")
    check("," not in re.sub(r'"[^"]*("|$)', "", lines[0]), "sig_ambiguous")
    return lines[0].removeprefix("dmdl=") if lines[0].startswith("dmdl=") else None


def content_digest(case):
    lines = fields(case, "content-digest")
    check(len(lines) < 2 and not any("," in line for line in lines), "digest_ambiguous")
    if not lines:
        return None, None
    match = re.fullmatch(r"sha-256=:([^:]*):", lines[0])
    check(match, "digest_mismatch")
    return lines[0], unbase64(match[1], 32, "digest_mismatch")


def verify(setting, case):
    """Key, nonce and time of a request that is to be believed. The numbers are those of the page."""
    params, signature = member(case, "signature-input"), member(case, "signature")  # 1
    check(params is not None and signature is not None, "sig_missing")
    match = re.fullmatch(r'([^)]*\))((?:;[^;=]*=(?:"[^"]*"|(?!")[^;]*))*)', params)  # 2
    check(match, "sig_invalid")
    found = {}
    for name, value in re.findall(r';([^;=]*)=("[^"]*"|[^;]*)', match[2]):
        check(name in ("created", "keyid", "alg", "nonce", "tag"), "sig_invalid")
        check(name not in found, "sig_ambiguous")
        found[name] = value
    check(found.get("alg") == '"ed25519"', "alg_not_allowed")  # 3
    check(found.get("tag") == f'"dmdl:{setting["network"]}"', "sig_context")  # 4
    check(authority(case["authority"]) in map(authority, setting["authorities"]), "sig_context")
    check(re.fullmatch(r"0|[1-9][0-9]{0,14}", found.get("created", "")), "sig_time")  # 5
    check(abs(int(found["created"]) - setting["now"]) <= 60, "sig_time")
    lists = [" ".join(f'"{name}"' for name in COMPONENTS + more) for more in ([], ["content-digest"])]  # 6
    check(match[1] in [f"({text})" for text in lists], "sig_invalid")
    line, digest = content_digest(case)  # 7
    check((line is not None) == ("content-digest" in match[1]), "digest_missing")
    key = re.fullmatch(r'"([0-9a-f]{64})"', found.get("keyid", ""))  # 8
    nonce = re.fullmatch(r'"([^"]*)"', found.get("nonce", ""))
    sequence = re.fullmatch(r":([^:]*):", signature)
    check(key and nonce and sequence, "sig_invalid")
    unbase64(nonce[1], 16)
    base = base_of(case, line, params).encode()
    verify_ed25519(bytes.fromhex(key[1]), base, unbase64(sequence[1], 64))  # 9
    check(digest is not None or not case["body"], "digest_missing")  # 10
    check(digest in (None, hashlib.sha256(case["body"].encode()).digest()), "digest_mismatch")
    return {"key": key[1], "nonce": nonce[1], "created": int(found["created"]), "base": base.decode()}


def make(setting, case):
    """The headers of a request, from the page."""
    base64_of = lambda data: base64.b64encode(data).decode()
    names, headers, digest = COMPONENTS, [], None
    if case["body"]:
        digest = f"sha-256=:{base64_of(hashlib.sha256(case['body'].encode()).digest())}:"
        names, headers = names + ["content-digest"], [["content-digest", digest]]
    params = "(" + " ".join(f'"{name}"' for name in names) + f');created={case["created"]};keyid="{case["key"]}"'
    params += f';alg="ed25519";nonce="{case["nonce"]}";tag="dmdl:{setting["network"]}"'
    key, signature = sign_ed25519(bytes.fromhex(case["seed"]), base_of(case, digest, params).encode())
    assert key.hex() == case["key"], case["name"]
    return headers + [["signature-input", f"dmdl={params}"], ["signature", f"dmdl=:{base64_of(signature)}:"]]


class Keys:
    """The one key of a case, for the other implementation."""

    def __init__(self, case):
        self.case = case

    def resolve_private_key(self, _):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.case["seed"]))

    def resolve_public_key(self, key_id):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key_id))


def witness(setting, case):
    """The same request through `http-message-signatures`: made alike, and believed."""
    ed25519 = http_message_signatures.algorithms.ED25519
    query = "" if case["query"] is None else "?" + case["query"]
    url = f"https://{case['authority']}{case['path']}{query}"
    body, tag = case["body"].encode() or None, f"dmdl:{setting['network']}"

    message = types.SimpleNamespace(method=case["method"], url=url, headers={})
    http_message_signatures.HTTPMessageSigner(signature_algorithm=ed25519, key_resolver=Keys(case)).sign(
        message,
        key_id=case["key"],
        created=datetime.datetime.fromtimestamp(case["created"], datetime.timezone.utc),
        nonce=case["nonce"],
        label="dmdl",
        tag=tag,
        covered_component_ids=COMPONENTS,
        body=body,
    )
    made = sorted([name.lower(), value] for name, value in message.headers.items())
    assert made == sorted(case["headers"]), f"{case['name']}: the library makes {made}"

    message = types.SimpleNamespace(method=case["method"], url=url, headers=dict(case["headers"]))
    verifier = http_message_signatures.HTTPMessageVerifier(signature_algorithm=ed25519, key_resolver=Keys(case))
    # Vectors are of one moment, which may be ahead of this machine's clock as well as long ago.
    verifier.max_clock_skew = datetime.timedelta(days=100 * 365)
    (result,) = verifier.verify(message, max_age=None, expect_tag=tag, require_components=COMPONENTS, body=body)
    assert (result.label, result.nonce, result.body) == ("dmdl", case["nonce"], body), case["name"]


def main():
    folder = pathlib.Path(__file__).parent / "v1"
    good = json.loads((folder / "good.json").read_text())
    for case in good["cases"]:
        assert verify(good, case).items() <= case.items(), case["name"]
        assert make(good, case) == case["headers"], case["name"]
    bad = json.loads((folder / "bad.json").read_text())
    for case in bad["cases"]:
        try:
            verify(bad, case)
        except Refused as refused:
            assert str(refused) == case["error"], f"{case['name']}: {refused} instead of {case['error']}"
            continue
        raise SystemExit(f"accepted: {case['name']}")
    print(f"http-signature v1: {len(good['cases'])} believed, {len(bad['cases'])} refused")
    if not http_message_signatures:
        print("SKIPPED: comparison with the Python package `http-message-signatures`, which is not installed")
        return
    for case in good["cases"]:
        witness(good, case)
    print("http-signature v1: http-message-signatures makes the same headers and believes them")


if __name__ == "__main__":
    main()
