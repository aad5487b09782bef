# SPDX-License-Identifier: MIT
# Tern - train, export and run ternary language models on CPUs. `make help` lists the targets.
# MODE=release|debug|asan|tsan|f64|fuzz picks the build; V=1 shows commands; local overrides go into config.mk.
MODE ?= release
V ?= 0
-include config.mk

ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(MODE)),clang,gcc)
endif
Q := $(if $(filter 0,$(V)),@)

FLAGS.release := -O3
FLAGS.debug   := -Og -DTN_DEBUG
FLAGS.asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FLAGS.tsan    := -O1 -fsanitize=thread -DTN_PTHREADS
FLAGS.f64     := -O2 -DTN_F64
# libFuzzer needs clang, and clang would need an OpenMP library of its own: threads are plain ones, as under tsan.
FLAGS.fuzz    := -O1 -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined \
                 -fno-omit-frame-pointer -DTN_PTHREADS
ifeq ($(FLAGS.$(MODE)),)
$(error MODE=$(MODE) is not one of release debug asan tsan f64 fuzz)
endif

# libgomp is not instrumented, so the tsan build runs core/par.c on pthreads and links the OpenBLAS for them (the serial
# build keeps its buffers without a lock and gave wrong products when two threads called it).
THREADS := $(if $(filter tsan fuzz,$(MODE)),-pthread,-fopenmp)
BLAS    := $(if $(filter tsan,$(MODE)),openblas-pthread,openblas-openmp)
ARCH    := $(shell $(CC) -print-multiarch 2>/dev/null)
# gcc 12 for ARM breaks down where it vectorizes a loop with fmax at -O3; very cheap loops it leaves alone.
MACHINE := $(if $(filter aarch64%,$(ARCH)),-fvect-cost-model=very-cheap)
PKGS    := hdf5 jansson yaml-0.1 libpcre2-8 libutf8proc zlib libedit

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wwrite-strings
WARN += $(if $(filter f64,$(MODE)),,-Wconversion -Wno-sign-conversion -Wdouble-promotion)
# gcc is the judge of warnings.
WARN := $(if $(filter fuzz,$(MODE)),-w,$(WARN))
CFLAGS_ALL = -std=c11 -D_GNU_SOURCE -I. -I/usr/include/$(ARCH)/$(BLAS) -g -ffp-contract=off -fno-math-errno \
             -fno-trapping-math $(THREADS) $(FLAGS.$(MODE)) $(MACHINE) $(WARN) $(if $(DEVELOPER),-Werror) \
             $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(CFLAGS)
LIBDIR = /usr/lib/$(ARCH)/$(BLAS)
LDLIBS_ALL = $(FLAGS.$(MODE)) $(THREADS) -L$(LIBDIR) -Wl,-rpath,$(LIBDIR) -lopenblas \
             $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm $(LDFLAGS)
ISA.avx2   := -mavx2 -mfma -mf16c
ISA.avxvnni := $(ISA.avx2) -mavxvnni
ISA.avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c
ISA.avx512bf16 := $(ISA.avx512) -mavx512bf16
ISA.avx512vbmi := $(ISA.avx512) -mavx512vbmi
# Before it gives out registers, gcc lifts loads above what they feed, until the sums of a tile no longer fit.
ISA.neon    := -fno-schedule-insns -fvect-cost-model=dynamic
ISA.dotprod := $(ISA.neon) -march=armv8.2-a+dotprod
ISA.i8mm    := $(ISA.neon) -march=armv8.6-a
ISA_X86 := avx2 avxvnni avx512 avx512bf16 avx512vbmi
ISA_ARM := neon dotprod i8mm

