/*
 * Health checks: a command that is executed in an instance from time to time. The instance's
 * monitor says when (runtime/monitor/health.h), `proa internal health ID` is one check, and
 * BUNDLE/health is what the last ones came to. Nothing of it exists for an instance without one.
 */
#pragma once

#include <jansson.h>

#include "engine/engine.h"
#include "engine/options.h"
#include "service/image/image.h"

/* What the options say, and for what they do not say the image. argv is NULL when there is no
 * check. */
struct health_check {
    char **argv;
    uint64_t interval_ms, timeout_ms, start_period_ms, start_interval_ms;
    uint32_t retries;
};
int health_check_get(const struct create_options *o, const struct image *image,
                     struct health_check *ret, struct error *err) _must_check_;
void health_check_done(struct health_check *h);

/* One check of a running instance. *ret_failed: it did not say that all is well. Nothing is done,
 * and that is success, when the instance is paused or has no check. */
int engine_health(struct engine *e, const char *reference, bool *ret_failed,
                  struct error *err) _must_check_;

/* {"status":"starting|healthy|unhealthy","failing":N,"log":[{"start":NS,"end":NS,"exit":N,
 * "output":"..."}]} of the run that began at started_ns; owned. A run that was not checked yet is
 * starting. */
json_t *health_load(const char *bundle, int64_t started_ns);
