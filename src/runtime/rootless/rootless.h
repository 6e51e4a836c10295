/*
 * Proa without root: a command of an ordinary user puts itself into namespaces in which it is root,
 * and goes on there as it would as the host's root.
 *
 * The namespaces (user and mount) are one pair per user, kept by a process that does nothing else,
 * proa-keeper, so that every command finds the containers, mounts and processes of the others. Its
 * number is in RUN/keeper. When it is gone, a running instance's monitor has the same namespaces;
 * when there is none either, there is nothing to find, and new ones are made.
 *
 * The user is mapped to root, and the ranges that /etc/subuid and /etc/subgid give it to what
 * follows; without any it is alone there: what an image gives to other users belongs to root then.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Comes back as root of the user's namespaces, in the same directory. Nothing to do for root. */
int rootless_enter(struct error *err) _must_check_;

/* Ends the keeper, unless something of the user's runs: for whoever takes away what is kept
 * prepared. Inside the namespaces. */
void rootless_release(void);
