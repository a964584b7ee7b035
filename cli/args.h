/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line by table: one table parses the options and is what --help prints, so that no
 * option goes untaught. `--opt=VALUE`, `--opt VALUE`, `-o VALUE`, `-oVALUE`, `-ab`, `--`.
 */
#ifndef CLIP_CLI_ARGS_H
#define CLIP_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum args_kind {
    ARGS_FLAG,   /* bool */
    ARGS_TEXT,   /* const char *, borrowed from argv */
    ARGS_CHOICE, /* const char *, one of what `value` lists: auto|on|off; borrowed from argv */
    ARGS_SECRET, /* const char *, a copy; argv is wiped, because ps shows it */
    ARGS_SIZE,   /* uint64_t, bytes: 4096, 512K, 1MiB, 2GB */
    ARGS_NUMBER, /* unsigned */
    ARGS_LIST,   /* const char *[ARGS_LIST_MAX + 1], NULL terminated; may be given again */
};

#define ARGS_LIST_MAX     64
#define ARGS_GROUPS_MAX   5
#define ARGS_OPERANDS_MAX 2

struct args_option {
    const char *name; /* without the dashes; NULL ends a table */
    char letter;      /* 0: none */
    enum args_kind kind;
    const char *value; /* what --help calls the value; NULL for flags */
    const char *help;
    size_t field; /* offset of what it fills, in the group's struct */
};

struct args_group {
    const char *title;
    const struct args_option *options;
    void *fields;
};

struct args {
    /* public */
    const char *program, *verb;
    const char *operands; /* as the usage line shows them */
    const char *about;
    unsigned min_operands, max_operands;
    bool takes_rest; /* what comes after the last operand belongs to another program */
    struct args_group groups[ARGS_GROUPS_MAX + 1]; /* the rest zero */
    /* read-only */
    const char *operand[ARGS_OPERANDS_MAX];
    unsigned n_operands;
    char **rest; /* NULL terminated, or NULL */
};

#define ARGS_GO (-1)

/* argv[0] is the verb. ARGS_GO, or the exit code of a command that is over: 0 after --help, 2 after
 * a sentence about what was wrong. */
int args_parse(struct args *args, int argc, char **argv);

/* Is `text` one of `choices` (auto|on|off)? 0, or 2 after a sentence about `name`. */
int args_choice(const char *name, const char *choices, const char *text);

/* -EINVAL or -ERANGE. */
int args_size(const char *text, uint64_t *out);

#endif
