# make up     run the deployment on this machine      make test   run its tests
# make check  what CI runs                            make bench  what it costs
# make docs   write the pages that are made from the code

PYTHON ?=
UV_VERSION := 0.13.8
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never

.PHONY: up test check format lint types imports audit docs test-tools test-matrix bench soak lock clean

up: .venv/installed
	@exec $(BIN)/nightshift up

test: .venv/installed test-tools
	$(BIN)/pytest
	@if [ -n "$$CI" ]; then $(MAKE) --no-print-directory test-matrix; \
	else echo "Not run: Matrix against a real homeserver; \`make test-matrix\` installs one and runs it."; fi

check: .venv/installed lint types imports audit test

# A browser and such; on a person's machine only when they ask, by `scripts/install-test-tools`.
test-tools:
	@if [ -n "$$CI" ]; then scripts/install-test-tools; fi

# Matrix against a real homeserver, which is installed if need be.
test-matrix: .venv/installed
	scripts/install-synapse
	$(BIN)/pytest -m homeserver -n 0 tests/matrix

audit: .venv/installed
	$(BIN)/python scripts/audit-dependencies

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/installed
	$(BIN)/mypy

imports: .venv/installed
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What stands in docs/reference is made from the code.
docs: .venv/installed
	$(BIN)/python scripts/write-events-page

bench: .venv/installed
	$(BIN)/python -m bench

soak: .venv/installed
	$(BIN)/pytest -m soak -s -n 0

# The environment: everything as locked, by name and hash; the registry is whatever pip is set up to use.
.venv/installed: requirements.lock pyproject.toml
	@python="$(PYTHON)"; python=$${python:-$$(scripts/find-python)} && \
	echo "Installing nightshift's environment for $$python into .venv." && \
	echo "The first time takes some minutes: the embedded Redis is compiled." && \
	{ test -x .tools/bin/uv || { "$$python" -m venv .tools && .tools/bin/pip install --quiet uv==$(UV_VERSION); }; } && \
	{ test -x $(BIN)/python || .tools/bin/uv venv --quiet --python "$$python" .venv; } && \
	VIRTUAL_ENV=.venv .tools/bin/uv pip sync --require-hashes requirements.lock && \
	VIRTUAL_ENV=.venv .tools/bin/uv pip install --quiet --no-deps --editable .
	@touch $@

lock:
	.tools/bin/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url \
	  --no-annotate --extra server --extra embedded --group dev --group bench pyproject.toml -o requirements.lock
	.tools/bin/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url \
	  --no-annotate --constraint requirements.lock --extra server pyproject.toml -o deploy/requirements.lock
	.tools/bin/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url \
	  --no-annotate tests/matrix/requirements.in -o tests/matrix/requirements.lock

clean:
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
