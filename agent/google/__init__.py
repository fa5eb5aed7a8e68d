"""Google Cloud as a node needs it: plain HTTP with the VM's own identity, no client library."""
