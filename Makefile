# One non-recursive makefile. The tree is the manifest: a directory under cmd/ is a program, a .c in it is
# linked into it. `make help` lists the targets.
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

VERSION    := $(shell cat VERSION)
BUILD      ?= build
PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
MANDIR     ?= $(PREFIX)/share/man
UNITDIR    ?= $(PREFIX)/lib/systemd/system
CC         := $(if $(filter default,$(origin CC)),gcc,$(CC))
CFLAGS     ?= -O2 -g
PKG_CONFIG ?= pkg-config
PROTOC_C   ?= protoc-c

TOOLS   := $(notdir $(patsubst %/,%,$(wildcard cmd/*/)))
PROGS   := $(TOOLS) crispd
BINS    := $(PROGS:%=$(BUILD)/bin/%) $(BUILD)/bin/podpause
MANS    := $(wildcard $(addsuffix /*.[1-8],cmd/* adapter libcommon scripts))
UNITS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/*.c))
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))

# The libraries of each program, by their pkg-config names.
PKGS_common    := jansson libcrypto
PKGS_cricall   := libnghttp2 libprotobuf-c
# ISA-L (x86-64 only in Debian) inflates three times as fast as zlib, and is used where it is installed.
ISAL           := $(shell $(PKG_CONFIG) --exists libisal && echo libisal)
PKGS_ocipull   := libcurl libarchive libzstd zlib libseccomp $(ISAL)
# ocistore takes what it needs of these from their archives, see LIBS_ocistore.
PKGS_ocistore  :=
PKGS_podnet    := libprotobuf-c
PKGS_ocibundle := libprotobuf-c
PKGS_ctrrun    :=
PKGS_ctrmon    :=
PKGS_podreplay := libprotobuf-c
PKGS_ctrstream :=
PKGS_ctrtls    := libssl
PKGS_ctrevents := nanomsg
PKGS_ctrshim   := libprotobuf-c
PKGS_podmanifest := libprotobuf-c
PKGS_crispd    := libnghttp2 libprotobuf-c nanomsg
PKGS_tests     := libprotobuf-c libnghttp2 zlib libzstd libarchive libseccomp
LIBS_tests     := -lwslay -lyaml

PKGS    := $(sort $(foreach t,common $(PROGS),$(PKGS_$t)))
ifeq ($(filter clean help,$(MAKECMDGOALS)),)
MISSING := $(shell for p in $(PKGS) nanomsg yaml-0.1; do $(PKG_CONFIG) --exists $$p || echo $$p; done; \
             command -v $(PROTOC_C) >/dev/null || echo $(PROTOC_C); \
             printf '\043include <wslay/wslay.h>' | $(CC) -E - >/dev/null 2>&1 || echo libwslay)
ifneq ($(strip $(MISSING)),)
$(error missing: $(MISSING) (Debian packages: see README.md, "Build"))
endif
endif
# Programs that only need SHA-256 take those 20 KB from the archive: the shared libcrypto costs each start 0.7 ms.
CRYPTO         := $(or $(wildcard $(shell $(PKG_CONFIG) --variable=libdir libcrypto)/libcrypto.a),-lcrypto)
CRYPTO_ocipull := -lcrypto
CRYPTO_ctrtls  := -lcrypto
# The same for the tar reader, two compressors and the filter of system calls: as shared libraries they would cost
# each `ocistore ls` more than the listing does.
static = $(or $(filter /%,$(shell $(CC) -print-file-name=lib$1.a)),-l$1)
# CDI specifications may be YAML; from its archive, or each creation of a container would load the library.
LIBS_ocibundle := $(call static,yaml)
LIBS_podmanifest := $(call static,yaml)
# And each `kubectl exec` waits for this one. Debian's libwslay has neither an archive nor a pkg-config file.
LIBS_ctrstream := $(call static,z) -lwslay
LIBS_ctrrun    := $(foreach l,archive zstd seccomp z,$(call static,$l))
LIBS_ocistore  := $(foreach l,archive zstd seccomp z,$(call static,$l))
LIBS_podreplay := $(foreach l,archive zstd seccomp z,$(call static,$l))
# Nor do the two that are in almost every program come as shared libraries: each costs a start 0.2 ms.
own = $(patsubst -ljansson,$(call static,jansson),$(patsubst -lprotobuf-c,$(call static,protobuf-c),$1))
# $(call libs,PROG): only what the program uses ends up in it (--as-needed).
libs = $(call own,$(shell $(PKG_CONFIG) --libs $(PKGS_$1) jansson)) $(LIBS_$1) $(or $(CRYPTO_$1),$(CRYPTO)) -lm

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wpointer-arith \
        -Wwrite-strings -Wvla -Wundef -Wswitch-enum -Wcast-align -Wold-style-definition
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LINT_FLAGS   := -I. -Ilibcommon -I$(BUILD)/gen -D_GNU_SOURCE -Ulinux $(shell $(PKG_CONFIG) --cflags $(PKGS))
ALL_CPPFLAGS := $(LINT_FLAGS) -DVERSION='"$(VERSION)"' $(if $(SAN),,-D_FORTIFY_SOURCE=2) $(CPPFLAGS)
# The two maps together make objects independent of where the checkout stands and of BUILD's spelling.
ALL_CFLAGS   := -std=gnu17 $(WARN) $(if $(WERROR),-Werror) -fstack-protector-strong -fPIE \
                -ffunction-sections -fdata-sections -ffile-prefix-map=$(CURDIR)=. -MMD -MP $(SANFLAGS) $(CFLAGS)
ALL_LDFLAGS  := -pie -Wl,-z,relro,-z,now -Wl,--as-needed -Wl,--gc-sections -Wl,--build-id=none $(SANFLAGS) $(LDFLAGS)

# A tool that would need no other shared library than the C library is linked with that, too: to map and relocate it is
# a third of what a start takes, and a quarter of what a monitor has to itself. Where it is to be watched from inside (a
# sanitizer, valgrind) it is not: make STATIC=
STATIC  ?= $(if $(SAN),,ctrmon ctrrun ctrshim ctrstat ocibundle ocistore podinit podmanifest podnet podreplay)
ldflags = $(if $(filter $1,$(STATIC)),$(patsubst -pie,-static-pie,$(ALL_LDFLAGS)),$(ALL_LDFLAGS))

objs    = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard $1/*.c))
COMMON := $(BUILD)/libcommon.a
PROTOS := cri shim
GEN    := $(PROTOS:%=$(BUILD)/gen/%.pb-c.h)

all: $(BINS)                     ## build every program into build/bin

# Rebuild when the compiler or a flag changes, not only when a source does.
FLAGS := $(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(STATIC)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@

$(BUILD)/gen/%.pb-c.c $(BUILD)/gen/%.pb-c.h &: libcommon/%.proto
	@mkdir -p $(BUILD)/gen
	$(PROTOC_C) --proto_path=libcommon --c_out=$(BUILD)/gen $*.proto

# Generated code is not held to our warnings.
$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -w -c -o $@ $<

$(BUILD)/obj/%.o: %.c $(BUILD)/flags | $(GEN)
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

$(COMMON): $(call objs,libcommon) $(PROTOS:%=$(BUILD)/obj/gen/%.pb-c.o)
	@rm -f $@
	$(AR) rcD $@ $^

define program
$(BUILD)/bin/$1: $(call objs,$2) $(COMMON)
	@mkdir -p $$(@D)
	$$(CC) $$(call ldflags,$1) -o $$@ $$^ $$(call libs,$1)
endef
$(foreach t,$(TOOLS),$(eval $(call program,$t,cmd/$t)))
$(eval $(call program,crispd,adapter))

# What runs in a pod's sandbox container is linked with nothing: see the source.
FREE := $(if $(filter x86_64-% aarch64-%,$(shell $(CC) -dumpmachine)),-nostdlib -ffreestanding)
$(BUILD)/bin/podpause: cmd/podinit/pause/pause.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) -std=gnu17 $(WARN) $(if $(WERROR),-Werror) -Os -static $(FREE) -fno-pie -fno-stack-protector \
	  -fno-asynchronous-unwind-tables -D_GNU_SOURCE -s -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-n -o $@ $<

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call libs,tests)

# What it fuzzes is a program's own.
$(BUILD)/fuzz/fuzz_ctl: $(filter-out %/main.o,$(call objs,cmd/ctrmon))
$(BUILD)/fuzz/fuzz_ttrpc: $(filter-out %/main.o,$(call objs,cmd/ctrshim))
$(BUILD)/fuzz/fuzz_archive: $(filter %/archive_open.o %/archive_read.o %/archive_write.o,$(call objs,cmd/podreplay))
$(BUILD)/fuzz/fuzz_podmanifest: $(filter-out %/main.o,$(call objs,cmd/podmanifest))
$(BUILD)/fuzz/fuzz_story: $(foreach o,story story_journal why why_verdict why_print diff diff_plain archive_open archive_read archive_write,$(BUILD)/obj/cmd/podreplay/$o.o)
$(foreach f,seccomp cdi hooks handler ctrspec,$(eval $(BUILD)/fuzz/fuzz_$f: $(filter-out %/main.o,$(call objs,cmd/ocibundle))))
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(COMMON)
	@mkdir -p $(@D)
	$(CC) -fsanitize=fuzzer $(ALL_LDFLAGS) -o $@ $^ $(COMMON) $(call libs,tests)

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call libs,tests)

check: all units                 ## unit tests, then the tools and the socket from outside (root)
	BUILD='$(abspath $(BUILD))' scripts/run-tests
units: $(UNITS)
lint: all                        ## every gate: format, tidy, cppcheck, shellcheck, headers, bans, sizes, docs
	BUILD='$(abspath $(BUILD))' LINT_FLAGS='$(LINT_FLAGS) $(WARN)' scripts/lint
asan:                            ## everything under ASan and UBSan
	$(MAKE) BUILD=build/asan SAN=address,undefined check
fuzz:                            ## build the fuzzers (clang) and run each for FUZZ_SECONDS (10)
	$(MAKE) BUILD=build/fuzz CC=clang SAN=fuzzer-no-link,address,undefined fuzzers
	BUILD='$(abspath build/fuzz)' scripts/run-fuzzers
fuzzers: $(FUZZERS)
bench: all $(BENCHES)                 ## benchmarks, as ratios in one run (root)
	BUILD='$(abspath $(BUILD))' tests/bench/run
bench-pull: $(BUILD)/bin/ocipull   ## pulls against skopeo+umoci, podman and containerd (CONTAINERD=, CTR=: paths)
	BUILD='$(abspath $(BUILD))' tests/bench/pull
completions: all                 ## write completions/ anew from the option tables
	BUILD='$(abspath $(BUILD))' scripts/completions
install: all                     ## honours DESTDIR and PREFIX
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(UNITDIR)' \
	  '$(DESTDIR)$(PREFIX)/share/bash-completion/completions' \
	  '$(DESTDIR)$(PREFIX)/share/zsh/site-functions' '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d'
	install -m 755 $(BINS) '$(DESTDIR)$(BINDIR)'
	install -m 755 scripts/pod '$(DESTDIR)$(BINDIR)/pod'
	for m in $(MANS); do install -D -m 644 -t '$(DESTDIR)$(MANDIR)/'man$${m##*.} $$m || exit 1; done
	sed 's|@BINDIR@|$(BINDIR)|' adapter/crispd.service.in >'$(DESTDIR)$(UNITDIR)/crispd.service'
	chmod 644 '$(DESTDIR)$(UNITDIR)/crispd.service'
	install -m 644 adapter/crispd.socket '$(DESTDIR)$(UNITDIR)'
	install -m 644 completions/crisp.bash '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/crisp'
	for p in $(PROGS) pod; do ln -sf crisp '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/'$$p || exit 1; done
	install -m 644 completions/_crisp '$(DESTDIR)$(PREFIX)/share/zsh/site-functions'
	for p in $(PROGS) pod; do install -m 644 completions/$$p.fish \
	  '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d' || exit 1; done
deb: all                         ## a Debian package (scripts/deb): BUILD/crisp_VERSION_ARCH.deb
	BUILD='$(abspath $(BUILD))' scripts/deb
clean:                           ## remove build/
	rm -rf build
help:                            ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST))

FORCE:
.PHONY: all check units lint asan fuzz fuzzers bench bench-pull completions install deb clean help FORCE
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
