# SPDX-License-Identifier: Apache-2.0
# make help lists what there is. MODE=release|debug|asan|tsan|fuzz picks the kind of build,
# OUT= the folder (build/$(MODE)).
MODE ?= release
OUT ?= build/$(MODE)
PREFIX ?= /usr/local
DESTDIR ?=
SYSTEMD_UNIT_DIR ?= $(PREFIX)/lib/systemd/system
SECONDS ?= 10
VERSION := 0.1.0
SOVERSION := 0

# Every C file is named here; make lint finds one that is not.
BASE_SRC := $(addprefix base/,$(addsuffix .c, \
	arena backoff budget buf clock err event log mailbox mem metadata option outcome random \
	ranges table topic utf8 wheel wire worker))
PROTO_SRC := $(addprefix proto/,$(addsuffix .c, \
	codec codec_publish codec_read codec_write framer reader scan wire))
CONFIG_SRC := $(addprefix config/,$(addsuffix .c, \
	access bind broker check config diff document nearest policy report rules secret tables \
	units value))
ADAPTER_SRC := $(addprefix adapters/,$(addsuffix .c, \
	adapter memory memory_deliver memory_entry memory_flow memory_hold memory_index \
	memory_log memory_queue memory_route memory_store nats/admin nats/api nats/conn \
	nats/consumer nats/dial nats/failures nats/flow nats/header_block nats/headers \
	nats/lease nats/link nats/link_io nats/names nats/nats nats/options nats/owner \
	nats/publish nats/pull nats/settle nats/stored nats/takeover registry))
DAEMON_SRC := $(addprefix daemon/,$(addsuffix .c, \
	access admin bus bus_adapter bus_explain bus_status bus_turn client credit daemon \
	daemon_reload daemon_stop feed feed_credit feed_flow feed_life feed_tell flight group keygate \
	listener notify pipeline/deadletter pipeline/deadletter_build pipeline/policy_decide \
	pipeline/step policy_book session session_hello session_names session_out \
	session_publish session_set session_settle session_subscribe session_time subscribe \
	subscription subscription_tell tags))
CLIENT_SRC := $(addprefix client/,$(addsuffix .c, \
	client deliver encode frames link names outbox outbox_send request sub_state subscribe \
	taken wait))
CTL_SRC := $(addprefix client/eventbusctl/,$(addsuffix .c, \
	ask bench check ctl exec histogram main print pub render status sub sub_options))
UNIT_SRC := $(addprefix tests/unit/test_,$(addsuffix .c, \
	adapter_contract adapter_memory budget buf bus_broker bus_chaos bus_deliver bus_groups \
	bus_lease bus_life client_confirm client_deliver client_link client_publish \
	client_request client_subscribe clock codec codec_publish config config_access \
	config_diff config_example config_units credit deadletter err event flight framer \
	header_block keygate listener log mailbox memory_history memory_index memory_model \
	memory_turns metadata nats_names option policy_decide policy_resolve random ranges scan session \
	session_deliver session_life session_publish session_settle table topic utf8 wheel wire \
	worker))
INTEGRATION_SRC := $(addprefix tests/integration/test_,$(addsuffix .c, \
	nats_adapter nats_faults nats_owners))
FUZZ_SRC := $(addprefix tests/fuzz/fuzz_,$(addsuffix .c, \
	codec config framer scan session))
BENCH_SRC := $(addprefix tests/bench/,$(addsuffix .c, \
	bench_bus bench_codec bench_memory bench_nats))
CLIENT_BASE_SRC := $(filter-out base/mailbox.c base/worker.c,$(BASE_SRC))

PKGS := libuv libprotobuf-c yaml-0.1 libsystemd openssl jansson
ifneq ($(filter-out clean help fmt,$(or $(MAKECMDGOALS),all)),)
MISSING := $(strip $(foreach p,$(PKGS) check,$(shell pkg-config --exists $(p) || echo $(p))))
ifneq ($(MISSING),)
$(error missing libraries: $(MISSING). On Debian: apt-get install libuv1-dev libprotobuf-c-dev libyaml-dev libsystemd-dev libssl-dev libjansson-dev check)
endif
endif

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wundef \
	-Wcast-align -Wpointer-arith -Wwrite-strings
