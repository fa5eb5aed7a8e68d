"""The docker-credential-gcr of our VMs; Container-Optimized OS has the real one. Run as a program.

It knows what a boot asks of it, `configure-docker --registries R`, and what docker asks, `get`.
"""

import json
import os
import sys
import urllib.request
from pathlib import Path


def main() -> None:
    """Do as told; anything else is an error."""
    if sys.argv[1:3] == ["configure-docker", "--registries"]:
        config = Path(os.environ["HOME"]) / ".docker" / "config.json"
        config.parent.mkdir(parents=True, exist_ok=True)
        helpers = dict.fromkeys(sys.argv[3].split(","), "gcr")
        config.write_text(json.dumps({"credHelpers": helpers}), encoding="utf-8")
    elif sys.argv[1:] == ["get"]:
        server = sys.stdin.read().strip()
        host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
        url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
        request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            token = json.load(answer)["access_token"]
        print(json.dumps({"ServerURL": server, "Username": "_dcgcr_token", "Secret": token}))  # noqa: T201
    else:
        sys.exit(f"the sandbox does not implement docker-credential-gcr {' '.join(sys.argv[1:])}")


if __name__ == "__main__":
    main()
