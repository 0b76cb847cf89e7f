/* The store's own descriptors, shared by its files (store.c, refs.c, image.c, load.c). */
#pragma once

struct fl_image_store {
    int root_fd;
    int blobs_fd; /* blobs/sha256 */
    int refs_fd;
    int tmp_fd;
};
