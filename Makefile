# Each target does its own set-up; what is there already costs nothing. `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
# Passed to pytest: make test-root N=0 ARGS="-k publish"; N processes at once, 0: in one, in order
N ?= 2
ARGS ?=
# Of make e2e and its kin: another minor version of Kubernetes than the newest.
K8S ?=
export K8S
QUICK := not root and not lvm and not e2e and not sanity and not cluster and not chart

.DEFAULT_GOAL := help
.PHONY: help setup check test demo bench bench-scale bench-page bench-pods newcomer sanity test-root test-lvm test-cluster proto format lock modules screenshots outdated image check-workflows release-dry chart test-chart test-page test-alerts e2e e2e-smoke e2e-tour e2e-suite e2e-up e2e-down clean

help: ## list the targets
	@awk -F':.*## ' '/^#: /{print "\n" substr($$0, 4)} /^[a-z0-9-]+:.*## /{printf "  %-16s%s\n", $$1, $$2}' Makefile

#: First steps

setup: ## make the virtual environment and install the pre-commit hook
	@$(PYTHON) -m tools.setup setup

demo: ## run all operations on a real volume, and show each CSI call
	@$(PYTHON) -m tools.setup demo
	$(BIN)/cellar demo

#: Tests of one machine

check: ## format, lint, types, imports, spelling, and all tests that need no root
	@$(PYTHON) -m tools.setup check
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/pytest -n $(N) -m "$(QUICK)" $(ARGS)

test: ## check, then the tests with root, loop devices, csi-sanity and LVM
	@$(PYTHON) -m tools.setup test
	@$(MAKE) --no-print-directory check
	N=$(N) $(BIN)/python -m tools.test root sanity -- $(ARGS)
	$(BIN)/python -m tools.lvm brief $(ARGS)

test-root: ## the tests that need root, without csi-sanity
	@$(PYTHON) -m tools.setup test
	N=$(N) $(BIN)/python -m tools.test root -- $(ARGS)

sanity: ## csi-sanity alone
	@$(PYTHON) -m tools.setup test
	N=$(N) $(BIN)/python -m tools.test sanity -- $(ARGS)

test-lvm: ## the tests with LVM, in a virtual machine without root; NATIVE=1: on this kernel
	@$(PYTHON) -m tools.setup test
	NATIVE=$(NATIVE) $(BIN)/python -m tools.lvm all $(ARGS)

torture: ## random calls, kills and power cuts from a seed; ARGS="--seconds 3600 --seed 1 --fs xfs"
	@$(PYTHON) -m tools.setup test
	unshare --mount --propagation private $(BIN)/python -m tests.torture $(ARGS)

#: Tests of a cluster

test-cluster: ## the tests of several nodes and routers, as processes on this machine
	@$(PYTHON) -m tools.setup test
	$(BIN)/python -m tools.test cluster -- $(ARGS)

test-page: ## the tests of `cellar page` in Debian's Chromium, which it installs
	@$(PYTHON) -m tools.setup page
	$(BIN)/pytest tests/unit/cli/page tests/serve/test_page.py -p no:cacheprovider $(ARGS)

test-chart: ## render the chart with helm, and compare deploy/ with it
	@$(PYTHON) -m tools.setup chart
	$(BIN)/python -m tools.chart
	$(BIN)/pytest tests/chart -p no:cacheprovider $(ARGS)

test-alerts: ## let each alert fire in a real Prometheus, which it fetches, and run the dashboard's queries
	@$(PYTHON) -m tools.setup alerts
	$(BIN)/python -m tools.prometheus
	N=$(N) $(BIN)/python -m tools.test alerts -- tests/alerts $(ARGS)

e2e: ## install the chart in a real Kubernetes of two nodes, and test it; K8S=1.36; the first run builds for 10 to 20 minutes
	@$(PYTHON) -m tools.setup e2e
	$(BIN)/python -m tools.e2e test $(ARGS)

