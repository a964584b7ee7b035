/* SPDX-License-Identifier: Apache-2.0 */
/* What a command printed counts only when it arrived: stdout is flushed here, and a full disk makes
 * the exit code 1. A reader that went away (`clip ls | head`) is no news to anybody. */
#include "verb.h"

#include "say.h"

#include <clip.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VERB_LEN_MAX 16

static const struct verb *find_verb(const struct program *program, const char *name)
{
    for (const struct verb *v = program->verbs; v->name; v++) {
        if (strcmp(v->name, name) == 0)
            return v;
    }
    return NULL;
}

/* How many letters must be put in, taken out or changed to make `b` of `a`. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[VERB_LEN_MAX + 1];
    size_t len = strlen(b);
    for (unsigned j = 0; j <= len; j++)
        row[j] = j;
    for (unsigned i = 0; a[i]; i++) {
        unsigned before = row[0]++; /* of the row above, one to the left */
        for (size_t j = 1; j <= len; j++) {
            unsigned changed = before + (a[i] != b[j - 1]);
            unsigned added = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            before = row[j];
            row[j] = changed < added ? changed : added;
        }
    }
    return row[len];
}

/* What may have been meant: it shares more than half of its letters. NULL: nothing. */
static const struct verb *find_like(const struct program *program, const char *name)
{
    const struct verb *best = NULL;
    size_t len = strlen(name);
    unsigned fewest = 3;
    for (const struct verb *v = program->verbs; len <= VERB_LEN_MAX && v->name; v++) {
        unsigned n = distance(name, v->name);
        if (n < fewest && 2 * n < len) {
            best = v;
            fewest = n;
        }
    }
    return best;
}

static void say_unknown(const struct program *program, const char *name)
{
    const struct verb *like = find_like(program, name);
    if (like)
        say_error("there is no verb '%s'; did you mean '%s'?", name, like->name);
    else
        say_error("there is no verb '%s'; see '%s --help'", name, program->name);
}

static void print_usage(const struct program *program, FILE *stream)
{
    fprintf(stream, "usage: %s VERB [OPTION...] ...\n\n%s\n\n", program->name, program->about);
    for (const struct verb *v = program->verbs; v->name; v++)
        fprintf(stream, "  %-8s %-22s %s\n", v->name, v->operands, v->summary);
    fprintf(stream, "\n'%s VERB --help' tells the options of a verb; '%s --version' the version.\n",
            program->name, program->name);
}

static int flush_stdout(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    if (errno != EPIPE)
        say_error("cannot write the output: %s", strerror(errno));
    return code ? code : 1;
}

static int run_verb(const struct program *program, int argc, char **argv)
{
    const struct verb *verb = find_verb(program, argv[0]);
    if (!verb) {
        say_unknown(program, argv[0]);
        return 2;
    }
    return verb->run(argc, argv);
}

/* "help VERB" is "VERB --help". */
static int help_verb(const struct program *program, char *name)
{
    char help[] = "--help";
    char *argv[] = {name, help, NULL};
    return run_verb(program, 2, argv);
}

static int dispatch(const struct program *program, int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) {
        printf("%s %s\n", program->name, clip_version());
        return 0;
    }
    if (strcmp(word, "help") == 0 && argc > 2)
        return help_verb(program, argv[2]);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_usage(program, stdout);
        return 0;
    }
    if (argc < 2) {
        print_usage(program, stderr);
        return 2;
    }
    return run_verb(program, argc - 1, argv + 1);
}

int verb_main(const struct program *program, int argc, char **argv)
{
    say_program(program->name);
    return flush_stdout(dispatch(program, argc, argv));
}
