/*
 * The session between proa and proa-registry: one registry, one repository, one set of credentials.
 *
 * Descriptor 0 holds the configuration, one JSON object, read to its end at the start:
 *   name          what messages call the registry ("docker.io")
 *   url           where it is ("https://registry-1.docker.io"), without a path at its end
 *   repository    "library/debian"; absent when only "ping" is wanted
 *   verify        false: any certificate will do
 *   ca, cert, key PEM texts: additional authorities, the client's certificate and its key
 *   user, password, identity    credentials; identity is a token that others are got with
 *   scopes        more than the registry asks for ("repository:other:pull")
 *   stall_s       how long it may send (almost) nothing
 *
 * Descriptor 3 is a SOCK_SEQPACKET socket; a message is one JSON object. A request has "id" (the
 * caller's), "op", and up to two descriptors. Many may be under way at once.
 *   ping                            whether it is a registry and takes the credentials
 *   manifest reference             *fd 0: the document (at most REGISTRY_DOCUMENT_MAX bytes)
 *   manifest-head reference
 *   blob digest size offset        *fd 0: where the bytes go, from offset on, in order;
 *                                   fd 1 (optional): a byte is written after each piece
 *   blob-head digest
 *   mount digest from              "status" 201: the repository has it now, as `from` has it
 *   upload digest size             *fd 0: the bytes
 *   manifest-put reference type size  *fd 0: the document
 *   tags page?                     *fd 0: one page of the list; "next" of the answer is a page
 *   delete reference
 *   referrers digest               *fd 0: an index
 *   cancel request                  ends the request of that id; neither is answered
 *
 * Answers have the id. "received": bytes so far, any number of times. At the end either "ok": true
 * with "bytes", "status", and where the registry said so "type", "digest", "next"; or "error" (a
 * word of error_kind_name()), "errno", "message".
 *
 * Nothing that the helper answers is to be believed: digests are checked by who wants them.
 */
#pragma once

#include <stddef.h>

#define REGISTRY_SOCKET_FD    3
#define REGISTRY_MESSAGE_MAX  ((size_t)16 << 10)
#define REGISTRY_CONFIG_MAX   ((size_t)1 << 20)
#define REGISTRY_DOCUMENT_MAX ((size_t)4 << 20)
