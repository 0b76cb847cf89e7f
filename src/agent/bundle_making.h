/* What the files that write config.json share: one configuration being made. */
#pragma once

#include "agent/bundle.h"
#include "wire/json.h"

/* A place in the container where something of the definition's or the image's is mounted. */
struct fl_bundle_mount {
    struct fl_str destination; /* absolute, plain: no "..", no double slash */
    struct fl_str source;      /* empty: a tmpfs */
    struct fl_str options;     /* a tmpfs's: "<flags of mount(2)> <options>" */
    bool read_only;
    bool is_filled; /* an empty source gets what the image has there */
};

struct fl_bundle_device {
    struct fl_str path;
    bool is_block;
    unsigned major;
    unsigned minor;
    unsigned mode;
    unsigned uid;
    unsigned gid;
    struct fl_str access; /* of "rwm" */
};

enum { FL_BUNDLE_MAX_MOUNTS = 2000 };

struct fl_bundle_making {
    const struct fl_bundle_host *host;
    const struct fl_launch *launch;
    const struct fl_bundle_paths *paths;
    struct fl_arena *arena;
    struct fl_json_writer jw;
    struct fl_buf *orders; /* for the shim, beside the configuration */
    struct fl_str hostname;
    struct fl_bundle_mount *mounts; /* in the order of finding; destinations differ */
    size_t mount_count;
    struct fl_bundle_device *devices; /* those of the definition */
    size_t device_count;
    struct fl_bundle_security security;
    struct fl_buf note;
    struct fl_err *err;
};

/* A sentence for the log, beside what else was not done as asked. */
void fl_bundle_note(struct fl_bundle_making *m, const char *fmt, ...) FL_PRINTF(2, 3);
void fl_bundle_write_strings(struct fl_json_writer *jw, const char *key, const struct fl_str *items,
                             size_t count);
/* "//a/./b/../c" as "/a/c", in the arena; empty for what is not absolute or holds a control
 * character. */
struct fl_str fl_bundle_plain_path(struct fl_str path, struct fl_arena *arena);
/* Whether a plain path is `dir` or lies in it. */
bool fl_bundle_lies_in(struct fl_str path, const char *dir);

/* bundle_limits.c: process.rlimits and linux.resources. */
int fl_bundle_write_rlimits(struct fl_bundle_making *m);
void fl_bundle_write_resources(struct fl_bundle_making *m);

/* bundle_mounts.c: finds what is to be mounted (and makes volumes' directories), then writes it. */
int fl_bundle_find_mounts(struct fl_bundle_making *m);
void fl_bundle_write_mounts(struct fl_bundle_making *m);

/* bundle_volumes.c */
/* Adds a mount unless something is mounted there already, which ret_added tells. */
int fl_bundle_add_mount(struct fl_bundle_making *m, const struct fl_bundle_mount *mount,
                        bool *ret_added);
/* The mounts of the task's volumes, other containers' and the image's own. */
int fl_bundle_find_volumes(struct fl_bundle_making *m);

/* bundle_devices.c: stats the definition's devices; writes linux.devices, and the rules that allow
 * them (after those that are written already). */
int fl_bundle_find_devices(struct fl_bundle_making *m);
void fl_bundle_write_devices(struct fl_bundle_making *m);
void fl_bundle_write_device_rules(struct fl_bundle_making *m);

/* bundle_namespaces.c: linux.namespaces and linux.sysctl; network sysctls are the shim's orders. */
void fl_bundle_write_namespaces(struct fl_bundle_making *m);
int fl_bundle_write_sysctls(struct fl_bundle_making *m);
