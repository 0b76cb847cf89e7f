/* GetRandomPassword: characters drawn evenly from those that are allowed, at least one of each kind
 * where that is wanted, in an order that says nothing about it. */
#include "base/id.h"
#include "server/secrets_internal.h"

enum { LENGTH_DEFAULT = 32, LENGTH_MAX = 4096, KINDS = 4, CHARACTERS = 128 };

static const char *const all_of[KINDS] = {
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
};

struct alphabet {
    char text[CHARACTERS];
    size_t n;
};

/* Below bound, evenly: what is beyond its last multiple is drawn again. */
static size_t draw(size_t bound)
{
    uint32_t number, end = (uint32_t)(UINT32_MAX / bound * bound);
    do
        fl_random_bytes(&number, sizeof(number));
    while (number >= end);
    return number % bound;
}

static void add_all(struct alphabet *alphabet, const char *text, struct fl_str excluded)
{
    for (; *text; text++)
        if (fl_str_index(excluded, *text) < 0)
            alphabet->text[alphabet->n++] = *text;
}

static bool is_left_out(const struct secrets_GetRandomPasswordRequest *in, size_t kind)
{
    const bool left_out[KINDS] = {in->ExcludeLowercase, in->ExcludeUppercase, in->ExcludeNumbers,
                                  in->ExcludePunctuation};
    return left_out[kind];
}

static void shuffle(char *text, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t other = draw(i);
        char c = text[i - 1];
        text[i - 1] = text[other];
        text[other] = c;
    }
}

void fl_secrets_make_password(struct fl_secrets_call *call)
{
    const struct secrets_GetRandomPasswordRequest *in = call->input;
    struct secrets_GetRandomPasswordResponse *out = call->output;
    struct alphabet kinds[KINDS] = {0}, all = {0};
    bool each = !FL_HAS(in, secrets_GetRandomPasswordRequest, RequireEachIncludedType) ||
                in->RequireEachIncludedType;
    size_t length = FL_HAS(in, secrets_GetRandomPasswordRequest, PasswordLength)
                        ? (size_t)in->PasswordLength
                        : LENGTH_DEFAULT;
    size_t n = 0;
    char text[LENGTH_MAX + KINDS];
    for (size_t i = 0; i < KINDS; i++) {
        if (is_left_out(in, i))
            continue;
        add_all(&kinds[i], all_of[i], in->ExcludeCharacters);
        add_all(&all, all_of[i], in->ExcludeCharacters);
        if (each && kinds[i].n)
            text[n++] = kinds[i].text[draw(kinds[i].n)];
    }
    if (in->IncludeSpace)
        add_all(&all, " ", in->ExcludeCharacters);
    if (all.n == 0 || n > length) {
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        all.n == 0 ? "The password can't be generated: all characters are excluded."
                                   : "The password length is too short for the required character "
                                     "types.");
        return;
    }
    while (n < length)
        text[n++] = all.text[draw(all.n)];
    shuffle(text, n);
    FL_SET(out, secrets_GetRandomPasswordResponse, RandomPassword,
           fl_str_dup(call->arena, (struct fl_str){text, n}));
}
