#!/usr/bin/env python3
"""A second implementation of sharing, from docs/spec/share.md alone: checks the frozen dealings.

Needs nothing but Python. Not constant-time: for checking vectors, never for secrets.
"""

import hashlib
import hmac
import json
import pathlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)
LABEL = b"dmdl/v1/"


def negative(x):
    return x % P & 1


def magnitude(x):
    return -x % P if negative(x) else x % P


def sqrt_ratio(u, v):
    """RFC 9496, section 4.2: whether u/v is a square, and its root or that of ROOT * u/v."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    if check == -u % P or check == -u * ROOT % P:
        r = r * ROOT % P
    return check in (u % P, -u % P), magnitude(r)


ONE_MINUS_D_SQUARED = (1 - D * D) % P
D_MINUS_ONE_SQUARED = (D - 1) ** 2 % P
SQRT_AD_MINUS_ONE = 25063068953384623474111414158702152701244531502492656460079210482610430750235
INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]
ZERO = (0, 1)
BASE_Y = 4 * pow(5, -1, P) % P
BASE = (sqrt_ratio(BASE_Y**2 - 1, D * BASE_Y**2 + 1)[1], BASE_Y)


def add(p, q):
    (a, b), (c, d) = p, q
    t = D * a * b * c * d % P
    return (a * d + b * c) * pow(1 + t, -1, P) % P, (b * d + a * c) * pow(1 - t, -1, P) % P


def times(n, p):
    out = ZERO
    for bit in bin(n % ORDER)[2:]:
        out = add(out, out)
        if bit == "1":
            out = add(out, p)
    return out


def decode(data):
    s = int.from_bytes(data, "little")
    assert s < P and not negative(s), "not canonical"
    u1, u2 = (1 - s * s) % P, (1 + s * s) % P
    v = (-(D * u1 * u1) - u2 * u2) % P
    square, inverse = sqrt_ratio(1, v * u2 * u2)
    x = magnitude(2 * s * inverse * u2)
    y = u1 * inverse * inverse * u2 * v % P
    assert square and not negative(x * y) and y, "no point"
    return x, y


def equal(p, q):
    return (p[0] * q[1] - p[1] * q[0]) % P == 0 or (p[1] * q[1] - p[0] * q[0]) % P == 0


def encode(point):
    x, y = point
    u1, u2 = (1 + y) * (1 - y) % P, x * y % P
    inverse = sqrt_ratio(1, u1 * u2 * u2)[1]
    d1, d2 = u1 * inverse % P, u2 * inverse % P
    z_inverse = d1 * d2 * x * y % P
    if negative(x * y * z_inverse):
        x, y, last = y * ROOT % P, x * ROOT % P, d1 * INVSQRT_A_MINUS_D % P
    else:
        last = d2
    if negative(x * z_inverse):
        y = -y % P
    return magnitude(last * (1 - y)).to_bytes(32, "little")


def elligator(data):
    t = int.from_bytes(data, "little") % 2**255
    r = ROOT * t * t % P
    u = (r + 1) * ONE_MINUS_D_SQUARED % P
    v = (-1 - r * D) * (r + D) % P
    square, s = sqrt_ratio(u, v)
    c = -1
    if not square:
        s, c = -magnitude(s * t) % P, r
    n = (c * (r - 1) * D_MINUS_ONE_SQUARED - v) % P
    w0, w1, w2, w3 = 2 * s * v, n * SQRT_AD_MINUS_ONE, 1 - s * s, 1 + s * s
    return w0 * pow(w1, -1, P) % P, w2 * pow(w3, -1, P) % P


def hash_to_group(data):
    return add(elligator(data[:32]), elligator(data[32:]))


def hkdf(secret, info):
    prk = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def labelled(label, *parts):
    out = hashlib.sha256()
    for part in (LABEL + label, *parts):
        out.update(len(part).to_bytes(8, "little") + part)
    return out.digest()


def scalar(data):
    n = int.from_bytes(data, "little")
    assert n < ORDER, "not canonical"
    return n


def verify(share, commitments, n, h):
    assert len(share) == 65, "a share is 65 bytes"
    x = share[0]
    assert 1 <= x <= n, "no such position"
    expected = ZERO
    for commitment in reversed(commitments):
        expected = add(times(x, expected), commitment)
    got = add(times(scalar(share[1:33]), BASE), times(scalar(share[33:]), h))
    assert equal(got, expected), "not the committed share"
    return x, scalar(share[1:33])


def combine(points):
    secret = 0
    for x, value in points:
        factor = 1
        for other, _ in points:
            if other != x:
                factor = factor * other * pow(other - x, -1, ORDER) % ORDER
        secret += value * factor
    return (secret % ORDER).to_bytes(32, "little")


def refused(check, *arguments):
    try:
        check(*arguments)
    except AssertionError:
        return
    raise SystemExit(f"accepted: {arguments}")


def main():
    vectors = json.loads((pathlib.Path(__file__).parent / "v1/deal.json").read_text())
    h = hash_to_group(hashlib.sha512(LABEL + b"pedersen-H").digest())
    assert encode(h).hex() == vectors["pedersen_h"], "H"
    count = 0
    for good in vectors["good"]:
        encoded = [bytes.fromhex(c) for c in good["commitments"]]
        commitments = [decode(c) for c in encoded]
        assert [encode(c) for c in commitments] == encoded
        contexts = [bytes.fromhex(c) for c in good["contexts"]]
        data, epoch = contexts[0][:100], contexts[0][100:104]
        dealing = labelled(b"dealing-id", data, epoch, b"".join(encoded))
        assert dealing.hex() == good["dealing"], "dealing id"
        shares = [bytes.fromhex(s) for s in good["shares"]]
        points = [verify(s, commitments, good["n"], h) for s in shares]
        for x, context in enumerate(contexts, 1):
            assert context[:104] == data + epoch and len(context) == 171
            assert context[136:139] == bytes([x, good["k"], good["n"]]) and context[139:] == dealing
        for subset in good["subsets"]:
            key = hkdf(combine([points[x - 1] for x in subset]), LABEL + b"dek" + data)
            assert key.hex() == good["data_key"], "data key"
            count += 1
    for bad in vectors["bad_shares"]:
        good = vectors["good"][bad["of"]]
        commitments = [decode(bytes.fromhex(c)) for c in good["commitments"]]
        refused(verify, bytes.fromhex(bad["share"]), commitments, good["n"], h)
        count += 1
    for bad in vectors["bad_commitments"]:
        if bad["error"] == "NotAPoint":
            refused(lambda: [decode(bytes.fromhex(c)) for c in bad["commitments"]])
            count += 1
    print(f"{count} checks passed")


if __name__ == "__main__":
    main()
