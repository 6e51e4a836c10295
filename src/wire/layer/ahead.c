/*
 * A ring of blocks between two threads. `made` and `used` count blocks since the beginning; the
 * thread may be SLOTS - 1 ahead of the block that is in use. The last block, an error or the end,
 * stays: nothing is made after it.
 */
#include "wire/layer/ahead.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define SLOTS 4u

struct slot {
    char *block;
    size_t len;
    int result;
    struct error err;
};

struct layer_ahead {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    layer_ahead_maker *make;
    void *context;
    struct slot slots[SLOTS];
    size_t made, used; /* used: blocks that were given out, the current one included */
    bool over;         /* no more is wanted */
    bool working;
};

static bool is_last(const struct slot *s)
{
    return s->result < 0 || s->len == 0;
}

/* The lock is held. Gives the slot to fill next, or NULL when no more is wanted. */
static struct slot *wait_for_work(struct layer_ahead *a)
{
    while (!a->over && (!a->make || a->made >= a->used + SLOTS - 1))
        pthread_cond_wait(&a->changed, &a->lock);
    return a->over ? NULL : &a->slots[a->made % SLOTS];
}

static void *work(void *argument)
{
    struct layer_ahead *a = argument;
    struct slot *s;
    bool last = false;
    pthread_mutex_lock(&a->lock);
    while (!last && (s = wait_for_work(a))) {
        a->working = true;
        pthread_mutex_unlock(&a->lock);
        s->err = (struct error)ERROR_INIT;
        s->len = 0;
        s->result = a->make(a->context, s->block, AHEAD_BLOCK, &s->len, &s->err);
        last = is_last(s);
        pthread_mutex_lock(&a->lock);
        a->working = false;
        a->made++;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static void free_blocks(struct layer_ahead *a)
{
    for (size_t i = 0; i < SLOTS; i++)
        free(a->slots[i].block);
    free(a);
}

int layer_ahead_new(struct layer_ahead **ret, struct error *err)
{
    struct layer_ahead *a = calloc(1, sizeof(*a));
    bool good = a;
    for (size_t i = 0; good && i < SLOTS; i++)
        good = (a->slots[i].block = malloc(AHEAD_BLOCK));
    if (!good) {
        if (a)
            free_blocks(a);
        return error_errno(err, ENOMEM, "read an archive");
    }
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    int r = pthread_create(&a->thread, NULL, work, a);
    if (r != 0) {
        free_blocks(a);
        return error_errno(err, r, "start a thread");
    }
    *ret = a;
    return 0;
}

void layer_ahead_begin(struct layer_ahead *a, layer_ahead_maker *make, void *context)
{
    pthread_mutex_lock(&a->lock);
    a->make = make;
    a->context = context;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

int layer_ahead_next(struct layer_ahead *a, const char **ret, size_t *ret_len, struct error *err)
{
    pthread_mutex_lock(&a->lock);
    struct slot *s = a->used > 0 ? &a->slots[(a->used - 1) % SLOTS] : NULL;
    if (!s || !is_last(s)) {
        a->used++;
        pthread_cond_broadcast(&a->changed);
        while (a->made < a->used)
            pthread_cond_wait(&a->changed, &a->lock);
        s = &a->slots[(a->used - 1) % SLOTS];
    }
    pthread_mutex_unlock(&a->lock);
    *ret = s->block;
    *ret_len = s->len;
    if (s->result < 0 && err)
        *err = s->err;
    return s->result;
}

void layer_ahead_end(struct layer_ahead *a)
{
    pthread_mutex_lock(&a->lock);
    a->over = true;
    pthread_cond_broadcast(&a->changed);
    while (a->working)
        pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

void layer_ahead_free(struct layer_ahead *a)
{
    if (!a)
        return;
    layer_ahead_end(a);
    pthread_join(a->thread, NULL);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->changed);
    free_blocks(a);
}
