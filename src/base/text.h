/* Numbers, sizes, times and identifiers as text: strict parsers and printers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"

/* Decimal digits only: no sign, no space, no leading "+", nothing after. -EINVAL or -ERANGE. */
int parse_u64(const char *s, uint64_t max, uint64_t *ret) _must_check_;
int parse_u32(const char *s, uint32_t *ret) _must_check_;

/* The number behind a key at the beginning of a line, as the kernel writes its files; 0: no such
 * line. */
uint64_t text_number_after(const char *text, const char *key);

/* "512", "512b", "64k", "16m", "2g", "1t" (powers of 1024; "kb", "kib" too) into bytes. */
int parse_size(const char *s, uint64_t *ret_bytes) _must_check_;

/* "1.5" into 1500 thousandths; at most three decimals. */
int parse_milli(const char *s, uint64_t *ret_thousandths) _must_check_;

/* "90", "90s", "1m30s", "2h", "100ms" into milliseconds; a bare number is seconds. */
int parse_duration(const char *s, uint64_t *ret_ms) _must_check_;

/* Human forms, in buffers of the caller's: "170MB" (powers of 1000, as Docker), "3 minutes". */
struct text32 {
    char s[32];
};
struct text32 format_size(uint64_t bytes);        /* 1000-based: 1.5MB */
struct text32 format_size_binary(uint64_t bytes); /* 1024-based: 1.5MiB */
struct text32 format_age(int64_t seconds);        /* "5 seconds", "About an hour", "2 days" */

/* Wall clock in nanoseconds since 1970; RFC 3339 with nanoseconds in UTC; and back. */
int64_t time_now_ns(void);
int64_t time_monotonic_ms(void);
struct text64 {
    char s[64];
};
struct text64 time_format(int64_t ns);
/* RFC 3339, a date, seconds since 1970, or a duration before now ("10m"). */
int time_parse(const char *s, int64_t *ret_ns) _must_check_;

/* Fills out with 2*bytes hex digits and a NUL, from the kernel's random numbers. */
void random_hex(char *out, size_t bytes);
bool is_hex(const char *s, size_t len); /* exactly len lower-case hex digits */

/* FNV-1a (64 bits): names a cache file or tells two builds apart; protects nothing. */
uint64_t fingerprint(const void *data, size_t len);
void hex_encode(const unsigned char *data, size_t len, char *out);
