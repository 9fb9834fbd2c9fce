# The only commands a newcomer needs. `make` alone lists them.
# Debian's own where it is whole: built with profile-guided optimisation, which pyenv leaves out unless asked, it runs
# our Python 1.3 to 1.9 times as fast.
PYTHON ?= $(if $(wildcard /usr/lib/python3.11/ensurepip),/usr/bin/)python3.11
BIN := .venv/bin
RUN_STAMP := .venv/.run
DEV_STAMP := .venv/.dev
# Some checks need settings, and so servers: these run against throw-away ones.
BORROW := $(BIN)/python -m controlplane.stack.borrow

.DEFAULT_GOAL := help
.PHONY: help run test test-all django-tests wagtail-history check check-django openapi bench clean debian
.DELETE_ON_ERROR:

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(RUN_STAMP) ## Start everything: servers, control plane, example application (TENURE_PORT=8000)
	@exec $(BIN)/python -m controlplane.stack

test: $(DEV_STAMP) debian ## Run the tests (ARGS="-k onboard" to choose)
	$(BIN)/python -m pytest $(ARGS)

test-all: ## All of them: of the longest, `make test` draws some anew each time (20 minutes)
	TENURE_TESTS=all $(MAKE) --no-print-directory test

django-tests: $(DEV_STAMP) ## Run Django's own tests of its ORM inside tenants, and compare (about 5 minutes)
	$(BIN)/python -m tests.django_suite.compare $(MODULES)

wagtail-history: $(DEV_STAMP) ## Roll Wagtail's releases out one by one, from 2.0 on (12 minutes; STOPS="2.0 8.0")
	WAGTAIL_STOPS="$(or $(STOPS),all)" $(BIN)/python -m pytest -n 0 tests/provisioning/rollout/test_wagtail_history.py

check: $(DEV_STAMP) ## Lint, types, floors, migrations, deployment settings, API schema
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BORROW) $(MAKE) --no-print-directory check-django

check-django:
	$(BIN)/mypy
	$(BIN)/python manage.py check --fail-level WARNING
	TENURE_TLS=true $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python manage.py makemigrations --check --dry-run
	@$(BIN)/python manage.py spectacular --validate --fail-on-warn | diff -u docs/openapi.yaml - \
		|| { echo "The API is not what docs/openapi.yaml says. Run: make openapi"; exit 1; }

openapi: $(DEV_STAMP) ## Write the API's schema to docs/openapi.yaml
	$(BORROW) $(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

bench: $(DEV_STAMP) ## Run a benchmark: make bench NAME=onboarding
	@test -n "$(NAME)" || { echo "Say which: make bench NAME=…, one of:"; \
		ls benchmarks/*.py | sed 's,benchmarks/,  ,; s,\.py$$,,' | grep -v '_'; exit 2; }
	$(BIN)/python -m benchmarks.$(NAME)

clean: ## Remove the data of `make run` and all caches (.venv stays)
	@if [ -e .tenure/lock ] && ! flock --nonblock .tenure/lock true; then \
		echo "Tenure runs over .tenure. Stop it first."; exit 1; fi
	rm -rf .tenure .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache static-collected htmlcov .coverage*
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

# Installed again only when the lists of packages change.
$(RUN_STAMP): requirements.txt | $(BIN)/python
	@echo "Installing requirements.txt into .venv …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt requirements.txt | $(BIN)/python
	@echo "Installing requirements-dev.txt into .venv …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $(RUN_STAMP) $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
		|| { echo "Tenure needs Python 3.11, and $(PYTHON) is not that. Try: make PYTHON=/path/to/python3.11 run"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "Python's venv module is incomplete. On Debian: apt-get install python3.11-venv"; exit 1; }

# What the tests take from Debian: Chromium for the browser tests, PgBouncer between an application and a pool.
debian:
	@missing=; command -v chromium >/dev/null || missing="chromium"; \
		PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null || missing="$$missing pgbouncer"; \
		if [ -z "$$missing" ]; then :; \
		elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing $$missing for the tests …"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
		else echo "Some tests need $$missing, and this is not root on Debian: install it, or they fail."; fi
