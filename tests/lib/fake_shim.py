#!/usr/bin/python3
# A containerd shim that no real one is. The part of its program name after "shim-" says what it does:
#   vm          all well, but its container's process is nowhere on the host (its pid is the shim's own); told about
#               an OOM kill at the end; wants to be started by a bootstrap message, as shims of containerd 2.3 do
#   json        the same, started and answering as those of containerd 2.0 to 2.2: options, and JSON with version 3
#   fail huge garbage-start grpc newer     what `start` does wrong
#   garbage giant silent half text type words     how Create is answered
import json, os, signal, socket, struct, subprocess, sys, threading, time

mode = os.path.basename(sys.argv[0]).split("shim-")[1]
args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
action = sys.argv[-1]
works = mode in ("vm", "json")


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def parse(data):
    out, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n

    while at < len(data):
        key = number()
        n = number()
        if key & 7 == 2:
            n, at = data[at : at + n], at + n
        out[key >> 3] = n
    return out


def frame(stream, data, kind=2):
    return struct.pack(">IIBB", len(data), stream, kind, 0) + data


def read_frame(s):
    head = s.recv(10, socket.MSG_WAITALL)
    if len(head) < 10:
        return None
    length, stream, _, _ = struct.unpack(">IIBB", head)
    return stream, parse(s.recv(length, socket.MSG_WAITALL) if length else b"")


ends = {}  # (id, exec id) -> [event, status]
procs = {}


def run(key, request):
    """The command itself runs here: a stand-in for what a virtual machine would run."""
    r = parse(request.get(7, b"")) if key[1] else {}
    spec = json.loads(r[2]) if r else json.load(open("config.json"))["process"]
    out = os.open(request[6 if not key[1] else 5].decode(), os.O_WRONLY)
    procs[key] = (spec["args"], out)
    ends[key] = [threading.Event(), 0]


def start(key):
    command, out = procs[key]
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    os.close(out)
    procs[key] = p

    def wait():
        code = p.wait()
        if not key[1]:
            oom(key[0])
        ends[key][1] = code if code >= 0 else 128 - code
        ends[key][0].set()

    threading.Thread(target=wait, daemon=True).start()


def oom(id):
    event = field(1, "containerd.events.TaskOOM") + field(2, field(1, id))
    envelope = field(2, "crisp") + field(3, "/tasks/oom") + field(4, event)
    request = field(1, "containerd.services.events.ttrpc.v1.Events") + field(2, "Forward") + field(3, field(1, envelope))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.environ["TTRPC_ADDRESS"])
        s.sendall(frame(1, request, 1))
        assert read_frame(s)[0] == 1


def answer(s, stream, method, r):
    key = (r.get(1, b"").decode(), r.get(2, b"").decode())
    if method == "Create":
        run((key[0], ""), r)
    elif method == "Exec":
        run(key, r)
    elif method == "Start":
        start(key)
    elif method == "Wait":
        ends[key][0].wait()
        return field(1, ends[key][1])
    elif method == "Kill":
        os.killpg(procs[key].pid, r[3])
    elif method == "State":
        done = ends[key][0].is_set()
        return field(4, 3 if done else 2 if isinstance(procs[key], subprocess.Popen) else 1)
    elif method == "Connect":
        return field(1, os.getpid())
    elif method == "Shutdown":
        os._exit(0)
    return field(1, os.getpid()) if method in ("Create", "Start") else b""


def bad(s, stream):
    if mode == "silent":
        time.sleep(20)
    elif mode == "garbage":
        s.sendall(os.urandom(4096))
    elif mode == "giant":
        s.sendall(b"\xff\xff\xff\xf0" + struct.pack(">IBB", stream, 2, 0) + b"x" * 4096)
    elif mode == "half":
        s.sendall(frame(stream, field(2, field(1, 42)))[:-2])
    elif mode == "text":
        s.sendall(frame(stream, b"\xff\xff no message"))
    elif mode == "type":
        s.sendall(frame(stream, b"", 9))
    else:
        s.sendall(frame(stream, field(1, field(1, 9) + field(2, "not today: \x1b[31mthe disk is\nfull: unknown"))))
    if mode in ("half", "garbage"):
        os._exit(1)


def serve(s):
    while True:
        got = read_frame(s)
        if not got:
            return
        stream, request = got
        method = request[2].decode()
        if works and request[1] != b"containerd.task.v3.Task":
            os._exit(1)
        if not works and method != "Wait":
            bad(s, stream)
        elif works:
            threading.Thread(
                target=lambda: s.sendall(frame(stream, field(2, answer(s, stream, method, parse(request.get(3, b""))))))
            ).start() if method == "Wait" else s.sendall(
                frame(stream, field(2, answer(s, stream, method, parse(request.get(3, b"")))))
            )


def daemon(listening):
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    signal.alarm(60)
    while True:
        s, _ = listening.accept()
        threading.Thread(target=serve, args=(s,), daemon=True).start()


if action == "delete":
    sys.stdout.buffer.write(field(1, os.getpid()) + field(2, 137))
    sys.exit(0)
if action != "start":
    sys.exit("no such flag: -info")
if mode == "fail":
    sys.exit("containerd-shim-fail: no such hypervisor: /dev/kvm")
if mode == "huge":
    sys.exit(sys.stdout.write("x" * 5000000) and 0)
if mode == "garbage-start":
    sys.stdout.buffer.write(b"\x08\xff\xff\x00garbage")
    sys.exit(0)
params = sys.stdin.buffer.read()
if mode == "vm" and not params:
    sys.exit("shim was started through the deprecated bootstrap API")
if mode == "vm":
    assert parse(params)[1].decode() == args["-id"], params
address = "crisp-fake-%d" % os.getpid()
listening = socket.socket(socket.AF_UNIX)
listening.bind("\0" + address)
listening.listen(8)
if os.fork() == 0:
    daemon(listening)
if mode == "grpc":
    print(json.dumps({"version": 2, "address": address, "protocol": "grpc"}))
elif mode == "json":
    assert os.environ["MAX_SHIM_VERSION"] == "3" and args["-id"] and not params
    print(json.dumps({"version": 3, "address": address, "protocol": "ttrpc"}))
elif mode == "newer":
    print(json.dumps({"version": 9, "address": address, "protocol": "ttrpc"}))
elif mode == "vm":
    sys.stdout.buffer.write(field(1, 3) + field(2, address) + field(3, "ttrpc"))
else:
    print(address)
