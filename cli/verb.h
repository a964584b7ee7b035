/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of a program: found by name, listed by --help, run. */
#ifndef CLIP_CLI_VERB_H
#define CLIP_CLI_VERB_H

/* The exit code: 0 done, 1 failed, 2 used wrongly. argv[0] is the verb. */
typedef int (*verb_fn)(int argc, char **argv);

struct verb {
    const char *name; /* NULL ends a table */
    const char *operands;
    const char *summary;
    verb_fn run;
};

struct program {
    const char *name;
    const char *about;
    const struct verb *verbs;
};

int verb_main(const struct program *program, int argc, char **argv);

/* The verbs themselves; see each file for what it does. */
int index_run(int argc, char **argv);
int inspect_run(int argc, char **argv);
int ls_run(int argc, char **argv);
int stat_run(int argc, char **argv);
int verify_run(int argc, char **argv);
int cat_run(int argc, char **argv);
int extract_run(int argc, char **argv);
int mount_run(int argc, char **argv);
int umount_run(int argc, char **argv);
int serve_run(int argc, char **argv);
int ps_run(int argc, char **argv);
int stats_run(int argc, char **argv);
int profile_run(int argc, char **argv);
int attach_run(int argc, char **argv);
int detach_run(int argc, char **argv);
int run_run(int argc, char **argv);

#endif
