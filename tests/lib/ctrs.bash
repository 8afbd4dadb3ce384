# shellcheck shell=bash
# Containers for the tests of ocibundle: a store laid out by hand (the tests need configurations that no registry has),
# two pods ($POD, $PRIV), and ways to ask. Load after helpers.bash.
#
#   ctrs_setup_file, ctrs_teardown_file, ctrs_teardown   for the functions of those names
fast_jq
ctrs_setup_file() {
  requires root netns
  crisp_file_setup
  CGROUP=/crisp-test/ob-$$
  export CGROUP
  local base=$CRISP_TMP/base
  mkdir -p "$base"/{bin,etc,proc,sys,dev,tmp,root,data/sub} "$ROOT"
  cp /bin/busybox "$base/bin/busybox"
  busybox_applets "$base/bin"
  printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001:user:/home/user:/bin/sh\n12:x:77:78::/:\n' >"$base/etc/passwd"
  printf 'root:x:0:\nuser:x:1001:\nextra:x:2000:nobody,user\nroots:x:5:root\n' >"$base/etc/group"
  echo content >"$base/data/sub/file"
  chown 1000:1001 "$base/data/sub"
  chmod 2750 "$base/data/sub"
  chmod 1777 "$base/tmp"
  store_image base '{"Cmd":["/bin/sh"],"Env":["PATH=/bin","FROM=image"]}' "$base"
  rm -rf "$base"
  POD=$(pod_json obpod | jq ".linux.cgroup_parent = \"$CGROUP\"" | podnet create -)
  PRIV=$(pod_json obpriv | jq ".linux.cgroup_parent = \"$CGROUP\" | .linux.security_context.privileged = true" | podnet create -)
  export POD PRIV
}
ctrs_teardown_file() {
  crisp_file_teardown
  find /sys/fs/cgroup -depth -type d -path "*$CGROUP*" -exec rmdir {} \; 2>/dev/null || true
}
ctrs_teardown() {
  local id
  for id in "$ROOT"/containers/*; do [ ! -d "$id" ] || ocibundle rm "${id##*/}"; done
  no_containers
  ! grep -F " $RUNROOT/containers/" /proc/self/mountinfo
  [ "$(find "$ROOT/reserved" -type l | wc -l)" = "$(find "$ROOT/pods" -mindepth 1 -maxdepth 1 -type d | wc -l)" ]
}

no_containers() { is_empty "$ROOT/containers" "$RUNROOT/containers"; }

# deep_image: the image "deep" of 120 layers: /many/top is the topmost's number, /many/N each one's own. By one process.
deep_image() {
  python3 - "$ROOT/layers" <<'PY' >"$CRISP_TMP/deep"
import hashlib, json, os, sys
ids = []
for i in range(1, 121):
    ids.append(hashlib.sha256(b"deep %d" % i).hexdigest())
    layer = sys.argv[1] + "/" + ids[-1]
    os.makedirs(layer + "/diff/many")
    for name in "top", str(i):
        with open(layer + "/diff/many/" + name, "w") as f:
            f.write("%d\n" % i)
    with open(layer + "/layer.json", "w") as f:
        json.dump({"version": 1, "diff_id": "sha256:" + ids[-1], "size": 1, "implied": False}, f)
print(json.dumps(ids))
PY
  image_of_layers deep '{"Cmd":["x"]}' "$(cat "$CRISP_TMP/deep")"
}

# store_image NAME CONFIG [DIR...]: an image with a layer for each DIR (none: the base's), bottom first; prints its id
store_image() {
  local name=$1 config=$2 dir layer layers='[]'
  shift 2
  mkdir -p "$ROOT"/{images,names,layers}
  for dir; do
    layer=$(printf '%s' "$dir" | sha256sum | cut -c1-64)
    mkdir -p "$ROOT/layers/$layer"
    cp -a "$dir" "$ROOT/layers/$layer/diff"
    echo "{\"version\":1,\"diff_id\":\"sha256:$layer\",\"size\":1,\"implied\":false}" >"$ROOT/layers/$layer/layer.json"
    layers=$(jq -c ". + [\"$layer\"]" <<<"$layers")
  done
  if [ $# = 0 ]; then layers=$(jq -c '[.layers[].id]' "$ROOT/names/docker.io%2flibrary%2fbase:latest/image.json"); fi
  image_of_layers "$name" "$config" "$layers"
}
# image_of_layers NAME CONFIG LAYERS: of layers that are in the store, a JSON array of their ids
image_of_layers() {
  local name=$1 config=$2 layers=$3 id
  jq -nc --argjson c "$config" --argjson l "$layers" --arg name "$name" '{ architecture: "amd64", os: "linux", author: $name,
    config: $c, rootfs: { type: "layers", diff_ids: ($l | map("sha256:" + .)) } }' >"$CRISP_TMP/config.json"
  id=$(sha256sum "$CRISP_TMP/config.json" | cut -c1-64)
  mkdir -p "$ROOT/images/$id"
  cp "$CRISP_TMP/config.json" "$ROOT/images/$id/config.json"
  echo '{}' >"$ROOT/images/$id/manifest.json"
  jq -nc --argjson l "$layers" --arg id "sha256:$id" '{ version: 1, id: $id, manifest_digest: $id, size: 1, created_at: 1,
    layers: ($l | map({ id: ., diff_id: ("sha256:" + .), digest: ("sha256:" + .), size: 1 })) }' >"$ROOT/images/$id/image.json"
  ln -sfn "../images/$id" "$ROOT/names/docker.io%2flibrary%2f$name:latest"
  echo "sha256:$id"
}

# ctr [JQ]: a ContainerConfig, changed by a jq filter
ctr() {
  jq -nc '{ metadata: { name: "c" }, image: { image: "base" }, command: ["/bin/sh", "-c", "true"] } | '"${1:-.}"
}
# dry [JQ]: the config.json that would be written
dry() { ctr "$@" | ocibundle create --dry-run "$POD" -; }
# refuse STATUS TEXT JQ: that exit status, nothing on stdout, TEXT in the message, nothing left behind
refuse() {
  ctr "$3" >"$CRISP_TMP/refused.json"
  run_err "$1" ocibundle create "${ON:-$POD}" "$CRISP_TMP/refused.json" || return 1
  [[ $stderr == *"$2"* ]] || { echo "expected: $2"; return 1; }
  [[ $stderr != *$'\n'* ]]
  no_containers
}
# in_ctr RUNTIME SHELL [JQ]: run that in a container; its output. ON is the pod.
in_ctr() {
  local id status=0
  id=$(S=$2 ctr "(.command[2] = env.S) | ${3:-.}" | ocibundle create "${ON:-$POD}" -) || return 99
  "$1" --root "$CRISP_TMP/rt" run -b "$RUNROOT/containers/$id/bundle" "$id" || status=$?
  ocibundle rm "$id"
  return $status
}
sec() { echo ".linux.security_context = { $1 }"; }
