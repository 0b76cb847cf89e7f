# Thin on purpose: meson and ninja build, tests/run.py tests. `make` builds into build/ as the
# invoking user, also under sudo; everything that starts containers needs root.

BUILD := build
AS_USER := tools/as-user.sh

.PHONY: all setup check nightly nightly-store demo bench format clean

all:
	@$(AS_USER) tools/build.sh $(BUILD)

setup:
	@tools/setup.sh all

check:
	@tools/setup.sh all
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/build.sh $(BUILD)-clang clang
	@$(AS_USER) tools/venv.sh
	@python3 tests/run.py

# The long battery; SEED= chooses another one.
nightly: nightly-store

nightly-store:
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(BUILD)/tests/store_proof/store-proof --states 40000 --failing 2 --stride 1 --seed $(or $(SEED),1)

demo:
	@tools/setup.sh demo
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/venv.sh
	@python3 examples/web/demo.py

bench:
	@tools/setup.sh demo
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/venv.sh
	@.venv/bin/python bench/run.py

format:
	@find src tests bench -name '*.[ch]' -exec clang-format -i {} +

clean:
	@rm -rf $(BUILD) $(BUILD)-clang
