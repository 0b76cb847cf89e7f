/* A fetch whose sink is a pipe. What the pipe cannot take at once is kept, one piece at most, and
 * the fetch waits until the pipe has room: so a slow unpacking slows the sender down, and nothing
 * piles up here. */
#include "agent/pull_feed.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PIPE_BYTES = 1 << 20, KEPT_MAX = 4 << 20 };

struct fl_feed {
    struct fl_fetch *fetch; /* NULL: it has ended */
    fl_feed_done done;
    void *context;
    int fd; /* -1: closed */
    bool broken;
    bool held;
    bool waits; /* the fetch has been told to wait */
    bool whole; /* the fetch has ended well: the end is what is kept */
    struct fl_buf kept;
    uint64_t received;
    uv_poll_t room;
};

static void on_closed(uv_handle_t *handle)
{
    struct fl_feed *feed = handle->data;
    if (feed->fd >= 0)
        (void)close(feed->fd);
    fl_buf_free(&feed->kept);
    free(feed);
}

static void release(struct fl_feed *feed)
{
    (void)uv_poll_stop(&feed->room);
    uv_close((uv_handle_t *)&feed->room, on_closed);
}

static void finish(struct fl_feed *feed, struct fl_str error)
{
    /* The reader must see the end, and uv_close comes back later. */
    (void)uv_poll_stop(&feed->room);
    (void)close(FL_TAKE_FD(feed->fd));
    feed->done(feed->context, error, feed->broken);
    release(feed);
}

/* How much the pipe took; 0 when it is full or broken. */
static size_t push(struct fl_feed *feed, struct fl_str bytes)
{
    size_t sent = 0;
    while (sent < bytes.n && !feed->broken) {
        ssize_t n = write(feed->fd, bytes.p + sent, bytes.n - sent);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            feed->broken = true;
    }
    return sent;
}

static void go_on(struct fl_feed *feed)
{
    if (!feed->fetch || !feed->waits || feed->kept.n || feed->held)
        return;
    feed->waits = false;
    fl_fetch_resume(feed->fetch);
}

static void on_room(uv_poll_t *poll, FL_UNUSED int status, FL_UNUSED int events)
{
    struct fl_feed *feed = poll->data;
    fl_buf_consume(&feed->kept, push(feed, fl_buf_str(&feed->kept)));
    if (feed->kept.n && !feed->broken)
        return;
    (void)uv_poll_stop(&feed->room);
    if (feed->whole)
        finish(feed, feed->broken ? FL_STR("the unpacking ended too early") : FL_STR(""));
    else
        go_on(feed);
}

static enum fl_http_flow on_piece(void *context, struct fl_str bytes)
{
    struct fl_feed *feed = context;
    if (feed->broken)
        return FL_HTTP_ENOUGH;
    if (feed->kept.n || feed->held) {
        feed->waits = true;
        return FL_HTTP_LATER;
    }
    size_t sent = push(feed, bytes);
    if (feed->broken)
        return FL_HTTP_ENOUGH;
    feed->received += bytes.n;
    if (sent < bytes.n) {
        fl_buf_add_str(&feed->kept, fl_str_from(bytes, sent));
        (void)uv_poll_start(&feed->room, UV_WRITABLE, on_room);
    }
    return FL_HTTP_TAKEN;
}

static void on_fetched(void *context, const struct fl_fetched *fetched)
{
    struct fl_feed *feed = context;
    feed->fetch = NULL;
    if (fetched->failure != FL_FETCH_DONE)
        finish(feed, fetched->error);
    else if (feed->kept.n)
        feed->whole = true;
    else
        finish(feed, FL_STR(""));
}

static int open_pipe(struct fl_feed *feed, uv_loop_t *loop, int *ret_read_fd)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    (void)fcntl(fds[1], F_SETPIPE_SZ, (int)PIPE_BYTES);
    int rc = fcntl(fds[1], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
    if (rc == 0)
        rc = uv_poll_init(loop, &feed->room, fds[1]);
    if (rc < 0) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        return rc;
    }
    feed->fd = fds[1];
    *ret_read_fd = fds[0];
    return 0;
}

int fl_feed_start(uv_loop_t *loop, struct fl_source *source, const struct fl_digest *digest,
                  uint64_t size, fl_feed_done done, void *context, struct fl_feed **ret_feed,
                  int *ret_read_fd, struct fl_err *err)
{
    char path[6 + FL_DIGEST_TEXT_SIZE] = "blobs/";
    struct fl_feed *feed = fl_calloc(1, sizeof(*feed));
    feed->done = done;
    feed->context = context;
    feed->kept = FL_BUF_INIT(KEPT_MAX);
    int rc = open_pipe(feed, loop, ret_read_fd);
    if (rc < 0) {
        free(feed);
        return fl_err_errno(err, rc, "cannot make a pipe for a layer");
    }
    feed->room.data = feed;
    fl_digest_text(digest, path + 6);
    const struct fl_fetch_order order = {
        .path = fl_str_of(path), .size = size, .digest = digest, .piece = on_piece};
    feed->fetch = fl_fetch_start(source, &order, on_fetched, feed);
    *ret_feed = feed;
    return 0;
}

void fl_feed_cancel(struct fl_feed *feed)
{
    if (feed->fetch)
        fl_fetch_cancel(feed->fetch);
    release(feed);
}

void fl_feed_hold(struct fl_feed *feed, bool is_held)
{
    feed->held = is_held;
    go_on(feed);
}

uint64_t fl_feed_received(const struct fl_feed *feed)
{
    return feed->received;
}
