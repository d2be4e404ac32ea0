# metaprune. `make` lists the targets; `make demo` and `make test` need nothing but Go, Python 3 and a network to the usual package registries.
GO      ?= go
PYTHON  ?= python3
VENV    := .venv
PIP     := onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
APIPIP  := schemathesis==4.32.5 openapi-spec-validator==0.9.0
BENCH   := $(PIP) onnxsim==0.8.1 torch torchvision torch-pruning==1.6.1 timm onnxscript torch-geometric==2.8.1 safetensors
XLAPIP  := fastatomstruct-xla-cpu==2026.6.23
PJRT    := $(HOME)/.local/lib/go-xla
APT     := libonnx-testdata
STATIC  := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 1m
NETWORKS ?= 300
BASE    ?= HEAD~1
VERSION ?= $(shell .ci/version)
# of packages that run once per node or file: without inlining the WebAssembly programs are smaller
WASM    := -trimpath -buildvcs=false $(shell cat .ci/wasmflags)
PORTABLE := ./onnxio ./onnxio/safetensors ./graphcodec ./graphcodec/label ./graphcodec/dim ./graphcodec/op ./graphcodec/coupling ./graphcodec/draw ./prune ./prune/options ./prune/planner ./prune/repair ./prune/obs ./prune/allocate ./prune/search ./prune/verify ./prune/calib ./prune/faults ./metanet ./wasm/api
DATA    := --images testdata/fashion-test-1000-images-idx3-ubyte.gz --labels testdata/fashion-test-1000-labels-idx1-ubyte.gz
REPAIR  := --backend go --calibrate testdata/fashion-train-100-images-idx3-ubyte.gz

# what may be left out elsewhere has to run in CI
MUST := test -z "$$CI"

# Paths of the checkout do not get into what is compiled, so that a clone elsewhere and the release find it in Go's cache.
export GOFLAGS := $(strip $(filter-out -trimpath,$(shell $(GO) env GOFLAGS)) -trimpath)
# vector instructions for the embedded engine, where the toolchain has them; the WebAssembly programs are built without
ifeq ($(origin GOEXPERIMENT),undefined)
GOEXPERIMENT := $(shell GO=$(GO) .ci/experiment)
endif
export GOEXPERIMENT
TOWASM := GOOS=js GOARCH=wasm GOEXPERIMENT=
# Tests in a short run: `make check` has vetted them, and links without debugging data are quick.
SHORT := -short -count=1 -vet=off -ldflags='-s -w'
LONG  := tutorials training gradients wasm release

.PHONY: help build demo xla test test-go test-xla test-long test-wasm test-edge test-api test-site edge zoo module site site-serve check bench vuln release test-release test-dist reproduce licences bench-compare cover race fuzz random attacks lint venv testdata clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build: ## build bin/metaprune
	$(GO) build -trimpath -ldflags '-X github.com/metaprune/metaprune/native/cli.Version=$(VERSION)' -o bin/metaprune ./native/metaprune

demo: build ## prune a trained ResNet-20, repair it on 100 unlabelled images and measure its accuracy, in pure Go
	bin/metaprune inspect testdata/fashion-resnet20.onnx
	bin/metaprune prune testdata/fashion-resnet20.onnx --speed-up 2 $(REPAIR) -o bin/fashion-2x.onnx --plan bin/fashion-2x.json
	bin/metaprune verify testdata/fashion-resnet20.onnx bin/fashion-2x.onnx --plan bin/fashion-2x.json
	bin/metaprune curve testdata/fashion-resnet20.onnx --speed-up 1.5,2,3 $(REPAIR) $(DATA)

venv: $(VENV)/.ready ## install the independent judge (ONNX Runtime)
$(VENV)/.ready: Makefile
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check $(PIP) $(APIPIP)
	touch $@

testdata: ## install ONNX's own node tests, where apt is at hand
	@if [ ! -d /usr/share/libonnx-testdata ] && command -v apt-get >/dev/null; then \
	  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(APT)) >/dev/null 2>&1 || echo "note: could not install $(APT); its cases are left out"; fi

