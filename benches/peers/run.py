#!/usr/bin/env python3
"""Times the benchmark's member questions on MusterDB, DuckDB and ClickHouse, in one run on one machine.

    run.py load --parquet DIR --work DIR      members.parquet into all three, with seconds and bytes on disk
    run.py ask  --work DIR                    a table of medians, ratios and targets; every answer checked

Needs `pip install duckdb chdb` and a release build of `muster` (or --muster PATH).

How it is fair: each engine runs with its defaults, on all cores, from warm pages, alone on the machine: one engine at a
time, in a process of its own that ends before the next begins, so that no engine's caches take the memory of another.
The engines take turns question by question, so that a machine that slows down slows all of them. Each process asks its
question twice to warm up, then at least 15 times and for at least a second: the rule of `muster bench`. ClickHouse answers
in two forms where there are two: scanning its table, and from bitmaps built beforehand as its users do it; the faster one
counts. What it does not do: tune, or repeat a run until it pleases.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOW = "TIMESTAMP '2026-11-01 00:00:00'"
DICTIONARY_COLUMNS = ["gender", "city", "tier", "channel"]
NUMBER_COLUMNS = [
    "birth", "registered_at", "last_active_at", "points", "followers", "orders_count", "spend_cents",
]
TAGS = [f"t{k:02d}" for k in range(32)]

# The same text for all three, except in the bitmaps below.
QUESTIONS = {
    "tag1": "SELECT count(*) FROM members WHERE t00",
    "tag_and3": "SELECT count(*) FROM members WHERE t00 AND t01 AND NOT t02",
    "tag_or8": "SELECT count(*) FROM members WHERE "
    "t10 OR t11 OR t12 OR t13 OR t14 OR t15 OR t16 OR t17",
    "demo": "SELECT count(*) FROM members WHERE gender='f' "
    "AND city IN ('city_000','city_001','city_002','city_003','city_004') "
    "AND tier IN ('gold','black') AND NOT t03",
    "range1": "SELECT count(*) FROM members WHERE spend_cents >= 50000",
    "value_recent": "SELECT count(*) FROM members WHERE tier IN ('gold','black','silver') "
    f"AND spend_cents >= 50000 AND last_active_at >= {NOW} - INTERVAL '30' DAY",
    "mix8": "SELECT count(*) FROM members WHERE (t04 OR t05 OR t06) AND NOT t02 AND gender='f' "
    "AND birth BETWEEN DATE '1990-01-01' AND DATE '2001-12-31' AND points BETWEEN 500 AND 5000 "
    f"AND channel <> 'sms' AND registered_at >= {NOW} - INTERVAL '730' DAY "
    "AND city IN ('city_000','city_003','city_010','city_020','city_100')",
    "profile_city": "SELECT city, count(*) FROM members WHERE t00 AND tier='gold' "
    "GROUP BY city ORDER BY 2 DESC",
    "profile_tier_gender": "SELECT tier, gender, count(*), avg(spend_cents) FROM members "
    "WHERE t01 AND channel='wechat' GROUP BY 1, 2",
    "top100": "SELECT id, spend_cents FROM members WHERE t03 AND city='city_000' "
    "ORDER BY spend_cents DESC, id LIMIT 100",
}


def merged(name, *tags):
    """A WITH term: the union of some rows of the bitmap table."""
    listed = ", ".join(f"'{tag}'" for tag in tags)
    return f"(SELECT groupBitmapMergeState(bm) FROM tagbm WHERE tag IN ({listed})) AS {name}"


BITMAPS = {
    "tag1": "SELECT bitmapCardinality(bm) FROM tagbm WHERE tag = 't00'",
    "tag_and3": f"WITH {merged('a', 't00')}, {merged('b', 't01')}, {merged('c', 't02')} "
    "SELECT bitmapAndnotCardinality(bitmapAnd(a, b), c)",
    "tag_or8": "SELECT groupBitmapMerge(bm) FROM tagbm WHERE tag IN "
    "('t10','t11','t12','t13','t14','t15','t16','t17')",
    "demo": f"WITH {merged('a', 'gender=f')}, {merged('b', *(f'city=city_00{k}' for k in range(5)))}, "
    f"{merged('c', 'tier=gold', 'tier=black')}, {merged('d', 't03')} "
    "SELECT bitmapAndnotCardinality(bitmapAnd(bitmapAnd(a, b), c), d)",
}

# How often a question is asked; `muster bench` does the same of itself.
RUNS_MIN = 15
RUNS_SECONDS = 1.0

# At most this fraction of the fastest peer at 100 M members; the questions without one are measured only.
TARGETS = {
    "tag_and3": 80, "tag_or8": 25, "demo": 50, "range1": 300, "value_recent": 50, "mix8": 40,
    "profile_city": 25,
}
TARGET_MILLIS = {"tag1": 0.1}


class DuckDb:
    """One connection to a DuckDB file."""

    def __init__(self, path, read_only):
        import duckdb
        self.connection = duckdb.connect(str(path), read_only=read_only)

    def ask(self, sql):
        return [[str(value) for value in row] for row in self.run(sql)]

    def run(self, sql):
        """The timed call: from text to rows."""
        return self.connection.execute(sql).fetchall()

    def load(self, parquet):
        yield "members", f"CREATE TABLE members AS SELECT * FROM '{parquet}'"
        yield "members", "CHECKPOINT"


class ClickHouse:
    """One session of ClickHouse in this process."""

    def __init__(self, path, read_only):
        from chdb import session
        self.session = session.Session(str(path))
        if not read_only:
            self.session.query("CREATE DATABASE IF NOT EXISTS b")
        self.session.query("USE b")

    def ask(self, sql):
        return [line.split("\t") for line in self.run(sql).splitlines()]

    def run(self, sql):
        """The timed call: from text to rows."""
        return str(self.session.query(sql, "TSV"))

    def load(self, parquet):
        low = ", ".join(f"toLowCardinality(assumeNotNull({c})) {c}" for c in DICTIONARY_COLUMNS)
        plain = ", ".join(f"assumeNotNull({c}) {c}" for c in NUMBER_COLUMNS + TAGS)
        yield "members", (
            "CREATE TABLE members ENGINE = MergeTree ORDER BY id AS "
            f"SELECT assumeNotNull(toUInt32(id)) id, {low}, {plain} FROM file('{parquet}') "
            f"SETTINGS max_insert_threads = {os.cpu_count()}"
        )
        yield "bitmaps", (
            "CREATE TABLE tagbm (tag String, bm AggregateFunction(groupBitmap, UInt32)) "
            "ENGINE = AggregatingMergeTree ORDER BY tag"
        )
        for tag in TAGS:
            yield "bitmaps", f"INSERT INTO tagbm SELECT '{tag}', groupBitmapState(id) FROM members WHERE {tag}"
        for column in DICTIONARY_COLUMNS:
            yield "bitmaps", (
                f"INSERT INTO tagbm SELECT concat('{column}=', {column}), groupBitmapState(id) "
                f"FROM members GROUP BY {column}"
            )
        yield "bitmaps", "OPTIMIZE TABLE tagbm FINAL"

    def bytes_of(self, table):
        answer = self.ask(
            f"SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'b' AND table = '{table}'"
        )
        return int(answer[0][0])


def engine(kind, work, read_only):
    return DuckDb(work / "duckdb.db", read_only) if kind == "duckdb" else ClickHouse(work / "clickhouse", read_only)


# ---- what the subprocesses do: one job, one JSON object on the last line of stdout

def child_load(kind, work, parquet):
    loaded = engine(kind, work, False)
    seconds = {}
    for step, sql in loaded.load(parquet):
        started = time.perf_counter()
        loaded.run(sql)
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - started
    if kind == "duckdb":
        loaded.connection.close()
        size = {"members": (work / "duckdb.db").stat().st_size}
    else:
        size = {"members": loaded.bytes_of("members"), "bitmaps": loaded.bytes_of("tagbm")}
    return {"seconds": seconds, "bytes": size}


def child_ask(kind, work, sql):
    asked = engine(kind, work, True)
    rows = asked.ask(sql)
    asked.run(sql)
    times = []
    while len(times) < RUNS_MIN or sum(times) < RUNS_SECONDS:
        started = time.perf_counter()
        asked.run(sql)
        times.append(time.perf_counter() - started)
    return {"rows": rows, "median_millis": statistics.median(times) * 1e3}


def in_subprocess(*job):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "child", json.dumps(job)],
        stdout=subprocess.PIPE, text=True, check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{job[1]} failed (exit code {done.returncode}); its own words are above")
    return json.loads(done.stdout.splitlines()[-1])


# ---- MusterDB, through its binary

def muster_binary(given):
    for candidate in [given] if given else [ROOT / "target/release/muster", shutil.which("muster")]:
        if candidate and Path(candidate).is_file():
            return str(Path(candidate).resolve())
    sys.exit("no muster binary: `cargo build --release`, or name one with --muster PATH")


def output_of(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with exit code {done.returncode}")
    return done.stdout


def muster_ask(muster, database, name, sql):
    report = json.loads(output_of(muster, "bench", str(database), "--only", name, "--json"))
    question = report["questions"][0]
    if question["sql"] != sql:
        sys.exit(f"muster bench asks {name} as {question['sql']!r}, this script as {sql!r}: make them equal")
    listed = output_of(muster, "shell", str(database), "--format", "json", "-c", sql)
    return {
        "rows": rows_of_json(listed),
        "median_millis": question["median_micros"] / 1e3,
        "members": report["members"],
    }


def rows_of_json(text):
    """The shell's JSON: an array of objects, or one object per line."""
    text = text.strip()
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return [[str(v) for v in (row.values() if isinstance(row, dict) else row)] for row in rows]


