# Longshore.  `make` builds, `make run` shows it at work, `make test` runs every test; README.md has the rest.
#
#   make                          release build in build/release/
#   make MODE=debug               -O0, assertions, in build/debug/
#   make SAN=address,undefined    sanitizers, in build/san-address-undefined/
#   make FAIL=1                   with places to die at (common/base/failpoint.h), in build/fail/
#
# One file, not recursive.  Sources are found by folder, so a new file or partner edits nothing here.

MODE ?= release
SAN ?=
FAIL ?=
PREFIX ?= /usr/local
DESTDIR ?=
CC = gcc
PYTHON ?= /usr/bin/python3
comma := ,

ifneq ($(SAN),)
VARIANT := san-$(subst $(comma),-,$(SAN))
# Lines and functions, which reports name: a quarter less to compile, nearly half to link.
OPT := -O1 -g1 -fno-pie -no-pie -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
LINKOPT := -fsanitize=$(SAN)
# In the programs themselves the sanitizers' own code: the tests start some thousands of them, and the search for leaks takes a third.
STATIC_SAN := $(if $(findstring clang,$(CC)),,-static-libasan -static-libubsan)
else ifeq ($(MODE),debug)
VARIANT := debug
OPT := -O0 -g3
else
VARIANT := release
OPT := -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
LINKOPT := -Wl,-z,relro,-z,now
endif
SHARED := build/$(VARIANT)/obj
ifneq ($(FAIL),)
VARIANT := $(if $(SAN),$(VARIANT)-,)fail
endif

B := build/$(VARIANT)
BIN := $(B)/bin
GEN := build/gen

WARN := -Wall -Wextra -Wshadow -Wvla -Wframe-larger-than=4096 -Wstrict-prototypes \
	-Wmissing-prototypes -Wno-unused-parameter -Werror
# Asked once, and only when something is compiled: on a new machine the packages come first (deps).
PQ_CFLAGS = $(eval PQ_CFLAGS := $$(shell pkg-config --cflags libpq))$(PQ_CFLAGS)
CFLAGS_ALL = -std=gnu11 $(OPT) $(WARN) -I. -I$(GEN) -D_GNU_SOURCE $(PQ_CFLAGS) $(CFLAGS)
# The worker's allocator where it is there (libjemalloc2): a quarter less processor time an import than glibc's, whose
# cost is in blocks of 1 to 16 KiB.  Not under the sanitizers, which bring their own.
MALLOC = $(if $(SAN),,$(firstword $(wildcard /usr/lib/*/libjemalloc.so.2 /usr/lib/libjemalloc.so.2)))
LIBS := -lhiredis -lcurl -lcjson -lpq -levent -levent_pthreads -lexpat -lssl -lcrypto -lz -lm -pthread

# ---- sources ------------------------------------------------------------------------------------
lua_files := $(sort $(wildcard common/queue/lua/*.lua))
sql_files := $(sort $(wildcard sql/[0-9]*.sql))
hook_files := $(foreach d,$(wildcard drivers/*/),$(wildcard $(d)$(notdir $(patsubst %/,%,$(d))).c))
test_hook_files := $(wildcard tests/drivers/*/*.c)
lib_src := $(wildcard common/base/*.c common/io/*.c common/queue/*.c common/store/*.c drivers/*.c \
	drivers/kit/*.c) $(hook_files)
gen_src := $(patsubst common/queue/lua/%.lua,$(GEN)/lua_%.c,$(lua_files)) $(GEN)/migrations.c \
	$(GEN)/driver_table.c
worker_src := $(filter-out worker/main.c,$(wildcard worker/*.c worker/tasks/*.c))
scheduler_src := $(filter-out scheduler/main.c,$(wildcard scheduler/*.c)) $(GEN)/openapi.c
cli_src := $(wildcard scheduler/cli/*.c)
sandbox_src := $(wildcard tests/sandbox/*.c)
unit_src := $(wildcard tests/unit/test_*.c)
fuzz_src := $(wildcard tests/fuzz/fuzz_*.c)
bench_src := $(wildcard tests/bench/bench_*.c)

# Places to die at stand in these alone (tests/lint looks): the rest of such a build is the ordinary one's.
FAIL_SRC := common/io/%.c common/base/failpoint.c
ifeq ($(FAIL),)
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
else
obj = $(patsubst %.c,$(B)/obj/%.o,$(filter $(FAIL_SRC),$(1))) $(patsubst %.c,$(SHARED)/%.o,$(filter-out $(FAIL_SRC),$(1)))
endif
lib_obj := $(call obj,$(lib_src) $(gen_src))
worker_obj := $(call obj,$(worker_src))
scheduler_obj := $(call obj,$(scheduler_src))

programs := $(BIN)/longshore $(BIN)/longshore-worker $(BIN)/longshore-scheduler $(BIN)/longshore-sandbox
units := $(patsubst tests/unit/%.c,$(B)/unit/%,$(unit_src))
# UNIT_TESTS="co queue": those alone.
units_asked := $(if $(UNIT_TESTS),$(UNIT_TESTS:%=$(B)/unit/test_%),$(units))
fuzzers := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(fuzz_src))
benches := $(patsubst tests/bench/%.c,$(B)/bench/%,$(bench_src))
# A worker with tasks that crash it; system tests find it beside bin/.
crash_worker := $(B)/test/crash-worker
# A scheduler with the C of drivers that only tests have.
hooked_scheduler := $(B)/test/hooked-scheduler

all_src := $(lib_src) $(gen_src) $(worker_src) $(scheduler_src) $(cli_src) $(sandbox_src) $(unit_src) \
	$(fuzz_src) $(bench_src) worker/main.c scheduler/main.c tests/fuzz/driver.c tests/system/crash_tasks.c \
	$(test_hook_files) $(GEN)/driver_table_test.c

.PHONY: all deps deps-test run test unit check-drivers fuzz system torture failpoints cancelled walked lint check bench install clean units
.DELETE_ON_ERROR:
.SECONDARY:

all: deps $(programs)

# ---- what must be installed -----------------------------------------------------------------------
# Each package is asked for by what it gives; Debian's is installed (root or sudo), elsewhere it is named.
deps: ; @deploy/local/deps build
deps-test: ; @deploy/local/deps build run test

# ---- generated ------------------------------------------------------------------------------------
# Text files become C strings, so that a binary carries its scripts and migrations.
define c_string
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/\t"/' -e 's/$$/\\n"/' $(1)
endef

$(GEN)/lua_%.c: common/queue/lua/%.lua Makefile
	@mkdir -p $(@D)
	@{ echo '#include "common/io/redis.h"'; echo 'extern struct redis_script lua_$*;'; \
	echo 'struct redis_script lua_$* = {'; echo '	.name = "$*",'; echo '	.source ='; \
	$(call c_string,$<); echo '};'; } > $@

$(GEN)/migrations.c: $(sql_files) Makefile
	@mkdir -p $(@D)
	@{ echo '#include "common/store/migrations.h"'; echo 'const struct migration migrations[] = {'; \
	for f in $(sql_files); do n=$$(basename $$f .sql); \
	echo "	{ $$(echo $${n%%_*} | sed 's/^0*//'), \"$$n\","; $(call c_string,$$f); echo '	},'; done; \
	echo '	{ 0, 0, 0 }'; echo '};'; \
	echo 'const int n_migrations = sizeof(migrations) / sizeof(migrations[0]) - 1;'; } > $@

