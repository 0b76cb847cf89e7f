/* Folding: word by word, each on the line as long as there is room for it. */
#include "cli/fold.h"

#include <stdio.h>
#include <sys/ioctl.h>

enum { MAX_TEXT = 256 << 20, NARROWEST = 40 };

/* Characters, not bytes: a continuation byte of UTF-8 takes no column. */
static size_t columns(struct fl_str word)
{
    size_t n = 0;
    for (size_t i = 0; i < word.n; i++)
        n += ((unsigned char)word.p[i] & 0xc0) != 0x80;
    return n;
}

static void fold_line(struct fl_str line, size_t width, size_t indent, struct fl_buf *out)
{
    size_t at = 0;
    bool is_first = true;
    while (line.n) {
        size_t blanks = 0, end;
        while (blanks < line.n && line.p[blanks] == ' ')
            blanks++;
        for (end = blanks; end < line.n && line.p[end] != ' ';)
            end++;
        struct fl_str word = {line.p + blanks, end - blanks};
        bool breaks = !is_first && word.n && at + blanks + columns(word) > width;
        if (breaks)
            fl_buf_printf(out, "\n%*s", (int)indent, "");
        else
            fl_buf_printf(out, "%*s", (int)blanks, "");
        fl_buf_add_str(out, word);
        at = (breaks ? indent : at + blanks) + columns(word);
        is_first = is_first && word.n == 0;
        line = fl_str_from(line, end);
    }
}

void fl_fold(struct fl_str text, size_t width, size_t indent, struct fl_buf *out)
{
    struct fl_str line;
    while (width && text.n) {
        bool is_ended = memchr(text.p, '\n', text.n) != NULL;
        (void)fl_str_split(&text, '\n', &line);
        fold_line(line, width, indent, out);
        if (is_ended)
            fl_buf_add_char(out, '\n');
    }
    if (!width)
        fl_buf_add_str(out, text);
}

/* 0: stdout is no terminal, or none that says how wide it is. */
static size_t terminal_width(void)
{
    struct winsize size = {0};
    bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return is_known ? FL_MAX((size_t)size.ws_col, (size_t)NARROWEST) : 0;
}

void fl_fold_print(struct fl_str text, size_t indent)
{
    FL_CLEANUP_BUF struct fl_buf folded = FL_BUF_INIT(MAX_TEXT);
    fl_fold(text, terminal_width(), indent, &folded);
    struct fl_str printed = fl_buf_str(&folded);
    (void)fwrite(printed.p, 1, printed.n, stdout);
}
