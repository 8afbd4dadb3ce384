#!/usr/bin/env python3
"""Archives of podreplay from outside.

  podreplay_case.py absent ARCHIVE SECRET...   none of the secrets is in the uncompressed archive, in any form
  podreplay_case.py hostile ARCHIVE DIR        spoils ARCHIVE in every way it knows; each must be refused, and DIR
                                               (podreplay's TMPDIR) be empty after it
  podreplay_case.py rights ARCHIVE ROOT RUNROOT
                                               a replay of it is refused when its container asks for this machine
"""
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile


def unzstd(path):
    return subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout


def zstd(data):
    return subprocess.run(["zstd", "-cq"], input=data, stdout=subprocess.PIPE, check=True).stdout


def absent(path, secrets):
    data = unzstd(path)
    for secret in secrets:
        raw = secret.encode()
        for form in (raw, raw[:12], base64.b64encode(raw), raw.hex().encode()):
            assert form not in data, f"{form!r} is in {path}"


def read(path):
    with tarfile.open(fileobj=io.BytesIO(unzstd(path))) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}


def entry(name, data=b"", **more):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def sums(files):
    return "".join(f"{hashlib.sha256(d).hexdigest()}  {n}\n" for n, d in files).encode()


def tar_of(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def whole(files, listed=None):
    """A well-formed archive of these (name, bytes), with a list of them or another one."""
    head = sums(sorted(listed if listed is not None else files))
    return tar_of([entry("SHA256SUMS", head)] + [entry(n, d) for n, d in files])


def kinds(files):
    """name -> what the archive is, as a tar stream"""
    rest = sorted((n, d) for n, d in files.items() if n != "SHA256SUMS")
    index = files["podreplay.json"]

    def plus(name, data=b"x"):
        return sorted(rest + [(name, data)])

    def special(**more):
        head = sums(plus("volumes/0/x", b""))
        return tar_of([entry("SHA256SUMS", head)] +
                      [entry(n, d, **(more if n == "volumes/0/x" else {})) for n, d in plus("volumes/0/x", b"")])

    yield "path upwards", whole(plus("volumes/../../x"))
    yield "absolute path", whole(plus("/volumes/x"))
    yield "dot", whole(plus("volumes/./x"))
    yield "foreign name", whole(plus("etc/passwd"))
    yield "control character", whole(plus("volumes/0/a\x07"))
    yield "long name", whole(plus("volumes/" + "x" * 300))
    yield "deep name", whole(plus("volumes/" + "x/" * 600 + "x"))
    yield "file below a file", whole(plus("volumes/0.json/x"))
    yield "symbolic link", special(type=tarfile.SYMTYPE, linkname="/etc")
    yield "hard link", special(type=tarfile.LNKTYPE, linkname="podreplay.json")
    yield "directory", special(type=tarfile.DIRTYPE)
    yield "device", special(type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    yield "pipe", special(type=tarfile.FIFOTYPE)
    yield "unlisted file", whole(plus("volumes/0/x"), rest)
    yield "missing file", whole(rest, plus("volumes/0/x"))
    yield "missing last file", whole(rest[:-1], rest)
    yield "twice", tar_of([entry("SHA256SUMS", sums(rest))] + [entry(*f) for f in rest + [rest[-1]]])
    yield "listed twice", whole(rest + [rest[-1]])
    yield "out of order", tar_of([entry("SHA256SUMS", sums(rest[::-1]))] + [entry(*f) for f in rest[::-1]])
    yield "other bytes", whole([(n, d + b" " if n == "podreplay.json" else d) for n, d in rest], rest)
    yield "list not first", tar_of([entry(*f) for f in rest])
    yield "no list", tar_of([entry("podreplay.json", index)])
    yield "list of nonsense", tar_of([entry("SHA256SUMS", b"nonsense\n" * 9)] + [entry(*f) for f in rest])
    yield "no index", whole([f for f in rest if f[0] != "podreplay.json"])
    yield "index of nonsense", whole([("podreplay.json", b"[]")])
    yield "index without members", whole([("podreplay.json", b'{"format":"podreplay","version":1}')])
    yield "an id that is a path", whole([("podreplay.json", index.replace(b'"id": "', b'"id": "../../x/', 1))])
    yield "nothing", tar_of([])
    yield "something behind its end", whole(rest) + b"x" * 512
    yield "a large file", whole([("podreplay.json", index), ("volumes/0/x", b"\0" * (65 << 20))])


def hostile(path, directory):
    good = open(path, "rb").read()
    plain = unzstd(path)
    cases = [(name, zstd(data)) for name, data in kinds(read(path))]
    for at in (0, 3, 100, len(good) // 2, len(good) - 5, len(good) - 1):
        cases.append((f"cut off at {at}", good[:at]))
    for at in (0, 40, len(good) // 2, len(good) - 2):
        cases.append((f"damaged at {at}", good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1:]))
    cases += [("not compressed", plain), ("followed by something", good + b"x"),
              ("cut tar", zstd(plain[:len(plain) // 2])), ("gzip", b"\x1f\x8b" + good)]
    bad = os.path.join(os.path.dirname(path), "bad.tar.zst")
    for name, data in cases:
        with open(bad, "wb") as f:
            f.write(data)
        r = subprocess.run(["podreplay", "run", "--stub-network", bad], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True, timeout=120)
        line = r.stderr.strip()
        assert r.returncode == 6, f"{name}: status {r.returncode}: {line}"
        assert not r.stdout and line.startswith(f"podreplay: error: {bad}: ") and "\n" not in line, f"{name}: {line}"
        assert not os.listdir(directory), f"{name}: leaves {os.listdir(directory)}"
        print(f"{name}: {line[len(bad) + 20:]}")
    print(len(cases), "refused")


def rights(path, root, runroot):
    files = read(path)
    name = next(n for n in files if n.endswith("/container.json"))
    bad = os.path.join(os.path.dirname(path), "bad.tar.zst")

    def replay(**more):
        config = json.loads(files[name])
        for key, value in more.items():
            both = isinstance(config.get(key), dict) and isinstance(value, dict)
            config[key] = {**config[key], **value} if both else value
        config = {k: v for k, v in config.items() if v is not None}
        changed = sorted((n, json.dumps(config).encode() if n == name else d) for n, d in files.items() if n != "SHA256SUMS")
        with open(bad, "wb") as f:
            f.write(zstd(whole(changed)))
        r = subprocess.run(["podreplay", "run", "--stub-network", "--root", root, "--runroot", runroot, bad],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        print(more, r.returncode, r.stderr)
        return r

    for more in ({"linux": {"security_context": {"privileged": True}}}, {"LINUX": {"securityContext": {"Privileged": True}}, "linux": None},
                 {"linux": {"security_context": {"namespace_options": {"pid": 2}}}},
                 {"linux": {"security_context": {"namespaceOptions": {"ipc": "NODE"}}}},
                 {"linux": {"security_context": {"capabilities": {"add_capabilities": ["ALL"]}}}},
                 {"linux": {"security_context": {"masked_paths": ["/x"]}}},
                 {"devices": [{"host_path": "/dev/null", "container_path": "/dev/null", "permissions": "r"}]},
                 {"labels": {"io.kubernetes.container.name": "x"}}, {"annotations": {"cdi.k8s.io/x": "vendor.com/class=device"}}):
        r = replay(**more)
        assert r.returncode == 7 and "only with --allow-privileged" in r.stderr
    # What the host has is not mounted, also when the request says so and no volume stands for it.
    r = replay(mounts=[{"container_path": "/host", "host_path": "/etc"}])
    assert r.returncode == 6 and "/etc is no volume of the archive" in r.stderr


if sys.argv[1] == "absent":
    absent(sys.argv[2], sys.argv[3:])
elif sys.argv[1] == "rights":
    rights(*sys.argv[2:])
else:
    hostile(sys.argv[2], sys.argv[3])
