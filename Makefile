# Everything this project can do, one word each: `make help`.
SHELL  := /bin/bash
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
LOCK   := requirements/dev.lock
STAMP  := $(VENV)/.installed
PIP    := $(PYTHON) -m pip --disable-pip-version-check --python $(PY) install -qq --no-compile --no-deps --require-hashes
CSS    := static/css/site.css
TAILWIND := $(VENV)/bin/tailwindcss -i static/css/input.css --minify
# Tools that read the settings need no server: nothing answers on port 9.
UNPLUGGED := SECRET_KEY=unplugged ALLOWED_HOSTS=localhost LOMBARD_ENV_FILE= REDIS_URL=redis://127.0.0.1:9/0 \
	DATABASE_URL=postgresql://nobody@127.0.0.1:9/none
# The exchange's clients: an environment for each set that can live together, from a lock of its own.
CLIENTS := official pybinance connector typed
CLIENT_STAMPS := $(CLIENTS:%=.venv-clients/%/.installed)

.DEFAULT_GOAL := help
.PHONY: help setup run test check clients client-envs rules drill browser screenshots bench replays bench-reads lint format format-check types imports migrations templates messages css css-check lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## install everything from the hash-locked file into .venv, and nothing else

# --without-pip and `pip --python`: needs no ensurepip (Debian without python3-venv), and PEP 668 does not
# bite, because the target is the venv. The stamp is written last, so a broken install is tried again.
$(STAMP): $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "  setup | installing $$(grep -c '==' $(LOCK)) locked packages into $(VENV)"
	@test -x $(PY) || $(PYTHON) -m venv --without-pip $(VENV)
	@$(PIP) -r $(LOCK)
	@touch $@

run: $(STAMP) ## start the desk on this machine (PORT=8000); Ctrl-C stops it
	@exec $(PY) -m config.stack

test: $(STAMP) ## the whole suite on a throw-away PostgreSQL and Valkey (ARGS="-k gate -x")
	@$(PY) -m pytest -n auto --dist worksteal $(ARGS)

# Every gate runs, even after one failed, and the last line counts them.
GATES := format-check lint types imports migrations templates css-check rules bench-check
check: $(STAMP) ## every gate: format, lint, types, imports, migrations, templates, css, rules, benchmarks, tests
	@passed=0; failed=; log=$$(mktemp); trap 'rm -f '"$$log" EXIT; \
	for gate in $(GATES) test; do \
		echo "== $$gate"; \
		$(MAKE) --no-print-directory $$gate 2>&1 | tee "$$log"; \
		if [ $${PIPESTATUS[0]} -eq 0 ]; then passed=$$((passed + 1)); else failed="$$failed $$gate"; fi; \
	done; \
	tests=$$(tail -n 1 "$$log" | grep -oE '[0-9]+ (passed|failed|errors?|skipped|xfailed|deselected)' | sed 's/ passed/ tests passed/' | paste -sd ',' | sed 's/,/, /g'); \
	echo "check: $$passed gates passed, $$(wc -w <<< "$$failed") failed$${failed:+ ($${failed# })}, $${tests:-no tests ran}"; \
	[ -z "$$failed" ]

client-envs: $(CLIENT_STAMPS) ## install the exchange's clients, each set into an environment of its own

.venv-clients/%/.installed: requirements/clients/%.lock $(STAMP)
	@echo "  setup | installing $$(grep -c '==' $<) locked packages into $(@D)"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv --without-pip $(@D)
	@$(PYTHON) -m pip --disable-pip-version-check --python $(@D)/bin/python install -qq --no-compile --require-hashes -r $<
	@touch $@

# The run first, then its table; a run that failed leaves the table as it was.
clients: $(CLIENT_STAMPS) ## drive every real client against a live site, and write docs/api.md's table of who calls what
	@rm -rf .local/clients
	@$(PY) -m pytest tests/clients/test_clients.py -p no:randomly -q -s $(ARGS)
	@$(PY) -m tests.clients.table

rules: $(STAMP) ## every rule with the tests that cite it; fails when one has none (ID=R-GEN-30 lists them all)
	@$(PY) -m tests.rules $(ID)

drill: $(STAMP) ## kill the running demo's processes while it charges day after day, then prove the books (MINUTES=15)
	@$(PY) -m tests.drills.kill --minutes $(or $(MINUTES),15)

