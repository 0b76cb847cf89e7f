/* The worker's two queues: jobs waiting for the thread, and jobs waiting for their done callback.
 */
#include "store/worker.h"

#include <signal.h>
#include <stdbool.h>

#include "base/util.h"

struct queue {
    struct fl_worker_job *head;
    struct fl_worker_job **tail;
};

struct fl_worker {
    uv_thread_t thread;
    uv_mutex_t mutex; /* guards waiting, finished and stopping */
    uv_cond_t wake;
    uv_async_t async;
    struct queue waiting;
    struct queue finished;
    bool stopping;
    size_t out; /* jobs submitted whose done has not been called; the loop's thread only */
    fl_worker_run run;
    void *context;
};

static void queue_init(struct queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

static void queue_push(struct queue *queue, struct fl_worker_job *job)
{
    job->next = NULL;
    *queue->tail = job;
    queue->tail = &job->next;
}

static struct fl_worker_job *queue_take(struct queue *queue)
{
    struct fl_worker_job *head = queue->head;
    queue_init(queue);
    return head;
}

/* Moves a chain that has been run to the finished queue. */
static void finish(struct fl_worker *worker, struct fl_worker_job *chain)
{
    uv_mutex_lock(&worker->mutex);
    for (struct fl_worker_job *job = chain, *next; job; job = next) {
        next = job->next;
        queue_push(&worker->finished, job);
    }
    uv_mutex_unlock(&worker->mutex);
    (void)uv_async_send(&worker->async);
}

/* The jobs queued, waiting for some; NULL when the worker shall end. */
static struct fl_worker_job *next_chain(struct fl_worker *worker)
{
    uv_mutex_lock(&worker->mutex);
    while (!worker->waiting.head && !worker->stopping)
        uv_cond_wait(&worker->wake, &worker->mutex);
    struct fl_worker_job *chain = queue_take(&worker->waiting);
    uv_mutex_unlock(&worker->mutex);
    return chain;
}

static void thread_main(void *arg)
{
    struct fl_worker *worker = arg;
    struct fl_worker_job *chain;
    while ((chain = next_chain(worker))) {
        worker->run(worker->context, chain);
        finish(worker, chain);
    }
}

static void deliver(struct fl_worker *worker)
{
    uv_mutex_lock(&worker->mutex);
    struct fl_worker_job *job = queue_take(&worker->finished);
    uv_mutex_unlock(&worker->mutex);
    while (job) {
        struct fl_worker_job *next = job->next;
        if (--worker->out == 0)
            uv_unref((uv_handle_t *)&worker->async);
        job->done(job);
        job = next;
    }
}

static void on_async(uv_async_t *async)
{
    deliver(async->data);
}

/* The thread gets no signals: they are the loop's. */
static int start_thread(struct fl_worker *worker)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = uv_thread_create(&worker->thread, thread_main, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

static void on_closed(uv_handle_t *handle)
{
    struct fl_worker *worker = handle->data;
    uv_cond_destroy(&worker->wake);
    uv_mutex_destroy(&worker->mutex);
    free(worker);
}

int fl_worker_start(uv_loop_t *loop, fl_worker_run run, void *context,
                    struct fl_worker **ret_worker)
{
    struct fl_worker *worker = fl_calloc(1, sizeof(*worker));
    worker->run = run;
    worker->context = context;
    queue_init(&worker->waiting);
    queue_init(&worker->finished);
    int status = uv_async_init(loop, &worker->async, on_async);
    if (status < 0) {
        free(worker);
        return status;
    }
    worker->async.data = worker;
    uv_unref((uv_handle_t *)&worker->async);
    FL_ASSERT(uv_mutex_init(&worker->mutex) == 0 && uv_cond_init(&worker->wake) == 0);
    status = start_thread(worker);
    if (status < 0) {
        uv_close((uv_handle_t *)&worker->async, on_closed);
        return status;
    }
    *ret_worker = worker;
    return 0;
}

void fl_worker_submit(struct fl_worker *worker, struct fl_worker_job *job)
{
    if (worker->out++ == 0)
        uv_ref((uv_handle_t *)&worker->async);
    uv_mutex_lock(&worker->mutex);
    FL_ASSERT(!worker->stopping);
    queue_push(&worker->waiting, job);
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->mutex);
}

void fl_worker_stop(struct fl_worker *worker)
{
    uv_mutex_lock(&worker->mutex);
    worker->stopping = true;
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->mutex);
    (void)uv_thread_join(&worker->thread);
    deliver(worker);
    FL_ASSERT(worker->out == 0);
    uv_close((uv_handle_t *)&worker->async, on_closed);
}
