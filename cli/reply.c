/* SPDX-License-Identifier: Apache-2.0 */
/* A negative errno from the library is what a client sees as a name and as an HTTP status; the
 * table has those that callers can do something about, everything else is 500. */
#include "reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int reply_error(struct clip_error *err, int code, const char *fmt, ...)
{
    va_list ap;
    if (!err)
        return code;
    err->code = code;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    return code;
}

static json_t *find_member(json_t *object, const char *name)
{
    json_t *member = json_object_get(object, name);
    return json_is_null(member) ? NULL : member;
}

int reply_text(json_t *object, const char *name, char **out, struct clip_error *err)
{
    json_t *member = find_member(object, name);
    if (!member)
        return 0;
    const char *text = json_string_value(member);
    if (!text || !*text || strlen(text) != json_string_length(member))
        return reply_error(err, -EINVAL, "%s is a string that is not empty", name);
    char *copy = strdup(text);
    if (!copy)
        return reply_error(err, -ENOMEM, "out of memory");
    *out = copy;
    return 0;
}

int reply_path(json_t *object, const char *name, char **out, struct clip_error *err)
{
    const char *text = json_string_value(find_member(object, name));
    if (text && text[0] != '/')
        return reply_error(err, -EINVAL, "%s is an absolute path, not '%.200s'", name, text);
    return reply_text(object, name, out, err);
}

int reply_flag(json_t *object, const char *name, bool *out, struct clip_error *err)
{
    json_t *member = find_member(object, name);
    if (!member)
        return 0;
    if (!json_is_boolean(member))
        return reply_error(err, -EINVAL, "%s is true or false", name);
    *out = json_is_true(member);
    return 0;
}

int reply_number(json_t *object, const char *name, json_int_t *out, struct clip_error *err)
{
    json_t *member = find_member(object, name);
    if (!member)
        return 0;
    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return reply_error(err, -EINVAL, "%s is a whole number", name);
    *out = json_integer_value(member);
    return 0;
}

static const struct {
    int code;
    const char *name;
    int status;
} codes[] = {
    {-EINVAL, "EINVAL", 400},       {-EBADMSG, "EBADMSG", 422},
    {-EILSEQ, "EILSEQ", 422},       {-ENOENT, "ENOENT", 404},
    {-ENOTDIR, "ENOTDIR", 400},     {-ENAMETOOLONG, "ENAMETOOLONG", 400},
    {-EEXIST, "EEXIST", 409},       {-EBUSY, "EBUSY", 409},
    {-ENOTEMPTY, "ENOTEMPTY", 409}, {-EPERM, "EPERM", 403},
    {-EACCES, "EACCES", 403},       {-ENOSPC, "ENOSPC", 507},
    {-ESHUTDOWN, "ESHUTDOWN", 503}, {-ECANCELED, "ECANCELED", 409},
    {-EUSERS, "EUSERS", 503},       {-ETIMEDOUT, "ETIMEDOUT", 504},
    {-ENOSYS, "ENOSYS", 501},       {-EOPNOTSUPP, "EOPNOTSUPP", 405},
};

#define N_CODES (sizeof(codes) / sizeof(codes[0]))

static size_t find_code(int code)
{
    size_t i = 0;
    while (i < N_CODES && codes[i].code != code)
        i++;
    return i;
}

const char *reply_name(int code)
{
    size_t i = find_code(code);
    return i < N_CODES ? codes[i].name : "EIO";
}

int reply_status(int code)
{
    size_t i = find_code(code);
    return i < N_CODES ? codes[i].status : 500;
}

json_t *reply_failure(const struct clip_error *err)
{
    json_t *failure = json_pack("{s:s, s:s}", "error", err->message, "code", reply_name(err->code));
    if (failure)
        return failure;
    return json_pack("{s:s, s:s}", "error", "it failed, with a message that is not UTF-8", "code",
                     reply_name(err->code));
}
