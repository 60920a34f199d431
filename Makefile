# make run      set up, then keep two practice Sparks as examples/desired.yaml says (dashboard on port 9999)
# make run DESIRED=path/to/desired.yaml      the same for real Sparks
# make test     set up, then all checks and tests (real hosts too, where it is root on Debian)
# make bench    performance, as ratios; prints the tables of docs/benchmarks.md
# make mutants  what no test would miss of the planner, the scan parser and the quoting (docs/mutants.md)
# make pictures the dashboard's pictures in docs/, taken anew
# make lock     write requirements.lock anew

PYTHON ?= python3
PRACTICE ?= 2
ready := .venv/ready

.PHONY: run test check test-unit test-practice test-hosts test-real faults soak datapath bench mutants lock schema pictures host-packages clean

run: $(ready)
ifdef DESIRED
	.venv/bin/sparkkeep serve --desired $(DESIRED)
else
	.venv/bin/sparkkeep serve --practice $(PRACTICE)
endif

test: check host-packages
	.venv/bin/python -m pytest tests -n 3 --dist loadgroup --durations 40

check: $(ready)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test-unit: $(ready)
	.venv/bin/python -m pytest tests/unit

test-practice: $(ready)
	.venv/bin/python -m pytest tests/practice

test-hosts: $(ready) host-packages
	SPARKKEEP_REQUIRE_HOSTS=1 .venv/bin/python -m pytest tests/hosts

# The long versions: 100 kills, 200 more beside cuts and restarts, 2,000 commands through a real shell, 5,000 spoilt
# files. And vLLM itself, where
# SPARKKEEP_VLLM names the Python of an environment that holds it, SPARKKEEP_SPEECH one of servers of sound (docs/REAL.md),
# SPARKKEEP_EMBED_PYTHON one of spark_embed (tests/models/test_spark_embed.py).
test-real: $(ready) host-packages
	SPARKKEEP_REQUIRE_HOSTS=1 SPARKKEEP_LONG=1 .venv/bin/python -m pytest tests/hosts -m "hosts"
	SPARKKEEP_LONG=1 .venv/bin/python -m pytest tests/bad_input
ifdef SPARKKEEP_VLLM
	SPARKKEEP_REQUIRE_HOSTS=1 .venv/bin/python -m pytest tests/models tests/real
endif
ifdef SPARKKEEP_SPEECH
	SPARKKEEP_REQUIRE_HOSTS=1 .venv/bin/python -m pytest tests/real/test_speech.py
endif
	SPARKKEEP_LONG=1 .venv/bin/python -m pytest tests/datapath/test_large_sounds.py
ifdef SPARKKEEP_EMBED_PYTHON
	.venv/bin/python -m pytest tests/models/test_spark_embed.py
endif

# docs/reliability.md: every crash, pairs of crashes, 10,000 random histories. And a month of fifty Sparks.
faults: $(ready)
	.venv/bin/python -m tests.simulation.crashes
	.venv/bin/python -m tests.simulation.crashes --pairs
	.venv/bin/python -m tests.simulation.histories --count 10000

soak: $(ready)
	.venv/bin/python -m tests.simulation.soak

# Apps that ask without rest while everything changes, on practice Sparks and on real hosts; and an hour of it, for leaks.
datapath: $(ready) host-packages
	.venv/bin/python -m tests.datapath.mixed
	.venv/bin/python -m tests.datapath.mixed --hosts real
	.venv/bin/python -m tests.datapath.soak

bench: $(ready) host-packages
	.venv/bin/python -m tests.bench

# mutmut stands in an environment of its own, which sees the packages of .venv; nothing else needs it.
mutants: build/mutmut/ready
	rm -rf mutants
	build/mutmut/bin/mutmut run --max-children $$(nproc)
	.venv/bin/python -m tests.tools.mutants

build/mutmut/ready: $(ready)
	$(PYTHON) -m venv build/mutmut
	build/mutmut/bin/pip install --quiet --disable-pip-version-check mutmut==3.8.1
	.venv/bin/python -c 'import site; print(*site.getsitepackages(), sep="\n")' \
		> $$(echo build/mutmut/lib/python*/site-packages)/sparkkeep.pth
	touch build/mutmut/ready

# Root on Debian: real hosts (network namespaces, OpenSSH, Docker) are part of the tests.
host-packages:
	@sh tests/hosts/packages.sh

schema: $(ready)
	.venv/bin/python -m state.json_schema
	.venv/bin/python -m state.field_guide
	.venv/bin/python -m api.call_guide
	.venv/bin/python -m reconciler.signatures.page
	.venv/bin/python -m reconciler.doctor.page
	.venv/bin/python -m api.settings_page

# The pictures of docs/DASHBOARD.md, taken anew of practice Sparks.
pictures: $(ready)
	.venv/bin/python -m tests.browser.pictures

lock:
	.venv/bin/pip-compile --quiet --strip-extras --extra dev --extra redaction --allow-unsafe --generate-hashes --no-emit-index-url \
		--no-emit-find-links --output-file requirements.lock pyproject.toml

$(ready): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(ready)

clean:
	rm -rf .venv build mutants *.egg-info
