"""silent.py HOST:PORT [TEXT]: connect, send TEXT and nothing more; prints after how many seconds the server has had enough, and
the first line of what it says then."""
import socket
import sys
import time

host, port = sys.argv[1].rsplit(":", 1)
s = socket.create_connection((host, int(port)), timeout=60)
start = time.monotonic()
s.sendall(" ".join(sys.argv[2:]).encode())
answer = s.recv(4096)
print("%.1f %s" % (time.monotonic() - start, answer.decode().split("\r\n")[0]))
