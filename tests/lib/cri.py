"""A CRI client that is not ours: grpcio, with the messages compiled at run time from libcommon/cri.proto.

    client = cri.Client("/run/crisp/crisp.sock")
    client.RunPodSandbox(config={...}).pod_sandbox_id     # arguments are the request's fields
    client.raw("ListContainers")                          # the undecoded answer, for timing
"""
import os
import shutil
import sys
import tempfile
from importlib.util import cache_from_source

import grpc
from google.protobuf import json_format

_proto_dir = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "libcommon")


def _compile():
    """The module of cri.proto; kept in $BUILD, where there is one, for the next program, and with it what Python makes of its
    12,000 lines (also where PYTHONDONTWRITEBYTECODE is set): both take longer than most of what the tests ask."""
    proto = os.path.join(_proto_dir, "cri.proto")
    kept = os.path.join(os.environ.get("BUILD", "/nowhere"), "gen", "python")
    made = os.path.join(kept, "cri_pb2.py")
    out = kept
    if not os.path.exists(made) or os.path.getmtime(made) < os.path.getmtime(proto):
        from grpc_tools import protoc
        out = tempfile.mkdtemp(prefix="crisp-proto.")
        if protoc.main(["protoc", "-I" + _proto_dir, "--python_out=" + out, "cri.proto"]) != 0:
            raise RuntimeError("cri.proto does not compile")
        if os.path.isdir(os.path.dirname(kept)):
            os.makedirs(kept, exist_ok=True)
            shutil.copy(os.path.join(out, "cri_pb2.py"), made + ".%d" % os.getpid())
            os.rename(made + ".%d" % os.getpid(), made)
    code = cache_from_source(made)
    if os.access(kept, os.W_OK) and not (os.path.exists(code) and os.path.getmtime(code) >= os.path.getmtime(made)):
        import py_compile
        py_compile.compile(made)
    sys.path.insert(0, out)
    import cri_pb2
    sys.path.remove(out)
    if out != kept:
        shutil.rmtree(out)
    return cri_pb2


pb = _compile()
_methods = {}
for _service in pb.DESCRIPTOR.services_by_name.values():
    for _m in _service.methods:
        _methods[_m.name] = ("/%s/%s" % (_service.full_name, _m.name), getattr(pb, _m.input_type.name),
                             getattr(pb, _m.output_type.name))


class Client:
    def __init__(self, socket, timeout=120, options=()):
        self.timeout = timeout
        self.channel = grpc.insecure_channel("unix:" + socket, options=[
            ("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20),
            ("grpc.use_local_subchannel_pool", 1), *options])
        self._calls = {}

    def request(self, name, **fields):
        """The message: timeout_ is its field of that name, where timeout is the call's own."""
        return json_format.ParseDict({k.rstrip("_"): v for k, v in fields.items()}, _methods[name][1](), ignore_unknown_fields=False)

    def send(self, name, request, timeout=None):
        """The undecoded answer to a message that is made already: what Python takes for that is no runtime's."""
        key = ("raw", name)
        if key not in self._calls:
            self._calls[key] = self.channel.unary_unary(_methods[name][0], lambda m: m.SerializeToString(), lambda b: b)
        return self._calls[key](request, timeout=timeout or self.timeout)

    def raw(self, name, timeout=None, **fields):
        return self.send(name, self.request(name, **fields), timeout=timeout)

    def call(self, name, timeout=None, **fields):
        return _methods[name][2].FromString(self.raw(name, timeout=timeout, **fields))

    def future(self, name, timeout=None, **fields):
        rpc = self.channel.unary_unary(_methods[name][0], lambda m: m.SerializeToString(), _methods[name][2].FromString)
        return rpc.future(self.request(name, **fields), timeout=timeout or self.timeout)

    def stream(self, name, timeout=None, **fields):
        """The call of a streaming method: iterate over it, or cancel() it."""
        rpc = self.channel.unary_stream(_methods[name][0], lambda m: m.SerializeToString(), _methods[name][2].FromString)
        return rpc(self.request(name, **fields), timeout=timeout or self.timeout)

    def __getattr__(self, name):
        if name not in _methods:
            raise AttributeError(name)
        return lambda timeout=None, **fields: self.call(name, timeout=timeout, **fields)

    def close(self):
        self.channel.close()
