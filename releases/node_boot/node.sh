#!/bin/bash
# Run the agent, in the foreground. What is missing is made; what is there is left alone, so that
# starting again, and starting another agent, never touches a container that serves.
# The firewall of Container-Optimized OS lets in what Docker publishes; nothing is to be opened here.
set -euo pipefail
node=${NODE%%.*}
metadata=${GCE_METADATA_HOST:-169.254.169.254}
export HOME=$STATE_DIRECTORY # docker's credentials go there; root's own home is read-only

agent_image() {
  curl --silent --fail --max-time 5 --header 'Metadata-Flavor: Google' \
    "http://$metadata/computeMetadata/v1/instance/attributes/model-deploy-agent" || printf %s "$AGENT_IMAGE"
}

ensure_image() {
  docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1"
}

# 2: not known. The metadata server may not quite be there at a boot, and a 503 says nothing of the attribute.
has_attribute() {
  local code
  for _ in {1..30}; do
    code=$(curl --silent --output /dev/null --write-out '%{http_code}' --max-time 5 \
      --header 'Metadata-Flavor: Google' \
      "http://$metadata/computeMetadata/v1/instance/attributes/$1") || true
    case $code in
      200) return 0 ;;
      404) return 1 ;;
    esac
    sleep 1
  done
  echo "the metadata server does not say whether there is $1: $code" >&2
  return 2
}

# An adoption is being taken back, or has only begun. The engine would bring the edge back at the next boot,
# with the port that the old container is to have.
leave_to_the_startup_agent() {
  echo "leaving the VM to the container startup agent"
  docker ps --all --quiet --filter "label=model-deploy.node=$node" | xargs --no-run-if-empty docker rm --force
  exec sleep infinity
}

# Google's container startup agent gave its container the host's network and Docker's restart policy `always`:
# the engine brings it back at every boot, with the port that the edge is to have.
remove_old_containers() {
  local old
  for old in $(docker ps --all --filter "name=${OLD_CONTAINERS:-^klt-}" --format '{{.Names}}'); do
    echo "removing $old, which the container startup agent had started"
    docker rm --force "$old" >/dev/null
  done
}

# Services have fixed addresses, which works only on a subnet that was named; the first free one is taken.
ensure_network() {
  docker network inspect "$node" >/dev/null 2>&1 && return
  local said third
  for third in {0..255}; do
    said=$(docker network create --label "model-deploy.node=$node" \
      --subnet "172.31.$third.0/24" --gateway "172.31.$third.1" "$node" 2>&1) && return
    [[ $said == *overlap* ]] || break
  done
  echo "no network: $said" >&2
  return 1
}

declared=0
has_attribute gce-container-declaration || declared=$?
if [ "$declared" = 0 ] && has_attribute model-deploy-adopted; then leave_to_the_startup_agent; fi
if [ "$declared" = 1 ]; then remove_old_containers; fi
docker-credential-gcr configure-docker --registries "$REGISTRY"
image=$(agent_image)
if [ "$image" != "$AGENT_IMAGE" ] && ! ensure_image "$image"; then
  echo "the agent $image, which the metadata names, cannot be pulled; $AGENT_IMAGE goes on" >&2
  image=$AGENT_IMAGE
fi
ensure_image "$image"
ensure_image "$EDGE_IMAGE"
ensure_network
subnet=$(docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' "$node")
containers=$(docker info --format '{{.DockerRootDir}}')/containers
for volume in "$node-state" "$node-edge"; do
  docker volume create --label "model-deploy.node=$node" "$volume" >/dev/null
done
mkdir --parents "$STATE_DIRECTORY/models"
docker rm --force "$node-agent" >/dev/null 2>&1 || true

# shellcheck disable=SC2086 # AGENT_ARGUMENTS are several words
exec docker run --rm --init --name "$node-agent" --label "model-deploy.node=$node" \
  --network "$node" --ip "${subnet%.*}.2" --log-opt max-size=10m --log-opt max-file=3 \
  --volume /var/run/docker.sock:/var/run/docker.sock \
  --volume "$containers:/containers:ro" \
  --volume "$node-state:/state" --volume "$node-edge:/edge" \
  --volume "$STATE_DIRECTORY/models:/models" \
  "$image" --node "$node" --ports "$EDGE_PORTS" --edge-image "$EDGE_IMAGE" \
  --listen 0.0.0.0 --boot "$BOOT" --metadata "http://$metadata" --registry "$REGISTRY" \
  --bucket "$BUCKET" --models-bucket "$MODELS_BUCKET" --models "$STATE_DIRECTORY/models" \
  --image "$image" ${EDGE_TLS_PORTS:+--tls-ports "$EDGE_TLS_PORTS"} ${GPU_DRIVER:+--gpu-driver "$GPU_DRIVER"} ${AGENT_ARGUMENTS:-}
