"""exits.py ROOT COUNT CODE SIGNAL OOM REASON CTR...: create, start, wait and remove, COUNT times over the containers, one
worker each. Every exit.json must be exactly that, with times in order. Prints one line; fails if one record is wrong.
Ended by SIGTERM it says how far it came, and fails."""
import json
import os
import signal as signals
import subprocess
import sys
import threading
import time

root, count, code, signal, oom, reason = sys.argv[1:7]
count, want = int(count), (int(code), int(signal), oom == "true", reason)
ctrs = sys.argv[7:]
lock = threading.Lock()
done, wrong, stopped = 0, [], False


def stop(*_):
    global stopped
    stopped = True


signals.signal(signals.SIGTERM, stop)


def tool(*argv):
    subprocess.run(["ctrrun", *argv], check=True, stdin=subprocess.DEVNULL)


def once(ctr):
    path = f"{root}/containers/{ctr}/exit.json"
    before = time.time_ns()
    tool("create", ctr)
    tool("start", ctr)
    end = time.monotonic() + 30
    while not os.path.exists(path):
        if time.monotonic() > end:
            return "no record"
        time.sleep(0.001)
    with open(path) as f:
        text = f.read()
    tool("rm", ctr)
    r = json.loads(text)
    got = (r["exit_code"], r["signal"], r["oom"], r["reason"])
    ordered = before <= r["started_at"] <= r["finished_at"] <= time.time_ns()
    return None if got == want and ordered else text


def work(ctr):
    global done
    while True:
        with lock:
            if done >= count or stopped:
                return
            done += 1
        try:
            fault = once(ctr)
        except Exception as e:  # a tool that failed is no exact record either
            fault = repr(e)
        if fault:
            wrong.append(fault)


start = time.monotonic()
threads = [threading.Thread(target=work, args=(c,)) for c in ctrs]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(f"{done} ends of {want}: {len(wrong)} wrong, {time.monotonic() - start:.0f} s")
for w in wrong[:10]:
    print("  " + w.strip())
sys.exit(bool(wrong) or done != count)
