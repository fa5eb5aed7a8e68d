"""The program on a node: reads the desired state, swaps containers, reports."""
