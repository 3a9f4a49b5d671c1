# `make demo` and `make test` need Python 3.11 (or newer) and nothing else: they make .venv when it is missing or stale.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-demo
DEV_STAMP := $(VENV)/.installed-dev
DASK_STAMP := $(VENV)/.installed-dask
TRANSFORMERS_STAMP := $(VENV)/.installed-hf
SUBWORD_STAMP := $(VENV)/.installed-subword
MOSEI_STAMP := $(VENV)/.installed-mosei
DECODE_STAMP := $(VENV)/.installed-decode
RUN := $(VENV)/bin/python
# Python compiles what it imports, once: of all that is installed that is little, for which pip would take half a minute.
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE
HF_VENV := .venv-hf
HF_STAMP := $(HF_VENV)/.installed
HF_RUN := $(HF_VENV)/bin/python

.PHONY: demo test quick test-hf bench gpu torture check clean

demo: $(DEMO_STAMP)
	PYTHON=$(RUN) bash examples/demo.sh

# make test PRECISION=medium: PyTorch's matmul precision at the start of every test.
PYTEST = $(if $(PRECISION),PRECISION=$(PRECISION) )$(RUN) -m pytest
# Two processes of one thread each, for two cores; the output of one follows that of the other.
FIRST_HALF := tests/oracle $(wildcard tests/contract/test_[a-r]*.py)
in_two_processes = @export OMP_NUM_THREADS=1; half=$$(mktemp); trap 'rm -f $$half' EXIT; \
	$(PYTEST) $(1) $(FIRST_HALF) > $$half 2>&1 & first=$$!; \
	$(PYTEST) $(1) $(FIRST_HALF:%=--ignore=%); other=$$?; \
	wait $$first; one=$$?; cat $$half; exit $$((other > one ? other : one))

test: check $(DASK_STAMP) $(TRANSFORMERS_STAMP) $(SUBWORD_STAMP) $(MOSEI_STAMP) $(DECODE_STAMP)
	$(call in_two_processes)

# All tests but the slow ones.
quick: $(DEV_STAMP)
	$(call in_two_processes,-q -m "not slow")

# make bench AGAINST=../before: every stage beside that checkout's, turn by turn.
bench: $(STAMP)
	$(RUN) -m benchmarks$(if $(AGAINST),.against $(AGAINST))

# On a machine with a GPU, in at most 8 minutes: what it can do, and how near training comes to that; and the tests that
# need one. make gpu ARGS="--only steps"
gpu: $(DEV_STAMP)
	$(RUN) -m benchmarks.gpu $(ARGS)

# Kills, full disks, faults, load, hostile inputs: what fails is kept in result/torture with the command that repeats it.
# make torture MINUTES=30 SEED=0 ONLY=kills,disk COUNT=100 JOBS=2
torture: $(DEV_STAMP)
	$(RUN) -m tests.campaign $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(ONLY),--only $(ONLY)) $(if $(COUNT),--count $(COUNT)) $(if $(JOBS),--jobs $(JOBS))

# The folders of `--export hf`, and Transformers' models as upstreams, with Transformers 4.57; `make test` has 5.
test-hf: $(HF_STAMP)
	$(HF_RUN) -c "import transformers; assert transformers.__version__.startswith('4.57')"
	$(HF_RUN) -m pytest tests/contract/test_export_hf.py tests/oracle/test_huggingface*.py

check: $(DEV_STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(STAMP): requirements.txt
$(HF_STAMP): requirements-hf4.txt requirements-dev.txt requirements-demo.txt requirements.txt
$(STAMP) $(HF_STAMP):
	@test -n "$(PYTHON)" || { echo "make: needs Python 3.11 or newer; name it: make PYTHON=/path/to/python3.11"; exit 2; }
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(INSTALL) $(^:%=-r %)
	touch $@

# What a target needs beyond requirements.txt goes into the same environment.
$(DEV_STAMP): requirements-demo.txt
$(VENV)/.installed-%: requirements-%.txt $(STAMP)
	$(RUN) $(INSTALL) -r $<
	touch $@

clean:
	rm -rf $(VENV) $(HF_VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis build *.egg-info
