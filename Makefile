# make book    the whole book: smoke trainings, results notebooks, HTML
# make test    the test suite but for its slow part, which make test-all adds
# Both make .venv first where it is missing or older than pyproject.toml or constraints.txt.

PYTHON ?= python3
CORES  ?= all
SIZE   ?= small
ONLY   ?= .
# For make runs: how many of this machine's GPUs (0: train on the CPU), and how many runs at a time on each of them.
GPUS   ?= $(shell nvidia-smi -L 2>/dev/null | grep -c '^GPU')
SHARE  ?= 1
# 1: score the papers' own image sets, which are downloaded, instead of the stand-ins that experiments.yaml names.
OFFICIAL ?= 0
GPU_LIMITS = $(foreach i,$(wordlist 1,$(GPUS),0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),gpu$(i)=$(SHARE))

BIN    := .venv/bin
STAMP  := .venv/.installed
ERRORS := build/errors.txt
LOG    := build/log.txt
# One BLAS thread a process: Snakemake runs as many processes as there are cores.
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# Each module is compiled once and not by every process, whatever the shell that calls make says.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv book check test test-all mutations site pdf picture runs unlock clean
.SILENT:

help:
	echo "make book                      build the book (first time: a few minutes of downloads); prints its index.html"
	echo "make check                     style, direction of imports and types, in seconds"
	echo "make test                      run the test suite but for its slow part"
	echo "make test-all                  ... with it: whole builds, killed processes, real images"
	echo "make mutations                 break lines of the library, one at a time: does make test see it?"
	echo "make site                      check the built pages in a headless browser (Chromium or Chrome)"
	echo "make pdf                       the book as one page and as a PDF, printed by Chromium or Chrome"
	echo "make picture                   draw the picture of README and of links to the book again, from the runs"
	echo "make runs SIZE=small ONLY=re   train the runs of experiments.yaml of that size whose id matches the regex"
	echo "          GPUS=2 SHARE=3       ... on two GPUs, three runs at a time on each; GPUS=0: on the CPU, one run a core"
	echo "          OFFICIAL=1           ... on the papers' own image sets, downloaded, instead of stand-ins"
	echo "make clean                     remove build/ (never data/runs/, never .venv)"
	echo "make unlock                    after a killed build: release Snakemake's lock"
	echo "PYTHON=python3.12 chooses the interpreter for .venv; CORES=1 the number of parallel jobs."

venv: $(STAMP)

# Snakemake. Of all that is said, which goes to the log, one line a step is shown; when something fails, the sentences that the
# nodes left about it, or the end of the log where none did.
SNAKEMAKE = mkdir -p build; rm -f $(ERRORS); \
  snake() { LOGITNORM_ERRORS=$(CURDIR)/$(ERRORS) tools/quiet $(LOG) $(BIN)/python -m snakemake --snakefile Snakefile \
    --cores $(CORES) --scheduler greedy --rerun-incomplete --keep-going --nocolor "$$@"; }; \
  stopped() { if test -f $(ERRORS); then sort -u $(ERRORS); else tail -n 15 $(LOG); fi >&2; \
    echo "$$1 stopped; everything that was said is in $(CURDIR)/$(LOG)" >&2; exit 1; }

book: $(STAMP)
	$(SNAKEMAKE); snake || stopped "make book"; \
	echo "The book: $(CURDIR)/build/book/_build/html/index.html"

check: $(STAMP)
	$(BIN)/ruff check --quiet lib tests benchmarks tools
	said=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$said"; exit 1; }
	said=$$($(BIN)/mypy 2>&1) || { echo "$$said"; exit 1; }
	tools/check_workflows
	echo "style, import directions and types are as they should be"

# Quiet: a line a file, and the last line, both written by tests/conftest.py.
PYTEST = $(THREADS) $(BIN)/python -m pytest -n 2 --dist loadfile -qq

test: $(STAMP)
	$(PYTEST) -m "not slow"

test-all: $(STAMP)
	$(PYTEST)

mutations: $(STAMP)
	$(THREADS) $(BIN)/python tools/mutations.py

site: $(STAMP)
	LOGITNORM_SITE=build/book/_build/html $(THREADS) $(BIN)/python -m pytest tests/test_site.py

pdf: book
	$(BIN)/python -m logitnorm book pdf

picture: $(STAMP)
	$(BIN)/python -c "from logitnorm.book import front; front.draw()"

runs: $(STAMP)
	$(SNAKEMAKE); snake runs --resources gpu=0 $(GPU_LIMITS) \
	  --config size="$(SIZE)" only="$(ONLY)" official=$(OFFICIAL) gpu=0 gpus=$(GPUS) || stopped "make runs"; \
	echo "The runs: $(CURDIR)/data/runs"

unlock: $(STAMP)
	$(BIN)/python -m snakemake --unlock

clean:
	rm -rf build .snakemake

$(STAMP): pyproject.toml constraints.txt
	tools/make_venv "$(PYTHON)"
	touch $@
