"""What a VM is given to boot into a node: cloud-init user-data for Container-Optimized OS."""

from releases.node_boot.user_data import (
    ADOPTED_KEY,
    AGENT_IMAGE_KEY,
    DECLARATION_KEY,
    DESIRED_KEY,
    NodeBoot,
    given_back,
    node_user_data,
)

__all__ = [
    "ADOPTED_KEY",
    "AGENT_IMAGE_KEY",
    "DECLARATION_KEY",
    "DESIRED_KEY",
    "NodeBoot",
    "given_back",
    "node_user_data",
]
