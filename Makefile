# marianned: what a developer runs. `make` alone lists the targets.
#
# Needed: Go and make. git only tells the version; without it, or without a
# history, the binary calls itself "devel".

GO      ?= go
BIN     := bin
# Of `make packages`.
DIST    := dist
ARCHES  := amd64 arm64
FORMATS := deb rpm
MODULE  := github.com/marianned/marianned
# For each fuzz target of `make fuzz`.
FUZZTIME ?= 10s
# Further flags of the test runner, and packages: make test ARGS=./rpc; and
# flags of the benchmark: make bench ARGS='-workloads serial'
ARGS ?=

# The date is the commit's, so that one commit gives one binary.
VERSION ?= $(patsubst v%,%,$(shell git describe --tags --always --dirty 2>/dev/null))
COMMIT  ?= $(shell git describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)
DATE    ?= $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)

LDFLAGS := -s -w \
	-X '$(MODULE)/internal/version.Version=$(VERSION)' \
	-X '$(MODULE)/internal/version.Commit=$(COMMIT)' \
	-X '$(MODULE)/internal/version.Date=$(DATE)'

# The go command's own look at git fails in a checkout of another owner.
BUILD := CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath

.DEFAULT_GOAL := help
.PHONY: help build packages demo test bench soak lint fuzz attacks clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

build: ## build bin/marianned: static, reproducible
	$(BUILD) -ldflags "$(LDFLAGS)" -o $(BIN)/marianned .

# packaging/README.md says what is in them. Elsewhere than in a checkout with its
# history, name VERSION, COMMIT, DATE and SOURCE_DATE_EPOCH.
packages: export GO := $(GO)
packages: export BUILD := $(BUILD)
packages: export LDFLAGS := $(LDFLAGS)
packages: export VERSION := $(VERSION)
packages: export COMMIT := $(COMMIT)
packages: export SOURCE_DATE_EPOCH := $(SOURCE_DATE_EPOCH)
packages: ## build deb and rpm into dist, for the other architecture into a folder below
	@DIST='$(DIST)' ARCHES='$(ARCHES)' FORMATS='$(FORMATS)' packaging/build

demo: build ## build, and watch a socket being opened, a call, the answer, the exit on idle
	$(BIN)/marianned demo

# As root on Debian it installs what is missing; elsewhere, what is missing is
# named as left out. With CI=true as root on Debian, leaving out is failing.
test: ## run the checks and every test; says at the end what it could not run
	$(BUILD) -o $(BIN)/runner ./tests/runner
	$(BIN)/runner $(ARGS)

# The same tests as in `make test`, with thousands of rounds for tens. It shows what
# they have counted and measured.
soak: ## run the long forms of the tests on a real systemd, about 10 minutes, as root
	$(BUILD) -o $(BIN)/runner ./tests/runner
	MARIANNED_SOAK=1 $(BIN)/runner -logs -timeout=60m $(or $(ARGS),./tests/systemd)

lint: ## gofmt, go vet, staticcheck
	$(BUILD) -o $(BIN)/runner ./tests/runner
	$(BIN)/runner -lint

# A module of its own, whose dependencies reach nobody: tests/bench/README.md.
bench: ## measure against the reference and other servers; make bench ARGS=-help
	cd tests/bench && $(GO) vet ./... && $(GO) test ./... && CGO_ENABLED=0 $(GO) build -buildvcs=false -o ../../$(BIN)/bench .
	$(BIN)/bench $(ARGS)

# go test fuzzes one target of one package at a time.
fuzz: ## fuzz each fuzz target for FUZZTIME (10s)
	@set -eu; found=; \
	for package in $$($(GO) list ./...); do \
		list=$$($(GO) test -list '^Fuzz' $$package); \
		for target in $$(echo "$$list" | grep '^Fuzz' || true); do \
			found=yes; echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done; \
	[ -n "$$found" ] || { echo "there is no fuzz target"; exit 1; }

# As root. 25 minutes; on a machine that does nothing else.
attacks: ## attack the server, and write the table in tests/faults/README.md
	$(GO) test -count=1 -timeout 1h -v ./tests/faults -run TestNoAttackHurtsOthers $(ARGS) -args -long

clean: ## remove bin and dist
	rm -rf $(BIN) dist
