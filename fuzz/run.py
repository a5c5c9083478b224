#!/usr/bin/env python3
"""Builds the fuzz targets and runs them, two at a time, each for as long.

    fuzz/run.py [--seconds 30] [--lanes 2] [TARGET ...]

What is found lies under $CACHE: inputs that lead somewhere new in fuzz-corpus, where the next run begins, and
inputs that break a promise in fuzz-failures. Exits 1 if there was one.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("CACHE", pathlib.Path.home() / ".cache/dmdl"))
TARGET_DIR = CACHE / "fuzz-target"
TARGETS = sorted(path.stem for path in (HERE / "fuzz_targets").glob("*.rs"))
# A hang is a finding; this much, because a machine may be busy with other things.
TIMEOUT_S = 15
RSS_LIMIT_MB = 1024
# libFuzzer's own bound is 4 KiB; these inputs must reach the program's.
LEN_MAX = {"policy": 17 * 1024}


def build():
    # The same versions as in the program, and Cargo adds what only a fuzzer needs.
    ours, lock = HERE.parent / "Cargo.lock", HERE / "Cargo.lock"
    if not lock.exists() or lock.stat().st_mtime < ours.stat().st_mtime:
        shutil.copyfile(ours, lock)
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET_DIR), "RUSTC_WRAPPER": str(HERE / "rustc.sh")}
    subprocess.run([os.environ.get("CARGO", "cargo"), "build", "--bins"], cwd=HERE, env=environment, check=True)


def fuzz(target, seconds):
    """Runs one target: its row of the table, and what it said if it failed."""
    corpus, failures = CACHE / "fuzz-corpus" / target, CACHE / "fuzz-failures" / target
    given = [HERE / folder / target for folder in ("seeds", "regressions")]
    for folder in (corpus, failures):
        folder.mkdir(parents=True, exist_ok=True)
    dictionary = HERE / "dictionaries" / f"{target}.dict"
    command = [
        TARGET_DIR / "debug" / target,
        corpus,
        *(folder for folder in given if folder.is_dir()),
        f"-max_total_time={seconds}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={RSS_LIMIT_MB}",
        f"-max_len={LEN_MAX.get(target, 0)}",
        f"-artifact_prefix={failures}/",
        "-print_final_stats=1",
        *([f"-dict={dictionary}"] if dictionary.exists() else []),
    ]
    log = failures / "log"
    with log.open("wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | {"RUST_BACKTRACE": "1"})
    text = log.read_text(errors="replace")
    numbers = dict(re.findall(r"stat::(\w+):\s+(\d+)", text))
    progress = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", text) or [("-", "-", "-")]
    row = [
        target,
        numbers.get("number_of_executed_units", "-"),
        numbers.get("average_exec_per_sec", "-"),
        *progress[-1],
        numbers.get("new_units_added", "-"),
        numbers.get("peak_rss_mb", "-"),
        "passed" if done.returncode == 0 else "FAILED",
    ]
    return row, None if done.returncode == 0 else report(target, text)


def report(target, text):
    written = re.search(r"Test unit written to (\S+)", text)
    lines = [line for line in text.splitlines() if not re.match(r"#\d+\s|\s*NEW_FUNC|INFO:", line)]
    said = "\n".join(lines[-60:])
    if not written:
        return f"{target} failed without an input to keep:\n{said}"
    path = written[1]
    return (
        f"{target} failed:\n{said}\n\nThe input is {path}. Run it again:\n  {TARGET_DIR}/debug/{target} {path}\n"
        f"Once it is mended, keep it under a name that says what it is: cp {path} fuzz/regressions/{target}/"
    )


def print_table(rows):
    head = ["target", "executions", "per second", "coverage", "features", "corpus", "new", "peak MiB", ""]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30, help="how long each target runs")
    parser.add_argument("--lanes", type=int, default=2, help="how many run at a time")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"all, or some of {', '.join(TARGETS)}")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    build()
    with concurrent.futures.ThreadPoolExecutor(given.lanes) as lanes:
        results = list(lanes.map(lambda target: fuzz(target, given.seconds), given.targets or TARGETS))
    failed = [said for _, said in results if said]
    for said in failed:
        print(f"\n{said}")
    print()
    print_table([row for row, _ in results])
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
