# `make help` lists the targets. You need Go, git and make, and nothing else.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The commit when there are no tags, "dev" when there is no repository.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# No C compiler is needed. For the race detector: make test CGO_ENABLED=1 ARGS=-race
CGO_ENABLED ?= 0
export CGO_ENABLED

# The older versions of Kubernetes that `make test-versions` runs on besides the
# newest, and the suites that depend on the version.
OLDER ?= 1.36 1.34 1.30
VERSIONED ?= ./test/e2e ./test/attacks ./test/foureyes ./test/install ./test/crd

# More flags and packages for `go test`, or flags of the demo and the sandbox.
ARGS ?=
PKGS ?= ./...

# How long `make fuzz` runs each target, and the coverage that `make cover` demands.
FUZZTIME ?= 10s
MIN_COVERAGE ?= 90

# The broker's image, as `make install-yaml` writes it.
IMAGE ?= access-broker:latest
# Where `make push` pushes the broker's image, and which image the files of a
# release name; the plugin's image goes beside it.
REPO ?=
PLUGIN_REPO ?= $(patsubst %/,%,$(dir $(REPO)))/kubectl-access
# Where the files of a release go.
DIST ?= dist
SET_IMAGE = sed 's|image: access-broker:latest|image: $(IMAGE)|'

# Where `make generate` writes; `make verify-generated` sets it.
OUT ?= .

LINT := go tool -modfile=hack/tools/go.mod golangci-lint

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: controlplane build ## Play the whole story on a control plane of its own, and clean up
	@go build -o bin/demo ./hack/demo
	@exec bin/demo $(ARGS)

.PHONY: sandbox
sandbox: controlplane build ## Start a control plane and the broker, and leave them running until Ctrl-C
	@go build -o bin/sandbox ./hack/sandbox
	@exec bin/sandbox $(ARGS)

.PHONY: node
node: controlplane build node-binaries ## The sandbox with a node under it: Pods run for real. Linux, root, Debian's or Ubuntu's apt-get
	@go build -o bin/node/node ./hack/node
	@exec bin/node/node $(ARGS)

# A target of its own: nothing else needs them. The images are those of `make
# image`, for this machine alone, the broker's under the name that config/default has.
.PHONY: node-binaries
node-binaries: build ## Build and download what a node is made of into bin/node, once
	@hack/controlplane/node.sh $(KUBERNETES)
	@go build -C hack/image -o ../../bin/image .
	@for program in access-broker kubectl-access; do \
	  bin/image build -version '$(VERSION)' -tag latest -program $$program -platform linux/$(shell go env GOARCH) -out bin/node/images; \
	done

.PHONY: bench
bench: controlplane build ## Measure speed and cost, e.g. make bench ARGS='-quick -only approval,burst'
	@go build -o bin/bench ./hack/bench
	@exec bin/bench $(ARGS)

# The tests of several packages start control planes: -p limits how many run at
# a time. The cache is off: it does not see the manifests that kubectl reads.
.PHONY: test
test: controlplane build ## Run all tests, e.g. make test PKGS=./test/e2e ARGS='-run Expiry -v'
	@go test -p 2 -count=1 -timeout 40m $(ARGS) $(PKGS)

# It waits for a token to die by itself. CI runs it beside the other tests.
.PHONY: test-outlive
test-outlive: controlplane build ## Show that an issued credential dies without a broker; takes twelve minutes
	@TEST_OUTLIVE=1 go test -count=1 -timeout 20m -v $(ARGS) ./test/outlive

# -p 1 keeps one node at a time; -v shows the figures, and why nothing was run.
# TEST_NODE=must fails where TEST_NODE=1 skips because something is missing.
TEST_NODE ?= 1
# KUBERNETES=1.34 takes the Kubernetes that this folder of hack/controlplane pins.
KUBERNETES ?=
.PHONY: test-node
test-node: controlplane build node-binaries ## Run the tests that need a node, e.g. make test-node ARGS='-run Exec -v' or KUBERNETES=1.34
	@hack/controlplane/build.sh $(KUBERNETES)
	@go build -C hack/helm -o ../../bin/node/helm helm.sh/helm/v4/cmd/helm
	@go build -o bin/node/node ./hack/node
	@$(if $(KUBERNETES),KUBEBUILDER_ASSETS=$(CURDIR)/bin/$(KUBERNETES)) TEST_NODE=$(TEST_NODE) \
	  go test -p 1 -count=1 -parallel 8 -timeout 20m -v $(ARGS) ./test/node/...

