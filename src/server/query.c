/* Query requests: the service by its signature, the operation by Action, the answer in an envelope
 * of XML. A service is a row with its tables and one function. */
#include "server/query.h"

#include "base/id.h"
#include "server/sts.h"
#include "shapes/query.h"
#include "shapes/sts_shapes.h"

enum { MAX_ANSWER = 16 << 20 };

static const struct {
    const struct fl_aws_service *service;
    void (*handle)(int operation, const struct fl_query_caller *caller, const void *input,
                   struct fl_arena *arena, void *ret_output);
} services[] = {{&sts_service, fl_sts_handle}};

struct fl_str fl_request_id(const struct fl_http_exchange *exchange, char text[37])
{
    char hex[33];
    fl_hex(exchange->id, sizeof(exchange->id), hex);
    size_t n = 0;
    for (size_t i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            text[n++] = '-';
        text[n++] = hex[i];
    }
    text[n] = '\0';
    return (struct fl_str){text, n};
}

bool fl_query_is(const struct fl_http_exchange *exchange)
{
    struct fl_str type = fl_http_header(exchange, "Content-Type"), head = FL_STR("");
    (void)fl_str_split(&type, ';', &head);
    return fl_str_case_eq(fl_str_trim(head), FL_STR("application/x-www-form-urlencoded")) &&
           fl_http_header(exchange, "X-Amz-Target").n == 0;
}

static void reply(struct fl_http_exchange *exchange, unsigned status, struct fl_str id,
                  const struct fl_buf *buf)
{
    struct fl_header headers[] = {
        {FL_STR("Content-Type"), FL_STR("text/xml")},
        {FL_STR("x-amzn-RequestId"), id},
    };
    fl_http_reply(exchange, status, headers, FL_ARRAY_SIZE(headers), fl_buf_str(buf));
}

/* <name xmlns="…">, of a service or of nobody in particular. */
static void open_envelope(struct fl_buf *buf, const char *name,
                          const struct fl_aws_service *service)
{
    if (service)
        fl_buf_printf(buf, "<%s xmlns=\"https://%s/doc/%s/\">", name, service->target_prefix,
                      service->version);
    else
        fl_buf_printf(buf, "<%s>", name);
}

static void refuse(struct fl_http_exchange *exchange, const struct fl_aws_service *service,
                   unsigned status, const char *code, struct fl_str text)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    char id[37];
    struct fl_str request = fl_request_id(exchange, id);
    open_envelope(&buf, "ErrorResponse", service);
    fl_buf_printf(&buf, "<Error><Type>Sender</Type><Code>%s</Code><Message>", code);
    fl_xml_text(&buf, text);
    fl_buf_printf(&buf, "</Message></Error><RequestId>%s</RequestId></ErrorResponse>", id);
    reply(exchange, status, request, &buf);
}

static const char *auth_code(enum fl_sigv4_status status)
{
    switch (status) {
    case FL_SIGV4_MISSING:
        return "MissingAuthenticationToken";
    case FL_SIGV4_INCOMPLETE:
        return "IncompleteSignature";
    case FL_SIGV4_UNKNOWN_KEY:
        return "InvalidClientTokenId";
    case FL_SIGV4_SESSION_OVER:
        return "ExpiredToken";
    case FL_SIGV4_EXPIRED:
    case FL_SIGV4_WRONG_SCOPE:
    case FL_SIGV4_MISMATCH:
        return "SignatureDoesNotMatch";
    case FL_SIGV4_OK:
        break;
    }
    FL_ASSERT(!"a refused signature");
    return NULL;
}

void fl_query_refuse_auth(struct fl_http_exchange *exchange, const struct fl_sigv4_result *result)
{
    refuse(exchange, NULL, result->status == FL_SIGV4_INCOMPLETE ? 400 : 403,
           auth_code(result->status), result->text);
}

static void answer(struct fl_http_exchange *exchange, const struct fl_aws_service *service,
                   const struct fl_operation *op, const void *output)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_ANSWER);
    char id[37];
    struct fl_str request = fl_request_id(exchange, id);
    const char *name = fl_str_printf(exchange->arena, "%sResponse", op->name).p;
    open_envelope(&buf, name, service);
    fl_buf_printf(&buf, "<%sResult>", op->name);
    fl_query_encode(op->output, output, &buf);
    fl_buf_printf(&buf,
                  "</%sResult><ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%s>",
                  op->name, id, name);
    reply(exchange, 200, request, &buf);
}

