/* SPDX-License-Identifier: Apache-2.0 */
/* As Docker reads it, because images are written for that: a name is looked up first, even one of
 * digits; a number need not be there; a user without a group gets the one of passwd (0 if it is
 * not there) and those groups that list it; with a group, only that. */
#include "accounts.h"

#include "reply.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 7

/* A line in fields, none copied. */
struct entry {
    const char *field[FIELDS_MAX];
    size_t len[FIELDS_MAX];
    unsigned n;
};

/* Returns the next line, or NULL after the last. */
static const char *next_entry(const char *text, struct entry *out)
{
    size_t line = text ? strcspn(text, "\n") : 0;
    out->n = 0;
    if (!text || !*text)
        return NULL;
    const char *end = text + line;
    for (const char *at = text; out->n < FIELDS_MAX; at++) {
        size_t len = strcspn(at, ":\n");
        out->field[out->n] = at;
        out->len[out->n++] = len;
        at += len;
        if (at >= end)
            break;
    }
    return *end ? end + 1 : end;
}

static int parse_number(const char *text, size_t len, uint32_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]) || n > UINT32_MAX)
            return -EINVAL;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    if (len == 0 || n >= UINT32_MAX) /* the last one means "no change" to the kernel */
        return -EINVAL;
    *out = (uint32_t)n;
    return 0;
}

static bool is_field(const struct entry *entry, unsigned i, const char *text, size_t len)
{
    return i < entry->n && entry->len[i] == len && memcmp(entry->field[i], text, len) == 0;
}

/* The entry of that name, or else of that number. */
static bool find_entry(const char *text, const char *name, size_t len, struct entry *out)
{
    struct entry entry;
    uint32_t number, id;
    for (const char *at = text; (at = next_entry(at, &entry));) {
        if (is_field(&entry, 0, name, len)) {
            *out = entry;
            return true;
        }
    }
    if (parse_number(name, len, &number) < 0)
        return false;
    for (const char *at = text; (at = next_entry(at, &entry));) {
        if (entry.n > 2 && parse_number(entry.field[2], entry.len[2], &id) == 0 && id == number) {
            *out = entry;
            return true;
        }
    }
    return false;
}

static bool lists_member(const struct entry *group, const char *name, size_t len)
{
    if (group->n < 4)
        return false;
    const char *at = group->field[3], *end = at + group->len[3];
    while (at < end) {
        size_t n = strcspn(at, ",:\n");
        if (n == len && memcmp(at, name, len) == 0)
            return true;
        at += n + 1;
    }
    return false;
}

static void add_groups(const char *text, const struct entry *user, struct account *account)
{
    struct entry group;
    uint32_t gid;
    for (const char *at = text; (at = next_entry(at, &group));) {
        if (!lists_member(&group, user->field[0], user->len[0]) ||
            parse_number(group.field[2], group.len[2], &gid) < 0 || gid == account->gid)
            continue;
        if (account->n_groups < ACCOUNTS_GROUPS_MAX)
            account->groups[account->n_groups++] = gid;
    }
}

static void take_home(const struct entry *user, struct account *account)
{
    if (user->n < 6 || user->len[5] >= sizeof(account->home) || user->field[5][0] != '/')
        return;
    memcpy(account->home, user->field[5], user->len[5]);
    account->home[user->len[5]] = '\0';
}

static int find_user(const char *name, size_t len, const char *passwd, struct account *account,
                     struct entry *out, struct clip_error *err)
{
    *out = (struct entry){0};
    if (find_entry(passwd, name, len, out) && out->n > 3 &&
        parse_number(out->field[2], out->len[2], &account->uid) == 0 &&
        parse_number(out->field[3], out->len[3], &account->gid) == 0) {
        take_home(out, account);
        return 0;
    }
    out->n = 0;
    if (parse_number(name, len, &account->uid) == 0)
        return 0;
    return reply_error(err, -EINVAL, "the image's /etc/passwd has no user '%.*s'",
                       (int)(len > 64 ? 64 : len), name);
}

static int find_group(const char *name, const char *group, struct account *account,
                      struct clip_error *err)
{
    struct entry entry;
    size_t len = strlen(name);
    if (find_entry(group, name, len, &entry) && entry.n > 2 &&
        parse_number(entry.field[2], entry.len[2], &account->gid) == 0)
        return 0;
    if (parse_number(name, len, &account->gid) == 0)
        return 0;
    return reply_error(err, -EINVAL, "the image's /etc/group has no group '%.64s'", name);
}

int accounts_find(const char *user, const char *passwd, const char *group, struct account *out,
                  struct clip_error *err)
{
    struct account account = {0};
    struct entry entry;
    const char *name = user && *user ? user : "0";
    size_t len = strcspn(name, ":");
    int r = find_user(len > 0 ? name : "0", len > 0 ? len : 1, passwd, &account, &entry, err);
    if (r < 0)
        return r;
    if (name[len] == ':' && name[len + 1])
        r = find_group(name + len + 1, group, &account, err);
    else if (entry.n > 0)
        add_groups(group, &entry, &account);
    if (r == 0)
        *out = account;
    return r;
}
