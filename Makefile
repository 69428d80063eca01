# `make demo` runs facestream, `make test` tests it. Works with GNU make 3.81 and later.
# Everything is installed into .venv from the lock files in requirements/.

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

# A virtual environment whose Python is gone or broken is created again.
_ := $(shell [ ! -e $(VENV)/.made ] || $(BIN)/python -m pip --version >/dev/null 2>&1 || \
	rm -f $(VENV)/.made $(VENV)/.demo $(VENV)/.test)

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs proto proto-check audit sbom release bench soak up down logs setup-demo setup-test clean

help:
	@echo "Run"
	@echo "  make demo                  run everything on this machine with a demo camera"
	@echo "  make demo CAMERA=rtsp://…  use your camera instead of the demo camera"
	@echo "  make demo PHONE=1          listen on the network by HTTPS, so that phones can be cameras"
	@echo "  make demo PORT=9000        use another port (default 8080)"
	@echo "Run in containers (docs/install.md)"
	@echo "  make up                    build and start all containers"
	@echo "  make up DEMO=1             add the demo camera"
	@echo "  make up MODEL_SERVER=openvino   use the embedded model server (or gpu: TensorFlow Serving on a GPU)"
	@echo "  make up CAPTURE_REPLICAS=2 WORKER_REPLICAS=2   start two captures and two workers"
	@echo "  make logs                  follow the containers' logs"
	@echo "  make down                  stop and remove the containers"
	@echo "Develop (CONTRIBUTING.md)"
	@echo "  make setup-demo            install what the demo needs into .venv"
	@echo "  make setup-test            install what tests and training need (TensorFlow) into .venv"
	@echo "  make test                  run all tests; skip those that need missing system packages"
	@echo "  make lint                  run ruff, mypy and import-linter"
	@echo "  make docs                  generate docs/configuration.md and docs/metrics.md"
	@echo "  make proto                 generate the stubs of proto/ (proto-check: compare only)"
	@echo "  make audit                 check locked packages for vulnerabilities (AUDIT_FLAGS=--strict)"
	@echo "  make sbom                  write a CycloneDX SBOM for each lock file into sbom/"
	@echo "  make release               build wheel, source archive, SBOMs, checksums and images into dist/"
	@echo "  make bench                 measure CPU, memory and latency against a baseline (BENCH_FLAGS=)"
	@echo "  make soak                  inject faults for ten minutes (SOAK_FLAGS=; docs/reliability.md)"
	@echo "  make clean                 remove .venv and caches"

# Pass the camera URL through the environment: it may contain a password.
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
	@PYTHONPATH=services $(BIN)/lint-imports

docs: setup-test
	@$(BIN)/python -m tools.make_docs

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

release: setup-test
	@$(BIN)/python -m tools.release dist

bench: setup-test
	@$(BIN)/facestream bench $(BENCH_FLAGS)

soak: setup-test
	@$(BIN)/python -m tests.soak $(SOAK_FLAGS)

# MODEL_SERVER=openvino or gpu adds that Compose file, DEMO=1 the demo camera; docs/install.md shows how to
# set both in .env. The demo camera counts into separate files. Compose reads CAPTURE_REPLICAS and
# WORKER_REPLICAS: make exports variables of its command line.
COMPOSE = $(if $(DEMO),COUNTS_DB_NAME=demo-counts.sqlite3 CAMERA_STATE_NAME=demo-camera-state.json) \
	docker compose $(if $(MODEL_SERVER),-f docker-compose.yml -f compose.$(MODEL_SERVER).yml \
	$(patsubst %,-f %,$(wildcard docker-compose.override.yml))) $(if $(DEMO),--profile demo)
# Every service of every Compose file, to name those of an earlier configuration.
ANY = docker compose -f docker-compose.yml -f compose.openvino.yml --profile demo --profile never
# Remove services $(1) that were started but are not in the current configuration (variables here, .env).
# If any was removed, also run $(2).
drop = wanted=$$($(COMPOSE) config --services) || exit; \
	dropped=$$($(ANY) ps --all --services $(1) | grep -vxF "$$wanted"); \
	[ -z "$$dropped" ] || { $(ANY) rm --stop --force $$dropped $(2); }
# https with a certificate (docs/cameras.md), else http.
scheme = $$($(COMPOSE) config annotator | grep -q 'TLS_CERT_FILE: ./' && echo https || echo http)
# Address of a service's port on this machine.
address = $$($(COMPOSE) port $(1) | sed 's/^0\.0\.0\.0:/localhost:/')

up:
	@deploy/init-secrets.sh
# First, so that people of the demo clip are not counted among real people.
	@$(call drop,demo-camera demo-camera-added)
	@$(COMPOSE) up --detach --build
# Last: the old model server serves until the workers use the new one. Restart Prometheus, which would
# keep the old target.
	@$(call drop,tf-serving model-server,&& $(COMPOSE) restart prometheus)
	@echo "web UI: $(scheme)://$(call address,annotator 8080)/login#token=$$(cat deploy/secrets/admin-token)"
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
	@echo "installing the demo into $(VENV) (once)"
	@$(BIN)/python tools/install_locked.py requirements/demo.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.made
	@echo "installing tests and training into $(VENV) (once; TensorFlow is large)"
	@$(BIN)/python tools/install_locked.py requirements/test.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# TensorFlow supports Python 3.11 to 3.13: use the first of these that is installed.
$(VENV)/.made:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
		if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
			error=$$($$python -m venv $(VENV) 2>&1 && $(BIN)/python -m pip --version 2>&1) || \
			error=$$($$python -m venv --clear $(VENV) 2>&1 && $(BIN)/python -m pip --version 2>&1) || \
			case $$error in \
				*"ermission denied"*|*"ead-only file system"*) \
					echo "cannot write $(VENV): permission denied or read-only; check the owner of this folder"; exit 1;; \
				*ensurepip*|*"No module named venv"*) \
					echo "$$python has no venv module: install python3-venv"; exit 1;; \
				*) echo "cannot create $(VENV): $$error"; exit 1;; \
			esac; \
			touch $@; exit 0; \
		fi; \
	done; \
	echo "no Python 3.11 to 3.13 found: install one, or name it: make PYTHON=/path/to/python3"; exit 1
