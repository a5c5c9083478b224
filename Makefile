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

.PHONY: help setup samples build release demo clean-demo check fmt fmt-check lint test deps deny vectors vectors-check planted sim twins model wasm bench fuzz campaign campaign-check restores load storage degraded overload soak start histories api-fuzz

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what a bare machine lacks (compiler, libclang, wasm target)
	@scripts/setup.sh build

samples: ## fetch and generate the sample records
	@scripts/setup.sh python
	@"$(CACHE)/venv/bin/python" scripts/fetch-samples.py --out "$(DMDL_SAMPLES)"

build: setup ## build the program
	$(CARGO) build $(LOCKED)

release: setup ## build the program as hospitals run it: longer to compile, faster to run
	$(CARGO) build $(LOCKED) --workspace --release --bin dmdl

demo: setup samples build ## the whole story on sample records: register, ask, decide, release, audit
	"$(DMDL)" demo --dir demo

clean-demo: ## remove what the demo left
	rm -rf demo

check: setup samples fmt-check deps campaign-check lint test planted vectors-check wasm fuzz api-fuzz ## everything that CI runs
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
	@scripts/setup.sh test
	@CARGO="$(CARGO)" LOCKED="$(LOCKED)" scripts/planted-bugs.sh

api-fuzz: build ## ask a gateway all that its description allows and forbids, 120 s; FUZZ_SECONDS=600 longer, SEED=42 again
	@scripts/setup.sh fuzz
	@"$(CACHE)/venv/bin/python" tests/api_fuzz/run.py "$(DMDL)" $(if $(FUZZ_SECONDS),--seconds $(FUZZ_SECONDS)) $(if $(SEED),--seed $(SEED))

sim: ## the whole cluster in the simulator, seeds that move with the commit; SEED=42 replays one, NODES=7 has seven, KIND=liar chooses
	$(if $(SEED),DMDL_SIM_SEED=$(SEED)) $(if $(NODES),DMDL_SIM_NODES=$(NODES)) $(if $(KIND),DMDL_SIM_KIND=$(KIND)) \
	$(CARGO) test $(LOCKED) --workspace $(if $(SEED),,--test engine_sim) --test sim -- --nocapture

twins: ## scenarios of an orderer that is two, seeds that move with the commit; SEED=42 replays one
	$(if $(SEED),DMDL_TWINS_SEED=$(SEED)) \
	$(CARGO) test $(LOCKED) --workspace --test engine_sim -- --nocapture whoever_is_two

# Python without packages: it runs before anything is set up.
campaign: ## the long runs, whose counts add up in docs/assurance.json: MINUTES=60, ONLY="twins crashes", WANTED=500
	@CI=$(CI) CARGO="$(CARGO)" scripts/campaign.py --minutes $(or $(MINUTES),60) $(if $(ONLY),--only $(ONLY)) $(if $(WANTED),--wanted $(WANTED))

campaign-check: ## do README and docs/assurance.md say what docs/assurance.json does?
	@scripts/test_campaign.py
	@scripts/campaign.py --check

restores: ## a node is brought back from old backups and copies: 20 times, and in 20 seeds of the simulator; DMDL_RESTORES=50 more
	DMDL_RESTORES=$${DMDL_RESTORES:-20} $(CARGO) test $(LOCKED) --workspace --test backup --test sim -- --include-ignored --nocapture brought_back restored

load: ## members change, nodes are wiped and restarted, and people work all the time: 60 s a phase at least; DMDL_LOAD_SECONDS=300 longer
	DMDL_LOAD_SECONDS=$${DMDL_LOAD_SECONDS:-60} $(CARGO) test $(LOCKED) --workspace --test change_under_load -- --nocapture

histories: ## a nemesis strikes four processes, and what people are told is judged: one run of 60 s; SECONDS=300, COUNT=20, SEED=42 again
	@scripts/setup.sh test
	DMDL_HISTORIES=$(or $(COUNT),1) DMDL_HISTORY_SECONDS=$(or $(SECONDS),60) $(if $(SEED),DMDL_HISTORY_SEED=$(SEED)) \
	$(CARGO) test $(LOCKED) --workspace --test faults -- --nocapture histories

# Each test says how many there were, in one line that begins with the number.
storage: ## disks that fail: syncs, full disks, power cuts, flipped bits, lost payloads; DMDL_BIT_FLIPS=5000 for more of one, as root
	@scripts/setup.sh test
	DMDL_SYNC_FAILURES=$${DMDL_SYNC_FAILURES:-20} DMDL_FULL_DISKS=$${DMDL_FULL_DISKS:-10} \
	DMDL_POWER_CUTS=$${DMDL_POWER_CUTS:-20} DMDL_BIT_FLIPS=$${DMDL_BIT_FLIPS:-200} DMDL_PAYLOADS=$${DMDL_PAYLOADS:-200} \
	$(CARGO) test $(LOCKED) --workspace --test storage -- --include-ignored --nocapture --test-threads=2

degraded: ## kill one of four processes under load and measure how they go on: ten kills; DMDL_DEGRADED_KILLS=50 more
	DMDL_DEGRADED_KILLS=$${DMDL_DEGRADED_KILLS:-10} $(CARGO) test $(LOCKED) --workspace --test degraded -- --ignored --nocapture

overload: ## ten times what a network can do, for 60 s; DMDL_OVERLOAD_SECONDS=300 longer
	DMDL_OVERLOAD_SECONDS=$${DMDL_OVERLOAD_SECONDS:-60} $(CARGO) test $(LOCKED) --workspace --test overload -- --nocapture

soak: ## 30 % of what 32 clients can do, with a fault a minute, for 60 minutes; MINUTES=720 longer, SEED=42 again; samples in soak/
	DMDL_SOAK_MINUTES=$(or $(MINUTES),60) DMDL_SOAK_SEED=$(or $(SEED),1) DMDL_SOAK_DIR=$${DMDL_SOAK_DIR:-$(CURDIR)/soak} \
	$(CARGO) test $(LOCKED) --workspace --test soak -- --nocapture

start: ## the time that a node with 100,000 blocks takes to be up, and to have them again; the chain is kept in start/, BLOCKS=1000 for a shorter one
	DMDL_START_BLOCKS=$(or $(BLOCKS),100000) DMDL_START_DIR=$${DMDL_START_DIR:-$(CURDIR)/start/network} \
	$(CARGO) test $(LOCKED) --workspace --test start -- --nocapture

model: ## the model of the release rule, explored to its full bounds
	$(CARGO) test $(LOCKED) --workspace --test release_model -- --ignored --nocapture

wasm: ## build the crates that browsers use
	$(CARGO) build $(LOCKED) -p dmdl-types -p dmdl-vault --target wasm32-unknown-unknown

bench: setup ## measure single operations; `dmdl bench` measures a network
	$(CARGO) bench $(LOCKED) --workspace --profile dev --bench payload --bench custody --bench transaction --bench execute --bench pipeline --bench gateway --bench decide

# SECONDS of each target; a longer campaign continues where the last one ended.
fuzz: setup ## run the fuzz targets, two at a time; SECONDS=600 for longer
	@scripts/setup.sh python
	@"$(CACHE)/venv/bin/python" fuzz/run.py --seconds $(or $(SECONDS),30)
