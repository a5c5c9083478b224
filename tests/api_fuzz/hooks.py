"""Signs what schemathesis sends, as one person of the network after the other, and counts what came back."""

import atexit
import base64
import collections
import datetime
import json
import os
import pathlib
import random
import secrets

import http_message_signatures
import requests
import schemathesis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

# The network's id, the seeds of its people's keys, where the counts go; written by run.py.
SETTING = json.loads(pathlib.Path(os.environ["DMDL_API_FUZZ"]).read_text())
COMPONENTS = ("@method", "@authority", "@path", "@query")
# Nobody needs to see a gateway wait.
WAIT_MS_MAX = 50
LINEAR_SHARE = 0.01

picks = random.Random(SETTING["seed"])
answers = collections.defaultdict(collections.Counter)


class Keys(http_message_signatures.HTTPSignatureKeyResolver):
    """People's keys, by the keys themselves."""

    def __init__(self):
        keys = {name: Ed25519PrivateKey.from_private_bytes(bytes.fromhex(s)) for name, s in SETTING["people"].items()}
        self.ids = {name: key.public_key().public_bytes_raw().hex() for name, key in keys.items()}
        self.private = {self.ids[name]: key for name, key in keys.items()}

    def resolve_private_key(self, key_id):
        return self.private[key_id]

    def resolve_public_key(self, key_id):
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key_id))


KEYS = Keys()
SIGNER = http_message_signatures.HTTPMessageSigner(
    signature_algorithm=http_message_signatures.algorithms.ED25519, key_resolver=KEYS
)


def who(request):
    """Anybody; but who may follow the trail does so from a place where there is something to hear."""
    name = picks.choice(sorted(KEYS.ids))
    follows = request.path_url.split("?")[0].endswith("main/events")
    if follows and name == "officer" and request.headers.get("Last-Event-ID") not in ("0", "1", "2"):
        return "researcher"
    return name


class Signed(requests.auth.AuthBase):
    """Docs: spec/http-signature.md, through a library that knows nothing of this project."""

    def __call__(self, request):
        # A session belongs to its connection: none must be left for a request that is sent without a signature.
        request.headers["Connection"] = "close"
        for name in ("Signature", "Signature-Input", "Content-Digest"):
            # Of the same request, when it was sent before and is printed now.
            request.headers.pop(name, None)
        body = request.body.encode() if isinstance(request.body, str) else request.body
        SIGNER.sign(
            request,
            key_id=KEYS.ids[who(request)],
            created=datetime.datetime.now(datetime.timezone.utc),
            nonce=base64.b64encode(secrets.token_bytes(16)).decode(),
            label="dmdl",
            tag=f"dmdl:{SETTING['network']}",
            covered_component_ids=COMPONENTS,
            body=body or None,
        )
        return request


schemathesis.auth.set_from_requests(Signed())


@schemathesis.hook
def before_call(context, case, kwargs):
    for name in ("wait", "timeout"):
        value = str((case.query or {}).get(name, ""))
        if value.isdecimal() and int(value) > WAIT_MS_MAX:
            case.query[name] = WAIT_MS_MAX
    # Each such read waits for a turn, which takes seconds where nothing else happens.
    if (case.query or {}).get("consistency") == "linear" and picks.random() > LINEAR_SHARE:
        case.query["consistency"] = "local"
    body = getattr(case.body, "data", case.body)
    if case.method == "PUT" and isinstance(body, bytes) and body and "Content-Range" in (case.headers or {}):
        # Nobody guesses how long a body is: some are the first part of more, some are all there is.
        more = picks.choice([None, 0, 1, 1 << 50])
        if more is not None:
            case.headers["Content-Range"] = f"bytes 0-{len(body) - 1}/{len(body) + more}"


@schemathesis.hook
def after_call(context, case, response):
    answers[case.operation.label][response.status_code] += 1


@atexit.register
def tell():
    pathlib.Path(SETTING["answers"]).write_text(json.dumps(answers))
