/* SPDX-License-Identifier: Apache-2.0 */
/* A container as the control socket tells of it: always id, state, root, created and spec; the rest
 * when there is something to tell. */
#include "container.h"
#include "say.h"

static void add_image(json_t *object, const struct image *image)
{
    json_object_set_new(object, "reference", json_string(image->info.reference));
    json_object_set_new(object, "manifest_digest", json_string(image->info.manifest_digest));
    json_object_set_new(object, "lower", json_string(image->mountpoint));
    json_object_set_new(object, "counters", images_counters_json(image));
}

json_t *container_json(const struct container *c)
{
    char created[SAY_TIME_LEN];
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", c->id, "state", container_state_name(c->state),
                  "root", c->spec.dir ? c->spec.dir : c->root, "created",
                  say_time(c->created_s, created), "spec", spec_write(&c->spec));
    if (!object)
        return NULL;
    if (c->bundle)
        json_object_set_new(object, "bundle", json_string(c->bundle));
    if (c->spec.owner)
        json_object_set_new(object, "owner", json_integer(c->spec.owner));
    if (c->index_path)
        json_object_set_new(object, "index", json_string(c->index_path));
    if (c->state == CONTAINER_READY)
        json_object_set_new(object, "mount_seconds", json_real((double)c->mount_ns / 1e9));
    if (c->state == CONTAINER_INDEXING)
        json_object_set_new(object, "progress", indexes_progress(&c->index_wait));
    if (c->why.code < 0)
        json_object_set_new(object, "why", json_string(c->why.message));
    if (c->image)
        add_image(object, c->image);
    return object;
}
