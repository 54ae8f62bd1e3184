# Spud's targets; `make` alone lists them. CI calls the same ones as people do.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

STEPS ?= 2000
GPUS ?= 0
BASE_IMAGE ?=
ROUNDS ?= 300
SEED ?=

# The demo's own small environment: root's, so it lies outside of the user's checkout.
CONTROLLER := /opt/spud/controller
# For development: all of the tools and tests.
VENV := .venv
PYTHON := $(VENV)/bin/python

export ANSIBLE_CONFIG := $(CURDIR)/playbooks/ansible.cfg
# Root leaves no compiled files in the user's checkout.
export PYTHONDONTWRITEBYTECODE := 1
# Ansible shows progress at once only where its output is not buffered, as into a pipe.
export PYTHONUNBUFFERED := 1

# docker-cli is a package of its own since Debian 13.
TEST_PACKAGES = docker.io $(if $(shell apt-cache show docker-cli 2>/dev/null),docker-cli) iptables nftables mmdebstrap qemu-system-x86 nbdkit e2fsprogs gcc libc6-dev chromium prometheus git docker-registry

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r name text; do \
		printf 'make %-12s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: root controller ## install Spud here, train a network in a container, say where the page is (STEPS=2000 GPUS=0)
	@$(CONTROLLER)/bin/ansible-playbook playbooks/demo.yml \
		--extra-vars '{"demo_gpus": $(GPUS), "images_base_image": "$(BASE_IMAGE)"}' || \
		{ echo 'The demo stopped. Mend what the line FAILED says, then run again: sudo make demo' >&2; exit 1; }
	@$(AS_USER) spud bench rnn --steps $(STEPS) || \
		{ echo 'The benchmark failed. See its log with: spud logs; then run again: sudo make demo' >&2; exit 1; }

.PHONY: demo-stop
demo-stop: root ## stop Spud; data, images and the engine stay
	@if [ ! -x $(CONTROLLER)/bin/ansible-playbook ]; then echo 'Spud is not installed here.'; exit 0; fi; \
		$(CONTROLLER)/bin/ansible-playbook playbooks/stop.yml

.PHONY: images
images: venv ## build the images that jobs run in, on this machine's engine
	@SPUD_IMAGES_DIRECTORY=$(CURDIR)/images $(PYTHON) -m appliance.cli image build tensorflow $(if $(BASE_IMAGE),--base-image $(BASE_IMAGE))

.PHONY: test
test: root test-packages venv ## set up what the tests need, run all of them
	@$(PYTHON) tests/with_engine.py $(MAKE) test-all

.PHONY: test-all
test-all: images
	@$(PYTHON) -m pytest

.PHONY: test-unit
test-unit: venv ## run the tests that need nothing but Python and a C compiler
	@$(PYTHON) -m pytest -m unit

.PHONY: test-packages
test-packages: venv
	@for package in $(TEST_PACKAGES); do \
		if dpkg-query --show --showformat '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed; \
		then echo "$$package is there"; else echo "$$package is being installed"; \
		ANSIBLE_STDOUT_CALLBACK=ansible.builtin.minimal $(VENV)/bin/ansible localhost \
			-m ansible.builtin.apt -a "name=$$package install_recommends=no policy_rc_d=101 update_cache=yes cache_valid_time=86400" \
			> $(VENV)/apt.log 2>&1 || { cat $(VENV)/apt.log >&2; exit 1; }; fi; done

.PHONY: bench
bench: TEST_PACKAGES += dataset-fashion-mnist
bench: root test-packages venv ## measure what docs/performance.md states; needs a quiet machine
	@$(PYTHON) tests/with_engine.py $(MAKE) bench-all

.PHONY: bench-all
bench-all: images
	@$(PYTHON) -m tests.bench.commands
	@$(PYTHON) -m tests.bench.queue
	@$(PYTHON) -m tests.bench.idle
	@$(PYTHON) -m tests.bench.logs
	@$(PYTHON) -m tests.bench.launch
	@$(PYTHON) -m tests.bench.rate
	@docker run --rm --network none --volume $(CURDIR):/spud:ro --volume /usr/share/datasets/fashion-mnist:/data:ro \
		spud/tensorflow python3 /spud/tests/bench/rnn.py --data /data

.PHONY: soak
soak: root test-packages venv ## let processes, engine and power fail in random order (ROUNDS=300 SEED=)
	@$(PYTHON) tests/with_engine.py $(MAKE) soak-all

.PHONY: soak-all
soak-all: images
	@$(PYTHON) -m tests.soak --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))

.PHONY: lint
lint: venv ## check style, types and playbooks
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@PATH=$(CURDIR)/$(VENV)/bin:$$PATH $(VENV)/bin/ansible-lint --offline playbooks

.PHONY: lock
lock: ## choose the newest versions that fit and write all lock files (needs uv)
	@cd requirements && $(UV) --extra dev --output-file dev.lock ../pyproject.toml
	@cd requirements && $(UV) -c dev.lock --output-file appliance.lock ../pyproject.toml
	@cd requirements && $(UV) -c dev.lock --output-file provision.lock provision.in
	@cd images/tensorflow && for name in pip cpu; do $(UV) -c versions.txt --output-file locks/$$name.txt $$name.in; done
	@cd images/tensorflow && for name in pascal turing; do \
		$(UV) -c versions.txt -c constraints/$$name.txt --output-file locks/gpu-$$name.txt gpu.in; done
UV := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

.PHONY: clean
clean: root ## remove what the demo installed, jobs and data included (asks; YES=1 does not)
	@answer=y; if [ "$(YES)" != 1 ]; then read -rp 'Remove Spud with all its jobs, data and images? [y/N] ' answer; fi; \
	if [ "$$answer" = y ]; then $(MAKE) remove; else echo 'Nothing was removed.'; fi

.PHONY: remove
remove:
	@if [ -x $(CONTROLLER)/bin/ansible-playbook ]; then $(CONTROLLER)/bin/ansible-playbook playbooks/clean.yml; fi
	@rm -rf /opt/spud $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache
	@echo 'Removed. The packages of the distribution (docker.io, supervisor, mmdebstrap) were left.'

# ---- what the targets stand on

AS_USER := $(if $(SUDO_USER),sudo --user $(SUDO_USER) --set-home)

.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo 'This needs root. Run: sudo make $(MAKECMDGOALS)' >&2; exit 1; }

.PHONY: controller
controller:
	@playbooks/bootstrap $(CONTROLLER) requirements/provision.lock

.PHONY: venv
venv:
	@playbooks/bootstrap $(VENV) requirements/dev.lock
