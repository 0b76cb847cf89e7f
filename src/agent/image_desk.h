/* Where people on this machine ask for an image (`fairlead image pull`): a socket that only root
 * reaches, <agent data>/images/FL_IMAGE_DESK_SOCKET.
 *
 * Who connects writes one line, an image's name, and is told in lines of JSON: while it lasts
 *   {"layers":[{"digest":"sha256:…","state":"waiting|pulling|here|pulled","bytes":…,"bytesDone":…}]}
 * (no layers while the name is looked up), and at the end {"digest":"sha256:…"} or {"error":"…"},
 * which begins with ECS's name of the failure. Who leaves stops nothing: others may wait for the
 * same pull. */
#pragma once

#include <uv.h>

#include "agent/images.h"

#define FL_IMAGE_DESK_SOCKET "pull.sock"

enum { FL_IMAGE_DESK_CLIENTS_MAX = 16, FL_IMAGE_DESK_TICK_MS = 200 };

struct fl_image_desk;

struct fl_image_desk_config {
    uv_loop_t *loop;
    struct fl_images *images; /* closed before the desk is */
    struct fl_str dir;        /* for the socket; nobody but us may reach into it */
    const char *(*failure_name)(enum fl_image_failure failure);
};

int fl_image_desk_open(const struct fl_image_desk_config *config, struct fl_image_desk **ret_desk,
                       struct fl_err *err);
/* The memory goes when the loop has closed what is open. NULL is allowed. */
void fl_image_desk_close(struct fl_image_desk *desk);
/* Connects to the desk in dir. -ENOENT, -ECONNREFUSED: no agent is there. */
int fl_image_desk_connect(const char *dir, int *ret_fd);
