/* A response whose body libmicrohttpd asks for piece by piece. While there is none the connection
 * is suspended, so that nobody turns in circles; each write resumes it. The stream lives as long
 * as the response. */
#include "net/http_stream.h"

#include "net/http_internal.h"

enum { PIECE = 32 * 1024 };

struct fl_http_stream {
    struct fl_http_connection *connection;
    struct fl_buf backlog;
    bool is_suspended;
    bool is_ended;
    void (*gone)(void *context);
    void *context;
};

static ssize_t on_read(void *context, FL_UNUSED uint64_t at, char *bytes, size_t max)
{
    struct fl_http_stream *stream = context;
    if (stream->connection->server->stopping)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (stream->backlog.n > 0) {
        size_t n = FL_MIN(stream->backlog.n, max);
        memcpy(bytes, stream->backlog.p, n);
        fl_buf_consume(&stream->backlog, n);
        return (ssize_t)n;
    }
    if (stream->is_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    stream->is_suspended = true;
    MHD_suspend_connection(stream->connection->mhd);
    return 0;
}

static void on_free(void *context)
{
    struct fl_http_stream *stream = context;
    stream->gone(stream->context);
    fl_buf_free(&stream->backlog);
    free(stream);
}

static void resume(struct fl_http_stream *stream)
{
    if (!stream->is_suspended || stream->connection->server->stopping)
        return;
    stream->is_suspended = false;
    MHD_resume_connection(stream->connection->mhd);
    fl_http_server_kick(stream->connection->server);
}

struct fl_http_stream *fl_http_stream_start(struct fl_http_exchange *exchange, unsigned status,
                                            const struct fl_header *headers, size_t header_count,
                                            void (*gone)(void *context), void *context)
{
    struct fl_http_request_state *request =
        FL_CONTAINER_OF(exchange, struct fl_http_request_state, exchange);
    struct fl_http_stream *stream = fl_calloc(1, sizeof(*stream));
    *stream = (struct fl_http_stream){
        .connection = request->connection,
        .backlog = FL_BUF_INIT(FL_HTTP_STREAM_BACKLOG),
        .gone = gone,
        .context = context,
    };
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, on_read, stream, on_free);
    FL_ASSERT(response);
    for (size_t i = 0; i < header_count; i++)
        (void)MHD_add_response_header(response, fl_str_z(exchange->arena, headers[i].name),
                                      fl_str_z(exchange->arena, headers[i].value));
    fl_http_settle(request, status, response);
    return stream;
}

bool fl_http_stream_write(struct fl_http_stream *stream, struct fl_str bytes)
{
    if (bytes.n > stream->backlog.max - stream->backlog.n)
        return false;
    fl_buf_add_str(&stream->backlog, bytes);
    resume(stream);
    return true;
}

void fl_http_stream_end(struct fl_http_stream *stream)
{
    stream->is_ended = true;
    resume(stream);
}
