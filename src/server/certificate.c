/* Two files, and when they are made and change places. */
#include "server/certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"

enum { MINUTE_MS = 60 * 1000, LOOKS_IN_A_LIFE = 60 };

struct one {
    struct fl_buf pem; /* empty: there is none */
    struct fl_tls_certificate facts;
    int64_t made_ms;
};

struct fl_certificate {
    struct fl_arena *arena;
    const char *path, *next_path;
    int64_t life_ms;
    struct one present, next;
    struct fl_tls_pins pins;
};

static void settle_pins(struct fl_certificate *certificate)
{
    certificate->pins.count = 0;
    if (certificate->present.pem.n)
        (void)fl_tls_pins_add(&certificate->pins, fl_str_of(certificate->present.facts.hash));
    if (certificate->next.pem.n)
        (void)fl_tls_pins_add(&certificate->pins, fl_str_of(certificate->next.facts.hash));
}

static int read_one(const char *path, struct one *one, struct fl_err *err)
{
    one->pem = FL_BUF_INIT(FL_TLS_MAX_PEM);
    int r = fl_fs_read(AT_FDCWD, path, FL_TLS_MAX_PEM, &one->pem);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return fl_err_errno(err, r, "cannot read %s", path);
    struct fl_err why;
    if (fl_tls_read_certificate(fl_buf_str(&one->pem), &one->facts, &why) < 0)
        return fl_err_set(err, -EINVAL,
                          "%s: %s; without the file another one is made, which no "
                          "agent knows",
                          path, why.text);
    enum { BACKDATED_MS = 60 * MINUTE_MS };
    one->made_ms = one->facts.from_ms + BACKDATED_MS;
    return 0;
}

static int make_one(struct fl_certificate *certificate, const char *path, struct one *one,
                    struct fl_err *err)
{
    fl_buf_clear(&one->pem);
    one->made_ms = fl_clock_wall_ms();
    int r = fl_tls_make_certificate(one->made_ms, certificate->life_ms, &one->pem, err);
    if (r == 0)
        r = fl_tls_read_certificate(fl_buf_str(&one->pem), &one->facts, err);
    if (r == 0) {
        r = fl_fs_write_atomic(AT_FDCWD, path, fl_buf_str(&one->pem), 0600);
        if (r < 0)
            (void)fl_err_errno(err, r, "cannot write %s", path);
    }
    if (r < 0)
        fl_buf_clear(&one->pem);
    settle_pins(certificate);
    return r;
}

int fl_certificate_open(struct fl_str data_dir, int64_t life_ms,
                        struct fl_certificate **ret_certificate, struct fl_err *err)
{
    struct fl_certificate *certificate = fl_calloc(1, sizeof(*certificate));
    certificate->arena = fl_arena_new();
    certificate->life_ms = life_ms > 0 ? life_ms : FL_CERTIFICATE_LIFE_MS;
    certificate->path =
        fl_str_printf(certificate->arena, "%.*s/keys/tls.pem", FL_STR_ARG(data_dir)).p;
    certificate->next_path =
        fl_str_printf(certificate->arena, "%.*s/keys/tls-next.pem", FL_STR_ARG(data_dir)).p;
    int r = read_one(certificate->path, &certificate->present, err);
    if (r == 0)
        r = read_one(certificate->next_path, &certificate->next, err);
    if (r < 0) {
        fl_certificate_free(certificate);
        return r;
    }
    settle_pins(certificate);
    *ret_certificate = certificate;
    return 0;
}

void fl_certificate_free(struct fl_certificate *certificate)
{
    if (!certificate)
        return;
    fl_buf_free(&certificate->present.pem);
    fl_buf_free(&certificate->next.pem);
    fl_arena_free(certificate->arena);
    free(certificate);
}

const char *fl_certificate_pem(struct fl_certificate *certificate, struct fl_err *err)
{
    if (certificate->present.pem.n == 0 &&
        make_one(certificate, certificate->path, &certificate->present, err) < 0)
        return NULL;
    return certificate->present.pem.p;
}

const struct fl_tls_pins *fl_certificate_pins(const struct fl_certificate *certificate)
{
    return &certificate->pins;
}

/* The rename is what counts: a crash before it leaves the present one in its place. */
static enum fl_certificate_change use_next(struct fl_certificate *certificate, struct fl_err *err)
{
    if (rename(certificate->next_path, certificate->path) < 0) {
        (void)fl_err_errno(err, -errno, "cannot rename %s", certificate->next_path);
        return FL_CERTIFICATE_SAME;
    }
    fl_buf_free(&certificate->present.pem);
    certificate->present = certificate->next;
    certificate->next = (struct one){.pem = FL_BUF_INIT(FL_TLS_MAX_PEM)};
    settle_pins(certificate);
    return FL_CERTIFICATE_USE;
}

enum fl_certificate_change fl_certificate_renew(struct fl_certificate *certificate,
                                                struct fl_err *err)
{
    int64_t now_ms = fl_clock_wall_ms();
    const struct one *present = &certificate->present, *next = &certificate->next;
    int64_t life_ms = present->facts.until_ms - present->made_ms;
    if (present->pem.n == 0)
        return FL_CERTIFICATE_SAME;
    if (next->pem.n)
        return now_ms >= next->made_ms + certificate->life_ms / 6 ? use_next(certificate, err)
                                                                  : FL_CERTIFICATE_SAME;
    if (now_ms < present->made_ms + life_ms / 3 * 2)
        return FL_CERTIFICATE_SAME;
    return make_one(certificate, certificate->next_path, &certificate->next, err) == 0
               ? FL_CERTIFICATE_ANNOUNCE
               : FL_CERTIFICATE_SAME;
}

uint64_t fl_certificate_pace_ms(const struct fl_certificate *certificate)
{
    int64_t pace_ms = FL_MIN(certificate->life_ms / LOOKS_IN_A_LIFE, INT64_C(60) * MINUTE_MS);
    return (uint64_t)FL_MAX(pace_ms, INT64_C(100));
}
