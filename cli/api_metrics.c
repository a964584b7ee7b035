/* SPDX-License-Identifier: Apache-2.0 */
/* The engine counts what it does itself; these are clipd's own: containers, images, index runs and
 * the control socket. Labels are states, of which there are a handful. */
#include "api.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void put_head(FILE *stream, const char *name, const char *type, const char *help)
{
    fprintf(stream, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_number(FILE *stream, const char *name, const char *type, const char *help,
                       uint64_t value)
{
    put_head(stream, name, type, help);
    fprintf(stream, "%s %" PRIu64 "\n", name, value);
}

static void put_states(FILE *stream, const struct containers *containers)
{
    unsigned n[CONTAINER_LOST + 1] = {0};
    for (const struct container *c = containers->first; c; c = c->next)
        n[c->state]++;
    put_head(stream, "clip_containers", "gauge", "Containers by state.");
    for (int state = 0; state <= CONTAINER_LOST; state++)
        fprintf(stream, "clip_containers{state=\"%s\"} %u\n",
                container_state_name((enum container_state)state), n[state]);
}

static unsigned count_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", ".." and this one */
}

static void put_ours(FILE *stream, const struct daemon *d)
{
    put_states(stream, &d->containers);
    put_number(stream, "clip_containers_mounted_total", "counter", "Containers that became ready.",
               d->containers.n_mounted);
    put_number(stream, "clip_containers_failed_total", "counter",
               "Containers that did not become ready.", d->containers.n_failed);
    put_number(stream, "clip_images_mounted", "gauge",
               "Images that are mounted, each for all its containers.", d->images.n_images);
    put_number(stream, "clip_index_jobs", "gauge", "Images being indexed.", d->indexes.n_jobs);
    put_number(stream, "clip_index_jobs_done_total", "counter", "Images that were indexed.",
               d->indexes.n_indexed);
    put_number(stream, "clip_index_jobs_failed_total", "counter",
               "Images that could not be indexed.", d->indexes.n_failed);
    put_number(stream, "clip_control_connections", "gauge", "Clients of the control socket.",
               d->control.n_conns);
    put_number(stream, "clip_control_calls_total", "counter", "Calls of the control socket.",
               d->control.n_calls);
    put_number(stream, "clip_control_refused_total", "counter",
               "Clients refused: no HTTP, too long, too slow, too many.", d->control.n_refused);
    put_number(stream, "clip_open_files", "gauge", "Open descriptors.", count_files());
    put_number(stream, "clip_open_files_max", "gauge", "Descriptors that may be open.", d->n_files);
}

char *api_metrics(struct daemon *daemon, size_t *out_len)
{
    char *engine = NULL, *text = NULL;
    size_t len = 0, text_len = 0;
    if (clip_engine_metrics(daemon->host.engine, &engine, &len) < 0)
        return NULL;
    FILE *stream = open_memstream(&text, &text_len);
    if (stream) {
        fwrite(engine, 1, len, stream);
        put_ours(stream, daemon);
    }
    free(engine);
    if (!stream || fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    *out_len = text_len;
    return text;
}
