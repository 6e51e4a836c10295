/* What the verbs share: the engine opened once, failures reported, many arguments in a row. */
#pragma once

#include "engine/engine.h"
#include "front/cli/output.h"
#include "front/command/command.h"

/* Opens the engine on first use (borrowed: closed when the program leaves) and shows its notices.
 */
int cli_engine(struct cli *cli, struct engine **ret, struct error *err) _must_check_;

/* Reports the error; gives 1. */
int cli_failed(const struct error *err);

/* Does one thing to each argument, goes on after failures, and prints the argument after success
 * when echo (and the action gave 0: a positive number is success without echo). Gives 1 when any
 * failed. */
typedef int (*cli_action)(struct engine *e, const char *argument, void *context, struct error *err);
int cli_for_each(struct cli *cli, char *const *args, bool echo, cli_action action, void *context);

/* Puts the lines of -e and --env-file together: a bare NAME takes its value from this process's
 * environment, and is left out when it has none there. *ret is owned. */
int cli_environment(char *const *env, char *const *files, char ***ret,
                    struct error *err) _must_check_;
/* Adds the lines of files (comments and empty lines left out) to *list. */
int cli_read_lines(char *const *files, char ***list, struct error *err) _must_check_;

/* Docker's check: -t with -i wants a terminal on stdin. */
int cli_check_terminal(bool terminal, bool interactive, struct error *err) _must_check_;

/* "sha256:abcdef..." or "abcdef..." as 12 digits, or whole. */
struct short_id {
    char s[80];
};
struct short_id short_id(const char *id, bool whole);
