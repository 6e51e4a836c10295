#pragma once

#define PROBE_ID "0001"

/* Inside the container, as process 1: prints what it finds. */
int probe_inside(const char *what);
