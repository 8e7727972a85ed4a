# What people and CI run. Everything that is installed goes into .tools/ and tests/clients/node_modules/; nothing
# outside this folder is touched. Needed on the machine: Rust (rustup), gcc, make, Python 3 with pip, Node 20 with npm;
# valgrind, or apt-get to fetch it with.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TOOLS := $(CURDIR)/.tools
export PATH := $(TOOLS)/bin:$(TOOLS)/cargo/bin:$(PATH)

CMAKE := $(TOOLS)/bin/cmake
NODE := tests/clients/node_modules/.installed
PYTHON := $(TOOLS)/py1/.installed $(TOOLS)/py2/.installed
CARGO_DENY := $(TOOLS)/cargo/bin/cargo-deny
CARGO_FUZZ := $(TOOLS)/cargo/bin/cargo-fuzz
GUNGRAUN := $(TOOLS)/cargo/bin/gungraun-runner
VALGRIND := $(TOOLS)/bin/valgrind

# Runs one stage of `make test` and prints how long it took.
define stage
	@start=$$SECONDS; echo "stage: $(1)"; \
	if $(2); then echo "stage: $(1): ok, $$((SECONDS - start)) s"; \
	else echo "stage: $(1): FAILED, $$((SECONDS - start)) s"; exit 1; fi
endef

.PHONY: help
help: ## Lists what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: run
run: $(CMAKE) ## Starts the gateway with its demo server
	cargo run -- run

# The stages select targets of the whole workspace rather than single packages, so that all of them share one build.
.PHONY: test
test: $(CMAKE) tools $(GUNGRAUN) $(VALGRIND) $(CARGO_DENY) ## Everything that CI runs
	$(call stage,format,cargo fmt --all --check)
	$(call stage,lint,cargo clippy --workspace --all-targets --locked -- -D warnings)
	$(call stage,dependencies,$(DENY))
	$(call stage,build,cargo build --workspace --all-targets --locked)
	$(call stage,unit tests and fuzz corpora,cargo test --workspace --exclude lockgate-e2e --locked)
	$(call stage,test bed by itself,cargo test --workspace --locked --test direct -- --nocapture)
	$(call stage,end to end,cargo test --workspace --locked --test gateway -- --nocapture)
	$(call stage,instruction counts,$(COUNTS))

.PHONY: lint
lint: $(CMAKE) ## Format and lints only
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: release
release: $(CMAKE) ## The gateway as it is meant to be run: optimised as a whole, with jemalloc
	cargo build --release --locked -p lockgate --features jemalloc

.PHONY: bench
bench: release ## Load comparison with nginx (about 25 minutes; needs nginx)
	cargo build --release --locked -p lockgate-load
	target/release/lockgate-load compare --lockgate target/release/lockgate

COUNTS := env GUNGRAUN_RUNNER=$(GUNGRAUN) cargo bench --locked -p lockgate-counts --bench counts
.PHONY: counts
counts: $(GUNGRAUN) $(VALGRIND) ## Instruction counts of what is done to each request, held to bounds
	$(COUNTS)

# What fuzzing finds goes to tests/fuzz/found; the committed corpus only seeds it. Sanitizers are nightly's: where rustup
# has no nightly toolchain, the pinned one is told to take nightly's flags.
FUZZ_SECONDS ?= 60
FUZZ := $(if $(shell rustup toolchain list 2>/dev/null | grep '^nightly'),cargo +nightly,env RUSTC_BOOTSTRAP=1 cargo) fuzz
.PHONY: fuzz
fuzz: $(CMAKE) $(CARGO_FUZZ) ## Fuzzes every target for FUZZ_SECONDS
	for target in $$($(FUZZ) list --fuzz-dir tests/fuzz); do \
		mkdir -p tests/fuzz/found/$$target; \
		$(FUZZ) run --fuzz-dir tests/fuzz $$target \
			tests/fuzz/found/$$target tests/fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS); \
	done

# Advisories are no stage of `make test`: their database is on GitHub, which not every machine reaches, and a new advisory
# must not fail a commit that has nothing to do with it.
DENY := $(CARGO_DENY) --locked check bans licenses sources
.PHONY: deny
deny: $(CARGO_DENY) ## Licences, bans and sources of all dependencies; advisories if their database can be had
	$(DENY)
	@if $(CARGO_DENY) fetch db; then $(CARGO_DENY) --locked check advisories; \
	else echo "advisories: NOT CHECKED, the database cannot be fetched from here"; fi

.PHONY: tools
tools: $(NODE) $(PYTHON) ## Installs the third-party tools and clients of the tests

# Pingora's compression library is built with cmake, which few machines have; PyPI has it as a wheel.
CMAKE_VERSION := 4.4.4
$(CMAKE):
	python3 -m pip install --quiet --target $(TOOLS)/cmake cmake==$(CMAKE_VERSION)
	mkdir -p $(TOOLS)/bin
	ln -sfn ../cmake/cmake/data/bin/cmake $@
	$@ --version

$(NODE): tests/clients/package.json tests/clients/package-lock.json
	npm --prefix tests/clients ci --ignore-scripts
	touch $@

$(TOOLS)/py%/.installed: tests/clients/python/mcp%.txt
	rm -rf $(@D)
	python3 -m pip install --quiet --require-hashes --no-deps --only-binary :all: --target $(@D) -r $<
	touch $@

# These run for seconds, which is not worth the minutes that optimising them takes.
$(CARGO_DENY):
	cargo install --debug --locked --root $(TOOLS)/cargo cargo-deny@0.20.2

# The version of the library in benches/counts/Cargo.toml.
$(GUNGRAUN):
	cargo install --debug --locked --root $(TOOLS)/cargo gungraun-runner@0.20.0

# The machine's own, or Debian's package unpacked here with package lists of our own, which needs no root. Where there is
# neither, this fails: bounds that nobody checks are none.
APT := apt-get -o Dir::State::lists=$(TOOLS)/apt/lists -o Dir::Cache=$(TOOLS)/apt/cache
$(VALGRIND):
	mkdir -p $(TOOLS)/bin
	if own=$$(type -P valgrind); then \
		printf '#!/bin/sh\nexec %s "$$@"\n' "$$own" > $@; \
	else \
		mkdir -p $(TOOLS)/apt/lists/partial $(TOOLS)/apt/cache/archives/partial $(TOOLS)/valgrind; \
		cd $(TOOLS)/valgrind && $(APT) update && $(APT) download valgrind && dpkg-deb -x valgrind_*.deb . \
			|| { echo "valgrind is missing: apt-get install valgrind" >&2; exit 1; }; \
		lib=$$(dirname "$$(find "$$PWD" -name 'callgrind-*-linux' | head -1)"); \
		printf '#!/bin/sh\nVALGRIND_LIB=%s exec %s/usr/bin/valgrind.bin "$$@"\n' "$$lib" "$$PWD" > $@; \
	fi
	chmod +x $@
	$@ --version

$(CARGO_FUZZ):
	cargo install --locked --root $(TOOLS)/cargo cargo-fuzz@0.13.2
