# Everything that one types while working here. `make` alone prints the list.
#
# One profile, one target directory: the C++ of RocksDB takes many CPU minutes, and another profile,
# other flags or another directory would compile it again (docs/adr/0007-rocksdb-build.md). Tests are chosen
# by name and not by package, because a package alone is built with other features than the workspace.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CACHE            ?= $(HOME)/.cache/dmdl
CARGO_TARGET_DIR ?= $(CACHE)/target
DMDL_SAMPLES     ?= $(CACHE)/samples
# The simulator runs other seeds at each commit; one that fails is printed.
DMDL_SIM_BASE    ?= $(shell printf '%d' "0x$$(git rev-parse --short=7 HEAD 2>/dev/null || echo 0)")
export CACHE CARGO_TARGET_DIR DMDL_SAMPLES DMDL_SIM_BASE

CARGO ?= cargo
# In CI the lock file is law; at the desk Cargo may add a line for a dependency just written down.
LOCKED := $(if $(CI),--locked)
DMDL   := $(CARGO_TARGET_DIR)/debug/dmdl

.PHONY: help setup samples build demo clean-demo check fmt fmt-check lint test deps deny vectors vectors-check planted sim model wasm bench fuzz campaign load api-fuzz

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what a bare machine lacks (compiler, libclang, wasm target)
	@scripts/setup.sh build

samples: ## fetch and generate the sample records
	@scripts/setup.sh python
	@"$(CACHE)/venv/bin/python" scripts/fetch-samples.py --out "$(DMDL_SAMPLES)"

build: setup ## build the program
	$(CARGO) build $(LOCKED)

demo: setup samples build ## the whole story on sample records: register, ask, decide, release, audit
	"$(DMDL)" demo --dir demo

clean-demo: ## remove what the demo left
	rm -rf demo

check: setup samples fmt-check deps lint test planted vectors-check wasm fuzz api-fuzz ## everything that CI runs
	@echo "check: all passed"

fmt: ## format the sources
	$(CARGO) fmt --all

fmt-check: ## are the sources formatted?
	$(CARGO) fmt --all -- --check

lint: ## clippy, with warnings as errors
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings

test: ## every test; as root, those of hosts in network namespaces too
	@scripts/setup.sh test
	$(CARGO) test $(LOCKED) --workspace

deps: ## does the lock file hold what is banned, doubled or too old? is anything compiled twice?
	@scripts/test-check-deps.sh
	@scripts/check-deps.sh Cargo.lock
	@scripts/check-features.sh

deny: ## licences, advisories and sources, where cargo-deny is installed
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; \
	else echo "cargo-deny is not installed: 'cargo install --locked cargo-deny'; 'make deps' covers the bans without it"; fi

# A test that compares vectors has `frozen` in its name, and writes them where DMDL_WRITE_VECTORS is set.
vectors: ## write the test vectors anew
	DMDL_WRITE_VECTORS=1 $(CARGO) test $(LOCKED) --quiet --workspace -- frozen
	$(CARGO) test $(LOCKED) --quiet --workspace --test share_vectors -- --ignored write_the_vectors

# Two looks: the code writes what is checked in, and a second implementation agrees with it.
vectors-check: vectors ## do the vectors equal what the code writes, and does a second implementation agree?
	@scripts/setup.sh python
	@for check in tests/vectors/*/check.py; do echo "$$check"; "$(CACHE)/venv/bin/python" "$$check"; done
	@if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then git --no-pager diff --exit-code -- tests/vectors; \
	else echo "not a git checkout: nothing to compare the vectors with"; fi

planted: ## plant known bugs, one at a time: does the test that should catch each do so?
	@CARGO="$(CARGO)" LOCKED="$(LOCKED)" scripts/planted-bugs.sh

api-fuzz: build ## ask a gateway all that its description allows and forbids, 120 s; FUZZ_SECONDS=600 longer, SEED=42 again
	@scripts/setup.sh fuzz
	@"$(CACHE)/venv/bin/python" tests/api_fuzz/run.py "$(DMDL)" $(if $(FUZZ_SECONDS),--seconds $(FUZZ_SECONDS)) $(if $(SEED),--seed $(SEED))

sim: ## the whole cluster in the simulator, seeds that move with the commit; SEED=42 replays one
	$(if $(SEED),DMDL_SIM_SEED=$(SEED)) $(CARGO) test $(LOCKED) --workspace $(if $(SEED),,--test engine_sim) --test sim -- --nocapture

campaign: ## the long runs: 200 seeds of the simulator, a network killed 100 times
	DMDL_SIM_COUNT=$${DMDL_SIM_COUNT:-200} DMDL_KILLS=$${DMDL_KILLS:-100} \
	$(CARGO) test $(LOCKED) --workspace --test sim --test cli -- --nocapture every_seed_holds killed_at_any_moment

load: ## members change, nodes are wiped and restarted, and people work all the time: 60 s a phase at least; DMDL_LOAD_SECONDS=300 longer
	DMDL_LOAD_SECONDS=$${DMDL_LOAD_SECONDS:-60} $(CARGO) test $(LOCKED) --workspace --test change_under_load -- --nocapture

model: ## the model of the release rule, explored to its full bounds
	$(CARGO) test $(LOCKED) --workspace --test release_model -- --ignored --nocapture

wasm: ## build the crates that browsers use
	$(CARGO) build $(LOCKED) -p dmdl-types -p dmdl-vault --target wasm32-unknown-unknown

bench: setup ## measure single operations; `dmdl bench` measures a network
	$(CARGO) bench $(LOCKED) --workspace --profile dev --bench payload --bench custody --bench transaction --bench execute --bench decide

# SECONDS of each target; a longer campaign continues where the last one ended.
fuzz: setup ## run the fuzz targets, two at a time; SECONDS=600 for longer
	@scripts/setup.sh python
	@"$(CACHE)/venv/bin/python" fuzz/run.py --seconds $(or $(SECONDS),30)
