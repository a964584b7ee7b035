/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a command line is:
 * - args_parse() takes word by word: take_long() and take_letters() find the option in the groups,
 *   take_value() finds its value in the same word or the next, args_choice() or store() checks it.
 * - What is no option is an operand; at the end their number must fit. What another program is to
 *   be told (`clip run IMAGE ls -l`) is left alone.
 * - `--help` prints the same tables and ends the command.
 * Possible failure modes are all the user's: each is one sentence and exit code 2.
 */
#include "args.h"

#include "say.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE  2
#define HELP_COLUMN 32

/* The words that are left. */
struct words {
    int argc, next;
    char **argv;
};

static const struct {
    const char *suffix;
    uint64_t factor;
} units[] = {
    {"", 1},
    {"B", 1},
    {"K", 1ULL << 10},
    {"KiB", 1ULL << 10},
    {"KB", 1000},
    {"M", 1ULL << 20},
    {"MiB", 1ULL << 20},
    {"MB", 1000 * 1000},
    {"G", 1ULL << 30},
    {"GiB", 1ULL << 30},
    {"GB", 1000 * 1000 * 1000},
    {"T", 1ULL << 40},
    {"TiB", 1ULL << 40},
    {"TB", 1000ULL * 1000 * 1000 * 1000},
};

static int read_number(const char *text, uint64_t *out, char **end)
{
    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    errno = 0;
    unsigned long long n = strtoull(text, end, 10);
    if (errno)
        return -errno;
    *out = n;
    return 0;
}

int args_size(const char *text, uint64_t *out)
{
    uint64_t n;
    char *end;
    int r = read_number(text, &n, &end);
    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcasecmp(end, units[i].suffix) != 0)
            continue;
        return __builtin_mul_overflow(n, units[i].factor, out) ? -ERANGE : 0;
    }
    return -EINVAL;
}

/* ---- help */

static void print_help_text(const char *help, int column)
{
    for (; *help; help++) {
        putchar(*help);
        if (*help == '\n')
            printf("%*s", column, "");
    }
    putchar('\n');
}

static void print_option(const struct args_option *o)
{
    char letter[5] = "    ", name[64];
    if (o->letter)
        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    int len = snprintf(name, sizeof(name), "  %s--%s%s%s", letter, o->name, o->value ? " " : "",
                       o->value ? o->value : "");
    if (len >= HELP_COLUMN - 1)
        printf("%s\n%*s", name, HELP_COLUMN, "");
    else
        printf("%-*s", HELP_COLUMN, name);
    print_help_text(o->help, HELP_COLUMN);
}

static int print_help(const struct args *args)
{
    printf("usage: %s %s [OPTION...]%s%s\n\n%s\n", args->program, args->verb,
           *args->operands ? " " : "", args->operands, args->about);
    for (const struct args_group *g = args->groups; g->options; g++) {
        printf("\n%s\n", g->title);
        for (const struct args_option *o = g->options; o->name; o++)
            print_option(o);
    }
    return 0;
}

/* ---- options */

static int refuse(const struct args *args, const char *what, const char *about)
{
    say_error("%s: %s%s; see '%s %s --help'", args->verb, what, about, args->program, args->verb);
    return EXIT_USAGE;
}

static const struct args_option *find_option(const struct args *args, const char *name, size_t len,
                                             char letter, void **out_fields)
{
    for (const struct args_group *g = args->groups; g->options; g++) {
        for (const struct args_option *o = g->options; o->name; o++) {
            bool same = name ? strlen(o->name) == len && memcmp(o->name, name, len) == 0
                             : letter && o->letter == letter;
            if (!same)
                continue;
            *out_fields = g->fields;
            return o;
        }
    }
    return NULL;
}

/* Of choices, what `at` begins with; the next is behind it and a bar. */
static size_t choice_len(const char *at)
{
    return strcspn(at, "|");
}

static bool is_choice(const char *choices, const char *text)
{
    size_t len = choice_len(choices);
    if (strlen(text) == len && memcmp(choices, text, len) == 0)
        return true;
    return choices[len] && is_choice(choices + len + 1, text);
}

int args_choice(const char *name, const char *choices, const char *text)
{
    char list[128] = "";
    size_t n = 0;
    if (is_choice(choices, text))
        return 0;
    for (const char *at = choices;; at += choice_len(at) + 1) {
        const char *bar = at + choice_len(at);
        const char *between = !*bar ? "" : strchr(bar + 1, '|') ? ", " : " or ";
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%.*s%s", (int)choice_len(at), at,
                              between);
        if (!*bar || n >= sizeof(list))
            break;
    }
    say_error("%s is %s, not '%s'", name, list, text);
    return EXIT_USAGE;
}

