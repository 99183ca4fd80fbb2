# SPDX-License-Identifier: Apache-2.0
# Needs cargo (rustc >= 1.89) and make; `demo`, `test` and `bench-sync` need root and set up the
# rest themselves (scripts/setup.sh).

CARGO ?= cargo
PROXY ?= ferrule
MODE ?= nftables
FOCUS ?= network
IMAGE ?= ferrule:dev
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# Always the whole workspace's features, so that no target builds a dependency anew.
BUILD = $(CARGO) build --release --locked --workspace --bin ferrule
# The one container builder that is there.
CONTAINER ?= $(firstword $(foreach c,docker podman buildah,$(if $(shell command -v $(c)),$(c))))

.PHONY: help build check test test-ipvs demo bench-sync fuzz cluster-setup cluster-build cluster-up \
	cluster-down conformance differential differential-faults differential-record differential-recorded \
	layers deny image clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' Makefile

build: ## build the release binary, target/release/ferrule
	@scripts/setup.sh build
	$(BUILD)

check: ## format, lints, module layers, licences and sources of dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@$(MAKE) --no-print-directory layers deny

test: ## all tests that need no cluster (root)
	@scripts/setup.sh test
	@scripts/test.sh

test-ipvs: ## tests that need IPVS and SCTP, in a virtual machine (qemu, no KVM); ALL=1: every row
	@scripts/setup.sh test-ipvs
	$(BUILD)
	@conformance/guest/test.sh units
	@MODE=nftables conformance/guest/test.sh packets $(if $(ALL),,rows)
	@MODE=ipvs conformance/guest/test.sh packets $(if $(ALL),,rows scheduler)

.PHONY: mutations
mutations: ## take the handling of faults away, one by one: a test has to notice each (root); ONLY=names
	@conformance/mutations/run.sh $(ONLY)

.PHONY: man
man: ## manual pages of both programs and every command, in target/man
	$(CARGO) run --quiet --locked --example man -- $(TARGET_DIR)/man

demo: ## three nodes, pods and an outside client on this machine (root)
	@scripts/setup.sh demo
	$(BUILD) --bin ferrule-ingress --bin ferrule-demo
	@FERRULE_BIN="$${FERRULE_BIN:-$(abspath $(TARGET_DIR))/release/ferrule}" $(TARGET_DIR)/release/ferrule-demo

bench-sync: ## cold start, changes, memory at 1,000 to 30,000 Services (root); BENCH_ARGS=--help
ifeq ($(MODE),ipvs)
	@scripts/setup.sh test-ipvs
	$(BUILD) --bin ferrule-bench-ipvs
	@conformance/guest/test.sh bench $(BENCH_ARGS)
else
	@scripts/setup.sh bench
	$(CARGO) bench --locked --bench sync -- $(BENCH_ARGS)
endif

.PHONY: bench-ingress
bench-ingress: ## the Ingress sidecar, nginx and HAProxy side by side, 12 min (root); BENCH_ARGS=--help
	@scripts/setup.sh bench-ingress
	$(CARGO) build --profile dist --locked --workspace --bin ferrule-ingress
	$(CARGO) build --release --locked --workspace --bin ferrule-bench-ingress
	@FERRULE_INGRESS_BIN="$${FERRULE_INGRESS_BIN:-$(abspath $(TARGET_DIR))/dist/ferrule-ingress}" \
		$(TARGET_DIR)/release/ferrule-bench-ingress $(BENCH_ARGS)

.PHONY: differential-ingress
differential-ingress: ## the Ingress sidecar against nginx as ingress-nginx configures it (root); ARGS=--help
	@scripts/setup.sh differential-ingress
	$(BUILD) --bin ferrule-ingress --bin ferrule-differential-ingress
	@$(TARGET_DIR)/release/ferrule-differential-ingress \
		$(or $(ARGS),--results conformance/results/ingress-nginx.json --page docs/ingress-nginx-differential.md)

fuzz: ## fuzz the parsers one after the other, SECONDS=60 each (g++ or clang++); TARGET=manifests
	@fuzz/run.sh $(or $(SECONDS),60) $(TARGET)

cluster-setup: ## install the Debian packages that a cluster on this machine needs (root)
	@conformance/cluster/setup.sh

cluster-build: cluster-setup ## build Kubernetes, its specs, containerd, CoreDNS, images (15 min, once)
	@conformance/cluster/build.sh

cluster-up: cluster-build ## NODES=3 nodes in namespaces with PROXY=ferrule|kube-proxy (root)
	@conformance/cluster/up.sh
	@$(MAKE) --no-print-directory cluster-proxy

