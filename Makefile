# Sallyport. Every target that needs something sets it up first; `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup setup-node setup-bench setup-cluster setup-image root build lint typecheck test test-unit test-lab test-cluster run-test-cluster image demo bench bench-scale crds manifests kill-loop soak clean
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

# The pinned Node of node_modules comes first; tools of the lab live in sbin.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin

# $(call timed,name,command): runs the command, prints its seconds, keeps its exit status.
define timed
	@begun=$$(date +%s%N); ( $(2) ); status=$$?; \
	took=$$(( ($$(date +%s%N) - begun) / 100000000 )); \
	printf '%s: %d.%d s\n' '$(1)' $$((took / 10)) $$((took % 10)); exit $$status
endef

# $(call vitest,project): one test project, its results also as JSON for the tally, and how the run ended.
vitest = mkdir -p .cache && rm -f .cache/test-$(1).* && \
	{ vitest run --project $(1) --reporter=default --reporter=json --outputFile.json=.cache/test-$(1).json; \
	echo $$? >.cache/test-$(1).status; exit $$(cat .cache/test-$(1).status); }

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

setup: ## install what is missing: Debian packages, npm packages, Node 24
	$(call timed,setup,scripts/setup.sh)

setup-node:
	@scripts/setup.sh node

root:
	@scripts/setup.sh root $(firstword $(MAKECMDGOALS))

build: setup-node ## bundle the command line and the workers into dist/
	$(call timed,build,node scripts/build.ts)

lint: setup-node ## formatting, lint rules and types
	$(call timed,lint,status=0; biome check || status=1; tsc -p . || status=1; exit $$status)

typecheck: setup-node ## types only
	$(call timed,typecheck,tsc -p .)

crds: setup-node ## write deploy/crds and schemas/ from src/policy
	@node scripts/generate-crds.ts && node scripts/generate-schemas.ts

manifests: setup-node setup-cluster ## write deploy/manifests from the chart (with a helm that Go builds once)
	@node test/cluster/command.ts manifests

test-unit: setup-node build ## tests that need no root
	$(call timed,test-unit,$(call vitest,unit))

test-lab: root setup-image build ## tests on real traffic in network namespaces (root)
	$(call timed,test-lab,$(call vitest,lab))

test-cluster: root setup-cluster build ## end to end on a real Kubernetes cluster of one node (root; Go builds it once, about a quarter of an hour)
	@rm -f .cache/test-cluster.*
	@if command -v go >/dev/null; then $(MAKE) run-test-cluster; \
	else echo 'test-cluster: no `go` on this machine: Kubernetes is built from its Go modules; install Go 1.26 or newer'; exit $(if $(CI),1,0); fi

run-test-cluster:
	$(call timed,build-cluster,node test/cluster/command.ts build)
	$(call timed,test-cluster,$(call vitest,cluster))

test: setup build ## unit tests and lab; the last line is `N passed, N failed`
	@rm -f .cache/test-*; status=0; $(MAKE) test-unit || status=1; $(MAKE) test-lab || status=1; \
	node scripts/tally.ts .cache/test-unit.json .cache/test-lab.json || status=1; exit $$status

image: setup-image build ## the agent's container image, as a docker archive in .cache/image
	$(call timed,image,node deploy/image/build.ts)

demo: root setup build ## two apps on real traffic in the lab (root); KEEP=1 leaves it up
	@node examples/two-apps/demo.ts $(if $(KEEP),--keep)

LOADS := $(patsubst bench/load/%.c,.cache/bench/%,$(wildcard bench/load/*.c))

bench: root setup-bench build $(LOADS) ## measurements, side by side with others (root); QUICK=1 for a first look
	$(call timed,bench,node bench/run.ts $(if $(QUICK),--quick) && node bench/explain.ts)

bench-scale: root setup-bench setup-cluster build $(LOADS) ## a cluster of 5,000 nodes on a real API server (root); NODES=5000 unless given
	@node test/cluster/command.ts build && node bench/cluster/run.ts --nodes $(or $(NODES),5000)

kill-loop: root setup build ## kill -9 the agent once a second under load (root); SECONDS=600 unless given
	@node test/soak/run-kill-loop.ts $(or $(SECONDS),600)

soak: root setup-bench build $(LOADS) ## a million connections while memory is watched (root); MINUTES=10 at most unless given
	@node test/soak/run-soak.ts $(or $(MINUTES),10)

setup-image:
	@scripts/setup.sh image

setup-cluster:
	@scripts/setup.sh cluster

setup-bench:
	@scripts/setup.sh bench

.cache/bench/%: bench/load/%.c bench/load/wire.h
	@mkdir -p $(@D) && gcc -O2 -Wall -Wextra -o $@ $<

clean: ## remove what was built; node_modules stays
	@rm -rf dist .cache
