#include <sys/random.h>

#include "engine/engine-internal.h"

/* Words of the sea, for the names of instances that nobody named. */
static const char *const adjectives[] = {
    "able",   "agile", "ample",  "amber",  "azure",  "bold",    "brave",  "brisk",
    "bright", "calm",  "candid", "clear",  "clever", "cosy",    "crisp",  "deft",
    "eager",  "early", "even",   "fair",   "fleet",  "fresh",   "gentle", "golden",
    "happy",  "hardy", "jolly",  "keen",   "kind",   "lively",  "lucid",  "lucky",
    "mellow", "merry", "modest", "nimble", "noble",  "patient", "placid", "polite",
    "proud",  "quick", "quiet",  "ready",  "serene", "silver",  "sleek",  "smooth",
    "snug",   "solid", "spry",   "steady", "stout",  "sunny",   "swift",  "tidy",
    "trim",   "true",  "trusty", "vivid",  "warm",   "wise",    "witty",  "zesty",
};
static const char *const nouns[] = {
    "albatross", "anchor", "atoll",   "barque",    "bay",     "beacon",   "bosun",   "breaker",
    "breeze",    "buoy",   "cape",    "clipper",   "coral",   "cove",     "current", "cutter",
    "deck",      "delta",  "dhow",    "dolphin",   "estuary", "ferry",    "fjord",   "galley",
    "gannet",    "gull",   "harbour", "helm",      "heron",   "hull",     "island",  "junk",
    "keel",      "ketch",  "lagoon",  "lantern",   "lugger",  "mast",     "mate",    "monsoon",
    "oar",       "osprey", "otter",   "outrigger", "pelican", "petrel",   "pilot",   "plover",
    "puffin",    "quay",   "reef",    "rudder",    "sail",    "schooner", "seal",    "shoal",
    "skiff",     "sloop",  "spar",    "swell",     "tern",    "tide",     "wharf",   "yawl",
};

void random_name(char *out, size_t size)
{
    unsigned short pick[3] = {0};
    while (getrandom(pick, sizeof(pick), 0) != sizeof(pick))
        ;
    snprintf(out, size, "%s_%s%u", adjectives[pick[0] % ARRAY_SIZE(adjectives)],
             nouns[pick[1] % ARRAY_SIZE(nouns)], pick[2] % 1000u);
}

int check_instance_name(const char *name, struct error *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t len = strlen(name);
    if (len < 2 || len > 128 || strspn(name, letters) != len || strchr("_.-", name[0]))
        return error_invalid(err,
                             "\"%.64s\" is no instance name: two to 128 letters, digits, \"_\", "
                             "\".\" or \"-\", the first a letter or digit",
                             name);
    return 0;
}
