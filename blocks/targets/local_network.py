"""The network of a node on this machine."""

import ipaddress
from collections.abc import Mapping
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from releases.problem import Failed


def ensure_network(client: docker.DockerClient, name: str, labels: Mapping[str, str]) -> str:
    """A subnet of its own, since fixed addresses work on no other; how it begins. Raises Failed."""
    try:
        network = client.networks.get(name)
    except NotFound:
        network = _new_network(client, name, dict(labels))
    network.reload()
    return str(network.attrs["IPAM"]["Config"][0]["Subnet"]).rsplit(".", 1)[0]


def _new_network(client: docker.DockerClient, name: str, labels: dict[str, str]) -> Any:
    for subnet in ipaddress.ip_network("172.31.0.0/16").subnets(new_prefix=24):
        pool = IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))
        try:
            return client.networks.create(name, labels=labels, ipam=IPAMConfig(pool_configs=[pool]))
        except APIError as error:
            if "overlaps" not in str(error):
                raise
    raise Failed("every subnet of 172.31.0.0/16 is taken", next_step="docker network prune")