# Every page is measured, also behind one that fails; the table says what was found, and the run fails after it.
browser: $(STAMP) ## every page in Chromium: axe-core, weight, server time into docs/faces.md; and the journeys (ARGS="-k home")
	@rm -rf .local/faces
	@FACES=all $(PY) -m pytest tests/faces tests/browser -p no:randomly -q $(ARGS); code=$$?; \
		$(PY) -m tests.faces.table && exit $$code

screenshots: $(STAMP) ## a picture of every page in light, dark and phone width, into .local/screenshots (ARGS="-k desk")
	@FACES=shoot $(PY) -m pytest tests/faces/test_faces.py -p no:randomly -q $(ARGS)
	@echo "$$(find .local/screenshots -name '*.png' | wc -l) pictures in .local/screenshots"

bench: $(STAMP) ## the hot jobs against their own floors on this machine (SMALL=1: the short form; ARGS="--only scale --write")
	@$(PY) -m bench $(if $(SMALL),--small) $(ARGS)

bench-check: $(STAMP)
	@$(PY) -m bench --small

replays: $(STAMP) ## recorded crashes at 20,000 borrowers, and other lines beside (PRICES=folder of price files), into docs/replays.md
	@$(PY) -m bench.replays $(PRICES) --write $(ARGS)

bench-reads: $(STAMP) ## signed reads of ten loans against a signed endpoint that answers nothing, on this machine
	@$(PY) -m bench.requests --reads

format: $(STAMP) ## put every file into its one format
	@$(PY) -m ruff format -q . && $(PY) -m ruff check -q --select I --fix .
	@find templates -name '*.html' | xargs -r $(VENV)/bin/djade --target-version 5.2

format-check: $(STAMP)
	@$(PY) -m ruff format --check .

lint: $(STAMP) ## ruff
	@$(PY) -m ruff check .

types: $(STAMP) ## mypy, strict
	@$(UNPLUGGED) $(PY) -m mypy

imports: $(STAMP) ## the arrows between apps and inside them
	@$(UNPLUGGED) $(VENV)/bin/lint-imports --no-cache

migrations: $(STAMP) ## no model without its migration
	@$(UNPLUGGED) $(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

templates: $(STAMP) ## djade
	@find templates -name '*.html' | xargs -r $(VENV)/bin/djade --check --target-version 5.2
	@echo "$$(find templates -name '*.html' | wc -l) templates checked"

$(VENV)/bin/tailwindcss: requirements/css.lock $(STAMP)
	@$(PIP) -r requirements/css.lock
	@touch $@

messages: $(STAMP) ## take the marked texts into locale/sv and compile them (tests/messages.py cuts them for translators)
	@$(PY) -m tests.messages

css: $(VENV)/bin/tailwindcss ## build static/css/site.css from input.css
	@$(TAILWIND) -o $(CSS)
	@echo "$(CSS): $$(wc -c < $(CSS)) bytes"

css-check: $(STAMP) ## the built CSS is what input.css and the templates make
	@if [ ! -f $(CSS) ]; then echo "css-check: nothing to check, $(CSS) is not built"; \
	elif [ ! -x $(VENV)/bin/tailwindcss ]; then echo "css-check: SKIPPED, not verified: Tailwind is not installed (make css installs it)"; \
	else new=$$(mktemp) && trap 'rm -f '"$$new" EXIT && $(TAILWIND) -o "$$new" 2> /dev/null && \
		if cmp -s "$$new" $(CSS); then echo "css-check: $(CSS) is fresh"; else echo "css-check: $(CSS) is stale: make css"; exit 1; fi; fi

lock: $(STAMP) ## resolve pyproject.toml and the clients' lists into hash-locked files
	@$(PY) -m uv pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --python-version 3.11 \
		--extra embedded --extra test --extra lint -o $(LOCK) pyproject.toml > /dev/null
	@sed -n '/^css = \[/s/.*"\(.*\)".*/\1/p' pyproject.toml | \
		$(PY) -m uv pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --python-version 3.11 \
		-o requirements/css.lock - > /dev/null
	@for name in $(CLIENTS); do \
		$(PY) -m uv pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --python-version 3.11 \
			-o requirements/clients/$$name.lock requirements/clients/$$name.in > /dev/null || exit 1; done
	@echo "locked $$(grep -c '==' $(LOCK)) packages"

clean: ## remove .venv, .local (the demo's data!) and what had to live outside the folder
	@test ! -x $(PY) || $(PY) -m config.embedded
	rm -rf /dev/shm/lombard-tests-$$(id -u) $(VENV) .venv-clients .local .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
