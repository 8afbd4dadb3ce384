"""A CRI server that is not ours (grpcio), for the tests of CRI clients: it answers by what the request asks.

    cri_server.py SOCKET [LOG]

    ContainerStatus   container_id "code:N:TEXT": fails with that status and text; else NOT_FOUND
    ExecSync          cmd ["bytes", N]: N bytes of output; ["all"]: each of the 256 bytes; ["len"]: the length of
                      container_id in exit_code; ["left"]: milliseconds to the deadline in exit_code, -1 = none;
                      ["sleep", S]; ["metadata"]: the request's headers, one "name: value" a line
    StreamContainers  filter.id N: N messages of one container each; "fail": two messages, then UNAVAILABLE;
                      "slow": one message, and only after 5 seconds the next
    GetContainerEvents  an event every 20 ms for ever
LOG gets a line "cancelled METHOD" when a client gives a stream up.
"""
import os
import sys
import time
from concurrent import futures

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import grpc  # noqa: E402

import cri  # noqa: E402

pb = cri.pb


def log(line):
    if len(sys.argv) > 2:
        with open(sys.argv[2], "a") as f:
            f.write(line + "\n")


def version(request, context):
    return pb.VersionResponse(version="0.1.0", runtime_name="not-ours", runtime_version="1.2.3",
                              runtime_api_version="v1")


def status(request, context):
    context.abort(grpc.StatusCode.UNKNOWN, "RegistryUnavailable: 100% of r\u00e9gistries are down\nsecond line")


def container_status(request, context):
    if request.container_id.startswith("code:"):
        _, number, text = request.container_id.split(":", 2)
        code = next(c for c in grpc.StatusCode if c.value[0] == int(number))
        context.abort(code, text)
    context.abort(grpc.StatusCode.NOT_FOUND, "no container %r" % request.container_id)


def exec_sync(request, context):
    verb = request.cmd[0]
    r = pb.ExecSyncResponse()
    if verb == "bytes":
        r.stdout = b"x" * int(request.cmd[1])
    elif verb == "all":
        r.stdout = bytes(range(256))
    elif verb == "len":
        r.exit_code = len(request.container_id)
    elif verb == "left":
        left = context.time_remaining()
        r.exit_code = -1 if left is None or left > 1e9 else int(left * 1000)
    elif verb == "sleep":
        log("sleeping")
        time.sleep(float(request.cmd[1]))
    elif verb == "metadata":
        r.stdout = "".join("%s: %s\n" % (k, v) for k, v in context.invocation_metadata()).encode()
    return r


def on_cancel(context, name):
    context.add_callback(lambda: log("cancelled " + name) if not context.ended else None)


def stream_containers(request, context):
    context.ended = False
    on_cancel(context, "StreamContainers")
    n = request.filter.id
    for i in range(int(n) if n.isdigit() else 2):
        yield pb.StreamContainersResponse(containers=[pb.Container(id="c%d" % i, state=pb.CONTAINER_RUNNING)])
        if n == "slow":
            time.sleep(5)
    context.ended = True
    if n == "fail":
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone half-way")


def events(request, context):
    context.ended = False
    on_cancel(context, "GetContainerEvents")
    n = 0
    while context.is_active():
        n += 1
        yield pb.ContainerEventResponse(container_id="c%d" % n, container_event_type=pb.CONTAINER_STARTED_EVENT,
                                        created_at=1700000000000000000 + n)
        time.sleep(0.02)


def main():
    def unary(f, request):
        return grpc.unary_unary_rpc_method_handler(f, request.FromString, lambda m: m.SerializeToString())

    def stream(f, request):
        return grpc.unary_stream_rpc_method_handler(f, request.FromString, lambda m: m.SerializeToString())

    server = grpc.server(futures.ThreadPoolExecutor(16), options=[
        ("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", {
        "Version": unary(version, pb.VersionRequest),
        "Status": unary(status, pb.StatusRequest),
        "ContainerStatus": unary(container_status, pb.ContainerStatusRequest),
        "ExecSync": unary(exec_sync, pb.ExecSyncRequest),
        "StreamContainers": stream(stream_containers, pb.StreamContainersRequest),
        "GetContainerEvents": stream(events, pb.GetEventsRequest),
    }),))
    server.add_insecure_port("unix:" + sys.argv[1])
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
