#!/usr/bin/env python3
"""Runs the campaigns of tests/campaigns.toml for as long as there is time, and adds their counts up.

    scripts/campaign.py [--minutes 60] [--only NAME ...] [--wanted N]
    scripts/campaign.py --write     writes what docs/assurance.md and README.md quote
    scripts/campaign.py --check     do they say what docs/assurance.json does?

One batch of a campaign follows on one of the next. After each, docs/assurance.json is written anew, as a whole or not at all:
an interrupted run loses the batch that it was at, and the next one goes on with trials that were never made. Two runs at a time
keep each other's counts, if they are of other campaigns. Exits 1 if a trial failed.

A failure stays in the file. Somebody puts the commit that mends it under `mended`; from the first batch on a commit that contains
that one, `since` is the count at which it began, and the bound follows from the trials after it.
"""

import argparse
import contextlib
import datetime
import fcntl
import itertools
import json
import math
import os
import pathlib
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent.parent
TABLE = HERE / "tests/campaigns.toml"
COUNTS = HERE / "docs/assurance.json"
# What quotes the counts, and which of the texts below it quotes.
PAGES = {HERE / "docs/assurance.md": ("campaigns", "figures"), HERE / "README.md": ("bounds",)}
# Counts are of the sources; these are what is written about them.
NOT_SOURCES = ("docs/assurance.json", "docs/assurance.md", "README.md")
# With no failure in n trials, at 95 % fewer than 3 in n fail (the rule of three).
RULE_OF_THREE = 3
FEWER = "with 95 % confidence, fewer fail than"
# The lines of a failed batch that are kept, and how much of each.
LINES_KEPT = 5
LINE_CHARS = 400


def table():
    rows = tomllib.loads(TABLE.read_text())["campaign"]
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names), "two campaigns have one name"
    return rows


def counts():
    return json.loads(COUNTS.read_text()) if COUNTS.exists() else {}


@contextlib.contextmanager
def alone():
    """Another run waits with its counts until these are written."""
    with open(pathlib.Path(__file__)) as script:
        fcntl.flock(script, fcntl.LOCK_EX)
        yield


