# facestream: `make demo` shows it, `make test` tests it. Works with GNU make 3.81 and later.
# Everything is installed into .venv, from the locked files under requirements/.

VENV := .venv
BIN := $(VENV)/bin
PORT := 8080
CAMERA ?=
PHONE ?=
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
AUDIT_FLAGS ?=
SOAK_FLAGS ?= faults
STUBS := services/facestream/common/broker/pb
PROTOS := facestream/v1/messages.proto serving/serving.proto

.DEFAULT_GOAL := help
.PHONY: help demo test lint proto proto-check audit sbom bench soak up down logs setup-demo setup-test clean

help:
	@echo "make demo                  the whole pipeline on this machine, with a demo camera"
	@echo "make demo CAMERA=rtsp://…  the same with your camera (PORT=8080 for another port)"
	@echo "make demo PHONE=1          open to your network by https, so that phones can be cameras"
	@echo "make test                  all tests; what needs missing system packages is skipped"
	@echo "make setup-test            install what tests and training need (TensorFlow) into .venv"
	@echo "make lint                  ruff and mypy"
	@echo "make proto                 generate the stubs of proto/ anew (proto-check: compare only)"
	@echo "make audit                 known vulnerabilities of the locked packages (AUDIT_FLAGS=--strict)"
	@echo "make sbom                  a bill of materials (CycloneDX) for each lock file, into sbom/"
	@echo "make bench                 CPU, memory and latency of the pipeline and of the plain way"
	@echo "make soak                  10 minutes of faults at random; docs/reliability.md"
	@echo "make up                    the whole stack in containers (docker compose); docs/install.md"
	@echo "make up DEMO=1 WITH=openvino WORKERS=2    with the demo camera, our model server, 2 workers"
	@echo "make down                  stop it (make logs: follow what it says)"
	@echo "make clean                 remove .venv and caches"

# The camera's URL goes through the environment: it may carry a password.
demo: setup-demo
	@export FACESTREAM_CAMERAS="$$CAMERA"; \
	exec $(BIN)/facestream up --port $(PORT) \
		$(if $(PHONE),--host 0.0.0.0 --https,$(if $(CAMERA),,--demo))

test: setup-test
	@$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: setup-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

proto: setup-test
	@$(BIN)/python -m grpc_tools.protoc -I proto --python_out=$(STUBS) --pyi_out=$(STUBS) $(PROTOS)

proto-check: setup-test
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out="$$fresh" --pyi_out="$$fresh" $(PROTOS) && \
	for file in $$(cd "$$fresh" && find . -type f); do \
		diff -u "$(STUBS)/$$file" "$$fresh/$$file" || { echo "stubs differ: run make proto"; exit 1; }; \
	done

audit: $(VENV)/.made
	@$(BIN)/python -m tools.audit $(AUDIT_FLAGS)

sbom: setup-test
	@$(BIN)/python -m tools.sbom sbom sbom

bench: setup-test
	@$(BIN)/python -m facestream bench $(BENCH_FLAGS)

soak: setup-test
	@$(BIN)/python -m tests.soak $(SOAK_FLAGS)

# WITH=gpu or WITH=openvino adds that compose file, DEMO=1 the demo camera. docs/install.md says how to
# keep both in .env. People whom the demo camera draws are counted in a file of their own.
COMPOSE = $(if $(DEMO),COUNTS_DB_NAME=demo-counts.sqlite3 CAMERA_STATE_NAME=demo-cameras.json) docker compose $(if $(WITH),-f docker-compose.yml \
	-f compose.$(WITH).yml $(patsubst %,-f %,$(wildcard docker-compose.override.yml))) \
	$(if $(DEMO),--profile demo)
# With every service there is, so that whatever was started before can be named.
ANY = docker compose -f docker-compose.yml -f compose.openvino.yml --profile demo --profile never
# Removes those of the services $(1) that were started and that this configuration (variables here, .env)
# does not have; and if there were any, does $(2).
drop = wanted=$$($(COMPOSE) config --services) || exit; \
	dropped=$$($(ANY) ps --all --services $(1) | grep -vxF "$$wanted"); \
	[ -z "$$dropped" ] || { $(ANY) rm --stop --force $$dropped $(2); }
# Where a service's port is to be found on this machine.
address = $$($(COMPOSE) port $(1) | sed 's/^0\.0\.0\.0:/localhost:/')

up:
	@deploy/init-secrets.sh
# Before: whom the demo camera draws must not be counted among real people.
	@$(call drop,demo-camera demo-camera-added)
	@$(COMPOSE) up --detach --build $(if $(WORKERS),--scale worker=$(WORKERS)) \
		$(if $(CAPTURES),--scale capture=$(CAPTURES))
# After: the old model server answers until the workers ask the new one. Prometheus would ask it for ever.
	@$(call drop,tf-serving model-server,&& $(COMPOSE) restart prometheus)
	@echo "page: http://$(call address,annotator 8080)/login#token=$$(cat deploy/secrets/admin-token)"
	@echo "Grafana: http://$(call address,grafana 3000)" \
		"(user admin, password in deploy/secrets/grafana-password)"

down:
	@$(COMPOSE) --profile demo down --remove-orphans

logs:
	@$(COMPOSE) --profile demo logs --follow --tail 100

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info

setup-demo: $(VENV)/.demo
setup-test: $(VENV)/.test

$(VENV)/.demo: requirements/demo.txt $(VENV)/.made
	@echo "installing what the demo needs into $(VENV) (once)"
	@$(BIN)/python tools/install_locked.py requirements/demo.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.made
	@echo "installing what tests and training need into $(VENV) (once; TensorFlow is large)"
	@$(BIN)/python tools/install_locked.py requirements/test.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# TensorFlow comes for Python 3.11 to 3.13, so one of these is taken where there is a choice.
$(VENV)/.made:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
		if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
			$$python -m venv $(VENV) || { echo "$$python has no venv module: install python3-venv"; exit 1; }; \
			touch $@; exit 0; \
		fi; \
	done; \
	echo "no Python 3.11 to 3.13 found: install one, or name it: make PYTHON=/path/to/python3"; exit 1
