"""cosign.py REGISTRY REPOSITORY DIGEST [WORD...]: sign an image as cosign does, with openssl, and push the signatures.

A word is either  key=FILE  (sign with that private key, as the words before it say) or sets something for the keys that
follow: reference=NAME signed=DIGEST type=TEXT for what the payload says; raw=TEXT for all of the payload; tamper=1 to
change the payload after signing; junk=N for N signatures by nobody before the next; sig=TEXT for the annotation.
where=REPOSITORY puts them there, docker=1 makes it a manifest of Docker's, manifest=TEXT pushes that text instead."""
import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import urllib.request

SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
OCI = "application/vnd.oci.image.%s.v1+json"
DOCKER = {"manifest": "application/vnd.docker.distribution.manifest.v2+json",
          "config": "application/vnd.docker.container.image.v1+json"}

registry, repository, digest = sys.argv[1:4]
where = repository


def call(method, url, data=None, **headers):
    request = urllib.request.Request(url, data=data, method=method,
                                     headers={k.replace("_", "-"): v for k, v in headers.items()})
    return urllib.request.urlopen(request)


def blob(data):
    name = "sha256:" + hashlib.sha256(data).hexdigest()
    url = call("POST", "http://%s/v2/%s/blobs/uploads/" % (registry, where), b"").headers["Location"]
    call("PUT", url + ("&" if "?" in url else "?") + "digest=" + name, data, Content_Type="application/octet-stream")
    return {"digest": name, "size": len(data)}


def sign(key, data):
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        kind = subprocess.run(["openssl", "pkey", "-in", key, "-noout", "-text"], capture_output=True, check=True)
        how = ["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", f.name] if b"ED25519" in kind.stdout \
            else ["dgst", "-sha256", "-sign", key, f.name]
        return subprocess.run(["openssl"] + how, capture_output=True, check=True).stdout


layers, says, docker, manifest = [], {"reference": "%s/%s" % (registry, repository), "signed": digest,
                                      "type": "cosign container image signature"}, False, None
raw = sig = tamper = None
for word in sys.argv[4:]:
    name, value = word.split("=", 1)
    if name in says:
        says[name] = value
    elif name == "where":
        where = value
    elif name == "docker":
        docker = True
    elif name == "raw":
        raw = value
    elif name == "tamper":
        tamper = True
    elif name == "sig":
        sig = value
    elif name == "manifest":
        manifest = value.encode()
    elif name in ("key", "junk"):
        text = raw or json.dumps({"critical": {"identity": {"docker-reference": says["reference"]},
                                               "image": {"docker-manifest-digest": says["signed"]},
                                               "type": says["type"]}, "optional": None})
        payload = text.encode()
        signature = sig
        if name == "key" and sig is None:
            signature = base64.b64encode(sign(value, payload)).decode()
        entry = dict(blob(payload + (b" " if tamper else b"")), mediaType=SIGNING)
        count = 1
        if name == "junk":
            signature, count = base64.b64encode(b"0" * 70).decode(), int(value)
        layers += [dict(entry, annotations={"dev.cosignproject.cosign/signature": signature})] * count
config = dict(blob(b'{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}'),
              mediaType=DOCKER["config"] if docker else OCI % "config")
kind = DOCKER["manifest"] if docker else OCI % "manifest"
body = manifest or json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}).encode()
call("PUT", "http://%s/v2/%s/manifests/%s.sig" % (registry, where, digest.replace(":", "-")), body, Content_Type=kind)