def write_whole(path, text):
    """The file has the old text or the new one, whatever happens meanwhile."""
    part = path.with_name(path.name + ".part")
    with part.open("w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


# ---- running --------------------------------------------------------------------------------------


def git(*args):
    return subprocess.run(["git", *args], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def commit():
    """The commit that the sources are, with a `+` if they are not quite."""
    changed = git("status", "--porcelain", "--", ".", *(f":!{path}" for path in NOT_SOURCES))
    return git("rev-parse", "--short=7", "HEAD") + ("+" if changed else "")


def contains(at, mend):
    """Whether a commit comes after another one, or is it."""
    command = ["git", "merge-base", "--is-ancestor", mend, at.removesuffix("+")]
    return subprocess.run(command, cwd=HERE, capture_output=True).returncode == 0


def has_history():
    """Whether all commits are here, to be looked for: in a checkout of its own that is not shallow."""
    command = ["git", "rev-parse", "--is-shallow-repository", "--show-toplevel"]
    said = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    return said.returncode == 0 and said.stdout.splitlines() == ["false", str(HERE)]


def exists(commit):
    command = ["git", "cat-file", "-e", commit.removesuffix("+") + "^{commit}"]
    return subprocess.run(command, cwd=HERE, capture_output=True).returncode == 0


def cargo(*args):
    locked = ["--locked"] if os.environ.get("CI") else []
    return [*shlex.split(os.environ.get("CARGO", "cargo")), "test", *locked, "--workspace", *args]


def command_of(row):
    return cargo(*shlex.split(row["cargo"])) if "cargo" in row else shlex.split(row["command"])


def build(rows):
    """Before the clock starts: what is compiled is no trial."""
    chosen = {tuple(itertools.takewhile(lambda arg: arg != "--", shlex.split(row["cargo"]))) for row in rows if "cargo" in row}
    if chosen:
        subprocess.run(cargo("--no-run", *sorted({arg for args in chosen for arg in pairs(args)})), cwd=HERE, check=True)


def pairs(args):
    """`--test NAME` as one argument each, so that none is given twice."""
    joined = " ".join(args).replace("--test ", "--test=")
    return joined.split()


def run(row, first):
    """Runs one batch: its exit code, what it said, and the CPU seconds that it took."""
    filled = {name: value.format(next=first, batch=row["batch"]) for name, value in row.get("env", {}).items()}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        command_of(row),
        cwd=HERE,
        env=os.environ | filled,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process.returncode, said, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def added(row, before, code, said, cpu_s, at):
    """What is known of a campaign after one more batch, and what failed in it."""
    after = {"count": 0, "next": 0, "cpu_minutes": 0.0, "failures": [], "first_commit": at} | before
    after["trial"] = row["trial"]
    after["failures"] = [with_since(failure, after["count"], at) for failure in after["failures"]]
    line = re.search(row["says"], said, re.MULTILINE)
    told = {name: number for name, number in (line.groupdict() if line else {}).items() if number is not None}
    count, failures = int(told.pop("count", 0)), int(told.pop("failures", 0))
    last = int(told.pop("last", after["next"] + row["batch"] - 1))
    failed = []
    if code != 0 or not line or failures:
        seeds = [match["seed"] for match in re.finditer(row["failed"], said, re.MULTILINE)] if "failed" in row else []
        lines = [line for line in said.splitlines() if line.strip()]
        # Where it failed, rather than that it did.
        first = next((at for at, line in enumerate(lines) if " panicked at " in line), len(lines) - LINES_KEPT)
        tail = [line[:LINE_CHARS] for line in lines[max(first, 0) :][:LINES_KEPT]]
        where = [{"seed": seed} for seed in dict.fromkeys(seeds)] or [{"from": after["next"], "to": last}]
        failed = [place | {"commit": at, "said": tail, "mended": None, "since": None} for place in where]
    adds = "wanted" in row
    after["count"] = after["count"] + count if adds else count
    after["next"] = last + 1
    after["failures"] = after["failures"] + failed
    after["cpu_minutes"] = round((after["cpu_minutes"] if adds else 0) + cpu_s / 60, 2)
    per_minute = after["count"] / after["cpu_minutes"] if after["cpu_minutes"] else None
    after["per_cpu_minute"] = per_minute and round(per_minute, 1)
    after["bound_95"] = bound(after) if adds else None
    after |= {"last_commit": at, "last_run": datetime.date.today().isoformat()}
    if told:
        after["figures"] = {name: float(number) for name, number in told.items()}
    if "rows" in row:
        after["rows"] = [match.groupdict() for match in re.finditer(row["rows"], said, re.MULTILINE)]
    return after, failed


def with_since(failure, count, at):
    """A failure, with the count at which the trials since its mend begin; none do at a commit that does not contain it."""
    if failure["mended"] is None or not contains(at, failure["mended"]):
        return failure | {"since": None}
    return failure if failure.get("since") is not None else failure | {"since": count}


def bound(campaign):
    """What fails at most, at 95 %: by the trials since the last failure was mended, and nothing is known before."""
    failures = campaign["failures"]
    if any(failure["mended"] is None or failure.get("since") is None for failure in failures):
        return None
    clean = campaign["count"] - max((failure["since"] for failure in failures), default=0)
    return float(f"{min(1, RULE_OF_THREE / clean):.3g}") if clean else None


def is_due(row, known, at, wanted):
    if "wanted" not in row:
        return known.get("last_commit") != at
    return known.get("count", 0) < (wanted or row["wanted"])


def campaign(minutes, only, wanted):
    rows = [row for row in table() if not only or row["name"] in only]
    build(rows)
    begun, at, failed, done = time.monotonic(), commit(), [], 0
    for row in itertools.cycle(rows):
        known = counts()
        if time.monotonic() - begun >= minutes * 60 or not any(
            is_due(row, known.get(row["name"], {}), at, wanted) for row in rows
        ):
            break
        name = row["name"]
        if not is_due(row, known.get(name, {}), at, wanted):
            continue
        before = known.get(name, {})
        code, said, cpu_s = run(row, before.get("next", 0))
        after, failures = added(row, before, code, said, cpu_s, at)
        with alone():
            write_whole(COUNTS, json.dumps(in_order(counts() | {name: after}), indent=2) + "\n")
            write_pages()
        done += 1
        print(f"{name}: {after['count']} so far, {cpu_s / 60:.1f} CPU-minutes, {len(failures)} failures", flush=True)
        for failure in failures:
            print("\n".join(f"    {line}" for line in failure["said"]))
            print(f"  see it again: {again(row, failure)}", flush=True)
        failed += failures
    print(f"campaign: {done} batches, {len(failed)} failures")
    return bool(failed)


def in_order(known):
    """As in the table, so that a changed count is a changed line."""
    names = [row["name"] for row in table()]
    return {name: known[name] for name in names if name in known}


def again(row, failure):
    if "seed" in failure and "again" in row:
        return row["again"].format(seed=failure["seed"])
    filled = (f"{name}={value.format(next=failure['from'], batch=row['batch'])}" for name, value in row.get("env", {}).items())
    return " ".join([*filled, shlex.join(command_of(row))])


# ---- what is quoted -------------------------------------------------------------------------------


def cells(*row):
    return "| " + " | ".join(str(cell) for cell in row) + " |"


def number(count):
    return f"{count:,}"


def at_most(campaign):
    if campaign["bound_95"] is None:
        return "a failure is open" if any(failure["mended"] is None for failure in campaign["failures"]) else "–"
    return f"1 in {number(math.floor(1 / campaign['bound_95']))}"


def campaigns_text(known):
    lines = [
        cells("campaign", "one trial", "trials", "failures", FEWER, "CPU-minutes", "commits", "last run"),
        cells(*["---"] * 8),
    ]
    for row in table():
        name, campaign = f"`{row['name']}`", known.get(row["name"])
        failures = len(campaign["failures"]) if campaign else 0
        if not campaign or not campaign["count"]:
            open_or_not = at_most(campaign) if campaign else "–"
            lines.append(cells(name, row["trial"], "not run yet", failures or "–", open_or_not, *["–"] * 3))
            continue
        first, last = campaign["first_commit"], campaign["last_commit"]
        commits = first if first == last else f"{first} to {last}"
        of = [number(campaign["count"]), failures, at_most(campaign), campaign["cpu_minutes"], commits, campaign["last_run"]]
        lines.append(cells(name, row["trial"], *of))
    return "\n".join(lines)


def figures_text(known):
    lines = []
    if figures := known.get("planted-bugs", {}).get("figures"):
        count = known["planted-bugs"]["count"]
        lines.append(
            f"{count} of {figures['of']:.0f} are caught, {figures['numbers']:.0f} of the 24 numbers; by a test of "
            f"{figures['median_s']:.1f} s at the median, and of {figures['slowest_s']:.1f} s at most."
        )
    if figures := known.get("degraded", {}).get("figures"):
        times = figures["degraded_p99_ms"] / figures["commit_p99_ms"]
        lines.append(
            f"When one of four is killed under load, nobody waits longer than {figures['stall_p99_ms']:.0f} ms "
            f"({known['degraded']['count']} kills); without it, commits take {figures['degraded_p99_ms']:.0f} ms at p99, "
            f"{times:.1f} times as long as with all."
        )
    return "\n\n".join(lines) or "Not measured yet."


def bounds_text(known):
    lines = [cells("what was tried", "times", "failures", FEWER), cells(*["---"] * 4)]
    for row in table():
        campaign = known.get(row["name"])
        if "readme" in row and campaign and campaign["count"]:
            lines.append(cells(row["readme"], number(campaign["count"]), len(campaign["failures"]), at_most(campaign)))
    return "\n".join(lines) if lines[2:] else "No long run was made of this version yet."


def quoting(page, text, known):
    """A page with what it quotes written anew."""
    for part in PAGES[page]:
        begin, end = f"<!-- {part}: scripts/campaign.py writes this -->", f"<!-- {part}: end -->"
        written = globals()[f"{part}_text"](known)
        text, found = re.subn(
            f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n\n{written}\n\n{end}", text, flags=re.DOTALL
        )
        assert found == 1, f"{page} has no place for {part}"
    return text


def write_pages():
    known = counts()
    for page in PAGES:
        write_whole(page, quoting(page, page.read_text(), known))


def check():
    known, wrong, looks = counts(), [], has_history()
    rows = {row["name"]: row for row in table()}
    for name, campaign in known.items():
        row = rows.get(name)
        if row is None:
            wrong.append(f"{COUNTS.name} has `{name}`, {TABLE.name} has not")
            continue
        if campaign["trial"] != row["trial"]:
            wrong.append(f"{COUNTS.name} says something else of `{name}` than {TABLE.name}")
        if "wanted" in row and campaign["bound_95"] != bound(campaign):
            wrong.append(f"the bound of `{name}` does not follow from its count")
        ends = campaign.get("first_commit"), campaign.get("last_commit")
        named = dict.fromkeys(filter(None, [*ends, *(failure["mended"] for failure in campaign["failures"])]))
        gone = [commit for commit in named if looks and not exists(commit)]
        wrong.extend(f"{COUNTS.name} names the commit {commit} of `{name}`, which there is not" for commit in gone)
    for page in PAGES:
        if quoting(page, page.read_text(), known) != page.read_text():
            wrong.append(f"{page.name} does not say what {COUNTS.name} does: scripts/campaign.py --write")
    for line in wrong:
        print(f"campaign: {line}", file=sys.stderr)
    return bool(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="after which no batch is begun")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these campaigns, instead of all")
    parser.add_argument("--wanted", type=int, help="trials of each, instead of what the table says")
    parser.add_argument("--write", action="store_true", help="write what the pages quote, and run nothing")
    parser.add_argument("--check", action="store_true", help="compare what the pages quote, and run nothing")
    given = parser.parse_args()
    if unknown := set(given.only or ()) - {row["name"] for row in table()}:
        parser.error(f"no such campaign: {', '.join(sorted(unknown))}")
    if given.check:
        sys.exit(check())
    if given.write:
        sys.exit(write_pages())
    # Whoever is told to end ends its batch as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(campaign(given.minutes, given.only, given.wanted))
    except KeyboardInterrupt:
        sys.exit("campaign: interrupted; what was counted is kept")


if __name__ == "__main__":
    main()