$(GEN)/openapi.c: scheduler/openapi.json Makefile
	@mkdir -p $(@D)
	@{ echo 'extern const char openapi_json[];'; echo 'const char openapi_json[] ='; $(call c_string,$<); \
	echo '	;'; } > $@

# Written anew each time, replaced only when a partner's C came or went.
define driver_table
@mkdir -p $(@D)
@{ echo '#include "drivers/driver.h"'; \
for f in $(notdir $(basename $(1))); do echo "extern const struct driver_hooks driver_$$f;"; done; \
echo 'const struct driver_hooks *const driver_hooks_table[] = {'; \
for f in $(notdir $(basename $(1))); do echo "	&driver_$$f,"; done; \
echo '	0'; echo '};'; } > $@.new
@if cmp -s $@ $@.new; then rm $@.new; else mv $@.new $@; fi
endef
$(GEN)/driver_table.c: FORCE ; $(call driver_table,$(hook_files))
$(GEN)/driver_table_test.c: FORCE ; $(call driver_table,$(test_hook_files))
.PHONY: FORCE
FORCE:

# ---- compile and link -----------------------------------------------------------------------------
define compile
@mkdir -p $(@D)
@echo "  CC $<"
@$(CC) $(CFLAGS_ALL) $(1) -MMD -MP -c -o $@ $<
endef
$(SHARED)/%.o: %.c | deps ; $(call compile)
ifneq ($(FAIL),)
$(B)/obj/%.o: %.c | deps ; $(call compile,-DLONGSHORE_FAILPOINTS)
endif

# Libraries only inside the build: a program takes in what it uses, a unit test little.
archive = @mkdir -p $(@D); rm -f $@; ar rcsT $@ $^
lib := $(B)/lib/longshore.a
worker_lib := $(B)/lib/worker.a $(lib)
scheduler_lib := $(B)/lib/scheduler.a $(lib)
$(lib): $(lib_obj) ; $(archive)
$(B)/lib/worker.a: $(worker_obj) ; $(archive)
$(B)/lib/scheduler.a: $(scheduler_obj) ; $(archive)

link = @mkdir -p $(@D); echo "  LD $@"; $(CC) $(OPT) $(LINKOPT) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)
# For a hundred test programs gold takes half the time of GNU ld, where binutils has it.
GOLD := $(if $(shell command -v ld.gold),-fuse-ld=gold)