/* The operation's input from the form; NULL after answering the refusal. */
static void *read_input(struct fl_http_exchange *exchange, const struct fl_aws_service *service,
                        const struct fl_operation *op, const struct fl_form *form)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_ANSWER);
    struct fl_shape_error fault;
    struct fl_err err;
    fl_query_to_json(op->input, form, &text);
    const struct fl_json *json =
        text.overflow ? NULL : fl_json_read(fl_buf_str(&text), exchange->arena, &err);
    void *input = fl_arena_alloc(exchange->arena, fl_shape_size(op->input));
    if (json && fl_shape_decode(op->input, json, exchange->arena, input, &fault) == 0)
        return input;
    refuse(exchange, service, 400, "ValidationError",
           json            ? fl_str_of(fault.text)
           : text.overflow ? FL_STR("The request is too long.")
                           : fl_str_of(err.text));
    return NULL;
}

static void unknown_action(struct fl_http_exchange *exchange, const struct fl_aws_service *service,
                           struct fl_str action, struct fl_str version)
{
    refuse(exchange, service, 400, "InvalidAction",
           fl_str_printf(exchange->arena, "Could not find operation %.*s for version %.*s",
                         (int)FL_MIN(action.n, (size_t)100), action.p,
                         (int)FL_MIN(version.n, (size_t)20), version.p));
}

/* A service that is not here. EC2's errors have an envelope of their own; in another one its
 * clients see no code and no text. */
static void unknown_service(struct fl_http_exchange *exchange, struct fl_str service,
                            struct fl_str action)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    char id[37];
    struct fl_str request = fl_request_id(exchange, id);
    struct fl_str text = fl_str_printf(exchange->arena, "%.*s:%.*s is not implemented yet.",
                                       (int)FL_MIN(service.n, (size_t)100), service.p,
                                       (int)FL_MIN(action.n, (size_t)100), action.p);
    if (!fl_str_is(service, "ec2")) {
        refuse(exchange, NULL, 400, "InvalidAction", text);
        return;
    }
    fl_buf_printf(&buf, "<Response><Errors><Error><Code>InvalidAction</Code><Message>");
    fl_xml_text(&buf, text);
    fl_buf_printf(&buf, "</Message></Error></Errors><RequestID>%s</RequestID></Response>", id);
    reply(exchange, 400, request, &buf);
}

static struct fl_str parameter(const struct fl_form *form, const char *name)
{
    const struct fl_form_item *item = fl_form_find(form, fl_str_of(name));
    return item ? item->value : FL_STR("");
}

void fl_query_handle(struct fl_http_exchange *exchange, const struct fl_query_caller *caller)
{
    struct fl_form form;
    struct fl_err err;
    if (fl_form_parse(exchange->arena, exchange->body, &form, &err) < 0) {
        refuse(exchange, NULL, 400, "MalformedQueryString", fl_str_of(err.text));
        return;
    }
    struct fl_str action = parameter(&form, "Action"), version = parameter(&form, "Version");
    for (size_t i = 0; i < FL_ARRAY_SIZE(services); i++) {
        const struct fl_aws_service *service = services[i].service;
        if (!fl_str_is(caller->service, service->signing_name))
            continue;
        int operation =
            fl_str_is(version, service->version) ? fl_aws_service_find(service, action) : -1;
        const struct fl_operation *op = operation < 0 ? NULL : &service->operations[operation];
        if (!op) {
            unknown_action(exchange, service, action, version);
            return;
        }
        if (!op->input) {
            refuse(exchange, service, 400, "InvalidAction",
                   fl_str_printf(exchange->arena, "%s is not implemented yet.", op->name));
            return;
        }
        void *input = read_input(exchange, service, op, &form);
        if (!input)
            return;
        void *output = fl_arena_alloc(exchange->arena, fl_shape_size(op->output));
        services[i].handle(operation, caller, input, exchange->arena, output);
        answer(exchange, service, op, output);
        return;
    }
    unknown_service(exchange, caller->service, action);
}
