/* The forms that all of an instance's files can be asked for in. */
#pragma once

/* What AGENT_TREE_WHOLE's string says, by kernel/tree.h's enum tree_form; NULL: not asked for. */
#define AGENT_TREE_FORMS 4
extern const char *const agent_tree_forms[AGENT_TREE_FORMS];
