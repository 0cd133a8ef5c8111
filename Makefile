# make demo    set up, build, score a generated scene (or RASTER=… [MODEL=…]); results in demo/
# make test    set up, build for tests, run every test
# make parity  training by glebe against PyTorch, network by network (PEERS_PYTHON=python with tests/parity/networks.py's
#              needs; NETWORKS='unet_r18 …' for some, FORMS=all for every export); writes docs/training-parity.md
# make build   target/release/glebe, libglebe.so and ONNX Runtime beside them
# make install PREFIX=/usr/local [DESTDIR=]
# make lint    fmt, clippy, docs
# make bench-finetune MODELS=FOLDER [PEER=COMMAND]  time and memory of a training step
# make header  write include/glebe.h anew from the code

CARGO   ?= cargo
PREFIX  ?= /usr/local
TARGET  := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
ABI     := $(shell sed -n 's/^const ABI_VERSION: u32 = \([0-9]*\);/\1/p' build.rs)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

.PHONY: all setup build demo test parity lint bench-finetune header install uninstall clean

all: build

setup:
	@.ci/setup

# The demo together with the library: built by itself it would build the library anew, for the other set of features that
# packages of tests ask for.
build: setup
	$(CARGO) build --release --locked --lib --bins --example demo
	@$(MAKE) --no-print-directory link PROFILE=release

# ONNX Runtime beside what was built, where both the program and the library look first; and the name that programs
# linked against libglebe ask for.
.PHONY: link
link:
	@mkdir -p $(TARGET)/$(PROFILE)
	@for library in .runtime/libonnxruntime.so.*; do \
		ln -sf "$(CURDIR)/$$library" "$(TARGET)/$(PROFILE)/$$(basename $$library)"; done
	@ln -sf libglebe.so "$(TARGET)/$(PROFILE)/libglebe.so.$(ABI)"

demo: build
	@$(TARGET)/release/examples/demo demo $(if $(RASTER),"$(RASTER)") $(if $(MODEL),"$(MODEL)")

test: setup
	@$(MAKE) --no-print-directory link PROFILE=debug
	$(CARGO) test --locked --no-fail-fast

# Results are kept in PARITY, so that a run that was broken off goes on where it was; those of other code are not
# comparable: empty the folder first.
PEERS_PYTHON ?=
FORMS        ?= first
PARITY       ?= $(TARGET)/parity

parity:
	@[ -n "$(PEERS_PYTHON)" ] || { echo "make parity: give PEERS_PYTHON=FILE, a Python with torch, timm, segmentation_models_pytorch, onnx, onnxscript and safetensors" >&2; exit 1; }
	@"$(PEERS_PYTHON)" -c "import torch, timm, segmentation_models_pytorch, onnx, onnxscript, safetensors" || { echo "make parity: $(PEERS_PYTHON) lacks a package that tests/parity needs" >&2; exit 1; }
	@$(MAKE) --no-print-directory build
	"$(PEERS_PYTHON)" tests/parity/run.py "$(TARGET)/release/glebe" $(NETWORKS) --forms "$(FORMS)" --out "$(PARITY)" --add --page docs/training-parity.md

# MODELS=FOLDER [PEER='PYTHON torch_train.py']: see benches/finetune.py
bench-finetune: build
	python3 benches/finetune.py "$(TARGET)/release/glebe" "$(MODELS)" $(if $(PEER),--peer "$(PEER)") $(BENCH)

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

header:
	GLEBE_WRITE_HEADER=1 $(CARGO) test --locked --test header

install: build
	@bindings/cpp/install "$(DESTDIR)$(PREFIX)" "$(PREFIX)" "$(TARGET)/release" "$(ABI)" "$(VERSION)"

uninstall:
	@bindings/cpp/uninstall "$(DESTDIR)$(PREFIX)" "$(ABI)"

clean:
	$(CARGO) clean
	rm -rf demo