xla: $(PJRT)/pjrt_c_api_cpu_plugin.so ## install XLA's CPU plugin, where its wheel can be had (64 MB)
$(PJRT)/pjrt_c_api_cpu_plugin.so: | venv
	@mkdir -p $(PJRT) bin/wheels && rm -f bin/wheels/*.whl
	@if $(VENV)/bin/pip download -q --disable-pip-version-check --no-deps -d bin/wheels $(XLAPIP); then \
	  $(PYTHON) -c "import glob, os, sys, zipfile; z = zipfile.ZipFile(glob.glob('bin/wheels/*.whl')[0]); n = [x for x in z.namelist() if x.endswith('.so')][0]; open(sys.argv[1] + '.part', 'wb').write(z.read(n)); os.rename(sys.argv[1] + '.part', sys.argv[1])" $@ && echo "installed $@"; \
	else echo "note: $(XLAPIP) could not be downloaded; backend go remains"; fi

test: check test-go test-xla test-wasm test-api test-edge test-site test-release ## run every check and test

test-go: venv testdata xla ## run all packages' tests
	CI=$(CI) $(GO) test $(SHORT) -timeout 30m ./...

test-xla: xla ## run the engine's tests on XLA
	@if [ -f $(PJRT)/pjrt_c_api_cpu_plugin.so ]; then METAPRUNE_BACKEND=xla:cpu CI=$(CI) $(GO) test $(SHORT) ./xla; fi

test-long: venv testdata xla ## run the long tests, or those of LONG="tutorials training gradients wasm release" (CONTRIBUTING.md)
	@for suite in $(LONG); do $(MAKE) --no-print-directory long-$$suite || exit 1; done

long-tutorials:
	CI=$(CI) $(GO) test -count=1 -timeout 30m -v -run '^TestTutorials$$' ./native/cli

long-training:
	CI=$(CI) $(GO) test -count=1 -timeout 60m -v -run '^(TestTasks|TestKilledRunsResume|TestRepairIsPartOfThePlan|TestAccuracyIsATarget|TestDatamodels|TestPipeline|TestMetatrain)$$' ./native/cli

long-wasm:
	@if command -v node >/dev/null; then $(TOWASM) $(GO) test -count=1 -timeout 30m -v -exec "$$($(GO) env GOROOT)/lib/wasm/go_js_wasm_exec" -run '^TestOperatorsBehindTheUnknown$$' ./graphcodec; else $(MUST); fi

long-gradients:
	@if [ -f $(PJRT)/pjrt_c_api_cpu_plugin.so ]; then METAPRUNE_BACKEND=xla:cpu CI=$(CI) $(GO) test -count=1 -timeout 30m -v -run '^TestGradientsOfModels$$' ./xla; else $(MUST); fi

long-release: test-dist

test-wasm: ## run the portable packages' tests as WebAssembly in node
	@if command -v node >/dev/null; then $(TOWASM) $(GO) test $(SHORT) -exec "$$($(GO) env GOROOT)/lib/wasm/go_js_wasm_exec" $(PORTABLE); \
	else echo "note: node is not installed; the WebAssembly tests are left out"; $(MUST); fi

edge: ## build the worker for the edge in wasm/edge/build
	@rm -rf wasm/edge/build && mkdir -p wasm/edge/build
	$(TOWASM) $(GO) build $(WASM) -ldflags '-s -w -X main.Version=$(VERSION)' -o wasm/edge/build/metaprune.wasm ./wasm/edge
	@cp wasm/edge/worker.mjs wasm/edge/build/ && cp "$$($(GO) list -m -f '{{.Dir}}' github.com/syumai/workers)/cmd/workers-assets-gen/assets/wasm_exec_go.js" wasm/edge/build/wasm_exec.js && chmod u+w wasm/edge/build/wasm_exec.js

module: ## build the browser's module in wasm/browser/npm
	$(TOWASM) $(GO) build $(WASM) -ldflags '-s -w' -o wasm/browser/npm/metaprune.wasm ./wasm/browser
	@cp -f "$$($(GO) env GOROOT)/lib/wasm/wasm_exec.js" wasm/browser/npm/

engine: ## build onnx-go with Gorgonia for the page in site/public/engines
	$(TOWASM) $(GO) build -trimpath -ldflags '-s -w' -o site/public/engines/gorgonia.wasm ./wasm/gorgonia

site: module engine ## build the page in site/dist, for any web server
	cd site && npm ci --ignore-scripts --no-audit --no-fund --silent
	@mkdir -p site/public/metaprune site/public/examples site/public/ort && cp wasm/browser/npm/*.js wasm/browser/npm/*.wasm site/public/metaprune/ && cp testdata/fashion-resnet20.onnx testdata/fashion-resnet20.curve.json testdata/fashion-vit.onnx testdata/fashion-vit.curve.json testdata/fashion-train-100-images-idx3-ubyte.gz site/public/examples/ && cd site/node_modules/onnxruntime-web/dist && cp ort.wasm.bundle.min.mjs ort-wasm-simd-threaded.wasm ../../../public/ort/
	cd site && npm run --silent build
	@find site/dist -type f -size +8k \( -name '*.wasm' -o -name '*.js' -o -name '*.mjs' -o -name '*.css' -o -name '*.onnx' \) -exec gzip -9knf {} + # what serve sends to browsers

site-serve: site build ## serve the page and the API on localhost:8080
	bin/metaprune serve --site site/dist

test-site: site build | testdata ## drive the page in a headless Chromium
	@command -v chromium >/dev/null || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium) >/dev/null 2>&1 || echo "note: chromium could not be installed"
	@if command -v chromium >/dev/null; then cd site && npm test --silent; else $(MUST); fi

test-api: build venv ## hold the HTTP API against its OpenAPI document
	.ci/api bin/metaprune $(VENV)/bin/python

test-edge: edge build ## run the worker in workerd, against the command line
	@if command -v npm >/dev/null; then cd wasm/edge && npm ci --ignore-scripts --no-audit --no-fund --silent && node --test --test-reporter=spec worker.test.mjs; \
	else echo "note: npm is not installed; the worker is not tested"; $(MUST); fi

check: lint module edge ## formatting, vet, staticcheck, import directions, WebAssembly build and its size
	@test -z "$$(gofmt -l .)" || (gofmt -l .; echo "run gofmt -w on these"; exit 1)
	$(GO) vet ./...
	bash .ci/imports
	$(TOWASM) $(GO) build $(PORTABLE)
	bash .ci/size
	GOOS=windows $(GO) vet $(PORTABLE)
	GOARCH=arm64 GOEXPERIMENT= $(GO) vet ./metanet
	@mkdir -p bin && $(GO) run -C metanet/avo . -out "$$PWD/bin/kernels.s" && tail -n +2 metanet/kernel_amd64.s >bin/committed.s && tail -n +2 bin/kernels.s | cmp - bin/committed.s || (echo "metanet/kernel_amd64.s is not what metanet/avo writes: run go generate ./metanet"; exit 1)
	@$(GO) run -C xla/kernel/avo . -out "$$PWD/bin/kernels.s" && tail -n +2 xla/kernel/kernel_amd64.s >bin/committed.s && tail -n +2 bin/kernels.s | cmp - bin/committed.s || (echo "xla/kernel/kernel_amd64.s is not what xla/kernel/avo writes: run go generate ./xla/kernel"; exit 1)
	GOARCH=arm64 GOEXPERIMENT= $(GO) vet ./xla/kernel

lint: ## run staticcheck
	$(GO) run $(STATIC) ./...

vuln: ## look up known vulnerabilities of what the program calls
	GO=$(GO) bash .ci/vuln

release: ## build what a release holds in dist, with checksums and an SBOM
	GO=$(GO) VERSION=$(VERSION) bash .ci/release

test-release: build module ## pack the program and the npm package, install and run them
	@if command -v npm >/dev/null; then .ci/test-release quick; else echo "note: npm is not installed; the packages are not tested"; $(MUST); fi

test-dist: release ## test every file of a release, and go install
	.ci/test-release dist

reproduce: ## build dist again elsewhere and compare the bytes
	GO=$(GO) VERSION=$(VERSION) bash .ci/release --verify

licences: ## write docs/third-party.md anew
	@mkdir -p bin
	$(GO) run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 app -json -licenses -noserial -main native/metaprune -output bin/sbom.json . 2>/dev/null
	$(PYTHON) .ci/licences.py bin/sbom.json --list docs/third-party.md

cover: ## coverage of the portable packages by all tests, in docs/results/coverage.md
	@mkdir -p bin
	$(GO) test -coverprofile=bin/cover.out -coverpkg=$$($(GO) list $(PORTABLE) | paste -sd,) ./onnxio/... ./graphcodec/... ./prune/... ./metanet ./wasm/api ./native/... >bin/cover.log || (cat bin/cover.log; exit 1)
	$(PYTHON) .ci/cover.py bin/cover.out

# GoMLX's pure-Go matrix product points one past an array, which checkptr takes for an error; nothing is read there
race: ## all tests but the long ones with the race detector
	$(GO) test -race -gcflags=github.com/gomlx/compute/...=-d=checkptr=0 -timeout 60m ./onnxio/... ./graphcodec/... ./prune/... ./metanet ./wasm/... ./native/server ./native/client ./native/bucket ./native/data ./native/models ./native/analyse

fuzz: ## run every fuzz target for FUZZTIME
	$(GO) test -run '^$$' -fuzz 'FuzzDecode$$' -fuzztime $(FUZZTIME) ./onnxio
	$(GO) test -run '^$$' -fuzz FuzzDecodeStream -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./onnxio
	$(GO) test -run '^$$' -fuzz FuzzAnalyze -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./graphcodec
	$(GO) test -run '^$$' -fuzz FuzzSafetensors -fuzztime $(FUZZTIME) ./onnxio/safetensors
	$(GO) test -run '^$$' -fuzz FuzzRandomNetwork -fuzztime $(FUZZTIME) ./prune/planner
	$(GO) test -run '^$$' -fuzz FuzzHandler -fuzztime $(FUZZTIME) ./wasm/api
	$(GO) test -run '^$$' -fuzz FuzzSound -fuzztime $(FUZZTIME) ./native/samples
	$(GO) test -run '^$$' -fuzz FuzzTable -fuzztime $(FUZZTIME) ./native/samples
	$(GO) test -run '^$$' -fuzz FuzzTokens -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./native/samples/tokenizer

zoo: build venv ## prune a folder of models (ZOO=) to 1.5x and have them judged
	$(VENV)/bin/python bench/zoo.py $(ZOO)

attacks: build ## try hostile models and plans
	$(GO) run ./bench/attacks -big

random: build venv ## prune NETWORKS random networks and have them judged
	$(VENV)/bin/python bench/randomnets.py -n $(NETWORKS)

bench: build xla ## measure every stage, the peers beside it, WebAssembly and the service, and write docs/results/performance.md
	@test -x $(VENV)-bench/bin/python || ($(PYTHON) -m venv $(VENV)-bench && $(VENV)-bench/bin/pip install -q $(BENCH))
	@test -d /usr/share/datasets/fashion-mnist || apt-get install -y -qq dataset-fashion-mnist
	$(VENV)-bench/bin/python bench/performance.py

bench-compare: ## fail where a stage is slower than in BASE, a commit or a file of saved runs
	$(PYTHON) bench/performance.py --compare $(BASE)

clean:
	rm -rf bin $(VENV) $(VENV)-bench