# A program given as FERRULE_BIN is taken as it is.
.PHONY: cluster-proxy
cluster-proxy:
ifeq ($(PROXY)$(FERRULE_BIN),ferrule)
	$(BUILD)
	@FERRULE_BIN="$(abspath $(TARGET_DIR))/release/ferrule" \
		FERRULE_COMMIT="$$(git describe --always --dirty --exclude='*' 2>/dev/null)" \
		conformance/cluster/proxy.sh ferrule $(MODE)
else
	@conformance/cluster/proxy.sh $(PROXY) $(MODE)
endif

cluster-down: ## take the cluster down (root)
	@conformance/cluster/down.sh

conformance: cluster-up ## upstream's specs: FOCUS=network|services|lb|slow|all|quick|REGEX, PROCS=4 (root)
	@conformance/cluster/conformance.sh '$(FOCUS)'; status=$$?; \
		$(CARGO) run --quiet --locked -p ferrule-conformance --bin conformance-report -- \
			$$(conformance/cluster/conformance.sh --results '$(FOCUS)') && exit $$status

SEED ?= 1
SEEDS ?= 1
COUNT ?= 100
# Where a run's summary goes, if anywhere: conformance/results/differential.json is the one kept here.
SUMMARY ?=
DIFFERENTIAL = FERRULE_COMMIT="$$(git describe --always --dirty --exclude='*' 2>/dev/null)" \
	FERRULE_BIN="$${FERRULE_BIN:-$(abspath $(TARGET_DIR))/release/ferrule}" \
	$(TARGET_DIR)/release/ferrule-differential

differential: ## ferrule against kube-proxy on random Services: SEED=1 SEEDS=1 COUNT=100 (root)
	$(BUILD) --bin ferrule-differential
	@$(DIFFERENTIAL) run --seed $(SEED) --seeds $(SEEDS) --count $(COUNT) \
		$(if $(SUMMARY),--summary $(SUMMARY))

differential-faults: ## negative control: faults in ferrule's rules must be noticed (root)
	$(BUILD) --bin ferrule-differential
	@$(DIFFERENTIAL) faults --seed $(SEED)

differential-record: ## write kube-proxy's answers to the recorded cases anew (root)
	$(BUILD) --bin ferrule-differential
	@$(DIFFERENTIAL) record

differential-recorded: ## ferrule against kube-proxy's recorded answers, without kube-proxy (root)
	$(BUILD)
	FERRULE_BIN="$${FERRULE_BIN:-$(abspath $(TARGET_DIR))/release/ferrule}" REQUIRE_ROOT=1 \
		$(CARGO) test --locked --workspace --test differential

SERVICES ?= 1000
ENDPOINTS ?= 10

.PHONY: scale
scale: ## both proxies with SERVICES=1000 ENDPOINTS=10 from a real API server (root)
	$(BUILD) --bin ferrule-scale
	@FERRULE_BIN="$${FERRULE_BIN:-$(abspath $(TARGET_DIR))/release/ferrule}" \
		$(TARGET_DIR)/release/ferrule-scale run --services $(SERVICES) --endpoints $(ENDPOINTS) \
		$(SCALE_ARGS)

# Scenarios in network namespaces, by the words that their names hold.
SCENARIOS = REQUIRE_ROOT=1 FERRULE_BIN="$${FERRULE_BIN:-$(abspath $(TARGET_DIR))/release/ferrule}" \
	$(CARGO) test --locked --workspace --test netns --

.PHONY: chaos
chaos: export CHAOS_SECONDS ?= 300
chaos: export CHAOS_CONTROL_SECONDS ?= 300
chaos: ## everything goes wrong at once, nothing does, unprotected rules (root); CHAOS_SECONDS=300 CHAOS_SEED=1
	@scripts/setup.sh test
	$(BUILD)
	$(SCENARIOS) chaos:

.PHONY: load
load: export LOAD_SECONDS ?= 600
load: export LOAD_SERVICES ?= 10000
load: ## endpoints change all the time (root); LOAD_SECONDS=600 LOAD_RATE=1000 LOAD_SERVICES=10000
	@scripts/setup.sh test
	$(BUILD)
	$(SCENARIOS) load:

.PHONY: upgrade
upgrade: export UPGRADE_ROUNDS ?= 10
upgrade: ## tables of other versions are taken over while clients connect (root); UPGRADE_ROUNDS=10
	@scripts/setup.sh test
	$(BUILD)
	$(SCENARIOS) upgrade:

layers: ## check which module may use which
	$(CARGO) test --locked --test layers

deny: ## cargo-deny: licences, bans, sources, advisories (SKIP if their database is out of reach)
	@scripts/deny.sh

image: ## container image IMAGE=ferrule:dev, by docker, podman or buildah
	$(if $(CONTAINER),,$(error make image needs docker, podman or buildah))
	$(CONTAINER) build -t $(IMAGE) -f daemonset/Containerfile .

clean: ## remove everything that was built
	$(CARGO) clean
