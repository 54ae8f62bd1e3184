"""What remains of a network of jobs, and how a test removes it."""

from __future__ import annotations

import subprocess

from appliance.containers.network import interface


def forget(prefix: str, *docker: str) -> None:
    """Remove the network of the jobs and the box's rules for it, where they are."""
    command = docker or ("docker",)
    listing = [*command, "ps", "--all", "--quiet", "--filter", f"name={prefix}-"]
    names = subprocess.run(listing, capture_output=True, text=True).stdout.split()
    if names:
        subprocess.run([*command, "rm", "--force", *names], capture_output=True)
    subprocess.run([*command, "network", "rm", prefix], capture_output=True)
    for family in ("inet", "bridge"):
        subprocess.run(["nft", "delete", "table", family, interface(prefix)], capture_output=True)
