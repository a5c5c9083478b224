#!/usr/bin/env -S python3 -B
"""A test of scripts/campaign.py: what is counted once is not counted twice, and no failure is forgotten."""

import contextlib
import io
import itertools
import json
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


def after(said, code=0, before=NEW, row=ROW, at="abc1234"):
    return campaign.added(row, before, code, said, 30.0, at)


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
    def setUp(self):
        # The commits that contain the mend.
        self.mended = {"def5678", "fed9876"}
        patch = mock.patch.object(campaign, "contains", lambda at, mend: at in self.mended and mend == "def5678")
        patch.start()
        self.addCleanup(patch.stop)

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
        self.assertEqual((known["count"], known["bound_95"]), (15, None), "they were made without the mend")
        known, _ = after("5 toys to 24: 0 broken", before=known, at="fed9876")
        self.assertEqual((known["failures"][0]["since"], known["count"], known["bound_95"]), (15, 20, 0.6), "five since")
        known, _ = after("5 toys to 29: 0 broken", before=known, at="def5678")
        self.assertEqual((known["failures"][0]["since"], known["count"], known["bound_95"]), (15, 25, 0.3), "ten since")

    def test_what_is_run_without_the_mend_is_no_trial_since(self):
        known, _ = after("toy 7 failed\n5 toys to 9: 1 broken", code=1)
        known["failures"][0]["mended"] = "def5678"
        known, _ = after("5 toys to 14: 0 broken", before=known, at="def5678")
        known, _ = after("5 toys to 19: 0 broken", before=known)
        self.assertEqual((known["failures"][0]["since"], known["bound_95"]), (None, None))
        known, _ = after("5 toys to 24: 0 broken", before=known, at="def5678")
        self.assertEqual((known["failures"][0]["since"], known["bound_95"]), (15, 0.6))

    def test_the_bound_follows_from_the_trials_since_the_last_mend(self):
        known, _ = after("toy 7 failed\n5 toys to 9: 1 broken", code=1)
        known["failures"][0]["mended"] = "def5678"
        known, _ = after("toy 12 failed\n5 toys to 14: 1 broken", code=1, before=known, at="def5678")
        self.assertEqual([failure["since"] for failure in known["failures"]], [5, None])
        self.assertEqual(known["bound_95"], None)
        known["failures"][1]["mended"] = "def5678"
        known, _ = after("5 toys to 19: 0 broken", before=known, at="fed9876")
        self.assertEqual([failure["since"] for failure in known["failures"]], [5, 10])
        self.assertEqual(known["bound_95"], 0.6)

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
        patches |= {"commit": lambda: "abc1234", "build": lambda rows: None, "has_history": lambda: False}
        for name, value in patches.items():
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

    def test_what_was_never_run_has_no_bound_and_its_failures_are_told(self):
        known = {"toys": after("toy 7 failed", code=1)[0]}
        row = "| `toys` | a toy | not run yet | 1 | {} | – | – | – |"
        self.assertIn(row.format("a failure is open"), campaign.campaigns_text(known))
        known["toys"]["failures"][0]["mended"] = "def5678"
        self.assertIn(row.format("–"), campaign.campaigns_text(known))
        readme = [ROW | {"readme": "toys"}]
        with mock.patch.object(campaign, "table", lambda: readme):
            self.assertNotIn("| toys |", campaign.bounds_text(known))
            known = {"toys": after("5 toys to 9: 0 broken")[0]}
            self.assertIn("| toys | 5 | 0 | 1 in 1 |", campaign.bounds_text(known))

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


class Commits(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.here = pathlib.Path(folder.name).resolve()
        self.git("init", "--quiet")
        self.first, self.second = self.commit("one"), self.commit("two")
        patch = mock.patch.object(campaign, "HERE", self.here)
        patch.start()
        self.addCleanup(patch.stop)

    def git(self, *args, at=None):
        somebody = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
        done = subprocess.run(["git", *somebody, *args], cwd=at or self.here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, what):
        self.git("commit", "--quiet", "--allow-empty", "--message", what)
        return self.git("rev-parse", "--short=7", "HEAD")

    def test_a_commit_contains_itself_and_those_before_it(self):
        for at, mend, contains in [
            (self.second, self.first, True),
            (self.second, self.second, True),
            (f"{self.second}+", self.first, True),
            (self.first, self.second, False),
            (self.second, "abc1234", False),
        ]:
            self.assertEqual(campaign.contains(at, mend), contains, (at, mend))

    def test_a_commit_that_there_is_not_is_refused_where_all_are_there(self):
        counts, here = self.here / "counts.json", self.here
        mended = {"seed": "7", "commit": "0000000", "mended": "abc1234", "since": 0}
        fields = {"trial": "a toy", "count": 5, "bound_95": 0.6, "failures": [mended]}
        counts.write_text(json.dumps({"toys": fields | {"first_commit": self.first, "last_commit": f"{self.second}+"}}))
        with mock.patch.multiple(campaign, COUNTS=counts, PAGES={}, table=lambda: [ROW]):
            with contextlib.redirect_stderr(io.StringIO()) as said:
                self.assertTrue(campaign.check())
            self.assertEqual(said.getvalue().count("\n"), 1)
            self.assertIn("counts.json names the commit abc1234 of `toys`", said.getvalue())
            self.git("clone", "--quiet", "--depth=1", f"file://{here}", str(here / "shallow"))
            folder = here / "a folder of the checkout"
            folder.mkdir()
            for elsewhere in (here / "shallow", folder):
                with mock.patch.object(campaign, "HERE", elsewhere):
                    self.assertFalse(campaign.check(), elsewhere)


if __name__ == "__main__":
    unittest.main()