# The processes of the tests are workloads of users of their own, so it needs root.
# TEST_SPIFFE=must fails where TEST_SPIFFE=1 skips because something is missing:
# without a C compiler build.sh says what was not built, and the tests what did not run.
TEST_SPIFFE ?= 1
.PHONY: test-spiffe
test-spiffe: controlplane build ## Run the tests with a real SPIRE, e.g. make test-spiffe ARGS='-run Rotation -v'
	@hack/spire/build.sh || [[ $$? == 3 && $(TEST_SPIFFE) != must ]]
	@TEST_SPIFFE=$(TEST_SPIFFE) go test -count=1 -timeout 20m -v $(ARGS) ./test/spiffe

# A browser is not ours to install: without one, or without npm for axe-core, the
# tests say what did not run and how to get it. TEST_BROWSER=must fails instead.
# -artifacts keeps pictures of the pages that a failed test looked at.
TEST_BROWSER ?= 1
.PHONY: test-browser
test-browser: controlplane build ## Run the tests in a real Chromium, e.g. make test-browser ARGS='-run Story -v'
	@hack/browser/install.sh || [[ $$? == 3 && $(TEST_BROWSER) != must ]]
	@TEST_BROWSER=$(TEST_BROWSER) go test -p 1 -parallel 4 -count=1 -timeout 20m $(ARGS) ./test/browser/...

.PHONY: screenshots
screenshots: controlplane build ## Take pictures of every page, phone, desktop and wide, light and dark, into screenshots/
	@mkdir -p screenshots
	@TEST_BROWSER=$(if $(filter 1,$(TEST_BROWSER)),pictures,$(TEST_BROWSER)) SCREENSHOTS='$(CURDIR)/screenshots' go test -count=1 -timeout 20m -run '^TestScreenshots$$' $(ARGS) ./test/browser

.PHONY: test-versions
test-versions: controlplane build ## Run the suites that depend on the version on the newest Kubernetes and on OLDER, e.g. make test-versions OLDER=1.30 VERSIONED=./test/e2e
	@hack/controlplane/build.sh $(OLDER)
	@echo "== the newest Kubernetes"
	@go test -p 2 -count=1 -timeout 40m $(ARGS) $(VERSIONED)
	@$(MAKE) --no-print-directory test-older

.PHONY: test-older
test-older: build ## Run the same suites on OLDER alone
	@hack/controlplane/build.sh $(OLDER)
	@for version in $(OLDER); do \
	  echo "== Kubernetes $$version"; \
	  KUBEBUILDER_ASSETS=$(CURDIR)/bin/$$version go test -p 2 -count=1 -timeout 40m $(ARGS) $(VERSIONED) || exit 1; \
	done

.PHONY: cover
cover: ## Check the statement coverage of the pure packages
	@hack/tools/cover.sh $(MIN_COVERAGE)

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME
	@hack/tools/fuzz.sh $(FUZZTIME)

.PHONY: controlplane
controlplane: ## Build etcd, kube-apiserver, kube-controller-manager and kubectl, once
	@hack/controlplane/build.sh

.PHONY: build
build: ## Build the commands into bin/
	@mkdir -p bin
	@go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

# The CRDs keep their descriptions whole: kubectl explain shows them.
.PHONY: generate
generate: docs ## Generate deep copies, CRDs, the broker's ClusterRole and the API reference
	@go tool controller-gen object paths=./api/... output:object:dir=$(OUT)/api/v1alpha1
	@go tool controller-gen crd:generateEmbeddedObjectMeta=false paths=./api/... output:crd:dir=$(OUT)/config/crd/bases
	@go tool controller-gen rbac:roleName=access-broker paths=./controllers/... paths=./internal/... output:rbac:dir=$(OUT)/config/rbac

