#!/usr/bin/python3
"""proa-oci checkpoint and restore with Debian 12's criu, on the kernel that it knows, with control groups v2 and
systemd. Of the cases in checkpoint_cases.py, those that an older CRIU or any of the three could make a difference to."""

import checkpoint_cases
import checks

# case counting_goes_on
# case terminal
# case limits_and_filter
# case no_new_privileges_is_not_lost
# case a_scope_of_systemd
# case a_user_namespace

if __name__ == "__main__":
    with open(__file__) as f:
        checkpoint_cases.main(checks.cases(f.read()))
