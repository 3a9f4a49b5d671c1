# `make demo` and `make test` need Python 3.11 (or newer) and nothing else: both make .venv when it is missing or stale.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
STAMP := $(VENV)/.installed
DASK_STAMP := $(VENV)/.installed-dask
RUN := $(VENV)/bin/python
HF_VENV := .venv-hf
HF_STAMP := $(HF_VENV)/.installed
HF_RUN := $(HF_VENV)/bin/python

.PHONY: demo test quick test-hf bench check clean

demo: $(STAMP)
	PYTHON=$(RUN) bash examples/demo.sh

test: check $(DASK_STAMP)
	$(RUN) -m pytest

# All tests but the slow ones, in two processes of one thread each; the output of one follows that of the other.
quick: $(STAMP)
	@export OMP_NUM_THREADS=1; half=$$(mktemp); trap 'rm -f $$half' EXIT; \
	$(RUN) -m pytest -q -m "not slow" tests/contract > $$half 2>&1 & contract=$$!; \
	$(RUN) -m pytest -q -m "not slow" --ignore tests/contract; other=$$?; \
	wait $$contract; mine=$$?; cat $$half; exit $$((other > mine ? other : mine))

bench: $(STAMP)
	$(RUN) -m benchmarks

test-hf: $(HF_STAMP)
	$(HF_RUN) -c "import transformers"
	$(HF_RUN) -m pytest tests/contract/test_export_hf.py

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

$(STAMP): requirements.txt
$(HF_STAMP): requirements-hf.txt requirements.txt
$(STAMP) $(HF_STAMP):
	@test -n "$(PYTHON)" || { echo "make: needs Python 3.11 or newer; name it: make PYTHON=/path/to/python3.11"; exit 2; }
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(DASK_STAMP): requirements-dask.txt $(STAMP)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

clean:
	rm -rf $(VENV) $(HF_VENV) .pytest_cache .ruff_cache .hypothesis