.PHONY: docs
docs: ## Generate the API reference, docs/api.md
	@mkdir -p $(OUT)/docs
	@go tool -modfile=hack/tools/apidocs/go.mod crd-ref-docs --source-path=api --config=hack/tools/apidocs/config.yaml \
	  --templates-dir=hack/tools/apidocs --renderer=markdown --log-level=ERROR --output-path=$(OUT)/docs/api.md

.PHONY: install-yaml
install-yaml: controlplane ## Write dist/install*.yaml, e.g. make install-yaml IMAGE=example/access-broker:v1.0.0
	@mkdir -p $(DIST)
	@bin/kubectl kustomize config/default | $(SET_IMAGE) > $(DIST)/install.yaml
	@bin/kubectl kustomize config/variants/no-mutating-admission | $(SET_IMAGE) > $(DIST)/install-no-mutating-admission.yaml

.PHONY: plugin
plugin: ## Write the plugin's archives and Krew manifest to dist/, e.g. make plugin VERSION=v1.0.0
	@go run ./hack/krew -version $(VERSION) -out $(DIST)

.PHONY: image
image: ## Write the images of broker and plugin, SBOMs and provenance to dist/, e.g. make image VERSION=v1.0.0
	@mkdir -p bin
	@go build -C hack/image -o ../../bin/image .
	@bin/image build -version '$(VERSION)' -out '$(DIST)'

.PHONY: push
push: ## Build the images and push them, e.g. make push VERSION=v1.0.0 REPO=registry.example.com/team/access-broker
	@[[ -n '$(REPO)' ]] || { echo "push: say where to, such as REPO=registry.example.com/team/access-broker" >&2; exit 1; }
	@$(MAKE) --no-print-directory image
	@bin/image push '$(DIST)/access-broker-$(VERSION).tar' '$(REPO):$(VERSION)'
	@bin/image push '$(DIST)/kubectl-access-$(VERSION).tar' '$(PLUGIN_REPO):$(VERSION)'

.PHONY: release
release: ## Write all files of a release to dist/, e.g. make release VERSION=v1.0.0 REPO=registry.example.com/team/access-broker
	@go run ./hack/release -version '$(VERSION)' -repository '$(REPO)' check
	@$(MAKE) --no-print-directory image plugin
	@image='access-broker:$(VERSION)'; \
	  [[ -z '$(REPO)' ]] || image='$(REPO):$(VERSION)@'"$$(bin/image digest '$(DIST)/access-broker-$(VERSION).tar')"; \
	  $(MAKE) --no-print-directory install-yaml IMAGE="$$image"
	@go run ./hack/release -version '$(VERSION)' -repository '$(REPO)' -out '$(DIST)' chart
	@go run ./hack/release -version '$(VERSION)' -repository '$(REPO)' -out '$(DIST)' finish

.PHONY: test-image
test-image: ## Build the images twice and look into them
	@cd hack/image && go test -count=1 -timeout 40m $(ARGS) ./...

.PHONY: vuln
vuln: ## Look for known vulnerabilities in the programs; needs the database
	@hack/tools/vuln.sh

.PHONY: verify-generated
verify-generated: ## Fail when a generated file is stale
	@hack/tools/verify-generated.sh

.PHONY: fmt
fmt: ## Format the Go code
	@$(LINT) fmt

.PHONY: vet
vet: ## Run go vet
	@go vet ./...
	@cd hack/image && go vet ./...

.PHONY: lint
lint: ## Run golangci-lint
	@$(LINT) run
	@cd hack/image && go tool -modfile=../tools/go.mod golangci-lint run

.PHONY: ci
ci: ## Run what CI runs
	@bash .ci/run

.PHONY: clean
clean: ## Remove everything that was built, the control plane too
	@rm -rf bin dist tmp screenshots cover.out