# ---- comparing and printing

def agree(left, right):
    """Same rows in any order (ties are free to differ); fractions to nine digits."""
    return sorted(map(normal, left)) == sorted(map(normal, right))


def normal(row):
    return [cell if not cell[:1].isdigit() or "." not in cell else f"{float(cell):.9g}" for cell in row]


def bytes_under(directory):
    return sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())


def millis(value):
    if value is None:
        return ""
    return f"{value:.4f} ms" if value < 0.1 else f"{value:.3f} ms" if value < 10 else f"{value:.1f} ms"


def load(arguments):
    parquet = (arguments.parquet / "members.parquet").resolve()
    if not parquet.is_file():
        sys.exit(f"no {parquet}; `muster generate 100000000 --parquet {arguments.parquet}` makes it")
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    taken = [name for name in ("duckdb.db", "clickhouse", "muster") if (work / name).exists()]
    if taken:
        sys.exit(f"{work} already holds {', '.join(taken)}; name a new directory")
    muster = muster_binary(arguments.muster)
    warm(parquet)
    rows = []
    started = time.perf_counter()
    output_of(muster, "import", str(work / "muster"), "members", str(parquet), "--key", "id", "--yes")
    rows.append(("MusterDB", "members", time.perf_counter() - started, bytes_under(work / "muster")))
    for kind, label in [("duckdb", "DuckDB"), ("clickhouse", "ClickHouse")]:
        report = in_subprocess("load", kind, str(work), str(parquet))
        for step, seconds in report["seconds"].items():
            rows.append((label, step, seconds, report["bytes"][step]))
    duckdb = next(row for row in rows if row[0] == "DuckDB")
    print("| engine | what | load | bytes on disk | load / DuckDB | bytes / DuckDB |\n|---|---|--:|--:|--:|--:|")
    for label, step, seconds, size in rows:
        print(
            f"| {label} | {step} | {seconds:.1f} s | {size:,} | {seconds / duckdb[2]:.2f} | {size / duckdb[3]:.2f} |"
        )


