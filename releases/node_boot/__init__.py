"""What a VM is given to boot into a node: cloud-init user-data for Container-Optimized OS."""

from releases.node_boot.user_data import AGENT_IMAGE_KEY, DESIRED_KEY, NodeBoot, node_user_data

__all__ = ["AGENT_IMAGE_KEY", "DESIRED_KEY", "NodeBoot", "node_user_data"]
