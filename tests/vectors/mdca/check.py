#!/usr/bin/env python3
"""A second implementation of reputation, from docs/spec/mdca.md alone: checks the frozen vectors.

Needs nothing but Python.
"""

import json
import pathlib

ONE = 1_000_000
DUTIES = ("endorsing", "committing", "ordering")


def div(a, b):
    """Divides towards zero."""
    return abs(a) // b * (1 if a >= 0 else -1)


def fit(good, bad):
    return div(ONE * (good - bad), good + bad + 1)


def mix(weight, a, b):
    return div(weight * a + (ONE - weight) * b, ONE)


def score(counts, config):
    """Rules 6 to 9: I(M, j), I(N, j) and R(j) of each duty."""
    faults = counts["faults"]
    rate = {
        "endorsing": (counts["endorsement_rate"], counts["endorsement_failures"]),
        "committing": (counts["committing_rate"], [counts["committing_rate"][0], faults["committing"]]),
        "ordering": (counts["turns"], counts["votes"]),
    }
    numbers = {
        "endorsing": ([counts["endorsement_rate"][0], faults["endorsing"]], [counts["endorsed_volume"], 0]),
        "committing": ([counts["committing_rate"][0], faults["committing"]], [counts["committed_volume"], 0]),
        "ordering": ([counts["turns"][0] + counts["votes"][0], faults["ordering"]], [0, 0]),
    }
    result = {}
    for duty in DUTIES:
        m = mix(config["rate"][duty], *(fit(*c) for c in rate[duty]))
        n = mix(config["numbers"][duty], *(fit(*c) for c in numbers[duty]))
        if faults[duty]:
            n = -ONE
        k = div(config["computing"][duty] * m, ONE) + div(config["trust"][duty] * n, ONE)
        result[duty] = {"computing": m, "trust": n, "total": k}
    return result


def standing(before, total, faulty, decay):
    """Rule 10."""
    if faulty:
        return -ONE
    if total <= before:
        return total
    return div(decay * before + (ONE - decay) * total, ONE)


def schedule(orderers, duties, standings, thresholds):
    """Rules 11 to 13."""
    places = []
    for node, org in orderers:
        held = [duty for duty in DUTIES if duty in duties[org]]
        good = all(standings[org][duty] >= thresholds[duty] for duty in held)
        places.append((not good, -sum(standings[org][duty] for duty in held), node))
    places.sort()
    needed = 2 * ((len(orderers) - 1) // 3) + 1
    return [node for i, (bad, _, node) in enumerate(places) if not bad or i < needed]


def main():
    vectors = json.loads((pathlib.Path(__file__).parent / "v1" / "good.json").read_text())
    for case in vectors["epochs"]:
        name, config = case["name"], case["config"]
        scores = score(case["counts"], config)
        assert scores == case["scores"], (name, scores)
        after = {
            duty: standing(case["before"][duty], scores[duty]["total"], case["counts"]["faults"][duty] > 0, config["decay"])
            for duty in DUTIES
        }
        assert after == case["after"], (name, after)
    for case in vectors["schedules"]:
        orderers = [(o["node"], o["org"]) for o in case["orderers"]]
        turns = schedule(orderers, case["duties"], case["standings"], case["thresholds"])
        assert turns == case["turns"], (case["name"], turns)
    print(f"{len(vectors['epochs'])} epochs and {len(vectors['schedules'])} schedules agree")


if __name__ == "__main__":
    main()
