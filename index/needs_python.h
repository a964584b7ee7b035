/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Python module imports when it is imported itself, by its source: the import statements of
 * the module and its classes. Not those in functions, in `except` clauses, and under
 * `if TYPE_CHECKING` or `if __name__ == "__main__"`, which mostly do not run then. Pure; any bytes
 * will do, and take time linear in their number.
 */
#ifndef CLIP_INDEX_NEEDS_PYTHON_H
#define CLIP_INDEX_NEEDS_PYTHON_H

#include "index/needs_list.h"
#include "index/path.h"

/* The source, or the beginning of it. `from a import b` puts "a.b": b may be a module or not.
 * -ENOMEM. */
int needs_of_python(const char *source, size_t len, struct needs_list *out);

/* "3.11" of "python3.11", written to `out` of PYTHON_VERSION_LEN bytes; false: no such name. */
#define PYTHON_VERSION_LEN 8u
bool python_version(const struct path_name *name, char *out);
/* What the interpreter reads before it does anything: modules, and what the C library has for it
 * (glibc's names: others have none of these files). -ENOMEM. */
int needs_of_interpreter(struct needs_list *out);

/* A .pth file, of which Python runs the lines that begin with "import"; installed packages say
 * __import__('a.b') in them. -ENOMEM. */
int needs_of_path_file(const char *text, size_t len, struct needs_list *out);

#endif