$(BIN)/longshore: $(call obj,$(cli_src)) $(lib) ; $(link) $(STATIC_SAN)
$(BIN)/longshore-worker: $(call obj,worker/main.c) $(worker_lib) ; $(link) $(STATIC_SAN) $(MALLOC)
$(BIN)/longshore-scheduler: $(call obj,scheduler/main.c) $(scheduler_lib) ; $(link) $(STATIC_SAN)
$(BIN)/longshore-sandbox: $(call obj,$(sandbox_src)) $(lib) ; $(link) $(STATIC_SAN)

# A unit test is one program; those of the daemons' own files are named test_worker_*, test_scheduler_*.
$(B)/unit/test_worker_%: $(B)/obj/tests/unit/test_worker_%.o $(worker_lib) ; $(link) $(GOLD) -lcmocka
$(B)/unit/test_scheduler_%: $(B)/obj/tests/unit/test_scheduler_%.o $(scheduler_lib) ; $(link) $(GOLD) -lcmocka
$(B)/unit/test_%: $(B)/obj/tests/unit/test_%.o $(lib) ; $(link) $(GOLD) -lcmocka
# The hooks of drivers that only tests have, in a table of their own, which is found before the library's.
$(B)/unit/test_hooks: $(call obj,tests/unit/test_hooks.c $(test_hook_files) $(GEN)/driver_table_test.c) $(lib) ; $(link) $(GOLD) -lcmocka
$(B)/fuzz/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(call obj,tests/fuzz/driver.c) $(lib) ; $(link) $(GOLD)
$(hooked_scheduler): $(call obj,scheduler/main.c $(test_hook_files) $(GEN)/driver_table_test.c) $(scheduler_lib) ; $(link) $(GOLD)
$(crash_worker): $(call obj,worker/main.c tests/system/crash_tasks.c) $(worker_lib) ; $(link) $(GOLD)
$(B)/bench/bench_%: $(B)/obj/tests/bench/bench_%.o $(worker_lib) ; $(link)

units: deps-test $(units_asked) $(if $(UNIT_TESTS),,$(fuzzers)) $(crash_worker) $(hooked_scheduler)

# ---- run and test -----------------------------------------------------------------------------------
run: all
	@deploy/local/deps run
	@deploy/local/run $(BIN)

# Every test, in one build at least (tests/run-all).  `make unit` and `make system` run all of them on the release build, with
# SAN=address,undefined under the sanitizers.
test: deps-test
	@tests/run-all

lint: deps-test
	@tests/lint

check: lint test

unit: units
	@tests/run-unit $(B)/unit $(units_asked)

# Every driver's manifest, and its cassettes through the very code that runs them: from the folders alone.
check-drivers: $(BIN)/longshore
	@$(BIN)/longshore driver check --drivers drivers

fuzz: units
	@tests/run-fuzz $(B)/fuzz

# What the walk over every step kills; the other programs are those of the release.
walked: $(BIN)/longshore-worker $(BIN)/longshore-scheduler

system: deps-test all $(crash_worker) $(hooked_scheduler)
	@$(if $(SAN),,$(MAKE) -s FAIL=1 walked)
	@LONGSHORE_BIN=$(CURDIR)/$(BIN) tests/run-system $(SYSTEM_TESTS)

# SECONDS=60 SEED=n: everything dies around thousands of jobs, then a ledger says what became of each.
torture: deps-test all
	@LONGSHORE_BIN=$(CURDIR)/$(BIN) $(PYTHON) -B tests/system/torture.py --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

# SEED=n: a process dies before and after each Redis, Postgres, HTTP and SMTP step of a job's life, one by one; half an hour.
failpoints: deps-test all
	@$(MAKE) -s FAIL=1 walked
	@LONGSHORE_BIN=$(CURDIR)/$(BIN) $(PYTHON) -B tests/system/failpoints.py $(if $(SEED),--seed $(SEED))

# 100,000 jobs are unwound while they wait, and nothing of them is left.
cancelled: deps-test all
	@LONGSHORE_CANCELLED=100000 LONGSHORE_BIN=$(CURDIR)/$(BIN) tests/run-system -n 0 -s tests/system/test_cancelled.py

bench: deps-test all $(benches)
	@tests/bench/run $(B)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/longshore
	install -m 755 $(BIN)/longshore $(BIN)/longshore-worker $(BIN)/longshore-scheduler $(BIN)/longshore-sandbox $(DESTDIR)$(PREFIX)/bin
	cp -r drivers $(DESTDIR)$(PREFIX)/share/longshore/
	find $(DESTDIR)$(PREFIX)/share/longshore/drivers -name '*.[ch]' -delete
	rm -rf $(DESTDIR)$(PREFIX)/share/longshore/drivers/kit

clean:
	rm -rf build

-include $(patsubst %.o,%.d,$(call obj,$(all_src)))
