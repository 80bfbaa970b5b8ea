# Everything a person can do here. `make help` lists it.
#
# On Debian (or with apt) the set-up targets install what is missing; elsewhere they say what to install.

BUILD := build/release
MACHINES := x86_64 aarch64
VENV := .venv
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.PHONY: help build setup setup-test examples pipeline-demo docs demo test chaos faults round-trip valgrind tsan lint check-layers unit unit-aarch64 sanitize socket bench report bench-codec bench-startup instructions wheel wheel-test matrix roots check-doubles fuzz fuzz-short clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: setup ## Build dist/asya_runtime.py (the default)
	@tools/release.sh $(BUILD) dist $(MACHINES)

setup: ## Install the tools that building needs
	@tools/setup.sh build

setup-test: setup ## Install the tools that testing needs, and the project's virtual environment
	@tools/setup.sh test

pipeline-demo: build ## 2,000 messages through RabbitMQ and two actors while all is killed: counted
	@tools/pipeline.sh

examples: setup-test build ## The example handlers with real models, through the socket
	@tools/examples.sh

docs: build ## Write the table of settings into docs/configuration.md
	@python3 tools/gen_configuration.py

bench-startup: build ## Time to the first reply and idle memory, beside a bare interpreter
	@python3 bench/startup.py

wheel: setup-test ## Build the wheels, one for each processor, into dist
	@tools/wheel.sh dist $(MACHINES)

wheel-test: wheel build ## Install the wheel in a venv, a prefix, with uv; check its types
	@tools/test.sh wheel

matrix: setup-test build ## The contract on every interpreter and in every place; writes docs/compatibility.md
	@$(VENV)/bin/python tests/matrix/run.py --report docs/compatibility.md

roots: ## Build, demo and quick tests of a fresh clone on Debian 12 and 13, in roots by debootstrap (about 20 minutes)
	@tools/roots.sh bookworm trixie

demo: build ## Build, start the runtime on an example, send it real messages
	@python3 tools/demo.py

test: setup-test build ## All tests: layers, format, static analysis, unit, codec, socket, faults
	@tools/test.sh

lint: setup-test ## Layers, circles, duplicates, format, clang-tidy, cppcheck
	@tools/lint.sh

unit: setup-test ## C unit tests with ASan and UBSan
	@tools/test.sh unit

unit-aarch64: setup-test ## C unit tests of the JSON library for aarch64, under qemu-user
	@tools/unit_aarch64.sh

socket: setup-test build ## Socket, codec, fault and single-file tests
	@tools/test.sh pytest

chaos: setup-test build ## A million requests while ten thousand workers die: none lost (about half an hour)
	@$(VENV)/bin/python tests/chaos/run.py $(if $(SEED),--seed $(SEED))

faults: setup-test build ## Each system call and allocation fails, 1000 kills, 10^6 broken messages (about 20 minutes)
	@$(VENV)/bin/python tests/chaos/latency.py --rounds 1000
	@ASYA_TEST_CALLS=20 ASYA_TEST_ALLOCATIONS=1000 ASYA_TEST_FUZZ=1000000 PYTHONPATH=dist $(VENV)/bin/python -m pytest -q \
	    -p no:cacheprovider tests/faults/test_calls.py tests/shims/test_memory.py tests/socket/test_clients.py

round-trip: setup-test build ## 200,000 random values of each annotation written and read back (long; EXAMPLES=2000 is a hundredth)
	@ASYA_TEST_EXAMPLES=$(or $(EXAMPLES),200000) PYTHONPATH=dist $(VENV)/bin/python -m pytest -q -p no:cacheprovider -o timeout=0 \
	    -o faulthandler_timeout=0 -n 2 --maxschedchunk=1 -rP tests/typed/test_round_trip.py

valgrind: setup-test ## The C unit tests of server and supervisor under valgrind
	@tools/valgrind.sh

tsan: setup-test ## The C unit tests that have threads under ThreadSanitizer
	@tools/tsan.sh

bench: setup-test build ## Requests a second beside a C echo server and a stdlib Python server
	@$(VENV)/bin/python bench/run.py

report: build ## The runtime beside uvicorn, granian, uWSGI and others, into docs/performance.md (UPSTREAM=PATH: and Asya's own; SECTIONS=latency,starts)
	@test -x build/peers/bin/python || python3 -m venv build/peers
	@build/peers/bin/pip install --quiet --upgrade -r bench/peers/requirements.txt
	@build/peers/bin/python bench/report.py --page docs/performance.md --pictures docs/images $(if $(SECTIONS),--sections $(SECTIONS)) $(if $(UPSTREAM),--upstream $(UPSTREAM))

bench-codec: setup-test build ## loads and dumps against json, orjson and msgspec
	@PYTHONPATH=dist $(VENV)/bin/python bench/codec.py

instructions: setup-test build ## Count the instructions of requests and of the codec, keep the numbers that tests compare
	@$(VENV)/bin/python bench/instructions.py --keep

check-doubles: setup-test build ## 10^7 random doubles, powers and hard cases read and written as by CPython
	@PYTHONPATH=dist $(VENV)/bin/python tests/codec/check_doubles.py --count 10000000

fuzz: setup-test build ## Each fuzz target for ten minutes, and 10^7 texts read as by json and Node
	@tools/fuzz.sh 600
	@PYTHONPATH=dist $(VENV)/bin/python tests/codec/differential.py --count 10000000

fuzz-short: setup-test ## Each fuzz target for a minute
	@tools/fuzz.sh 60

clean: ## Remove what was built
	rm -rf build dist
