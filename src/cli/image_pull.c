/* Shows a pull. On a terminal there is a line for each layer, drawn over while it goes on; where
 * the layers are more than the screen has room for, and for the whole, one line of sums. Elsewhere
 * a layer is told of once, when it is here.
 *
 * What comes from the agent is its own, but for the sentence of an error, which may quote a
 * registry: it is shown without control characters. */
#include "cli/image_pull.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "agent/image_desk.h"
#include "base/arena.h"
#include "base/fs.h"
#include "wire/json.h"

enum { SHORT_DIGEST = 12, BAR_WIDTH = 40, LINE_MAX_BYTES = 1 << 20, ROWS_ELSE = 24 };

struct view {
    struct fl_str name;
    bool json;
    bool is_terminal;
    size_t drawn;  /* lines that the next drawing goes over */
    size_t told;   /* layers, from the first, of which this has been told; not on terminals */
    char *told_of; /* one for each layer */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* ---- showing ---- */

static const char *short_digest(const struct fl_json *layer)
{
    struct fl_str text = fl_json_text(fl_json_get(layer, "digest"));
    struct fl_str hex = fl_str_from(text, FL_MIN(text.n, strlen("sha256:")));
    static char shown[SHORT_DIGEST + 1];
    (void)snprintf(shown, sizeof(shown), "%.*s", FL_STR_ARG(hex));
    return shown;
}

static double megabytes(const struct fl_json *layer, const char *key)
{
    return fl_json_number(fl_json_get(layer, key)) / 1e6;
}

static bool is_state(const struct fl_json *layer, const char *state)
{
    return fl_str_is(fl_json_text(fl_json_get(layer, "state")), state);
}

static void draw_bar(double done, double all)
{
    char bar[BAR_WIDTH + 1];
    int filled = all > 0 ? (int)FL_MIN(done / all * BAR_WIDTH, (double)BAR_WIDTH) : 0;
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
    bar[BAR_WIDTH] = '\0';
    (void)printf("[%s] %.1f of %.1f MB", bar, done, all);
}

static void draw_layer(const struct fl_json *layer)
{
    (void)printf("%s: ", short_digest(layer));
    if (is_state(layer, "here"))
        (void)printf("already here");
    else if (is_state(layer, "pulled"))
        (void)printf("pulled, %.1f MB", megabytes(layer, "bytes"));
    else if (is_state(layer, "waiting"))
        (void)printf("waiting, %.1f MB", megabytes(layer, "bytes"));
    else
        draw_bar(megabytes(layer, "bytesDone"), megabytes(layer, "bytes"));
    (void)putchar('\n');
}

static void draw_sum(const struct fl_json *layers)
{
    double all = 0, done = 0;
    size_t n = fl_json_items(layers), here = 0;
    for (size_t i = 0; i < n; i++) {
        const struct fl_json *layer = fl_json_item(layers, i);
        bool is_here = is_state(layer, "here");
        here += is_here || is_state(layer, "pulled");
        all += is_here ? 0 : megabytes(layer, "bytes");
        done += is_here ? 0 : megabytes(layer, "bytesDone");
    }
    (void)printf("%zu of %zu layers ", here, n);
    draw_bar(done, all);
    (void)putchar('\n');
}

static size_t screen_rows(void)
{
    struct winsize size = {0};
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0;
    return known ? size.ws_row : ROWS_ELSE;
}

static void erase(struct view *view)
{
    if (view->drawn > 0)
        (void)printf("\033[%zuA\033[J", view->drawn);
    view->drawn = 0;
}

static void draw(struct view *view, const struct fl_json *layers)
{
    size_t n = fl_json_items(layers), rows = screen_rows();
    size_t shown = n + 2 <= rows ? n : 0;
    if (n == 0)
        return;
    erase(view);
    for (size_t i = 0; i < shown; i++)
        draw_layer(fl_json_item(layers, i));
    draw_sum(layers);
    view->drawn = shown + 1;
}

static void tell(struct view *view, const struct fl_json *layers)
{
    size_t n = fl_json_items(layers);
    if (n > view->told) {
        view->told_of = fl_realloc(view->told_of, n);
        memset(view->told_of + view->told, 0, n - view->told);
        view->told = n;
    }
    for (size_t i = 0; i < n; i++) {
        const struct fl_json *layer = fl_json_item(layers, i);
        bool is_here = is_state(layer, "here");
        if (view->told_of[i] || !(is_here || is_state(layer, "pulled")))
            continue;
        view->told_of[i] = 1;
        if (is_here)
            (void)printf("%s: already here\n", short_digest(layer));
        else
            (void)printf("%s: pulled, %.1f MB\n", short_digest(layer), megabytes(layer, "bytes"));
    }
}

static void show_progress(struct view *view, const struct fl_json *layers)
{
    if (view->json)
        return;
    (view->is_terminal ? draw : tell)(view, layers);
    (void)fflush(stdout);
}

/* The last drawing is a moment old: what it showed is here by now. */
static int show_end(struct view *view, struct fl_str digest)
{
    erase(view);
    if (view->json)
        (void)printf("{\"image\":\"%.*s\",\"digest\":\"%.*s\"}\n", FL_STR_ARG(view->name),
                     FL_STR_ARG(digest));
    else
        (void)printf("pulled %.*s %.*s\n", FL_STR_ARG(view->name), FL_STR_ARG(digest));
    return 0;
}

static int show_error(struct fl_str error)
{
    (void)fputs("fairlead: ", stderr);
    for (size_t i = 0; i < error.n; i++)
        (void)fputc((unsigned char)error.p[i] < ' ' || error.p[i] == 0x7f ? '?' : error.p[i],
                    stderr);
    (void)fputc('\n', stderr);
    return 1;
}

/* ---- hearing ---- */

enum { GOES_ON = -1 };

static int take_line(struct view *view, struct fl_str line)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *said = fl_json_read(line, arena, NULL);
    const struct fl_json *error = fl_json_get(said, "error");
    const struct fl_json *digest = fl_json_get(said, "digest");
    if (error)
        return show_error(fl_json_text(error));
    if (digest)
        return show_end(view, fl_json_text(digest));
    show_progress(view, fl_json_get(said, "layers"));
    return GOES_ON;
}

