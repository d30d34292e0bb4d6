"""Turns the classic example into a pod that runs on this machine, without Kubernetes and the cloud.

Reads the output of tests/clients/kubernetes, and prints the pod. The argument is the directory of the sandbox's AccessKey.
"""

import json
import os
import sys

objects = json.load(sys.stdin)["objects"]["classic"]
pod = next(thing for thing in objects if thing["kind"] == "Pod")
spec = pod["spec"]
job, sidecar = spec["containers"]


def variable(name, value):
    return {"name": name, "value": value}


def mount(container, path):
    """Mounts a path of this machine into a container."""
    name = f"host-{len(spec['volumes'])}"
    spec["volumes"].append({"name": name, "hostPath": {"path": path}})
    container["volumeMounts"].append({"name": name, "mountPath": path, "readOnly": True})


# The sandbox accepts the AccessKey that it prints, and no tokens of a cluster.
gone = {"ALIBABA_CLOUD_ROLE_ARN", "RAM_SIDECAR_IDENTITY", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE"}
assert gone <= {entry["name"] for entry in sidecar["env"]}
sidecar["env"] = [entry for entry in sidecar["env"] if entry["name"] not in gone]
identity = sys.argv[1]
sidecar["env"] += [
    variable("RAM_SIDECAR_IDENTITY", "access_key"),
    variable("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1234567890123456:role/sandbox-role"),
    variable("ALIBABA_CLOUD_ACCESS_KEY_ID_FILE", f"{identity}/ID"),
    variable("ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE", f"{identity}/SECRET"),
    variable("ALIBABA_CLOUD_STS_ENDPOINT", "http://127.0.0.1:7005"),
]
for things in sidecar["volumeMounts"], spec["volumes"]:
    things[:] = [thing for thing in things if thing["name"] != "rrsa-oidc-token"]
mount(sidecar, identity)
sidecar["image"] = "localhost/ram-sidecar"

# This machine's Python with the SDK, and the job of the tests.
here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
clients = f"{here}/tests/clients/python"
job["image"] = "localhost/debian"
job["args"] = ["-B", f"{clients}/pod.py"]
job["env"].append(variable("PATH", f"{sys.prefix}/bin:/usr/bin"))
mount(job, "/usr")
mount(job, sys.prefix)
mount(job, clients)
if not sys.base_prefix.startswith("/usr"):
    mount(job, sys.base_prefix)

# Podman does not expand $(POD_UID) as Kubernetes does; the shell does it instead.
script = job["command"].index("-c") + 1
job["command"][script] = (
    'export ALIBABA_CLOUD_CREDENTIALS_URI="${ALIBABA_CLOUD_CREDENTIALS_URI%\\$*}$POD_UID"\n' + job["command"][script]
)

json.dump(pod, sys.stdout)
