"""What a policy file means, written down a second time and without Proa: test_policy.py compares.

Policies are the documents themselves (dicts). A party is a dict: kind "instance" (stack, labels,
address, network, deny), "host" or "world" (address, and names: what the other side was told that it is).
"""

import ipaddress

METADATA = {"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.23", "100.100.100.200", "192.0.0.192",
            "168.63.129.16", "fd00:ec2::254"}


def labels_fit(selector, labels):
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for e in selector.get("matchExpressions") or []:
        have, values = labels.get(e["key"]), e.get("values", [])
        if not {"In": have is not None and have in values, "NotIn": have is None or have not in values,
                "Exists": have is not None, "DoesNotExist": have is None}[e["operator"]]:
            return False
    return True


def stack_labels(stack):
    return {"kubernetes.io/metadata.name": stack, "io.proa.stack": stack}


def instance_fits(stacks, instances, party):
    return (party["kind"] == "instance" and labels_fit(stacks, stack_labels(party["stack"])) and
            labels_fit(instances, party["labels"]))


def block_fits(cidr, holes, party):
    if party["kind"] == "host":
        return False
    net, address = ipaddress.ip_network(cidr), ipaddress.ip_address(party["address"])
    if net.version != address.version or address not in net:
        return False
    if any(address in ipaddress.ip_network(h) for h in holes):
        return False
    narrow = net.prefixlen >= (16 if net.version == 4 else 32)
    return party["address"] not in METADATA or narrow


def name_fits(pattern, name):
    """A star at the beginning stands for one label or more."""
    wanted, labels = pattern.lower().rstrip(".").split("."), name.lower().rstrip(".").split(".")
    if wanted[0] != "*":
        return wanted == labels
    return len(labels) >= len(wanted) and labels[-len(wanted) + 1:] == wanted[1:]


def peer_fits(peer, own_stack, party):
    if "nodes" in peer:
        return party["kind"] == "host"
    if "domainNames" in peer:
        return (party["kind"] == "world" and party["address"] not in METADATA and
                any(name_fits(pattern, name) for pattern in peer["domainNames"] for name in party.get("names", [])))
    if "ipBlock" in peer:
        return block_fits(peer["ipBlock"]["cidr"], peer["ipBlock"].get("except", []), party)
    if "networks" in peer:
        return any(block_fits(n, [], party) for n in peer["networks"])
    if "namespaces" in peer:
        return instance_fits(peer["namespaces"], {}, party)
    if "pods" in peer:
        return instance_fits(peer["pods"].get("namespaceSelector", {}), peer["pods"].get("podSelector", {}), party)
    stacks = peer.get("namespaceSelector")
    if stacks is None:
        stacks = {"matchLabels": {"io.proa.stack": own_stack}}
    return instance_fits(stacks, peer.get("podSelector", {}), party)


def port_fits(port, protocol, number):
    if "portNumber" in port:
        return port["portNumber"].get("protocol", "TCP").lower() == protocol and port["portNumber"]["port"] == number
    if "portRange" in port:
        r = port["portRange"]
        return r.get("protocol", "TCP").lower() == protocol and r["start"] <= number <= r["end"]
    if port.get("protocol", "TCP").lower() != protocol:
        return False
    return "port" not in port or port["port"] <= number <= port.get("endPort", port["port"])


def rule_fits(rule, direction, own_stack, party, protocol, number):
    ports = rule.get("ports") or []
    if ports and not any(port_fits(p, protocol, number) for p in ports):
        return False
    peers = rule.get("from" if direction == "ingress" else "to") or []
    if not peers:
        metadata = direction == "egress" and party.get("address") in METADATA
        return party["kind"] != "host" and not metadata
    return any(peer_fits(p, own_stack, party) for p in peers)


def speaks(policy, direction):
    types = policy["spec"].get("policyTypes")
    if types is None:
        return direction == "ingress" or "egress" in policy["spec"]
    return direction.capitalize() in types


def decide(policies, direction, subject, peer, protocol, number):
    if direction == "ingress" and peer["kind"] == "host":
        return True
    admins = sorted((p for p in policies if p["kind"] == "AdminNetworkPolicy"),
                    key=lambda p: (p["spec"]["priority"], p["metadata"]["name"]))
    for action in (rule["action"] for p in admins if admin_selects(p, subject)
                   for rule in p["spec"].get(direction, [])
                   if rule_fits(rule, direction, "", peer, protocol, number)):
        if action == "Pass":
            break
        return action == "Allow"
    isolated = False
    for p in policies:
        if p["kind"] != "NetworkPolicy" or not speaks(p, direction):
            continue
        stack = p["metadata"].get("namespace", "default")
        if stack != subject["stack"] or not labels_fit(p["spec"].get("podSelector", {}), subject["labels"]):
            continue
        isolated = True
        if any(rule_fits(r, direction, stack, peer, protocol, number) for r in p["spec"].get(direction, [])):
            return True
    if isolated or subject["deny"]:
        return False
    if direction == "egress":
        return peer["kind"] != "host" and peer.get("address") not in METADATA
    return peer["kind"] != "instance" or peer["stack"] == subject["stack"]


def admin_selects(policy, party):
    subject = policy["spec"]["subject"]
    if "namespaces" in subject:
        return instance_fits(subject["namespaces"], {}, party)
    return instance_fits(subject["pods"].get("namespaceSelector", {}), subject["pods"].get("podSelector", {}), party)


def allowed(policies, source, target, protocol, number):
    """Whether a connection is: by the policies, and by where the two are."""
    if source["kind"] == "instance" and target["kind"] == "instance" and source["network"] != target["network"]:
        return False
    if source["kind"] == "world" and (protocol, number) not in target["published"]:
        return False
    if source["kind"] == "instance" and not decide(policies, "egress", source, target, protocol, number):
        return False
    return target["kind"] != "instance" or decide(policies, "ingress", target, source, protocol, number)
