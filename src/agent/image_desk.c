/* The desk: one client, one line, one wish. See the header.
 *
 * A client is freed when its pipe is closed and the images have told it of the end, or will not any
 * more; until both, its memory is what the images know the wish by. */
#include "agent/image_desk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "wire/json.h"

enum { LINE_MAX_BYTES = 1024, ANSWER_MAX = 256 << 10, BACKLOG = 16 };

struct client {
    struct fl_image_desk *desk;
    uv_pipe_t pipe;
    char line[LINE_MAX_BYTES];
    size_t n;
    bool has_asked;
    bool waiting; /* the images will tell */
    bool closed;
    TAILQ_ENTRY(client) link;
};

struct fl_image_desk {
    struct fl_image_desk_config config;
    int dir_fd;
    uv_pipe_t listener;
    uv_timer_t tick; /* while somebody waits */
    size_t open;     /* handles that are to be closed yet */
    size_t client_count;
    TAILQ_HEAD(, client) clients;
};

/* ---- ends ---- */

static void desk_release(struct fl_image_desk *desk)
{
    if (--desk->open > 0)
        return;
    fl_cleanup_fd(&desk->dir_fd);
    free(desk);
}

static void client_free(struct client *client)
{
    struct fl_image_desk *desk = client->desk;
    TAILQ_REMOVE(&desk->clients, client, link);
    desk->client_count--;
    free(client);
    desk_release(desk);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    client->closed = true;
    if (!client->waiting)
        client_free(client);
}

static void client_close(struct client *client)
{
    if (!uv_is_closing((uv_handle_t *)&client->pipe))
        uv_close((uv_handle_t *)&client->pipe, on_client_closed);
}

/* ---- telling ---- */

struct message {
    uv_write_t request;
    struct client *client;
    bool last;
    size_t n;
    char text[];
};

static void on_written(uv_write_t *request, int status)
{
    struct message *message = request->data;
    if (message->last || status < 0)
        client_close(message->client);
    free(message);
}

static void say(struct client *client, struct fl_str text, bool last)
{
    if (uv_is_closing((uv_handle_t *)&client->pipe))
        return;
    struct message *message = fl_malloc(sizeof(*message) + text.n + 1);
    message->client = client;
    message->last = last;
    message->n = text.n + 1;
    memcpy(message->text, text.p, text.n);
    message->text[text.n] = '\n';
    message->request.data = message;
    uv_buf_t buf = uv_buf_init(message->text, (unsigned)message->n);
    if (uv_write(&message->request, (uv_stream_t *)&client->pipe, &buf, 1, on_written) < 0) {
        free(message);
        client_close(client);
    }
}

static void say_end(struct client *client, const char *key, struct fl_str value)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(ANSWER_MAX);
    struct fl_json_writer jw = {.buf = &text};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, key, value);
    fl_jw_object_end(&jw);
    say(client, fl_buf_str(&text), true);
}

static void say_progress(struct client *client)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(ANSWER_MAX);
    struct fl_json_writer jw = {.buf = &text};
    /* Who does not read hears the rest later. */
    if (uv_stream_get_write_queue_size((uv_stream_t *)&client->pipe) > 0)
        return;
    fl_images_write_progress(client->desk->config.images, client, &jw);
    if (!text.overflow)
        say(client, fl_buf_str(&text), false);
}

static void on_tick(uv_timer_t *timer)
{
    struct fl_image_desk *desk = timer->data;
    struct client *client;
    bool anybody = false;
    TAILQ_FOREACH (client, &desk->clients, link) {
        if (!client->waiting || uv_is_closing((uv_handle_t *)&client->pipe))
            continue;
        anybody = true;
        say_progress(client);
    }
    if (!anybody)
        (void)uv_timer_stop(timer);
}

static void on_image(void *context, const struct fl_image_ready *ready,
                     enum fl_image_failure failure, struct fl_str error)
{
    struct client *client = context;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    client->waiting = false;
    if (client->closed) {
        client_free(client);
        return;
    }
    if (ready) {
        say_end(client, "digest", ready->digest);
        return;
    }
    say_end(client, "error",
            fl_str_printf(arena, "%s: %.*s", client->desk->config.failure_name(failure),
                          FL_STR_ARG(error)));
}

/* ---- hearing ---- */