def warm(file):
    """Reads a file once, so that whoever loads it first does not pay for the disk."""
    with open(file, "rb") as source:
        while source.read(1 << 24):
            pass


def ask(arguments):
    work = arguments.work.resolve()
    muster = muster_binary(arguments.muster)
    wrong, missed, lines, members = [], [], [], 0
    for name, sql in QUESTIONS.items():
        if arguments.only and name not in arguments.only:
            continue
        ours = muster_ask(muster, work / "muster", name, sql)
        peers = {
            "DuckDB": in_subprocess("ask", "duckdb", str(work), sql),
            "ClickHouse scan": in_subprocess("ask", "clickhouse", str(work), sql),
        }
        if name in BITMAPS:
            peers["ClickHouse bitmaps"] = in_subprocess("ask", "clickhouse", str(work), BITMAPS[name])
        members = ours["members"]
        for label, answer in peers.items():
            if not agree(ours["rows"], answer["rows"]):
                wrong.append(f"{name}: MusterDB {ours['rows'][:2]}, {label} {answer['rows'][:2]}")
        fastest = min(answer["median_millis"] for answer in peers.values())
        mine = ours["median_millis"]
        target, met = verdict(name, mine, fastest)
        if met is False:
            missed.append(name)
        figures = [mine] + [
            peers.get(label, {}).get("median_millis") for label in ("DuckDB", "ClickHouse scan", "ClickHouse bitmaps")
        ]
        cells = [name, *map(millis, figures), f"1/{fastest / mine:.1f}", target, {True: "met", False: "missed"}.get(met, "")]
        lines.append("| " + " | ".join(cells) + " |")
        print(f"{name}: {millis(mine)}, fastest peer {millis(fastest)}", file=sys.stderr, flush=True)
    print(f"{members:,} members, {os.cpu_count()} processors, medians of at least {RUNS_MIN} runs and {RUNS_SECONDS:g} s\n")
    print("| question | MusterDB | DuckDB | ClickHouse scan | ClickHouse bitmaps | of the fastest peer | target | |")
    print("|---|--:|--:|--:|--:|--:|--:|---|")
    print("\n".join(lines))
    print(f"\nTargets missed: {', '.join(missed) or 'none'} (they are meant for 100,000,000 members).")
    print("Answers: " + ("all engines agree." if not wrong else "THEY DIFFER."))
    for line in wrong:
        print(f"- {line}")
    return 1 if wrong else 0