e2e-smoke: ## the part of `make e2e` that runs with every change
	@$(PYTHON) -m tools.setup e2e
	$(BIN)/python -m tools.e2e smoke $(ARGS)

e2e-tour: ## show one volume in the same cluster, step by step
	@$(PYTHON) -m tools.setup e2e
	$(BIN)/python -m tools.e2e tour

e2e-suite: ## run Kubernetes' External.Storage suite on the same cluster; ARGS="block clone" for some
	@$(PYTHON) -m tools.setup e2e
	$(BIN)/python -m tools.e2e suite $(ARGS)

e2e-up: ## start the same cluster and leave it running; KEEP=1 make e2e uses it
	@$(PYTHON) -m tools.setup e2e
	$(BIN)/python -m tools.e2e up

e2e-down: ## remove that cluster
	@$(PYTHON) -m tools.setup e2e
	$(BIN)/python -m tools.e2e down

#: Measure and record

bench: ## time each call, and the system calls that it needs at least; PEER=unix:///PATH: another driver too
	@$(PYTHON) -m tools.setup bench
	$(BIN)/python -m tests.bench

bench-scale: ## time calls beside many volumes, mounts, callers, extents and nodes (10 minutes)
	@$(PYTHON) -m tools.setup bench
	$(BIN)/python -m tests.bench.scale --write

bench-pods: ## time the steps from a claim to its running pod; PEER=FOLDER: csi-driver-host-path too
	@$(PYTHON) -m tools.setup e2e
	$(BIN)/python -m tools.e2e pods --write $(ARGS)

bench-page: ## measure `cellar page` with 10,000 volumes in Debian's Chromium, for docs/performance.md
	@$(PYTHON) -m tools.setup page
	$(BIN)/python -m tests.bench.page --write

record: ## run all tests and the benchmark and write docs/record.md; ARGS="check bench": some of them
	@$(PYTHON) -m tools.setup test
	$(BIN)/python -m tools.record $(ARGS)

screenshots: ## write the pictures of `cellar page` in docs/
	@$(PYTHON) -m tools.setup page
	$(BIN)/python -m tools.screenshots

modules: ## measure which tests cover which module, and write docs/modules.md
	@$(PYTHON) -m tools.setup test
	$(BIN)/python -m tools.modules

outdated: ## list outdated dependencies: Python, Go, Kubernetes, Debian; changes nothing
	@$(PYTHON) -m tools.setup check
	$(BIN)/python -m tools.outdated

#: Before a release

newcomer: ## run the README's two commands on a bare Debian 12 and 13; ARGS="--demo trixie"
	@$(PYTHON) -m tools.newcomer $(ARGS)

check-workflows: ## check .github with actionlint and zizmor
	@$(PYTHON) -m tools.setup workflows
	.cache/bin/actionlint
	.cache/release/bin/zizmor --offline --persona=pedantic .github

release-dry: ## build and check all artefacts of a release in dist/; ARGS=--without-image needs no root
	@$(PYTHON) -m tools.setup release
	$(BIN)/python -m tools.release build $(ARGS)

image: ## build the container image without Docker or a registry, and try it
	@$(PYTHON) -m tools.setup image
	$(BIN)/python -m tools.image

#: Generate

proto: ## write the modules in csi_proto from the .proto files
	@$(PYTHON) -m tools.setup check
	$(BIN)/python -m tools.proto

format: ## format the code, and apply ruff's fixes
	@$(PYTHON) -m tools.setup check
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: ## write the lock files; ARGS=--upgrade for newer versions
	$(PYTHON) -m tools.lock $(ARGS)

chart: ## write deploy/ and the chart's README from charts/cellar, and test the chart; no cluster
	@$(PYTHON) -m tools.setup chart
	$(BIN)/python -m tools.chart write
	@$(MAKE) --no-print-directory test-chart

clean: ## remove everything that these commands made
	rm -rf .venv .cache build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
