# Culvert. `make` lists the targets.

GO           ?= go
FUZZTIME     ?= 10s
SOAK_MINUTES ?= 60
ARGS         ?=

LINT_VERSION = 2.15.0
LINT_PACKAGE = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(LINT_VERSION)

# scripts/need installs a Node.js there if the system's is too old.
export PATH := $(CURDIR)/bin/node:$(PATH)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F '\t' '{printf "make %-13s  %s\n", $$1, $$2}'

# If there is no PostgreSQL on the machine, and no right to install it, culvert
# downloads one.
.PHONY: run
run: ## serve, with the chat at /demo/, on a Postgres of its own (ARGS='--listen :9000' passes flags on)
	@scripts/need postgres
	@echo "building bin/culvert: 1 to 3 minutes the first time, while Go downloads and compiles; then some seconds" >&2
	@$(GO) build -o bin/culvert .
	@exec scripts/foreground bin/culvert serve --demo $(ARGS)

.PHONY: test
test: ## run every test, after installing what they need (20 minutes; 30 on a new machine)
	@GO='$(GO)' MAKE='$(MAKE)' scripts/test all

.PHONY: test-go
test-go: ## run the tests that need only Go and PostgreSQL (4 minutes)
	@GO='$(GO)' scripts/test go

# The lock file names no registry: npm uses the configured one.
.PHONY: js
js: ## build and test the JavaScript client, against the real server too
	@scripts/need js
	@echo "npm ci and npm test: about 2 minutes, in which nothing may be printed for a while" >&2
	cd clients/js && npm ci --ignore-scripts && npm test

# Built into ./bin unless exactly this version is installed already, because
# other versions find other faults.
.PHONY: lint
lint: ## check style and the direction of imports
	@set -e; lint=; \
	for candidate in bin/golangci-lint golangci-lint "$$($(GO) env GOPATH)/bin/golangci-lint"; do \
		if [ "$$("$$candidate" version --short 2>/dev/null)" = "$(LINT_VERSION)" ]; then lint="$$candidate"; break; fi; \
	done; \
	if [ -z "$$lint" ]; then \
		echo "building golangci-lint $(LINT_VERSION) into ./bin, once: 2 to 4 minutes" >&2; \
		GOBIN="$(CURDIR)/bin" $(GO) install $(LINT_PACKAGE); \
		lint=bin/golangci-lint; \
	fi; \
	echo "golangci-lint run"; "$$lint" run

.PHONY: audit
audit: ## look for known vulnerabilities in what it is built with, or for old dependencies where that cannot be asked
	@GO='$(GO)' scripts/vulnerabilities

.PHONY: soak
soak: ## play random faults for SOAK_MINUTES (60), then attacks in full; one seed again: go test ./internal/stress -run TestSoak -seed N -minutes M
	@scripts/need postgres
	$(GO) test ./internal/stress -run '^TestSoak$$' -v -count 1 -timeout 0 -soak $(SOAK_MINUTES)
	$(GO) test ./internal/abuse -full -v -count 1 -timeout 0

.PHONY: test-postgres
test-postgres: ## test on PostgreSQL 14 to 18 and through PgBouncer: a smoke of 2 minutes each (ARGS='--all 14')
	@GO='$(GO)' scripts/postgres-versions $(ARGS)

.PHONY: build
build: ## build bin/culvert, a static program
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/culvert .

# Go fuzzes one target of one package at a time.
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -run '^$$' -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

# The result is committed, so that serving the chat needs no Node.js. The test of the
# chat fails if its sources, or the client's, have changed since.
.PHONY: web
web: ## build the script of the chat at /demo/ from web/src and clients/js
	@scripts/need web
	cd web && npm ci --silent && npm run --silent build

.PHONY: bench
bench: build ## measure, as ratios to ceilings of the same run (ARGS passes flags on)
	@scripts/need postgres
	bin/culvert bench $(ARGS)