def verdict(name, mine, fastest):
    """The target in words, and whether it is met (None where there is none)."""
    if name in TARGET_MILLIS:
        return f"< {TARGET_MILLIS[name]} ms", mine < TARGET_MILLIS[name]
    if name in TARGETS:
        return f"1/{TARGETS[name]}", mine * TARGETS[name] <= fastest
    return "", None


def main():
    if sys.argv[1:2] == ["child"]:
        verb, kind, work, *rest = json.loads(sys.argv[2])
        job = child_load if verb == "load" else child_ask
        print("\n" + json.dumps(job(kind, Path(work), *rest)))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    loading = commands.add_parser("load", help="load members.parquet into the three")
    loading.add_argument("--parquet", type=Path, required=True, help="the directory with members.parquet")
    asking = commands.add_parser("ask", help="ask and compare")
    asking.add_argument("--only", action="append", choices=QUESTIONS, help="only this question; repeatable")
    for command in (loading, asking):
        command.add_argument("--work", type=Path, required=True, help="where the databases are")
        command.add_argument("--muster", help="the binary (default: target/release/muster, then PATH)")
    arguments = parser.parse_args()
    return load(arguments) or 0 if arguments.command == "load" else ask(arguments)


if __name__ == "__main__":
    sys.exit(main())