static void ask(struct client *client, struct fl_str name)
{
    struct fl_image_desk *desk = client->desk;
    client->has_asked = true;
    client->waiting = true;
    (void)uv_timer_start(&desk->tick, on_tick, FL_IMAGE_DESK_TICK_MS, FL_IMAGE_DESK_TICK_MS);
    fl_images_pull(desk->config.images, name, on_image, client);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *client = handle->data;
    (void)suggested;
    *buf = uv_buf_init(client->line + client->n, (unsigned)(sizeof(client->line) - client->n));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *client = stream->data;
    (void)buf;
    if (n < 0) {
        client_close(client);
        return;
    }
    /* Whatever follows the line is nothing. */
    if (client->has_asked)
        return;
    client->n += (size_t)n;
    const char *end = memchr(client->line, '\n', client->n);
    size_t length = end ? (size_t)(end - client->line) : client->n;
    if (!end && length == sizeof(client->line))
        client_close(client);
    if (!end)
        return;
    client->n = 0;
    ask(client, (struct fl_str){client->line, length});
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct fl_image_desk *desk = stream->data;
    if (status < 0)
        return;
    struct client *client = fl_calloc(1, sizeof(*client));
    client->desk = desk;
    FL_ASSERT(uv_pipe_init(desk->config.loop, &client->pipe, 0) == 0);
    client->pipe.data = client;
    TAILQ_INSERT_TAIL(&desk->clients, client, link);
    desk->open++;
    desk->client_count++;
    if (uv_accept(stream, (uv_stream_t *)&client->pipe) < 0)
        client_close(client);
    else if (desk->client_count > FL_IMAGE_DESK_CLIENTS_MAX)
        say_end(client, "error", FL_STR("too many pulls are waited for already"));
    else if (uv_read_start((uv_stream_t *)&client->pipe, on_room, on_read) < 0)
        client_close(client);
}

/* ---- the socket ---- */

/* By the directory's descriptor: paths of sockets are short, paths of data directories are not. */
static void address_of(int dir_fd, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(ret_address->sun_path, sizeof(ret_address->sun_path),
                   "/proc/self/fd/%d/" FL_IMAGE_DESK_SOCKET, dir_fd);
}

static int bind_socket(int dir_fd, int *ret_fd)
{
    struct sockaddr_un address;
    FL_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    address_of(dir_fd, &address);
    if (unlinkat(dir_fd, FL_IMAGE_DESK_SOCKET, 0) < 0 && errno != ENOENT)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        fchmodat(dir_fd, FL_IMAGE_DESK_SOCKET, 0600, 0) < 0)
        return -errno;
    *ret_fd = FL_TAKE_FD(fd);
    return 0;
}

int fl_image_desk_connect(const char *dir, int *ret_fd)
{
    struct sockaddr_un address;
    FL_CLEANUP_FD int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    FL_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (dir_fd < 0 || fd < 0)
        return -errno;
    address_of(dir_fd, &address);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    *ret_fd = FL_TAKE_FD(fd);
    return 0;
}

static int listen_at(struct fl_image_desk *desk)
{
    FL_CLEANUP_FD int fd = -1;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    desk->dir_fd = open(fl_str_z(arena, desk->config.dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (desk->dir_fd < 0)
        return -errno;
    int rc = bind_socket(desk->dir_fd, &fd);
    if (rc == 0)
        rc = uv_pipe_open(&desk->listener, fd);
    if (rc < 0)
        return rc;
    (void)FL_TAKE_FD(fd);
    return uv_listen((uv_stream_t *)&desk->listener, BACKLOG, on_connection);
}

int fl_image_desk_open(const struct fl_image_desk_config *config, struct fl_image_desk **ret_desk,
                       struct fl_err *err)
{
    struct fl_image_desk *desk = fl_calloc(1, sizeof(*desk));
    desk->config = *config;
    desk->dir_fd = -1;
    TAILQ_INIT(&desk->clients);
    FL_ASSERT(uv_pipe_init(config->loop, &desk->listener, 0) == 0);
    FL_ASSERT(uv_timer_init(config->loop, &desk->tick) == 0);
    desk->listener.data = desk->tick.data = desk;
    desk->open = 2;
    int rc = listen_at(desk);
    if (rc < 0) {
        fl_image_desk_close(desk);
        return fl_err_errno(err, rc, "cannot listen for pulls");
    }
    *ret_desk = desk;
    return 0;
}

static void on_part_closed(uv_handle_t *handle)
{
    desk_release(handle->data);
}

void fl_image_desk_close(struct fl_image_desk *desk)
{
    struct client *client, *next;
    if (!desk)
        return;
    /* The images are closed: nobody is told any more. */
    for (client = TAILQ_FIRST(&desk->clients); client; client = next) {
        next = TAILQ_NEXT(client, link);
        client->waiting = false;
        if (client->closed)
            client_free(client);
        else
            client_close(client);
    }
    uv_close((uv_handle_t *)&desk->listener, on_part_closed);
    uv_close((uv_handle_t *)&desk->tick, on_part_closed);
}
