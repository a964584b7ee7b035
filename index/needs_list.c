/* SPDX-License-Identifier: Apache-2.0 */
/* One text for each file, so that a layer can keep it in one piece. */
#include "index/needs_list.h"

#include <string.h>

void needs_list_init(struct needs_list *list)
{
    section_init(&list->text);
}

void needs_list_fini(struct needs_list *list)
{
    section_fini(&list->text);
}

void needs_list_clear(struct needs_list *list)
{
    list->text.len = 0;
}

static bool is_last(const struct needs_list *list, const char *item, size_t len)
{
    const struct section *text = &list->text;

    return text->len >= len && memcmp(text->bytes + text->len - len, item, len) == 0;
}

int needs_list_put(struct needs_list *list, enum needs_type type, const char *word, size_t len)
{
    char item[NEEDS_WORD_MAX + 2];

    if (len > NEEDS_WORD_MAX || memchr(word, '\0', len) ||
        list->text.len + len + 2 > NEEDS_LIST_MAX)
        return 0;
    item[0] = (char)type;
    memcpy(item + 1, word, len);
    item[len + 1] = '\0';
    return is_last(list, item, len + 2) ? 0 : section_append(&list->text, item, len + 2);
}

bool needs_next(const char **at, const char *end, struct needs_word *out)
{
    if (*at == end)
        return false;
    out->type = (enum needs_type)(*at)[0];
    out->word = *at + 1;
    *at = out->word + strlen(out->word) + 1;
    return true;
}
