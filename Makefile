# Thin on purpose: meson and ninja build, tests/run.py tests. `make` builds into build/ as the
# invoking user, also under sudo; everything that starts containers needs root.

BUILD := build
AS_USER := tools/as-user.sh

.PHONY: all setup check demo bench bench-pulls bench-logs fuzz sim seeded-bugs format clean deb
.PHONY: nightly nightly-store nightly-sim nightly-placement nightly-guest nightly-upgrade nightly-four
.PHONY: nightly-package nightly-fleet nightly-partition nightly-clients

all:
	@$(AS_USER) tools/build.sh $(BUILD)

setup:
	@tools/setup.sh all

check:
	@tools/setup.sh all
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/build.sh $(BUILD)-clang clang
	@$(AS_USER) tools/venv.sh
	@$(AS_USER) tools/aws2.sh $(BUILD)/aws2
	@python3 tests/run.py

# The long batteries; SEED= chooses another one.
nightly: nightly-store nightly-sim nightly-placement nightly-guest nightly-upgrade nightly-four nightly-package
nightly: nightly-fleet nightly-partition nightly-clients

# Crash states and failing calls of the store.
nightly-store:
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(BUILD)/tests/store_proof/store-proof --states 40000 --failing 2 --stride 1 --seed $(or $(SEED),1)

# Ten thousand small clusters, some of them larger, one very large; then every seeded bug.
nightly-sim:
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(BUILD)/fairlead sim --seed $(SEED)0000 --hosts 10 --runs 10000
	@$(BUILD)/fairlead sim --seed $(SEED)0000 --hosts 3 --tasks 150 --runs 2000
	@$(BUILD)/fairlead sim --seed $(SEED)0000 --hosts 100 --runs 100
	@$(BUILD)/fairlead sim --seed $(SEED)0000 --hosts 5000 --runs 2
	@$(BUILD)/fairlead sim --seed $(SEED)0000 --services 100 --tasks 50 --hosts 500 --runs 20
	@python3 tests/seeded_bugs/hunt.py $(BUILD)/tests/seeded_bugs/sim-bugs

# Ten million random placements against the plain scan.
nightly-placement:
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(BUILD)/src/test-core-oracle_test 10000000 $(or $(SEED),1)

# A virtual machine that has cgroup v2 alone.
nightly-guest:
	@tools/setup.sh nightly
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) python3 tests/guest/run.py $(BUILD)

# This build over the last release, and beside it; real containers, so root.
nightly-upgrade:
	@tools/setup.sh all
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/venv.sh
	@python3 tests/upgrade/run.py $(BUILD)

# Four containers that depend on each other, on images of Debian packages.
nightly-four:
	@tools/setup.sh all
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/venv.sh
	@python3 examples/four/try.py

# The Debian package, and its life in a Debian root: install, run, upgrade, remove, purge.
deb:
	@tools/setup.sh package
	@$(AS_USER) tools/deb.sh

nightly-package:
	@tools/setup.sh package
	@$(AS_USER) tools/venv.sh
	@python3 tests/package/run.py

# Three hosts pull and run what was pushed, while the server is killed and a firewall is flushed.
nightly-fleet:
	@tools/setup.sh all
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/venv.sh
	@.venv/bin/python -m pytest -q -x -p no:cacheprovider tests/fleet

# Terraform and other clients of ECS, as far as they are on the machine: tests/clients/README.md.
nightly-clients:
	@tools/setup.sh all
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/venv.sh
	@.venv/bin/python -m pytest -q -rs -p no:cacheprovider tests/clients

# Two of three hosts lose their server, for an hour or for PARTITION_S= seconds, while tasks go on.
PARTITION_S := 3600

nightly-partition:
	@tools/setup.sh all
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/venv.sh
	@FAIRLEAD_PARTITION_S=$(PARTITION_S) .venv/bin/python -m pytest -q -s -p no:cacheprovider \
		tests/integration/test_partition.py

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
	@.venv/bin/python bench/service.py
	@$(BUILD)/bench/bench-placement
	@$(BUILD)/bench/bench-throughput $(BUILD)/fairlead
	@$(BUILD)/bench/bench-memory $(BUILD)/fairlead
	@$(BUILD)/bench/bench-ports $(BUILD)/src/libexec
	@$(BUILD)/fairlead sim --services 1000 --tasks 50 --hosts 5000 --calm
	@$(BUILD)/fairlead sim --services 1000 --tasks 50 --hosts 5000

# What log lines cost, beside docker's json-file driver; LINES= and ROUNDS= choose how many.
bench-logs:
	@tools/setup.sh demo
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/venv.sh
	@.venv/bin/python bench/logs.py

# Pulls beside docker's and podman's, from one registry.
bench-pulls:
	@tools/setup.sh bench-pulls
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(AS_USER) tools/venv.sh
	@.venv/bin/python bench/pulls.py

# For example TARGET=wire-json SECONDS=300; without a target it lists them.
TARGET :=
SECONDS := 60

fuzz:
	@$(AS_USER) tools/build.sh $(BUILD)-fuzz fuzz
	@$(AS_USER) tools/fuzz.sh $(BUILD)-fuzz "$(TARGET)" $(SECONDS)

# A violation is seen again by its seed: make sim SEED=17 RUNS=1
SEED := 1
HOSTS := 10
RUNS := 100

sim:
	@$(AS_USER) tools/build.sh $(BUILD)
	@$(BUILD)/fairlead sim --seed $(SEED) --hosts $(HOSTS) --runs $(RUNS)

seeded-bugs:
	@$(AS_USER) tools/build.sh $(BUILD)
	@python3 tests/seeded_bugs/hunt.py $(BUILD)/tests/seeded_bugs/sim-bugs

format:
	@find src tests bench -name '*.[ch]' -exec clang-format -i {} +

clean:
	@rm -rf $(BUILD) $(BUILD)-clang $(BUILD)-fuzz
