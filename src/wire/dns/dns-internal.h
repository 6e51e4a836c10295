/* Shared by the files of wire/dns only. */
#pragma once

#include "wire/dns/dns.h"

/* What the text of a name is made of, besides dots. */
static inline bool dns_byte_is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}
static inline char dns_byte_small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