static int take_lines(struct view *view, struct fl_buf *heard)
{
    const char *end;
    int status = GOES_ON;
    while (status == GOES_ON && heard->n > 0 && (end = memchr(heard->p, '\n', heard->n))) {
        size_t n = (size_t)(end - heard->p);
        status = take_line(view, (struct fl_str){heard->p, n});
        fl_buf_consume(heard, n + 1);
    }
    return status;
}

static int watch(struct view *view, int fd)
{
    char bytes[16 << 10];
    FL_CLEANUP_BUF struct fl_buf heard = FL_BUF_INIT(LINE_MAX_BYTES);
    int status = GOES_ON;
    while (status == GOES_ON && !interrupted) {
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return show_error(FL_STR("the agent has ended before the pull did"));
        fl_buf_add(&heard, bytes, (size_t)n);
        if (heard.overflow)
            return show_error(FL_STR("the agent says what cannot be understood"));
        status = take_lines(view, &heard);
    }
    if (status != GOES_ON)
        return status;
    (void)fputs("fairlead: interrupted; the pull goes on (`fairlead status` shows it)\n", stderr);
    return 128 + SIGINT;
}

static int ask(const char *dir, struct fl_str name, int *ret_fd)
{
    FL_CLEANUP_FD int fd = -1;
    int rc = fl_image_desk_connect(dir, &fd);
    if (rc == 0)
        rc = fl_fs_write_all(fd, name.p, name.n);
    if (rc == 0)
        rc = fl_fs_write_all(fd, "\n", 1);
    if (rc == 0)
        *ret_fd = FL_TAKE_FD(fd);
    return rc;
}

int fl_cli_image_pull(struct fl_str data_dir, struct fl_str name, bool json)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_FD int fd = -1;
    /* Without SA_RESTART: a read ends. A stream that the agent closes is no reason to die. */
    const struct sigaction on_int = {.sa_handler = on_interrupt};
    struct view view = {.name = name, .json = json, .is_terminal = isatty(STDOUT_FILENO) == 1};
    (void)sigaction(SIGINT, &on_int, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = ask(fl_str_printf(arena, "%.*s/agent/images", FL_STR_ARG(data_dir)).p, name, &fd);
    if (rc == -EACCES)
        return show_error(FL_STR("only root may ask for pulls: run `sudo fairlead image pull`"));
    if (rc < 0)
        return show_error(FL_STR("the agent does not run: `sudo fairlead up` starts it"));
    int status = watch(&view, fd);
    free(view.told_of);
    return status;
}