static int store_secret(char *text, const char **out)
{
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    memset(text, '*', strlen(text));
    *out = copy;
    return 0;
}

static int store_number(const char *text, unsigned *out)
{
    uint64_t n;
    char *end;
    int r = read_number(text, &n, &end);
    if (r < 0 || *end)
        return -EINVAL;
    if (n > UINT32_MAX)
        return -ERANGE;
    *out = (unsigned)n;
    return 0;
}

static int store_in_list(const char *text, const char **list)
{
    size_t n = 0;
    while (list[n])
        n++;
    if (n == ARGS_LIST_MAX)
        return -E2BIG;
    list[n] = text;
    return 0;
}

static int store(const struct args_option *o, void *fields, char *value)
{
    void *field = (char *)fields + o->field;
    switch (o->kind) {
    case ARGS_FLAG:
        *(bool *)field = true;
        return 0;
    case ARGS_TEXT:
    case ARGS_CHOICE:
        *(const char **)field = value;
        return 0;
    case ARGS_SECRET:
        return store_secret(value, field);
    case ARGS_SIZE:
        return args_size(value, field);
    case ARGS_NUMBER:
        return store_number(value, field);
    case ARGS_LIST:
        return store_in_list(value, field);
    }
    return -EINVAL;
}

/* `inside` is the value in the option's own word, or NULL. */
static int take_value(const struct args *args, struct words *words, const struct args_option *o,
                      void *fields, char *inside)
{
    char *value = inside;
    if (!value && o->kind != ARGS_FLAG) {
        if (words->next == words->argc)
            return refuse(args, o->name, " needs a value");
        value = words->argv[words->next++];
    }
    if (o->kind == ARGS_CHOICE) {
        char name[64];
        snprintf(name, sizeof(name), "--%s", o->name);
        int r = args_choice(name, o->value, value);
        if (r != 0)
            return r;
    }
    int r = store(o, fields, value);
    if (r < 0) {
        char what[160];
        snprintf(what, sizeof(what), "'%.80s' is no %s for --", value ? value : "", o->value);
        return refuse(args, what, o->name);
    }
    return ARGS_GO;
}

static int take_long(const struct args *args, struct words *words, char *word)
{
    void *fields;
    char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    if (!equals && strcmp(word, "help") == 0)
        return print_help(args);
    const struct args_option *o = find_option(args, word, len, 0, &fields);
    if (!o)
        return refuse(args, "there is no option --", word);
    if (equals && o->kind == ARGS_FLAG)
        return refuse(args, o->name, " takes no value");
    return take_value(args, words, o, fields, equals ? equals + 1 : NULL);
}

static int take_letters(const struct args *args, struct words *words, char *letters)
{
    for (char *l = letters; *l; l++) {
        void *fields;
        if (*l == 'h')
            return print_help(args);
        const struct args_option *o = find_option(args, NULL, 0, *l, &fields);
        if (!o)
            return refuse(args, "there is no option -", l);
        bool flag = o->kind == ARGS_FLAG;
        int r = take_value(args, words, o, fields, flag || !l[1] ? NULL : l + 1);
        if (r != ARGS_GO || !flag)
            return r;
    }
    return ARGS_GO;
}

static int take_operand(struct args *args, const char *word)
{
    if (args->n_operands == args->max_operands)
        return refuse(args, "one word too many: ", word);
    args->operand[args->n_operands++] = word;
    return ARGS_GO;
}

int args_parse(struct args *args, int argc, char **argv)
{
    struct words words = {.argc = argc, .next = 1, .argv = argv};
    bool options = true;
    while (words.next < argc) {
        char *word = argv[words.next++];
        int r = ARGS_GO;
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && strncmp(word, "--", 2) == 0)
            r = take_long(args, &words, word + 2);
        else if (options && word[0] == '-' && word[1])
            r = take_letters(args, &words, word + 1);
        else
            r = take_operand(args, word);
        if (r != ARGS_GO)
            return r;
        if (args->takes_rest && args->n_operands == args->max_operands) {
            args->rest = argv + words.next;
            break;
        }
    }
    if (args->n_operands < args->min_operands)
        return refuse(args, "it needs ", args->operands);
    return ARGS_GO;
}
