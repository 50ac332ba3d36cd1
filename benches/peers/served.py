#!/usr/bin/env python3
"""Measures `muster serve` beside redis-server: look-ups, memory, statements, writes, and look-ups beside profiles.

    served.py --work DIR [--members 10000000] [--muster PATH]

Needs redis-server, redis-benchmark (Debian's redis-server and redis-tools) and a release build of `muster`. It makes a population of
its own in DIR, which is kept for the next run, and prints a table in Markdown.

How it is fair: server and load are on the same machine, and both servers run at the same time, idle while the other one is asked; they take
turns, twice. Both hold the same set, every second key, asked by the same tool with the same connections; Redis's keys are texts of 12 digits, since
that is how redis-benchmark writes numbers. Redis writes nothing to disk. What is compared with the library is asked of the same database
by `muster bench`, when no server has it.
"""
import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REDIS, MUSTER = 7900, 7901


def request(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class Client:
    """A connection that sends requests and reads whole replies of the second version."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=300)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        self.socket.sendall(request(*words))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            sys.exit(f"refused: {rest.decode()}")
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.file.read(length + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest


def benchmark(port, clients, pipeline, requests, *command, keys=None):
    """Requests a second, and the 99th percentile of the latency in milliseconds."""
    options = ["-p", port, "-c", clients, "-P", pipeline, "-n", requests, "--csv"]
    options += ["-r", keys] if keys else []
    output = subprocess.run(["redis-benchmark", *map(str, options), *command], capture_output=True, text=True, check=True)
    fields = [field.strip('"') for field in output.stdout.strip().splitlines()[-1].split(",")]
    return float(fields[-7]), float(fields[-2])


class Server:
    def __init__(self, process, port):
        self.process, self.port = process, port

    def anonymous_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", status).group(1)) / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def serve(muster, database):
    command = [muster, "serve", database, "--listen", f"127.0.0.1:{MUSTER}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if not process.stdout.readline().startswith("ready"):
        sys.exit("muster serve did not start")
    return Server(process, MUSTER)


def serve_redis(work):
    command = ["redis-server", "--port", str(REDIS), "--save", "", "--appendonly", "no", "--dir", work]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(1)
    return Server(process, REDIS)


def fill_redis(members):
    client, portion = Client(REDIS), 1000
    for first in range(0, members, 2 * portion):
        keys = range(first, min(first + 2 * portion, members), 2)
        client.ask("SADD", "evens", *(b"%012d" % key for key in keys))


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def lookups(members):
    row("look-ups, thousands a second", "MusterDB", "Redis", "share")
    row("---", "--:", "--:", "--:")
    for pipeline, requests in ((1, 300_000), (16, 3_000_000)):
        for ours, theirs, keys in (
            (["CONTAINS", "evens", "__rand_int__"], ["SISMEMBER", "evens", "__rand_int__"], members),
            (["COUNT", "evens"], ["SCARD", "evens"], None),
        ):
            pairs = []
            for _ in range(2):
                one = benchmark(MUSTER, 50, pipeline, requests, *ours, keys=keys)[0]
                pairs.append((one, benchmark(REDIS, 50, pipeline, requests, *theirs, keys=keys)[0]))
            ours_at, theirs_at = (", ".join(f"{pair[at] / 1000:.0f}" for pair in pairs) for at in (0, 1))
            share = ", ".join(f"{100 * one / other:.0f} %" for one, other in pairs)
            row(f"{ours[0]}, pipelined by {pipeline}", ours_at, theirs_at, share)
    for clients in (100,):
        one = benchmark(MUSTER, clients, 1, 300_000, "CONTAINS", "evens", "__rand_int__", keys=members)[1]
        other = benchmark(REDIS, clients, 1, 300_000, "SISMEMBER", "evens", "__rand_int__", keys=members)[1]
        row(f"p99 with {clients} clients, ms", f"{one:.2f}", f"{other:.2f}", "")


def memory(server, members):
    before = server.anonymous_mib()
    idle = [Client(MUSTER) for _ in range(1000)]
    for client in idle:
        client.ask("PING")
    busy = threading.Thread(
        target=benchmark, args=(MUSTER, 200, 1, 600_000, "CONTAINS", "evens", "__rand_int__"), kwargs={"keys": members}
    )
    busy.start()
    highest = 0
    while busy.is_alive():
        highest = max(highest, server.anonymous_mib())
        time.sleep(0.05)
    print(f"\n1,000 idle and 200 busy connections: {highest:.1f} MiB of anonymous memory (before them {before:.1f})")


def asked(sql, requests):
    """The median of one client that waits for each answer, in milliseconds."""
    options = ["-p", MUSTER, "-c", 1, "-n", requests, "--csv", "--precision", 3]
    output = subprocess.run(["redis-benchmark", *map(str, options), "SQL", sql], capture_output=True, text=True, check=True)
    return float(output.stdout.strip().splitlines()[-1].split(",")[-4].strip('"'))


def beside_profiles(members):
    ends = threading.Event()

    def profile():
        client = Client(MUSTER)
        while not ends.is_set():
            client.ask("SQL", "PROFILE evens BY city, tier, gender, channel")

    quiet = benchmark(MUSTER, 50, 1, 200_000, "CONTAINS", "evens", "__rand_int__", keys=members)[1]
    profiles = [threading.Thread(target=profile) for _ in range(2)]
    for one in profiles:
        one.start()
    time.sleep(0.5)
    contains = benchmark(MUSTER, 50, 1, 200_000, "CONTAINS", "evens", "__rand_int__", keys=members)
    count = benchmark(MUSTER, 50, 1, 200_000, "COUNT", "evens")
    ends.set()
    for one in profiles:
        one.join()
    print(
        f"\nbeside two profiles without pause, 50 clients: CONTAINS p99 {contains[1]:.2f} ms ({contains[0]:,.0f} a second), "
        f"COUNT p99 {count[1]:.2f} ms ({count[0]:,.0f} a second); without them p99 {quiet:.2f} ms"
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--work", required=True, type=Path)
    arguments.add_argument("--members", type=int, default=10_000_000)
    arguments.add_argument("--muster", default=str(ROOT / "target/release/muster"))
    arguments = arguments.parse_args()
    muster, members, database = arguments.muster, arguments.members, arguments.work / "served"
    arguments.work.mkdir(parents=True, exist_ok=True)

    def shell(sql):
        subprocess.run([muster, "shell", database, "-c", sql], check=True, stdout=subprocess.DEVNULL)

    if not database.exists():
        subprocess.run([muster, "generate", str(members), "--into", database, "--no-orders"], check=True)
        shell("CREATE STATIC AUDIENCE evens AS SELECT id FROM members WHERE id % 2 = 0")
    questions = {}
    for name in ("tag1", "tag_and3", "demo", "mix8"):
        found = subprocess.run([muster, "bench", database, "--only", name, "--json"], capture_output=True, text=True, check=True)
        answer = json.loads(found.stdout)["questions"][0]
        questions[name] = (answer["sql"], answer["median_micros"] / 1000)
    with serve(muster, database) as server:
        with serve_redis(arguments.work):
            fill_redis(members)
            lookups(members)
        memory(server, members)
        print()
        row("statement, ms", "the library", "over the wire", "more")
        row("---", "--:", "--:", "--:")
        for name, (sql, library) in questions.items():
            wire = asked(sql, 3_000)
            row(name, f"{library:.3f}", f"{wire:.3f}", f"{wire - library:.3f}")
        beside_profiles(members)
    copy = arguments.work / "written"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(database, copy)
    with serve(muster, copy):
        rates = [benchmark(MUSTER, 64, 1, 200_000, "SET", "members", "__rand_int__", "points", "7", keys=members)[0] for _ in range(2)]
    print("\nwrites, 64 clients, one member each: " + ", ".join(f"{rate:,.0f}" for rate in rates) + " a second over the wire; `muster bench` of the library:")
    subprocess.run([muster, "bench", copy, "--writes", "10"], check=True)


if __name__ == "__main__":
    main()