CPPFLAGS += -D_GNU_SOURCE -DEVENTBUS_VERSION='"$(VERSION)"' -I. -I$(OUT)/gen \
	$(shell pkg-config --cflags $(PKGS))
CFLAGS_COMMON := -std=c11 -g $(WARN) -fPIC -fvisibility=hidden -pthread
LDLIBS := $(shell pkg-config --libs $(PKGS)) -lnats -pthread -lm
CLIENT_LIBS := $(shell pkg-config --libs libprotobuf-c openssl jansson) -pthread -lm
CHECK_LIBS := $(shell pkg-config --libs check)

# -fcf-protection is for x86 alone.
CET := $(if $(filter x86_64-% i%86-%,$(shell $(CC) -dumpmachine)),-fcf-protection)
ifeq ($(MODE),release)
CFLAGS_MODE := -O2 -fstack-protector-strong -fstack-clash-protection $(CET)
CPPFLAGS += -D_FORTIFY_SOURCE=2
LDFLAGS += -Wl,-z,relro,-z,now,-z,noexecstack
else ifeq ($(MODE),debug)
CFLAGS_MODE := -O0
else ifeq ($(MODE),asan)
CFLAGS_MODE := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS += -fsanitize=address,undefined
else ifeq ($(MODE),tsan)
CFLAGS_MODE := -O1 -fno-omit-frame-pointer -fsanitize=thread
LDFLAGS += -fsanitize=thread
else ifeq ($(MODE),fuzz)
CC := clang
CFLAGS_MODE := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
LDFLAGS += -fsanitize=address,undefined
else
$(error MODE is release, debug, asan, tsan or fuzz)
endif
COMPILE = $(CC) $(CPPFLAGS) $(CFLAGS_COMMON) $(CFLAGS_MODE) $(CFLAGS) -MMD -MP

obj = $(patsubst %.c,$(OUT)/%.o,$(1))
GEN_H := $(OUT)/gen/proto/eventbus/v1/eventbus.pb-c.h
GEN_O := $(OUT)/gen/proto/eventbus/v1/eventbus.pb-c.o
DAEMON_LIB := $(OUT)/libeventbusd.a
CLIENT_LIB := $(OUT)/libeventbus.a
CLIENT_SO := $(OUT)/libeventbus.so.$(SOVERSION)
UNIT_BIN := $(patsubst %.c,$(OUT)/%,$(UNIT_SRC))
INTEGRATION_BIN := $(patsubst %.c,$(OUT)/%,$(INTEGRATION_SRC))
FUZZ_BIN := $(patsubst %.c,$(OUT)/%,$(FUZZ_SRC))
BENCH_BIN := $(patsubst %.c,$(OUT)/%,$(BENCH_SRC))

all: $(OUT)/eventbusd $(OUT)/eventbusctl $(CLIENT_LIB) $(CLIENT_SO) ## build the daemon, eventbusctl and the client library

$(OUT)/eventbusd: $(OUT)/daemon/main.o $(DAEMON_LIB)
	$(CC) $(CFLAGS_MODE) $(LDFLAGS) -pie -o $@ $^ $(LDLIBS)
$(OUT)/eventbusctl: $(call obj,$(CTL_SRC)) $(CLIENT_LIB)
	$(CC) $(CFLAGS_MODE) $(LDFLAGS) -pie -o $@ $^ $(CLIENT_LIBS)
$(DAEMON_LIB): $(call obj,$(BASE_SRC) $(PROTO_SRC) $(CONFIG_SRC) $(ADAPTER_SRC) $(DAEMON_SRC)) $(GEN_O)
	@rm -f $@
	$(AR) rcs $@ $^
$(CLIENT_LIB): $(call obj,$(CLIENT_BASE_SRC) $(PROTO_SRC) $(CLIENT_SRC)) $(GEN_O)
	@rm -f $@
	$(AR) rcs $@ $^