ROOMS := core kernels autograd layers optim formats data models train infer bench
LIB_SRC  := $(sort $(wildcard $(ROOMS:%=%/*.c)))
CMD_SRC  := $(sort $(wildcard cmd/*.c))
TEST_SRC := $(sort $(wildcard tests/test_*.c))
TEST_LIB := $(sort $(filter-out $(TEST_SRC),$(wildcard tests/*.c)))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_LIB := tests/fuzz/fuzz.c $(if $(filter fuzz,$(MODE)),,tests/fuzz/replay.c tests/testing.c)
# In double precision only what checks the mathematics is built; bits and file formats belong to the float build.
TEST_F64 := $(wildcard tests/test_ops.c tests/test_network.c tests/test_kernels.c tests/test_formulas.c \
             tests/test_documents.c tests/test_adapter.c)
CROSS_SUITES := kernels formulas gemm attention backward_products product_bf16 thin
TEST_SET := $(if $(filter f64,$(MODE)),$(TEST_F64),$(if $(filter fuzz,$(MODE)),,$(TEST_SRC)) $(FUZZ_SRC))
ISA_OTHER := $(if $(filter x86_64%,$(ARCH)),,$(ISA_X86)) $(if $(filter aarch64%,$(ARCH)),,$(ISA_ARM))
LIB_SRC := $(filter-out $(ISA_OTHER:%=kernels/isa_%.c),$(LIB_SRC))

OBJ  := build/$(MODE)-$(shell echo '$(CC) $(FLAGS.$(MODE)) $(CFLAGS) $(DEVELOPER) $(ARCH)' | cksum | cut -d' ' -f1)
OUT  := $(if $(filter release,$(MODE)),build,build/$(MODE))
LIB  := $(OBJ)/libtern.a
TERN := $(OUT)/tern
INTEROP := $(OUT)/interop/logits
TESTS := $(TEST_SET:tests/%.c=$(OBJ)/tests/%)
VERSION := $(shell cat VERSION 2>/dev/null)
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

# Objects of tests are not intermediate files to throw away.
.SECONDARY:
.PHONY: all setup build-tests list-tests build-cross list-cross test test-all fuzz interop demo bench bench-peers bench-runtimes \
        lint fmt clean help
all: $(TERN)

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC   $<")
	$(Q)$(CC) $(CFLAGS_ALL) $(EXTRA) -MMD -MP -c $< -o $@
$(patsubst %,$(OBJ)/kernels/isa_%.o,$(ISA_X86) $(ISA_ARM)): EXTRA = $(ISA.$(patsubst isa_%,%,$(*F)))
# Readers are clang's where they are fuzzed; what computes stays gcc's.
ifeq ($(MODE),fuzz)
$(OBJ)/kernels/%.o $(OBJ)/autograd/%.o: CC = gcc
$(OBJ)/kernels/%.o $(OBJ)/autograd/%.o: FLAGS.fuzz = -O2 -DTN_PTHREADS
endif
$(OBJ)/cmd/version.o: EXTRA = -DTN_VERSION='"$(VERSION)"' -DTN_COMMIT='"$(COMMIT)"'
$(OBJ)/cmd/version.o: VERSION $(wildcard .git/HEAD .git/logs/HEAD)

$(LIB): $(LIB_SRC:%.c=$(OBJ)/%.o)
	@rm -f $@
	$(Q)ar rcs $@ $^
$(TERN): $(CMD_SRC:%.c=$(OBJ)/%.o) $(LIB)
	@mkdir -p $(@D)
	$(if $(Q),@echo "  LINK $@")
	$(Q)$(CC) $^ $(LDLIBS_ALL) -o $@
$(OBJ)/tests/test_%: $(OBJ)/tests/test_%.o $(TEST_LIB:%.c=$(OBJ)/%.o) $(LIB)
	$(if $(Q),@echo "  LINK $@")
	$(Q)$(CC) $^ $(LDLIBS_ALL) -lcmocka -o $@
$(OBJ)/tests/fuzz/fuzz_%: $(OBJ)/tests/fuzz/fuzz_%.o $(FUZZ_LIB:%.c=$(OBJ)/%.o) $(LIB)
	$(if $(Q),@echo "  LINK $@")
	$(Q)$(CC) $^ $(LDLIBS_ALL) $(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer,-lcmocka) -o $@

$(INTEROP): $(OBJ)/tests/interop/logits.o $(LIB)
	@mkdir -p $(@D)
	$(if $(Q),@echo "  LINK $@")
	$(Q)$(CC) $^ $(LDLIBS_ALL) -o $@

# The suites of the kernels for a machine of which only the compiler, libc and libgomp are here: linked statically, so
# that an emulator runs them as they are. Needs CC=its compiler CFLAGS=-Itests/cross (tests/check_neon.sh).
CROSS_LIB := $(filter-out core/config%,$(filter core/% kernels/%,$(LIB_SRC))) $(sort $(wildcard tests/cross/*.c))
CROSS_TESTS := $(CROSS_SUITES:%=$(OBJ)/cross/test_%)
$(OBJ)/cross/test_%: $(OBJ)/tests/test_%.o $(CROSS_LIB:%.c=$(OBJ)/%.o)
	@mkdir -p $(@D)
	$(if $(Q),@echo "  LINK $@")
	$(Q)$(CC) -static $^ $(THREADS) -lm -o $@

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)

setup: ## install the Debian packages that are missing (root or sudo)
	@scripts/setup.sh
build-tests: $(TESTS) $(if $(filter f64 fuzz,$(MODE)),,$(TERN)) $(if $(filter release,$(MODE)),$(INTEROP))
list-tests:
	@echo $(TESTS)
build-cross: $(CROSS_TESTS)
list-cross:
	@echo $(CROSS_TESTS)

# Both start on a bare machine: packages first, then a fresh make that can see them.
demo: setup ## make a story corpus, train a ternary model on it, export it, tell stories
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@scripts/demo.sh
test: setup ## build and run every test
	@[ "$$(uname -m)" != x86_64 ] || scripts/setup.sh packages-cross.txt || echo "setup: check_neon will be skipped" >&2
	@$(MAKE) --no-print-directory -j$$(nproc) build-tests
	@$(MAKE) --no-print-directory -j$$(nproc) MODE=f64 build-tests
	@tests/run.sh
test-all: test ## the same under asan+ubsan, tsan and valgrind
	@tests/run_sanitizers.sh
interop: all $(INTEROP) ## Tern beside transformers and peft, which are installed into build/interop
	@scripts/interop.sh
fuzz: ## bytes made up by libFuzzer into one reader, with clang: READER=gguf TIME=600 (seconds)
	@scripts/setup.sh packages-fuzz.txt
	@tests/fuzz/fuzz.sh "$(READER)" $(TIME)
bench: all ## the speed of training and of its kernels, minutes; RESULTS=1 writes bench/results/ too
	@bench/bench.sh $(if $(RESULTS),bench/results)
bench-peers: all ## Tern beside PyTorch in turn, an hour, into bench/results/; PRESETS="30m 125m" ROUNDS=3
	@PRESETS="$(PRESETS)" scripts/bench_peers.sh
bench-runtimes: all ## Tern beside other runtimes in turn, minutes; PEERS="name=llama-bench:model.gguf ..." MODEL=dummy.gguf
	@PEERS="$(PEERS)" MODEL="$(MODEL)" bench/peers/runtimes.sh
lint: ## layering, lengths, forbidden calls, formatting
	@tests/lint.sh
fmt: ## format the sources in place
	clang-format -i $(wildcard $(foreach d,$(ROOMS) cmd tests tests/cross tests/fuzz,$(d)/*.c $(d)/*.h))
clean: ## remove build/
	rm -rf build
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t14
