"""Policies as tests write them."""

import json

from cli import proa


def apply(*documents, run=proa):
    return run("policy", "apply", "-", input="\n---\n".join(json.dumps(d) for d in documents))


def remove_all(run=proa):
    left = run("policy", "ls", "--format", "{{.Stack}}/{{.Name}}").lines
    if left:
        run("policy", "rm", *left)


def network(name, spec, stack="default"):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": stack}, "spec": spec}


def admin(name, priority, spec, subject=None):
    return {"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy", "metadata": {"name": name},
            "spec": {"priority": priority, "subject": subject or {"namespaces": {}}, **spec}}


def app(name):
    return {"matchLabels": {"app": name}}


def ports(*numbers, protocol="TCP"):
    return [{"protocol": protocol, "port": n} for n in numbers]


def stack(name):
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}
