/* What a registry says of who we should be: the first byte chooses challenge, token, redirect,
 * range or credentials. What is accepted is put to use as the agent would. */
#include "image/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const char registry[] = "https://registry.example:5000";

static void try_challenge(struct fl_str text, struct fl_arena *arena)
{
    struct fl_challenge challenge = fl_challenge_parse(text, arena);
    struct fl_origin origin;
    struct fl_str url, rest;
    struct fl_err err;
    if (challenge.kind != FL_CHALLENGE_BEARER ||
        fl_token_url(fl_str_of(registry), &challenge, FL_STR("a/b"), arena, &url, &err) < 0)
        return;
    FL_ASSERT(fl_origin_parse(url, &origin, &rest));
    FL_ASSERT(origin.tls && !fl_host_is_own(origin.host));
}

static void try_redirect(struct fl_str text, struct fl_arena *arena)
{
    struct fl_origin from, to;
    struct fl_str url, rest;
    struct fl_err err;
    bool same;
    if (fl_redirect_resolve(fl_str_of(registry), text, arena, &url, &same, &err) < 0)
        return;
    FL_ASSERT(fl_origin_parse(fl_str_of(registry), &from, &rest));
    FL_ASSERT(fl_origin_parse(url, &to, &rest));
    FL_ASSERT(to.tls && !fl_host_is_own(to.host) && same == fl_origin_eq(&from, &to));
}

static void try_token(struct fl_str text, struct fl_arena *arena)
{
    struct fl_str token;
    int64_t lifetime_s;
    struct fl_err err;
    if (fl_token_parse(text, arena, &token, &lifetime_s, &err) < 0)
        return;
    FL_ASSERT(token.n > 0 && lifetime_s > 0);
    for (size_t i = 0; i < token.n; i++)
        FL_ASSERT(token.p[i] > ' ' && token.p[i] <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fl_registry_logins logins;
    struct fl_registries registries;
    struct fl_err err;
    if (n == 0)
        return 0;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str text = {(const char *)bytes + 1, n - 1};
    switch (bytes[0] % 6) {
    case 0:
        try_challenge(text, arena);
        break;
    case 1:
        try_token(text, arena);
        break;
    case 2:
        try_redirect(text, arena);
        break;
    case 3:
        (void)fl_content_range_fits(text, 100, 200);
        break;
    case 4:
        (void)fl_registry_logins_parse(FL_STR("docker"), text, arena, &logins, &err);
        break;
    case 5:
        (void)fl_registries_parse(text, arena, &registries, &err);
        break;
    }
    return 0;
}