$(CLIENT_SO): $(call obj,$(CLIENT_BASE_SRC) $(PROTO_SRC) $(CLIENT_SRC)) $(GEN_O)
	$(CC) $(CFLAGS_MODE) $(LDFLAGS) -shared -Wl,-soname,libeventbus.so.$(SOVERSION) -o $@ $^ $(CLIENT_LIBS)

$(GEN_H): proto/eventbus/v1/eventbus.proto
	@mkdir -p $(OUT)/gen
	protoc-c -I. --c_out=$(OUT)/gen $<
$(OUT)/gen/proto/eventbus/v1/eventbus.pb-c.c: $(GEN_H)
$(GEN_O): $(OUT)/gen/proto/eventbus/v1/eventbus.pb-c.c
	$(COMPILE) -w -c -o $@ $<
$(OUT)/%.o: %.c Makefile | $(GEN_H)
	@mkdir -p $(@D)
	$(COMPILE) -c -o $@ $<

$(UNIT_BIN) $(INTEGRATION_BIN): %: %.o $(DAEMON_LIB) $(CLIENT_LIB)
	$(CC) $(CFLAGS_MODE) $(LDFLAGS) -o $@ $^ $(CHECK_LIBS) $(LDLIBS)
$(OUT)/tests/bench/%: $(OUT)/tests/bench/%.o $(CLIENT_LIB) $(DAEMON_LIB)
	$(CC) $(CFLAGS_MODE) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(OUT)/tests/fuzz/%: $(OUT)/tests/fuzz/%.o $(DAEMON_LIB) $(CLIENT_LIB)
	$(CC) $(CFLAGS_MODE) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

unit: $(UNIT_BIN) ## build the unit tests
check: $(UNIT_BIN) ## run the unit tests
	scripts/run-unit $(UNIT_BIN)
integration: $(INTEGRATION_BIN) ## run the adapters alone against real brokers
	scripts/run-unit $(INTEGRATION_BIN)
contract: all ## run the contract suite, memory and NATS (ARGS= for pytest)
	EVENTBUS_BUILD=$(abspath $(OUT)) /usr/bin/python3 -m pytest -q -p no:cacheprovider tests/contract $(ARGS)
valgrind: all ## run the contract suite on the memory bus under valgrind (slow)
	EVENTBUS_WRAPPER="valgrind -q --leak-check=full --error-exitcode=99 --child-silent-after-fork=yes" \
	EVENTBUS_TEST_PATIENCE=300 EVENTBUS_BUILD=$(abspath $(OUT)) /usr/bin/python3 -m pytest -q \
	-p no:cacheprovider tests/contract --adapters memory $(ARGS)
fuzzers: $(FUZZ_BIN) ## build the fuzzers (MODE=fuzz)
fuzz: ## run every fuzzer for SECONDS
	$(MAKE) MODE=fuzz OUT=build/fuzz fuzzers
	scripts/fuzz build/fuzz $(SECONDS)
bench-bins: $(BENCH_BIN)
bench: all ## measure; writes build/bench.tsv
	$(MAKE) MODE=release bench-bins
	scripts/bench
lint: $(GEN_H) ## format, layers, headers alone, clang-tidy, shellcheck
	scripts/lint $(OUT)
sources: ## print every C file that is built
	@printf '%s\n' $(BASE_SRC) $(PROTO_SRC) $(CONFIG_SRC) $(ADAPTER_SRC) $(DAEMON_SRC) daemon/main.c \
		$(CLIENT_SRC) $(CTL_SRC) $(UNIT_SRC) $(INTEGRATION_SRC) $(FUZZ_SRC) $(BENCH_SRC)
cflags: ## print the compiler's flags, for tools
	@echo $(CPPFLAGS) $(CFLAGS_COMMON)
fmt: ## format every C file in place
	git ls-files '*.c' '*.h' | xargs clang-format -i

install: all ## into $(DESTDIR)$(PREFIX)
	scripts/install "$(OUT)" "$(DESTDIR)" "$(PREFIX)" "$(SYSTEMD_UNIT_DIR)" "$(VERSION)" "$(SOVERSION)"
clean: ## remove build/
	rm -rf build
help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | sort

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
.PHONY: sources cflags all unit check integration contract valgrind fuzzers fuzz bench-bins bench lint fmt install clean help
.SECONDARY:
