# What a person types. The build itself is meson's; this file only chains the steps, so that each of
# these works as the first command on a fresh Debian 12, as root.
BUILD ?= build
MESON_FLAGS ?=

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja: meson.build
	@scripts/bootstrap --for build --for run
	@[ -e $@ ] || meson setup $(BUILD) $(MESON_FLAGS)
	@touch $@

demo:
	@scripts/bootstrap --for demo
	@[ -x $(BUILD)/proa ] || echo "demo: building Proa (a minute)"
	@$(MAKE) --no-print-directory all $(if $(V),,>/dev/null)
	@PROA=$(CURDIR)/$(BUILD)/proa scripts/demo

check:
	@scripts/bootstrap --for test
	@$(MAKE) --no-print-directory all
	@scripts/check $(BUILD)

# The same sources with clang's address and undefined-behaviour sanitizers: all unit tests, and the
# integration tests that are not about time.
asan:
	@scripts/bootstrap --for asan
	@[ -e build-asan/build.ninja ] || CC=clang meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false
	@ninja -C build-asan
	@scripts/check build-asan -m "not slow and not vm"

fuzz:
	@scripts/bootstrap --for asan
	@scripts/fuzz $(FUZZ)

bench:
	@scripts/bootstrap --for bench
	@$(MAKE) --no-print-directory all >/dev/null
	@for b in start oci memory parallel import save build pull serve disk net policy; do PROA=$(CURDIR)/$(BUILD)/proa bench/$$b || exit 1; done

format:
	@scripts/bootstrap --for test
	@git ls-files 'src/*.[ch]' 'tests/*.[ch]' | xargs clang-format -i

install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf build build-asan build-fuzz build-faults

.PHONY: all demo check asan fuzz bench format install clean
