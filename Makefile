# make run      set up, then keep two practice Sparks as examples/desired.yaml says (dashboard on port 9999)
# make run DESIRED=path/to/desired.yaml      the same for real Sparks
# make test     set up, then all checks and tests (real hosts too, where it is root on Debian)
# make bench    performance, as ratios; prints the tables of docs/benchmarks.md
# make lock     write requirements.lock anew

PYTHON ?= python3
PRACTICE ?= 2
ready := .venv/ready

.PHONY: run test check test-unit test-practice test-hosts test-real bench lock schema host-packages clean

run: $(ready)
ifdef DESIRED
	.venv/bin/sparkkeep serve --desired $(DESIRED)
else
	.venv/bin/sparkkeep serve --practice $(PRACTICE)
endif

test: check host-packages
	.venv/bin/python -m pytest tests -n 2 --dist loadgroup

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

# The long versions: 100 kills, 2,000 commands through a real shell.
test-real: $(ready) host-packages
	SPARKKEEP_REQUIRE_HOSTS=1 SPARKKEEP_LONG=1 .venv/bin/python -m pytest tests/hosts -m "hosts"

bench: $(ready) host-packages
	.venv/bin/python -m tests.bench

# Root on Debian: real hosts (network namespaces, OpenSSH, Docker) are part of the tests.
host-packages:
	@sh tests/hosts/packages.sh

schema: $(ready)
	.venv/bin/python -m state.json_schema
	.venv/bin/python -m state.field_guide

lock:
	.venv/bin/pip-compile --quiet --strip-extras --extra dev --generate-hashes --no-emit-index-url \
		--no-emit-find-links --output-file requirements.lock pyproject.toml

$(ready): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(ready)

clean:
	rm -rf .venv build *.egg-info
