# make book    the whole book: smoke trainings, results notebooks, HTML
# make test    the whole test suite
# Both make .venv first where it is missing or older than pyproject.toml or constraints.txt.

PYTHON ?= python3
CORES  ?= all
SIZE   ?= small
ONLY   ?= .

BIN    := .venv/bin
STAMP  := .venv/.installed
ERRORS := build/errors.txt
# One BLAS thread a process: Snakemake runs as many processes as there are cores.
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help venv book test runs unlock clean
.SILENT:

help:
	echo "make book                      build the book (first time: a few minutes of downloads); prints its index.html"
	echo "make test                      run the test suite"
	echo "make runs SIZE=small ONLY=re   train the runs of experiments.yaml of that size whose id matches the regex"
	echo "make clean                     remove build/ (never data/runs/, never .venv)"
	echo "make unlock                    after a killed build: release Snakemake's lock"
	echo "PYTHON=python3.12 chooses the interpreter for .venv; CORES=1 the number of parallel jobs."

venv: $(STAMP)

book: $(STAMP)
	mkdir -p build
	rm -f $(ERRORS)
	echo "make book: smoke trainings, results notebooks, HTML (what did not change is not redone)"
	if LOGITNORM_ERRORS=$(CURDIR)/$(ERRORS) $(BIN)/python -m snakemake --snakefile Snakefile --cores $(CORES) \
	    --scheduler greedy --rerun-incomplete --keep-going --nocolor --quiet host reason rules; then \
	  echo "The book: $(CURDIR)/build/book/_build/html/index.html"; \
	else \
	  echo; test ! -f $(ERRORS) || cat $(ERRORS); \
	  echo "make book: the build stopped; the reason stands above" >&2; exit 1; \
	fi

test: $(STAMP)
	$(THREADS) $(BIN)/python -m pytest

runs: $(STAMP)
	$(BIN)/python -m logitnorm.experiments --size "$(SIZE)" --only "$(ONLY)"

unlock: $(STAMP)
	$(BIN)/python -m snakemake --unlock

clean:
	rm -rf build .snakemake

$(STAMP): pyproject.toml constraints.txt
	tools/make_venv "$(PYTHON)"
	touch $@
