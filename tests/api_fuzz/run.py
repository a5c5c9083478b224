#!/usr/bin/env python3
"""Asks a gateway everything that its own description allows, and much that it does not.

    run.py PROGRAM [--seconds N] [--seed N]

Starts `PROGRAM up` in a folder of its own, registers and opens a record, so that there is something to ask for, and lets
schemathesis loose on it with every check that it has: no server error, no status, media type, header or shape that is not
described, nothing accepted that the description forbids, nothing refused that it allows, nothing without a signature that
needs one. Prints the seed; what fails is printed as a `curl` line, whose signature is good for a minute.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import urllib.request

HERE = pathlib.Path(__file__).parent
SCHEMATHESIS = pathlib.Path(sys.executable).parent / "schemathesis"
PEOPLE = ["owner", "researcher", "committee", "officer", "admin"]
# Answers that a run must have seen, or it has asked nothing.
SEEN_MIN = 500


class Network:
    """`dmdl up` in a folder of its own, with some of a working day behind it."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.log = (folder / "up.log").open("w+")
        env = {name: value for name, value in os.environ.items() if not name.startswith("DMDL_")}
        self.process = subprocess.Popen(
            [program, "up", "--json", "--plain-http", "--listen", "127.0.0.1:0", "--dir", folder / "network"],
            stdout=subprocess.PIPE, stderr=self.log, env=env,
        )
        self.up = json.loads(self.process.stdout.readline())
        self.env = env | {"DMDL_NETWORK": self.up["network_file"], "DMDL_HOME": str(folder / "home")}

    def key(self, name):
        return pathlib.Path(self.up["identities"]) / f"{name}.key"

    def seed(self, name):
        lines = dict(line.split(" ", 1) for line in self.key(name).read_text().splitlines()[1:])
        return lines["secret"]

    def run(self, name, *args):
        done = subprocess.run(
            [self.program, "--json", "--as", self.key(name), *args], env=self.env, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{args}: {done.stdout} {done.stderr}"
        return json.loads(done.stdout)

    def work(self):
        """Two records, a request and an opening; gives the ids that there are, by kind."""
        file = self.folder / "record.txt"
        file.write_text("HbA1c 48 mmol/mol")
        listed = self.run("owner", "record", "register", file, "--policy", "research-auto")
        hidden = self.run("owner", "record", "register", file, "--unlisted")
        asked = self.run("researcher", "access", "request", listed["record"], "--purpose", "HMB", "--reason", "a study",
                         "--uses", "5")
        opened = self.run("researcher", "access", "open", listed["record"], "--out", self.folder / "opened")
        return {
            "records": [listed["record"], hidden["record"]],
            "transactions": [listed["transaction"], asked["request"], opened["transaction"]],
            "digests": [listed["payload"], hidden["payload"]],
            "nodes": listed["custodians"],
            "keys": [self.run(name, "whoami")["key"] for name in PEOPLE],
        }

    def check(self):
        """It lives, says so, and has said nothing of a failure."""
        with urllib.request.urlopen(f"{self.up['gateway']}/readyz", timeout=10) as answer:
            assert answer.read() == b"ready"
        assert self.process.poll() is None, "the network has ended"
        log = pathlib.Path(self.log.name).read_text()
        assert "panicked" not in log and "ERROR" not in log, log

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(timeout=30) == 0, "it stops cleanly"
        finally:
            self.process.kill()


def fuzz(network, seconds, seed):
    """Runs schemathesis; gives its exit code and what was answered."""
    folder = network.folder
    ids = network.work()
    config = (HERE / "schemathesis.toml").read_text()
    config += "".join(f"\n[dictionaries.{kind}]\nvalues = {json.dumps(values)}\n" for kind, values in ids.items())
    (folder / "schemathesis.toml").write_text(config)
    setting, answers = folder / "setting.json", folder / "answers.json"
    people = {name: network.seed(name) for name in PEOPLE}
    genesis = network.up["network"]
    setting.write_text(json.dumps({"network": genesis, "people": people, "seed": seed, "answers": str(answers)}))
    command = [
        SCHEMATHESIS, "--config-file", folder / "schemathesis.toml",
        "run", f"{network.up['gateway']}/v1/openapi.json", "--checks", "all", "--workers", "1",
        "--max-time", str(seconds), "--seed", str(seed), "--warnings", "off",
    ]
    env = os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "DMDL_API_FUZZ": str(setting),
                        "PYTHONDONTWRITEBYTECODE": "1", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, env=env, cwd=folder, check=False)
    return done.returncode, json.loads(answers.read_text())


def tell(answers):
    """The answers by route and status."""
    total = sum(sum(statuses.values()) for statuses in answers.values())
    for route, statuses in sorted(answers.items()):
        print(f"  {route:70} " + " ".join(f"{status}:{count}" for status, count in sorted(statuses.items())))
    print(f"api-fuzz: {total} answers of {len(answers)} routes")
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    args = parser.parse_args()
    if not SCHEMATHESIS.exists():
        if os.environ.get("CI"):
            sys.exit("api-fuzz: schemathesis is not installed")
        print("SKIPPED: the gateway's interface is NOT fuzzed, schemathesis is not installed")
        return
    replay = f"make api-fuzz SEED={args.seed}"
    print(f"api-fuzz: seed {args.seed}; again with: {replay}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        network = Network(args.program.resolve(), pathlib.Path(folder))
        try:
            code, answers = fuzz(network, args.seconds, args.seed)
            network.check()
        finally:
            network.stop()
    total = tell(answers)
    if code != 0:
        sys.exit(f"api-fuzz: schemathesis found something; again with: {replay}")
    if total < SEEN_MIN:
        sys.exit(f"api-fuzz: only {total} answers were seen")


if __name__ == "__main__":
    main()
