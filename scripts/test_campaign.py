#!/usr/bin/env -S python3 -B
"""A test of scripts/campaign.py: what is counted once is not counted twice, and no failure is forgotten."""

import contextlib
import io
import itertools
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest
from unittest import mock

import campaign

ROW = {
    "name": "toys",
    "trial": "a toy",
    "command": "sh -c 'echo $FIRST; echo \"5 toys to $LAST: 0 broken\"'",
    "env": {"FIRST": "{next}", "LAST": "9"},
    "batch": 5,
    "wanted": 100,
    "says": r"(?P<count>\d+) toys to (?P<last>\d+): (?P<failures>\d+) broken",
    "failed": r"^toy (?P<seed>\d+) failed",
    "again": "toy {seed}",
}
NEW = {}


def after(said, code=0, before=NEW, row=ROW):
    return campaign.added(row, before, code, said, 30.0, "abc1234")


class Table(unittest.TestCase):
    def test_a_campaign_runs_a_test_that_there_is(self):
        for row in campaign.table():
            program = re.search(r"--test (\S+) .*--exact (?:(\S+)::)?(\w+)$", row.get("cargo", ""))
            if not program:
                continue
            name, modules, test = program.groups()
            places = [f"{folder}tests/{name}{file}" for folder in ("", "*/") for file in (".rs", "/main.rs")]
            (source,) = itertools.chain.from_iterable(campaign.HERE.glob(place) for place in places)
            files = [source, *campaign.HERE.glob(f"**/tests/{name}/**/*.rs")]
            self.assertTrue(any(f"fn {test}(" in file.read_text() for file in files), row["name"])
            outermost = (modules or "").split("::")[0]
            declared = re.search(rf"^(pub(\(crate\))? )?mod {outermost}\b", source.read_text(), re.MULTILINE)
            self.assertTrue(not modules or declared, f"{row['name']}: `{outermost}` is no module of {source.name}")


class Counting(unittest.TestCase):
    def test_a_batch_begins_after_the_last_trial_of_the_one_before(self):
        first, failed = after("5 toys to 9: 0 broken")
        self.assertEqual((first["count"], first["next"], first["cpu_minutes"], failed), (5, 10, 0.5, []))
        self.assertEqual((first["per_cpu_minute"], first["bound_95"]), (10.0, 0.6))
        second, _ = after("5 toys to 31: 0 broken", before=first)
        self.assertEqual((second["count"], second["next"], second["bound_95"]), (10, 32, 0.3))
        self.assertIn("32\n", campaign.run(ROW, second["next"])[1])

    def test_a_failure_is_kept_with_its_seed_and_there_is_no_bound_until_it_is_mended(self):
        known, failed = after("toy 7 failed\n5 toys to 9: 1 broken", code=1)
        self.assertEqual([failure["seed"] for failure in failed], ["7"])
        self.assertEqual(campaign.again(ROW, failed[0]), "toy 7")
        known, _ = after("5 toys to 14: 0 broken", before=known)
        self.assertEqual((known["count"], len(known["failures"]), known["bound_95"]), (10, 1, None))
        known["failures"][0]["mended"] = "def5678"
        known, _ = after("5 toys to 19: 0 broken", before=known)
        self.assertEqual((known["count"], known["bound_95"]), (15, 0.3), "ten trials since")

    def test_who_says_nothing_has_failed(self):
        for said, code in (("", 0), ("killed", -9)):
            known, failed = after(said, code)
            self.assertEqual((known["count"], known["next"], len(failed)), (0, 5, 1))
            self.assertEqual((failed[0]["from"], failed[0]["to"]), (0, 4))
            self.assertIn("FIRST=0", campaign.again(ROW, failed[0]))

    def test_what_covers_a_fixed_set_adds_nothing_up(self):
        row = {key: value for key, value in ROW.items() if key != "wanted"}
        known, _ = after("5 toys to 9: 0 broken", row=row)
        known, _ = after("5 toys to 9: 0 broken", row=row, before=known)
        self.assertEqual((known["count"], known["cpu_minutes"], known["bound_95"]), (5, 0.5, None))
        self.assertFalse(campaign.is_due(row, known, "abc1234", None))
        self.assertTrue(campaign.is_due(row, known, "def5678", None))


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.page = pathlib.Path(folder.name) / "page.md"
        self.counts = pathlib.Path(folder.name) / "counts.json"
        mark = "campaigns: {} -->\n<!-- campaigns: end"
        self.page.write_text(f"before\n<!-- {mark.format('scripts/campaign.py writes this')} -->\nafter\n")
        patches = {"COUNTS": self.counts, "PAGES": {self.page: ("campaigns",)}, "table": lambda: [ROW]}
        for name, value in (patches | {"commit": lambda: "abc1234", "build": lambda rows: None}).items():
            patch = mock.patch.object(campaign, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def test_a_page_says_what_the_counts_do_or_is_found_out(self):
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertFalse(campaign.campaign(1, None, 5))
        self.assertIn("| `toys` | a toy | 5 | 0 | 1 in 1 |", self.page.read_text())
        self.assertFalse(campaign.check())
        self.page.write_text(self.page.read_text().replace("| 5 |", "| 5,000 |"))
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertTrue(campaign.check())
        self.assertIn("page.md does not say what counts.json does", said.getvalue())

    def test_an_interrupted_batch_is_not_counted_and_leaves_no_process(self):
        slow = ROW | {"command": f"sh -c 'sleep 60 & echo $! > {self.page}.pid; wait'"}
        with mock.patch.object(campaign, "table", lambda: [slow]):
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, 1)
            with self.assertRaises(KeyboardInterrupt):
                campaign.campaign(1, None, None)
        self.assertFalse(self.counts.exists())
        child = pathlib.Path(f"{self.page}.pid").read_text().strip()
        for _ in range(100):
            state = subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True).stdout
            if not state.strip() or state.startswith("Z"):
                return
            time.sleep(0.05)
        self.fail(f"process {child} goes on")


if __name__ == "__main__":
    unittest.main()
